"""Formulas split into terms and turned into a design: patsy knows the operators, contrasts and names, `formula_reader` what a term holds.

patsy is given factors of our own (its factor protocol), so that it evaluates no text.
"""

from __future__ import annotations

import math
import tokenize
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from brainage_bids.records import BadConfiguration, UnusableInput
from brainage_bids.stats.formula_reader import HINT, LARGEST_POWER, FactorReader, Kinds, Values, Work, shown
from brainage_bids.stats.rows import Columns

if TYPE_CHECKING:
    from patsy import ModelDesc

MOST_LETTERS, MOST_TERMS, MOST_COEFFICIENTS = 2000, 500, 1000


@dataclass(frozen=True)
class Design:
    """What a formula makes of a table.

    Attributes
    ----------
    outcome : ndarray, shape (k,)
    matrix : ndarray, shape (k, p)
    names : tuple of str, length p
        Of the columns of the matrix.
    kept : ndarray of bool, shape (n,)
        The k rows in which every term is a finite number.
    """

    outcome: np.ndarray
    matrix: np.ndarray
    names: tuple[str, ...]
    kept: np.ndarray


@dataclass(frozen=True)
class Formula:
    """A formula that was read, see `read_formula`.

    Attributes
    ----------
    text : str
    columns : tuple of str
        Those it names, that of the outcome first.
    """

    text: str
    columns: tuple[str, ...]
    _terms: ModelDesc
    _works: Mapping[str, Work]

    def design(self, table: Values) -> Design:
        """Compute the terms. Rows in which one is no finite number (the logarithm of 0) are left out.

        Raises
        ------
        UnusableInput
            If no row is left.
        BadConfiguration
            If a term cannot be computed, the outcome is text, or there would be more than 1000 coefficients.
        """
        import patsy

        left, right = self._terms.lhs_termlist, self._terms.rhs_termlist
        factors = {factor: self._factor(factor.code, table) for term in (*left, *right) for factor in term.factors}
        kept = np.logical_and.reduce([factor.finite() for factor in factors.values()])
        if not kept.any():
            raise UnusableInput(f"No row can be used for '{self.text}': a term is no finite number in any.")
        factors = {name: factor.of_rows(kept) for name, factor in factors.items()}
        size = sum(math.prod(factors[name].width for name in term.factors) for term in right)
        if size > MOST_COEFFICIENTS:
            raise self._unfit(f"its terms have {size} columns; {MOST_COEFFICIENTS} are allowed")
        if factors[left[0].factors[0]].width != 1 or factors[left[0].factors[0]].kinds:
            raise self._unfit("the outcome is not one column of numbers")
        sides = [[patsy.Term([factors[name] for name in term.factors]) for term in side] for side in (left, right)]
        try:
            with np.errstate(all="ignore"):  # nothing is missing here; of itself patsy takes a kind called nan for it
                outcome, matrix = patsy.dmatrices(patsy.ModelDesc(*sides), {}, NA_action=patsy.NAAction(NA_types=[]))
        except patsy.PatsyError as error:
            raise self._unfit(str(error).splitlines()[0]) from error
        if not np.isfinite(matrix).all():
            raise self._unfit("a product of terms is too large a number")
        return Design(np.asarray(outcome)[:, 0], np.asarray(matrix), tuple(matrix.design_info.column_names), kept)

    def _factor(self, code: str, table: Values) -> _Factor:
        try:
            with np.errstate(all="ignore"):  # rows that are not finite are left out
                value = self._works[code](table)
        except BadConfiguration:
            raise
        except (ValueError, np.linalg.LinAlgError) as error:  # of splines, whose knots must lie apart
            raise self._unfit(f"{code}: {error}") from error
        if isinstance(value, Kinds):
            return _Factor(code, value.values, value)
        if value.dtype == object:
            return _Factor(code, value, Kinds(value))
        return _Factor(code, value)

    def _unfit(self, why: str) -> BadConfiguration:
        return BadConfiguration(f"The model '{self.text}' cannot be fitted ({why}).")


@dataclass(frozen=True, eq=False)
class _Factor:
    """A computed factor as patsy takes it: nothing to learn, and the same values whatever the data."""

    code: str
    values: np.ndarray
    kinds: Kinds | None = None
    origin: None = None

    @property
    def width(self) -> int:
        """Columns that it has at most."""
        return len(set(self.values.tolist())) if self.kinds else int(np.prod(self.values.shape[1:], dtype=int))

    def finite(self) -> np.ndarray:
        """Rows that can be used."""
        if self.kinds:
            return np.ones(len(self.values), dtype=bool)
        return np.isfinite(self.values).reshape(len(self.values), -1).all(axis=1)

    def of_rows(self, kept: np.ndarray) -> _Factor:
        return replace(self, values=self.values[kept])

    def name(self) -> str:
        return self.code

    def memorize_passes_needed(self, state: Any, eval_env: Any) -> int:
        return 0

    def eval(self, state: Any, data: Any) -> Any:
        from patsy import Sum, Treatment
        from patsy.categorical import C

        if not self.kinds:
            return self.values
        return C(self.values.astype(object), {"Sum": Sum, "Treatment": Treatment}[self.kinds.contrast](self.kinds.level))


