"""Conditions on rows of a phenotype table: ``group == 'control' and age >= 20``."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping

from brainage_bids.bids.tables import is_missing
from brainage_bids.records import BadConfiguration

_COMPARE: Mapping[type, Callable] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}


def parse_where(text: str) -> Callable[[Mapping[str, str | None]], bool]:
    """Turn a condition into a function of a row.

    Columns are compared with numbers or quoted words by ``== != < <= > >= in``, joined by ``and``, ``or``, ``not``. A cell
    that is missing, or no number where one is asked for, fulfils no comparison. Nothing of the text is executed.

    Parameters
    ----------
    text : str

    Raises
    ------
    BadConfiguration
        If it is no such condition; while it is used, if a column is not in the table.

    Examples
    --------
    >>> parse_where("group == 'control' and age < 40")({"group": "control", "age": "31.5"})
    True
    """
    try:
        body = ast.parse(text.strip(), mode="eval").body
        _check(body)
    except (SyntaxError, ValueError) as error:
        raise BadConfiguration(f"The condition {text!r} cannot be read; write for example: group == 'control' and age >= 20.") from error
    return lambda row: _holds(body, row, text)


def _check(node: ast.expr) -> None:
    if isinstance(node, ast.BoolOp):
        for part in node.values:
            _check(part)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        _check(node.operand)
    elif isinstance(node, ast.Compare) and isinstance(node.left, ast.Name) and len(node.ops) == 1:
        value = ast.literal_eval(node.comparators[0])
        single = isinstance(value, (int, float, str)) and not isinstance(value, bool)
        several = isinstance(value, (list, tuple, set)) and all(isinstance(item, str) for item in value)
        if not (single and type(node.ops[0]) in _COMPARE) and not (several and isinstance(node.ops[0], (ast.In, ast.NotIn))):
            raise ValueError
    else:
        raise ValueError


def _holds(node: ast.expr, row: Mapping[str, str | None], text: str) -> bool:
    if isinstance(node, ast.BoolOp):
        join = all if isinstance(node.op, ast.And) else any
        return join(_holds(part, row, text) for part in node.values)
    if isinstance(node, ast.UnaryOp):
        return not _holds(node.operand, row, text)
    name = node.left.id
    if name not in row:
        raise BadConfiguration(f"The condition {text!r} asks for the column {name!r}, which the phenotype table does not have.")
    cell, value = row[name], ast.literal_eval(node.comparators[0])
    if is_missing(cell):
        return False
    if isinstance(value, (list, tuple, set)):
        return (cell in value) == isinstance(node.ops[0], ast.In)
    if isinstance(value, str):
        return _COMPARE[type(node.ops[0])](cell, value)
    try:
        return _COMPARE[type(node.ops[0])](float(cell), value)
    except ValueError:
        return False
