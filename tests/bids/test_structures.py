import json

import pytest

from brainage_bids.bids.names import derivative_path, find_derivatives
from brainage_bids.bids.sink import sink_table
from brainage_bids.bids.structures import COLUMNS, read_structure_rows, structure_rows

WANTED = "structure label volume_mm3 mapped_mm3 share_percent norm_p5 norm_p50 norm_p95 contribution_years".split()
READING = dict(zip(WANTED, ["thalamus", "thalamus", 13000.06, 15600.01, 1.456789, 1.3, 1.5, 1.7, -0.12345], strict=True))
BRAIN = {
    **dict.fromkeys(WANTED),
    "structure": "brain",
    "label": "brain size",
    "volume_mm3": 1e6,
    "mapped_mm3": 1.1e6,
    "contribution_years": 2.0,
}


def test_written_and_read(tmp_path):
    rows = structure_rows([READING, BRAIN])
    path = derivative_path(tmp_path, "model_table", "sub-01", "ses-1", model="volumes", desc="structures")
    assert path.name == "sub-01_ses-1_model-volumes_desc-structures_stats.tsv"
    sink_table(rows, path, COLUMNS)
    assert read_structure_rows(path) == rows
    assert rows[0]["contribution_years"] == -0.123
    assert path.read_text().splitlines()[0].split("\t") == WANTED
    described = json.loads(path.with_suffix(".json").read_text())
    assert all("Description" in described[name] for name in WANTED)
    assert all("Units" in described[name] for name in WANTED[2:])
    found = find_derivatives(tmp_path, "model_table", "sub-01")
    assert [(item.session_id, item.entities["model"]) for item in found] == [("ses-1", "volumes")]
    assert find_derivatives(tmp_path, "brainage") == []


def test_a_cell_that_is_no_number(tmp_path):
    sink_table(structure_rows([READING]), tmp_path / "t.tsv", COLUMNS)
    (tmp_path / "t.tsv").write_text((tmp_path / "t.tsv").read_text().replace("1.5\t", "much\t"))
    with pytest.raises(ValueError, match="much"):
        read_structure_rows(tmp_path / "t.tsv")
