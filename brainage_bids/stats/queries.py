"""Queries on a table (``group == 'control' and age >= 18``), read by an evaluator of our own: nothing of it is ever executed."""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from brainage_bids.records import BadConfiguration
from brainage_bids.stats.comparisons import (
    COMPARISONS,
    Cell,
    Choice,
    cell_of,
    column_named,
    compare,
    constant,
    number_of,
    parse_query,
    shown,
)

_QUOTED = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"|`([^`]+)`")
_HINT = "use columns, numbers, quoted texts, lists, ==, !=, <, <=, >, >=, in, not in, and, or, not and brackets"


def rows_where(query: str, table: Mapping[str, Sequence[Any]], n: int, option: str = "--where") -> np.ndarray:
    """Tell for which rows a query holds.

    A comparison with a missing value does not hold, ``!=`` and ``not in`` neither. What a comparison means is decided by the column:
    where it holds numbers, a quoted number is that number; where it holds codes ("02"), a quoted text is compared as it is written,
    and a number as a number.

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
        If the query cannot be read, names an unknown column, does anything but compare, or quotes a code that the column writes otherwise.

    Examples
    --------
    >>> rows_where("group == 'control' and age > 30", {"group": ["control", "control", None], "age": [20, 40, 50]}, 3).tolist()
    [False, True, False]
    >>> rows_where("site == '02' or site == 3", {"site": ["01", "02", "03"]}, 3).tolist()
    [False, True, True]
    """
    columns: dict[str, str] = {}

    def named(match: re.Match) -> str:
        return match[0] if match[1] is None else columns.setdefault(match[1], f"_column_{len(columns)}_")

    about = f"The query {option} {shown(query)!r}"
    try:
        body = parse_query(_QUOTED.sub(named, query))
    except ValueError as error:
        raise BadConfiguration(f"{about} cannot be read ({error}); {_HINT}.") from error
    return _Reader(about, table, n, {word: name for name, word in columns.items()}).truth(body)


class _Reader:
    def __init__(self, about: str, table: Mapping[str, Sequence[Any]], n: int, quoted: Mapping[str, str]) -> None:
        self.about, self.table, self.n, self.quoted = about, table, n, quoted
        self._cells: dict[str, list[Cell]] = {}

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
        raise BadConfiguration(f"{self.about} has a part that is no comparison ({self._said(node)}); {_HINT}.")

    def _compare(self, left: ast.expr, how: ast.cmpop, right: ast.expr) -> np.ndarray:
        if isinstance(how, ast.In | ast.NotIn):
            return self._among(left, how, right)
        if type(how) not in COMPARISONS:
            raise BadConfiguration(f"{self.about} has a comparison that is not known; {_HINT}.")
        one, other = self._value(left), self._value(right)
        if isinstance(how, ast.Eq | ast.NotEq):
            for cells, node in ((one, right), (other, left)):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    self._check_codes(cells, {node.value})
        return np.array([compare(type(how), a, b) for a, b in zip(one, other)], dtype=bool)

    def _among(self, left: ast.expr, how: ast.cmpop, right: ast.expr) -> np.ndarray:
        if not isinstance(right, ast.List | ast.Tuple | ast.Set):
            raise BadConfiguration(f"{self.about} needs a list after in, such as site in ['a', 'b'].")
        cells = self._value(left)
        values = [self._constant(item) for item in right.elts if not isinstance(item, ast.Name)]
        self._check_codes(cells, {value for value in values if isinstance(value, str)})
        choice = Choice.of(values)
        found = np.array([choice.has(cell) for cell in cells], dtype=bool)
        for item in right.elts:
            if isinstance(item, ast.Name):
                found |= self._compare(left, ast.Eq(), item)
        return found if isinstance(how, ast.In) else ~found & np.array([cell is not None for cell in cells], dtype=bool)

    def _check_codes(self, cells: Sequence[Cell], asked: Collection[str]) -> None:
        """Refuse a code that a column of codes writes otherwise ("2" for "02"): it would hold for nobody, or keep everybody."""
        there = {cell for cell in cells if isinstance(cell, str)}
        by_number: dict[float, str] = {}
        for cell in there:
            if (number := number_of(cell)) is not None:
                by_number.setdefault(number, cell)
        for text in asked if by_number else ():
            number = number_of(text)
            if text not in there and number in by_number and by_number[number] not in asked:
                raise BadConfiguration(
                    f"{self.about} asks for {text!r}, which the column writes {by_number[number]!r}; write it alike, or {number:g} without "
                    "quotes."
                )

    def _value(self, node: ast.expr) -> list[Cell]:
        if isinstance(node, ast.Name):
            return self._column(self.quoted.get(node.id, node.id))
        return [self._constant(node)] * self.n

    def _constant(self, node: ast.expr) -> float | str:
        try:
            return constant(node)
        except ValueError as error:
            raise BadConfiguration(f"{self.about} has a part that is not allowed ({self._said(node)}: {error}); {_HINT}.") from error

    def _column(self, name: str) -> list[Cell]:
        asked, name = name, column_named(name, self.table)
        if name is None:
            raise BadConfiguration(f"{self.about} names '{shown(asked)}', which is no column; there are {', '.join(map(str, self.table))}.")
        if name not in self._cells:
            self._cells[name] = [cell_of(value) for value in self.table[name]]
        return self._cells[name]

    def _said(self, node: ast.expr) -> str:
        if isinstance(node, ast.Constant) and isinstance(node.value, int):
            return "a number"  # thousands of digits cannot even be written
        return ast.unparse(node)[:40]
