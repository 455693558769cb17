#!/usr/bin/env python3
"""Our preprocessing beside the slow way (antspyx with its defaults) on the same painted heads.

preprocessing.py LABELS_DIR PAINT_SCRIPT [--maps 01 05] [--threads 2] [--work DIR]

For every map a whole-head T1w is painted. Both ways get the same painted scan and the same first brain mask (ours);
timed are bias correction, affine and non-linear registration, and tissue segmentation. Printed: seconds a step, the overlap
(mean Dice over aseg structures) of the heads' labels warped onto each other and onto the atlas's most probable structure
(built without the scored maps), the share of Jacobians ≤ 0, and the error of the inverse.
Needs antspyx (extra `bench`), which is not a dependency of the app.
"""

from __future__ import annotations

import argparse
import itertools
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np

from brainage_bids.imaging import registration
from brainage_bids.imaging.bias_field import bias_field
from brainage_bids.imaging.brain_mask import find_brain
from brainage_bids.imaging.crop import bounding_box, crop
from brainage_bids.imaging.expected import refine
from brainage_bids.imaging.grids import GRIDS, sample
from brainage_bids.imaging.modulate import jacobian_determinant
from brainage_bids.imaging.quality import overlap
from brainage_bids.imaging.tissues import segment_brain
from brainage_bids.imaging.volumes import read_regions
from brainage_bids.imaging.warps import WARP_GRID, grid_points, inverse_error


