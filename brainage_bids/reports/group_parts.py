"""Parts of the pieces of a group's page: a table cut to what can be read, a picture."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from brainage_bids.bids.sink import sink_text
from brainage_bids.reports import group_figures as figures
from brainage_bids.reports.group_content import GroupView, cell, plain_name

IN_SECTION = "in-"
"""How names of pieces begin that belong into the section whose name follows."""
MOST_ROWS = 60
"""Rows that a page shows of one table; the file has all."""
_BESIDE = frozenset({"method", "assumptions", "correction"})

Part = dict[str, Any]


def table_part(view: GroupView, name: str, *, open_: bool = False, by: str = "", only: Sequence[str] = ()) -> Iterator[Part]:
    """A table of results as a part of a page; nothing if it is not there.

    Parameters
    ----------
    by : str
        Column of probabilities; with more rows than are shown, those with the smallest come first.
    only : sequence of str
        Columns to show; all that say something by default.
    """
    if name not in view.results or not view.results[name].rows:
        return
    result = view.results[name]
    rows = list(result.rows)
    order = "in the order of the file"
    if by and len(rows) > MOST_ROWS:
        rows, order = sorted(rows, key=lambda row: 2.0 if row.get(by) is None else row[by]), "those with the smallest p"
    shown = rows[:MOST_ROWS]
    names = [key for key in (only or rows[0]) if key not in _BESIDE and any(row.get(key) not in (None, "") for row in shown)]
    corrections = list(dict.fromkeys(row["correction"] for row in result.rows if row.get("correction") not in (None, "none", "")))
    yield {
        "title": result.title, "about": result.about, "open": open_, "heads": [key.replace("_", " ") for key in names],
        "rows": [[plain_name(str(row[key])) if key in ("first", "second") else cell(row.get(key), key) for key in names] for row in shown],
        "shown": len(shown), "total": len(result.rows), "order": order, "address": f"./group/{name}.tsv",
        "correction": corrections[0] + (" and others" if len(corrections) > 1 else "") if corrections else "",
    }  # fmt: skip


def figure_part(
    view: GroupView,
    out_dir: Path,
    name: str,
    caption: str,
    work: Callable[[Any], None],
    *,
    table: str = "",
    size: tuple[float, float] = (7.0, 4.2),
) -> Iterator[Part]:
    """A picture, written as ``OUT/group/NAME.svg`` and put into the page."""
    from markupsafe import Markup

    text = figures.draw(name, caption, work, size=size)
    sink_text('<?xml version="1.0" encoding="utf-8"?>\n' + text, out_dir / "group" / f"{name}.svg")
    address = table or f"./group/{name}.tsv"
    yield {"figure": Markup(text), "caption": caption, "address": f"./group/{name}.svg", "table": address}  # matplotlib escapes its text
