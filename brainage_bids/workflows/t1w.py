"""The stages of the T1w of a session, each from files to files."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from brainage_bids import __version__
from brainage_bids.bids.dataset import APP, generators
from brainage_bids.bids.sidecars import bids_uri, image_sidecar, table_columns
from brainage_bids.bids.sink import sink_file, sink_image, sink_table, write_atomic
from brainage_bids.bids.tables import read_values
from brainage_bids.imaging.packing import CLIPPED_LIMIT
from brainage_bids.records import Session
from brainage_bids.workflows.engine import run_graph
from brainage_bids.workflows.plan import Plan
from brainage_bids.workflows.roots import PICTURES
from brainage_bids.workflows.stage import Output, Stage, read_sidecar

LOGGER = logging.getLogger("brainage")
TISSUES = ("GM", "WM", "CSF")
FIGURES = ("mask", "tissues", "registration")


def _per_tissue(key: str) -> tuple[Output, ...]:
    return tuple(Output(key, (("label", tissue),)) for tissue in TISSUES)


STRUCTURE = (
    Output("mask"),
    Output("dseg"),
    Output("dseg_lookup"),
    Output("aseg"),
    Output("aseg_lookup"),
    *_per_tissue("probseg"),
    Output("xfm_forward"),
    Output("xfm_inverse"),
    Output("preproc"),
)
TEMPLATE = (
    Output("t1w_mni", (("res", "1"),)),
    Output("t1w_mni", (("res", "2"),)),
    Output("t1w_mni_affine"),
    *_per_tissue("modulated"),
    *_per_tissue("modulated_smooth"),
)
VOLUMES = (Output("volumes"), Output("volumes_atlas"))
QUALITY = (Output("qc"),)
ARRAYS = (Output("packed", (("image", "T1w"),)), Output("packed_mni", (("image", "T1w"),)))
PICTURED = tuple(Output("figures", (("desc", desc),)) for desc in FIGURES)


def paths_of(session: Session, out_dir: Path) -> dict[str, str]:
    """Where the images of the T1w lie, by the names that graphs use."""
    return {output.name: str(output.path(out_dir, session)) for output in (*STRUCTURE, *TEMPLATE)}


def facts_of(session: Session, out_dir: Path) -> dict[str, Any]:
    """The sidecar of the preprocessed T1w; empty if it is not there."""
    return read_sidecar(STRUCTURE[-1], out_dir, session)


def make_structure(session: Session, plan: Plan) -> None:
    """Masks, tissues, structures, transforms and the preprocessed T1w."""
    from brainage_bids.workflows.structure import init_precomputed_wf, init_structure_wf

    precomputed, settings = plan.precomputed_files(session), plan.settings
    scan = session.scans["T1w"]
    how = {"threads": plan.threads, "sloppy": settings.sloppy, "seed": settings.random_seed}
    if precomputed:
        with_tissues = "probseg_GM" in precomputed
        workflow = init_precomputed_wf(with_tissues=with_tissues, **how)
        inputs = {"t1w" if key == "preproc" else key: path for key, path in precomputed.items()}
        steps = ["reused", "conform", "mask_reused", "registration_greedy", *([] if with_tissues else ["tissues_em"])]
    else:
        workflow = init_structure_wf(skull_strip=settings.skull_strip, **how)
        inputs = {"t1w": scan.path}
        steps = ["conform", "", "bias_n4", "registration_greedy", "tissues_em"]
    made = run_graph(workflow, {key: str(value) for key, value in inputs.items()}, plan.work_dir / session.stem)
    if not precomputed:
        steps[1] = "mask_given" if made["stripped"] else "mask_atlas"
    facts = {
        "SourceChoice": scan.reason,
        "InputSkullStripped": bool(made["stripped"]),
        "StepsDone": [*steps, "modulation", "quality", "arrays"],
        "Flags": [*made.get("flags", []), *(["input_mismatch"] if _is_foreign(session, plan) else [])],
        "Notes": list(made.get("notes", [])),
        "ProgramVersion": __version__,
    }
    sources = _raw_sources(session, plan)
    for output in STRUCTURE:
        path = output.path(plan.out_dir, session)
        if output.key.endswith("_lookup"):
            sink_table(LOOKUPS[output.key](), path, table_columns("lookup"), sidecar=False)
            continue
        sidecar = _sidecar(output, session, sources, bool(made["stripped"]), facts if output.key == "preproc" else None)
        (sink_file if output.key.startswith("xfm") else sink_image)(made[output.name], path, sidecar)


def _raw_sources(session: Session, plan: Plan) -> list[str]:
    """BIDS URIs of the scan and of what another app had precomputed."""
    uris = [bids_uri(session.scans["T1w"].path, {"raw": plan.bids_dir})]
    if session.stem in plan.precomputed:
        theirs = plan.precomputed[session.stem]
        uris += [bids_uri(path, {theirs.dataset: theirs.root}) for _, path in sorted(theirs.files.items())]
    return uris


def _is_foreign(session: Session, plan: Plan) -> bool:
    """Whether the tissue maps come from another app: models were trained on ours."""
    return "probseg_GM" in plan.precomputed_files(session) and APP not in generators(plan.precomputed[session.stem].root)


def _sidecar(output: Output, session: Session, sources: list[str], stripped: bool, extra: Mapping | None = None) -> dict:
    return image_sidecar(
        output.key,
        session.participant_id,
        session.session_id,
        sources=sources,
        skull_stripped=stripped,
        extra=extra,
        **dict(output.entities),
    )


def _tissue_rows() -> list[dict]:
    names = {"GM": "grey matter", "WM": "white matter", "CSF": "cerebrospinal fluid"}
    return [{"index": index, "name": names[tissue], "abbreviation": tissue} for index, tissue in enumerate(TISSUES, start=1)]


def _region_rows() -> list[dict]:
    from brainage_bids.imaging.volumes import read_regions

    return [{"index": region.index, "name": region.name, "hemisphere": region.hemisphere} for region in read_regions()]


LOOKUPS: dict[str, Callable[[], list[dict]]] = {"dseg_lookup": _tissue_rows, "aseg_lookup": _region_rows}
"""What the labels of each segmentation mean."""


def make_template(session: Session, plan: Plan) -> None:
    """T1w and modulated tissue maps in the template's space."""
    from brainage_bids.workflows.template import init_template_wf

    files = paths_of(session, plan.out_dir)
    wanted = ("preproc", "probseg_GM", "probseg_WM", "probseg_CSF", "xfm_forward", "xfm_inverse")
    # images beside the T1w are under way on the other half
    threads = max(1, plan.threads // 2) if plan.helped and len(session.scans) > 1 else plan.threads
    made = run_graph(init_template_wf(threads=threads), {key: files[key] for key in wanted}, plan.work_dir / session.stem)
    stripped = bool(facts_of(session, plan.out_dir).get("InputSkullStripped"))
    keys = ("preproc", "probseg_GM", "probseg_WM", "probseg_CSF", "xfm_forward")
    sources = [bids_uri(files[key], {"": plan.out_dir}) for key in keys]
    for output in TEMPLATE:
        modulated = output.key.startswith("modulated")
        source = made[output.key][dict(output.entities)["label"]] if modulated else made[output.name]
        sink_image(source, output.path(plan.out_dir, session), _sidecar(output, session, sources, stripped))


def make_volumes(session: Session, plan: Plan) -> None:
    """Volumes of tissues and of regions."""
    from brainage_bids.workflows.measure import init_volumes_wf

    files = paths_of(session, plan.out_dir)
    workflow = init_volumes_wf(stripped=bool(facts_of(session, plan.out_dir)["InputSkullStripped"]))
    wanted = ("aseg", "probseg_GM", "probseg_WM", "probseg_CSF", "xfm_forward")
    made = run_graph(workflow, {key: files[key] for key in wanted}, plan.work_dir / session.stem)
    names = {"participant_id": session.participant_id, "session_id": session.session_id}
    tables = {"volumes": [names | made["tissues"]], "volumes_atlas": [names | row for row in made["regions"]]}
    for output in VOLUMES:
        sink_table(tables[output.key], output.path(plan.out_dir, session), table_columns(output.key))


def make_quality(session: Session, plan: Plan) -> None:
    """Quality figures of the scan and of what was made from it."""
    from brainage_bids.workflows.measure import init_quality_wf

    files = paths_of(session, plan.out_dir)
    facts = facts_of(session, plan.out_dir)
    workflow = init_quality_wf(stripped=bool(facts["InputSkullStripped"]), own_bias="bias_n4" in facts["StepsDone"])
    raw = str(plan.precomputed_files(session).get("preproc", session.scans["T1w"].path))
    (row,) = read_values(VOLUMES[0].path(plan.out_dir, session), {"participant_id", "session_id"})
    tissues = {name: math.nan if row[name] is None else row[name] for name in row if name not in ("participant_id", "session_id")}
    wanted = ("preproc", "mask", "dseg", "aseg", "probseg_GM", "probseg_WM", "xfm_forward", "xfm_inverse")
    inputs = {"t1w": raw, "tissues": tissues} | {key: files[key] for key in wanted}
    made = run_graph(workflow, inputs, plan.work_dir / session.stem)
    (output,) = QUALITY
    sink_table(made["quality"], output.path(plan.out_dir, session), table_columns("qc"))


def make_arrays(session: Session, plan: Plan) -> None:
    """The T1w as whole-brain arrays on one scale."""
    from brainage_bids.workflows.coregister import init_arrays_wf

    files = paths_of(session, plan.out_dir)
    wanted = ("preproc", "mask", "probseg_WM", "xfm_forward", "xfm_inverse")
    made = run_graph(init_arrays_wf(), {key: files[key] for key in wanted}, plan.work_dir / session.stem)
    if made["clipped_share"] > CLIPPED_LIMIT:
        LOGGER.warning("%s: %.3g %% of the brain was clipped in the packed T1w", session.stem, 100 * made["clipped_share"])
    extra = {"ScaleFactor": made["factor"], "ClippedShare": made["clipped_share"]}
    sources = [bids_uri(files[key], {"": plan.out_dir}) for key in wanted[:4]]
    for output in ARRAYS:
        sink_image(made[output.key], output.path(plan.out_dir, session), _sidecar(output, session, sources, True, extra))


def make_figures(session: Session, plan: Plan) -> None:
    """Pictures of the mask, the tissues and the registration."""
    from brainage_bids.imaging.registration import template_image
    from brainage_bids.reports.figures import draw_mask, draw_registration, draw_tissues

    files = paths_of(session, plan.out_dir)
    drawers: dict[str, Callable[[Path], Path]] = {
        "mask": lambda path: draw_mask(files["preproc"], files["mask"], path),
        "tissues": lambda path: draw_tissues(files["preproc"], files["dseg"], path),
        "registration": lambda path: draw_registration(files["t1w_mni_1"], template_image(), path),
    }
    for output, desc in zip(PICTURED, FIGURES, strict=True):
        with write_atomic(output.path(plan.out_dir, session)) as partial:
            drawers[desc](partial)


STAGES = (
    Stage("structure", ("scan:T1w",), STRUCTURE, ("skull_strip", "sloppy", "random_seed"), 7, make_structure),
    Stage("template", ("structure",), TEMPLATE, (), 1, make_template),
    Stage("volumes", ("structure",), VOLUMES, (), 1, make_volumes),
    Stage("quality", ("scan:T1w", "structure", "volumes"), QUALITY, (), 1, make_quality),
    Stage("arrays", ("structure",), ARRAYS, (), 1, make_arrays),
    Stage("figures", (PICTURES, "structure", "template"), PICTURED, (), 1, make_figures),
)
