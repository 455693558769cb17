"""What the app measured in a phantom cohort, beside the truth: volumes, labels, rigid registrations, brain ages.

python benchmarks/phantom_truth.py COHORT OUT [--tsv TABLE.tsv]

COHORT was written by `brainage-phantom`, OUT by `brainage COHORT OUT participant`. Of each visit that OUT has, the tables of
volumes are compared with the true volumes, the structures' labels with the true labels (Dice, on the voxels of the T1w), and the rigid
maps of FLAIR and SWI with the known positions (mean distance over the true brain, angle between the rotations).
"""

from __future__ import annotations

import argparse
import itertools
import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import SimpleITK as sitk

from brainage_bids.cli.console import print_table
from brainage_bids.imaging.rigid import rigid_error
from brainage_bids.phantoms.ageing import STRUCTURES

GREY = ("cortical_grey", "subcortical_grey", "cerebellar_grey")
TISSUES = {"grey matter": tuple(code for name in GREY for code in STRUCTURES[name]), "white matter": (2, 41, 7, 46)}
BRAIN_FROM, BRAIN_TO = 2, 255
"""Codes of the true labels that are brain or its ventricles."""


def visits(cohort: Path) -> pd.DataFrame:
    """Rows of the truth, a visit each, with the stem of its files relative to a dataset."""
    table = pd.read_csv(cohort / "derivatives/truth/participants.tsv", sep="\t", na_values="n/a")
    session = table.session_id.map(lambda name: "" if pd.isna(name) else f"/{name}")
    entities = table.session_id.map(lambda name: "" if pd.isna(name) else f"_{name}")
    table["stem"] = table.participant_id + session + "/anat/" + table.participant_id + entities
    return table


def measured(cohort: Path, out: Path, row: pd.Series) -> dict[str, object] | None:
    """What the app found of a visit, None where it left no volumes."""
    files = out / row.stem
    if not Path(f"{files}_desc-volumes_morph.tsv").is_file():
        return None
    tissues = pd.read_csv(f"{files}_desc-volumes_morph.tsv", sep="\t").iloc[0]
    of_code = pd.read_csv(f"{files}_seg-BrainageAseg_desc-volumes_morph.tsv", sep="\t").set_index("index").volume_mm3
    found: dict[str, object] = {f"{name} volume": of_code[list(codes)].sum() / 1000 for name, codes in STRUCTURES.items()}
    found |= {"GM volume": tissues.GM / 1000, "eTIV volume": tissues.eTIV / 1000}
    found |= _ages(Path(f"{files}_brainage.tsv"))
    labels, true = _labels(Path(f"{files}_seg-BrainageAseg_dseg.nii.gz"), cohort / f"derivatives/truth/{row.stem}_desc-true_dseg.nii.gz")
    for name, codes in {**STRUCTURES, **TISSUES}.items():
        one, other = np.isin(labels, codes), np.isin(true, codes)
        found[f"{name} dice"] = 2 * np.count_nonzero(one & other) / (one.sum() + other.sum())
    return found | _rigid(cohort, files, row)


def _labels(found: Path, true: Path) -> tuple[np.ndarray, np.ndarray]:
    one, other = (nib.as_closest_canonical(nib.load(path)) for path in (found, true))
    if one.shape != other.shape or not np.allclose(one.affine, other.affine, atol=1e-3):
        raise SystemExit(f"{found} and {true} lie on different voxels.")
    return np.asarray(one.dataobj).astype(int), np.asarray(other.dataobj).astype(int)


def _ages(path: Path) -> dict[str, object]:
    if not path.is_file():
        return {}
    table = pd.read_csv(path, sep="\t", na_values="n/a")
    return {f"{row.model} age": row.brain_age for row in table.itertuples()}


