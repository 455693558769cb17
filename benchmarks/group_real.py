"""Two real tables through the whole group run: brain ages out of fold from their volumes, written as the app writes them.

    python benchmarks/group_real.py --tables FOLDER --out FOLDER

The first FOLDER holds brain_volumes.tsv (808 scans, pystatsml) and ixi_freesurfer.tsv (518 people of IXI). Into the second go two
datasets, `scans` and `ixi`, with outputs and pages of the group level. Printed are the numbers of docs/group.md.
"""

from __future__ import annotations

import argparse
import csv
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from brainage_bids.bids.dataset import write_dataset_description
from brainage_bids.bids.estimates import COLUMNS, estimate_rows
from brainage_bids.bids.names import derivative_path
from brainage_bids.bids.sidecars import table_columns
from brainage_bids.bids.sink import sink_json, sink_table, sink_text
from brainage_bids.cli.brainage import main as brainage
from brainage_bids.records import AgeEstimate, Session
from brainage_bids.stats.folds import participant_folds

FOLDS = 10
HEMISPHERES = ("Left_", "Right_")


def main() -> int:
    """Make both datasets, run the group level, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    os.fsync = lambda descriptor: None  # thousands of small files that nobody will miss
    codes = [_scans(options.tables, options.out / "scans"), _ixi(options.tables, options.out / "ixi")]
    return max(codes)


def _scans(tables: Path, out: Path) -> int:
    """Three volumes of 808 scans; the healthy are the reference."""
    table = pd.read_csv(tables / "brain_volumes.tsv", sep="\t")
    names = ["gm_vol", "wm_vol", "csf_vol"]
    features = table[names].to_numpy(float)
    features = np.column_stack([features, features / features.sum(axis=1, keepdims=True)[:, :1]])
    healthy = (table["group"] == "Control").to_numpy()
    ages = out_of_fold(features, table["age"].to_numpy(float), list(table["participant_id"]), healthy)
    people = table.drop_duplicates("participant_id")[["participant_id", "age", "sex", "site", "group"]]
    volumes = {name: 1e6 * table[name].to_numpy(float) for name in names}
    write(out, people, table["participant_id"], table["session"], table["age"], {"tissues": ages}, volumes)
    code = run(out, "--reference", "group == 'Control'", "--harmonise", "gap")
    show(out, "groups_adjusted", "variable", "first", "second", "difference", "low", "high", "p", "p_corrected", "n")
    show(out, "pad_mixed", "term", "estimate", "low", "high", "p", "n", only={"term": "C(group)[T.Patient]"})
    show(out, "reliability", "variable", "pairs", "icc", "low", "high", "sd_within", "smallest_change", "n")
    show(out, "reliability_regions", "variable", "icc", "low", "high", "n")
    return code


def _ixi(tables: Path, out: Path) -> int:
    """Volumes and thickness of IXI as two models, fused; body mass beside."""
    table = pd.read_csv(tables / "ixi_freesurfer.tsv", sep="\t")
    table = table[table["age"].notna()].reset_index(drop=True)
    volumes_of = [name for name in table if name.endswith("_mm3")]
    known = {"participant_id", "age", "sex", "height_cm", "weight_kg", "site", *volumes_of}
    measures = {"volume": volumes_of, "thickness": [name for name in table if name not in known]}
    age, who = table["age"].to_numpy(float), list(table["participant_id"])
    everyone = np.ones(len(table), dtype=bool)
    models = {model: out_of_fold(table[names].to_numpy(float), age, who, everyone) for model, names in measures.items()}
    table["bmi"] = table["weight_kg"] / (table["height_cm"] / 100) ** 2
    sides = [name for name in volumes_of if name.startswith(HEMISPHERES)][:36]
    volumes = {name.removesuffix("_mm3").replace("_", "-"): table[name].to_numpy(float) for name in sides}
    people = table[["participant_id", "age", "sex", "site", "bmi"]]
    write(out, people, table["participant_id"], [None] * len(table), table["age"], models, volumes)
    code = run(out, "--harmonise", "both", "--groups", "young=age < 40", "old=age >= 60", "--slow-steps", "skip")
    show(out, "accuracy", "model", "n", "mae", "mae_low", "mae_high", "r", "r2", "bias_slope", "mae_guess", only={"by": "all"})
    show(out, "fusion_accuracy", "head", "n", "mae", "mae_low", "mae_high", "r2")
    show(out, "fusion_nested", "smaller", "larger", "f", "df", "df_residual", "p")
    show(out, "age_bias", "model", "who", "slope", "slope_corrected", "sd_gap", "sd_gap_corrected", only={"who": "reference"})
    show(out, "coverage", "model", "interval", "coverage", "expected_low", "expected_high", "width", "n", only={"stratum": "all"})
    show(out, "site_offsets", "model", "site", "offset", "se", "n")
    show(out, "associations", "model", "second", "r", "p", "r_partial", "p_partial", "n")
    return code


def out_of_fold(features: np.ndarray, age: np.ndarray, people: Sequence[str], healthy: np.ndarray) -> np.ndarray:
    """Ages by ridge on scaled columns, its penalty chosen within the training folds, by healthy people of the other folds."""
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import RidgeCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    folds = participant_folds(people, FOLDS, seed=1, ages=age)
    found = np.empty(len(age))
    for fold in range(FOLDS):
        inside = (folds != fold) & healthy
        model = make_pipeline(SimpleImputer(), StandardScaler(), RidgeCV(np.logspace(-1, 4, 16))).fit(features[inside], age[inside])
        found[folds == fold] = model.predict(features[folds == fold])
    return found


def write(
    out: Path, people: pd.DataFrame, names: Sequence[str], sessions: Sequence[str | None], ages: Sequence[float],
    models: Mapping[str, np.ndarray], volumes: Mapping[str, np.ndarray],
) -> None:  # fmt: skip
    """A dataset with participants.tsv, and the outputs of every visit."""
    derivatives = out / "derivatives" / "brainage"
    sink_json({"Name": out.name, "BIDSVersion": "1.10.0"}, out / "dataset_description.json")
    people = people.assign(participant_id=[label(name) for name in people["participant_id"]])
    sink_text(people.to_csv(sep="\t", index=False, na_rep="n/a"), out / "participants.tsv")
    write_dataset_description(derivatives, out, "0")
    columns = table_columns("volumes_atlas")
    for at, (name, session, age) in enumerate(zip(names, sessions, ages)):
        person = label(str(name))
        visit = None if session is None else label(str(session), "ses-")
        (out / person / (visit or "") / "anat").mkdir(parents=True, exist_ok=True)
        estimates = [
            AgeEstimate(model, "T1w", float(values[at]), None, None, None, None, None, 0.95, None, (), model[0] * 64)
            for model, values in models.items()
        ]
        session_of = Session(person, visit, {}, age=float(age))
        sink_table(estimate_rows(session_of, estimates), derivative_path(derivatives, "brainage", person, visit), COLUMNS)
        about = {"participant_id": person, "session_id": visit, "hemisphere": None}
        rows = [
            {**about, "index": place, "name": key, "volume_mm3": float(values[at])} for place, (key, values) in enumerate(volumes.items())
        ]
        sink_table(rows, derivative_path(derivatives, "volumes_atlas", person, visit), columns)


def label(name: str, prefix: str = "sub-") -> str:
    """An identifier that BIDS allows.

    >>> label("sub-S1-0002"), label("ses-01-alt03", "ses-")
    ('sub-S10002', 'ses-01alt03')
    """
    return prefix + name.removeprefix(prefix).replace("-", "")


def run(out: Path, *words: str) -> int:
    """`brainage … group`."""
    return brainage([str(out), str(out / "derivatives" / "brainage"), "group", *words])


def show(out: Path, name: str, *columns: str, only: Mapping[str, str] | None = None) -> None:
    """Print rows of a table of results as markdown."""
    path = out / "derivatives" / "brainage" / "group" / f"{name}.tsv"
    if not path.is_file():
        print(f"\n{out.name}: no {name}")
        return
    with open(path, encoding="utf-8", newline="") as stream:
        rows = [row for row in csv.DictReader(stream, delimiter="\t") if all(row[key] == value for key, value in (only or {}).items())]
    print(f"\n{out.name}: {name}\n\n| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    for row in rows[:30]:
        print(f"| {' | '.join(_short(row[column]) for column in columns)} |")


def _short(text: str) -> str:
    try:
        return f"{float(text):.3g}"
    except ValueError:
        return text


if __name__ == "__main__":
    sys.exit(main())
