"""Simulated blood against the norms, and its planted effects found again."""

import csv
import os
from pathlib import Path

import numpy as np
import pytest

from brainage_bids.phantoms import blood
from brainage_bids.phantoms.cohort import Cohort
from brainage_bids.phantoms.design import Design

NHANES = {
    "GLU": "Fasting Glucose (mmol/L)", "TG": "Triglyceride (mmol/L)", "TC": "Total Cholesterol (mmol/L)",
    "ApoB": "Apolipoprotein (B) (g/L)", "HCY": "Homocysteine (umol/L)", "NFL": "Serum neurofilament light chain (pg/ml)",
}  # fmt: skip
MARKERS = {marker.name: marker for marker in blood.MARKERS}


def drawn(n, age, **other):
    """Values of many people of one age, None left out, by parameter."""
    rng = np.random.default_rng(5)
    who = {"sex": "F", "e4": 0, "gap": 0.0, "patient": False, "diabetes": False, "missing": 0.0} | other
    rows = [blood.draw_blood(rng, [age], **(who | {"sex": "FM"[k % 2]}))[0] for k in range(n)]
    return {name: np.array([row[name] for row in rows], dtype=float) for name in blood.COLUMNS}


@pytest.mark.parametrize(
    ("name", "age", "norm"),
    [("NFL", 22, 7.6), ("NFL", 42, 9.9), ("NFL", 62, 15.6), ("NFL", 72, 23.0), ("HCY", 22, 7.0), ("HCY", 52, 8.3), ("HCY", 72, 9.5),
     ("ApoB", 22, 0.79), ("ApoB", 52, 1.04), ("ApoB", 87, 0.91)],
)  # fmt: skip
def test_medians_are_the_published_ones(name, age, norm):
    assert np.median(drawn(1500, age)[name]) == pytest.approx(norm, rel=0.09)


@pytest.fixture(scope="module")
def nhanes():
    path = Path(os.environ.get("BRAINAGE_TEST_DATA", Path(__file__).parents[3] / "shared" / "data")) / "tables" / "nhanes_blood_by_age.tsv"
    if not path.exists():
        pytest.skip(f"the norms {path} are not there (BRAINAGE_TEST_DATA)")
    with path.open(encoding="utf-8") as lines:
        return list(csv.DictReader(lines, delimiter="\t"))


@pytest.mark.parametrize("age", [27.5, 47.5, 62.5, 72.5])
def test_median_and_spread_of_each_age_are_those_of_nhanes(nhanes, age):
    rng, rows = np.random.default_rng(2), []
    for number in range(3000):  # the mixture of a population
        who = {"sex": "FM"[number % 2], "e4": int(rng.binomial(2, 0.14)), "gap": rng.normal(0, 4), "diabetes": rng.random() < 0.12}
        rows += blood.draw_blood(rng, [age], patient=False, missing=0.0, **who)
    for name, marker in NHANES.items():
        (norm,) = [row for row in nhanes if row["marker"] == marker and float(row["age_mid"]) == age]
        values = np.array([row[name] for row in rows])
        assert np.median(values) == pytest.approx(float(norm["median"]), rel=0.10), name
        low, high = np.quantile(values, (0.1, 0.9))
        assert low == pytest.approx(float(norm["p10"]), rel=0.2) and high == pytest.approx(float(norm["p90"]), rel=0.2), name


def test_planted_effects_are_found_again():
    people = list(Cohort(Design(participants=6000, patients=1500, missing=0.0, seed=8)))
    first = [person.first for person in people]
    design = np.column_stack(
        [
            np.ones(len(people)),
            [0.5 if visit.sex == "M" else -0.5 for visit in first],
            [person.e4 for person in people],
            [visit.gap for visit in first],
            [visit.group == "patient" for visit in first],
            [person.risks["diabetes"] for person in people],
        ]
    ).astype(float)
    inverse = np.linalg.inv(design.T @ design)
    for marker in blood.MARKERS:
        values = np.array([person.blood[0][marker.name] for person in people]) / [blood.median(marker, visit.age) for visit in first]
        target = values if marker.normal else np.log(values)
        found = inverse @ design.T @ target
        residual = target - design @ found
        errors = np.sqrt(np.diag(inverse)) * residual.std()
        planted = np.array([marker.male, marker.e4, marker.gap, marker.patient, marker.diabetes])
        assert np.all(np.abs(found[1:] - planted) < 3.5 * errors[1:]), (marker.name, found[1:], planted)


def test_residuals_are_correlated_as_planted():
    values = drawn(4000, 60)
    logs = {name: values[name] if MARKERS[name].normal else np.log(values[name]) for name in MARKERS}
    for (one, other), planted in blood.RESIDUALS.items():
        both = [logs[name] - 0.5 * MARKERS[name].male * np.where(np.arange(4000) % 2, 1, -1) for name in (one, other)]
        assert np.corrcoef(*both)[0, 1] == pytest.approx(planted, abs=0.06), (one, other)


def test_directions_of_ren():
    young, old = drawn(800, 52), drawn(800, 80)
    for name in ("ApoA1", "NFL", "Abeta40", "HCY", "GLU"):
        assert np.median(old[name]) > np.median(young[name])
    assert np.median(old["VLDLR"]) < np.median(young["VLDLR"])
    assert np.median(old["Abeta42"] / old["Abeta40"]) < np.median(young["Abeta42"] / young["Abeta40"])


def test_the_stated_share_is_missing():
    rows = [row for person in Cohort(Design(participants=3000, missing=0.1)) for row in person.blood]
    none = [row for row in rows if all(value is None for value in row.values())]
    assert len(none) / len(rows) == pytest.approx(blood.NO_SAMPLE, abs=0.01)
    cells = [row[name] is None for row in rows if row not in none for name in MARKERS]
    assert np.mean(cells) == pytest.approx(0.1, abs=0.01)
    assert not any(value is None for person in Cohort(Design(participants=300, missing=0.0)) for value in person.blood[0].values())


def test_most_of_a_value_stays_with_the_person():
    people = list(Cohort(Design(participants=1500, sessions=2, missing=0.0)))
    first, second = (np.log([person.blood[k]["TIMP1"] for person in people]) for k in (0, 1))
    assert 0.85 < np.corrcoef(first, second)[0, 1] < 0.97


def test_the_fourteen():
    assert len(blood.COLUMNS) == 14 and set(blood.columns()) == set(blood.COLUMNS)
