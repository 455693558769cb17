"""Tables of the app without images: planted errors are found again, and the readers of the app understand them."""

import json
from pathlib import Path

import numpy as np
import pytest

from brainage_bids.bids.estimates import COLUMNS, read_rows
from brainage_bids.bids.names import derivative_path, find_derivatives
from brainage_bids.bids.tables import read_tsv, read_values
from brainage_bids.phantoms.design import Design
from brainage_bids.phantoms.run import make_cohort
from brainage_bids.phantoms.scanners import KINDS
from brainage_bids.phantoms.simulated import centre, readers
from brainage_bids.phantoms.write import TABLES, TRUTH

DESIGN = Design(participants=500, sites=2, scanners_per_site=2, sessions=2, change_scanner=True, tables_only=True, seed=6, patients=50)
TEXTS = {"participant_id", "session_id", "sex", "group", "site", "scanner"}


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    out = tmp_path_factory.mktemp("tables") / "cohort"
    assert make_cohort(out, DESIGN) == 1000
    return out


@pytest.fixture(scope="module")
def truth(cohort):
    return {(row["participant_id"], row["session_id"]): row for row in read_values(cohort / TRUTH / "participants.tsv", TEXTS)}


@pytest.fixture(scope="module")
def estimates(cohort):
    """Rows of all tables of brain ages, by visit and model."""
    rows = {}
    for found in find_derivatives(cohort / TABLES, "brainage"):
        for row in read_rows(found.path):
            assert set(row) == set(COLUMNS) and row["participant_id"] == found.participant_id
            rows[found.participant_id, found.session_id, row["model"]] = row
    return rows


def test_everybody_has_a_row_a_model(truth, estimates):
    assert sum(row["motion"] > 0.5 for row in truth.values()) > 20
    assert len(truth) == 1000 and len(estimates) == 1000 * len(readers(DESIGN))
    for (person, session, _), row in estimates.items():
        assert row["age"] == truth[person, session]["age"]
        assert row["pad"] == pytest.approx(row["brain_age"] - row["age"], abs=1e-6)
        assert row["flags"] == ("motion_suspected" if truth[person, session]["motion"] > 0.5 else None)
        assert row["brain_age_low"] < row["brain_age"] < row["brain_age_high"]


@pytest.mark.parametrize("model", readers(DESIGN), ids=lambda model: model.name)
def test_regression_to_the_mean_offsets_and_noise_are_the_planted_ones(cohort, truth, estimates, model):
    visits = list(truth)
    read = np.array([estimates[(*visit, model.name)]["brain_age"] for visit in visits])
    brain_age = np.array([truth[visit]["brain_age"] for visit in visits])
    names = [truth[visit]["scanner"] for visit in visits]
    scanners = json.loads((cohort / TRUTH / "effects.json").read_text())["scanners"]
    where = np.array([[name == scanner["name"] for scanner in scanners] for name in names], dtype=float)
    design = np.column_stack([brain_age - centre(DESIGN), where])
    inverse = np.linalg.inv(design.T @ design)
    found = inverse @ design.T @ (read - centre(DESIGN))
    residual = read - centre(DESIGN) - design @ found
    errors = 1.5 * np.sqrt(np.diag(inverse)) * residual.std()  # two visits of a person err together
    planted = [model.slope, *(scanner["simulated_readings"]["brain_age_offset_years"] for scanner in scanners)]
    assert np.all(np.abs(found - planted) < 3.5 * errors)
    assert residual.std() == pytest.approx(model.sd, rel=0.08)
    first, second = (residual[[visit[1] == session for visit in visits]] for session in ("ses-1", "ses-2"))
    assert np.corrcoef(first, second)[0, 1] == pytest.approx(model.person_sd**2 / model.sd**2, abs=0.06)


def test_measured_volumes_are_the_true_ones_but_for_the_scanner(cohort, truth):
    ratios = {}
    for (person, session), row in truth.items():
        path = derivative_path(cohort / TABLES, "volumes_atlas", person, session)
        regions = {r["name"]: float(r["volume_mm3"]) for r in read_tsv(path).rows}
        measured = regions["Left-Hippocampus"] + regions["Right-Hippocampus"]
        ratios.setdefault(row["scanner"], []).append(measured / 1000 / row["hippocampus_ml"])
    assert len(ratios) == 4
    for number, scanner in enumerate(sorted(ratios)):
        assert np.mean(ratios[scanner]) == pytest.approx(KINDS[number].factor, abs=0.003)
        assert np.std(ratios[scanner]) == pytest.approx(0.01 / np.sqrt(2), rel=0.2)


def test_tissues_are_sums_of_regions(cohort):
    for found in find_derivatives(cohort / TABLES, "volumes", session_id="ses-1")[:20]:
        (row,) = read_tsv(found.path).rows
        assert float(row["brain"]) == pytest.approx(float(row["GM"]) + float(row["WM"]), abs=0.2)
        assert float(row["mask"]) < float(row["eTIV"]) * 1.05
        assert 750e3 < float(row["brain"]) < 1700e3


def test_a_column_is_described_once_for_all(cohort):
    root = Path(cohort / TABLES)
    for name, key in (("brainage.json", "brainage"), ("desc-volumes_morph.json", "volumes")):
        (table, *_) = find_derivatives(root, key)
        assert set(read_tsv(table.path).columns) <= set(json.loads((root / name).read_text()))
