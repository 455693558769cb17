"""The closed language of the factors of a formula: text becomes work on columns by a syntax tree, and is never executed."""

from __future__ import annotations

import ast
import difflib
import json
import keyword
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from brainage_bids.records import BadConfiguration
from brainage_bids.stats.rows import Columns, labels

MOST_NESTED, LARGEST_POWER, MOST_DF, MOST_DEGREE = 100, 10, 20, 5
Values = Mapping[str, np.ndarray]
"""Columns to numbers (float) or text (object), without missing values."""
Work = Callable[[Values], Any]
"""Computes a factor: numbers of shape (), (n,) or (n, columns), text of shape (n,), or `Kinds`."""


@dataclass(frozen=True)
class Kinds:
    """A column whose values are kinds, and how they are compared.

    Attributes
    ----------
    values : ndarray, shape (n,)
    contrast : str
        ``Treatment`` or ``Sum``.
    level : Any
        The kind compared with, or left out of the sum; None for the first, or the last.
    """

    values: np.ndarray
    contrast: str = "Treatment"
    level: Any = None


def _centred(values: np.ndarray) -> np.ndarray:
    known = values[np.isfinite(values)]
    return values - (known.mean() if known.size else math.nan)


def _standardised(values: np.ndarray) -> np.ndarray:
    known = values[np.isfinite(values)]
    return _centred(values) / (known.std() if known.size else math.nan)


_OF_NUMPY: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    "log": np.log, "log2": np.log2, "log10": np.log10, "exp": np.exp, "sqrt": np.sqrt, "abs": np.abs,
}  # fmt: skip
"""May be written as ``np.log`` too."""
_FUNCTIONS = {**_OF_NUMPY, "center": _centred, "scale": _standardised, "standardize": _standardised}
_SPLINES = {"bs": {"df": MOST_DF, "degree": MOST_DEGREE}, "cr": {"df": MOST_DF}}
"""The words they take, and the largest number of each."""
_CONTRASTS = {"Treatment": "reference", "Sum": "omit"}
_OPERATORS = {ast.Add: np.add, ast.Sub: np.subtract, ast.Mult: np.multiply, ast.Div: np.divide, ast.Pow: np.power}
HINT = f'write columns, Q("any name"), C(column), I(arithmetic), {", ".join([*_FUNCTIONS, *_SPLINES])}, joined by + - * : / **'


def shown(text: str) -> str:
    r"""Text as a sentence may quote it: on one line, without what cannot be printed, not too long.

    >>> shown("a\n~ b")
    'a ~ b'
    """
    line = "".join(letter if letter.isprintable() else " " for letter in text)
    return line if len(line) <= 200 else f"{line[:200]}…"


def quoted(name: str) -> str:
    """A column as it is written in a formula.

    >>> quoted("bmi"), quoted("body mass")
    ('bmi', 'Q("body mass")')
    """
    plain = name.isascii() and name.isidentifier() and not keyword.iskeyword(name)
    return name if plain else f"Q({json.dumps(name, ensure_ascii=False)})"


