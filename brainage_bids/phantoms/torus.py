"""Ageing rings: the simplest heads there are, for checking explanations against known places.

After Hofmann et al. 2022 (NeuroImage 261:119504): an ellipse with a hole, 98×98 pixels. With age its borders crumble, outer and
inner, and from 40 on it gains bright lesions. Who explains an age must point at these pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from brainage_bids.bids.sink import sink_json, sink_table, write_atomic
from brainage_bids.phantoms.design import Design
from brainage_bids.phantoms.tables import write_text
from brainage_bids.phantoms.write import check_place

EDGE = 98
"""Pixels along a side."""
AXES, AXES_SD, HOLE = (80.0, 65.0), 4.0, 0.4
"""Diameters of the ellipse, their standard deviation (each drawn for itself), pixels, and the hole's share of them."""
TISSUE, NOISE = 0.8, 0.05
"""Intensity, and the standard deviation of each pixel as a share of it."""
BORDER_A_YEAR, BORDER_SD = 5.0, 1.5
"""Border pixels lost: normal around 5 · age."""
LESIONS_FROM, LESIONS_SD, LESION_BRIGHT = 40.0, 1.0, 0.2
"""Lesions: normal around age − 40, none below; 3×3 pixels, brighter by 0.2."""
AGES = (20.0, 80.0)
LAYERS = 6
"""Layers of pixels from a border inwards that can crumble; two are enough at 80 years."""
CHUNK = 250
"""Tori at once, which bounds the memory."""
FILE = "tori.npz"
DESIGN = Path("design.json")
TORUS, LESION, LOST = 1, 2, 4
"""Bits of the places: the intact ring, lesions, border pixels that are lost."""

COLUMNS: Mapping[str, Mapping[str, Any]] = {
    "participant_id": {"Description": "Identifier; row i is image i of tori.npz"},
    "age": {"Description": "Age that was simulated", "Units": "years"},
    "split": {"Description": "Part of the data, 8:1:1", "Levels": {"train": "training", "validation": "validation", "test": "test"}},
    "height": {"Description": "Diameter along the rows", "Units": "pixels"},
    "width": {"Description": "Diameter along the columns", "Units": "pixels"},
    "border_pixels": {"Description": "Border pixels that were set to 0", "Units": "pixels"},
    "lesions": {"Description": "Lesions of 3x3 pixels; they may overlap"},
    "lesion_pixels": {"Description": "Pixels of all lesions together, those lost to the border later among them", "Units": "pixels"},
}


@dataclass(frozen=True)
class Tori:
    """Rings of some people.

    Attributes
    ----------
    images : ndarray, (n, 98, 98) float32
        0 is background.
    places : ndarray, (n, 98, 98) uint8
        Sum of `TORUS`, `LESION` and `LOST`.
    axes : ndarray, (n, 2)
        Diameters, pixels.
    lesions : ndarray, (n,) int
        Their number.
    """

    images: np.ndarray
    places: np.ndarray
    axes: np.ndarray
    lesions: np.ndarray


def draw_tori(ages: np.ndarray, rng: np.random.Generator) -> Tori:
    """Rings of people of given ages.

    Parameters
    ----------
    ages : ndarray, (n,)
        Years.
    rng : numpy.random.Generator
        Source of everything else.

    Returns
    -------
    Tori

    Examples
    --------
    >>> tori = draw_tori(np.array([30.0]), np.random.default_rng(1))
    >>> abs(int((tori.places[0] & LOST > 0).sum()) - 150) < 6
    True
    """
    n, shape = len(ages), (len(ages), EDGE, EDGE)
    axes = np.array(AXES) + AXES_SD * rng.standard_normal((n, 2))
    ring = ellipses(axes) & ~ellipses(HOLE * axes)
    images = np.where(ring, TISSUE * (1 + NOISE * rng.standard_normal(shape, dtype=np.float32)), np.float32(0))
    number = np.rint(np.maximum(ages - LESIONS_FROM, 0) + LESIONS_SD * rng.standard_normal(n) * (ages > LESIONS_FROM)).clip(0).astype(int)
    inside = erode(erode(ring))
    centres = smallest(np.where(inside, rng.random(shape, dtype=np.float32), np.inf), number)
    lesions = dilate(centres)
    images = np.where(lesions, images + np.float32(LESION_BRIGHT), images)
    lost = smallest(
        depth(ring) + rng.random(shape, dtype=np.float32), np.rint(rng.normal(BORDER_A_YEAR * ages, BORDER_SD)).clip(0).astype(int)
    )
    images = np.where(lost, np.float32(0), images)
    places = TORUS * ring.astype(np.uint8) + LESION * lesions.astype(np.uint8) + LOST * lost.astype(np.uint8)
    return Tori(images.astype(np.float32), places.astype(np.uint8), axes, number)


def ellipses(axes: np.ndarray) -> np.ndarray:
    """Pixels in ellipses around the middle of the image, (n, 98, 98) bool, for diameters (n, 2).

    >>> int(ellipses(np.array([[2.0, 2.0]])).sum())
    4
    """
    offset = np.arange(EDGE) - (EDGE - 1) / 2
    rows, columns = offset[None, :, None], offset[None, None, :]
    return (2 * rows / axes[:, 0, None, None]) ** 2 + (2 * columns / axes[:, 1, None, None]) ** 2 <= 1


def erode(masks: np.ndarray) -> np.ndarray:
    """Masks (n, X, Y) without the pixels that have background among their eight neighbours, or outside the image."""
    return ~dilate(~masks, outside=True)


