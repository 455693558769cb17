"""The pieces of a participant's page: what was read from the output folder, filled into HTML templates that escape all text."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from brainage_bids.bids.model_files import ModelTable
from brainage_bids.modalities import MODALITIES
from brainage_bids.models.card import ModelCard
from brainage_bids.models.registry import ModelFolder
from brainage_bids.records import BadConfiguration
from brainage_bids.reports import figures, structures, svg, words
from brainage_bids.reports.boilerplate import installed_versions, model_notes, model_steps, write_methods
from brainage_bids.reports.content import MapView, OtherView, ParticipantView, Row, SessionView, flag_words, number

if TYPE_CHECKING:
    import jinja2

    from brainage_bids.models.norms import NormCurve

PICTURES: Mapping[str, tuple[str, tuple[tuple[str, str], ...], tuple[tuple[str, str], ...]]] = {
    "mask": ("Brain mask", (("lines", "Outline"), ("plain", "T1w alone")), ((figures.MASK_COLOUR, "border of the brain mask"),)),
    "tissues": (
        "Tissues",
        (("lines", "Outlines"), ("fill", "Filled"), ("plain", "T1w alone")),
        (
            (figures.TISSUES[2][2], "border of white matter; filled: white matter"),
            (figures.TISSUES[1][2], "outer border of grey and white matter; filled: grey matter"),
            (figures.TISSUES[3][2], "filled: fluid"),
            (figures.MASK_COLOUR, "border of all three"),
        ),
    ),
    "registration": (
        "Alignment to the template",
        (("before", "Participant"), ("after", "Template"), ("alternate", "Alternate")),
        ((figures.TEMPLATE_COLOUR, "the template's brain"), (figures.TEMPLATE_INNER_COLOUR, "the template's white matter")),
    ),
    "coregistration": (
        "Alignment to the T1w",
        (("before", "This image"), ("after", "T1w"), ("alternate", "Alternate")),
        ((figures.MASK_COLOUR, "the T1w's brain"), (figures.TISSUES[2][2], "the T1w's white matter")),
    ),
}
"""Title, switches (first one is on) and key of each picture."""
DRAWN_WITH_AGE = frozenset({"structures"})
"""Tables of models that stand beside the age, drawn in a way of their own; all others are shown as tables."""
MOST_ROWS = 40
VOLUMES = (
    ("GM", "Grey matter"),
    ("WM", "White matter"),
    ("brain", "Brain (grey and white matter)"),
    ("CSF", "Cerebrospinal fluid"),
    ("eTIV", "Inside of the skull (estimated)"),
)


@dataclass(frozen=True)
class Piece:
    """A fragment of the page.

    Attributes
    ----------
    desc : str
        Which piece; the ``desc`` that ``spec.yml`` asks for.
    session : int or None
        Number of the session; None for the person as a whole, and where there are no sessions.
    html : str
    """

    desc: str
    session: int | None
    html: str


def anchor(index: int) -> str:
    """Name of a session's heading in links."""
    return f"session-{index + 1}"


def render(
    view: ParticipantView,
    *,
    version: str,
    run_settings: str,
    models: Mapping[str, ModelFolder],
    steps: tuple[str, ...],
    out_dir: Path,
) -> list[Piece]:
    """Fill every piece of a page.

    Parameters
    ----------
    view : ParticipantView
        What is known of the person.
    version : str
        Version of the program.
    run_settings : str
        TOML text.
    models : mapping
        Folder of each model by name.
    steps : tuple of str
        Steps of scans whose sidecar lists none.
    out_dir : pathlib.Path
        Links to figures are relative to it.

    Returns
    -------
    list of Piece
    """
    env = _environment()
    anchors = {session.session_id: anchor(index) for index, session in enumerate(view.sessions)}
    cards, unknown = _cards(view, models)
    there = {modality for session in view.sessions for modality in session.others}
    methods = write_methods([*_steps(view, steps), *model_steps(cards), *unknown], notes=model_notes(cards), others=there)
    done = any(session.sidecar for session in view.sessions)
    shared = [
        ("summary", {"view": view, "anchors": anchors}),
        ("errors", {"view": view}),
        ("methods", {"done": done, "paragraphs": methods.paragraphs, "references": methods.references}),
        ("run", {"version": version, "versions": _versions(), "settings": run_settings}),
    ]
    out = [Piece(desc, None, env.get_template(f"{desc}.html").render(values)) for desc, values in shared]
    for index, session in enumerate(view.sessions):
        place = index if session.session_id else None
        for desc, template, values in _session_pieces(session, index, models, out_dir):
            out.append(Piece(desc, place, env.get_template(template).render(values)))
    return out


