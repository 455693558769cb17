"""Tissues of painted whole heads, end to end: own mask, bias field, registration, an atlas without the scored map, score.

python benchmarks/tissues.py --labels LABELS_DIR --bench paint_t1w.py --work FOLDER
    [--maps 01 05 …] [--noise 0.08] [--voxel 1.5] [--bias 0.6]

Paints and scores with the script given by ``--bench``. The label maps as seen from the template are kept in WORK/samples, so that
only the first run registers them.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import time
from pathlib import Path

import nibabel as nib
import numpy as np

from brainage_bids.imaging.atlas import Atlas, from_samples
from brainage_bids.imaging.bias_field import bias_field
from brainage_bids.imaging.brain_mask import find_brain
from brainage_bids.imaging.crop import bounding_box, crop
from brainage_bids.imaging.grids import voxel_sizes
from brainage_bids.imaging.registration import register
from brainage_bids.imaging.tissues import segment_brain
from brainage_bids.imaging.volumes import read_regions
from brainage_bids.training.atlas import FWHM_MM, sample_person

SHORT = {
    "Dice brain": "brain", "Dice GM": "GM", "Dice WM": "WM", "Dice CSF": "CSF", "volume error GM": "GM vol", "volume error WM": "WM vol",
    "volume error CSF": "CSF vol", "thalamus called grey": "thal", "putamen called grey": "put", "caudate called grey": "caud",
    "cerebellar white called white": "cblWM", "ventricle wall (white) called grey": "wall", "outside the brain, mL": "out mL",
}  # fmt: skip


def main() -> None:
    """Score every map asked for and print a table with the means."""
    args = _arguments()
    paths = {path.name.removesuffix(".nii.gz").rsplit("-", 1)[-1]: path for path in sorted(args.labels.glob("*.nii.gz"))}
    args.maps = args.maps or list(paths)
    samples = {name: _sample(path, args.work / "samples") for name, path in paths.items()}
    rows = []
    for name in args.maps:
        atlas = _atlas_without(name, samples, args.work)
        rows.append(_run(name, paths[name], atlas, args))
        if len(rows) == 1:
            print("map\t" + "\t".join(rows[0]), flush=True)
        print(name + "\t" + _line(rows[-1]), flush=True)
    print("mean\t" + _line({key: float(np.mean([row[key] for row in rows])) for key in rows[0]}))


def _run(name: str, path: Path, atlas: Atlas, args: argparse.Namespace) -> dict[str, float]:
    folder = args.work / f"{name}_noise{args.noise}_bias{args.bias}_voxel{args.voxel}"
    if not (folder / "aseg.nii.gz").exists():
        options = [f"--noise={args.noise}", f"--bias={args.bias}", f"--voxel={args.voxel}"]
        subprocess.run([sys.executable, args.bench, path, folder, *options], check=True)
    scan = nib.as_closest_canonical(nib.load(folder / "T1w.nii.gz"))
    image, affine = np.asarray(scan.dataobj, dtype=np.float32), scan.affine
    clock = [time.perf_counter()]
    mask = find_brain(image, affine, threads=args.threads, atlas=atlas)
    clock.append(time.perf_counter())
    corrected = image / bias_field(image, affine, mask, threads=args.threads)
    clock.append(time.perf_counter())
    part, part_affine = crop(corrected * mask, affine, bounding_box(mask, 8.0, voxel_sizes(affine)))
    spatial_map = register(part, part_affine, threads=args.threads)
    clock.append(time.perf_counter())
    found = segment_brain(corrected, affine, mask, spatial_map, atlas=atlas, threads=args.threads)
    clock.append(time.perf_counter())
    dseg = folder / "ours.nii.gz"
    nib.save(nib.Nifti1Image(found.dseg(), affine), dseg)
    nib.save(nib.Nifti1Image(found.labels, affine), folder / "ours_aseg.nii.gz")
    truth = np.asarray(nib.as_closest_canonical(nib.load(folder / "aseg.nii.gz")).dataobj)
    overlaps = [_dice(found.labels == region.index, truth == region.index) for region in atlas.regions if region.index != 24]
    whole = (truth > 0) & (truth < 500)
    seconds = dict(zip(("mask s", "N4 s", "reg s", "seg s"), np.diff(clock).tolist()))
    return {**_score(dseg, folder, args.bench), "aseg": float(np.mean(overlaps)), "first mask": _dice(mask, whole), **seconds}


def _score(dseg: Path, folder: Path, bench: Path) -> dict[str, float]:
    printed = subprocess.run([sys.executable, bench, dseg, folder, "--score"], check=True, capture_output=True, text=True).stdout
    found = dict(re.findall(r"^(.+)\t(-?[\d.]+)$", printed, flags=re.M))
    return {short: float(found[long]) for long, short in SHORT.items()}


def _sample(path: Path, folder: Path) -> Path:
    target = folder / f"{path.name.removesuffix('.nii.gz')}.npz"
    if not target.exists():
        folder.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(target, codes=sample_person(path, read_regions()))
    return target


def _atlas_without(name: str, samples: dict[str, Path], work: Path) -> Atlas:
    cached = work / f"atlas_without_{name}.npy"
    if not cached.exists():
        others = (np.load(path)["codes"] for other, path in samples.items() if other != name)
        np.save(cached, from_samples(others, read_regions(), FWHM_MM).probabilities)
    return Atlas(read_regions(), np.load(cached))


def _dice(one: np.ndarray, other: np.ndarray) -> float:
    return float(2 * (one & other).sum() / max(one.sum() + other.sum(), 1))


def _line(row: dict[str, float]) -> str:
    return "\t".join(f"{value:.1f}" if key.endswith((" s", "mL")) else f"{value:.3f}" for key, value in row.items())


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--labels", type=Path, required=True, help="folder of whole-head label maps")
    parser.add_argument("--bench", type=Path, required=True, help="the script that paints and scores")
    parser.add_argument("--work", type=Path, required=True, help="folder for painted heads, samples and results")
    parser.add_argument("--maps", nargs="+", help="last part of the maps' names (default: all)")
    parser.add_argument("--noise", type=float, default=0.04)
    parser.add_argument("--bias", type=float, default=0.3)
    parser.add_argument("--voxel", type=float, default=1.0)
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


if __name__ == "__main__":
    main()
