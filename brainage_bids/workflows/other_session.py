"""The FLAIR and the SWI of a session whose T1w is done: each by itself, from files to files.

The quality table is written last and its sidecar carries the fingerprint, so that a FLAIR that comes later changes nothing of the
T1w, and a T1w that is made anew makes these anew.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from pathlib import Path

import numpy as np

from brainage_bids.bids.sidecars import bids_uri, image_sidecar, table_columns
from brainage_bids.bids.sink import sidecar_path, sink_file, sink_image, sink_table, write_atomic
from brainage_bids.files import read_json
from brainage_bids.imaging.quality_other import LEAST_AGREEMENT
from brainage_bids.imaging.scanfile import check_presence
from brainage_bids.imaging.transforms import write_rigid
from brainage_bids.records import OTHER_MODALITIES, Session
from brainage_bids.workflows.engine import run_graph
from brainage_bids.workflows.stages import Output, stored_fingerprint

LOGGER = logging.getLogger("brainage")
REVISION = 1
"""Raised by one whenever the processing of FLAIR and SWI gives other numbers."""
STEPS_DONE = ("other_rigid", "other_bias", "other_spaces", "other_arrays")


def other_outputs(modality: str) -> dict[str, Output]:
    """Files of a modality by the names that graphs use; the quality table is the last."""
    keys = {"other_xfm": "modality", "other_preproc": "modality", "other_mni": "modality", "packed": "image", "packed_mni": "image"}
    images = {key: Output(key, ((entity, modality),)) for key, entity in keys.items()}
    figure = Output("figures", (("desc", "coregistration"), ("suffix", modality)))
    return images | {"figure": figure, "quality": Output("other_qc", (("modality", modality),))}


def discard_others(out_dir: Path, session: Session, modalities: tuple[str, ...] = OTHER_MODALITIES) -> None:
    """Remove the files of FLAIR and SWI; those that are there belong to a T1w that is made anew, or to other settings."""
    for modality in modalities:
        for output in reversed(other_outputs(modality).values()):
            path = output.path(out_dir, session)
            path.unlink(missing_ok=True)
            sidecar_path(path).unlink(missing_ok=True)


def process_other(session: Session, modality: str, plan) -> None:
    """Do what is missing of one modality.

    Parameters
    ----------
    session : Session
        Whose T1w is done.
    modality : {"FLAIR", "swi"}
        One of its scans.
    plan : session.Plan

    Raises
    ------
    engine.GraphFailed, UnusableInput, OSError
        If it cannot be finished; nothing of the T1w is touched. An image that cannot be registered is no error: its quality table
        says so, and none of its other files is written.
    """
    digest = _fingerprint(session, modality, plan)
    outputs = other_outputs(modality)
    sidecar = _read_sidecar(outputs["quality"].path(plan.out_dir, session))
    if sidecar.get("Fingerprint") == digest and _is_finished(outputs, sidecar, plan, session):
        LOGGER.info("%s: %s is there already", session.stem, modality)
        return
    discard_others(plan.out_dir, session, (modality,))
    start = time.monotonic()
    LOGGER.info("%s: %s", session.stem, modality)
    from brainage_bids.workflows.other import init_align_wf, init_other_wf, init_rejected_wf
    from brainage_bids.workflows.session import files_of

    files = files_of(session, plan)
    work_dir = plan.work_dir / session.stem / modality
    inputs = {"scan": str(session.scans[modality].path), "preproc": files["preproc"], "mask": files["mask"]}
    aligned = run_graph(init_align_wf(sloppy=plan.sloppy, seed=plan.seed), inputs, work_dir)
    used = aligned["agreement"] >= LEAST_AGREEMENT
    inputs = {key: aligned[key] for key in ("conformed", "agreement", "seen")}
    if used:
        keys = ("mask", "aseg", "probseg_GM", "probseg_WM", "xfm_forward", "xfm_inverse")
        inputs |= {"matrix": aligned["matrix"]} | {key: files[key] for key in keys}
        made = run_graph(init_other_wf(modality=modality, sloppy=plan.sloppy), inputs, work_dir)
    else:
        LOGGER.warning("%s: the %s could not be aligned to the T1w and is not used", session.stem, modality)
        made = run_graph(init_rejected_wf(modality=modality), inputs, work_dir)
    _write(session, modality, plan, aligned, made, digest, used)
    LOGGER.info("%s: %s done in %.1f s", session.stem, modality, time.monotonic() - start)


def _write(session: Session, modality: str, plan, aligned: dict, made: dict, digest: str, used: bool) -> None:
    """Write the files of a modality, the quality table last."""
    outputs = {key: output.path(plan.out_dir, session) for key, output in other_outputs(modality).items()}
    entities = {key: dict(output.entities) for key, output in other_outputs(modality).items()}
    raw = bids_uri(session.scans[modality].path, {"raw": plan.bids_dir})
    preproc = Output("preproc").path(plan.out_dir, session)
    sources = [raw, bids_uri(preproc, {"": plan.out_dir})]
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
    if not plan.sloppy:
        _draw(session, modality, plan, aligned, made, outputs["figure"])
    scan = session.scans[modality]
    facts = {
        "Sources": sources,
        "SourceChoice": scan.reason,
        "Used": used,
        "StepsDone": list(STEPS_DONE if used else STEPS_DONE[:1]),
        "Notes": list(aligned.get("notes", [])),
        "Fingerprint": digest,
    }
    sink_table(made["quality"], outputs["quality"], table_columns("qc"), sidecar=facts)


def _draw(session: Session, modality: str, plan, aligned: dict, made: dict, path: Path) -> None:
    """Draw the registration; of an image that is not used, as it was registered, so that one sees what went wrong."""
    from brainage_bids.reports.figures import SHOWN, draw_coregistration
    from brainage_bids.workflows.session import files_of

    files = files_of(session, plan)
    head = made["head"] if "head" in made else on_t1w(aligned["conformed"], aligned["matrix"], files["preproc"])
    with write_atomic(path) as partial:
        draw_coregistration(head, files["preproc"], files["dseg"], partial, SHOWN[modality])


def on_t1w(image: str, matrix: str, t1w: str):
    """An image on the grid of the T1w, as a nibabel image in memory."""
    import nibabel as nib

    from brainage_bids.imaging.grids import resample

    moving, fixed = nib.load(image), nib.load(t1w)
    data = moving.get_fdata(dtype=np.float32)
    return nib.Nifti1Image(
        resample(data, moving.affine, fixed.shape, fixed.affine, matrix=np.loadtxt(matrix), antialias=True), fixed.affine
    )


def _fingerprint(session: Session, modality: str, plan) -> str:
    """Digest of what decides the files of a modality: our revision, the settings, the T1w's fingerprint and the bytes of the scan."""
    path = session.scans[modality].path
    check_presence(path)
    known = [REVISION, modality, plan.sloppy, plan.seed, stored_fingerprint(plan.out_dir, session)]
    digest = hashlib.sha256(json.dumps(known).encode())
    with open(path, "rb") as file:
        digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def _is_finished(outputs: dict[str, Output], sidecar: dict, plan, session: Session) -> bool:
    wanted = dict(outputs) if sidecar.get("Used") else {key: outputs[key] for key in ("figure", "quality")}
    if plan.sloppy:
        wanted.pop("figure")
    return all(output.path(plan.out_dir, session).is_file() for output in wanted.values())


def _read_sidecar(table: Path) -> dict:
    path = sidecar_path(table)
    return read_json(path) if path.is_file() else {}
