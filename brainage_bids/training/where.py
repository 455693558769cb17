"""Conditions on rows of a phenotype table: ``group == 'control' and age >= 20``."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping

from brainage_bids.bids.tables import is_missing
from brainage_bids.records import BadConfiguration
from brainage_bids.stats.comparisons import COMPARISONS, Cell, Choice, column_named, compare, constant, parse_query, shown


def parse_where(text: str) -> Callable[[Mapping[str, Cell]], bool]:
    """Turn a condition into a function of a row.

    Columns are compared with numbers or quoted words by ``== != < <= > >= in``, joined by ``and``, ``or``, ``not``; what that means for
    cells of numbers and of codes, see `stats.comparisons.compare`. A cell that is missing fulfils no comparison. Nothing of the text is
    executed.

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
        test = _test(parse_query(text), text)
    except ValueError as error:
        example = "write for example: group == 'control' and age >= 20"
        raise BadConfiguration(f"The condition {shown(text)!r} cannot be read ({error}); {example}.") from error
    return test


def _test(node: ast.expr, text: str) -> Callable[[Mapping[str, Cell]], bool]:
    """The condition below a node.

    Raises
    ------
    ValueError
        If it is none.
    """
    if isinstance(node, ast.BoolOp):
        join, parts = all if isinstance(node.op, ast.And) else any, [_test(part, text) for part in node.values]
        return lambda row: join(part(row) for part in parts)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        inner = _test(node.operand, text)
        return lambda row: not inner(row)
    if not (isinstance(node, ast.Compare) and isinstance(node.left, ast.Name) and len(node.ops) == 1):
        raise ValueError("there is a part that compares no column with a value")
    name, how, right = node.left.id, type(node.ops[0]), node.comparators[0]
    if how in (ast.In, ast.NotIn) and isinstance(right, ast.List | ast.Tuple | ast.Set):
        choice = Choice.of(map(constant, right.elts))
        return lambda row: (cell := _cell(row, name, text)) is not None and choice.has(cell) == (how is ast.In)
    if how not in COMPARISONS:
        raise ValueError("it has a comparison that is not known, or in without a list")
    value = constant(right)
    return lambda row: compare(how, _cell(row, name, text), value)


def _cell(row: Mapping[str, Cell], name: str, text: str) -> Cell:
    """The cell of a column.

    Raises
    ------
    BadConfiguration
        If there is no such column.
    """
    column = column_named(name, row)
    if column is None:
        said = f"The condition {shown(text)!r} asks for the column {shown(name)!r}"
        raise BadConfiguration(f"{said}, which the phenotype table does not have.")
    cell = row[column]
    return None if isinstance(cell, str) and is_missing(cell) else cell
