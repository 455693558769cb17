"""What the cells of a phenotype table mean: ages in years, and sex."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from brainage_bids.bids.tables import is_missing

YEARS_PER_UNIT: Mapping[str, float] = {"years": 1.0, "months": 1 / 12, "weeks": 7 / 365.25, "days": 1 / 365.25}
"""Length of a unit in years (Julian year of 365.25 days)."""
OLDEST = 125.0  # years; nobody has been older

_UNIT_WORDS = {
    "years": {"year", "years", "yr", "yrs", "y", "yo", "annum"},
    "months": {"month", "months", "mo", "mos", "mth", "mths", "m"},
    "weeks": {"week", "weeks", "wk", "wks", "w"},
    "days": {"day", "days", "d"},
}
_NOT_SINCE_BIRTH = re.compile("gestation|menstrual|concept", re.IGNORECASE)
_AGE = re.compile(
    r"(?P<below>[<>≤≥]=?)?\s*(?P<number>\d+(?:\.\d*)?|\.\d+)\s*(?P<above>\+)?\s*(?P<unit>[A-Za-z]+)?(?P<older>\s+(?:or|and)\s+(?:older|over|above))?"
)
_SEXES: Mapping[str, Literal["F", "M"]] = {
    "f": "F", "female": "F", "woman": "F", "women": "F", "girl": "F", "females": "F",
    "m": "M", "male": "M", "man": "M", "men": "M", "boy": "M", "males": "M",
}  # fmt: skip
_NEITHER = frozenset({"o", "other", "others", "x", "i", "intersex", "nonbinary", "non-binary", "undisclosed"})


@dataclass(frozen=True)
class Age:
    """An age in years, and whether it was given as a bound (``89+``)."""

    years: float
    censored: bool = False


def age_unit(description: Any) -> str | None:
    """Find the unit of an age column in its JSON description.

    Parameters
    ----------
    description : object
        The entry of the column in the JSON file (an object with ``Units``); anything else says nothing.

    Returns
    -------
    str or None
        A key of `YEARS_PER_UNIT`; years if nothing is said; None if the unit is not an age since birth or not known.

    >>> age_unit({"Units": "Months"}), age_unit(None), age_unit({"Units": "gestational weeks"})
    ('months', 'years', None)
    """
    if not isinstance(description, dict):
        return "years"
    units = next((description[key] for key in ("Units", "units", "Unit", "unit") if key in description), None)
    if not isinstance(units, str) or is_missing(units):
        return "years"
    if _NOT_SINCE_BIRTH.search(units):
        return None
    words = set(re.findall(r"[a-z]+", units.lower()))
    named = [unit for unit, synonyms in _UNIT_WORDS.items() if words & synonyms]
    return named[0] if len(named) == 1 else None


def parse_age(text: str | None, unit: str = "years") -> Age | None:
    """Read one age.

    Parameters
    ----------
    text : str
        ``"34.2"``, ``"89+"``, ``">=89"``, ``"034Y"`` (as in DICOM), ``"18 months"``; a unit in the cell wins.
    unit : str
        A key of `YEARS_PER_UNIT`.

    Returns
    -------
    Age or None
        None if the cell says that the age is not known.

    Raises
    ------
    ValueError
        If the cell is something else, or an age below 0 or above 125 years.

    >>> parse_age("89+"), parse_age("30", "months")
    (Age(years=89.0, censored=True), Age(years=2.5, censored=False))
    """
    if text is None or is_missing(text):
        return None
    match = _AGE.fullmatch(text.strip())
    if match is None:
        raise ValueError("is not a number")
    if match["unit"]:
        named = [name for name, synonyms in _UNIT_WORDS.items() if match["unit"].lower() in synonyms]
        if not named:
            raise ValueError("is not a number")
        unit = named[0]
    years = float(match["number"]) * YEARS_PER_UNIT[unit]
    if years > OLDEST:
        raise ValueError("is no human age (check the unit in the JSON file)")
    return Age(years, bool(match["below"] or match["above"] or match["older"]))


def parse_sex(text: str | None, levels: Any = None) -> Literal["F", "M"] | None:
    """Read one sex.

    Parameters
    ----------
    text : str
        A word or letter, or a code.
    levels : mapping, optional
        ``Levels`` of the JSON description: code to words, which win over what the code itself seems to say.

    Returns
    -------
    {"F", "M"} or None
        None if it is not known or neither.

    Raises
    ------
    ValueError
        If the cell is something else.

    >>> parse_sex(" Female"), parse_sex("1", {"0": "female", "1": "male"}), parse_sex("O")
    ('F', 'M', None)
    """
    if text is None or is_missing(text):
        return None
    word = _level(text, levels) or text
    tokens = re.findall(r"[a-z-]+", word.lower())
    sexes = {_SEXES[token] for token in tokens if token in _SEXES}
    if len(sexes) == 1:
        return sexes.pop()
    if not sexes and (is_missing(word) or not _NEITHER.isdisjoint(tokens)):
        return None
    raise ValueError("is not understood")


def is_code(text: str) -> bool:
    """Tell whether a cell is a number, which means nothing without the levels of the JSON file."""
    return re.fullmatch(r"[+-]?\d+(\.\d*)?", text.strip()) is not None


def _level(text: str, levels: Any) -> str | None:
    """Look a code up; ``1`` and ``1.0`` are the same code."""
    if not isinstance(levels, dict):
        return None

    def plain(code: object) -> str:
        return re.sub(r"\.0*$", "", str(code).strip()).lower()

    for code, meaning in levels.items():
        if plain(code) == plain(text):
            if isinstance(meaning, dict):
                meaning = next((meaning[key] for key in ("Description", "description", "LongName", "Label") if key in meaning), None)
            return meaning if isinstance(meaning, str) else None
    return None
