"""How nireports finds our pieces: by what they are, not by where they lie.

nireports asks pybids, which reads entities out of whole paths, so a temporary folder called ``anat`` or ``ses-1`` would
change the page. Import this module late: nireports takes most of a second.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from nireports.assembler.report import Report, SubReport
from nireports.assembler.reportlet import Reportlet

from brainage_bids.modalities import COREGISTERED, MODALITIES
from brainage_bids.reports.pieces import Piece, anchor


@dataclass(frozen=True)
class PieceFile:
    """A piece on disk, as nireports wants it: a path and entities."""

    path: str
    entities: dict[str, object]


class PieceIndex:
    """The pieces of one page, laid into a folder; stands in for the layout of nireports.

    Parameters
    ----------
    folder : pathlib.Path
        An empty folder.
    parts : iterable of Piece
        The pieces.
    labels : sequence of str
        What each session is called.
    """

    def __init__(self, folder: Path, parts: Iterable[Piece], labels: Sequence[str]) -> None:
        self.root, self.labels = str(folder), tuple(labels)
        self._files = []
        for part in parts:
            path = folder / f"{part.desc}-{'all' if part.session is None else part.session}.html"
            # plain ASCII, because nireports reads with the encoding of the locale
            path.write_bytes(part.html.encode("ascii", "xmlcharrefreplace"))
            self._files.append(PieceFile(str(path), {"desc": part.desc, "session": part.session}))

    def get(self, **query: object) -> list[PieceFile]:
        """Pieces whose entities agree with every term of the query."""
        return [file for file in self._files if all(file.entities.get(key) == value for key, value in query.items())]

    @property
    def sessions(self) -> list[int]:
        """Numbers of the sessions that have pieces of their own."""
        return sorted({file.entities["session"] for file in self._files} - {None})


class PieceReport(Report):
    """A report whose sections are filled from ``metadata["index"]``, a `PieceIndex`."""

    def index(self, config: dict) -> None:
        """Make the sections the specification asks for; empty ones are left out."""
        pieces: PieceIndex = config["metadata"]["index"]
        for section in config["sections"]:
            section = section | {"reportlets": each_modality(section["reportlets"])}
            sessions = pieces.sessions if section.get("ordering") == "session" else []
            found = [piece for session in sessions or [None] for piece in _reportlets(pieces, section, session)]
            if found:
                self.sections.append(SubReport(section["name"], bool(sessions), found, section.get("title")))


def each_modality(reportlets: Sequence[dict]) -> list[dict]:
    """Reportlets with those that name ``{key}`` repeated for every modality that is registered to the T1w, one modality after the other.

    >>> [one["bids"]["desc"] for one in each_modality([{"bids": {"desc": "scan"}}, {"bids": {"desc": "{key}"}}])][:3]
    ['scan', 'flair', 'swi']
    """
    out = []
    for is_repeated, group in groupby(reportlets, lambda one: "{key}" in one["bids"]["desc"]):
        together = list(group)
        if not is_repeated:
            out += together
            continue
        for row in (MODALITIES[modality] for modality in COREGISTERED):
            named = {"key": row.key, "words": row.words}
            for one in together:
                texts = {name: text.format(**named) for name, text in one.items() if name != "bids"}
                out.append(texts | {"bids": {"desc": one["bids"]["desc"].format(**named)}})
    return out


def _reportlets(pieces: PieceIndex, section: dict, session: int | None) -> list[Reportlet]:
    """Pieces of one section and session in the specification's order; the first one carries the session's name."""
    out = []
    for wanted in section["reportlets"]:
        asked = wanted | {"bids": wanted["bids"] | {"session": session}}
        piece = Reportlet(pieces, config=asked, out_dir=pieces.root)
        if piece.is_empty():
            continue
        piece.name = "" if session is None else f"{wanted['bids']['desc']}-{session + 1}"
        if session is not None and not out:
            piece.title, piece.name = html.escape(pieces.labels[session]), anchor(session)
        out.append(piece)
    return out
