import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests

from brainage_bids.records import BadConfiguration, UnusableInput
from brainage_bids.stats.corrections import benjamini_hochberg, bonferroni, correct
from brainage_bids.stats.people import person_weights
from brainage_bids.stats.rows import column, labels, numbers, same_length, tidy, why_empty

ps = st.lists(st.floats(0, 1), min_size=1, max_size=30)


@given(ps)
def test_against_statsmodels(p):
    np.testing.assert_allclose(bonferroni(p), multipletests(p, method="bonferroni")[1], atol=1e-12)
    np.testing.assert_allclose(benjamini_hochberg(p), multipletests(p, method="fdr_bh")[1], atol=1e-12)


@given(ps)
def test_corrected_is_never_smaller_and_keeps_the_order(p):
    found = benjamini_hochberg(p)
    assert (found >= np.array(p) - 1e-15).all()
    assert (np.diff(found[np.argsort(p, kind="stable")]) >= -1e-15).all()
    assert (found <= bonferroni(p) + 1e-15).all()


def test_published_example():
    # Benjamini and Hochberg 1995, section 4: 15 p-values, four are found at 0.05 and three by Bonferroni
    p = [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240, 0.4262, 0.5719, 0.6528, 0.7590, 1.0]
    assert (benjamini_hochberg(p) <= 0.05).sum() == 4
    assert (bonferroni(p) <= 0.05).sum() == 3


def test_untested_rows_do_not_count():
    rows = correct([{"p": 0.01}, {"p": None}, {"p": 0.04}], "bh", family="regions")
    assert [row["p_corrected"] for row in rows] == [0.02, None, 0.04]
    assert rows[1]["correction"] == "Benjamini-Hochberg over 2 tests (regions)"
    assert correct([{"p": 0.3}], "none")[0]["p_corrected"] == 0.3


def test_refuses_what_is_no_p_and_no_correction():
    with pytest.raises(UnusableInput, match="outside 0 to 1"):
        bonferroni([1.2])
    with pytest.raises(BadConfiguration, match="no correction 'holm'"):
        correct([{"p": 0.1}], "holm")


def test_rows_hold_plain_values_and_say_what_is_missing():
    row = tidy("mean", np.int64(3), "none", r=np.float64(0.5), p=float("inf"), count=np.int64(2))
    assert row == {"r": 0.5, "p": None, "count": 2, "n": 3, "method": "mean", "assumptions": "none", "correction": "none",
                   "note": "p is not defined for these values."}  # fmt: skip
    assert type(row["r"]) is float
    assert type(row["count"]) is int
    assert tidy("mean", 0, "none", note="Nobody.", r=float("nan"))["note"] == "Nobody."


def test_columns():
    np.testing.assert_array_equal(numbers([1, None, math.inf, "2"]), [1, math.nan, math.nan, 2])
    frame = pd.DataFrame({"x": pd.array([1, None], dtype="Int64"), "y": pd.array(["a", None], dtype="string")})
    np.testing.assert_array_equal(numbers(frame["x"]), [1, math.nan])
    assert labels(frame["y"]).tolist() == ["a", None]
    assert labels(["a ", None, math.nan, 2.0, ""]).tolist() == ["a", None, None, "2", None]
    assert why_empty(np.array([math.nan]), "age", 3) == "The column 'age' has no value."
    assert why_empty(np.array([1.0, 2.0]), "age", 3) == "The column 'age' has 2 value(s); 3 are needed."
    assert why_empty(np.array([1.0, 2.0]), "age", 2) == ""
    with pytest.raises(UnusableInput, match="no column 'sex'; the columns are age"):
        column({"age": [1]}, "sex")
    with pytest.raises(UnusableInput, match="a 1, b 2"):
        same_length(a=[1], b=[1, 2])


def test_a_draw_takes_people_with_all_their_rows():
    names = ["a", "a", "b", "c", "c", "c"]
    draws = np.concatenate(list(person_weights(names, 500, seed=1)))
    assert draws.shape == (500, 6)
    assert (draws[:, 0] == draws[:, 1]).all()
    assert (draws[:, 3] == draws[:, 5]).all()
    assert (draws[:, [0, 2, 3]].sum(axis=1) == 3).all()
    np.testing.assert_allclose(draws.mean(axis=0), 1.0, atol=0.12)


def test_draws_come_in_blocks(monkeypatch):
    whole = np.concatenate(list(person_weights("abcdef", 50, seed=3)))
    monkeypatch.setattr("brainage_bids.stats.people._DRAWS_AT_ONCE", 60)
    np.testing.assert_array_equal(np.concatenate(list(person_weights("abcdef", 50, seed=3))), whole)
