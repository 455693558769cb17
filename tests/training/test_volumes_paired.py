import pytest

from brainage_bids.bids.names import derivative_path
from brainage_bids.models.volumes import STRUCTURES
from brainage_bids.records import BadConfiguration
from brainage_bids.training.volumes_paired import read_paired
from brainage_bids.training.volumes_table import read_volume_table


def write_outputs(root, person, volumes, session=None):
    path = derivative_path(root, "volumes_atlas", person, session)
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [f"{part}\t{volumes[item.name] / len(item.parts)}" for item in STRUCTURES for part in item.parts]
    path.write_text("name\tvolume_mm3\n" + "\n".join(rows) + "\n")
    derivative_path(root, "volumes", person, session).write_text("GM\tWM\tCSF\tbrain\n1\t1\t1\t2\n")


def test_people_of_both_are_paired(volume_files, tmp_path):
    table = read_volume_table(volume_files[0])
    theirs = dict(zip(table.participants, table.volumes, strict=True))
    write_outputs(tmp_path, "sub-010", {name: 1.25 * value for name, value in theirs["sub-010"].items()})
    write_outputs(tmp_path, "sub-elsewhere", theirs["sub-011"])
    found = read_paired(tmp_path, volume_files[0])
    assert set(found) == {"sub-010"}
    for ours, other in found["sub-010"].values():
        assert ours / other == pytest.approx(1.25)


def test_nobody_in_both(volume_files, tmp_path):
    with pytest.raises(BadConfiguration, match="nothing can be compared"):
        read_paired(tmp_path, volume_files[0])
