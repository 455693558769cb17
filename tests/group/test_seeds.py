"""Networks of a training comparison between groups: p, rank-biserial and AUC over seeds, beside the errors."""

import numpy as np
import pytest
from scipy import stats

from brainage_bids.group import seeds
from brainage_bids.group.cohort import read_cohort
from brainage_bids.group.run import run_group
from brainage_bids.records import BadConfiguration, UnusableInput

PARTS = ("validation", "test", "test after training and validation")


def comparison(folder, study, *, n=60, people="sub-{:03d}"):
    """Three seeds; every third person is a patient (of `fill`) with 5 years more, predicted and not counted."""
    random = np.random.default_rng(3)
    rows = []
    for part in PARTS:
        for seed in (1, 2, 3):
            for number in range(n):
                patient = number % 3 == 0
                brain_age = 50 + random.normal(5 * patient, 3)
                rows.append({"participant_id": people.format(number), "age": 50.0, "model": "slices", "start": "none", "seed": seed,
                             "part": part, "counted": "no" if patient else "yes", "brain_age": round(brain_age, 4)})  # fmt: skip
    study.table(folder / "predictions.tsv", rows)
    return rows


def test_over_seeds_and_parts(finished, tmp_path):
    rows = comparison(tmp_path / "side", finished)
    cohort = read_cohort(finished.settings(comparison=(str(tmp_path / "side"),), alternative="greater"))
    (result,), (errors,) = seeds.groups(cohort), seeds.errors(cohort)
    assert [row["split"] for row in result.rows] == list(PARTS)
    for row, error in zip(result.rows, errors.rows, strict=True):
        found, maes = [], []
        for seed in (1, 2, 3):
            mine = [one for one in rows if (one["part"], one["seed"]) == (row["split"], seed)]
            gaps = {counted: [one["brain_age"] - 50 for one in mine if one["counted"] == counted] for counted in ("no", "yes")}
            found.append(stats.mannwhitneyu(gaps["no"], gaps["yes"], alternative="greater"))
            maes.append(np.mean(np.abs(gaps["yes"])))
        p, area = np.array([one.pvalue for one in found]), np.array([one.statistic / 800 for one in found])
        assert (row["first"], row["second"], row["repeats"]) == ("patient", "control", 3)
        assert (row["p_mean"], row["p_sd"]) == pytest.approx((p.mean(), p.std(ddof=1)))
        assert (row["auc_mean"], row["auc_sd"], row["rank_biserial_mean"]) == pytest.approx(
            (area.mean(), area.std(ddof=1), 2 * area.mean() - 1)
        )
        assert (row["mae"], row["mae_sd"]) == pytest.approx((np.mean(maes), np.std(maes, ddof=1)))
        assert (error["mae"], error["n"]) == (row["mae"], 40)


def test_it_is_on_the_page_of_the_run(finished, tmp_path):
    from brainage_bids.group.page import write_report

    comparison(tmp_path / "side", finished)
    outcome = run_group(read_cohort(finished.settings(comparison=(str(tmp_path / "side"),), slow_steps="skip")), tmp_path / "out")
    text = write_report(outcome, tmp_path / "out").read_text(encoding="utf-8")
    for title in ("Groups by trained networks", "Errors of trained networks", "Agreement of ensembles", "Ages of the linear fusions"):
        assert title in text
    for name in ("model_comparison_null", "fusion_predictions", "error_by_age", "ensembles_by_age"):
        assert (tmp_path / "out" / "group" / f"{name}.svg").is_file(), name


def test_bad_comparisons_are_sentences(finished, tmp_path):
    def settings(name):
        return read_cohort(finished.settings(comparison=(str(tmp_path / name),)))

    with pytest.raises(BadConfiguration, match="has no predictions.tsv"):
        seeds.errors(settings("nothing"))
    comparison(tmp_path / "strangers", finished, people="sub-x{:03d}")
    with pytest.raises(UnusableInput, match="Nobody in the predictions"):
        seeds.groups(settings("strangers"))
    finished.table(tmp_path / "old" / "predictions.tsv", [{"participant_id": "sub-000", "brain_age": 3}])
    with pytest.raises(BadConfiguration, match="lacks a column of .*part"):
        seeds.groups(settings("old"))
    assert seeds.groups(read_cohort(finished.settings())) == []
