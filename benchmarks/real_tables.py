"""The statistics on two real tables: reliability of brain volumes over visits, and ages from FreeSurfer's volumes.

python benchmarks/real_tables.py --tables FOLDER

FOLDER holds brain_volumes.tsv (808 scans, pystatsml) and ixi_freesurfer.tsv (518 people of IXI). Prints the numbers of docs/statistics.md.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from brainage_bids.cohort.age_bias import fit_age_bias
from brainage_bids.cohort.harmonise import fit_harmonisation
from brainage_bids.cohort.intervals import coverage_rows, fit_intervals
from brainage_bids.cohort.regressors import judge_regressors
from brainage_bids.cohort.sites import fit_site_offsets
from brainage_bids.stats.accuracy import accuracy_rows, compare_models
from brainage_bids.stats.anova import adjusted_pairs, analysis_of_variance
from brainage_bids.stats.associations import associate
from brainage_bids.stats.folds import participant_folds
from brainage_bids.stats.formulas import fit_formula, fit_mixed
from brainage_bids.stats.groups import compare_groups
from brainage_bids.stats.polynomial import polynomial_by_age
from brainage_bids.stats.reliability import agreement_row, bland_altman, within_person_row

TISSUES = ("gm_vol", "wm_vol", "csf_vol")


def volumes(path: Path) -> None:
    """Reliability, groups and mixed models of grey matter, white matter and fluid."""
    table = pd.read_csv(path, sep="\t")
    for name in TISSUES:
        table[name] *= 1000  # mL
    print(f"\n## {len(table)} scans of {table['participant_id'].nunique()} people, {table['site'].nunique()} sites (mL)\n")
    print(
        "| tissue | s.d. within (95 %) | people alike | smallest change | s.d. between | ICC(1,1) (95 %) | ICC(2,1), visits 1, 2 (n) | n |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for name in TISSUES:
        row = within_person_row(table[name], table["participant_id"], variable=name)
        spread = table.groupby("participant_id")[name].var().dropna().sort_values()
        most = spread.iloc[-4:].sum() / spread.sum()
        print(f"  {name}: median s.d. of a person {np.sqrt(spread.median()):.1f}; four people make {100 * most:.0f} % of the variance")
        wide = table.pivot_table(index="participant_id", columns="session", values=name)[["ses-01", "ses-02"]]
        pair = agreement_row(wide.to_numpy().tolist(), variable=name, sessions=("ses-01", "ses-02"))
        print(
            f"| {name} | {row['sd_within']:.1f} ({row['sd_within_low']:.1f}–{row['sd_within_high']:.1f}) "
            f"| {row['sd_within_people']:.1f} | {row['smallest_change']:.0f} "
            f"| {row['sd_between']:.0f} | {row['icc']:.3f} ({row['icc_low']:.3f}–{row['icc_high']:.3f}) "
            f"| {pair['icc']:.3f} ({pair['low']:.3f}–{pair['high']:.3f}, {pair['n']}) | {row['n']} |"
        )
        limits = bland_altman(wide["ses-01"].tolist(), wide["ses-02"].tolist(), names=("ses-01", "ses-02"), variable=name)
        print(f"  Bland-Altman {name}: {_said(limits, 'difference', 'low', 'high', 'limit_low', 'limit_high', 'slope_p')}")
    _groups(table)


def _groups(table: pd.DataFrame) -> None:
    numeric = table.select_dtypes("number").columns
    how = {name: "mean" if name in numeric else "first" for name in table if name != "participant_id"}
    people = table.groupby("participant_id", sort=False).agg(how).reset_index()
    for rows in (compare_groups(people["gm_vol"], people["group"], variable="gm_vol"),):
        print("\nWelch, mean of visits:", _said(rows[0], "first", "second", "n", "difference", "low", "high", "t", "df", "p", "d", "g"))
    ranks = compare_groups(people["gm_vol"], people["group"], variable="gm_vol", ranks=True)[0]
    print("Mann-Whitney:", _said(ranks, "p", "rank_biserial", "auc", "auc_low", "auc_high"))
    covariates = {name: people[name] for name in ("age", "sex", "site")}
    for row in analysis_of_variance(people["gm_vol"], people["group"], covariates, variable="gm_vol"):
        print(f"ANCOVA {row['term']}:", _said(row, "f", "df", "df_residual", "p", "eta2", "eta2_partial", "p_slopes"))
    pair = adjusted_pairs(people["gm_vol"], people["group"], covariates, variable="gm_vol")[0]
    print("adjusted difference:", _said(pair, "first", "second", "difference", "low", "high", "p"))
    for row in fit_mixed(table, "gm_vol ~ age + C(sex) + C(site) + C(group)", table["participant_id"]):
        if "site" not in row["term"]:
            print(f"mixed model {row['term']}:", _said(row, "estimate", "low", "high", "p", "n", "people"))
    print("note:", row["note"])


def ages(path: Path) -> None:
    """Ages of IXI by ridge on all measures, out of fold, and everything that is asked of them."""
    table = pd.read_csv(path, sep="\t")
    table = table[table["age"].notna()].reset_index(drop=True).copy()
    measured = [name for name in table if name not in ("participant_id", "age", "sex", "height_cm", "weight_kg", "site")]
    people, age = table["participant_id"].tolist(), table["age"].to_numpy()
    print(f"\n## {len(table)} people of IXI, {len(measured)} measures\n")
    features = table[measured].to_numpy(float)
    folds = participant_folds(people, 10, seed=0, ages=age)
    predicted = _ridge(features, age, folds)
    by_site = _ridge(features, age, np.unique(table["site"], return_inverse=True)[1])
    rows = accuracy_rows(age, predicted, people, by={"site": table["site"], "sex": table["sex"]})
    print("| by | stratum | n | MAE (95 %) | RMSE | r | R² | bias slope | mean-age predictor |\n|---|---|---|---|---|---|---|---|---|")
    for row in rows:
        r = "" if row["r"] is None else f"{row['r']:.2f}"
        limits = "" if row["mae_low"] is None else f" ({row['mae_low']:.1f}–{row['mae_high']:.1f})"
        slope = f"{row['r2']:.2f} | {row['bias_slope']:.2f}" if row["r2"] is not None else " | "
        errors = f"{row['mae']:.1f}{limits} | {row['rmse']:.1f} | {r} | {slope} | {row['mae_guess']:.1f}"
        print(f"| {row['by']} | {row['stratum']} | {row['n']} | {errors} |")
    for row in accuracy_rows(age, by_site, people, by={"site": table["site"]}):
        if row["by"] != "age":
            print(f"leave one site out, {row['stratum']}:", _said(row, "mae", "mae_low", "mae_high", "r", "n"))
    print("10 folds against sites left out:", _said(compare_models(age, predicted, by_site, people), "difference", "low", "high", "p"))
    _after(table, age, predicted, folds)
    _gaps(table, age, predicted, measured)
    thin = {name: table[name] for name in measured if "Ventricle" in name or "Thalamus" in name or "Hippocampus" in name}
    for judged in judge_regressors({f"{len(thin)} volumes": thin}, age, people, folds=5):
        print("regressor:", _said(judged.row, "features", "regressor", "mae", "mae_low", "mae_high", "spearman_r", "p"))


def _after(table: pd.DataFrame, age: np.ndarray, predicted: np.ndarray, folds: np.ndarray) -> None:
    reference = folds % 2 == 0
    for method in ("none", "linear", "linear-predicted", "spline"):
        bias = fit_age_bias(age[reference], predicted[reference], method)
        gap = bias.corrected_gap(age[~reference], predicted[~reference])
        slope = np.polyfit(age[~reference], gap, 1)[0]
        print(f"bias correction {method} (fit on {bias.n}): others {gap.mean():.2f} ± {gap.std(ddof=1):.2f}, slope {slope:.3f}")
    _coverage(age, predicted)


def _coverage(age: np.ndarray, predicted: np.ndarray, splits: int = 200) -> None:
    draw = np.random.default_rng(0)
    for words, settings in {"one bin": {}, "bins of predicted age": {"edges": [10, 35, 50, 65, 100]}}.items():
        rows = []
        for _ in range(splits):
            half = draw.permutation(age.size) < age.size // 2
            rows.append(coverage_rows(fit_intervals(age[half], predicted[half], **settings), age[~half], predicted[~half])[0])
        shares = np.array([row["coverage"] for row in rows])
        low, high = np.percentile(shares, [2.5, 97.5])
        said = f"coverage {shares.mean():.3f} ({low:.3f}–{high:.3f}), band {rows[0]['expected_low']:.3f}–{rows[0]['expected_high']:.3f}"
        within, width = np.mean([row["within_band"] for row in rows]), np.mean([row["width"] for row in rows])
        print(f"95 % intervals, {words}, {splits} random halves: {said}, inside it {100 * within:.0f} %, width {width:.1f} years")


def _gaps(table: pd.DataFrame, age: np.ndarray, predicted: np.ndarray, measured: list[str]) -> None:
    table = table.copy().assign(pad=predicted - age, error=np.abs(predicted - age), male=(table["sex"] == "M").astype(float))
    table["bmi"] = table["weight_kg"] / (table["height_cm"] / 100) ** 2
    table.loc[~table["bmi"].between(12, 60), ["bmi", "height_cm", "weight_kg"]] = np.nan
    for row in fit_formula(table, "pad ~ age + I(age**2) + C(sex) + C(site)"):
        if row["term"] != "model":
            print(f"gap by formula, {row['term']}:", _said(row, "estimate", "low", "high", "p"))
    for row in associate(table, "pad", ["bmi", "height_cm", "weight_kg"], covariates=["age", "sex", "site"]):
        print(
            f"gap with {row['second']}:", _said(row, "method", "n", "r", "p", "r_partial", "p_partial", "p_partial_corrected", "outliers")
        )
    for row in fit_site_offsets(table["pad"], age, table["site"]).rows():
        print(f"site offset {row['site']}:", _said(row, "offset", "se", "n"))
    print("error by age:", _said(polynomial_by_age(age, table["error"], points=2)[0], "r2", "f", "p"))
    columns = [name for name in measured if "Volume" not in name and table[name].min() > 0][:20]
    model = fit_harmonisation(table, table["site"], columns, ["age", "male"])
    moved, _ = model.transform(table, table["site"])
    given = {"age": table["age"], "sex": table["sex"]}
    for words, source in (("before", table), ("after", moved)):
        f = [analysis_of_variance(np.asarray(source[name]), table["site"], given)[0] for name in columns]
        found, middle = np.mean([row["p"] < 0.05 for row in f]), np.median([row["f"] for row in f])
        print(f"site effects {words} ComBat, {len(columns)} volumes: median F {middle:.2f}, p < .05 in {100 * found:.0f} %")


def _ridge(features: np.ndarray, age: np.ndarray, folds: np.ndarray) -> np.ndarray:
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import RidgeCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    predicted = np.empty(age.shape)
    for fold in np.unique(folds):
        inside = folds != fold
        model = make_pipeline(SimpleImputer(), StandardScaler(), RidgeCV(np.logspace(0, 4, 9)))
        predicted[~inside] = model.fit(features[inside], age[inside]).predict(features[~inside])
    return predicted


def _said(row: dict, *names: str) -> str:
    return ", ".join(f"{name} {row[name]:.3g}" if isinstance(row[name], float) else f"{name} {row[name]}" for name in names)


def main() -> None:
    """Print all numbers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=Path, required=True)
    args = parser.parse_args()
    volumes(args.tables / "brain_volumes.tsv")
    ages(args.tables / "ixi_freesurfer.tsv")


if __name__ == "__main__":
    main()
