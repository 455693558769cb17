"""A small head whose parts are known, and output trees made of it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest

from brainage_bids.bids.names import derivative_path
from brainage_bids.bids.sink import sidecar_path, sink_json, sink_table, write_atomic
from brainage_bids.models.card import Ages, Errors, InputContract, Measure, ModelCard, Training
from brainage_bids.models.norms import NORMS, NormCurve, norms_to_json
from brainage_bids.models.registry import WEIGHTS, ModelFolder

HOSTILE = "<script>alert(1)</script><img src=http://evil.example/x.png onerror=alert(2)>&\"'{{7*7}}"


def ball_head(zooms=(2.0, 2.0, 2.0), size_mm=180.0):
    """T1w, mask and dseg of concentric balls (radii 60, 50, 35 mm) with a bright mark on the person's right."""
    shape = tuple(int(round(size_mm / zoom)) for zoom in zooms)
    affine = np.diag([*zooms, 1.0])
    affine[:3, 3] = [-(n - 1) / 2 * zoom for n, zoom in zip(shape, zooms)]
    axes = [np.arange(n) * zoom + affine[i, 3] for i, (n, zoom) in enumerate(zip(shape, zooms))]
    x, y, z = np.meshgrid(*axes, indexing="ij")
    radius = np.sqrt(x**2 + y**2 + z**2)
    t1w = np.select([radius < 35, radius < 50, radius < 60, radius < 75], [100.0, 70.0, 30.0, 15.0], 0.0)
    t1w[(np.abs(x - 40) < 8) & (np.abs(y) < 8) & (np.abs(z) < 40)] = 160.0
    dseg = np.select([radius < 35, radius < 50, radius < 60], [2, 1, 3], 0)
    return {
        "t1w": nib.Nifti1Image(t1w.astype(np.float32), affine),
        "mask": nib.Nifti1Image((dseg > 0).astype(np.uint8), affine),
        "dseg": nib.Nifti1Image(dseg.astype(np.uint8), affine),
    }


def make_card(*, errors=None, training=None, **changed):
    """The card of a small model that did not beat the guess."""
    ages = Ages(19, 52, 33.0, 9.0, (19, 35, 52), (20, 16))
    trained = {
        "datasets": ("set",), "n": 36, "sessions": 36, "ages": ages, "split": "by participant", "seeds": (1,),
        "device": "cpu", "software": "",
    }  # fmt: skip
    erred = {
        "by": "five times ten-fold cross-validation", "n": 36, "mae": Measure(6.4, 5.2, 7.7), "mae_guess": Measure(7.2), "p_guess": 0.21,
        "r": Measure(0.38, -0.06, 0.63), "permutations": 999,
    }  # fmt: skip
    affine = ((1.0, 0, 0, 0), (0, 1.0, 0, 0), (0, 0, 1.0, 0), (0, 0, 0, 1.0))
    contract = InputContract("t1w_mni", {"res": "1"}, "T1w", "MNI152NLin2009aSym", "affine", (1, 1, 1), (9, 9, 9), affine, "preproc")
    files = {WEIGHTS: "ab" * 32}
    fields = {"name": "toy", "kind": "gpr", "version": "1", "created": "2026-01-01", "files": files, "licence": "CC0-1.0", "citation": ""}
    parts = {"inputs": (contract,), "training": Training(**trained | (training or {})), "errors": Errors(**erred | (errors or {}))}
    return ModelCard(**fields | parts | changed)


def make_model(path="/nowhere", **changed):
    """A model folder of which only the card is there."""
    return ModelFolder(Path(path), make_card(**changed))


@pytest.fixture(scope="session")
def tools():
    """What makes inputs, for tests that need variants of them."""
    return SimpleNamespace(
        ball_head=ball_head,
        row=brainage_row,
        session=write_session,
        failure=write_failure,
        hostile=HOSTILE,
        card=make_card,
        model=make_model,
        structures=write_structures,
        volumes_model=volumes_model,
    )


@pytest.fixture(scope="session")
def head():
    return ball_head()


@pytest.fixture(scope="session")
def drawn(tmp_path_factory, head):
    """The three pictures of the head, drawn once."""
    from brainage_bids.reports import figures

    folder = tmp_path_factory.mktemp("drawn")
    figures.draw_mask(head["t1w"], head["mask"], folder / "mask.svg")
    figures.draw_tissues(head["t1w"], head["dseg"], folder / "tissues.svg")
    figures.draw_registration(head["t1w"], head["t1w"], folder / "registration.svg")
    return folder


