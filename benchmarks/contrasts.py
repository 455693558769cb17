"""Structures of real whole heads of several contrasts and visits, without a switch: a table and a montage.

python benchmarks/contrasts.py BIDS_DIR OUT [--threads 1]

Each T1w and FLAIR of the dataset is segmented by itself. Printed are volumes of every scan, visits and contrasts of a person side by
side, and for FLAIR what became of voxels far brighter than white matter deep inside it, which are lesions. OUT receives
``volumes.tsv``, the label maps and ``montage.png`` (rows: scans; axial planes through ventricles, basal ganglia, temporal lobes).
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import nibabel as nib
import numpy as np
from chain import segment_head
from scipy import ndimage

from brainage_bids.cli.console import print_table
from brainage_bids.imaging.atlas import load_atlas
from brainage_bids.imaging.grids import voxel_sizes, voxel_volume
from brainage_bids.imaging.pipeline import Structures
from brainage_bids.imaging.registration import template_overlap

STRUCTURES = {
    "cortex": (3, 42), "white": (2, 41), "lateral": (4, 43, 5, 44), "third": (14,), "fourth": (15,), "thalamus": (10, 49),
    "caudate": (11, 50), "putamen": (12, 51), "pallidum": (13, 52), "hippocampus": (17, 53), "amygdala": (18, 54),
    "cerebellar cortex": (8, 47), "cerebellar white": (7, 46), "stem": (16,),
}  # fmt: skip
DEEP_MM = 4.0
BRIGHT_SDS = 4.0
PLANES_MM = (22.0, 4.0, -20.0)
"""Heights of the montage's planes in the template."""


