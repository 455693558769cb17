"""Making BrainageAseg: label maps painted, registered to the template, read there and averaged.

``python -m brainage_bids.training.atlas LABELS_DIR OUT [--leave-out NAME ...] [--fwhm MM]``
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy import ndimage

from brainage_bids.imaging.atlas import MERGED, NAME, Atlas, from_samples, save_atlas
from brainage_bids.imaging.crop import bounding_box, crop
from brainage_bids.imaging.registration import register
from brainage_bids.imaging.volumes import Region, read_regions
from brainage_bids.imaging.warps import WARP_GRID, SpatialMap, grid_points

FWHM_MM = 2.0
"""Smoothing of the average, by measurement (docs/tissues.md)."""

INTENSITY = {"WM": 100.0, "GM": 68.0, "CSF": 22.0}
"""What a T1w shows of the three tissues, relative to white matter."""

INTENSITY_OF = {
    "Thalamus": 80.0, "Caudate": 70.0, "Putamen": 75.0, "Pallidum": 89.0, "Brain-Stem": 94.0, "VentralDC": 92.0,
    "Cerebellum-White-Matter": 97.0, "Cerebellum-Cortex": 65.0,
}  # fmt: skip
"""Structures that are brighter or darker than their tissue."""

FIRST_OUTER_CODE = 500
MARGIN_MM = 20.0
BLUR_VOXELS = 0.6


def paint_brain(labels: np.ndarray, regions: Sequence[Region]) -> np.ndarray:
    """A noiseless T1-like image of the brain in a label map, 0 outside.

    Parameters
    ----------
    labels : ndarray, (X, Y, Z) integer
        Aseg codes; 0 and codes from 500 are outside the brain.
    regions : sequence of Region
        Structures and their tissues.

    Returns
    -------
    ndarray, (X, Y, Z) float32, white matter at 100

    Examples
    --------
    >>> cube = np.zeros((24, 24, 24), int)
    >>> cube[4:20, 4:20, 4:20] = 2
    >>> round(float(paint_brain(cube, read_regions())[12, 12, 12]))
    100
    """
    value = np.zeros(max(int(labels.max()), FIRST_OUTER_CODE) + 1, dtype=np.float32)
    for region in regions:
        plain_name = region.name.replace("Left-", "").replace("Right-", "")
        value[region.index] = INTENSITY_OF.get(plain_name, INTENSITY[region.tissue])
    for old, new in MERGED.items():
        value[old] = value[new]
    brain = ndimage.binary_fill_holes((labels > 0) & (labels < FIRST_OUTER_CODE))
    return ndimage.gaussian_filter(value[labels], BLUR_VOXELS) * brain


def read_at_template(labels: np.ndarray, affine: np.ndarray, spatial_map: SpatialMap) -> np.ndarray:
    """Codes of a person at the eight places of every template voxel that lie a quarter voxel from its centre.

    Returns
    -------
    ndarray, (8, 121, 145, 121), of the dtype of `labels`; 0 outside the image
    """
    to_index = np.linalg.inv(affine)
    last = np.array(labels.shape) - 1
    points = grid_points()
    out = []
    for corner in itertools.product((-0.25, 0.25), repeat=3):
        place = spatial_map.to_person(points + np.float32(WARP_GRID.voxel_mm) * np.array(corner, dtype=np.float32))
        index = np.rint(place @ to_index[:3, :3].T.astype(np.float32) + to_index[:3, 3].astype(np.float32)).astype(np.int32)
        inside = ((index >= 0) & (index <= last)).all(axis=-1)
        index[~inside] = 0
        out.append(np.where(inside, labels[index[..., 0], index[..., 1], index[..., 2]], 0).astype(labels.dtype))
    return np.stack(out)


def sample_person(path: Path, regions: Sequence[Region], *, threads: int = 1) -> np.ndarray:
    """The codes of one label map in the template's space, (8, 121, 145, 121) uint16: painted, registered, read."""
    import nibabel as nib

    from brainage_bids.bids.nifti import read_image

    image = nib.as_closest_canonical(read_image(path))
    labels = np.rint(np.asarray(image.dataobj)).astype(np.uint16)
    brain = paint_brain(labels, regions)
    box = bounding_box(brain > 0, MARGIN_MM, image.header.get_zooms()[:3])
    part, part_affine = crop(brain, image.affine, box)
    return read_at_template(labels, image.affine, register(part, part_affine, threads=threads))


def make_atlas(paths: Sequence[Path], *, fwhm_mm: float = FWHM_MM, threads: int = 1) -> Atlas:
    """The atlas of several label maps.

    Raises
    ------
    ValueError
        Without any label map.
    """
    if not paths:
        raise ValueError("an atlas needs at least one label map")
    regions = read_regions()
    return from_samples((sample_person(path, regions, threads=threads) for path in paths), regions, fwhm_mm)


def main(argv: Sequence[str] | None = None) -> int:
    """Entry of ``python -m brainage_bids.training.atlas``."""
    parser = argparse.ArgumentParser(prog="python -m brainage_bids.training.atlas", description=__doc__.splitlines()[0])
    parser.add_argument("labels_dir", type=Path, help="folder of whole-head label maps (*.nii.gz) with aseg codes")
    parser.add_argument("out", type=Path, help=f"where the atlas goes, a .nii.gz (packaged: {NAME}_probseg.nii.gz)")
    parser.add_argument("--leave-out", action="append", default=[], metavar="NAME", help="file name without .nii.gz; may be repeated")
    parser.add_argument("--fwhm", type=float, default=FWHM_MM, metavar="MM", help="smoothing of the average (default %(default)s)")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args(argv)
    every = sorted(args.labels_dir.glob("*.nii.gz"))
    names = [path.name.removesuffix(".nii.gz") for path in every]
    for unknown in set(args.leave_out) - set(names):
        parser.error(f"{args.labels_dir} holds no {unknown}.nii.gz to leave out")
    kept = [path for path, name in zip(every, names) if name not in args.leave_out]
    if not kept:
        parser.error(f"{args.labels_dir} holds no label map (*.nii.gz) to average")
    save_atlas(make_atlas(kept, fwhm_mm=args.fwhm, threads=args.threads), args.out)
    print(f"{args.out}: {len(kept)} label maps")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
