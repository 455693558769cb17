"""Results: tidy tables with a name and a sentence, written to ``OUT/group`` with a JSON file that describes every column."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from brainage_bids.bids.sink import sink_table
from brainage_bids.stats.rows import Row

SECTION = "Section"
"""Field of the JSON file of a table that brings its place, by which a later run knows it as its own."""
LAST = ("n", "method", "assumptions", "correction", "note")
"""Columns that stand at the end of every table."""


@dataclass(frozen=True)
class Result:
    """One table of results.

    Attributes
    ----------
    name : str
        Of the file, ``OUT/group/NAME.tsv``.
    title : str
        In words.
    about : str
        What the table holds and how it is read, one or two sentences.
    rows : tuple of Row
    place : Place or None
        What a result brings that is declared nowhere else, so that the page shows it without being told; None for those that stand in
        the tables of ``data``.
    """

    name: str
    title: str
    about: str
    rows: tuple[Row, ...]
    place: Place | None = None


@dataclass(frozen=True)
class Place:
    """Where and how a result is shown.

    Attributes
    ----------
    section : str
        Heading of the page; one that is not there yet is made before what could not be done.
    columns : mapping
        Description of each column that ``data/group_columns.json`` does not know.
    methods : str
        A sentence for the methods; may be empty.
    draw : callable or None
        Draws the rows on a figure of matplotlib.
    """

    section: str
    columns: Mapping[str, Mapping[str, Any]]
    methods: str = ""
    draw: Callable[[Sequence[Row], Any], None] | None = None


@dataclass
class Report:
    """What the steps leave behind.

    Attributes
    ----------
    results : list of Result
    problems : list of (step, sentence)
        What could not be done and why.
    warnings : list of str
        What a reader must know first.
    failed_settings : list of str
        Problems that come from a setting.
    """

    results: list[Result] = field(default_factory=list)
    problems: list[tuple[str, str]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    failed_settings: list[str] = field(default_factory=list)

    def rows(self, name: str) -> tuple[Row, ...]:
        """Rows of a result, none if it is not there."""
        return next((result.rows for result in self.results if result.name == name), ())


def table(name: str, title: str, about: str, rows: Iterable[Row], place: Place | None = None) -> Result:
    """A result whose rows have the same columns: those of the first row, then what others add; what is missing is None.

    >>> table("x", "X", "About x.", [{"a": 1, "n": 2}, {"b": 3, "n": 1}]).rows
    ({'a': 1, 'b': None, 'n': 2}, {'a': None, 'b': 3, 'n': 1})
    """
    rows = list(rows)
    names = list(dict.fromkeys(name for row in rows for name in row))
    names = [name for name in names if name not in LAST] + [name for name in LAST if name in names]
    return Result(name, title, about, tuple({name: row.get(name) for name in names} for row in rows), place)


def labelled(rows: Iterable[Row], **about: Any) -> list[Row]:
    """The same rows with columns before the others, such as the model.

    >>> labelled([{"n": 1}], model="a")
    [{'model': 'a', 'n': 1}]
    """
    return [{**about, **row} for row in rows]


def write_result(out_dir: Path, result: Result) -> Path:
    """Write ``OUT/group/NAME.tsv`` and its JSON file.

    Raises
    ------
    ValueError
        If a table or column is described neither by its `Place` nor in ``data/group_columns.json``.
    OSError
        If a file cannot be written.
    """
    if result.place is None and result.name not in table_names():
        raise ValueError(f"The table {result.name} has no place and is not in the list of tables in data/group_columns.json.")
    names = list(result.rows[0]) if result.rows else []
    path = Path(out_dir) / "group" / f"{result.name}.tsv"
    about = {"Title": result.title, "Description": result.about, **({SECTION: result.place.section} if result.place else {})}
    return sink_table(result.rows, path, describe_columns(names, result.place.columns if result.place else None), sidecar=about)


def describe_columns(names: Sequence[str], also: Mapping[str, Mapping[str, Any]] | None = None) -> dict[str, dict[str, Any]]:
    """Descriptions of columns of results.

    A name such as ``r_partial_low`` need not stand in the table of descriptions: the endings of its ``suffixes`` are put together
    with what they follow.

    Raises
    ------
    ValueError
        Naming the columns that nobody described.
    """
    known = {**_columns()["columns"], **(also or {})}
    found, lost = {}, []
    for name in names:
        described = known.get(name) or _with_ending(name, known)
        if described is None:
            lost.append(name)
        else:
            found[name] = dict(described)
    if lost:
        raise ValueError(f"The columns {', '.join(lost)} have no description.")
    return found


def table_names() -> frozenset[str]:
    """Names of all tables there may be."""
    return frozenset(_columns()["tables"])


def _with_ending(name: str, known: Mapping[str, Mapping[str, Any]]) -> dict[str, Any] | None:
    for ending, words in _columns()["suffixes"].items():
        if name.endswith(ending) and len(name) > len(ending):
            stem = name.removesuffix(ending)
            base = known.get(stem) or _with_ending(stem, known)
            if base is not None:
                return {**base, "Description": words.format(base["Description"][0].lower() + base["Description"][1:])}
    for beginning, words in _columns()["prefixes"].items():
        if name.startswith(beginning) and len(name) > len(beginning):
            return {**words, "Description": words["Description"].format(name.removeprefix(beginning))}
    return None


@cache
def _columns() -> dict[str, Any]:
    return json.loads(files("brainage_bids").joinpath("data", "group_columns.json").read_text(encoding="utf-8"))
