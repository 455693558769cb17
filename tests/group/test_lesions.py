"""Lesion load from a column of the phenotype, or from labels of the outputs; volumes only."""

import math

import numpy as np
import pytest

from brainage_bids.group import associations, lesions
from brainage_bids.group.cohort import read_cohort
from brainage_bids.group.run import run_group
from brainage_bids.records import BadConfiguration

WHITE = {"Left-Cerebral-White-Matter": 200000.0, "Right-Cerebral-White-Matter": 300000.0}


def people(study, n=60, *, volumes=WHITE, column="lesions_ml", of=lambda gap: 10 + gap):
    random = np.random.default_rng(5)
    rows = []
    for number in range(n):
        age, gap = float(random.uniform(60, 68)), float(random.normal(0, 2))
        extra = {"WM-hypointensities": 1000 * of(gap)} if column is None else {}
        study.add(f"sub-{number:02d}", (age, {"m": age + gap}), volumes={**volumes, **extra} if volumes else None)
        rows.append({"participant_id": f"sub-{number:02d}", "standing_lesions": round(gap, 3), **({column: of(gap)} if column else {})})
    return study.finish(lesions=rows)


@pytest.mark.parametrize("column", ("lesions_ml", "WMH_mm3", None))
def test_the_load_is_the_logarithm_of_a_share_and_is_associated(study, column):
    factor = 1000 if column == "WMH_mm3" else 1
    people(study, column=column, of=lambda gap: factor * (10 + gap))
    cohort = lesions.with_load(read_cohort(study.settings()))
    row = cohort.people("m").iloc[3]
    measured = float(row["pad"]) + 10
    assert row["lesion_load"] == pytest.approx(math.log(measured * 1000 / 500000), abs=0.02)
    rows = {row["second"]: row for row in associations.phenotype(cohort)[0].rows if row["first"] == "pad"}
    assert rows["lesion_load"]["r_partial"] > 0.95 and "lesion_load" in cohort.phenotype


def test_it_reaches_the_tables_and_the_windows(study):
    people(study)
    outcome = run_group(read_cohort(study.settings()), study.out)
    header, first = (study.out / "group_brainage.tsv").read_text().splitlines()[:2]
    assert "lesion_load" in header.split("\t") and first
    assert {row["variable"] for row in outcome.report.rows("age_windows")} >= {"lesion_load"}


def test_nothing_is_made_up(study, study_at, tmp_path):
    people(study, column="n_lesions")  # a count is no volume
    assert "lesion_load" not in lesions.with_load(read_cohort(study.settings())).table
    chosen = lesions.with_load(read_cohort(study.settings(lesion_column="n_lesions")))
    assert chosen.table["lesion_load"].notna().all()
    with pytest.raises(BadConfiguration, match="no column 'nope' of numbers for --lesion-column"):
        lesions.with_load(read_cohort(study.settings(lesion_column="nope")))
    without = people(study_at(tmp_path / "other"), volumes={"Brain-Stem": 20000.0})
    outcome = run_group(read_cohort(without.settings()), without.out)
    assert any("no volume of white matter" in said for _, said in outcome.report.problems)
