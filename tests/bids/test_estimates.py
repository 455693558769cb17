import json

import pytest

from brainage_bids.bids.estimates import COLUMNS, estimate_rows, read_rows
from brainage_bids.bids.sink import sink_table
from brainage_bids.records import AgeEstimate, Session

WANTED = (
    "participant_id session_id model modality brain_age brain_age_sd sd_within sd_between brain_age_low brain_age_high "
    "interval_level interval_method age pad brain_age_corrected pad_corrected bias_method flags model_sha256"
)


def estimate(**changes):
    ages = {"brain_age": 41.23456, "sd": 6.5, "sd_within": None, "sd_between": None, "low": 28.5, "high": 54.0}
    about = {"model": "gpr36", "modality": "T1w", "interval_level": 0.95, "interval_method": "gaussian", "model_sha256": "1" * 64}
    return AgeEstimate(**{**ages, **about, "flags": ("poor_snr", "poor_contrast"), **changes})


def test_columns_and_values():
    row = estimate_rows(Session("sub-01", "ses-1", {}, age=38.0), [estimate()])[0]
    assert list(row) == WANTED.split()
    assert (row["brain_age"], row["age"], row["pad"]) == (41.235, 38.0, 3.235)
    assert row["flags"] == "poor_snr;poor_contrast"
    assert (row["session_id"], row["sd_within"], row["pad_corrected"], row["bias_method"]) == ("ses-1", None, None, None)


def test_gap_without_an_age():
    row = estimate_rows(Session("sub-01", None, {}), [estimate(flags=())])[0]
    assert (row["brain_age"], row["age"], row["pad"], row["flags"], row["session_id"]) == (41.235, None, None, None, None)


@pytest.mark.parametrize("session", [Session("sub-01", None, {}), Session("sub-2", "ses-01", {}, age=89.5)])
def test_written_and_read(tmp_path, session):
    rows = estimate_rows(session, [estimate(), estimate(model="other", sd=None, low=None, high=None, interval_method=None, flags=())])
    path = tmp_path / "sub-01_brainage.tsv"
    sink_table(rows, path, COLUMNS)
    assert read_rows(path) == rows
    assert path.read_text().splitlines()[0].split("\t") == WANTED.split()
    described = json.loads(path.with_suffix(".json").read_text())
    assert described["pad"]["Formula"] == "brain_age - age"
    assert all("Description" in described[name] for name in WANTED.split())
    assert "poor_snr" in described["flags"]["Levels"]


def test_a_model_called_like_a_number_stays_text(tmp_path):
    rows = estimate_rows(Session("sub-01", None, {}, age=30.0), [estimate(model="36")])
    sink_table(rows, tmp_path / "t.tsv", COLUMNS)
    assert read_rows(tmp_path / "t.tsv")[0]["model"] == "36"


def test_a_cell_that_is_no_number(tmp_path):
    sink_table(estimate_rows(Session("sub-01", None, {}), [estimate()]), tmp_path / "t.tsv", COLUMNS)
    (tmp_path / "t.tsv").write_text((tmp_path / "t.tsv").read_text().replace("41.235", "old"))
    with pytest.raises(ValueError, match="old"):
        read_rows(tmp_path / "t.tsv")
