"""People as the unit of a table that may hold several rows (visits, scans) of each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import numpy as np

from brainage_bids.records import BadConfiguration, UnusableInput
from brainage_bids.stats.rows import Columns, labels, numbers, same_length

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


def one_row_a_person(table: Columns, participants: str = "participant_id", how: Literal["first", "mean"] = "first") -> dict[str, list[Any]]:
    """Reduce a table to one row a person, in the order of their first rows.

    Parameters
    ----------
    table : mapping of columns
        With a column of people.
    participants : str
        Its name.
    how : {"first", "mean"}
        Take each person's first row, or the means of numbers (missing values aside) and the first of everything else.

    Raises
    ------
    UnusableInput
        If the column is missing or a row belongs to nobody.

    Examples
    --------
    >>> one_row_a_person({"participant_id": ["a", "a", "b"], "age": [20, 22, 40]}, how="mean")
    {'participant_id': ['a', 'b'], 'age': [21.0, 40.0]}
    """
    if how not in ("first", "mean"):
        raise BadConfiguration(f"Rows of a person are reduced to the first or the mean, not '{how}'.")
    if participants not in table:
        raise UnusableInput(f"There is no column '{participants}', so rows cannot be told apart by person.")
    same_length(**{name: table[name] for name in table})
    names = labels(table[participants])
    if None in names:
        raise UnusableInput(f"A row has no '{participants}'.")
    rows_of: dict[str, list[int]] = {}
    for row, name in enumerate(names):
        rows_of.setdefault(name, []).append(row)
    reduced: dict[str, list[Any]] = {}
    for name in table:
        values = list(table[name])
        numeric = how == "mean" and name != participants and _is_numeric(values)
        reduced[name] = [_mean(values, rows) if numeric else values[rows[0]] for rows in rows_of.values()]
    return reduced


def _is_numeric(values: Sequence[Any]) -> bool:
    present = [value for value in values if value is not None]
    return bool(present) and all(isinstance(value, int | float | np.number) and not isinstance(value, bool) for value in present)


def _mean(values: Sequence[Any], rows: list[int]) -> float | None:
    chosen = numbers(values[row] for row in rows)
    present = chosen[np.isfinite(chosen)]
    return float(present.mean()) if present.size else None
