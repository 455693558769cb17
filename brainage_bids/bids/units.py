"""What the cells of a phenotype table mean: ages in years, and sex."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from brainage_bids.bids.descriptions import field, is_absent, meaning, text_of
from brainage_bids.bids.tables import is_missing, is_no_value

YEARS_PER_UNIT: Mapping[str, float] = {"years": 1.0, "months": 1 / 12, "weeks": 7 / 365.25, "days": 1 / 365.25}
"""Length of a unit in years (Julian year of 365.25 days)."""
OLDEST = 125.0  # years; nobody has been older

_UNIT_WORDS = {
    "years": {"year", "years", "yr", "yrs", "y", "yo", "annum", "a", "jahr", "jahre", "jahren", "ans", "année", "années", "años", "anni"},
    "months": {"month", "months", "mo", "mos", "mth", "mths", "mon", "mons", "m", "monat", "monate", "monaten", "mois", "meses", "mesi"},
    "weeks": {"week", "weeks", "wk", "wks", "w", "woche", "wochen", "semaines", "semanas", "settimane"},
    "days": {"day", "days", "d", "tag", "tage", "tagen", "jours", "días", "giorni"},
}
_UNIT_FIELDS = ("units", "unit", "unitofmeasure", "unitofmeasurement", "measurementunit", "unittext", "unitcode")
_DURATION_UNITS = {"P1Y": "years", "P1M": "months", "P1W": "weeks", "P1D": "days"}
_LONG = 3  # letters; shorter words than these are no units in a sentence
_NOT_SINCE_BIRTH = re.compile(
    r"gestation|menstrual|concept|(?:corrected|adjusted)[ _-]+(?:for prematurity|(?:post[ _-]?natal )?age)|\b(?:PMA|PCA|GA)\b",
    re.IGNORECASE,
)
_SAID_UNIT = re.compile(
    r"(?:\b(?:in|as|of|number of|units?(?: are| is)?|counted by)[ :=]+(?:(?:completed|full|whole|decimal|calendar) )?|[(\[,;/:]\s*|^)"
    r"(?P<unit>(?!(?:in|as|of)\b)[^\W\d_]+)(?=[\s)\],;:./]|$)(?! (?:of|after|before|since|until|from|to) (?!birth|age|life))"
    r"|(?P<old>[^\W\d_]+)[ -](?:old|of age|of life|since birth)\b",
    re.IGNORECASE,
)
_EITHER = re.compile(r"\b(?P<unit>[^\W\d_]+) (?:for|if|when|below|under|until|up to) ", re.IGNORECASE)
_AGE = re.compile(
    r"(?P<below>[<>≤≥]=?)?\s*(?P<number>\d+(?:\.\d*)?|\.\d+)\s*(?P<above>\+)?\s*(?P<unit>[A-Za-z]+)?(?P<older>\s+(?:or|and)\s+(?:older|over|above))?"
)
_PARTS = re.compile(r"(?:\d+(?:\.\d+)?\s*[A-Za-z]+[\s,]*(?:and\s+)?){2,4}", re.IGNORECASE)
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*([A-Za-z]+)")
_DURATION = re.compile("P(?=\\d)" + "".join(rf"(?:(?P<{unit}>\d+(?:[.,]\d+)?){unit[0].upper()})?" for unit in YEARS_PER_UNIT) + "(?:T.*)?")
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
        The entry of the column in the JSON file: an object with ``Units`` (in any case; text or list), and words in ``Description``,
        ``LongName`` and the like; or the words alone.

    Returns
    -------
    str or None
        A key of `YEARS_PER_UNIT`; years if nothing is said; None if the unit is not an age since birth, not known, or not certain, as
        where two are named or words and unit contradict each other.

    >>> age_unit({"Units": "Months"}), age_unit(None), age_unit({"Units": "gestational weeks"})
    ('months', 'years', None)
    >>> age_unit({"Description": "Age of the child in months"}), age_unit({"Description": "Age in years (months for infants)"})
    ('months', None)
    """
    units, said = field(description, *_UNIT_FIELDS), text_of(description)
    if isinstance(units, list | tuple):
        units = " ".join(map(str, units))
    stated, loose = _units_of_words(said)
    if not isinstance(units, str) or is_no_value(units):
        if _NOT_SINCE_BIRTH.search(said) and "years" not in stated:
            return None
        if not stated and not loose - {"years"}:
            return "years"
        return next(iter(stated)) if len(stated) == 1 else None
    named = {unit for unit, synonyms in _UNIT_WORDS.items() if set(re.findall(r"[^\W\d_]+", units.lower())) & synonyms}
    if units.strip().upper() in _DURATION_UNITS:
        named = {_DURATION_UNITS[units.strip().upper()]}
    if len(named) != 1 or _NOT_SINCE_BIRTH.search(units) or (stated and not named & stated) or _either(said) - named:
        return None
    unit = named.pop()
    return None if unit != "years" and _NOT_SINCE_BIRTH.search(said) else unit


