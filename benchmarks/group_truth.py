"""Whether the group level finds what was planted, as often as its power says, and what was not planted in 5 % of cohorts.

    python benchmarks/group_truth.py [--cohorts N] [--participants N] [--folder FOLDER]

Every cohort is written by `brainage-phantom --tables-only` with another seed (a quarter patients with 3 years more, two sites whose
scanners read 0 and 2 years more, a retest), read by `group.cohort.read_cohort` and taken through the steps of `brainage ... group`.
Printed is a table in markdown: how often a test found what is there, the expected rate, and the band of 95 % of binomial counts.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from brainage_bids.cli.phantom import main as phantom
from brainage_bids.group import associations, correction, groups, harmonise, sessions
from brainage_bids.group.cohort import Cohort, build, collect
from brainage_bids.settings import GroupSettings

MODEL = "simt1w"
PATIENT_GAP, GAP_SD, READS, PERSON_SD, VISIT_SD, SITE = 3.0, 4.0, 0.85, 3.5, 1.0, 2.0
"""Years: of patients; s.d. of controls; how much of the brain age the model reads; its errors a person and a visit; the second scanner."""
NULLS = ("TC", "TG", "ApoA1")
CONTROLS = "group == 'control'"


@dataclass(frozen=True)
class Check:
    """What is counted over cohorts: found or not in each, and the rate that is expected."""

    found: bool
    expected: float


def main() -> int:
    """Make cohorts, count, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cohorts", type=int, default=200)
    parser.add_argument("--first", type=int, default=1, help="seed of the first cohort")
    parser.add_argument("--participants", type=int, default=160)
    parser.add_argument("--large", type=int, default=3000, help="people of the cohort whose correlation with NfL is taken as the true one")
    parser.add_argument("--folder", type=Path, help="where cohorts are made and removed (default: a temporary folder)")
    options = parser.parse_args()
    os.fsync = lambda descriptor: None  # hundreds of thousands of small files that nobody will miss
    folder = Path(options.folder or tempfile.mkdtemp())
    true_r = nfl_correlation(make(folder, 10_000, options.large, sessions=1)) if options.large else 0.17
    checks: dict[str, list[Check]] = {}
    left: list[dict[str, float]] = []
    for seed in range(options.first, options.first + options.cohorts):
        cohort = make(folder, seed, options.participants)
        for name, check in examine(cohort, true_r).items():
            checks.setdefault(name, []).append(check)
        left.append(between_sites(cohort))
        if seed % 20 == 0:
            print("\n".join(report(checks)), file=sys.stderr, flush=True)
    means = {name: f"{np.mean([one[name] for one in left]):.2f}" for name in left[0]}
    print(f"Patients of the two sites, on whom nothing was fitted, differ on average by {means} years")
    print(f"NfL and the gap of controls beyond age and sex: r = {true_r:.3f} in {options.large} people\n")
    print("\n".join(report(checks)))
    return 0