def brainage_row(participant_id="sub-01", session_id=None, **changed):
    row = {
        "participant_id": participant_id, "session_id": session_id or "n/a", "model": "toy", "modality": "T1w", "brain_age": 41.3,
        "brain_age_sd": 6.9, "sd_within": None, "sd_between": None, "brain_age_low": 27.8, "brain_age_high": 54.8,
        "interval_level": 0.95, "interval_method": "gaussian", "age": 38.8, "pad": 2.5, "brain_age_corrected": None,
        "pad_corrected": None, "bias_method": None, "flags": None, "model_sha256": "ab" * 32,
    }  # fmt: skip
    return row | changed


def write_session(out, drawn, participant_id="sub-01", session_id=None, *, quality=(), sidecar=None, pictures=True, **changed):
    """Write one session's outputs as the app does."""

    def place(key, **entities):
        return derivative_path(out, key, participant_id, session_id, **entities)

    row = brainage_row(participant_id, session_id, **changed)
    sink_table([row], place("brainage"), {name: {} for name in row})
    rows = [
        {"metric": "snr", "value": 14.2, "unit": "1", "low": 7.0, "high": None, "flag": None, "description": "Signal over noise."},
        {"metric": "mask_volume_ml", "value": 1432.6, "unit": "mL", "low": 800.0, "high": 2100.0, "flag": None, "description": "Volume."},
        *quality,
    ]
    sink_table(rows, place("qc"), {name: {} for name in rows[0]})
    volumes = {"participant_id": participant_id, "session_id": session_id, "GM": 700000.0, "WM": 500000.0, "CSF": 2e5, "brain": 1.2e6}
    sink_table([volumes], place("volumes"), {name: {} for name in volumes})
    content = {"Sources": [f"bids:raw:{participant_id}/anat/{participant_id}_T1w.nii.gz"], "SourceChoice": "only T1w"}
    sink_json(content | (sidecar or {}), sidecar_path(place("preproc")))
    for name in ("mask", "tissues", "registration") if pictures else ():
        with write_atomic(place("figures", desc=name)) as partial:
            partial.write_bytes((drawn / f"{name}.svg").read_bytes())


STRUCTURES = (
    ("lateral_ventricles", "lateral ventricles", 2.3, (0.56, 1.1, 2.1), 4.23),
    ("thalamus", "thalamus", 1.22, (1.2, 1.33, 1.49), 2.1),
    ("cortex", "cortex", 46.3, (44.0, 47.0, 50.0), -1.8),
    ("white_matter", "white matter", 47.0, (44.0, 46.5, 49.0), 0.8),
    ("putamen", "putamen", 0.79, (0.71, 0.8, 0.92), -0.42),
    ("third_ventricle", "third ventricle", 0.11, (0.05, 0.09, 0.2), 0.1),
    ("brain", "brain size", None, (None, None, None), -0.6),
)
"""Name, label, share, percentiles at the person's age, years."""


def write_structures(out, participant_id="sub-01", session_id=None, *, model="toy", rows=STRUCTURES, age_known=True):
    """Write the table of structures of a model as the app does."""
    keys = ("norm_p5", "norm_p50", "norm_p95")
    table = [
        {"structure": name, "label": label, "volume_mm3": 1000.0, "mapped_mm3": 1100.0, "share_percent": share}
        | dict(zip(keys, norm if age_known else (None,) * 3))
        | {"contribution_years": years}
        for name, label, share, norm, years in rows
    ]
    path = derivative_path(out, "model_table", participant_id, session_id, model=model, desc="structures")
    sink_table(table, path, {name: {} for name in table[0]})


def volumes_model(folder, rows=STRUCTURES, **changed):
    """A model folder of which the card and the norm curves are there."""
    ages = tuple(range(20, 90, 10))
    curves = [
        NormCurve(name, label, ages, *(tuple(value * (1 + 0.01 * index) for index in range(7)) for value in norm))
        for name, label, share, norm, _ in rows
        if share is not None
    ]
    text = json.dumps(norms_to_json({curve.name: curve for curve in curves})).encode()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / NORMS).write_bytes(text)
    files = {WEIGHTS: "ab" * 32, NORMS: hashlib.sha256(text).hexdigest()}
    return make_model(folder, **{"kind": "volumes", "files": files} | changed)


def write_failure(out, participant_id, file_session=None, **fields):
    stem = participant_id + (f"_{file_session}" if file_session else "")
    content = {"participant_id": participant_id, "session_id": file_session, "stage": "read", "message": "It is broken.", "detail": ""}
    sink_json(content | fields, out / "logs" / "failures" / f"{stem}.json")
