"""People as the unit of a table that may hold several rows (visits, scans) of each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

_DRAWS_AT_ONCE = 4_000_000


def person_weights(participants: Sequence[str], n_resamples: int, seed: int = 0) -> Iterator[np.ndarray]:
    """Bootstrap draws of people: how often each row counts.

    A draw takes as many people as there are, with replacement; a person drawn twice counts twice with all rows.

    Parameters
    ----------
    participants : sequence of str, length n
        Whose row it is.
    n_resamples, seed : int
        Number of draws, and their seed.

    Yields
    ------
    ndarray of float, shape (m, n)
        Blocks of draws; the m sum to `n_resamples`.

    Examples
    --------
    >>> next(person_weights(["a", "a", "b"], 2)).tolist()
    [[0.0, 0.0, 2.0], [1.0, 1.0, 1.0]]
    """
    people, row_of = np.unique(np.asarray(participants, dtype=str), return_inverse=True)
    generator = np.random.default_rng(seed)
    block = max(1, _DRAWS_AT_ONCE // max(1, people.size))
    for start in range(0, n_resamples, block):
        size = min(block, n_resamples - start)
        drawn = generator.integers(0, people.size, size=(size, people.size))
        drawn += people.size * np.arange(size)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=size * people.size).reshape(size, people.size)
        yield counts[:, row_of].astype(float)
