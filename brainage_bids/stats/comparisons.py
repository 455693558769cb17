"""What queries on tables mean: reading one within bounds, and comparing cells. Nothing of a query is ever executed."""

from __future__ import annotations

import ast
import math
import operator
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from brainage_bids.bids.descriptions import NUMBER

Cell = float | str | None
"""A number in a column of numbers, text (codes too) in one of text, None where nothing is known."""
COMPARISONS: Mapping[type, Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq, ast.NotEq: operator.ne, ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge,
}  # fmt: skip
MOST_SIGNS, MOST_NESTED, MOST_SHOWN = 4_000_000, 100, 120
"""Length of a query, depth of its brackets, and how much of it a message shows."""


def shown(query: str) -> str:
    """A query as messages show it: its beginning, if it is long.

    >>> shown("age > 3"), len(shown("a" * 1000))
    ('age > 3', 121)
    """
    return query if len(query) <= MOST_SHOWN else query[:MOST_SHOWN] + "…"


def parse_query(query: str) -> ast.expr:
    """Read a query by Python's grammar of expressions, without running it.

    Raises
    ------
    ValueError
        With a few words on what is wrong: no expression, too long, nested too deeply, or with a number that is none.
    """
    if len(query) > MOST_SIGNS:
        raise ValueError(f"it has more than {MOST_SIGNS:,} signs")
    try:
        body = ast.parse(query.strip(), mode="eval").body
    except SyntaxError as error:
        long = "digits" in str(error.msg)  # Python's own advice is for programmers
        raise ValueError("a number in it is too long" if long else str(error.msg)[:100]) from error
    except (ValueError, OverflowError) as error:
        raise ValueError("a sign or number in it cannot be read") from error
    except (RecursionError, MemoryError, SystemError) as error:  # the reader of Python itself gives up by these three
        raise ValueError("it is nested too deeply") from error
    level, depth = [body], 0
    while level:
        depth += 1
        if depth > MOST_NESTED:
            raise ValueError("it is nested too deeply; lists after in are for long choices")
        level = [child for node in level for child in ast.iter_child_nodes(node)]
    return body


def constant(node: ast.expr) -> float | str:
    """A number or a text that stands in a query.

    Raises
    ------
    ValueError
        If the node is something else, or a number too large.
    """
    sign = 1.0
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub) and isinstance(node.operand, ast.Constant):
        sign, node = -1.0, node.operand
        if isinstance(node.value, str):
            raise ValueError("a text has no sign")
    if not isinstance(node, ast.Constant) or not isinstance(node.value, str | int | float) or isinstance(node.value, bool):
        raise ValueError("it is neither a number nor a quoted text")
    if isinstance(node.value, str):
        return node.value
    try:
        value = float(node.value)
    except OverflowError:
        value = math.inf
    if not math.isfinite(value):
        raise ValueError("it is too large a number")
    return sign * value


def column_named(name: str, columns: Iterable[str]) -> str | None:
    """The column that a name of a query stands for; Python reads names by their plain form (the micro sign as the letter mu).

    >>> column_named("\u03bcg", ["\u00b5g"]) == "\u00b5g"
    True
    """
    plain = {unicodedata.normalize("NFKC", str(column)): column for column in columns}
    return name if name in plain.values() else plain.get(name)


def cell_of(value: Any) -> Cell:
    """A value of a table as a cell; empty text, NaN and infinite numbers are missing.

    >>> cell_of(" 02 "), cell_of(True), cell_of(float("nan"))
    ('02', 1.0, None)
    """
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return None
    if isinstance(value, str):
        return value.strip() or None
    number = float(value)
    return number if math.isfinite(number) else None


def compare(how: type, one: Cell, other: Cell) -> bool:
    """Tell whether a comparison of two cells holds.

    A number and a text compare as numbers where the text is one (``"02"`` is 2), else they are different and in no order. Two texts are
    compared as they are written; in order as numbers, where both are.

    Parameters
    ----------
    how : type
        A key of `COMPARISONS`.
    one, other : float, str or None
        A comparison with None does not hold.

    Examples
    --------
    >>> compare(ast.Eq, "02", 2.0), compare(ast.Eq, "02", "2"), compare(ast.Eq, 2.0, "02"), compare(ast.Lt, "9", "10")
    (True, False, True, True)
    """
    if one is None or other is None:
        return False
    test, equality = COMPARISONS[how], how in (ast.Eq, ast.NotEq)
    if isinstance(one, str) and isinstance(other, str):
        left, right = (None, None) if equality else (number_of(one), number_of(other))
        return test(one, other) if left is None or right is None else test(left, right)
    left, right = number_of(one), number_of(other)
    if left is None or right is None:
        return how is ast.NotEq
    return test(left, right)


def number_of(cell: float | str) -> float | None:
    """The number that a cell is, None for other text."""
    if isinstance(cell, str):
        return float(cell) if re.fullmatch(NUMBER, cell.strip()) else None
    return cell


@dataclass(frozen=True)
class Choice:
    """The values of a list after ``in``, asked at once."""

    texts: frozenset[str]
    numbers: frozenset[float]
    written: frozenset[float]

    @classmethod
    def of(cls, values: Iterable[float | str]) -> Choice:
        """Sort the values of a list."""
        values = list(values)
        texts = [value for value in values if isinstance(value, str)]
        written = frozenset(number for text in texts if (number := number_of(text)) is not None)
        return cls(frozenset(texts), frozenset(value for value in values if not isinstance(value, str)), written)

    def has(self, cell: Cell) -> bool:
        """Tell whether a cell equals one of them, by the rules of `compare`.

        >>> Choice.of(["02", 7.0]).has("02"), Choice.of(["02"]).has("2"), Choice.of(["02"]).has(2.0), Choice.of([7.0]).has("007")
        (True, False, True, True)
        """
        if cell is None:
            return False
        if isinstance(cell, str):
            return cell in self.texts or (bool(self.numbers) and number_of(cell) in self.numbers)
        return cell in self.numbers or cell in self.written
