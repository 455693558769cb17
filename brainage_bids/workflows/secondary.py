"""The stages of the modalities beside the T1w (FLAIR, SWI …): each by itself, coregistered to the T1w, from files to files.

The quality table is the last file, so a FLAIR that comes later changes nothing of the T1w. An image that cannot be registered is no
error: its quality table says so, and none of its other files but a picture is made.
"""

from __future__ import annotations

import logging
from functools import partial
from pathlib import Path

import numpy as np

from brainage_bids.bids.sidecars import bids_uri, image_sidecar, table_columns
from brainage_bids.bids.sink import sink_file, sink_image, sink_table, write_atomic
from brainage_bids.imaging.quality_other import LEAST_AGREEMENT
from brainage_bids.imaging.transforms import write_rigid
from brainage_bids.modalities import COREGISTERED, MODALITIES
from brainage_bids.records import Session
from brainage_bids.workflows.engine import run_graph
from brainage_bids.workflows.plan import Plan
from brainage_bids.workflows.stage import Output, Stage
from brainage_bids.workflows.t1w import paths_of

LOGGER = logging.getLogger("brainage")
STEPS_DONE = ("other_rigid", "other_bias", "other_spaces", "other_arrays")


def outputs_of(modality: str) -> dict[str, Output]:
    """Files of a modality by the names that graphs use; the quality table is the last."""
    keys = {"other_xfm": "modality", "other_preproc": "modality", "other_mni": "modality", "packed": "image", "packed_mni": "image"}
    images = {key: Output(key, ((entity, modality),), optional=True) for key, entity in keys.items()}
    figure = Output("figures", (("desc", "coregistration"), ("suffix", modality)), optional=True)
    return images | {"figure": figure, "quality": Output("other_qc", (("modality", modality),))}


def make_coregistered(modality: str, session: Session, plan: Plan) -> None:
    """Coregister an image, bring it to the spaces of the T1w and of the template, and measure its quality."""
    from brainage_bids.workflows.coregister import init_align_wf, init_coregister_wf, init_rejected_wf

    files, settings = paths_of(session, plan.out_dir), plan.settings
    work_dir = plan.work_dir / session.stem / modality
    inputs = {"scan": str(session.scans[modality].path), "preproc": files["preproc"], "mask": files["mask"]}
    aligned = run_graph(init_align_wf(sloppy=settings.sloppy, seed=settings.random_seed), inputs, work_dir)
    used = aligned["agreement"] >= LEAST_AGREEMENT
    inputs = {key: aligned[key] for key in ("conformed", "agreement", "seen")}
    if used:
        keys = ("mask", "aseg", "probseg_GM", "probseg_WM", "xfm_forward", "xfm_inverse")
        inputs |= {"matrix": aligned["matrix"]} | {key: files[key] for key in keys}
        made = run_graph(init_coregister_wf(modality=modality, sloppy=settings.sloppy), inputs, work_dir)
    else:
        LOGGER.warning("%s: the %s could not be aligned to the T1w and is not used", session.stem, modality)
        made = run_graph(init_rejected_wf(modality=modality), inputs, work_dir)
    _write(session, modality, plan, aligned, made, used)


def _write(session: Session, modality: str, plan: Plan, aligned: dict, made: dict, used: bool) -> None:
    """Write the files of a modality, the quality table last."""
    outputs = {key: output.path(plan.out_dir, session) for key, output in outputs_of(modality).items()}
    entities = {key: dict(output.entities) for key, output in outputs_of(modality).items()}
    raw = bids_uri(session.scans[modality].path, {"raw": plan.bids_dir})
    sources = [raw, bids_uri(paths_of(session, plan.out_dir)["preproc"], {"": plan.out_dir})]
    if used:
        about = image_sidecar("other_xfm", session.participant_id, session.session_id, sources=sources, **entities["other_xfm"])
        matrix_file = Path(aligned["matrix"]).with_name("rigid.txt")
        write_rigid(np.loadtxt(aligned["matrix"]), matrix_file)
        sink_file(matrix_file, outputs["other_xfm"], about)
    for key in ("other_preproc", "other_mni", "packed", "packed_mni") if used else ():
        extra = {"ScaleFactor": made["factor"]} if key.startswith("packed") else None
        about = image_sidecar(
            key, session.participant_id, session.session_id, sources=sources, skull_stripped=True, extra=extra, **entities[key]
        )
        sink_image(made[key], outputs[key], about)
    if not plan.settings.sloppy:
        _draw(session, modality, plan, aligned, made, outputs["figure"])
    scan = session.scans[modality]
    facts = {
        "Sources": sources,
        "SourceChoice": scan.reason,
        "Used": used,
        "StepsDone": list(STEPS_DONE if used else STEPS_DONE[:1]),
        "Notes": list(aligned.get("notes", [])),
    }
    sink_table(made["quality"], outputs["quality"], table_columns("qc"), sidecar=facts)


def _draw(session: Session, modality: str, plan: Plan, aligned: dict, made: dict, path: Path) -> None:
    """Draw the registration; of an image that is not used, as it was registered, so that one sees what went wrong."""
    from brainage_bids.reports.figures import draw_coregistration

    files = paths_of(session, plan.out_dir)
    head = made["head"] if "head" in made else on_t1w(aligned["conformed"], aligned["matrix"], files["preproc"])
    with write_atomic(path) as unfinished:
        draw_coregistration(head, files["preproc"], files["dseg"], unfinished, MODALITIES[modality].words)


def on_t1w(image: str, matrix: str, t1w: str):
    """An image on the grid of the T1w, as a nibabel image in memory."""
    import nibabel as nib

    from brainage_bids.imaging.grids import resample

    moving, fixed = nib.load(image), nib.load(t1w)
    data = moving.get_fdata(dtype=np.float32)
    return nib.Nifti1Image(
        resample(data, moving.affine, fixed.shape, fixed.affine, matrix=np.loadtxt(matrix), antialias=True), fixed.affine
    )


STAGES = tuple(
    Stage(
        modality,
        (f"scan:{modality}", "structure"),
        tuple(outputs_of(modality).values()),
        ("sloppy", "random_seed"),
        2,
        partial(make_coregistered, modality),
    )
    for modality in COREGISTERED
)
