"""What the page of a group is made of: the results of the run, and the first visits of one model to be drawn."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Row = Mapping[str, Any]

SCATTERS = {"associations_gap": "pad", "associations_age": "age"}
"""Pictures of the table of associations, and the outcome that they show."""


@dataclass(frozen=True)
class ResultView:
    """A table of results: name of its file, title, what it is, rows; the rest of those that bring their place in the page themselves."""

    name: str
    title: str
    about: str
    rows: Sequence[Row]
    section: str = ""
    methods: str = ""
    draw: Callable[[Sequence[Row], Any], None] | None = None


@dataclass(frozen=True)
class GroupView:
    """All that a page shows.

    Attributes
    ----------
    models : tuple of str
        The first one is drawn.
    people : mapping
        Columns of its first visits: ``age, brain_age, pad, pad_corrected, sex, site, group, reference``; None where missing.
    pairs : sequence of (float, float)
        Gaps of the two visits of a retest.
    results : mapping
        Name to table.
    facts : sequence of (name, value)
        The cohort at a glance.
    warnings : sequence of str
    problems : sequence of (part, sentence)
    measures : mapping
        Phenotype columns of numbers of the same people, by name.
    settings : mapping
        ``reference, where, bias_correction, permutation, group_column`` of the run.
    """

    models: tuple[str, ...]
    people: Mapping[str, Sequence[Any]]
    pairs: Sequence[tuple[float, float]]
    results: Mapping[str, ResultView]
    facts: Sequence[tuple[str, str]]
    warnings: Sequence[str] = ()
    problems: Sequence[tuple[str, str]] = ()
    settings: Mapping[str, str] = field(default_factory=dict)
    measures: Mapping[str, Sequence[Any]] = field(default_factory=dict)

    def rows(self, name: str, **equal: Any) -> list[Row]:
        """Rows of a table whose cells are equal to these; none without the table."""
        rows = self.results[name].rows if name in self.results else ()
        return [row for row in rows if all(row.get(key) == value for key, value in equal.items())]

    def numbers(self, name: str) -> np.ndarray:
        """A column of the people as numbers, NaN where missing."""
        return np.array([np.nan if value is None else value for value in self.people.get(name, ())], dtype=float)


def cell(value: Any, name: str = "") -> str:
    """A value of a table in words: three significant digits, small p as such, yes and no.

    Examples
    --------
    >>> cell(0.00004, "p"), cell(1.23456), cell(120), cell(True), cell(None), cell(-0.5)
    ('< 0.001', '1.23', '120', 'yes', '', '−0.5')
    """
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        if is_p(name) and value < 0.001:
            return "< 0.001"
        if abs(value) < 1e-9:
            return "0"
        text = f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"
        return text.replace("-", "−")
    return str(value)


def is_p(name: str) -> bool:
    """Tell whether a column holds probabilities.

    >>> is_p("p"), is_p("acme_p_corrected"), is_p("pad")
    (True, True, False)
    """
    return name == "p" or name.startswith("p_") or "_p_" in f"{name}_"


def plain_name(name: str) -> str:
    """A column or region as it reads in a picture.

    >>> plain_name("vol_Left-Hippocampus"), plain_name("qc_snr")
    ('Left hippocampus', 'snr')
    """
    if name.startswith("vol_"):
        words = name.removeprefix("vol_").replace("-", " ")
        plain = words if words.isupper() or words == "eTIV" else words[:1].upper() + words[1:].lower()
        return plain.replace("ventraldc", "ventral DC")
    return name.removeprefix("qc_")
