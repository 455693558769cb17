"""What a participant's report is made of, read from the files of the output folder and from nothing else."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from brainage_bids.bids.model_files import MAPS, ModelTable, read_model_table
from brainage_bids.bids.model_files import TABLE as MODEL_TABLE
from brainage_bids.bids.names import LABEL, derivative_path, find_derivatives, session_folders
from brainage_bids.bids.sink import sidecar_path
from brainage_bids.files import TABLE, read_json, read_utf8
from brainage_bids.modalities import COREGISTERED
from brainage_bids.records import FLAGS

FIGURES = ("mask", "tissues", "registration")
"""``desc-`` of the pictures a report shows; the picture of the age is drawn from the tables."""

Row = Mapping[str, str | None]


@dataclass(frozen=True)
class Fault:
    """Why something is missing: a failure of the run, as recorded."""

    session_id: str | None
    stage: str
    message: str
    detail: str = ""


@dataclass(frozen=True)
class OtherView:
    """All that is known of another image than the T1w of a visit.

    Attributes
    ----------
    sidecar : mapping
        JSON of its quality table.
    quality : tuple of mapping
        Rows of ``B_desc-qc_{FLAIR,swi,…}.tsv``.
    figure : Path or None
        The picture of its registration.
    """

    sidecar: Mapping[str, object]
    quality: tuple[Row, ...]
    figure: Path | None


@dataclass(frozen=True)
class MapView:
    """A map of a model.

    Attributes
    ----------
    path, background : Path
        The map, and the scan over which it is drawn.
    model, key : str
        Whose, and which of its maps.
    sidecar : mapping
        Its JSON: ``Description``, ``Units``, ``Signed``.
    """

    path: Path
    background: Path
    model: str
    key: str
    sidecar: Mapping[str, object]


@dataclass(frozen=True)
class SessionView:
    """All that is known of one visit.

    Attributes
    ----------
    session_id : str or None
        ``ses-Y``; None in a dataset without sessions.
    sidecar : mapping
        JSON of the preprocessed T1w; empty if there is none.
    estimates : tuple of mapping
        Rows of ``B_brainage.tsv``; ``n/a`` is None.
    quality : tuple of mapping
        Rows of ``B_desc-qc_T1w.tsv``.
    volumes : mapping
        The row of ``B_desc-volumes_morph.tsv``.
    tables : tuple of ModelTable
        What models wrote beside their ages.
    maps : tuple of MapView
        Maps of models.
    figures : mapping
        ``mask``, ``tissues``, ``registration`` → the file.
    faults : tuple of Fault
        What failed in this session.
    others : mapping
        Images beside the T1w by modality, those that there are.
    """

    session_id: str | None
    sidecar: Mapping[str, object] = field(default_factory=dict)
    estimates: tuple[Row, ...] = ()
    quality: tuple[Row, ...] = ()
    volumes: Row = field(default_factory=dict)
    tables: tuple[ModelTable, ...] = ()
    maps: tuple[MapView, ...] = ()
    figures: Mapping[str, Path] = field(default_factory=dict)
    faults: tuple[Fault, ...] = ()
    others: Mapping[str, OtherView] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """``Session Y``, or the empty text without sessions."""
        return f"Session {self.session_id.removeprefix('ses-')}" if self.session_id else ""

    @property
    def complete(self) -> bool:
        """Whether an age was estimated and nothing failed."""
        return bool(self.estimates) and not self.faults


@dataclass(frozen=True)
class ParticipantView:
    """All that is known of one person.

    Attributes
    ----------
    participant_id : str
        ``sub-X``.
    sessions : tuple of SessionView
        In the order of their labels.
    faults : tuple of Fault
        What failed for the person as a whole, or in a session whose name is none.
    unread : tuple of str
        Files that are there but could not be read, a sentence each.
    """

    participant_id: str
    sessions: tuple[SessionView, ...] = ()
    faults: tuple[Fault, ...] = ()
    unread: tuple[str, ...] = ()

    @property
    def all_faults(self) -> tuple[Fault, ...]:
        """Failures of the person and of every session; the templates of the page ask for them."""
        return self.faults + tuple(fault for session in self.sessions for fault in session.faults)


def read_participant(out_dir: Path, participant_id: str) -> ParticipantView:
    """Read everything the output folder holds of one person.

    Parameters
    ----------
    out_dir : pathlib.Path
        The output folder.
    participant_id : str
        ``sub-X``.

    Returns
    -------
    ParticipantView
        With no session at all if nothing is there.

    Raises
    ------
    ValueError
        If the identifier is not one of BIDS.
    """
    out_dir = Path(out_dir)
    unread: list[str] = []
    faults = _read_faults(out_dir, participant_id, unread)
    failed = {fault.session_id for fault in faults if fault.session_id and re.fullmatch("ses-" + LABEL.pattern, fault.session_id)}
    found = _find_sessions(out_dir, participant_id) | failed
    if any(found - {None}):
        found.discard(None)
    order = sorted(found, key=lambda session_id: session_id or "")
    sessions = tuple(_read_session(out_dir, participant_id, session_id, faults, unread) for session_id in order)
    own = tuple(fault for fault in faults if fault.session_id is None or fault.session_id not in found)
    return ParticipantView(participant_id, sessions, own, tuple(unread))


def flag_words(codes: str | None) -> tuple[tuple[str, str], ...]:
    """Code and meaning of every flag in a ``flags`` cell.

    Examples
    --------
    >>> flag_words("poor_snr;made_up")
    (('poor_snr', 'The signal-to-noise ratio is low.'), ('made_up', 'made_up'))
    >>> flag_words(None)
    ()
    """
    return tuple((code, FLAGS.get(code, code)) for code in (codes or "").split(";") if code)


def number(text: str | float | None) -> float | None:
    """Read a number of a table; None for a missing or unreadable one, and for what is not finite.

    Examples
    --------
    >>> number("41.5"), number(None), number("nan")
    (41.5, None, None)
    """
    import math

    try:
        value = float(text) if text is not None else math.nan
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _find_sessions(out_dir: Path, participant_id: str) -> set[str | None]:
    """Sessions that have an ``anat`` folder; None stands for files directly under the person."""
    folder = out_dir / participant_id
    found: set[str | None] = {name for name in session_folders(out_dir, participant_id) if (folder / name / "anat").is_dir()}
    if (folder / "anat").is_dir():
        found.add(None)
    return found


def _read_session(out_dir: Path, participant_id: str, session_id: str | None, faults: list[Fault], unread: list[str]) -> SessionView:
    def path(key: str, **entities: str) -> Path:
        return derivative_path(out_dir, key, participant_id, session_id, **entities)

    sidecar = _read_json(sidecar_path(path("preproc")), unread)
    volumes = _read_table(path("volumes"), unread)
    pictures = {name: path("figures", desc=name) for name in FIGURES}
    estimates = _read_table(path("brainage"), unread)
    return SessionView(
        session_id,
        sidecar if isinstance(sidecar, dict) else {},
        estimates,
        _read_table(path("qc"), unread),
        volumes[0] if volumes else {},
        tuple(_model_tables(out_dir, participant_id, session_id, unread)),
        tuple(_model_maps(out_dir, participant_id, session_id, unread)),
        {name: picture for name, picture in pictures.items() if picture.is_file()},
        tuple(fault for fault in faults if fault.session_id == session_id and session_id is not None),
        {modality: other for modality in COREGISTERED if (other := _read_other(path, modality, unread)) is not None},
    )


def _model_tables(out_dir: Path, participant_id: str, session_id: str | None, unread: list[str]) -> Iterator[ModelTable]:
    for found in find_derivatives(out_dir, MODEL_TABLE, participant_id):
        if found.session_id == session_id:
            try:
                yield read_model_table(found.path)
            except (OSError, ValueError) as error:
                unread.append(f"{found.path.name} could not be read ({error}); delete it and run again.")


def _model_maps(out_dir: Path, participant_id: str, session_id: str | None, unread: list[str]) -> Iterator[MapView]:
    backgrounds = {
        key: derivative_path(out_dir, background, participant_id, session_id, **entities)
        for key, (background, entities) in {MAPS[0]: ("t1w_mni", {"res": "2"}), MAPS[1]: ("preproc", {})}.items()
    }
    for key, background in backgrounds.items():
        for found in find_derivatives(out_dir, key, participant_id):
            if found.session_id == session_id and background.is_file():
                sidecar = _read_json(sidecar_path(found.path), unread)
                about = sidecar if isinstance(sidecar, dict) else {}
                yield MapView(found.path, background, found.entities["model"], found.entities["desc"], about)


def _read_other(path: Callable[..., Path], modality: str, unread: list[str]) -> OtherView | None:
    table = path("other_qc", modality=modality)
    quality = _read_table(table, unread)
    if not quality:
        return None
    sidecar, figure = _read_json(sidecar_path(table), unread), path("figures", desc="coregistration", suffix=modality)
    return OtherView(sidecar if isinstance(sidecar, dict) else {}, quality, figure if figure.is_file() else None)


def _read_faults(out_dir: Path, participant_id: str, unread: list[str]) -> list[Fault]:
    """Failures of a person: ``sub-X.json`` and ``sub-X_ses-Y.json``, never those of ``sub-X1``."""
    folder = out_dir / "logs" / "failures"
    faults = []
    for path in sorted(folder.glob("*.json")):
        if path.stem != participant_id and not path.stem.startswith(f"{participant_id}_"):
            continue
        content = _read_json(path, unread)
        for entry in content if isinstance(content, list) else [content]:
            if isinstance(entry, dict):
                texts = {key: str(entry.get(key) or "") for key in ("stage", "message", "detail")}
                faults.append(Fault(session_id=entry.get("session_id") or None, **texts))
    return faults


def _read_json(path: Path, unread: list[str]) -> object:
    if not path.is_file():
        return {}
    try:
        return read_json(path)
    except (ValueError, OSError) as error:
        unread.append(f"{path.name} could not be read ({error}); delete it and run again.")
        return {}


def _read_table(path: Path, unread: list[str]) -> tuple[Row, ...]:
    if not path.is_file():
        return ()
    try:
        rows = list(csv.DictReader(io.StringIO(read_utf8(path, TABLE), newline=""), delimiter="\t", quoting=csv.QUOTE_NONE))
    except (ValueError, OSError, csv.Error) as error:
        unread.append(f"{path.name} could not be read ({error}); delete it and run again.")
        return ()
    return tuple({key: (None if value in (None, "n/a", "") else value) for key, value in row.items() if key is not None} for row in rows)