def make(folder: Path, seed: int, participants: int, sessions: int = 2) -> Cohort:
    """Write, read and remove a cohort."""
    path = folder / f"cohort{seed}"
    words = ["--tables-only", "--participants", str(participants), "--patients", str(participants // 4), "--ages", "55", "85"]
    words += ["--patient-gap", str(PATIENT_GAP), "--sites", "2", "--sessions", str(sessions), "--seed", str(seed), "--jobs", "1"]
    quiet = open(os.devnull, "w")  # noqa: SIM115, closed below
    before, sys.stdout, sys.stderr = (sys.stdout, sys.stderr), quiet, quiet
    try:
        code = phantom([str(path), *words])
    finally:
        sys.stdout, sys.stderr = before
        quiet.close()
    if code:
        raise SystemExit(f"The cohort {path} could not be made.")
    out = path / "derivatives" / "brainage"
    settings = GroupSettings(str(path), str(out), reference=CONTROLS, models=(MODEL,), harmonise="gap", random_seed=seed)
    cohort = build(collect(path, out), settings)
    shutil.rmtree(path)
    return cohort


def examine(cohort: Cohort, true_r: float) -> dict[str, Check]:
    """Every check in one cohort."""
    cohort, results, _ = correction.corrected(cohort)
    healthy = replace(cohort, table=cohort.table[cohort.table["group"] == "control"].reset_index(drop=True))
    rows = _rows(results)
    found = _patients(cohort) | _blood(healthy, true_r) | _site(cohort, rows) | _retest(cohort)
    held = [row for row in rows["coverage"] if row["interval"] == "conformal, held out" and row["stratum"] == "all"]
    found["conformal intervals hold as many as chance allows"] = Check(bool(held[0]["within_band"]), 0.95)
    return found


def _patients(cohort: Cohort) -> dict[str, Check]:
    rows = _rows(groups.compared_groups(cohort))
    row = next(row for row in rows["groups_adjusted"] if row["variable"] == "pad")
    shift = READS * PATIENT_GAP
    ncp, df = _design_power(cohort, shift)
    t = stats.t.ppf(0.975, df)
    power = float(stats.nct.sf(t, df, ncp) + stats.nct.cdf(-t, df, ncp))
    models = _rows(groups.formula_models(cohort))["pad_models"]
    sex = next(row for row in models if row["term"].startswith("C(sex)"))
    counts = next(row for row in rows["groups_counts"] if row["variable"] == "site")
    return {
        "patients' shift found (ANCOVA with age, age², sex, site)": Check(row["p"] < 0.05, power),
        "interval of the shift holds it": Check(row["low"] <= shift <= row["high"], 0.95),
        "null: sex and gap (formula)": Check(sex["p"] < 0.05, 0.05),
        "null: site by group (χ²)": Check(counts["p"] < 0.05, 0.05),
    }


def _design_power(cohort: Cohort, shift: float) -> tuple[float, int]:
    """Non-centrality and degrees of freedom of the group's term, by the design of this cohort and the planted spread."""
    people = cohort.people(MODEL)
    age = people["age"].to_numpy(float) - people["age"].mean()
    kinds = [(people[name] == value).to_numpy(float) for name, value in (("sex", "M"), ("site", "site2"), ("group", "patient"))]
    design = np.column_stack([np.ones(len(people)), age, age**2, *kinds])
    sd = np.sqrt((READS * GAP_SD) ** 2 + PERSON_SD**2 + VISIT_SD**2)
    return float(shift / (sd * np.sqrt(np.linalg.inv(design.T @ design)[-1, -1]))), len(people) - design.shape[1]


def _blood(healthy: Cohort, true_r: float) -> dict[str, Check]:
    rows = {row["second"]: row for row in _rows(associations.phenotype(healthy))["associations"] if row["first"] == "pad"}
    n = rows["NFL"]["n"] - 2  # two covariates
    z, band = np.arctanh(true_r), stats.norm.ppf(0.975)
    error = np.sqrt((1 + true_r**2 / 2) / (n - 3))  # of Spearman's r after Fisher's transformation
    power = float(stats.norm.sf(band - z / error) + stats.norm.cdf(-band - z / error))
    found = {"NfL found in controls (beyond age and sex)": Check(rows["NFL"]["p_partial"] < 0.05, power)}
    return found | {f"null: {name} in controls": Check(rows[name]["p_partial"] < 0.05, 0.05) for name in NULLS}


def _site(cohort: Cohort, rows: dict[str, Sequence[dict]]) -> dict[str, Check]:
    offsets = {row["site"]: row for row in rows["site_offsets"]}
    difference = offsets["site2"]["offset"] - offsets["site1"]["offset"]
    error = float(np.hypot(offsets["site1"]["se"], offsets["site2"]["se"]))
    df = int(cohort.people(MODEL)["reference"].sum()) - 3
    return {
        "interval of the sites' difference holds the planted 2 years": Check(abs(difference - SITE) < stats.t.ppf(0.975, df) * error, 0.95),
    }


def between_sites(cohort: Cohort) -> dict[str, float]:
    """Years by which the gap of patients, on whom nothing is fitted, differs between the sites, raw and after each way."""
    cohort = harmonise.harmonised(correction.corrected(cohort)[0])[0]
    people = cohort.people(MODEL)
    patients = people[~people["reference"].astype(bool)]
    names = ("pad", "pad_site_adjusted", "pad_harmonised")
    return {name: float(patients.groupby("site")[name].mean().diff().iloc[-1]) for name in names}


def _retest(cohort: Cohort) -> dict[str, Check]:
    rows = _rows(sessions.reliability(cohort))["reliability"]
    row = next(row for row in rows if row["variable"] == "pad" and row["pairs"] != "all visits of these people")
    share = float((cohort.people(MODEL)["group"] == "patient").mean())
    gap = GAP_SD**2 + share * (1 - share) * PATIENT_GAP**2
    age = (1 - READS) ** 2 * 30**2 / 12  # ages are even over 30 years
    between = READS**2 * gap + age + PERSON_SD**2 + SITE**2 / 4
    icc = between / (between + VISIT_SD**2)
    return {f"interval of the retest's ICC(2,1) holds {icc:.3f}": Check(row["low"] <= icc <= row["high"], 0.95)}


def nfl_correlation(cohort: Cohort) -> float:
    """Partial correlation of NfL and gap in the controls of a large cohort, as the step computes it."""
    healthy = replace(cohort, table=cohort.table[cohort.table["group"] == "control"].reset_index(drop=True))
    rows = _rows(associations.phenotype(healthy))["associations"]
    return next(row["r_partial"] for row in rows if (row["first"], row["second"]) == ("pad", "NFL"))


def report(checks: dict[str, list[Check]]) -> list[str]:
    """Rows of markdown: rate, expected rate, and the band of 95 % of binomial counts around it."""
    lines = ["| check | cohorts | rate | expected | band |", "|---|---|---|---|---|"]
    for name, each in checks.items():
        n, rate, expected = len(each), np.mean([one.found for one in each]), float(np.mean([one.expected for one in each]))
        low, high = stats.binom.ppf([0.025, 0.975], n, expected) / n
        outside = "" if low <= rate <= high else " **outside**"
        lines.append(f"| {name} | {n} | {100 * rate:.1f} %{outside} | {100 * expected:.1f} % | {100 * low:.1f}–{100 * high:.1f} % |")
    return lines


def _rows(results: list[Any]) -> dict[str, Sequence[dict]]:
    return {result.name: result.rows for result in results}


if __name__ == "__main__":
    sys.exit(main())