def main() -> None:
    """Segment everything and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bids_dir", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    paths = sorted(p for p in options.bids_dir.glob("sub-*/**/anat/*.nii.gz") if p.name.endswith(("_T1w.nii.gz", "_FLAIR.nii.gz")))
    rows, pictures = [], []
    for path in paths:
        scan = nib.as_closest_canonical(nib.load(path))
        image = np.maximum(np.nan_to_num(np.asarray(scan.dataobj, dtype=np.float32)), 0)
        made, seconds = segment_head(image, scan.affine, t1w=path.name.endswith("_T1w.nii.gz"), threads=options.threads)
        nib.save(nib.Nifti1Image(made.found.labels, scan.affine), options.out / path.name.replace(".nii.gz", "_dseg.nii.gz"))
        rows.append({"scan": path.name.removesuffix(".nii.gz"), **_measures(made, scan.affine)})
        pictures.append((rows[-1]["scan"], _planes(made, scan.affine)))
        print(rows[-1]["scan"], f"{sum(seconds.values()):.0f} s", flush=True)
    with (options.out / "volumes.tsv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0], delimiter="\t", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    _print_volumes(rows)
    _print_pairs(rows)
    _draw(pictures, options.out / "montage.png")


def _measures(made: Structures, affine: np.ndarray) -> dict[str, object]:
    """Volumes in mL, overlap with the template, and what became of bright voxels deep in the white matter."""
    labels, volume = made.found.labels, voxel_volume(affine) / 1000
    row: dict[str, object] = {name: round(float(np.isin(labels, codes).sum() * volume), 2) for name, codes in STRUCTURES.items()}
    row["overlap"] = round(template_overlap(made.found.tissues, affine, made.spatial_map), 3)
    bright = _bright(made, affine)
    row["bright mL"] = round(float(bright.sum() * volume), 2)
    for name, codes in (("white", STRUCTURES["white"]), ("cortex", STRUCTURES["cortex"])):
        row[f"bright called {name}"] = round(float(np.isin(labels[bright], codes).mean()), 3) if bright.any() else float("nan")
    return row


def _bright(made: Structures, affine: np.ndarray) -> np.ndarray:
    """Voxels `BRIGHT_SDS` brighter than white matter, and brighter than cortex, deep where the atlas sees hardly anything else."""
    atlas, found = load_atlas(), made.found
    index = np.argwhere(found.brain)
    points = index @ affine[:3, :3].T + affine[:3, 3]
    white = [channel for channel, region in enumerate(atlas.regions) if region.index in STRUCTURES["white"]]
    sure = np.zeros(found.labels.shape, dtype=bool)
    sure[tuple(index.T)] = atlas.at(made.spatial_map, points.astype(np.float32))[:, white].sum(axis=1) > 0.8
    limit = max(found.means["cerebral white"] + BRIGHT_SDS * found.deviations["cerebral white"], found.means["cortex"])
    return sure & (made.corrected > limit) & (ndimage.distance_transform_edt(found.brain, sampling=voxel_sizes(affine)) > DEEP_MM)


def _print_volumes(rows: list[dict[str, object]]) -> None:
    print_table([tuple(rows[0]), *(tuple(str(value) for value in row.values()) for row in rows)])


def _print_pairs(rows: list[dict[str, object]]) -> None:
    """Relative differences, 2 (b − a) / (a + b) in %, of visits of one contrast and of contrasts of one visit."""
    print()
    by_name = {str(row["scan"]): row for row in rows}
    pairs = [(a, b) for a in by_name for b in by_name if a < b and _related(a, b)]
    table = [("first", "second", *STRUCTURES)]
    for first, second in pairs:
        a, b = by_name[first], by_name[second]
        table.append((first, second, *(f"{200 * (b[name] - a[name]) / (a[name] + b[name]):+.0f} %" for name in STRUCTURES)))
    print_table(table)


def _related(first: str, second: str) -> bool:
    """Whether two scans differ by nothing but the session, or by nothing but the contrast."""
    one, other = first.split("_"), second.split("_")
    return one[0] == other[0] and sum(x != y for x, y in zip(one, other, strict=True)) == 1


def _planes(made: Structures, affine: np.ndarray) -> list[tuple[np.ndarray, np.ndarray, float]]:
    """Axial planes of scan and labels, in-plane aspect beside them."""
    sizes, planes = voxel_sizes(affine), []
    for height in PLANES_MM:
        place = np.linalg.inv(affine) @ np.append(made.spatial_map.to_person(np.array([[0.0, -10.0, height]]))[0], 1)
        k = int(np.clip(round(place[2]), 0, made.corrected.shape[2] - 1))
        planes.append((made.corrected[..., k].T, made.found.labels[..., k].T, sizes[1] / sizes[0]))
    return planes


def _draw(pictures, path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    colours = np.random.default_rng(3).uniform(0.2, 1.0, (256, 3))
    for left, right in ((2, 41), (3, 42), (4, 43), (5, 44), (7, 46), (8, 47), (10, 49), (11, 50), (12, 51), (13, 52), (17, 53), (18, 54)):
        colours[right] = colours[left]
    colours[[2, 41]], colours[[3, 42]], colours[[4, 43]], colours[24] = (0.95,) * 3, (0.85, 0.3, 0.3), (0.2, 0.4, 0.9), (0.4, 0.7, 0.9)
    figure, axes = plt.subplots(len(pictures), 2 * len(PLANES_MM), figsize=(15, 2.6 * len(pictures)), facecolor="black")
    for row, (name, planes) in zip(np.atleast_2d(axes), pictures, strict=True):
        for column, (scan, labels, aspect) in enumerate(planes):
            top = np.percentile(scan[labels > 0], 99) if (labels > 0).any() else 1
            row[2 * column].imshow(scan, cmap="gray", vmin=0, vmax=top, origin="lower", aspect=aspect)
            shown = np.ma.masked_equal(labels, 0)
            row[2 * column + 1].imshow(scan, cmap="gray", vmin=0, vmax=top, origin="lower", aspect=aspect)
            row[2 * column + 1].imshow(colours[shown.filled(0)], alpha=0.75 * (labels > 0), origin="lower", aspect=aspect)
        row[0].set_title(name, color="white", fontsize=8, loc="left")
    for axis in np.ravel(axes):
        axis.axis("off")
    figure.tight_layout(pad=0.2)
    figure.savefig(path, dpi=80, facecolor="black")


if __name__ == "__main__":
    main()
