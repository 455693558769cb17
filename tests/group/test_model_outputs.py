"""Tables and maps of models at the group level, and results that bring their place in the page."""

import json

import nibabel as nib
import numpy as np
import pytest

from brainage_bids.bids.model_files import map_path, table_path, write_model_table
from brainage_bids.bids.sink import sink_image
from brainage_bids.bids.tables import read_tsv
from brainage_bids.cli.brainage import main
from brainage_bids.group import model_outputs
from brainage_bids.group.cohort import read_cohort
from brainage_bids.group.results import Place, table, write_result
from brainage_bids.records import UnusableInput

COLUMNS = {"region": {"Description": "Name."}, "share": {"Description": "How much.", "Units": "%"}, "note": {"Description": "Words."}}


@pytest.fixture
def people(study):
    """Forty people, each with a table and a map of the model m; values grow by one a person."""
    for number in range(40):
        label = f"sub-{number:02d}"
        study.add(label, (30.0 + number, {"m": 35.0 + number + number % 3}))
    study.finish()
    for number in range(40):
        label = f"sub-{number:02d}"
        rows = [{"region": name, "share": factor * float(number), "note": "x"} for name, factor in (("a", 1.0), ("b", -1.0))]
        write_model_table(rows, COLUMNS, table_path(study.out, "m", "lrp", label, None), {"Description": "Shares."})
        data = np.zeros((4, 4, 4), np.float32)
        data[:2], data[2] = number, -number
        path = map_path(study.out, "m", "lrp", "MNI152NLin2009aSym", "2", "relevance", label, None)
        sink_image(nib.Nifti1Image(data, np.eye(4)), path, {"Units": "years", "Signed": True})
    return study


def test_numbers_are_described_over_people_and_words_are_not(people):
    (found,) = model_outputs.tables(read_cohort(people.settings()))
    rows = {row["row"]: row for row in found.rows}
    assert set(rows) == {"a", "b"} and {row["quantity"] for row in found.rows} == {"share"}
    assert (rows["a"]["mean"], rows["a"]["low"], rows["a"]["high"], rows["a"]["n"]) == (19.5, 0.0, 39.0, 40)
    assert rows["a"]["sd"] == pytest.approx(np.std(np.arange(40), ddof=1)) and rows["b"]["mean"] == -19.5 and rows["a"]["unit"] == "%"


def test_a_map_counts_where_it_is_not_zero(people):
    (found,) = model_outputs.maps(read_cohort(people.settings()))
    (row,) = found.rows
    assert (row["model"], row["key"], row["unit"], row["n"]) == ("m", "lrp", "years", 40)
    assert row["mean"] == pytest.approx(np.mean(np.arange(40) / 3)) and row["size"] == pytest.approx(19.5)


def test_what_cannot_be_read_is_told_and_the_others_count(people):
    table_path(people.out, "m", "lrp", "sub-00", None).with_suffix(".json").write_text("{")
    map_path(people.out, "m", "lrp", "MNI152NLin2009aSym", "2", "relevance", "sub-01", None).write_bytes(b"x")
    cohort = read_cohort(people.settings())
    assert model_outputs.tables(cohort)[0].rows[0]["n"] == 39 and model_outputs.maps(cohort)[0].rows[0]["n"] == 39
    assert any("sub-00_model-m_desc-lrp_stats.tsv cannot be read" in said for said in cohort.problems)


def test_without_any_the_step_says_so(study):
    for number in range(12):
        study.add(f"sub-{number:02d}", (30.0 + number, {"m": 35.0 + number}))
    study.finish()
    for step in (model_outputs.tables, model_outputs.maps):
        with pytest.raises(UnusableInput, match="The outputs hold no"):
            step(read_cohort(study.settings()))


def test_the_page_shows_what_nobody_told_it_of(people):
    assert main([str(people.raw), str(people.out), "group", "--slow-steps", "skip"]) == 0
    page = (people.out / "group.html").read_text(encoding="utf-8")
    assert "What models gave beside ages" in page and "Tables of models" in page and "m: lrp (years)" in page
    assert "described by mean and standard deviation over the first visits" in page
    assert page.index("What models gave beside ages") < page.index(">Methods<")
    assert len(read_tsv(people.out / "group" / "model_tables.tsv").rows) == 2
    assert json.loads((people.out / "group" / "model_maps.json").read_text())["Section"] == "What models gave beside ages"
    for path in people.out.rglob("*_model-m_*"):
        path.unlink()
    assert main([str(people.raw), str(people.out), "group", "--slow-steps", "skip"]) == 0
    assert not list((people.out / "group").glob("model_*s.tsv")) and not list((people.out / "group").glob("model_*s.svg"))


def test_a_result_without_a_place_or_words_is_refused(tmp_path):
    with pytest.raises(ValueError, match="has no place"):
        write_result(tmp_path, table("new", "New", "About.", [{"n": 1}]))
    with pytest.raises(ValueError, match="columns strange have no description"):
        write_result(tmp_path, table("new", "New", "About.", [{"strange": 1}], Place("Somewhere", {})))
    place = Place("Somewhere", {"strange": {"Description": "Odd."}})
    assert write_result(tmp_path, table("new", "New", "About.", [{"strange": 1}], place)).is_file()
