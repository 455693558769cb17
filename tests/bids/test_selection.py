import itertools
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from brainage_bids.bids.selection import choose, voxel_volume


@pytest.mark.parametrize(
    ("files", "chosen", "reason"),
    [
        ({"": 1.0}, "", "only T1w"),
        ({"run-1_": 1.0, "run-2_": 1.0}, "run-2_", "last run of 2 T1w"),
        ({"run-2_": 1.0, "run-10_": 1.0}, "run-10_", "last run of 2 T1w"),
        ({"run-1_": 0.8, "run-2_": 1.0}, "run-1_", "highest resolution of 2 T1w"),
        ({"rec-norm_": 1.2, "": 0.8}, "rec-norm_", "normalised reconstruction of 2 T1w"),
        ({"ce-gd_rec-norm_": 0.5, "": 1.0}, "", "no contrast agent of 2 T1w"),
        ({"acq-b_": 1.0, "acq-a_": 1.0}, "acq-a_", "first name of 2 T1w"),
        ({"acq-a_": None, "ce-gd_": 3.0}, "ce-gd_", "readable header of 2 T1w"),
        ({"run-1_": None, "run-2_": None}, "run-2_", "last run of 2 T1w; the file is empty"),
        ({"run-1_": 1.0, "run-2_": 1.0, "run-3_": 1.0}, "run-3_", "last run of 3 T1w"),
    ],
)
def test_the_rule_and_its_reason(make_dataset, files, chosen, reason):
    root = make_dataset({f"sub-1_{entities}T1w.nii.gz": zoom for entities, zoom in files.items()})
    paths = [root / f"sub-1_{entities}T1w.nii.gz" for entities in files]
    for order in itertools.permutations(paths):
        choice = choose(order, "T1w")
        assert (choice.path.name, choice.reason) == (f"sub-1_{chosen}T1w.nii.gz", reason)
        assert sorted([choice.path, *choice.others]) == sorted(paths)


def test_links_that_lead_nowhere_are_told(tmp_path):
    link = tmp_path / "sub-1_T1w.nii.gz"
    link.symlink_to(tmp_path / "annex" / "missing")
    assert "datalad get" in choose([link], "T1w").reason
    with pytest.raises(ValueError, match="no image"):
        choose([], "T1w")


@pytest.mark.parametrize("content", [b"", b"x", b"\x1f\x8b", b"\0" * 348, b"\xff" * 1000])
@pytest.mark.parametrize("extension", [".nii", ".nii.gz"])
def test_headers_that_cannot_be_read_have_no_volume(tmp_path, content, extension):
    path = tmp_path / f"x{extension}"
    path.write_bytes(content)
    assert voxel_volume(path) is None


@pytest.mark.parametrize("zooms", [(1.0, np.nan, 1.0), (1.0, np.inf, 1.0)])
def test_voxels_that_make_no_sense_have_no_volume(tmp_path, zooms):
    image = nib.Nifti1Image(np.zeros((2, 2, 2), np.uint8), None)
    image.header["pixdim"][1:4] = zooms
    nib.save(image, tmp_path / "x.nii")
    assert voxel_volume(tmp_path / "x.nii") is None


def test_the_volume_of_a_voxel(make_dataset):
    path: Path = make_dataset({"x.nii.gz": 1.5}) / "x.nii.gz"
    assert voxel_volume(path) == pytest.approx(3.375)
