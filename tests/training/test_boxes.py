"""Brains in a box (H1's type i) and FLAIRs, from files to an age, or to a row without one."""

from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest

from brainage_bids.bids.names import derivative_path
from brainage_bids.cli.train import main
from brainage_bids.imaging.packing import TOP, pack
from brainage_bids.models.contract import check_image
from brainage_bids.models.inputs import INPUTS
from brainage_bids.models.registry import open_model
from brainage_bids.models.selftest import run_self_test
from brainage_bids.records import BadConfiguration, UnusableInput, Withheld
from brainage_bids.training.images import find_images
from brainage_bids.training.segment_sources import check_input

PLACE = INPUTS["packed1flair"]
LARGEST = (22, 18, 20)
TURNED = np.array([[0.8, 0.6, 0, -40.0], [-0.6, 0.8, 0, 12.0], [0, 0, 1, 3.0], [0, 0, 0, 1]])


def write_brain(root, person, size, level=100.0, affine=TURNED):
    """A FLAIR of a brain that fills `size` voxels, with an empty voxel around, as the app stores it."""
    image = np.zeros([n + 2 for n in size], dtype=np.float32)
    image[1:-1, 1:-1, 1:-1] = level
    stored = nib.Nifti1Image(pack(image, 1.0), affine)
    stored.header.set_slope_inter(TOP / 255, 0)
    path = derivative_path(root, "packed", person, image="FLAIR")
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(stored, path)
    return path


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    """Thirty people; the brain of the first is the longest, that of the second the broadest."""
    root = tmp_path_factory.mktemp("boxes")
    lines = ["participant_id\tage"]
    for number in range(30):
        size = {0: (LARGEST[0], 14, 15), 1: (15, LARGEST[1], LARGEST[2])}.get(number, (14 + number % 5, 14, 16))
        write_brain(root / "out", f"sub-{number:02d}", size, 60.0 + 3 * number)
        lines.append(f"sub-{number:02d}\t{20 + 2 * number}")
    (root / "people.tsv").write_text("\n".join(lines) + "\n")
    return root


def train(cohort, out, *more):
    words = f"{cohort / 'out'} --phenotype {cohort / 'people.tsv'} --model mrinet --input packed1flair --split-parts --epochs 2"
    return main([*words.split(), "--widths", *"2 2 2 2 2".split(), "--device", "cpu", "--work", str(out) + "_w", "--out", str(out), *more])


@pytest.fixture(scope="module")
def model(cohort):
    assert train(cohort, cohort / "flairs") == 0
    return open_model(cohort / "flairs")


def test_the_box_is_that_of_the_largest_brains_and_two_voxels(cohort):
    contract = find_images([cohort / "out"], [cohort / "people.tsv"], [PLACE]).contracts[0]
    assert contract.shape == tuple(n + 2 for n in LARGEST)
    assert (contract.crop, contract.space, contract.modality, contract.voxel_mm) == ("brain", "T1w", "FLAIR", (1.0, 1.0, 1.0))


def test_a_brain_lies_in_the_middle_whatever_its_place(cohort):
    contract = find_images([cohort / "out"], [cohort / "people.tsv"], [PLACE]).contracts[0]
    found = check_image(contract, derivative_path(cohort / "out", "packed", "sub-00", image="FLAIR"), "this test")
    assert found.shape == contract.shape
    filled = [np.flatnonzero(found.any(axis=tuple({0, 1, 2} - {axis}))) for axis in range(3)]
    assert [(line[0], line[-1]) for line in filled] == [(1, 22), (3, 16), (3, 17)]
    np.testing.assert_allclose(found[found > 0], 60, atol=0.75)


def test_other_voxels_are_refused(cohort, tmp_path):
    contract = find_images([cohort / "out"], [cohort / "people.tsv"], [PLACE]).contracts[0]
    path = write_brain(tmp_path, "sub-1", (5, 5, 5), affine=TURNED @ np.diag([2, 2, 2, 1]))
    with pytest.raises(UnusableInput, match="voxels of 1×1×1 mm are needed and its are 2×2×2 mm"):
        check_image(contract, path, "this test")


def test_an_age_and_rows_without_one(model, cohort, tmp_path, estimate):
    assert model.card.modality == "FLAIR"
    (contract,) = model.card.contracts
    files = {contract.key: derivative_path(cohort / "out", "packed", "sub-05", image="FLAIR")}
    with_age = estimate(model, files, {}, age=30.0)
    assert with_age.brain_age is not None and with_age.low < with_age.brain_age < with_age.high
    for missing in ({}, {contract.key: tmp_path / "nowhere.nii.gz"}):
        found = estimate(model, missing, {}, age=30.0, quality_flags=["poor_snr"])
        assert (found.brain_age, found.low, found.sd, found.interval_method) == (None,) * 4
        assert found.flags == ("poor_snr", "modality_missing") and found.model_sha256 == with_age.model_sha256
    large = write_brain(tmp_path, "sub-1", (10, 10, LARGEST[2] + 3))
    found = estimate(model, {contract.key: large}, {}, age=30.0)
    assert (found.brain_age, found.flags) == (None, ("brain_beyond_box",))
    with pytest.raises(Withheld, match="10×10×23 voxels, the box 24×20×22"):
        check_image(contract, large, "this test")


def test_the_example_of_the_folder(model):
    assert run_self_test(model).passed


def test_a_start_gives_its_box_and_refuses_larger_brains(model, cohort, tmp_path, capsys):
    small = SimpleNamespace(root=tmp_path / "small")
    for number in range(30):
        write_brain(small.root / "out", f"sub-{number:02d}", (12, 12, 12), 60.0 + 3 * number)
    (small.root / "people.tsv").write_text((cohort / "people.tsv").read_text())
    assert train(small.root, tmp_path / "second", "--init", str(model.path), "--freeze", "convolutions") == 0
    assert open_model(tmp_path / "second").card.contracts[0].shape == model.card.contracts[0].shape
    write_brain(small.root / "out", "sub-07", (LARGEST[0] + 3, 12, 12))
    capsys.readouterr()
    assert train(small.root, tmp_path / "third", "--init", str(model.path)) == 65
    assert "larger than the box of the images of the other people (25×12×12 voxels, the box 24×20×22)" in capsys.readouterr().err


def test_labels_are_not_laid_on_brains_in_boxes():
    with pytest.raises(BadConfiguration, match="such as packed2"):
        check_input(PLACE)
    check_input(INPUTS["packed2"])
