"""Permutation tests of differences between predictions of the same people."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_SIGNS_AT_ONCE = 4_000_000


@dataclass(frozen=True)
class SignFlip:
    """Result of `sign_flip_test`.

    Attributes
    ----------
    difference : float
        Mean absolute error of the first minus that of the second, in years; negative if the first is better.
    p : float
        Two-sided p-value.
    n_permutations : int
        How many random sign patterns were drawn.
    null : ndarray, shape (n_permutations,)
        The differences under random signs.
    """

    difference: float
    p: float
    n_permutations: int
    null: np.ndarray


def sign_flip_test(errors_first: np.ndarray, errors_second: np.ndarray, *, n_permutations: int = 999, seed: int = 0) -> SignFlip:
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
    first, second = np.asarray(errors_first, dtype=float), np.asarray(errors_second, dtype=float)
    if first.ndim != 1 or first.size < 1 or first.shape != second.shape:
        raise ValueError(f"The test needs two errors a person; got the shapes {first.shape} and {second.shape}.")
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        raise ValueError("The test needs finite errors.")
    if n_permutations < 1:
        raise ValueError(f"The test needs one permutation at least, not {n_permutations}.")
    differences = np.abs(first) - np.abs(second)
    observed = float(differences.mean())
    generator = np.random.default_rng(seed)
    null = np.empty(n_permutations)
    block = max(1, _SIGNS_AT_ONCE // first.size)
    for start in range(0, n_permutations, block):
        stop = min(start + block, n_permutations)
        signs = generator.integers(0, 2, size=(stop - start, first.size), dtype=np.int8) * 2 - 1
        null[start:stop] = signs @ differences / first.size
    rounding = 1e-12 * float(np.abs(differences).max())
    extreme = int(np.count_nonzero(np.abs(null) >= abs(observed) - rounding))
    return SignFlip(observed, (1 + extreme) / (1 + n_permutations), n_permutations, null)