def _units_of_words(said: str) -> tuple[set[str], set[str]]:
    """Units that a sentence states (in months, (months), months old), and all that it has in the plural."""
    stated = {_unit_of(match["unit"] or match["old"]) for match in _SAID_UNIT.finditer(said.replace("_", " "))} | _either(said)
    loose = {_unit_of(word) for word in re.findall(r"[^\W\d_]+", said) if word.lower().endswith(("s", "en", "hre", "nate", "ge"))}
    return stated - {None}, loose - {None}


def _either(said: str) -> set[str]:
    """Units that hold for some people only (months for infants)."""
    return {unit for match in _EITHER.finditer(said) if (unit := _unit_of(match["unit"])) and match["unit"].lower() != unit[:-1]}


def _unit_of(word: str) -> str | None:
    """The unit that a word of a sentence names; short letters (a, d, m, mo) are words of their own there, but for ``yr`` and the like."""
    word = word.lower()
    if len(word) < _LONG and word not in ("yr", "mo", "wk"):
        return None
    return next((unit for unit, synonyms in _UNIT_WORDS.items() if word in synonyms), None)


def parse_age(text: str | None, unit: str = "years") -> Age | None:
    """Read one age.

    Parameters
    ----------
    text : str
        ``"34.2"``, ``"89+"``, ``">=89"``, ``"034Y"`` (as in DICOM), ``"18 months"``, ``"2 years 6 months"``, ``"P2Y6M"`` (ISO 8601); a
        unit in the cell wins.
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
    if text is None or is_no_value(text):
        return None
    text = text.strip()
    censored = False
    if match := _DURATION.fullmatch(text.upper()):
        years = sum(float(count.replace(",", ".")) * YEARS_PER_UNIT[name] for name, count in match.groupdict().items() if count)
    elif _PARTS.fullmatch(text):
        parts = [(_cell_unit(word), float(count)) for count, word in _PART.findall(text)]
        if [name for name, _ in parts] != [name for name in YEARS_PER_UNIT if name in dict(parts)]:
            raise ValueError("is not a number")
        years = sum(count * YEARS_PER_UNIT[name] for name, count in parts)
    else:
        match = _AGE.fullmatch(text)
        if match is None:
            raise ValueError("is not a number")
        years = float(match["number"]) * YEARS_PER_UNIT[_cell_unit(match["unit"]) if match["unit"] else unit]
        censored = bool(match["below"] or match["above"] or match["older"])
    if years > OLDEST:
        raise ValueError("is no human age (check the unit in the JSON file)")
    return Age(years, censored)


def _cell_unit(word: str) -> str:
    """The unit that stands beside a number in a cell.

    Raises
    ------
    ValueError
        If it is none.
    """
    named = next((name for name, synonyms in _UNIT_WORDS.items() if word.lower() in synonyms), None)
    if named is None:
        raise ValueError("is not a number")
    return named


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
    word = meaning(text, levels) or text
    tokens = re.findall(r"[a-z-]+", word.lower())
    sexes = {_SEXES[token] for token in tokens if token in _SEXES}
    if len(sexes) == 1:
        return sexes.pop()
    if not sexes and (is_no_value(word) or is_absent(word) or not _NEITHER.isdisjoint(tokens)):
        return None
    raise ValueError("is not understood")


def is_code(text: str) -> bool:
    """Tell whether a cell is a number, which means nothing without the levels of the JSON file."""
    return re.fullmatch(r"[+-]?\d+(\.\d*)?", text.strip()) is not None
