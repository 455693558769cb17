"""The page of a group: pieces put together by ``data/report/group.yml`` and the template of the participants' pages.

The page carries its style and pictures itself and asks nothing of a network. The specification has nireports' form, but is read
here: nireports imports nipype, and the group level runs without it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from brainage_bids.bids.sink import sink_text
from brainage_bids.reports import group_pieces
from brainage_bids.reports.group_content import GroupView
from brainage_bids.reports.group_parts import IN_SECTION

NOT_DONE = "Not done"
"""Section before which new ones are put."""


def write_group_page(view: GroupView, out_dir: Path, *, version: str, run_settings: str = "") -> Path:
    """Write ``OUT/group.html`` in one move, and its pictures to ``OUT/group``.

    Parameters
    ----------
    view : GroupView
        What is shown.
    out_dir : Path
        The output folder.
    version : str
        Version of the program.
    run_settings : str
        Settings of the run as TOML, shown as they are.
    """
    pieces = group_pieces.render(view, Path(out_dir), version=version, run_settings=run_settings)
    return sink_text(assemble(pieces), Path(out_dir) / "group.html")


def assemble(pieces: Mapping[str, str]) -> str:
    """Put pieces into sections; what is missing is left out."""
    import jinja2
    import yaml

    folder = resources.files("brainage_bids") / "data" / "report"
    spec = yaml.safe_load((folder / "group.yml").read_text(encoding="utf-8"))
    env = jinja2.Environment(
        loader=jinja2.PackageLoader("brainage_bids", "data/report"), autoescape=False, trim_blocks=True, lstrip_blocks=True
    )
    sections = [section for asked in _with_sections(spec["sections"], pieces) if (section := _section(asked, pieces))["reportlets"]]
    return env.get_template("page.html").render(title=spec["title"], sections=sections)


def _with_sections(sections: Sequence[Mapping[str, Any]], pieces: Mapping[str, str]) -> list[dict[str, Any]]:
    """The sections of the specification, and what results bring: behind the section they name, or in one before what was not done."""
    found = {section["name"]: {**section, "reportlets": [*section["reportlets"]]} for section in sections}
    names = list(found)
    for piece in pieces:
        if piece.startswith(IN_SECTION):
            name = piece.removeprefix(IN_SECTION)
            if name not in found:
                found[name] = {"name": name, "reportlets": []}
                names.insert(names.index(NOT_DONE), name)
            found[name]["reportlets"].append({"bids": {"desc": piece}})
    return [found[name] for name in names]


def _section(asked: Mapping[str, Any], pieces: Mapping[str, str]) -> dict[str, Any]:
    reportlets = []
    for wanted in asked["reportlets"]:
        name = wanted["bids"]["desc"]
        if pieces.get(name):
            told = {"title": "", "subtitle": wanted.get("subtitle", ""), "description": wanted.get("description", "")}
            reportlets.append({"name": name, **told, "components": [(pieces[name], "")]})
    return {"name": asked["name"], "isnested": False, "reportlets": reportlets}
