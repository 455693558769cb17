"""Choosing one image among several of a session, by a stated rule and with a reason."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from brainage_bids.bids.names import BIDSName, parse_name
from brainage_bids.bids.other_images import kind_words, swi_rank
from brainage_bids.records import UnusableInput

RULE = ("no contrast agent", "normalised reconstruction", "highest resolution", "last run", "first name")
"""What tells two images of one kind apart, in this order."""


@dataclass(frozen=True)
class Choice:
    """The image chosen, why, and the others."""

    path: Path
    reason: str  # "only T1w", "highest resolution of 2 T1w"
    others: tuple[Path, ...]


def choose(paths: Sequence[Path], modality: str) -> Choice:
    """Choose one image of a session.

    The rule: an image whose header can be read before one whose header cannot; without contrast agent (``ce-``) before
    with; normalised reconstruction (``rec-norm``) before others; smaller voxels before larger; the last run; the first
    name. For SWI the kind comes after the header (`other_images.swi_rank`). The reason is the first of these that tells the choice
    from the runner-up.

    Parameters
    ----------
    paths : sequence of Path
        At least one image with a BIDS name.
    modality : str
        For the reason.

    Returns
    -------
    Choice

    Raises
    ------
    ValueError
        If there is no image.
    """
    if not paths:
        raise ValueError("There is no image to choose from.")
    swi = modality == "swi"
    if len(paths) == 1:
        return Choice(paths[0], f"only {modality}{_kind(paths[0], swi)}{_state(paths[0])}", ())
    ranked = sorted((_rank(path, swi), path) for path in paths)
    (best, path), (second, _) = ranked[:2]
    words = ("readable header", *(("best kind", "in anat", "first echo") if swi else ()), *RULE)
    decisive = next(word for word, one, two in zip(words, best, second, strict=True) if one != two)
    reason = f"{decisive} of {len(paths)} {modality}{_kind(path, swi)}{_state(path)}"
    return Choice(path, reason, tuple(other for _, other in ranked[1:]))


def _kind(path: Path, swi: bool) -> str:
    return f" ({kind_words(path)})" if swi else ""


def voxel_volume(path: Path) -> float | None:
    """Return the volume of a voxel in mm³ from the header of an image; None if it cannot be read or makes no sense."""
    from brainage_bids.bids.nifti import read_header

    try:
        zooms = [float(zoom) for zoom in read_header(path).get_zooms()[:3]]
    except UnusableInput:  # it ranks last, which the reason tells
        return None
    volume = math.prod(zooms)
    return volume if len(zooms) == 3 and math.isfinite(volume) and volume > 0 else None


def _rank(path: Path, swi: bool) -> tuple:
    name = parse_name(path.name) or BIDSName({}, "", "")
    volume = voxel_volume(path)
    return (
        volume is None,
        *(swi_rank(path) if swi else ()),
        "ce" in name.entities,
        name.entities.get("rec", "").lower() != "norm",
        math.inf if volume is None else round(volume, 3),
        -_number(name.entities.get("run")),
        path.name,
    )


def _number(run: str | None) -> int:
    return int(run) if run is not None and run.isascii() and run.isdigit() else 0


def _state(path: Path) -> str:
    """Say what is plain to see without opening the file."""
    try:
        return "; the file is empty" if os.stat(path).st_size == 0 else ""
    except FileNotFoundError:
        return "; the link leads nowhere, get the file first (datalad get)"
    except OSError as error:
        return f"; the file cannot be reached ({error.strerror})"