def read_formula(text: str, table: Columns) -> Formula:
    """Read a formula; nothing is computed.

    Parameters
    ----------
    text : str
        ``outcome ~ terms``. A term is a column (numbers, or text as kinds), ``Q("any name")``, ``C(column)``,
        ``C(column, Treatment("kind"))``, ``I(arithmetic)``, ``log(arithmetic)`` and others, ``bs(arithmetic, df=4)`` or ``cr(…)``, joined
        by ``+ - * : / **``. A name is that of a function only where it is called, so a column may have it too.
    table : mapping of columns
        Whose names may be used.

    Raises
    ------
    BadConfiguration
        If it holds anything else, or is too large.

    Examples
    --------
    >>> asked = read_formula("y ~ log(x)", {"y": [], "x": []})
    >>> design = asked.design({"y": np.array([1.0, 2.0, 3.0]), "x": np.array([1.0, np.e, 0.0])})
    >>> design.names, design.matrix.tolist(), design.kept.tolist()
    (('Intercept', 'log(x)'), [[1.0, 0.0], [1.0, 1.0]], [True, True, False])
    """
    about = f"The formula '{shown(text)}'"
    if len(text) > MOST_LETTERS:
        raise BadConfiguration(f"{about} has {len(text)} letters; {MOST_LETTERS} are allowed.")
    try:
        return _read(text, table, about)
    except (RecursionError, MemoryError) as error:
        raise BadConfiguration(f"{about} is nested too deeply.") from error


def _read(text: str, table: Columns, about: str) -> Formula:
    from patsy import ModelDesc, PatsyError
    from patsy.parse_formula import parse_formula

    unreadable = (PatsyError, SyntaxError, ValueError, AssertionError, tokenize.TokenError)
    try:
        tree = parse_formula(text.replace("\r", " "))
    except unreadable as error:
        raise BadConfiguration(f"{about} cannot be read ({getattr(error, 'message', 'brackets or quotes')}); {HINT}.") from error
    if len(tree.args) != 2:
        raise BadConfiguration(f"{about} is not of the form 'outcome ~ terms'.")
    reader = FactorReader(about, table)
    works = {code: reader.factor(code) for code in _codes(tree)}
    _check_powers(tree, about)
    if _most_terms(tree) > MOST_TERMS:
        raise BadConfiguration(f"{about} has more than {MOST_TERMS} terms.")
    try:
        terms = ModelDesc.from_formula(tree)
    except PatsyError as error:
        raise BadConfiguration(f"{about} cannot be read ({error.message}); {HINT}.") from error
    left, right = terms.lhs_termlist, terms.rhs_termlist
    if len(left) != 1 or len(left[0].factors) != 1:
        raise BadConfiguration(f"{about} must have one outcome before its ~.")
    if not right:
        raise BadConfiguration(f"{about} has no term after its ~.")
    if any(left[0].factors[0] in term.factors for term in right):
        raise BadConfiguration(f"{about} explains its outcome by itself; take '{shown(left[0].factors[0].code)}' from one side of its ~.")
    used = {factor.code for term in (*left, *right) for factor in term.factors}
    named = dict.fromkeys(name for code in works if code in used for name in reader.names[code])
    return Formula(shown(text), tuple(named), terms, works)


def _codes(tree) -> list[str]:
    """Text of the factors, in their order."""
    found, rest = [], [tree]
    while rest:
        node = rest.pop()
        if node.type == "PYTHON_EXPR":
            found.append(node.token.extra)
        rest += reversed(node.args)
    return list(dict.fromkeys(found))


def _check_powers(tree, about: str) -> None:
    """Refuse powers that Wilkinson's operator does not mean: of one column, which stays as it is, and beyond any interaction."""
    for part in tree.args:
        _check_powers(part, about)
    if tree.type != "**":
        return
    base, power = tree.args
    if base.type == "PYTHON_EXPR":
        raised = f"I({base.token.extra}**{power.token.extra if power.token else 2})"
        raise BadConfiguration(f"{about} raises one term, which changes nothing; the power itself is written {shown(raised)}.")
    digits = power.token.extra if power.token else ""
    if digits.isdecimal() and (len(digits) > 2 or int(digits) > LARGEST_POWER):
        raise BadConfiguration(f"{about} has interactions of {shown(digits)} terms; powers may be up to {LARGEST_POWER}.")


def _most_terms(tree) -> int:
    """How many terms the operators make at most; told before they are made."""
    if not tree.args:
        return 1
    sizes = [_most_terms(part) for part in tree.args]
    if tree.type == "**":
        power = tree.args[1].token.extra if not tree.args[1].args else ""
        most = min(sizes[0], int(power) if power.isdecimal() and len(power) < 9 else MOST_TERMS)
        size = sum(math.comb(sizes[0] + count - 1, count) for count in range(1, most + 1))
    elif tree.type == "*":
        size = sum(sizes) + math.prod(sizes)
    else:
        size = math.prod(sizes) if tree.type == ":" else sum(sizes)
    return min(size, MOST_TERMS + 1)
