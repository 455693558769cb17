"""Choosing one image among several of a session, by a stated rule and with a reason."""

from __future__ import annotations

import math
import os
import re
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from brainage_bids.bids.names import BIDSName, parse_name
from brainage_bids.bids.other_images import kind_words, source_rank
from brainage_bids.files import what_is
from brainage_bids.modalities import MODALITIES, Modality
from brainage_bids.records import UnusableInput

RULE = (
    "no scout", "plain intensities", "single volume", "widest field of view", "no contrast agent", "combined image", "thinnest slices",
    "normalised reconstruction", "distortion corrected", "highest resolution", "first echo", "last run", "first name",
)  # fmt: skip
"""What tells two images apart, in this order, after a header that can be read and, of several kinds, kind and folder."""
WHOLE_HEAD_MM = 120.0
"""A field of view as wide as this along each axis holds a brain; among narrower ones the wider counts, in steps of a centimetre."""
THICK_SLICES = (2.0, 2.0)
"""Slices are thick from this length on (mm) if it is more than this many times the shortest edge of a voxel."""
PARTS = {
    "echo": "a single echo, as there is no image that combines them",
    "chunk": "one chunk, as there is no image of the whole",
    "inv": "a single inversion, as there is no image that combines them",
    "flip": "a single flip angle, as there is no image that combines them",
}
"""Entities of a file that holds a part of what was measured, and what is said where such a file is taken."""

_NO_AGENT = re.compile(
    r"(no|none|non|without|wo|pre|native|minus|nil|0|false|na|un)(contrast|enhanced|agent|gd|gad|gado|gadolinium|ce)?", re.IGNORECASE
)
_SCOUT = re.compile(r"scout|locali[sz]er|survey|(?<![a-z])loc(?![a-z])|3plane|threeplane", re.IGNORECASE)
_NORMALISED = re.compile(r"(?<!no)(?<!non)(?<!un)norm(ali[sz]ed)?(?![a-z])", re.IGNORECASE)
_CORRECTED = re.compile(r"dis[23]d", re.IGNORECASE)
_UNCORRECTED = re.compile(r"(?<![A-Z])ND(?![A-Za-z])|\bnd\b")
_UNITS_MM = {"meter": 1000.0, "micron": 0.001}


@dataclass(frozen=True)
class Choice:
    """The image chosen, why, and the others, each with what told the chosen one from it."""

    path: Path
    reason: str  # "only T1w", "highest resolution of 2 T1w"
    others: tuple[tuple[Path, str], ...]


@dataclass(frozen=True)
class Grid:
    """What a header says: voxels along the three axes of space, their lengths (mm), volumes, whether these are plain numbers."""

    shape: tuple[int, int, int]
    voxel_mm: tuple[float, float, float]
    volumes: int = 1
    is_plain: bool = True  # no colours, no complex numbers

    @property
    def narrowest_mm(self) -> float:
        """The shortest side of the field of view.

        >>> Grid((400, 400, 80), (0.5, 0.5, 0.5)).narrowest_mm
        40.0
        """
        return min(count * size for count, size in zip(self.shape, self.voxel_mm, strict=True))

    @property
    def has_thick_slices(self) -> bool:
        """Whether the longest edge of a voxel is that of a slice of a two-dimensional scan.

        >>> Grid((512, 512, 30), (0.4, 0.4, 5.0)).has_thick_slices, Grid((176, 240, 256), (1.2, 1.0, 1.0)).has_thick_slices
        (True, False)
        """
        length, ratio = THICK_SLICES
        return max(self.voxel_mm) > length and max(self.voxel_mm) > ratio * min(self.voxel_mm)


