"""Dividing people into folds, so that no one is ever on both sides."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


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
