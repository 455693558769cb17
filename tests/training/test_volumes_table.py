import numpy as np
import pytest

from brainage_bids.models.volumes import STRUCTURES
from brainage_bids.records import BadConfiguration, BadDataset
from brainage_bids.training.volumes_table import COLUMNS, read_volume_table


def rewrite(volume_files, tmp_path, change):
    lines = [line.split("\t") for line in volume_files[0].read_text().splitlines()]
    path = tmp_path / "people.tsv"
    path.write_text("\n".join("\t".join(cells) for cells in change(lines)) + "\n")
    return path


def test_every_structure_has_columns():
    assert list(COLUMNS) == [structure.name for structure in STRUCTURES]


def test_what_cannot_be_used_is_said(volume_files):
    table = read_volume_table(volume_files[0], leave_out=["sub-010"])
    assert dict(table.left_out) == {
        "sub-010": "kept for judging",
        "sub-006": "a volume is missing or zero",
        "sub-005": "implausible: cortex",
    }
    assert len(table.participants) == len(table.ages) == len(table.volumes) == 117
    assert "sub-010" not in table.participants
    assert table.counts(table.sites) == {"a": 39, "b": 39, "c": 39}


def test_shares_and_size(volume_files):
    table = read_volume_table(volume_files[0])
    features = table.features(STRUCTURES)
    assert features.shape == (118, 17)
    inside = [column for column, structure in enumerate(STRUCTURES) if structure.in_brain]
    np.testing.assert_allclose(np.exp(features[:, inside]).sum(axis=1), 1)


def test_twice_the_same_person(volume_files, tmp_path):
    path = rewrite(volume_files, tmp_path, lambda lines: [*lines, lines[1]])
    table = read_volume_table(path)
    assert [reason for person, reason in table.left_out if person == "sub-000"] == ["the same identifier twice"] * 2


def test_ages_that_are_not_there(volume_files, tmp_path):
    path = rewrite(volume_files, tmp_path, lambda lines: [lines[0], [lines[1][0], "n/a", *lines[1][2:]], *lines[2:]])
    assert ("sub-000", "no age") in read_volume_table(path).left_out


def test_tables_that_cannot_be_used(volume_files, tmp_path):
    with pytest.raises(BadConfiguration, match="lacks lhCortexVol_mm3"):
        read_volume_table(rewrite(volume_files, tmp_path, lambda lines: [[cell.replace("lhC", "C") for cell in lines[0]], *lines[1:]]))
    with pytest.raises(BadConfiguration, match="cannot be left out: sub-999"):
        read_volume_table(volume_files[0], leave_out=["sub-999"])
    with pytest.raises(BadDataset, match="20 are the least"):
        read_volume_table(rewrite(volume_files, tmp_path, lambda lines: lines[:12]))
