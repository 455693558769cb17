"""What the cells of one column are: numbers, however they are written, or names; and what of it is doubtful."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from brainage_bids.bids.descriptions import NUMBER, field, is_ordered, levels_of, missing_codes
from brainage_bids.bids.tables import MISSING_WORDS, is_missing

LEAST_NUMBERS, FEW_STRANGE = 10, 0.1
"""A column is one of numbers if it has ten and at most a tenth as many texts that are none (a slip of typing)."""
MOST_DIGITS = 15
"""A longer whole number is an identifier: two of them may be one float."""
MOST_SPELLINGS = 200
"""Different names of a column beyond which it is one of remarks."""
DOUBTFUL_NUMBERS = frozenset({"none", "nd", "-", "."})
"""Words that may mean 0, or below what can be measured, where numbers are."""
_SPACES = " \u00a0\u2009\u202f"
_CELL = re.compile(
    rf"(?P<bound>[<>≤≥]=?)?\s*(?P<sign>[+\-−–])?(?P<body>(?:\d[\d.,'’{_SPACES}]*)?\d|\d+\.|[.,]\d+)(?P<power>[eE][+-]?\d{{1,3}})?"
    r"(?P<gap>\s*)(?P<above>\+)?\s*(?P<unit>[%‰°µμΩÅA-Za-z][^\s,;|]*(?: [A-Za-z][^\s,;|]*)?)?"
)
_UNIT = (
    r"(?:[munpµμk]?(?:g|m|mol|s|Hz|Pa)|[mnpµμdk]?l|[mnpµμ]L|[mnpµμ]M|[mkµμ]U|IU|T|dL|cm|mm|cc|kg|mmHg|bpm|years?|yrs?|y|months?|mo|weeks?|wk|days?|d|hours?|hrs?|h|min|sec|ms"
    r"|kcal|cal|beats|points?|pts)[23²³]?"
)
_GLUED = re.compile(rf"[%‰]|°\w?|{_UNIT}(?:[/*·]{_UNIT})*")
"""Units that may stand at a number without a space; other letters there make a code of it (``1A``)."""
_POINT = re.compile(rf"[1-9]\d{{0,2}}([,'’{_SPACES}])\d{{3}}(?:\1\d{{3}})*(?:\.\d+)?|\d+(?:\.\d*)?|\.\d+")
_COMMA = re.compile(rf"[1-9]\d{{0,2}}([.'’{_SPACES}])\d{{3}}(?:\1\d{{3}})*(?:,\d+)?|\d+(?:,\d+)?|,\d+")
_CODES = (-1, -7, -8, -9, -77, -88, -99, -777, -888, -999, -9999, -99999, 999, 9999, 99999)


@dataclass(frozen=True)
class Column:
    """A column that was read.

    Attributes
    ----------
    values : list
        Numbers in a column of numbers, else text as it is written; None where nothing is known.
    numeric : bool
    problems : list of str
        What is doubtful, a sentence each, naming the column.
    """

    values: list[Any]
    numeric: bool
    problems: list[str]


def read_column(name: str, texts: Sequence[str | None], told: Any = None, *, names: bool = False) -> Column:
    """Read a column as what all its cells together are.

    Numbers may be written with a decimal comma, with separators of thousands, with one unit, with ``%``, or as bounds (``<0.5``), if
    the whole column agrees. Whole numbers with zeros before them are codes and stay text.

    Parameters
    ----------
    name : str
        For the sentences.
    texts : sequence of str or None
        Cells; codes that the JSON declares missing are gone already.
    told : object
        What the JSON says of the column.
    names : bool
        Whether the column is known to hold names (groups): then numbers stay text unless they are plain whole numbers.

    Examples
    --------
    >>> read_column("nfl", ["24,9", "8,15", None]).values, read_column("site", ["01", "02"]).values
    ([24.9, 8.15, None], ['01', '02'])
    """
    known = [None if is_missing(text) else str(text).strip() for text in texts]
    there = [text for text in known if text is not None]
    rest = [text for text in there if text.lower() not in MISSING_WORDS]
    plain = [text for text in rest if re.fullmatch(NUMBER, text)]
    if not rest:
        return Column(known, not there, _doubtful_names(name, there, told))
    if len(plain) == len(rest) and (said := _why_codes(name, plain, told, names)) is not None:
        return Column(known, False, said + _doubtful_names(name, there, told))
    if names and (len(rest) < len(there) or any(f"{float(text):g}" != text for text in plain)):
        return Column(known, False, _doubtful_names(name, there, told))
    read, said = ({text: float(text) for text in plain}, []) if len(plain) == len(rest) else _as_written(name, rest, told)
    if read is None and len(plain) >= LEAST_NUMBERS and len(rest) - len(plain) <= FEW_STRANGE * len(plain):
        strange = [text for text in rest if not re.fullmatch(NUMBER, text)]
        quoted = ", ".join(map(repr, dict.fromkeys(strange)))[:60]
        read, said = {text: float(text) for text in plain}, []
        said.append(f"The column '{name}' has {len(strange)} value(s) that are no number ({quoted}), taken as missing.")
    if read is None:
        return Column(known, False, said + _doubtful_names(name, there, told))
    values = [read.get(text) if text is not None else None for text in known]
    return Column(values, True, said + _doubtful_numbers(name, there, values))


def decimal_comma(texts: Iterable[str | None]) -> bool:
    """Tell whether the numbers in some cells are certainly written with a comma before their decimals.

    >>> decimal_comma(["38,5", "40"]), decimal_comma(["1,234"]), decimal_comma(["38.5"])
    (True, False, False)
    """
    matches = [_CELL.fullmatch(text.strip()) for text in texts if text is not None]
    return _mark([match["body"] for match in matches if match]) == ","


def spellings(name: str, values: Iterable[str | None]) -> list[str]:
    """A sentence if names differ only in their capitals, spaces, signs or zeros; they are not merged.

    >>> spellings("group", ["Control", "control", "AD"])
    ["The column 'group' spells what may be one in several ways ('Control', 'control'); these count as different."]
    """
    kinds: dict[str, list[str]] = {}
    for value in dict.fromkeys(value for value in values if value is not None):
        folded = re.sub(r"\d+(?:\.0+)?(?![\d.])", lambda match: match[0].split(".")[0].lstrip("0") or "0", value.casefold())
        kinds.setdefault(re.sub(r"[\s_\-.'’]+", "", folded) or value, []).append(value)
    if len(kinds) > MOST_SPELLINGS:
        return []
    several = [", ".join(map(repr, sorted(ways)[:4])) for ways in kinds.values() if len(ways) > 1]
    if not several:
        return []
    return [f"The column '{name}' spells what may be one in several ways ({'; '.join(several[:3])}); these count as different."]


def name_problems(name: str, values: Iterable[str | None], told: Any = None) -> list[str]:
    """Sentences on a column of names: words that may mean that nothing is known, and one name in several spellings."""
    return _doubtful_names(name, [value for value in values if not is_missing(value)], told)


def _why_codes(name: str, plain: Sequence[str], told: Any, names: bool) -> list[str] | None:
    """None if a column of plain numbers is one of numbers; what to say of it if they are codes of kinds, and so text."""
    absent = missing_codes(told)
    levels = {code: said for code, said in levels_of(told).items() if code not in absent}
    if len(levels) > 2 and (names or not is_ordered(name, told)):
        if names:
            return []
        return [
            f"The column '{name}' holds codes whose Levels are not known to be an order, so it is compared as kinds; if they are one, give "
            'it "Format": "number" in the JSON file.'
        ]
    unit = field(told, "units", "unit")
    if isinstance(unit, str) and not is_missing(unit):
        return None
    zeros = next((text for text in plain if re.fullmatch(r"[+-]?0\d+", text)), None)
    if zeros is not None or any(re.fullmatch(r"[+-]?\d+", text) and len(text) > MOST_DIGITS for text in plain):
        written = f"such as {zeros!r} " if zeros else ""
        said = f"The column '{name}' holds codes {written}and stays text; if they are numbers, give it Units in the JSON file."
        return [] if names else [said]
    return None


def _as_written(name: str, texts: Sequence[str], told: Any) -> tuple[dict[str, float] | None, list[str]]:
    """Numbers by their text, if the whole column is written in one way; else None and, if most look like numbers, a sentence."""
    matches = {text: _CELL.fullmatch(text) for text in dict.fromkeys(texts)}
    read = {text: match for text, match in matches.items() if match and _is_measure(match)}
    share = sum(text in read for text in texts) / len(texts)
    reason = ""
    if share < 1:
        reason = f"{next(text for text in texts if text not in read)!r} is none"
    units = Counter((match["unit"] or "").strip() for match in read.values())
    wanted = field(told, "units", "unit")
    if not reason and len({"" if unit == wanted else unit for unit in units}) > 1:
        reason = f"their units differ ({', '.join(map(repr, sorted(units)[:3]))})"
    mark = _mark([match["body"] for match in read.values()])
    if not reason and mark is None:
        reason = "whether a comma stands before decimals or thousands is not certain"
    if reason:
        example = next((text for text in texts if text in read and not re.fullmatch(NUMBER, text)), "")
        if share <= 0.5 or not example:
            return None, []
        return None, [f"The column '{name}' looks like numbers ({example!r}) but is left out of what needs numbers, because {reason}."]
    numbers = {text: _number(match, mark or ".") for text, match in read.items()}
    bounds = {text: match["bound"] or ">" for text, match in read.items() if match["bound"] or match["above"]}
    if not bounds:
        return numbers, []
    below = [numbers[text] for text, sign in bounds.items() if sign[0] in "<≤"]
    above = [numbers[text] for text, sign in bounds.items() if sign[0] in ">≥"]
    measured = [number for text, number in numbers.items() if text not in bounds]
    crossed = any(number < bound for bound in below for number in measured) or any(number > bound for bound in above for number in measured)
    if crossed or (below and above and max(below) > min(above)):
        said = f"The column '{name}' has bounds ({next(iter(bounds))!r}) and numbers beyond them"
        return None, [f"{said}, so it is left out of what needs numbers."]
    count = sum(text in bounds for text in texts)
    return numbers, [f"The column '{name}' has {count} value(s) that are bounds ({next(iter(bounds))!r}) and are read as that number."]


def _is_measure(match: re.Match) -> bool:
    """Whether what follows the number can be a unit."""
    unit = match["unit"]
    if unit is None:
        return True
    if match["gap"] or match["above"]:
        return re.fullmatch(r"(?:st|nd|rd|th|or|and|to|of|[-–]).*", unit) is None
    return _GLUED.fullmatch(unit) is not None


def _mark(bodies: Sequence[str]) -> str | None:
    """The sign before decimals by which all numbers can be read; None if by none, or if both would do and give other numbers."""
    point, comma = (all(pattern.fullmatch(body) for body in bodies) for pattern in (_POINT, _COMMA))
    if point and comma:
        return None if any("," in body for body in bodies) else "."
    return "." if point else "," if comma else None


def _number(match: re.Match, mark: str) -> float:
    digits = "".join("." if sign == mark else sign for sign in match["body"] if sign.isdigit() or sign == mark)
    return float(("-" if match["sign"] in ("-", "−", "–") else "") + digits + (match["power"] or ""))


def _doubtful_names(name: str, there: Sequence[str], told: Any) -> list[str]:
    levels = {code.lower() for code in levels_of(told)}
    words = Counter(text for text in there if text.lower() in MISSING_WORDS and text.lower() not in levels)
    said = [
        f"The column '{name}' has {count} value(s) {word!r}, taken as a name, as n/a alone is missing in BIDS; if nothing is known there, "
        "write n/a."
        for word, count in words.items()
    ]
    return said + spellings(name, there)


def _doubtful_numbers(name: str, there: Sequence[str], values: Sequence[float | None]) -> list[str]:
    words = Counter(text for text in there if text.lower() in DOUBTFUL_NUMBERS)
    said = [
        f"The column '{name}' of numbers has {count} value(s) {word!r}, taken as missing; if they mean 0, write 0."
        for word, count in words.items()
    ]
    numbers = Counter(value for value in values if value is not None)
    others = [value for value in numbers if value not in _CODES]
    if len(others) < 3:
        return said
    low, high = min(others), max(others)
    for code in _CODES:
        alone = code < 0 <= low and (low - code > high - low or numbers[code] > 1) if code < 0 else code - high > 3 * (high - low)
        if numbers[code] and alone:
            said.append(
                f"The column '{name}' has {numbers[code]} value(s) {code}, which may be a code for a missing value and count as numbers; "
                f'if so, say it in the JSON file: "Levels": {{"{code}": "missing"}}.'
            )
    return said
