import os
from pathlib import Path

import numpy as np
import pandas as pd
import pingouin
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from brainage_bids.records import UnusableInput
from brainage_bids.stats.change import change_per_year
from brainage_bids.stats.reliability import agreement_row, bland_altman, intraclass_correlation, within_person_row

SHROUT_FLEISS = np.array([[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]], dtype=float)


def oracle(values):
    n, k = values.shape
    frame = pd.DataFrame({"who": np.repeat(np.arange(n), k), "when": np.tile(np.arange(k), n), "value": values.ravel()})
    table = pingouin.intraclass_corr(frame, targets="who", raters="when", ratings="value")
    return table.set_index("Type")


def test_published_table():
    found = intraclass_correlation(SHROUT_FLEISS)
    assert float(found.icc) == pytest.approx(0.29, abs=0.005)
    assert float(found.consistency) == pytest.approx(0.715, abs=0.0005)
    # McGraw and Wong's interval of ICC(A,1), as psych::ICC prints it: 0.02 to 0.76
    assert (float(found.low), float(found.high)) == pytest.approx((0.02, 0.76), abs=0.005)


@pytest.mark.parametrize("seed", range(4))
def test_against_pingouin(seed):
    generator = np.random.default_rng(seed)
    values = generator.normal(0, 3, (14, 1)) + generator.normal(0, 1, (1, 3)) + generator.normal(0, 2, (14, 3))
    found, table = intraclass_correlation(values), oracle(values)
    assert float(found.icc) == pytest.approx(table.loc["ICC(A,1)", "ICC"], abs=1e-9)
    assert float(found.consistency) == pytest.approx(table.loc["ICC(C,1)", "ICC"], abs=1e-9)
    low, high = table.loc["ICC(A,1)", "CI95"]
    assert (float(found.low), float(found.high)) == pytest.approx((low, high), abs=0.0051)


def test_columns_at_once_are_columns_one_by_one():
    generator = np.random.default_rng(3)
    maps = generator.normal(size=(9, 2, 4, 5)) + generator.normal(size=(9, 1, 4, 5))
    maps[:, :, 0, 0] = 7.0
    maps[2, 1, 0, 1] = np.nan
    found = intraclass_correlation(maps)
    for place in np.ndindex(4, 5):
        one = intraclass_correlation(maps[:, :, place[0], place[1]])
        for name in ("icc", "low", "high", "consistency"):
            assert getattr(found, name)[place] == pytest.approx(float(getattr(one, name)), nan_ok=True)
    assert np.isnan(found.icc[0, :2]).all()
    assert np.isfinite(found.icc[1:]).all()
    assert (found.icc < 0).any()  # negative values are kept


@settings(max_examples=30)
@given(st.floats(0.5, 20), st.floats(-100, 100), st.integers(0, 50))
def test_agreement_ignores_unit_and_origin_but_not_a_shift_of_one_session(scale, origin, seed):
    values = np.random.default_rng(seed).normal(size=(10, 2)) + np.random.default_rng(seed + 1).normal(0, 2, (10, 1))
    plain, moved = intraclass_correlation(values), intraclass_correlation(scale * values + origin)
    assert float(moved.icc) == pytest.approx(float(plain.icc), abs=1e-6)
    shifted = intraclass_correlation(values + [0, 50])
    assert float(shifted.consistency) == pytest.approx(float(plain.consistency), abs=1e-6)
    assert abs(float(shifted.icc)) < 0.1


def test_same_values_twice_agree_fully():
    values = np.random.default_rng(0).normal(size=(8, 1)).repeat(2, axis=1)
    found = intraclass_correlation(values)
    assert (float(found.icc), float(found.low), float(found.high)) == (pytest.approx(1.0), 1.0, 1.0)


def test_row_of_agreement():
    row = agreement_row([*SHROUT_FLEISS.tolist(), [1, 2, None, 4]], variable="rating")
    assert (row["n"], row["note"]) == (6, "1 people lack a session and are left out.")
    assert row["icc"] == pytest.approx(0.2898, abs=1e-4)
    assert row["sd_within"] == pytest.approx(np.sqrt(SHROUT_FLEISS.var(axis=1, ddof=1).mean()))
    assert row["smallest_change"] == pytest.approx(1.96 * np.sqrt(2) * row["sd_within"], rel=1e-4)


