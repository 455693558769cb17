"""Known rigid transforms recovered from FLAIR- and SWI-like scans painted from whole-head label maps, and from real FLAIR moved.

python benchmarks/rigid.py LABEL_DIR [--anatomies 3] [--seeds 2] [--out TABLE.tsv] [--real BIDS_DIR OUT_DIR]

Each painted head is turned by up to 15° about every axis and shifted by up to 15 mm along every axis, and seen by scanners of six
kinds: 1 mm, slices of 3 and 5 mm, sagittal slices, and slabs of 90 and 70 mm. Truth is exact: the head is painted where it was moved to.
With `--real`, FLAIR of a dataset that the app has processed (OUT_DIR) is moved by the same transforms; truth is the registration
before the move, composed with it. Errors: mean distance over the brain in mm, and the angle between the rotations in degrees.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import time
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy import ndimage

from brainage_bids.cli.console import print_table
from brainage_bids.imaging.conform import conform, load_scan
from brainage_bids.imaging.rigid import agreement_at, brain_seen, compared, head_shift, pose, register_rigid, rigid_error

MOST_DEG, MOST_MM = 15.0, 15.0
CONTRASTS = {
    "T1w": {"cortex": 0.55, "deep": 0.62, "thalamus": 0.67, "pallidum": 0.75, "white": 0.85, "stem": 0.79, "fluid": 0.17},
    "FLAIR": {"cortex": 0.68, "deep": 0.63, "thalamus": 0.60, "pallidum": 0.50, "white": 0.52, "stem": 0.54, "fluid": 0.08},
    "swi": {"cortex": 0.62, "deep": 0.50, "thalamus": 0.56, "pallidum": 0.35, "white": 0.55, "stem": 0.55, "fluid": 0.70},
}
CODES = {
    "cortex": (3, 42, 8, 47, 17, 53, 18, 54, 26, 58), "deep": (11, 50, 12, 51), "thalamus": (10, 49), "pallidum": (13, 52),
    "white": (2, 41, 7, 46, 85, 25, 57, 30, 62, 77), "stem": (16, 28, 60), "fluid": (4, 43, 5, 44, 14, 15, 24, 72),
}  # fmt: skip
FIRST_OUTER_CODE = 500
SCANNERS = {
    "1 mm": ((1.0, 1.0, 1.0), None),
    "3 mm axial": ((0.8, 0.8, 3.0), None),
    "5 mm axial": ((0.8, 0.8, 5.0), None),
    "3 mm sagittal": ((3.0, 0.8, 0.8), None),
    "slab of 90 mm": ((0.8, 0.8, 2.0), (25.0, 90.0)),
    "slab of 70 mm": ((0.8, 0.8, 2.0), (10.0, 70.0)),
}
"""Voxel in mm, and of slabs: how far above the middle of the head, and how high."""
FIELD_OF_VIEW_MM = (200.0, 240.0, 200.0)
NOISE, BIAS = 0.03, 0.3


def main() -> None:
    """Move, register, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("labels", type=Path)
    parser.add_argument("--anatomies", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--real", type=Path, nargs=2, metavar=("BIDS_DIR", "OUT_DIR"))
    options = parser.parse_args()
    rows = []
    for path in sorted(options.labels.glob("*.nii.gz"))[: options.anatomies]:
        for seed in range(options.seeds):
            rows += _painted_rows(path, seed)
    if options.real:
        rows += _real_rows(*options.real, seeds=options.seeds)
    if options.out:
        with options.out.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, rows[0], delimiter="\t", lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
    _print_summary(rows)


def _painted_rows(path: Path, seed: int) -> list[dict]:
    image = nib.as_closest_canonical(nib.load(path))
    labels, affine = np.asarray(image.dataobj).astype(np.int16), image.affine
    brain = (labels > 0) & (labels < FIRST_OUTER_CODE)
    random = np.random.default_rng([seed, int("".join(filter(str.isdigit, path.name)) or 0)])
    t1w = noisy(painted(labels, "T1w", random), random)
    target = compared(t1w, affine, brain)
    points = _points(brain, affine)
    rows = []
    for kind in ("FLAIR", "swi"):
        head = painted(labels, kind, random)
        for name, (voxel, slab) in SCANNERS.items():
            truth = some_pose(random, points.mean(axis=0))
            seen, seen_affine = scanned(head, affine, truth, voxel, slab)
            seen = noisy(seen, random)
            rows.append(_row(path.name, kind, name, target, (t1w, affine), (seen, seen_affine), truth, points))
    return rows


def _real_rows(bids_dir: Path, out_dir: Path, seeds: int) -> list[dict]:
    rows = []
    for path in sorted(bids_dir.glob("sub-*/**/anat/*_FLAIR.nii.gz")):
        stem = out_dir / path.relative_to(bids_dir).with_name(path.name.removesuffix("FLAIR.nii.gz"))
        t1w, mask = nib.load(f"{stem}desc-preproc_T1w.nii.gz"), nib.load(f"{stem}desc-brain_mask.nii.gz")
        brain, affine = np.asarray(mask.dataobj) > 0, t1w.affine
        anatomy = t1w.get_fdata(dtype=np.float32)
        target, points = compared(anatomy, affine, brain), _points(brain, affine)
        image = conform(load_scan(path)).image
        flair = image.get_fdata(dtype=np.float32)
        still = register_rigid(target, flair, image.affine, start_mm=head_shift(anatomy, affine, flair, image.affine))
        for seed in range(seeds):
            truth = some_pose(np.random.default_rng(seed), points.mean(axis=0))
            moved = (flair, truth @ image.affine)  # the voxels stay what they are, the head lies elsewhere
            rows.append(_row(path.name, "FLAIR", "real, 3 to 4 mm", target, (anatomy, affine), moved, truth @ still, points))
    return rows


def _row(anatomy, kind, scanner, target, t1w, seen, truth, points) -> dict:
    begin = time.perf_counter()
    found = register_rigid(target, *seen, start_mm=head_shift(*t1w, *seen))
    seconds = time.perf_counter() - begin
    distance, angle = rigid_error(found, truth, points)
    agreement, astray = agreement_at(target, *seen, found), []
    for axis, sign in itertools.product(range(3), (-1, 1)):
        astray.append(agreement_at(target, *seen, found @ pose(4.0 * sign * np.eye(3)[axis], np.zeros(3), points.mean(axis=0))))
        astray.append(agreement_at(target, *seen, found @ pose(np.zeros(3), 4.0 * sign * np.eye(3)[axis], points.mean(axis=0))))
    share = brain_seen(target, seen[0].shape, seen[1], found)
    row = {"anatomy": anatomy, "kind": kind, "scanner": scanner, "error_mm": round(distance, 3), "error_deg": round(angle, 3)}
    row |= {
        "agreement": round(agreement, 3),
        "agreement_astray": round(max(astray), 3),
        "seen": round(share, 3),
        "seconds": round(seconds, 1),
    }
    print(*row.values(), sep="\t", flush=True)
    return row


def painted(labels: np.ndarray, kind: str, random: np.random.Generator) -> np.ndarray:
    """A noiseless image of a contrast with a smooth bias; tissues outside the brain get chance intensities; white matter near 550."""
    levels = np.zeros(int(labels.max()) + 1, dtype=np.float32)
    for tissue, codes in CODES.items():
        for code in (code for code in codes if code < levels.size):
            levels[code] = CONTRASTS[kind][tissue] * (1 + random.normal(0, 0.015))
    outer = np.unique(labels[labels >= FIRST_OUTER_CODE])
    levels[outer] = random.uniform(0.05, 0.9, outer.size)
    image = ndimage.gaussian_filter(levels[labels], 0.6)
    axes = np.meshgrid(*(np.linspace(-1, 1, n, dtype=np.float32) for n in labels.shape), indexing="ij", sparse=True)
    slopes = random.uniform(-1, 1, 3)
    field = sum(slope * axis for slope, axis in zip(slopes, axes))
    return 1000 * image * np.exp(BIAS * field / np.abs(field).max())


def noisy(image: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Rician noise of `NOISE` times 550."""
    real, imaginary = (random.normal(0, NOISE * 550, image.shape) for _ in range(2))
    return np.hypot(image + real, imaginary).astype(np.float32)


def some_pose(random: np.random.Generator, centre: np.ndarray) -> np.ndarray:
    """A pose whose largest turn is 15° and whose largest shift is 15 mm."""
    turn, shift = random.uniform(-1, 1, 3), random.uniform(-1, 1, 3)
    return pose(MOST_MM * shift / np.abs(shift).max(), MOST_DEG * turn / np.abs(turn).max(), centre)


def scanned(head: np.ndarray, affine: np.ndarray, matrix: np.ndarray, voxel, slab) -> tuple[np.ndarray, np.ndarray]:
    """What a scanner sees of a moved head: every voxel is the mean over its extent, along edges above 1.2 mm in steps of at most 1 mm."""
    extent = np.array(FIELD_OF_VIEW_MM)
    centre = (affine @ [*(np.array(head.shape) / 2), 1])[:3]
    if slab is not None:
        centre, extent[2] = centre + [0, 0, slab[0]], slab[1]
    shape = tuple(int(n) for n in np.round(extent / voxel))
    grid = np.diag([*voxel, 1.0])
    grid[:3, 3] = centre - extent / 2 + np.array(voxel) / 2
    parts = [1 if edge <= 1.2 else int(np.ceil(edge)) for edge in voxel]
    total = np.zeros(shape)
    for offset in itertools.product(*((np.arange(n) + 0.5) / n - 0.5 for n in parts)):
        part = grid.copy()
        part[:3, 3] += np.array(voxel) * offset
        index = np.linalg.inv(affine) @ np.linalg.inv(matrix) @ part
        total += ndimage.affine_transform(head, index[:3, :3], index[:3, 3], shape, order=1)
    return total / np.prod(parts), grid


def _points(brain: np.ndarray, affine: np.ndarray) -> np.ndarray:
    return np.argwhere(brain)[::1000] @ affine[:3, :3].T + affine[:3, 3]


def _print_summary(rows: list[dict]) -> None:
    groups: dict[tuple[str, str], list[dict]] = {}
    for row in rows:
        groups.setdefault((row["kind"], row["scanner"]), []).append(row)
    lines = []
    for (kind, scanner), group in groups.items():
        worst = {key: max(row[key] for row in group) for key in ("error_mm", "error_deg", "agreement_astray", "seconds")}
        middle = np.median([row["error_mm"] for row in group])
        least = min(row["agreement"] for row in group)
        lines.append([kind, scanner, str(len(group)), f"{middle:.2f}", f"{worst['error_mm']:.2f}", f"{worst['error_deg']:.2f}"])
        lines[-1] += [f"{least:.2f}", f"{worst['agreement_astray']:.2f}", f"{worst['seconds']:.0f}"]
    head = ["kind", "scanner", "n", "median mm", "worst mm", "worst deg", "least agreement", "most astray", "s"]
    print_table([head, *lines])


if __name__ == "__main__":
    main()
