"""The page of a participant: pieces filled from the output folder, put together by nireports into one file.

The page carries its style and pictures itself and asks nothing of a network. Text that comes from data is escaped.
"""

from __future__ import annotations

import html
import os
import tempfile
from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path

from brainage_bids.models.registry import ModelFolder
from brainage_bids.reports import pieces
from brainage_bids.reports.boilerplate import DEFAULT_STEPS
from brainage_bids.reports.content import ParticipantView, read_participant


def write_participant_report(
    out_dir: Path,
    participant_id: str,
    *,
    version: str,
    run_settings: str = "",
    models: Mapping[str, ModelFolder] | None = None,
    steps: Iterable[str] = DEFAULT_STEPS,
) -> Path:
    """Write ``OUT/sub-X.html`` from what the output folder holds of a person, all sessions, in one move.

    Parameters
    ----------
    out_dir : pathlib.Path
        The output folder.
    participant_id : str
        ``sub-X``.
    version : str
        Version of the program.
    run_settings : str
        The settings of the run as TOML, shown as they are.
    models : mapping, optional
        Folders of the models by the name that stands in the column ``model``.
    steps : iterable of str
        Steps of a scan whose sidecar does not list its ``StepsDone``.

    Returns
    -------
    pathlib.Path
        The page.
    """
    from brainage_bids.bids.sink import write_atomic

    out_dir = Path(out_dir)
    view = read_participant(out_dir, participant_id)
    parts = pieces.render(view, version=version, run_settings=run_settings, models=models or {}, steps=tuple(steps), out_dir=out_dir)
    page = out_dir / f"{participant_id}.html"
    with write_atomic(page) as temporary:
        assemble(view, parts, Path(temporary))
    return page


def assemble(view: ParticipantView, parts: Iterable[pieces.Piece], path: Path) -> None:
    """Put pieces together into a page with nireports, by ``data/report/spec.yml`` and our own template.

    Parameters
    ----------
    view : ParticipantView
        Names of the person and the sessions, in the order of the pieces' numbers.
    parts : iterable of Piece
        HTML fragments.
    path : pathlib.Path
        The file to be written.
    """
    os.environ.setdefault("NIPYPE_NO_ET", "1")  # nipype would ask a server for its newest version
    from brainage_bids.reports.assembly import PieceIndex, PieceReport

    data = resources.files("brainage_bids") / "data" / "report"
    with tempfile.TemporaryDirectory(prefix="brainage_report_") as folder, resources.as_file(data) as package:
        index = PieceIndex(Path(folder), parts, [session.label for session in view.sessions])
        report = PieceReport(folder, None, package / "spec.yml", str(path.absolute()), metadata={"index": index})
        report.title = html.escape(f"{view.participant_id}: brain age report")
        report.template_path = package / "page.html"
        report.generate_report()
