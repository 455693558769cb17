"""Tissues and structures of painted whole heads, end to end: own mask, bias field, registration, an atlas without the scored map.

python benchmarks/tissues.py --labels LABELS_DIR --bench paint_t1w.py --work FOLDER [--maps 01 05 …] [--noise 0.08] [--voxel 1.5]
    [--bias 0.6] [--slices 5] [--contrast flair|t2star] [--deform ventricles|atrophy] [--mapping FILE]

Paints and scores with the script given by ``--bench``. The label maps as seen from the template are kept in WORK/samples, so that
only the first run registers them. ``--mapping`` writes for each structure its volume as measured and as counted in the map.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import nibabel as nib
import numpy as np
from chain import segment_head
from painted import CONTRASTS, Variant, load_painter, paint

from brainage_bids.imaging.atlas import MERGED, Atlas, from_samples
from brainage_bids.imaging.grids import voxel_volume
from brainage_bids.imaging.tissues import Segmentation
from brainage_bids.imaging.volumes import read_regions
from brainage_bids.training.atlas import FWHM_MM, sample_person

OUTER_FLUID = 24
SHOWN = {
    "ventricles": (4, 43), "thalamus": (10, 49), "caudate": (11, 50), "putamen": (12, 51), "pallidum": (13, 52), "hippocampus": (17, 53),
    "amygdala": (18, 54), "accumbens": (26, 58), "cortex": (3, 42), "white": (2, 41), "cerebellar cortex": (8, 47),
    "cerebellar white": (7, 46), "stem": (16,),
}  # fmt: skip
"""Structures whose Dice (mean of both sides) and volume error are printed."""

SHORT = {
    "Dice brain": "brain", "Dice GM": "GM", "Dice WM": "WM", "Dice CSF": "CSF", "volume error GM": "GM vol", "volume error WM": "WM vol",
    "volume error CSF": "CSF vol", "thalamus called grey": "thal", "putamen called grey": "put", "caudate called grey": "caud",
    "cerebellar white called white": "cblWM", "ventricle wall (white) called grey": "wall", "outside the brain, mL": "out mL",
}  # fmt: skip


def main() -> None:
    """Score every map asked for and print a table with the means."""
    args = _arguments()
    painter = load_painter(args.bench)
    variant = Variant(args.noise, args.bias, args.voxel, args.slices, args.contrast, args.deform)
    paths = {path.name.removesuffix(".nii.gz").rsplit("-", 1)[-1]: path for path in sorted(args.labels.glob("*.nii.gz"))}
    args.maps = args.maps or list(paths)
    samples = {name: _sample(path, args.work / "samples") for name, path in paths.items()}
    rows, volumes = [], []
    for name in args.maps:
        folder = args.work / f"{name}_{variant.name}"
        paint(painter, paths[name], folder, variant)
        found, truth, affine, seconds = _run(folder, _atlas_without(name, samples, args.work), args)
        rows.append({**_tissue_scores(painter, found, folder, affine), **_structure_scores(found.labels, truth), **seconds})
        volumes += _volumes(name, found.labels, truth, voxel_volume(affine))
        if len(rows) == 1:
            print("map\t" + "\t".join(rows[0]), flush=True)
        print(name + "\t" + _line(rows[-1]), flush=True)
    print("mean\t" + _line({key: float(np.mean([row[key] for row in rows])) for key in rows[0]}))
    print("mean |error|\t" + _line({key: float(np.mean([abs(row[key]) for row in rows])) for key in rows[0] if key.endswith(" vol")}))
    if args.mapping:
        _write_mapping(args.mapping, volumes)


def _run(folder: Path, atlas: Atlas, args: argparse.Namespace) -> tuple[Segmentation, np.ndarray, np.ndarray, dict[str, float]]:
    """Segment a painted head; its structures, the true ones, the affine and the seconds."""
    scan = nib.as_closest_canonical(nib.load(folder / "T1w.nii.gz"))
    image = np.asarray(scan.dataobj, dtype=np.float32)
    made, seconds = segment_head(image, scan.affine, t1w=args.contrast == "t1", atlas=atlas, threads=args.threads)
    nib.save(nib.Nifti1Image(made.found.labels, scan.affine), folder / "ours_aseg.nii.gz")
    truth = _merged(np.asarray(nib.as_closest_canonical(nib.load(folder / "aseg.nii.gz")).dataobj))
    return made.found, truth, scan.affine, seconds


def _merged(labels: np.ndarray) -> np.ndarray:
    """Truth with the atlas's codes, 0 outside the brain."""
    table = np.arange(int(labels.max()) + 1)
    table[500:] = 0
    for old, new in MERGED.items():
        table[old] = new
    return table[labels]


def _tissue_scores(painter, found: Segmentation, folder: Path, affine: np.ndarray) -> dict[str, float]:
    truth, aseg = (np.asarray(nib.as_closest_canonical(nib.load(folder / f"{name}.nii.gz")).dataobj) for name in ("dseg", "aseg"))
    scores = painter.score(found.dseg(), truth, aseg, (1, 2, 3), voxel_volume(affine) / 1000)
    return {short: float(scores[long]) for long, short in SHORT.items()}


def _structure_scores(labels: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """Dice of every structure but outer fluid, averaged, and of those of `SHOWN`."""
    codes = [region.index for region in read_regions() if region.index != OUTER_FLUID]
    dice = {code: _dice(labels == code, truth == code) for code in codes}
    volume = {name: np.isin(labels, both).sum() / max(np.isin(truth, both).sum(), 1) - 1 for name, both in SHOWN.items()}
    return {
        "aseg": float(np.mean(list(dice.values()))),
        **{name: float(np.mean([dice[code] for code in both])) for name, both in SHOWN.items()},
        "ventricles vol": float(volume["ventricles"]),
        "hippocampus vol": float(volume["hippocampus"]),
    }


def _volumes(name: str, labels: np.ndarray, truth: np.ndarray, voxel_mm3: float) -> list[tuple[str, str, float, float]]:
    ours, theirs = (np.bincount(volume.ravel(), minlength=256) * voxel_mm3 for volume in (labels, truth))
    return [(name, region.name, float(ours[region.index]), float(theirs[region.index])) for region in read_regions()]


def _write_mapping(path: Path, rows: list[tuple[str, str, float, float]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter="\t", lineterminator="\n")
        writer.writerow(("map", "structure", "ours_mm3", "theirs_mm3"))
        writer.writerows((name, structure, f"{ours:.1f}", f"{theirs:.1f}") for name, structure, ours, theirs in rows)


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
    parser.add_argument("--slices", type=float, default=0.0, metavar="MM", help="thickness of axial slices")
    parser.add_argument("--contrast", choices=("t1", *CONTRASTS), default="t1")
    parser.add_argument("--deform", choices=("none", "ventricles", "atrophy"), default="none")
    parser.add_argument("--mapping", type=Path, help="where the volumes of every structure go, ours and the map's")
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


if __name__ == "__main__":
    main()
