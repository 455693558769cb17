"""The picture of one estimate: brain age and its interval above the ages the model was trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from brainage_bids.reports import svg

WIDTH, HEIGHT = 480, 320
LEFT, RIGHT = 34, 446
TOP, BOTTOM = 128, 258
"""Left, right, upper and lower border of the bars, in pixels of the drawing."""
INK, QUIET, BARS, ESTIMATE, OWN = "#1c2733", "#53616f", "#c3cfda", "#0b6e75", "#a13a00"


@dataclass(frozen=True)
class TrainingAges:
    """Ages on which a model was trained, as far as its card tells.

    Attributes
    ----------
    low, high : float
        Youngest and oldest, in years.
    edges, counts : tuple of float, tuple of int
        Histogram; both empty if the card has none. ``len(edges) == len(counts) + 1``.
    number : int or None
        How many people.
    """

    low: float
    high: float
    edges: tuple[float, ...] = ()
    counts: tuple[int, ...] = ()
    number: int | None = None

    def __post_init__(self) -> None:
        if self.counts and len(self.edges) != len(self.counts) + 1:
            raise ValueError(f"A histogram of {len(self.counts)} counts needs {len(self.counts) + 1} edges, not {len(self.edges)}.")


def axis_range(values: Sequence[float]) -> tuple[int, int]:
    """Whole decades around the values, at least twenty years wide.

    Examples
    --------
    >>> axis_range([19.2, 52.8])
    (10, 60)
    >>> axis_range([30.0])
    (20, 40)
    """
    import math

    low, high = math.floor(min(values) / 10) * 10, math.ceil(max(values) / 10) * 10
    if high - low < 20:
        low, high = low - 10, max(high, low + 10)
    return int(low), int(high)


def draw_age(
    path: Path,
    *,
    brain_age: float,
    low: float | None = None,
    high: float | None = None,
    level: float = 0.95,
    age: float | None = None,
    training: TrainingAges | None = None,
) -> Path:
    """Draw an estimate of brain age with its interval, the person's age, and the ages of the training people.

    Parameters
    ----------
    path : pathlib.Path
        The SVG to be written.
    brain_age : float
        The estimate, years.
    low, high : float, optional
        Bounds of its interval, years.
    level : float
        Level of the interval, between 0 and 1.
    age : float, optional
        Age at the scan, years; not drawn if unknown.
    training : TrainingAges, optional
        Ages of the people the model was trained on.

    Returns
    -------
    pathlib.Path
        ``path``.
    """
    known = [value for value in (brain_age, low, high, age) if value is not None]
    if training is not None:
        known += [training.low, training.high]
    start, stop = axis_range(known)

    def place(years: float) -> float:
        return LEFT + (years - start) / (stop - start) * (RIGHT - LEFT)

    root = svg.document(WIDTH, HEIGHT, "Brain age", describe(brain_age, low, high, level, age, training))
    svg.add(root, "rect", width=WIDTH, height=HEIGHT, fill="#fff")
    if training is not None:
        _training(root, training, place)
    svg.text(root, _caption(training), (LEFT + RIGHT) / 2, HEIGHT - 10, text_anchor="middle", font_size=15, fill=QUIET)
    _axis(root, start, stop, place)
    if age is not None:
        _own_age(root, age, place, brain_age)
    _estimate(root, brain_age, low, high, level, place)
    return svg.save(root, path)


def describe(
    brain_age: float, low: float | None, high: float | None, level: float, age: float | None, training: TrainingAges | None
) -> str:
    """Say what the picture shows.

    Examples
    --------
    >>> describe(41.26, 30.0, 52.5, 0.95, None, TrainingAges(19, 52))
    'Brain age 41.3 years, 95 % interval 30.0 to 52.5 years; age unknown; training ages 19 to 52 years.'
    """
    parts = [f"Brain age {brain_age:.1f} years"]
    if low is not None and high is not None:
        parts[0] += f", {level * 100:.3g} % interval {low:.1f} to {high:.1f} years"
    parts.append("age unknown" if age is None else f"age {age:.1f} years")
    if training is not None:
        parts.append(f"training ages {training.low:.0f} to {training.high:.0f} years")
    return "; ".join(parts) + "."


def _training(root: ElementTree.Element, training: TrainingAges, place) -> None:
    if training.counts:
        peak = max(max(training.counts), 1)
        for left, right, count in zip(training.edges, training.edges[1:], training.counts):
            height = (BOTTOM - TOP) * count / peak
            svg.add(root, "rect", x=place(left) + 0.5, y=BOTTOM - height, width=place(right) - place(left) - 1, height=height, fill=BARS)
    else:
        x = place(training.low)
        svg.add(root, "rect", x=x, y=TOP + 60.0, width=place(training.high) - x, height=BOTTOM - TOP - 60.0, fill=BARS)


def _caption(training: TrainingAges | None) -> str:
    if training is None:
        return "Age in years"
    who = "training people" if training.number is None else f"{training.number} training people"
    return f"Age in years. Grey: the {who} ({training.low:.0f}–{training.high:.0f})"


def _axis(root: ElementTree.Element, start: int, stop: int, place) -> None:
    svg.add(root, "line", x1=LEFT, x2=RIGHT, y1=BOTTOM, y2=BOTTOM, stroke=INK, stroke_width=1)
    step = 10 if stop - start <= 100 else 20
    for years in range(start, stop + 1, step):
        x = place(years)
        svg.add(root, "line", x1=x, x2=x, y1=BOTTOM, y2=BOTTOM + 5, stroke=INK)
        svg.text(root, str(years), x, BOTTOM + 22, text_anchor="middle", font_size=15, fill=INK)


def _own_age(root: ElementTree.Element, age: float, place, brain_age: float) -> None:
    x = place(age)
    svg.add(root, "line", x1=x, x2=x, y1=70, y2=BOTTOM, stroke=OWN, stroke_width=2, stroke_dasharray="5 4")
    before = x > 90 and (age < brain_age or x > RIGHT - 90)
    anchor = {"text_anchor": "end"} if before else {}
    svg.text(root, f"age {age:.1f}", x + (-7 if before else 7), 106, font_size=17, fill=OWN, **anchor)


def _estimate(root: ElementTree.Element, brain_age: float, low: float | None, high: float | None, level: float, place) -> None:
    x, y = place(brain_age), 64
    if low is not None and high is not None:
        ends = place(low), place(high)
        svg.add(root, "line", x1=ends[0], x2=ends[1], y1=y, y2=y, stroke=ESTIMATE, stroke_width=3)
        for end, years, anchor, shift in zip(ends, (low, high), ("end", "start"), (-7, 7), strict=True):
            svg.add(root, "line", x1=end, x2=end, y1=y - 8, y2=y + 8, stroke=ESTIMATE, stroke_width=3)
            reach = end + shift * (1 + 1.3 * len(f"{years:.1f}"))  # a digit is less than 9.1 wide
            inside = not 0 < reach < WIDTH
            nudge, side = (0, "start" if anchor == "end" else "end") if inside else (shift, anchor)
            svg.text(root, f"{years:.1f}", end + nudge, y - 14 if inside else y + 5, font_size=15, fill=QUIET, text_anchor=side)
    svg.add(root, "circle", cx=x, cy=y, r=8, fill=ESTIMATE)
    words = f"brain age {brain_age:.1f}" + (f" ({level * 100:.3g} % interval)" if low is not None and high is not None else "")
    half = 5.0 * len(words)
    svg.text(root, words, min(max(x, half + 4), WIDTH - half - 4), 30, text_anchor="middle", font_size=17, font_weight=600, fill=ESTIMATE)