class FactorReader:
    """Reads factors, the parts of a formula that Wilkinson's operators join.

    Parameters
    ----------
    about : str
        How sentences begin.
    table : mapping of columns
        Whose names may be used.

    Attributes
    ----------
    names : dict
        Text of a factor to the columns that it names.

    Examples
    --------
    >>> work = FactorReader("The formula", {"x": []}).factor("I(x**2 + 1)")
    >>> work({"x": np.array([1.0, 3.0])}).tolist()
    [2.0, 10.0]
    """

    def __init__(self, about: str, table: Columns) -> None:
        self.about, self.table = about, table
        self.names: dict[str, dict[str, None]] = {}

    def factor(self, code: str) -> Work:
        """Read one factor.

        Raises
        ------
        BadConfiguration
            If it is no column and no call of a function of the list, or holds anything but columns, numbers and arithmetic.
        RecursionError, MemoryError
            If it is nested too deeply.
        """
        self.code, self.found = code, self.names.setdefault(code, {})
        if code in self.table:
            return self._column(code)
        try:
            node = ast.parse(code, mode="eval").body
        except (SyntaxError, ValueError) as error:
            raise BadConfiguration(f"{self.about} cannot be read at '{shown(code)}'; {HINT}.") from error
        if isinstance(node, ast.Name):
            return self._plain_column(node)
        called = self._called(node)
        if called == "Q":
            return self._plain_column(node)
        if called == "C":
            return self._kinds(node)
        if called in _SPLINES:
            return self._spline(node, called)
        if called:
            return self._arithmetic(node)
        raise self._refused(node)

    def _refused(self, node: ast.AST, why: str = "") -> BadConfiguration:
        return BadConfiguration(f"{self.about} may not hold '{shown(self._text(node))}'{why and f' ({why})'}; {HINT}.")

    def _text(self, node: ast.AST) -> str:
        return ast.get_source_segment(self.code, node) or self.code  # what was written, not the identifier, which Python changes (NFKC)

    def _column(self, name: str) -> Work:
        if name not in self.table:
            near = difflib.get_close_matches(name[:100], map(str, self.table), 1)
            meant = f" (did you mean {quoted(near[0])}?)" if near else ""
            columns = ", ".join(map(str, self.table))
            raise BadConfiguration(f"{self.about} names '{shown(name)}', which is no column{meant}; there are {columns}.")
        self.found[name] = None
        return lambda table: table[name]

    def _plain_column(self, node: ast.AST) -> Work:
        if isinstance(node, ast.Name):
            return self._column(self._text(node))
        if self._called(node) != "Q":
            raise self._refused(node, "a column is needed here")
        (name,), _ = self._arguments(node, 1)
        return self._column(self._literal(name, str))

    def _called(self, node: ast.AST) -> str:
        """Name of the function that is called; empty if nothing is."""
        if not isinstance(node, ast.Call):
            return ""
        name = node.func
        if isinstance(name, ast.Attribute) and isinstance(name.value, ast.Name) and name.value.id == "np" and name.attr in _OF_NUMPY:
            return name.attr
        if isinstance(name, ast.Name) and name.id in {*_FUNCTIONS, *_SPLINES, "C", "I", "Q"}:
            return name.id
        raise self._refused(name, "no function that a formula may call")

    def _arguments(self, node: ast.Call, most: int, words: tuple[str, ...] = ()) -> tuple[list[ast.expr], dict[str, ast.expr]]:
        """What stands in the brackets, by place and by word; one value at least."""
        if not 1 <= len(node.args) <= most or any(isinstance(item, ast.Starred) for item in node.args):
            raise self._refused(node, "one value is needed" if most == 1 else f"1 to {most} values are needed")
        if any(word.arg not in words for word in node.keywords):
            raise self._refused(node, f"words that it may take: {', '.join(words) or 'none'}")
        return node.args, {str(word.arg): word.value for word in node.keywords}

    def _literal(self, node: ast.AST, *kinds: type) -> Any:
        """A text or a number that stands there as such; numbers as float."""
        negative = isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub) and str not in kinds
        value = node.operand if negative else node
        if not isinstance(value, ast.Constant) or type(value.value) not in kinds:
            raise self._refused(node, f"a plain {'text' if kinds == (str,) else 'value'} is needed")
        if isinstance(value.value, str):
            return value.value
        try:
            return -float(value.value) if negative else float(value.value)
        except OverflowError:
            raise self._refused(node, "too large a number") from None

    def _kinds(self, node: ast.Call) -> Work:
        arguments, words = self._arguments(node, 2, ("contrast",))
        given = [*arguments[1:], *words.values()]
        if len(given) > 1:
            raise self._refused(node, "one contrast is enough")
        column = self._plain_column(arguments[0])
        contrast, asked = self._contrast(given[0]) if given else ("Treatment", None)
        about = self.about

        def work(table: Values) -> Kinds:
            values = column(table)
            levels = sorted(set(values.tolist()))
            there = dict(zip(labels(levels), levels))
            if asked is not None and asked not in there:
                kinds = ", ".join(list(there)[:12])
                raise BadConfiguration(f"{about} compares with '{shown(asked)}', which is no value of the column; there are {kinds}.")
            return Kinds(values, contrast, there.get(asked))

        return work

    def _contrast(self, node: ast.AST) -> tuple[str, str | None]:
        name = node.func if isinstance(node, ast.Call) else node
        if not isinstance(name, ast.Name) or name.id not in _CONTRASTS:
            raise self._refused(node, f"contrasts are {' and '.join(_CONTRASTS)}")
        if name is node:
            return name.id, None
        given = [*node.args, *(word.value for word in node.keywords if word.arg == _CONTRASTS[name.id])]
        if len(given) > 1 or len(given) < len(node.args) + len(node.keywords):
            raise self._refused(node, f"one value, {_CONTRASTS[name.id]}, may be given")
        return name.id, str(labels([self._literal(given[0], str, int, float)])[0]) if given else None

    def _spline(self, node: ast.Call, name: str) -> Work:
        import patsy

        most = _SPLINES[name]
        arguments, words = self._arguments(node, 2, tuple(most))
        if len(arguments) == 2 and "df" not in words:
            arguments, words = arguments[:1], {**words, "df": arguments[1]}
        options = {word: self._literal(value, int) for word, value in words.items()}
        if len(arguments) > 1 or "df" not in options or any(not 1 <= value <= most[word] for word, value in options.items()):
            raise self._refused(node, " and ".join(f"{word} of 1 to {largest}" for word, largest in most.items()))
        inner, spline = self._arithmetic(arguments[0]), {"bs": patsy.bs, "cr": patsy.cr}[name]
        return lambda table: spline(_whole(inner(table), table), **{word: int(value) for word, value in options.items()})

    def _arithmetic(self, node: ast.AST, depth: int = 0) -> Work:
        """Numbers, columns of numbers, operators and functions of them."""
        if depth > MOST_NESTED:
            raise RecursionError
        if isinstance(node, ast.Constant):
            number = self._literal(node, int, float)
            return lambda table: number
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
            inner, sign = self._arithmetic(node.operand, depth + 1), 1 if isinstance(node.op, ast.UAdd) else -1
            return lambda table: sign * inner(table)
        if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
            if isinstance(node.op, ast.Pow) and abs(self._literal(node.right, int, float)) > LARGEST_POWER:
                raise self._refused(node, f"powers may be up to {LARGEST_POWER}")
            operator = _OPERATORS[type(node.op)]
            one, other = self._arithmetic(node.left, depth + 1), self._arithmetic(node.right, depth + 1)
            return lambda table: operator(one(table), other(table))
        called = self._called(node)
        if called == "I" or called in _FUNCTIONS:
            (argument,), _ = self._arguments(node, 1)
            inner, function = self._arithmetic(argument, depth + 1), _FUNCTIONS.get(called, np.asarray)
            return lambda table: function(_whole(inner(table), table))
        return self._numbers(node)

    def _numbers(self, node: ast.AST) -> Work:
        column, about, text = self._plain_column(node), self.about, shown(self._text(node))

        def work(table: Values) -> np.ndarray:
            values = column(table)
            if values.dtype == object:
                raise BadConfiguration(f"{about} computes with {text}, which holds text; C({text}) makes kinds of it.")
            return values

        return work


def _whole(values: Any, table: Values) -> np.ndarray:
    """A column, where there may be a single number."""
    return np.broadcast_to(np.asarray(values, dtype=float), len(next(iter(table.values()))))
