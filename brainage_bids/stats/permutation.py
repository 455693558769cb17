"""Permutation tests of differences between predictions of the same people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_SIGNS_AT_ONCE = 4_000_000


@dataclass(frozen=True)
class SignFlip:
    """Result of `sign_flip_test` or `shuffle_test`.

    Attributes
    ----------
    difference : float
        Mean absolute error of the first minus that of the second, in years; negative if the first is better.
    p : float
        Two-sided p-value.
    n_permutations : int
        How many random sign patterns (divisions) were drawn.
    null : ndarray, shape (n_permutations,)
        The differences by chance.
    """

    difference: float
    p: float
    n_permutations: int
    null: np.ndarray


def sign_flip_test(
    errors_first: np.ndarray,
    errors_second: np.ndarray,
    *,
    n_permutations: int = 999,
    seed: int = 0,
    participants: Sequence[str] | None = None,
) -> SignFlip:
    """Test whether two predictions of the same people differ in mean absolute error.

    The difference of each person's two absolute errors changes sign by chance: if the predictions are equally good, either
    could have come from the other. ``p = (1 + #{|d*| ≥ |d|}) / (1 + n_permutations)``, with d the mean difference
    (Phipson and Smyth 2010, doi:10.2202/1544-6115.1585, for the 1).

    Parameters
    ----------
    errors_first, errors_second : ndarray, shape (n,)
        Prediction − age of each person, in the same order; only the size counts.
    n_permutations : int
        Number of random patterns.
    seed : int
        Of the patterns.
    participants : sequence of str, length n, optional
        Whose row it is, if people have several; all rows of a person change sign together.

    Returns
    -------
    SignFlip

    Raises
    ------
    ValueError
        If the shapes differ, nobody is given or an error is not finite.

    Examples
    --------
    >>> result = sign_flip_test(np.array([1.0, -1.0, 2.0]), np.array([2.0, 3.0, -2.0]))
    >>> result.difference, round(result.p, 1)
    (-1.0, 0.5)
    """
    first, second = _checked(errors_first, errors_second, n_permutations)
    rows = first.size
    differences = np.abs(first) - np.abs(second)
    observed = float(differences.mean())
    if participants is not None:
        if len(participants) != rows:
            raise ValueError(f"The test needs the person of each of the {rows} errors; got {len(participants)}.")
        differences = np.bincount(np.unique(np.asarray(participants, dtype=str), return_inverse=True)[1], differences)
    generator = np.random.default_rng(seed)
    null = np.empty(n_permutations)
    block = max(1, _SIGNS_AT_ONCE // differences.size)
    for start in range(0, n_permutations, block):
        stop = min(start + block, n_permutations)
        signs = generator.integers(0, 2, size=(stop - start, differences.size), dtype=np.int8) * 2 - 1
        null[start:stop] = signs @ differences / rows
    return _result(observed, null, np.abs(differences).max())


def shuffle_test(errors_first: np.ndarray, errors_second: np.ndarray, *, n_permutations: int = 999, seed: int = 0) -> SignFlip:
    """Test the difference of two mean absolute errors as if they came from different people.

    All absolute errors are put together and divided anew into two sets (Ren et al. 2021). It ignores that both models saw the same
    people, so it finds less than `sign_flip_test` where their errors go together.

    Parameters
    ----------
    errors_first, errors_second : ndarray, shape (n,)
        Prediction − age; only the size counts.
    n_permutations, seed : int
        Number of random divisions, and their seed.

    Returns
    -------
    SignFlip
        ``null`` holds the differences of the random divisions.

    Raises
    ------
    ValueError
        As `sign_flip_test`.

    Examples
    --------
    >>> result = shuffle_test(np.array([1.0, -1.0, 2.0]), np.array([2.0, 3.0, -2.0]))
    >>> round(result.difference, 6), round(result.p, 1)
    (-1.0, 0.3)
    """
    first, second = _checked(errors_first, errors_second, n_permutations)
    together = np.abs(np.concatenate([first, second]))
    generator = np.random.default_rng(seed)
    null = np.empty(n_permutations)
    block = max(1, _SIGNS_AT_ONCE // together.size)
    for start in range(0, n_permutations, block):
        size = min(block, n_permutations - start)
        mixed = generator.permuted(np.broadcast_to(together, (size, together.size)), axis=1)
        null[start : start + size] = mixed[:, : first.size].mean(axis=1) - mixed[:, first.size :].mean(axis=1)
    return _result(float(np.abs(first).mean() - np.abs(second).mean()), null, together.max())


def null_histogram(null: np.ndarray, observed: float, bins: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """Histogram of the differences by chance and the observed one among them, over bins that lie evenly around 0.

    Parameters
    ----------
    null : ndarray, shape (n_permutations,)
        Of `SignFlip`.
    observed : float
    bins : int
        An even number keeps 0 on an edge.

    Returns
    -------
    counts : ndarray of int, shape (bins,)
        Their sum is n_permutations + 1.
    edges : ndarray, shape (bins + 1,)

    Examples
    --------
    >>> counts, edges = null_histogram(np.array([-1.0, 0.5, 0.5]), 2.0, bins=4)
    >>> counts.tolist(), edges.tolist()
    ([0, 1, 2, 1], [-2.0, -1.0, 0.0, 1.0, 2.0])
    """
    values = np.append(np.asarray(null, dtype=float), observed)
    reach = float(np.abs(values).max()) or 1.0
    return np.histogram(values, bins=bins, range=(-reach, reach))


def _checked(errors_first: np.ndarray, errors_second: np.ndarray, n_permutations: int) -> tuple[np.ndarray, np.ndarray]:
    first, second = np.asarray(errors_first, dtype=float), np.asarray(errors_second, dtype=float)
    if first.ndim != 1 or first.size < 1 or first.shape != second.shape:
        raise ValueError(f"The test needs two errors a person; got the shapes {first.shape} and {second.shape}.")
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        raise ValueError("The test needs finite errors.")
    if n_permutations < 1:
        raise ValueError(f"The test needs one permutation at least, not {n_permutations}.")
    return first, second


def _result(observed: float, null: np.ndarray, size: float) -> SignFlip:
    extreme = int(np.count_nonzero(np.abs(null) >= abs(observed) - 1e-12 * float(size)))
    return SignFlip(observed, (1 + extreme) / (1 + null.size), null.size, null)
