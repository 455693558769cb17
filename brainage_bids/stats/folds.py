"""Dividing people into folds, so that no one is ever on both sides."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from brainage_bids.records import BadDataset

PARTS = ("train", "validation", "test")


def participant_folds(
    participants: Sequence[str], n_folds: int, *, seed: int | Sequence[int], ages: np.ndarray | None = None
) -> np.ndarray:
    """Assign every row to a fold; the rows of a person share theirs.

    Parameters
    ----------
    participants : sequence of str, length n
        Whose row it is.
    n_folds : int
        At least two and at most as many as there are people; their numbers of people differ by one at most.
    seed : int or sequence of int
        The same seed gives the same folds, whatever the order of the rows.
    ages : ndarray, shape (n,), optional
        If given, people are sorted by their mean age and each run of ``n_folds`` neighbours is dealt to different folds,
        so that the folds' ages are alike.

    Returns
    -------
    ndarray of int, shape (n,)
        0 … n_folds − 1.

    Raises
    ------
    ValueError
        If there are more folds than people, or fewer than two.

    Examples
    --------
    >>> participant_folds(["a", "a", "b", "c"], 3, seed=0).tolist()
    [1, 1, 0, 2]
    """
    names = np.asarray(participants)
    people, row_of = np.unique(names, return_inverse=True)
    if not 2 <= n_folds <= people.size:
        raise ValueError(f"{people.size} people cannot be divided into {n_folds} folds.")
    generator = np.random.default_rng(seed)
    order = generator.permutation(people.size)
    if ages is not None:
        mean_age = np.bincount(row_of, np.asarray(ages, dtype=float)) / np.bincount(row_of)
        order = order[np.argsort(mean_age[order], kind="stable")]
    fold_of = np.empty(people.size, dtype=int)
    for start in range(0, people.size, n_folds):
        block = order[start : start + n_folds]
        fold_of[block] = generator.permutation(n_folds)[: block.size]
    return fold_of[row_of]


def repeated_folds(participants: Sequence[str], n_folds: int, n_repeats: int, *, seed: int, ages: np.ndarray | None = None) -> np.ndarray:
    """`participant_folds` several times over, each with its own seed; shape (n_repeats, n)."""
    return np.array([participant_folds(participants, n_folds, seed=(seed, repeat), ages=ages) for repeat in range(n_repeats)])


def divergence(part: np.ndarray, whole: np.ndarray) -> float:
    """Kullback-Leibler divergence Σ p log(p/q) of two histograms over the same cells, 0.5 added to each cell, in nats.

    >>> divergence(np.array([1, 1]), np.array([2, 2])), round(divergence(np.array([2, 0]), np.array([1, 1])), 4)
    (0.0, 0.2426)
    """
    p, q = (np.asarray(counts, dtype=float) + 0.5 for counts in (part, whole))
    p, q = p / p.sum(), q / q.sum()
    return float(np.sum(p * np.log(p / q)))


def stratified_parts(
    participants: Sequence[str], ages: np.ndarray, sites: Sequence[str | None], *, seed: int, n_parts: int = 10
) -> tuple[np.ndarray, tuple[float, float]]:
    """8:1:1 by age and site: ten parts are dealt within age decile × site, the two most like the whole become validation and test.

    Five parts give 60/20/20.

    Parameters
    ----------
    participants : sequence of str, length n
        Whose row it is; the rows of a person share their part.
    ages : ndarray, shape (n,)
        Years.
    sites : sequence of str or None, length n
        One site, or none known, stratifies by age alone.
    seed : int
        The same seed gives the same parts, whatever the order of the rows.
    n_parts : int

    Returns
    -------
    ndarray of str, shape (n,)
        ``train``, ``validation`` or ``test``.
    tuple of float
        Divergences of validation and test from the whole (see `divergence`), of the joint histogram of decile and site.

    Raises
    ------
    BadDataset
        If there are fewer people than parts.

    Notes
    -----
    Jomsky 2024: the part with the lowest divergence is the validation part, the next one the test part.
    """
    people, first, row_of = np.unique(np.asarray(participants), return_index=True, return_inverse=True)
    if people.size < n_parts:
        shares = f"{n_parts - 2}:1:1"
        raise BadDataset(f"{people.size} people cannot be divided {shares}; {n_parts} are the least, or use --folds or --split-file.")
    mean_age = np.bincount(row_of, np.asarray(ages, dtype=float)) / np.bincount(row_of)
    decile = np.searchsorted(np.quantile(mean_age, np.arange(1, 10) / 10), mean_age, side="right")
    names = sorted({str(site) for site in sites})
    cell = decile * len(names) + np.array([names.index(str(sites[row])) for row in first])
    generator = np.random.default_rng(seed)
    order = generator.permutation(people.size)
    order = order[np.argsort(cell[order], kind="stable")]
    part = np.empty(people.size, dtype=int)
    for start in range(0, people.size, n_parts):
        block = order[start : start + n_parts]
        part[block] = generator.permutation(n_parts)[: block.size]
    size = 10 * len(names)
    whole = np.bincount(cell, minlength=size)
    found = [divergence(np.bincount(cell[part == k], minlength=size), whole) for k in range(n_parts)]
    validation, test = np.argsort(found, kind="stable")[:2]
    of_person = np.where(part == validation, "validation", np.where(part == test, "test", "train"))
    return of_person[row_of], (found[validation], found[test])
