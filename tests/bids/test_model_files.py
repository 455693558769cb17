import pytest

from brainage_bids.bids.model_files import find_model_files, map_path, read_model_table, table_path, write_model_table

COLUMNS = {
    "structure": {"Description": "Its name."},
    "side": {"Description": "L or R."},
    "years": {"Description": "What it adds.", "Units": "years"},
}
ROWS = [{"structure": "thalamus", "side": "L", "years": -0.5}, {"structure": "1", "side": None, "years": None}]


def test_a_table_and_back(tmp_path):
    path = write_model_table(ROWS, COLUMNS, table_path(tmp_path, "toy", "structures", "sub-01", "ses-1"), {"Description": "About it."})
    assert path.name == "sub-01_ses-1_model-toy_desc-structures_stats.tsv"
    found = read_model_table(path)
    assert (found.model, found.key, found.columns, found.description) == ("toy", "structures", COLUMNS, "About it.")
    assert list(found.rows) == ROWS
    assert list(found.numbers()) == [("thalamus", "years", -0.5)]


@pytest.mark.parametrize("rows", [[], [{"structure": "a", "years": 1.0}], [{**ROWS[0], "more": 1}]])
def test_other_columns_are_not_written(tmp_path, rows):
    with pytest.raises(ValueError, match=r"other columns than structure, side, years"):
        write_model_table(rows, COLUMNS, table_path(tmp_path, "toy", "structures", "sub-01", None), {})


def test_a_table_without_its_json_is_refused(tmp_path):
    path = write_model_table(ROWS, COLUMNS, table_path(tmp_path, "toy", "structures", "sub-01", None), {})
    path.with_suffix(".json").unlink()
    with pytest.raises(ValueError, match="does not describe the columns"):
        read_model_table(path)


def test_a_cell_that_is_no_number(tmp_path):
    path = write_model_table(ROWS, COLUMNS, table_path(tmp_path, "toy", "structures", "sub-01", None), {})
    path.write_text(path.read_text().replace("-0.5", "many"))
    with pytest.raises(ValueError, match="many"):
        read_model_table(path)


def test_maps_and_tables_of_any_model_are_found(tmp_path):
    paths = [
        table_path(tmp_path, "a", "structures", "sub-01", "ses-1"),
        map_path(tmp_path, "b", "lrp", "MNI152NLin2009aSym", "1p5", "relevance", "sub-01", "ses-1"),
        map_path(tmp_path, "b", "lrp", "T1w", "", "relevance", "sub-01", "ses-1"),
    ]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert paths[1].name == "sub-01_ses-1_space-MNI152NLin2009aSym_res-1p5_model-b_desc-lrp_relevance.nii.gz"
    assert paths[2].name == "sub-01_ses-1_space-T1w_model-b_desc-lrp_relevance.nii.gz"
    assert {(found.entities["model"], found.entities["desc"]) for found in find_model_files(tmp_path, "sub-01")} == {
        ("a", "structures"), ("b", "lrp"),
    }  # fmt: skip
    assert len(find_model_files(tmp_path)) == 3 and not find_model_files(tmp_path, "sub-02")