def test_spread_within_people_of_unequal_visits():
    values, people = [1.0, 3.0, 10.0, 12.0, 14.0, 30.0], list("aabbbc")
    row = within_person_row(values, people, n_resamples=50)
    within = (2 + 8) / 3  # by hand: sums of squares 2 and 8, three degrees of freedom
    mean = 70 / 6
    between = (2 * (2 - mean) ** 2 + 3 * (12 - mean) ** 2 + (30 - mean) ** 2) / 2
    visits = (6 - (4 + 9 + 1) / 6) / 2
    assert row["sd_within"] == pytest.approx(np.sqrt(within))
    assert row["sd_within_people"] == pytest.approx(np.sqrt((2 + 4) / 2))
    assert row["sd_between"] == pytest.approx(np.sqrt((between - within) / visits))
    assert row["icc"] == pytest.approx((between - within) / (between + (visits - 1) * within))
    assert (row["participants"], row["repeated"], row["n"]) == (3, 2, 6)


def test_one_way_agrees_with_pingouin_when_visits_are_equal():
    row = within_person_row(SHROUT_FLEISS.ravel(), np.repeat(list("abcdef"), 4), n_resamples=10)
    single = oracle(SHROUT_FLEISS)
    assert row["icc"] == pytest.approx(single.loc["ICC(1,1)", "ICC"], abs=1e-9)
    assert row["icc"] == pytest.approx(0.17, abs=0.005)  # Shrout and Fleiss, ICC(1,1)


def test_bland_altman_by_hand():
    row = bland_altman([10.0, 12.0, 15.0, None], [9.0, 12.0, 11.0, 3.0])
    sd = np.std([1, 0, 4], ddof=1)
    assert (row["n"], row["difference"], row["sd"]) == (3, pytest.approx(5 / 3), pytest.approx(sd))
    assert row["limit_high"] == pytest.approx(5 / 3 + 1.959964 * sd)
    low, high = stats.t.interval(0.95, 2, 5 / 3, sd / np.sqrt(3))
    assert (row["low"], row["high"]) == pytest.approx((low, high))
    assert row["slope"] == pytest.approx(stats.linregress([9.5, 12, 13], [1, 0, 4]).slope)


def test_change_by_hand_and_by_scipy():
    generator = np.random.default_rng(2)
    people, years = np.repeat([f"p{i:02d}" for i in range(30)], 3), generator.uniform(50, 60, 90)
    values = 0.5 * years + np.repeat(generator.normal(0, 9, 30), 3) + generator.normal(0, 0.5, 90)
    rows = change_per_year(values, years, people)
    slopes = [stats.linregress(years[people == name], values[people == name]).slope for name in np.unique(people)]
    assert [row["change"] for row in rows[1:]] == pytest.approx(slopes)
    expected = stats.ttest_1samp(slopes, 0)
    assert (rows[0]["change"], rows[0]["t"], rows[0]["p"]) == pytest.approx((np.mean(slopes), expected.statistic, expected.pvalue))
    assert (rows[0]["low"], rows[0]["high"]) == pytest.approx(tuple(expected.confidence_interval()))


def test_empty_rows_say_why():
    assert "two of each" in agreement_row([[1.0, 2.0]])["note"]
    assert "constant" in agreement_row([[1.0, 1.0], [1.0, 1.0]])["note"]
    assert "two of each" in agreement_row([])["note"]
    assert "0 of them with repeated" in within_person_row([1.0, 2.0], ["a", "b"])["note"]
    assert "constant" in within_person_row([1.0, 1.0, 1.0], ["a", "a", "b"])["note"]
    assert "three are needed" in bland_altman([1.0], [2.0])["note"]
    rows = change_per_year([1.0, 2.0, 3.0], [50, None, 50], ["a", "a", "b"])
    assert "0 people" in rows[0]["note"]
    assert "1 row(s) lack a date" in rows[1]["note"]
    same_day = change_per_year([1.0, 2.0], [50, 50], ["a", "a"])
    assert "over 0 years" in same_day[1]["note"]
    with pytest.raises(UnusableInput, match="two people and two sessions"):
        intraclass_correlation(np.ones((1, 2)))
    with pytest.raises(UnusableInput, match="cell for each session"):
        agreement_row([[1.0, 2.0], [1.0]])


REAL = (
    Path(os.environ.get("BRAINAGE_TEST_DATA", Path(__file__).resolve().parents[2] / ".." / "shared" / "data"))
    / "tables"
    / "brain_volumes.tsv"
)


@pytest.mark.real
@pytest.mark.skipif(not REAL.is_file(), reason=f"the table of 808 scans is not at {REAL}; set BRAINAGE_TEST_DATA")
def test_real_visits():
    table = pd.read_csv(REAL, sep="\t")
    for name, within in {"gm_vol": 18, "wm_vol": 22, "csf_vol": 30}.items():  # mL, as known of these data
        row = within_person_row(1000 * table[name], table["participant_id"], variable=name, n_resamples=200)
        assert (row["n"], row["participants"], row["repeated"]) == (808, 310, 283)
        assert row["sd_within_people"] == pytest.approx(within, abs=0.5)
        assert row["sd_within"] <= row["sd_within_people"]  # who strays most has two visits only
        assert row["icc"] > 0.9
