"""The stages of a session: which files each leaves behind, and how one sees that they are there and still valid.

Stages hand over files of the output folder and nothing else, so a run that was interrupted goes on from the same bytes as one that was not.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from brainage_bids.bids.names import derivative_path
from brainage_bids.bids.sink import sidecar_path
from brainage_bids.files import read_json
from brainage_bids.imaging.scanfile import check_presence
from brainage_bids.records import Session

REVISION = 7
"""Raised by one whenever the preprocessing gives other numbers; older outputs are then made anew."""

TISSUES = ("GM", "WM", "CSF")
FIGURES = ("mask", "tissues", "registration")


@dataclass(frozen=True)
class Output:
    """One file of a session: a key of the name table and the entities that its name needs."""

    key: str
    entities: tuple[tuple[str, str], ...] = ()

    def path(self, out_dir: Path, session: Session) -> Path:
        """Where the file lies."""
        return derivative_path(out_dir, self.key, session.participant_id, session.session_id, **dict(self.entities))


def _per_tissue(key: str) -> tuple[Output, ...]:
    return tuple(Output(key, (("label", tissue),)) for tissue in TISSUES)


STAGES: dict[str, tuple[Output, ...]] = {
    "structure": (
        Output("mask"),
        Output("dseg"),
        Output("dseg_lookup"),
        Output("aseg"),
        Output("aseg_lookup"),
        *_per_tissue("probseg"),
        Output("xfm_forward"),
        Output("xfm_inverse"),
        Output("preproc"),
    ),
    "template": (
        Output("t1w_mni", (("res", "1"),)),
        Output("t1w_mni", (("res", "2"),)),
        Output("t1w_mni_affine"),
        *_per_tissue("modulated"),
        *_per_tissue("modulated_smooth"),
    ),
    "measure": (Output("volumes"), Output("volumes_atlas"), Output("qc")),
    "arrays": (Output("packed", (("image", "T1w"),)), Output("packed_mni", (("image", "T1w"),))),
    "figures": tuple(Output("figures", (("desc", desc),)) for desc in FIGURES),
    "estimate": (Output("brainage"),),
}
"""Stages in their order, with the files of each; `preproc` is written last of its stage and carries the fingerprint."""


def fingerprint(session: Session, *, skull_strip: str, sloppy: bool, seed: int, reused: dict[str, Path]) -> str:
    """Digest of all that decides the preprocessed images: the settings, our revision, and the bytes of the scan or of what is reused.

    Raises
    ------
    UnusableInput
        If one of these files is missing, not fetched or empty.
    OSError
        If one cannot be read.
    """
    digest = hashlib.sha256(json.dumps([REVISION, skull_strip, sloppy, seed, sorted(reused)]).encode())
    for path in [reused[key] for key in sorted(reused)] or [session.scans["T1w"].path]:
        check_presence(path)
        with open(path, "rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def is_finished(stage: str, out_dir: Path, session: Session) -> bool:
    """All files of a stage are there (files appear whole or not at all)."""
    return all(output.path(out_dir, session).is_file() for output in STAGES[stage])


def stored_fingerprint(out_dir: Path, session: Session) -> str | None:
    """The fingerprint in the sidecar of the preprocessed T1w, None if there is none."""
    sidecar = read_sidecar(out_dir, session)
    return sidecar.get("Fingerprint")


def read_sidecar(out_dir: Path, session: Session) -> dict:
    """The sidecar of the preprocessed T1w; empty if it is not there."""
    path = sidecar_path(Output("preproc").path(out_dir, session))
    return read_json(path) if path.is_file() else {}


def discard(out_dir: Path, session: Session, stages: tuple[str, ...] = tuple(STAGES)) -> None:
    """Remove the files of stages, so that nothing stale is taken for a result."""
    for stage in stages:
        for output in STAGES[stage]:
            path = output.path(out_dir, session)
            path.unlink(missing_ok=True)
            sidecar_path(path).unlink(missing_ok=True)