def choose(paths: Sequence[Path], modality: str) -> Choice:
    """Choose one image of a session.

    The rule: an image whose header can be read before one whose header cannot; then, for a modality of several sources (SWI), the
    kind and the folder (`other_images.source_rank`); then `RULE`: no scout or localizer; no colours or complex numbers; one
    volume; a field of view that holds a head, by the header; without contrast agent (``ce-``, unless it says that there is none) before
    with; an image that combines echoes, chunks, inversions or flip angles before a single one of them; no thick slices; normalised
    reconstruction (``rec-norm``) before others; corrected for distortion (``DIS3D``; ``ND`` last); smaller voxels before larger; the
    first echo; the last run; the first name.
    The reason is the first of these that tells the choice from the runner-up.

    Parameters
    ----------
    paths : sequence of Path
        At least one image with a BIDS name; only headers are read.
    modality : str
        A suffix of `modalities.MODALITIES`.

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
    row = MODALITIES[modality]
    if len(paths) == 1:
        return Choice(paths[0], f"only {modality}{_said(paths[0], row)}", ())
    ranked = sorted((_rank(path, row), path) for path in paths)
    best, path = ranked[0]
    words = ("readable header", *(("best kind", "in anat") if len(row.sources) > 1 else ()), *RULE)

    def reason(rank: tuple) -> str:
        decisive = next(word for word, one, two in zip(words, best, rank, strict=True) if one != two)
        return f"{decisive} of {len(paths)} {modality}{_said(path, row)}"

    others = tuple((other, reason(rank)) for rank, other in ranked[1:])
    return Choice(path, others[0][1], others)


def read_grid(path: Path) -> Grid | None:
    """Return what the header of an image says; None if it cannot be read or makes no sense. Nothing behind the header is read."""
    from brainage_bids.bids.nifti import read_header

    try:
        header = read_header(path)
    except UnusableInput:  # it ranks last, which the reason tells
        return None
    factor = _UNITS_MM.get(header.get_xyzt_units()[0], 1.0)
    voxel = tuple(float(zoom) * factor for zoom in header.get_zooms()[:3])
    shape = tuple(int(count) for count in header.get_data_shape())
    dtype = header.get_data_dtype()
    volume = math.prod(voxel)
    if len(voxel) != 3 or not math.isfinite(volume) or volume <= 0:
        return None
    return Grid(shape[:3], voxel, math.prod(shape[3:]), dtype.fields is None and dtype.kind != "c")


def _rank(path: Path, modality: Modality) -> tuple:
    name = parse_name(path.name) or BIDSName({}, "", "")
    grid = read_grid(path)
    labels = " ".join(name.entities.get(key, "") for key in ("acq", "rec", "desc"))
    agent = name.entities.get("ce")
    return (
        grid is None,
        *(source_rank(path, modality)[:2] if len(modality.sources) > 1 else ()),
        bool(_SCOUT.search(labels)),
        grid is not None and not grid.is_plain,
        grid is not None and grid.volumes != 1,
        0 if grid is None else -math.floor(min(grid.narrowest_mm, WHOLE_HEAD_MM) / 10),
        agent is not None and not _NO_AGENT.fullmatch(agent),
        bool(_part(name)),
        grid is not None and grid.has_thick_slices,
        not _NORMALISED.search(name.entities.get("rec", "")),
        _distortion(labels),
        math.inf if grid is None else round(math.prod(grid.voxel_mm), 3),
        _number(name.entities.get("echo"), 1),
        -_number(name.entities.get("run"), 0),
        path.name,
    )


def _distortion(labels: str) -> int:
    """Place by what labels of Siemens say: ``DIS2D`` and ``DIS3D`` are corrected, ``ND`` is not, and what says nothing stands between."""
    return 0 if _CORRECTED.search(labels) else 2 if _UNCORRECTED.search(labels) else 1


def _part(name: BIDSName) -> str:
    """The entity that makes a file a part of what was measured; the empty text if it is whole."""
    return next((key for key in PARTS if key in name.entities), "")


def _number(label: str | None, absent: int) -> int:
    return int(label) if label is not None and label.isascii() and label.isdigit() else absent


def _said(path: Path, modality: Modality) -> str:
    """What is to be known of the image that is taken."""
    name = parse_name(path.name)
    part = _part(name) if name else ""
    return (f" ({kind_words(path, modality)})" if len(modality.sources) > 1 else "") + (f"; {PARTS[part]}" if part else "") + _state(path)


def _state(path: Path) -> str:
    """Say what is plain to see without opening the file."""
    try:
        about = os.stat(path)
        if not stat.S_ISREG(about.st_mode):
            return f"; it is {what_is(about.st_mode)} and no regular file"
        return "; the file is empty" if about.st_size == 0 else ""
    except FileNotFoundError:
        return "; the link leads nowhere, get the file first (datalad get)"
    except OSError as error:
        return f"; the file cannot be reached ({error.strerror})"