def dilate(masks: np.ndarray, outside: bool = False) -> np.ndarray:
    """Masks (n, X, Y) with the eight neighbours of each pixel; `outside` is what lies around the image.

    >>> point = np.zeros((1, 5, 5), bool)
    >>> point[0, 2, 2] = True
    >>> int(dilate(point).sum())
    9
    """
    wide = np.pad(masks, ((0, 0), (1, 1), (1, 1)), constant_values=outside)
    tall = wide[:, :-2] | wide[:, 1:-1] | wide[:, 2:]
    return tall[:, :, :-2] | tall[:, :, 1:-1] | tall[:, :, 2:]


def depth(masks: np.ndarray) -> np.ndarray:
    """How many layers of pixels lie between each pixel and the background, float32; infinite outside and beyond `LAYERS`.

    >>> square = np.pad(np.ones((1, 5, 5), bool), ((0, 0), (1, 1), (1, 1)))
    >>> depth(square)[0, 3].tolist()
    [inf, 0.0, 1.0, 2.0, 1.0, 0.0, inf]
    """
    layers = np.full(masks.shape, np.inf, np.float32)
    for layer in range(LAYERS):
        inner = erode(masks)
        layers[masks & ~inner] = layer
        masks = inner
    return layers


def smallest(keys: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Mark, in each image, as many pixels as asked for, those of the smallest finite keys, (n, X, Y) bool.

    >>> smallest(np.array([[[0.3, 0.1], [np.inf, 0.2]]]), np.array([2]))[0].tolist()
    [[False, True], [False, True]]
    """
    flat = keys.reshape(len(keys), -1)
    order = np.argsort(flat, axis=1, kind="stable")
    marked = np.zeros(flat.shape, bool)
    np.put_along_axis(marked, order, np.arange(flat.shape[1])[None, :] < numbers[:, None], axis=1)
    return (marked & np.isfinite(flat)).reshape(keys.shape)


def make_tori(out: Path, design: Design, progress: Callable[[int, int], None] | None = None) -> int:
    """Write ``tori.npz``, ``participants.tsv`` and ``effects.json``; return the number of rings that were made now.

    One archive of numpy holds all: rings have no place in space, so a NIfTI header would only mislead, while ``numpy.load`` gives
    images and places by name and as they are trained on. Its bytes depend on the design alone.

    Parameters
    ----------
    out : Path
        A new or empty folder, or one with the same rings.
    design : Design
        Participants, ages and seed count.
    progress : callable, optional
        Told how many of how many are done.

    Raises
    ------
    BadConfiguration
        If the folder holds something else.
    """
    check_place(out, design, DESIGN)
    if (out / "participants.tsv").exists():  # the last file
        return 0
    people = design.participants
    rng = np.random.default_rng(np.random.SeedSequence(design.seed))
    ages = np.round(rng.uniform(*design.ages, people), 2)
    splits = np.array(["train"] * 8 + ["validation", "test"])[rng.permutation(people) % 10]
    parts = []
    for start in range(0, people, CHUNK):
        chunk = np.random.default_rng(np.random.SeedSequence(design.seed, spawn_key=(start,)))
        parts.append(draw_tori(ages[start : start + CHUNK], chunk))
        if progress:
            progress(min(start + CHUNK, people), people)
    tori = Tori(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(Tori)))
    with write_atomic(out / FILE) as partial:
        np.savez_compressed(partial, images=tori.images, places=tori.places, age=ages, split=splits)
    sink_json(describe(design), out / "effects.json")
    write_text(out / "README.md", README)
    sink_table(_rows(tori, ages, splits), out / "participants.tsv", COLUMNS)
    return people


def _rows(tori: Tori, ages: np.ndarray, splits: np.ndarray) -> list[dict[str, Any]]:
    digits = max(3, len(str(len(ages))))
    return [
        {
            "participant_id": f"sub-{row + 1:0{digits}d}",
            "age": float(ages[row]),
            "split": str(splits[row]),
            "height": round(float(tori.axes[row, 0]), 3),
            "width": round(float(tori.axes[row, 1]), 3),
            "border_pixels": int((tori.places[row] & LOST > 0).sum()),
            "lesions": int(tori.lesions[row]),
            "lesion_pixels": int((tori.places[row] & LESION > 0).sum()),
        }
        for row in range(len(ages))
    ]


def describe(design: Design) -> dict[str, Any]:
    """Every planted effect, for ``effects.json``."""
    return {
        "Source": "Hofmann et al. 2022, NeuroImage 261:119504",
        "ages": {"law": "uniform", "range": list(design.ages)},
        "ring": {"diameters": list(AXES), "diameters_sd": AXES_SD, "hole_share": HOLE, "intensity": TISSUE, "noise_share": NOISE},
        "border": {"law": "round(normal(5 * age, sd)) pixels, outermost layers first", "pixels_a_year": BORDER_A_YEAR, "sd": BORDER_SD},
        "lesions": {"law": "round(normal(age - 40, sd)), none up to 40", "sd": LESIONS_SD, "brighter_by": LESION_BRIGHT, "pixels": "3x3"},
        "places": {"torus": TORUS, "lesion": LESION, "lost": LOST},
        "seed": design.seed,
    }


README = """# Ageing rings

`tori.npz` holds `images` (n, 98, 98; float32), `places` (the same shape; bits 1: intact ring, 2: lesion, 4: border pixel lost), `age` and
`split`. `participants.tsv` has a row an image, `effects.json` the laws. Nothing here is a brain: it is the simulation of Hofmann et al.
2022, in which it is known which pixels tell the age.
"""
