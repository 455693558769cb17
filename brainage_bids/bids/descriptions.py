"""What the JSON file beside a table says of its columns: levels, codes of missing values, whether codes are an order."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from brainage_bids.bids.tables import MISSING_WORDS, is_missing

NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,3})?"
"""A number as programs write it."""
_ABSENT = re.compile(
    r"(?:(?:data|value|item|answer|response|result|score|code)s?\s+)?(?:is |are |was |were )?(?:(?:missing|lacking|unavailable|skipped)"
    r"(?:\s+(?:data|values?|items?|answers?|response|info|information|code))?(?:\s*[:;,(\-–].*|\s+(?:because|due|as|by|from|completely|at)\b.*)?"
    r"|not (?:available|applicable|known|collected|recorded|measured|assessed|administered|obtained|acquired|done|reported|answered|tested"
    r"|ascertained|determined|specified|stated|provided|given|asked|performed|completed|evaluable)\b.*)"
    r"|n\.?/?a\.?|n\.d\.?|no (?:data|answer|response|value|information|info|entry|rating|score)(?: \w+)?"
    r"|unknown(?: value| or missing.*)?|unspecified|undetermined|unanswered|refused.*|declined.*|prefer(?:s|red)? not to.*"
    r"|do(?:es)?(?: not|n't|n’t) know|invalid(?: data| value)?|null|nan",
    re.IGNORECASE,
)
_MISSING_FIELDS = frozenset(
    {"missingvalue", "missingvalues", "missing", "missingcode", "missingcodes", "missingvaluecode", "missingvaluecodes", "missingdata",
     "missingdatacode", "missingdatacodes", "na", "navalue", "navalues", "nacode", "nacodes", "nullvalue", "nullvalues", "nodata",
     "nodatavalue", "fillvalue", "invalidvalue", "invalidvalues"}
)  # fmt: skip
_ABSENT_WORDS = r"(?:(?i:missing|not available|n/a|n\.a\.|unknown|no data|not (?:known|done|collected|measured|applicable))|NA)"
_END = r"(?=\s*(?:[.;,)\]\"'|/]|$))"
_MEANS = r"(?:=+|:|->|→|is|are|means?|for|stands for|denotes?|indicates?|codes?(?: for)?|marks?)"
_WRITTEN = r"(?:=+|:|->|→|(?:is |are )?(?:coded |given |written |marked |entered |set )?(?:as|by|with|to)|is|are)"
_CODE_IS_MISSING = re.compile(
    rf"(?<![\w.])[\"'(]*({NUMBER})[\"')]*\s*{_MEANS}\s*(?:an? |the )?[\"'(]*{_ABSENT_WORDS}(?: (?:values?|data|information))?{_END}"
)
_MISSING_IS_CODE = re.compile(rf"(?<!\w){_ABSENT_WORDS}(?: (?:values?|data|codes?|items?))*\s*{_WRITTEN}\s*[\"'(]*({NUMBER}){_END}")
_WORDS_OF_TEXT = ("longname", "description", "label", "title", "name", "definition", "comment", "comments", "note", "notes")

_NO_UNITS = frozenset({"arbitrary", "category", "categories", "categorical", "code", "codes", "none", "-"})
_COUNTED = {"zero": 0, "none": 0, "no": 0, "without": 0, "one": 1, "single": 1, "two": 2, "both": 2, "three": 3, "four": 4, "five": 5}
_SCALES: tuple[tuple[str, ...], ...] = (
    ("never|not at all", "rarely|seldom|hardly ever", "sometimes|occasionally", "often|frequently", "very often", "always|daily"),
    (
        "none|no|absent|normal|healthy|not at all", "questionable|very mild|minimal|a little|several days", "mild|slight|slightly|somewhat",
        "moderate|moderately|more than half the days", "marked|quite a bit|considerable", "severe|severely|nearly every day",
        "very severe|extreme|extremely|very much|profound",
    ),
    ("very low|lowest", "low|lower", "below average", "medium|middle|intermediate|moderate|average", "above average", "high|higher",
     "very high|highest"),
    ("strongly disagree", "disagree", "neutral|neither.*|undecided", "agree", "strongly agree"),
    ("no school.*|none", "primary.*|elementary.*", "secondary.*|high school.*|middle school.*",
     "tertiary.*|bachelor.*|college.*|university.*", "master.*", "doctor.*|phd.*"),
    ("very small", "small", "medium", "large", "very large"),
    ("very poor|very bad", "poor|bad", "fair|acceptable|average", "good", "very good", "excellent"),
)  # fmt: skip
"""Words that are an order, each scale from its low end; alternatives by ``|``."""
_ORDER = re.compile(
    r"\b(?:number of|count of|counts?|scores?|scale|rating|rated|grades?|stages?|severity|degree of|ordinal|likert|ranks?|ranking"
    r"|how often|how many|how much|frequency|quartiles?|quintiles?|percentiles?|deciles?)\b",
    re.IGNORECASE,
)
_KINDS = re.compile(
    r"\b(?:sites?|scanners?|cent(?:er|re)s?|groups?|arms?|cohorts?|batch(?:es)?|types?|sessions?|categor(?:y|ies|ical)|class(?:es)?|clusters?"
    r"|famil(?:y|ies)|status|diagnos[ei]s|ethnicity|race|hospital|device|coil|vendor)\b",
    re.IGNORECASE,
)


def entry(described: Mapping[str, Any], column: str | None) -> Any:
    """What a JSON file says of a column, whatever the case of its name; None if nothing."""
    if column is None:
        return None
    if column in described:
        return described[column]
    return next((told for name, told in described.items() if str(name).strip().lower() == column.lower()), None)


def field(told: Any, *names: str) -> Any:
    """The first field of a description with one of some names, by their small letters alone (``UNITS`` is ``units``).

    >>> field({"UNITS ": "months"}, "unit", "units")
    'months'
    """
    if not isinstance(told, Mapping):
        return None
    plain = {re.sub(r"[^a-z0-9]", "", str(name).lower()): value for name, value in reversed(list(told.items()))}
    return next((plain[name] for name in names if name in plain), None)


def text_of(told: Any) -> str:
    """All that a description says in words: its name, description and notes, or itself if it is but words.

    >>> text_of({"LongName": "Age (months)", "Units": "n/a"}), text_of("in months")
    ('Age (months)', 'in months')
    """
    if isinstance(told, str):
        return told
    if isinstance(told, list):
        return "; ".join(item for item in told if isinstance(item, str))
    parts = [field(told, name) for name in _WORDS_OF_TEXT]
    parts = [" ".join(map(str, part)) if isinstance(part, list) else part for part in parts]
    return "; ".join(part for part in parts if isinstance(part, str))


def levels_of(told: Any) -> dict[str, str]:
    """Codes and what they mean, from an object, a list or a sentence.

    >>> levels_of({"Levels": {"0": "no", "1": {"Description": "yes"}}}), levels_of({"levels": ["0 = no", "1 = yes"]})
    ({'0': 'no', '1': 'yes'}, {'0': 'no', '1': 'yes'})
    """
    return _pairs(field(told, "levels", "level"))


def meaning(text: str, levels: Any) -> str | None:
    """What a cell means by levels of any form; ``1`` and ``1.0`` are one code, unless both are levels. None if nothing is said.

    >>> meaning("2.0", {"1": "male", "2": "female"})
    'female'
    """
    pairs = _pairs(levels)
    plain = text.strip().lower()
    found = next((said for code, said in pairs.items() if code.lower() == plain), None)
    if found is None:
        found = next((said for code, said in pairs.items() if same_number(code, plain)), None)
    return found or None


def missing_codes(told: Any) -> frozenset[str]:
    """Codes that a description declares to be missing values: by its levels, a field such as ``MissingValues``, or in words.

    >>> sorted(missing_codes({"Levels": {"-9": "missing", "0": "none"}, "MissingValues": [999], "Description": "Score (-1 = not done)"}))
    ['-1', '-9', '999']
    """
    codes = {code for code, said in levels_of(told).items() if is_absent(said)}
    for name in _MISSING_FIELDS:
        codes |= _codes(field(told, name))
    said = text_of(told)
    codes |= {match[1].rstrip(".") for pattern in (_CODE_IS_MISSING, _MISSING_IS_CODE) for match in pattern.finditer(said)}
    return frozenset(codes)


def table_codes(described: Mapping[str, Any]) -> frozenset[str]:
    """Codes that a JSON file declares missing for all columns of its table (``{"MissingValues": [-9999]}``)."""
    declared = {name: value for name, value in described.items() if not isinstance(value, Mapping) or field(value, *_WORDS_OF_TEXT) is None}
    return frozenset().union(*(_codes(field(declared, name)) for name in sorted(_MISSING_FIELDS - {"na", "missing"})))


def is_absent(said: str) -> bool:
    """Tell whether the meaning of a level is that the value is not known; that of ``none`` is not.

    >>> is_absent("Missing (artefact)"), is_absent("n.a."), is_absent("none")
    (True, True, False)
    """
    said = said.strip().rstrip(".!").strip()
    return is_missing(said) or said.lower() in MISSING_WORDS - {"none", "nd", "."} or _ABSENT.fullmatch(said) is not None


def is_code_of(text: str, codes: frozenset[str], levels: Mapping[str, str]) -> bool:
    """Tell whether a cell is one of some codes, as text or, where it is no level itself, as a number."""
    if text in codes:
        return True
    return text not in levels and any(same_number(text, code) or text.lower() == code.lower() for code in codes)


def same_number(one: str, other: str) -> bool:
    """Tell whether two texts are one number; false if one of them is none.

    >>> same_number("-9999.0", "-9999"), same_number("a", "a")
    (True, False)
    """
    if not (re.fullmatch(NUMBER, one.strip()) and re.fullmatch(NUMBER, other.strip())):
        return False
    return float(one) == float(other)


def is_ordered(name: str, told: Any) -> bool:
    """Tell whether levels whose codes are numbers are an order (numbers that can be computed with) and no kinds.

    They are if the description has a unit, a format of numbers or speaks of a number, score or stage, and if the meanings count
    (none, one, two) or stand in order on a scale of words (mild, moderate, severe). Names of sites, groups and types are kinds.

    >>> is_ordered("ApoE", {"Description": "alleles", "Levels": {"0": "none", "1": "one", "2": "two"}})
    True
    >>> is_ordered("smoking", {"Levels": {"0": "no", "1": "yes", "2": "former"}})
    False
    """
    codes = missing_codes(told)
    levels = {code: said for code, said in levels_of(told).items() if code not in codes}
    if not levels or not all(re.fullmatch(NUMBER, code) for code in levels):
        return False
    if str(field(told, "format", "datatype") or "").lower() in ("number", "integer", "float", "int", "ordinal"):
        return True
    unit = field(told, "units", "unit")
    if isinstance(unit, str) and not is_missing(unit) and unit.strip().lower() not in _NO_UNITS:
        return True
    meanings = [levels[code].strip().lower() for code in sorted(levels, key=float)]
    if any(_KINDS.search(text.replace("_", " ")) for text in (name, text_of(told), *meanings)):
        return False
    return _ORDER.search(text_of(told)) is not None or _counts(meanings) or any(_on_scale(meanings, scale) for scale in _SCALES)


def _counts(meanings: list[str]) -> bool:
    found = []
    for said in meanings:
        words = re.findall(r"[a-z]+|(?<![a-z])\d+(?:\.\d+)?", said)
        numbers = [float(word) if word[0].isdigit() else _COUNTED.get(word) for word in words]
        found.append(next((number for number in numbers if number is not None), None))
    if None in found:
        return False
    return _grows(found) and len(found) > 2


def _on_scale(meanings: list[str], scale: tuple[str, ...]) -> bool:
    places = [next((place for place, words in enumerate(scale) if re.fullmatch(words, said)), None) for said in meanings]
    if None in places:
        return False
    return _grows(places) or _grows(places[::-1])


def _grows(values: list) -> bool:
    return all(one < other for one, other in zip(values, values[1:]))


def _pairs(levels: Any) -> dict[str, str]:
    if isinstance(levels, Mapping):
        return {str(code).strip(): _said(said) for code, said in levels.items()}
    if isinstance(levels, str):
        levels = re.split(r"[;,|\n]", levels) if re.search(r"\S\s*[=:]\s*\S", levels) else []
    pairs = {}
    for item in levels if isinstance(levels, list) else []:
        if isinstance(item, Mapping):
            code = field(item, "value", "code", "key", "level", "id")
            said = field(item, "label", "description", "longname", "meaning", "name", "text")
            if code is not None:
                pairs[str(code).strip()] = _said(said)
            elif len(item) == 1:
                pairs.update(_pairs(item))
        elif isinstance(item, str) and (match := re.fullmatch(r"\s*(\S+?)\s*[=:]\s*(.+?)\s*", item)):
            pairs[match[1]] = match[2]
        elif isinstance(item, str | int | float) and not isinstance(item, bool):
            pairs[str(item).strip()] = str(item).strip()
    return pairs


def _said(said: Any) -> str:
    if isinstance(said, Mapping):
        said = field(said, "description", "longname", "label", "name", "meaning")
        return said if isinstance(said, str) else ""
    return "n/a" if said is None else str(said)


def _codes(value: Any) -> set[str]:
    """The codes that a field such as ``MissingValues`` lists."""
    if isinstance(value, Mapping):
        return {str(code).strip() for code in value}
    if isinstance(value, list):
        return set().union(*(_codes(item) for item in value if not isinstance(item, Mapping)))
    if isinstance(value, str):
        return {part.strip().strip("\"'") for part in re.split(r"[,;|]", value) if part.strip()}
    return {str(value)} if isinstance(value, int | float) and not isinstance(value, bool) else set()