def _environment() -> jinja2.Environment:
    import jinja2

    env = jinja2.Environment(
        loader=jinja2.PackageLoader("brainage_bids", "data/report/pieces"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    named = (words.years, words.interval_words, words.quality_value, words.quality_limits, number, flag_words)
    named += (structures.percent, structures.place_words)
    env.globals.update({function.__name__: function for function in named})
    return env


def _session_pieces(
    session: SessionView, index: int, models: Mapping[str, ModelFolder], out_dir: Path
) -> Iterator[tuple[str, str, dict[str, object]]]:
    """Name, template and values of the pieces of one session; a piece without content is left out."""
    if session.estimates:
        yield "brainage", "brainage.html", {"estimates": [_estimate(row, models, session.tables) for row in session.estimates]}
    if session.faults:
        yield "failed", "failed.html", {"faults": session.faults}
    if session.sidecar:
        yield "scan", "scan.html", _scan(session.sidecar)
    for name, path in session.figures.items():
        yield name, "figure.html", _figure(name, f"{name}-{index}", path, out_dir)
    if session.maps:
        yield "maps", "model_maps.html", {"maps": [_map(view, out_dir) for view in session.maps]}
    if tables := [table for table in session.tables if table.key not in DRAWN_WITH_AGE]:
        yield "tables", "model_tables.html", {"tables": [_table(table) for table in tables]}
    if session.quality:
        yield "quality", "quality.html", _quality(session.quality)
    if volumes := _volumes(session.volumes):
        yield "volumes", "volumes.html", {"rows": volumes}
    for modality, other in session.others.items():
        key = MODALITIES[modality].key
        yield key, "other.html", _other(modality, other)
        if other.figure is not None:
            values = _figure("coregistration", f"{modality}-{index}", other.figure, out_dir)
            yield f"{key}picture", "figure.html", values
        yield f"{key}quality", "quality.html", _quality(other.quality)


def _figure(kind: str, name: str, path: Path, out_dir: Path) -> dict[str, object]:
    label, picks, key = PICTURES[kind]
    address = "./" + quote(path.relative_to(out_dir).as_posix())
    return {"label": label, "picks": picks, "key": key, "name": name, "picture": _inline(path), "address": address}


def _quality(table: tuple[Row, ...]) -> dict[str, object]:
    raised = dict.fromkeys(pair for row in table for pair in flag_words(row.get("flag")))
    rows = [{"metric": "", "description": "", "flag": None, "value": None} | dict(row) for row in table]
    return {"rows": rows, "raised": tuple(raised), "names": words.QUALITY_NAMES}


def _other(modality: str, other: OtherView) -> dict[str, object]:
    sources, notes = other.sidecar.get("Sources"), other.sidecar.get("Notes")
    return {
        "name": MODALITIES[modality].words,
        "source": str(sources[0]) if isinstance(sources, list) and sources else "",
        "choice": str(other.sidecar.get("SourceChoice") or ""),
        "notes": [str(note) for note in notes] if isinstance(notes, list) else [],
        "used": bool(other.sidecar.get("Used")),
    }


def _estimate(row: Row, models: Mapping[str, ModelFolder], tables: Sequence[ModelTable]) -> dict[str, object]:
    folder = _made_by(row, models)
    card = folder.card if folder else None
    columns = ("model", "modality", "brain_age", "brain_age_sd", "age", "pad", "pad_corrected", "bias_method", "flags")
    return {
        "row": dict.fromkeys(columns) | dict(row),
        "picture": _age_picture(row, card),
        "flags": flag_words(row.get("flags")),
        "gap": words.gap_words(row),
        "structures": _structures(row, _rows(tables, row.get("model"), "structures"), folder) if folder else None,
        "model": words.model_words(card, number(row.get("age"))) if card else [words.no_card_words(row.get("model") in models)],
    }


def _rows(tables: Sequence[ModelTable], model: str | None, key: str) -> tuple[Row, ...]:
    return next((table.rows for table in tables if (table.model, table.key) == (model, key)), ())


def _table(table: ModelTable) -> dict[str, object]:
    rows = [[_cell(row[name]) for name in table.columns] for row in table.rows]
    heads = [(name.replace("_", " "), str(words["Description"]), str(words.get("Units", ""))) for name, words in table.columns.items()]
    about = {"title": f"{table.model}: {table.key}", "about": table.description}
    return {**about, "heads": heads, "rows": rows[:MOST_ROWS], "total": len(rows)}


def _cell(value: object) -> str:
    return "" if value is None else f"{value:.4g}".replace("-", "−") if isinstance(value, float) else str(value)


def _map(view: MapView, out_dir: Path) -> dict[str, object]:
    """The picture of a map with what its colours mean, or a sentence where it cannot be drawn."""
    import tempfile

    from brainage_bids.reports.maps import draw_map

    title, units = f"{view.model}: {view.key}", str(view.sidecar.get("Units") or "")
    values = {"title": title, "about": str(view.sidecar.get("Description") or ""), "picture": "", "key": [], "problem": ""}
    with tempfile.TemporaryDirectory(prefix="brainage_report_") as folder:
        path = Path(folder) / "map.svg"
        try:
            scale = draw_map(view.path, view.background, path, title=title, signed=bool(view.sidecar.get("Signed")))
        except (OSError, ValueError) as error:
            return values | {"problem": f"The map {view.path.name} cannot be drawn ({error}); delete it and run again."}
        address = "./" + quote(view.path.relative_to(out_dir).as_posix())
        return values | {"picture": _inline(path), "key": scale.words(units), "address": address}


def _made_by(row: Row, models: Mapping[str, ModelFolder]) -> ModelFolder | None:
    """The model that made an estimate: of its name, and with the weights whose SHA-256 the row tells."""
    folder = models.get(row.get("model") or "")
    return folder if folder and row.get("model_sha256") in folder.card.files.values() else None


def _age_picture(row: Row, card: ModelCard | None):
    """The picture of an estimate as inline SVG, the empty text without one."""
    import tempfile

    from brainage_bids.reports.ages import draw_age

    brain_age = number(row.get("brain_age"))
    if brain_age is None:
        return ""
    low, high, level, age = (number(row.get(key)) for key in ("brain_age_low", "brain_age_high", "interval_level", "age"))
    with tempfile.TemporaryDirectory(prefix="brainage_report_") as folder:
        path = Path(folder) / "age.svg"
        training = None if card is None else words.training_ages(card)
        draw_age(path, brain_age=brain_age, low=low, high=high, level=level or 0.95, age=age, training=training)
        return _inline(path)


def _structures(row: Row, rows: tuple[Row, ...], folder: ModelFolder) -> dict[str, object] | None:
    """What moved an estimate: pictures of the strongest structures, and all of them; None if the model tells nothing of it."""
    from markupsafe import Markup

    every = structures.read_structures(rows)
    shown = [structure for structure in every if structure.share is not None][: structures.SHOWN]
    whole = [structure for structure in every if structure.share is None]
    if not shown:
        return None
    age, brain_age = number(row.get("age")), number(row.get("brain_age"))
    base = None if brain_age is None else brain_age - sum(structure.years for structure in every)
    curves, problem = _norm_curves(folder)
    drawn = [structures.draw_structure(structure, curves.get(structure.name), age) for structure in shown]
    return {
        "shown": [(structure, Markup(svg.markup(root))) for structure, root in zip(shown, drawn, strict=True)],
        "every": every,
        "caption": structures.caption(len(shown), folder.card.training.n, age, base, whole),
        "problem": problem,
    }


def _norm_curves(folder: ModelFolder) -> tuple[Mapping[str, NormCurve], str]:
    """The norm curves of a model, and a sentence if they cannot be read."""
    from brainage_bids.models.norms import read_norms

    try:
        return read_norms(folder), ""
    except BadConfiguration as error:
        return {}, f"The norm curves of the training people are not drawn: {error}"


def _inline(path: Path):
    """An SVG of ours as part of a page: without its declaration, marked as HTML."""
    from markupsafe import Markup

    text = path.read_text(encoding="utf-8")
    return Markup(text[text.index("<svg") :].strip())  # drawn by reports.figures, which escapes its text


def _scan(sidecar: Mapping[str, object]) -> dict[str, object]:
    sources = sidecar.get("Sources") or []
    seconds = sidecar.get("Seconds")
    times = [(str(step), float(value)) for step, value in seconds.items()] if isinstance(seconds, dict) else []
    return {
        "sources": [sources] if isinstance(sources, str) else [str(source) for source in sources],
        "choice": sidecar.get("SourceChoice") or "",
        "stripped": sidecar.get("InputSkullStripped"),
        "seconds": [(step, f"{value:.0f}") for step, value in times],
        "total": f"{sum(value for _, value in times):.0f}",
    }


def _volumes(row: Row) -> list[tuple[str, str, str]]:
    """Volumes in millilitres, and as a share of the brain, of the columns in mm³ that are there."""
    values = {key: number(row.get(key)) for key, _ in VOLUMES}
    brain = values["brain"]
    return [
        (name, f"{values[key] / 1000:.0f}", f"{100 * values[key] / brain:.0f} %" if brain and key in ("GM", "WM") else "")
        for key, name in VOLUMES
        if values[key] is not None
    ]


def _steps(view: ParticipantView, default: tuple[str, ...]) -> list[str]:
    """Steps of all sessions, each once; a session that lists none counts as having had the default ones."""
    out: dict[str, None] = {}
    for session in view.sessions:
        done = session.sidecar.get("StepsDone")
        out.update(dict.fromkeys(str(step) for step in done) if isinstance(done, list) and done else dict.fromkeys(default))
        for other in session.others.values():
            further = other.sidecar.get("StepsDone")
            out.update(dict.fromkeys(str(step) for step in further) if isinstance(further, list) else {})
    return list(out or dict.fromkeys(default))


def _cards(view: ParticipantView, models: Mapping[str, ModelFolder]) -> tuple[list[ModelCard], list[str]]:
    """Cards of the models that made the estimates, and the step that stands for those whose card is not there.

    Without any estimate the models of the run take their place.
    """
    rows = [row for session in view.sessions for row in session.estimates]
    if not rows:
        return [folder.card for folder in models.values()], []
    found = [_made_by(row, models) for row in rows]
    cards = {folder.card.name: folder.card for folder in found if folder}
    return list(cards.values()), ["model_unknown"] if None in found else []


def _versions() -> list[tuple[str, str]]:
    found = installed_versions()
    return [("Python", platform.python_version())] + [(name, found[name]) for name in sorted(found) if name != "brainage_bids"]
