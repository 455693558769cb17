"""The structures that push an estimate most, each a small picture: the norm curve of the training people and this person."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from brainage_bids.reports import svg
from brainage_bids.reports.ages import BARS, ESTIMATE, INK, QUIET
from brainage_bids.reports.content import Row, number

if TYPE_CHECKING:
    from brainage_bids.models.norms import NormCurve

WIDTH, HEIGHT = 240, 196
LEFT, RIGHT, TOP, BOTTOM = 40, 232, 26, 158
"""Borders of the plotted area, in pixels of the drawing."""
SHOWN = 5


@dataclass(frozen=True)
class Structure:
    """A structure of one person beside that of the training people.

    Attributes
    ----------
    name, label : str
        Column of the model; plain words.
    share : float or None
        Volume in percent of the brain's; None for the brain as a whole.
    years : float
        How far it moves the estimate.
    low, middle, high : float or None
        5th, 50th and 95th percentile of the training people at this person's age, percent; None where it is not known.
    """

    name: str
    label: str
    share: float | None
    years: float
    low: float | None = None
    middle: float | None = None
    high: float | None = None


def read_structures(rows: Iterable[Row]) -> tuple[Structure, ...]:
    """The structures of a table, the one that moves the estimate most first; rows without a contribution are left out.

    Parameters
    ----------
    rows : iterable of mapping
        Rows of ``B_model-M_desc-structures_stats.tsv``.

    Returns
    -------
    tuple of Structure

    Examples
    --------
    >>> rows = [{"structure": name, "share_percent": "1", "contribution_years": years} for name, years in (("a", "0.5"), ("b", "-2"))]
    >>> [structure.name for structure in read_structures(rows)]
    ['b', 'a']
    """
    found = [structure for structure in map(_structure, rows) if structure is not None]
    return tuple(sorted(found, key=lambda structure: -abs(structure.years)))


def _structure(row: Row) -> Structure | None:
    years = number(row.get("contribution_years"))
    if years is None:
        return None
    name = row.get("structure") or ""
    label = row.get("label") or name
    values = (number(row.get(key)) for key in ("norm_p5", "norm_p50", "norm_p95"))
    return Structure(name, label[:1].upper() + label[1:], number(row.get("share_percent")), years, *values)


def percent(value: float | None) -> str:
    """A share of the brain with about three digits; ``n/a`` if there is none.

    Examples
    --------
    >>> percent(42.04), percent(1.234), percent(0.0876), percent(None)
    ('42.0 %', '1.23 %', '0.088 %', 'n/a')
    """
    if value is None:
        return "n/a"
    return f"{value:.{1 if value >= 10 else 2 if value >= 0.1 else 3}f} %"


def place_words(structure: Structure) -> str:
    """Where the person lies among the training people of the same age.

    Examples
    --------
    >>> place_words(Structure("a", "A", 2.0, 1.0, 0.5, 1.0, 1.5))
    '2.00 % of the brain: above the usual 0.50 % to 1.50 % at this age'
    >>> place_words(Structure("a", "A", 2.0, 1.0))
    '2.00 % of the brain'
    """
    words = f"{percent(structure.share)} of the brain"
    if structure.low is None or structure.high is None:
        return words
    side = "below" if structure.share < structure.low else "above" if structure.share > structure.high else "within"
    return f"{words}: {side} the usual {percent(structure.low)} to {percent(structure.high)} at this age"


def draw_structure(structure: Structure, curve: NormCurve | None, age: float | None) -> ElementTree.Element:
    """Draw one structure against its norm curve.

    The band is the 5th to 95th percentile of the training people over age, the line their median, the dot this person. A
    person whose age is not known is a horizontal line at the share.

    Parameters
    ----------
    structure : Structure
        One with a share.
    curve : NormCurve or None
        The norm curve; without one only the person is drawn.
    age : float or None
        Age at the scan, years.

    Returns
    -------
    xml.etree.ElementTree.Element
        The root of an SVG.
    """
    years = [float(year) for year in curve.ages] if curve else []
    bands = {name: [float(value) for value in getattr(curve, name)] for name in ("p5", "p50", "p95")} if curve else {}
    ends = [*years[:1], *years[-1:], *([] if age is None else [age])] or [20.0, 80.0]
    span = float(math.floor(min(ends))), float(math.ceil(max(ends)))
    across = _scale(*span, LEFT, RIGHT)
    levels = [structure.share, *(value for values in bands.values() for value in values if math.isfinite(value))]
    margin = 0.08 * (max(levels) - min(levels)) or 0.1 * max(levels) or 1.0
    bounds = max(min(levels) - margin, 0.0), max(levels) + margin
    up = _scale(*bounds, BOTTOM, TOP)
    root = svg.document(WIDTH, HEIGHT, structure.label, describe(structure, curve, age))
    svg.add(root, "rect", width=WIDTH, height=HEIGHT, fill="#fff")
    if curve:
        _band(root, years, bands, across, up)
    _axes(root, span, bounds, across, up)
    if age is None:
        y = up(structure.share)
        svg.add(root, "line", x1=LEFT, x2=RIGHT, y1=y, y2=y, stroke=ESTIMATE, stroke_width=3)
    else:
        svg.add(root, "circle", cx=across(age), cy=up(structure.share), r=6, fill=ESTIMATE, stroke="#fff", stroke_width=1.5)
    return root


def describe(structure: Structure, curve: NormCurve | None, age: float | None) -> str:
    """Say what the picture shows, for those who do not see it.

    Examples
    --------
    >>> describe(Structure("a", "A", 2.0, 1.04, 0.5, 1.0, 1.5), None, 40.0)
    '2.00 % of the brain: above the usual 0.50 % to 1.50 % at this age. The person is 40.0 years old. It moves the brain age by +1.0 years.'
    """
    from brainage_bids.reports.words import years

    whose = "The age of the person is not known" if age is None else f"The person is {years(age)} years old"
    norms = f" The curve spans {curve.ages[0]:.0f} to {curve.ages[-1]:.0f} years." if curve else ""
    return f"{place_words(structure)}. {whose}.{norms} It moves the brain age by {years(structure.years, signed=True)} years."


def caption(shown: int, people: int, age: float | None, base: float | None, rest: Iterable[Structure] = ()) -> list[str]:
    """What the pictures show and what the years mean, in sentences.

    Parameters
    ----------
    shown : int
        How many structures are drawn.
    people : int
        Number of training people.
    age : float or None
        Age at the scan, years.
    base : float or None
        The estimate less all contributions: what the model gives for the average training person, years.
    rest : iterable of Structure
        What moves the estimate and has no share to be drawn: the brain's size.

    Returns
    -------
    list of str
    """
    from brainage_bids.reports.words import years

    mark = "the dot is this person" if age is not None else "the blue-green line is this person, whose age is not known"
    average = "the average of its training people" + ("" if base is None else f" ({years(base)} years)")
    others = [f"{structure.label} moves it by {years(structure.years, signed=True)} years." for structure in rest]
    return [
        f"These {shown} structures move this estimate most. Each is drawn as a share of the brain, which here is the cerebrum without "
        f"its ventricles: the grey band holds the middle 90 % of the {people} training people at each age, the dark line is their "
        f"median, {mark}.",
        f"The years say by how much the structure moves the estimate, up (+) or down (−), from what the model gives for {average}. "
        "They describe the model, not a cause: a structure may be large or small for many reasons, and none of this is a finding "
        "about the person by itself.",
        *others,
    ]


def ticks(low: float, high: float, most: int = 4) -> list[float]:
    """Round values between two bounds, not more than `most`.

    Examples
    --------
    >>> ticks(0.3, 2.2), ticks(20, 86)
    ([0.5, 1.0, 1.5, 2.0], [20.0, 40.0, 60.0, 80.0])
    """
    if not high > low:
        return [low]
    size = 10.0 ** math.floor(math.log10((high - low) / most))
    for step in (factor * size for factor in (1, 2, 2.5, 5, 10, 20)):
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        if last - first + 1 <= most:
            return [index * step for index in range(first, last + 1)]
    return [low, high]


def _scale(low: float, high: float, start: float, stop: float):
    """A linear map of ``low``…``high`` to ``start``…``stop``; a range without width lies in the middle."""
    if high == low:
        return lambda value: (start + stop) / 2
    return lambda value: start + (value - low) / (high - low) * (stop - start)


def _band(root: ElementTree.Element, years: list[float], bands: Mapping[str, list[float]], across, up) -> None:
    lower, upper = zip(years, bands["p5"]), zip(years, bands["p95"])
    around = [(x, y) for x, y in [*lower, *reversed(list(upper))] if math.isfinite(y)]
    svg.add(root, "polygon", points=_points(around, across, up), fill=BARS)
    middle = [(x, y) for x, y in zip(years, bands["p50"]) if math.isfinite(y)]
    svg.add(root, "polyline", points=_points(middle, across, up), fill="none", stroke=INK, stroke_width=1.5)


def _points(pairs: list[tuple[float, float]], across, up) -> str:
    return " ".join(f"{svg.number(across(x))},{svg.number(up(y))}" for x, y in pairs)


def _axes(root: ElementTree.Element, span: tuple[float, float], levels: tuple[float, float], across, up) -> None:
    svg.add(root, "path", d=f"M{LEFT} {TOP}V{BOTTOM}H{RIGHT}", fill="none", stroke=QUIET)
    for level in ticks(*levels):
        y = up(level)
        svg.add(root, "line", x1=LEFT - 4, x2=LEFT, y1=y, y2=y, stroke=QUIET)
        svg.text(root, f"{level:.3g}", LEFT - 7, y + 4.5, text_anchor="end", font_size=13, fill=INK)
    for year in ticks(*span):
        x = across(year)
        svg.add(root, "line", x1=x, x2=x, y1=BOTTOM, y2=BOTTOM + 4, stroke=QUIET)
        svg.text(root, f"{year:.0f}", x, BOTTOM + 18, text_anchor="middle", font_size=13, fill=INK)
    svg.text(root, "age (years)", (LEFT + RIGHT) / 2, HEIGHT - 3, text_anchor="middle", font_size=12, fill=QUIET)
    svg.text(root, "% of the brain", 2, 13, font_size=12, fill=QUIET)
