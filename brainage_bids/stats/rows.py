"""Tidy rows: one result each, that says how it was computed and what is missing.

A row is a plain dictionary, so that this room needs no data frame: its values are text, numbers or None. None stands where a
number is not defined, and ``note`` then says why; NaN and infinity never stand in a row.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from brainage_bids.records import UnusableInput

Row = dict[str, Any]
"""One result: names to text, numbers or None."""

Columns = Mapping[str, Sequence[Any]]
"""A table by columns of equal length; a mapping of lists or arrays, or a pandas DataFrame."""


def tidy(method: str, n: int, assumptions: str, *, note: str = "", correction: str = "none", **values: Any) -> Row:
    """Make a row.

    Parameters
    ----------
    method : str
        What was computed, by name.
    n : int
        On how many rows (people, where nothing else is said).
    assumptions : str
        What must hold for the numbers to mean what they say.
    note : str
        What a reader must know beside; why a value is None.
    correction : str
        How p-values were corrected for their number; see `corrections.correct`.
    **values
        The results and what they are about. Numbers that are not finite become None, and a sentence joins the note.

    Examples
    --------
    >>> tidy("mean", 2, "none", mean=np.float64(1.5), sd=float("nan"))["note"]
    'sd is not defined for these values.'
    """
    clean = {name: _plain(value) for name, value in values.items()}
    lost = [name for name, value in values.items() if isinstance(value, float | np.floating) and not math.isfinite(value)]
    if lost and not note:
        note = f"{', '.join(lost)} {'is' if len(lost) == 1 else 'are'} not defined for these values."
    return {**clean, "n": int(n), "method": method, "assumptions": assumptions, "correction": correction, "note": note}


def numbers(values: Iterable[Any], name: str = "values") -> np.ndarray:
    """A column as float64, with NaN where a value is missing (None, NaN, an infinite number).

    Raises
    ------
    UnusableInput
        If a value is no number.

    Examples
    --------
    >>> numbers([1, None, 2.5]).tolist()
    [1.0, nan, 2.5]
    """
    try:
        column = np.array([math.nan if _is_missing(value) else float(value) for value in values], dtype=float)
    except (TypeError, ValueError) as error:
        raise UnusableInput(f"The column '{name}' holds something that is no number ({error}).") from error
    column[~np.isfinite(column)] = math.nan
    return column


def labels(values: Iterable[Any]) -> np.ndarray:
    """A column as text, with None where a value is missing (None, NaN, empty).

    >>> labels(["a", None, 3.0, ""]).tolist()
    ['a', None, '3', None]
    """
    return np.array([_label(value) for value in values] + [None], dtype=object)[:-1]


def column(table: Columns, name: str) -> Sequence[Any]:
    """One column of a table.

    Raises
    ------
    UnusableInput
        If there is none of that name; the sentence lists those there are.
    """
    if name not in table:
        raise UnusableInput(f"There is no column '{name}'; the columns are {', '.join(map(str, table)) or 'none'}.")
    return table[name]


def is_constant(values: np.ndarray) -> bool:
    """Tell whether values do not vary but for rounding; true for none at all.

    >>> is_constant(np.array([0.1 + 0.2, 0.3])), is_constant(np.array([1.0, 2.0]))
    (True, False)
    """
    values = np.asarray(values, dtype=float)
    return values.size == 0 or bool(np.ptp(values) <= 1e-12 * np.abs(values).max())


def why_empty(values: np.ndarray, name: str, least: int) -> str:
    """Sentence that says why values (NaN where missing) allow no statistic; empty if they do.

    >>> why_empty(np.array([1.0, 1.0, 1.0]), "age", 3)
    "The column 'age' is constant."
    """
    values = np.asarray(values, dtype=float)
    present = values[np.isfinite(values)]
    if present.size == 0:
        return f"The column '{name}' has no value."
    if present.size < least:
        return f"The column '{name}' has {present.size} value(s); {least} are needed."
    return f"The column '{name}' is constant." if is_constant(present) else ""


def same_length(**columns: Sequence[Any]) -> None:
    """Refuse columns of different lengths.

    Raises
    ------
    UnusableInput
        With the lengths.
    """
    sizes = {name: len(values) for name, values in columns.items() if values is not None}
    if len(set(sizes.values())) > 1:
        raise UnusableInput(f"Columns must be of one length, not {', '.join(f'{name} {size}' for name, size in sizes.items())}.")


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _is_missing(value: Any) -> bool:
    if value is None or (isinstance(value, float | np.floating) and math.isnan(value)):
        return True
    return type(value).__name__ in ("NAType", "NaTType")  # pandas' own, by name, as pandas is not imported here


def _label(value: Any) -> str | None:
    if _is_missing(value):
        return None
    text = f"{value:.15g}" if isinstance(value, float | np.floating) else str(value).strip()  # two numbers stay two
    return text or None
