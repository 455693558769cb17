"""A whole head from raw intensities to structures, with the seconds of each step: as the app does it, and for other contrasts."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import numpy as np

from brainage_bids.imaging.atlas import Atlas, load_atlas
from brainage_bids.imaging.bias_field import bias_field
from brainage_bids.imaging.brain_mask import mask_of_fit
from brainage_bids.imaging.expected import refine
from brainage_bids.imaging.pipeline import Structures, find_structures
from brainage_bids.imaging.rough_fit import fit_roughly
from brainage_bids.imaging.tissues import segment_brain

PLAIN_LEVELS = "100x50x10"


@dataclass
class Clock:
    """Seconds of steps, as they are done."""

    seconds: dict[str, float] = field(default_factory=dict)
    _last: float = field(default_factory=time.perf_counter)

    def __call__(self, step: str) -> None:
        """A step is done."""
        now = time.perf_counter()
        self.seconds[f"{step} s"], self._last = now - self._last, now


def segment_head(
    image: np.ndarray, affine: np.ndarray, *, t1w: bool, atlas: Atlas | None = None, threads: int = 1
) -> tuple[Structures, dict[str, float]]:
    """Structures of a whole head (axes R, A, S) and seconds; the template's T1w is looked at only if the scan is a T1w."""
    clock = Clock()
    if t1w:
        return find_structures(image, affine, skull_strip="force", threads=threads, atlas=atlas, after=clock), clock.seconds
    atlas = load_atlas() if atlas is None else atlas
    fit = fit_roughly(image, affine, threads=threads, atlas=atlas)
    mask = mask_of_fit(fit, image.shape, affine)
    clock("brain")
    corrected = image / bias_field(image, affine, mask, threads=threads)
    clock("bias field")
    spatial_map = refine(corrected, affine, fit.spatial_map, atlas=atlas, levels=PLAIN_LEVELS, plain=True)
    spatial_map = refine(corrected, affine, spatial_map, atlas=atlas)
    clock("registration")
    found = segment_brain(corrected, affine, mask, spatial_map, atlas=atlas, threads=threads)
    clock("structures")
    return Structures(corrected, mask, False, spatial_map, found), clock.seconds
