"""Queries on a table (``group == 'control' and age >= 18``), read by an evaluator of our own: nothing of it is ever executed."""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from brainage_bids.records import BadConfiguration, UnusableInput
from brainage_bids.stats.rows import labels, numbers

_COMPARISONS = {
    ast.Eq: operator.eq, ast.NotEq: operator.ne, ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge,
}  # fmt: skip
_QUOTED = re.compile(r"`([^`]+)`")
_HINT = "use columns, numbers, quoted texts, lists, ==, !=, <, <=, >, >=, in, not in, and, or, not and brackets"


def rows_where(query: str, table: Mapping[str, Sequence[Any]], n: int, option: str = "--where") -> np.ndarray:
    """Tell for which rows a query holds.

    A comparison with a missing value does not hold, ``!=`` and ``not in`` neither.

    Parameters
    ----------
    query : str
        Comparisons of columns with values, joined by and, or, not (or &, |, ~). A column whose name is no plain word stands between
        backticks.
    table : mapping of name to sequence, each of length n
        Numbers or text; None and NaN are missing.
    n : int
        Number of rows.
    option : str
        Named in the errors.

    Returns
    -------
    ndarray of bool, shape (n,)

    Raises
    ------
    BadConfiguration
        If the query cannot be read, names an unknown column, or does anything but compare.

    Examples
    --------
    >>> rows_where("group == 'control' and age > 30", {"group": ["control", "control", None], "age": [20, 40, 50]}, 3).tolist()
    [False, True, False]
    """
    columns: dict[str, str] = {}

    def named(match: re.Match) -> str:
        return columns.setdefault(match[1], f"_column_{len(columns)}_")

    try:
        tree = ast.parse(_QUOTED.sub(named, query).strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise BadConfiguration(f"The query {option} {query!r} cannot be read ({error.__class__.__name__}); {_HINT}.") from error
    reader = _Reader(query, option, table, n, {word: name for name, word in columns.items()})
    return reader.truth(tree.body)


class _Reader:
    def __init__(self, query: str, option: str, table: Mapping[str, Sequence[Any]], n: int, quoted: Mapping[str, str]) -> None:
        self.about, self.table, self.n, self.quoted = f"The query {option} {query!r}", table, n, quoted

    def truth(self, node: ast.expr) -> np.ndarray:
        if isinstance(node, ast.BoolOp):
            parts = [self.truth(value) for value in node.values]
            return np.logical_and.reduce(parts) if isinstance(node.op, ast.And) else np.logical_or.reduce(parts)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitAnd | ast.BitOr):
            left, right = self.truth(node.left), self.truth(node.right)
            return left & right if isinstance(node.op, ast.BitAnd) else left | right
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not | ast.Invert):
            return ~self.truth(node.operand)
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            parts = [self._compare(one, how, other) for one, how, other in zip(sides, node.ops, sides[1:])]
            return np.logical_and.reduce(parts)
        raise BadConfiguration(f"{self.about} has a part that is no comparison ({ast.unparse(node)[:40]}); {_HINT}.")

    def _compare(self, left: ast.expr, how: ast.cmpop, right: ast.expr) -> np.ndarray:
        if isinstance(how, ast.In | ast.NotIn):
            if not isinstance(right, ast.List | ast.Tuple | ast.Set):
                raise BadConfiguration(f"{self.about} needs a list after in, such as site in ['a', 'b'].")
            found = np.zeros(self.n, dtype=bool)
            for item in right.elts:
                found |= self._compare(left, ast.Eq(), item)
            return found if isinstance(how, ast.In) else ~found & self._present(left)
        if type(how) not in _COMPARISONS:
            raise BadConfiguration(f"{self.about} has a comparison that is not known; {_HINT}.")
        one, other = self._value(left), self._value(right)
        texts = isinstance(one, str) or isinstance(other, str) or any(_is_text(side) for side in (one, other))
        if texts:
            one, other = _as_text(one, self.n), _as_text(other, self.n)
            there = np.array([a is not None and b is not None for a, b in zip(one, other)], dtype=bool)
        else:
            one, other = np.broadcast_to(one, self.n), np.broadcast_to(other, self.n)
            there = np.isfinite(one) & np.isfinite(other)
        found = np.zeros(self.n, dtype=bool)
        found[there] = [bool(_COMPARISONS[type(how)](a, b)) for a, b in zip(one[there], other[there])]
        return found

    def _present(self, node: ast.expr) -> np.ndarray:
        value = self._value(node)
        return np.array([item is not None for item in _as_text(value, self.n)], dtype=bool)

    def _value(self, node: ast.expr) -> Any:
        if isinstance(node, ast.Constant) and isinstance(node.value, str | int | float) and not isinstance(node.value, bool):
            return node.value if isinstance(node.value, str) else float(node.value)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub) and isinstance(node.operand, ast.Constant):
            return -self._value(node.operand)
        if isinstance(node, ast.Name):
            name = self.quoted.get(node.id, node.id)
            if name not in self.table:
                raise BadConfiguration(f"{self.about} names '{name}', which is no column; there are {', '.join(map(str, self.table))}.")
            return _column(self.table[name])
        raise BadConfiguration(f"{self.about} has a part that is not allowed ({ast.unparse(node)[:40]}); {_HINT}.")


def _column(values: Sequence[Any]) -> np.ndarray:
    try:
        return numbers(values)
    except UnusableInput:
        return labels(values)


def _is_text(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.dtype == object


def _as_text(value: Any, n: int) -> np.ndarray:
    if isinstance(value, np.ndarray):
        return value if value.dtype == object else labels(value)
    return np.full(n, value if isinstance(value, str) else f"{value:g}", dtype=object)