def _rigid(cohort: Path, files: Path, row: pd.Series) -> dict[str, object]:
    truth = cohort / f"derivatives/truth/{row.stem}"
    known = json.loads(Path(f"{truth}_desc-true_parameters.json").read_text(encoding="utf-8"))["effects"]["T1w_to_modality_mm"]
    labels = nib.load(f"{truth}_desc-true_dseg.nii.gz")
    brain = np.argwhere((np.asarray(labels.dataobj) >= BRAIN_FROM) & (np.asarray(labels.dataobj) <= BRAIN_TO))[::97]
    points = nib.affines.apply_affine(labels.affine, brain)
    found = {}
    for suffix, name in (("FLAIR", "FLAIR"), ("swi", "SWI")):
        path = Path(f"{files}_from-{suffix}_to-T1w_mode-image_xfm.txt")
        if path.is_file():
            found[f"{name} mm"], found[f"{name} deg"] = rigid_error(_matrix(path), np.asarray(known[name]), points)
    return found


def _matrix(path: Path) -> np.ndarray:
    """(4, 4), millimetres of the T1w to those of the other image, RAS."""
    read = sitk.AffineTransform(sitk.ReadTransform(str(path)))
    lps = np.eye(4)
    lps[:3, :3] = np.reshape(read.GetMatrix(), (3, 3))
    lps[:3, 3] = read.TransformPoint((0.0, 0.0, 0.0))
    flip = np.diag([-1.0, -1.0, 1.0, 1.0])
    return flip @ lps @ flip


def summary(table: pd.DataFrame) -> list[tuple[str, ...]]:
    """Rows to print: of each volume r, slope, mean ratio and Dice."""
    rows = []
    table = table.assign(GM_ml=table[[f"{name}_ml" for name in GREY]].sum(axis=1), eTIV_ml=table.cranium_ml)
    for name in ("GM", *STRUCTURES, "eTIV"):
        pair = table[[f"{name}_ml", f"{name} volume"]].dropna().to_numpy(float)
        if len(pair) < 3:
            continue
        true, found = pair.T
        dice = table.get(f"{'grey matter' if name == 'GM' else name} dice")
        rows.append(
            (name, str(len(pair)), f"{np.corrcoef(true, found)[0, 1]:.3f}", f"{np.polyfit(true, found, 1)[0]:.2f}",
             f"{np.mean(found / true):.3f}", f"{np.mean(np.abs(found / true - 1)):.3f}", "" if dice is None else f"{dice.mean():.3f}")
        )  # fmt: skip
    return rows


def _by_motion(table: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """Where the head moved during a scan it has no one position."""
    return [("without motion", table[table.motion == 0]), ("with motion", table[table.motion > 0])]


def main() -> None:
    """Compare, print, and write the table of visits."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cohort", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--tsv", type=Path, help="where the rows of the visits go")
    options = parser.parse_args()
    rows = []
    for _, row in visits(options.cohort).iterrows():
        found = measured(options.cohort, options.out, row)
        if found is not None:
            rows.append(row.to_dict() | found)
    table = pd.DataFrame(rows)
    if table.empty:
        raise SystemExit(f"{options.out} has no volumes of any visit of {options.cohort}.")
    print_table([("volume", "n", "r", "slope", "ratio", "mean error", "Dice"), *summary(table)])
    print()
    for name, (words, part) in itertools.product(("FLAIR", "SWI"), _by_motion(table)):
        if f"{name} mm" in part and len(part):
            mm, deg = part[f"{name} mm"].dropna(), part[f"{name} deg"].dropna()
            told = f"median {mm.median():.2f} mm, worst {mm.max():.2f} mm and {deg.max():.2f} degrees"
            print(f"{name} to T1w, {len(mm)} visits {words}: {told}")
    for column in (name for name in table if str(name).endswith(" age") and name != "age"):
        pair = table[["brain_age", column]].dropna()
        error = pair[column] - pair.brain_age
        told = f"r {pair.corr().iloc[0, 1]:.2f}, MAE {error.abs().mean():.1f}, bias {error.mean():+.1f} years"
        print(f"{column} against the true brain age, {len(pair)} visits: {told}")
    if options.tsv:
        table.to_csv(options.tsv, sep="\t", index=False, na_rep="n/a", lineterminator="\n")


if __name__ == "__main__":
    main()