def painted(labels: Path, script: Path, work: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A painted T1w, its aseg labels and their affine."""
    if not (work / "T1w.nii.gz").is_file():
        subprocess.run([sys.executable, str(script), str(labels), str(work)], check=True)
    images = [nib.as_closest_canonical(nib.load(work / name)) for name in ("T1w.nii.gz", "aseg.nii.gz")]
    return images[0].get_fdata(dtype=np.float32), np.asarray(images[1].dataobj).astype(np.int16), images[0].affine


def ours(image, affine, mask, threads):
    """Seconds by step, and a function that carries template points to the person."""
    seconds, start = {}, time.monotonic()
    corrected = image / bias_field(image, affine, mask, threads=threads)
    seconds["bias"], start = time.monotonic() - start, time.monotonic()
    part, part_affine = crop(np.where(mask, corrected, 0).astype(np.float32), affine, bounding_box(mask, 8.0))
    spatial_map = refine(corrected, affine, registration.register(part, part_affine, threads=1, levels=registration.FIRST_WARP_LEVELS))
    seconds["registration"], start = time.monotonic() - start, time.monotonic()
    segment_brain(corrected, affine, mask, spatial_map, stripped=False, threads=threads)
    seconds["tissues"] = time.monotonic() - start
    jacobian = jacobian_determinant(spatial_map.displacement, WARP_GRID.affine)
    error = inverse_error(spatial_map.displacement, spatial_map.inverse)
    return seconds, spatial_map.to_person(grid_points()), jacobian, error


def antspyx_defaults(image, affine, mask, work: Path):
    """The same with antspyx: N4, affine and SyN at 1 mm, Atropos with the template's priors."""
    import ants

    def to_ants(data, matrix, name):
        nib.save(nib.Nifti1Image(data.astype(np.float32), matrix), work / name)
        return ants.image_read(str(work / name))

    seconds, start = {}, time.monotonic()
    corrected = ants.n4_bias_field_correction(to_ants(image, affine, "raw.nii.gz"))
    seconds["bias"], start = time.monotonic() - start, time.monotonic()
    brain_mask = to_ants(mask, affine, "mask.nii.gz")
    fixed = to_ants(registration.template("1"), GRIDS["1"].affine, "template.nii.gz")
    found = ants.registration(fixed, corrected * brain_mask, "SyN")
    seconds["registration"], start = time.monotonic() - start, time.monotonic()
    priors = []
    from nilearn.datasets import load_mni152_gm_template, load_mni152_wm_template

    gm, wm = (np.asarray(load(resolution=1).dataobj, dtype=np.float32) for load in (load_mni152_gm_template, load_mni152_wm_template))
    csf = np.clip((registration.template("1") > 0) - gm - wm, 0, 1)
    for number, prior in enumerate((gm, wm, csf), start=1):
        moved = ants.apply_transforms(corrected, to_ants(prior, GRIDS["1"].affine, f"p{number}.nii.gz"), found["invtransforms"])
        ants.image_write(moved, str(work / f"prior{number}.nii.gz"))
        priors.append(ants.image_read(str(work / f"prior{number}.nii.gz")))
    ants.image_write(corrected, str(work / "corrected.nii.gz"))
    ants.atropos(ants.image_read(str(work / "corrected.nii.gz")), brain_mask, i=priors, m="[0.2,1x1x1]")
    seconds["tissues"] = time.monotonic() - start
    flip = np.array([-1.0, -1.0, 1.0], dtype=np.float32)
    points = grid_points().reshape(-1, 3)
    moved = _through(ants, points * flip, found["fwdtransforms"]) * flip
    back = _through(ants, moved * flip, found["invtransforms"], [True, False]) * flip
    error = np.linalg.norm(back - points, axis=1).reshape(WARP_GRID.shape)
    warp = next(path for path in found["fwdtransforms"] if path.endswith(".nii.gz"))
    jacobian = ants.create_jacobian_determinant_image(fixed, warp).numpy()
    sampled = sample(jacobian, GRIDS["1"].affine, grid_points())
    return seconds, moved.reshape(*WARP_GRID.shape, 3), sampled, error


def _through(ants, points, transforms, invert=None):
    import pandas as pd

    table = pd.DataFrame(points, columns=["x", "y", "z"])
    return ants.apply_transforms_to_points(3, table, transforms, whichtoinvert=invert)[["x", "y", "z"]].to_numpy(np.float32)


def dice_of_structures(first: np.ndarray, second: np.ndarray) -> float:
    """Mean Dice over the structures that either map holds."""
    codes = [region.index for region in read_regions() if region.index != 24]
    return float(np.mean([overlap(first == code, second == code) for code in codes if (first == code).any() or (second == code).any()]))


@dataclass(frozen=True)
class Row:
    """What one way made of one head."""

    way: str
    head: str
    seconds: dict[str, float]
    atlas_overlap: float
    folded: float
    inverse_mm: float

    def __str__(self) -> str:
        """One line of the table."""
        steps = "  ".join(f"{step} {value:.1f}" for step, value in self.seconds.items())
        return (
            f"{self.way:8s} {self.head}  total {sum(self.seconds.values()):.1f} s  {steps}  atlas overlap {self.atlas_overlap:.3f}  "
            f"J<=0 {self.folded:.5f}  inverse {self.inverse_mm:.3f} mm"
        )


def main() -> None:
    """Run both ways on every map and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("labels", type=Path)
    parser.add_argument("paint", type=Path)
    parser.add_argument("--maps", nargs="+", default=["01", "05"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "brainage_benchmark")
    arguments = parser.parse_args()
    os.environ["ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"] = str(arguments.threads)
    atlas = _most_probable()
    brain = registration.template("1p5") > 0
    warped: dict[str, dict[str, np.ndarray]] = {"ours": {}, "antspyx": {}}
    rows = []
    for name in arguments.maps:
        work = arguments.work / name
        work.mkdir(parents=True, exist_ok=True)
        image, aseg, affine = painted(arguments.labels / f"anatomy-{name}.nii.gz", arguments.paint, work)
        mask = find_brain(image, affine, threads=arguments.threads)
        for way in ("ours", "antspyx"):
            run = ours(image, affine, mask, arguments.threads) if way == "ours" else antspyx_defaults(image, affine, mask, work)
            seconds, points, jacobian, error = run
            labels = warped[way][name] = sample(aseg, affine, points, order=0)
            folded, inverse = float((jacobian[brain] <= 0).mean()), float(error[brain].mean())
            rows.append(Row(way, name, seconds, dice_of_structures(labels, atlas), folded, inverse))
            print(rows[-1], flush=True)
    for way, maps in warped.items():
        pairs = [dice_of_structures(maps[a], maps[b]) for a, b in itertools.combinations(maps, 2)]
        total = np.mean([sum(row.seconds.values()) for row in rows if row.way == way])
        print(f"{way}\tmean {total:.1f} s\toverlap of pairs {np.mean(pairs):.3f}")


def _most_probable() -> np.ndarray:
    """The atlas's most probable structure on its grid."""
    from brainage_bids.imaging.atlas import load_atlas

    atlas = load_atlas()
    codes = np.zeros(atlas.probabilities.shape[-1], dtype=np.int16)
    codes[: len(atlas.regions)] = [region.index for region in atlas.regions]
    return codes[atlas.probabilities.argmax(axis=-1)]


if __name__ == "__main__":
    main()
