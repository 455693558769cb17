import json
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nilearn.datasets import load_mni152_template

from brainage_bids.phantoms.warped_template import exponential, jacobian_determinant, main, smooth_field, write_dataset


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    bids_dir = tmp_path_factory.mktemp("demo") / "bids"
    assert main([str(bids_dir)]) == 0
    return bids_dir


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_flow_does_not_fold_and_its_inverse_is_the_flow_backwards(seed):
    rng = np.random.default_rng(seed)
    velocity = np.stack([0.6 * smooth_field((32, 32, 32), 8, rng) for _ in range(3)])
    forward, backward = exponential(velocity), exponential(-velocity)
    assert jacobian_determinant(forward).min() > 0
    from scipy import ndimage

    grid = np.indices(velocity.shape[1:], dtype=float)
    round_trip = forward + np.stack([ndimage.map_coordinates(part, grid + forward, order=1, mode="nearest") for part in backward])
    inner = (slice(None), *[slice(8, -8)] * 3)  # nothing in here flows out of the grid
    assert np.abs(round_trip[inner]).max() < 0.1


def test_people_differ_from_the_template_and_from_each_other(dataset):
    images = [nib.load(path) for path in sorted(dataset.glob("sub-*/anat/*_T1w.nii.gz"))]
    assert len(images) == 2
    template = load_mni152_template(resolution=2)
    first, second = (image.get_fdata() for image in images)
    for data in (first, second):
        assert data.shape == template.shape
        assert 0.6 < np.corrcoef(data.ravel(), template.get_fdata().ravel())[0, 1] < 0.995
        brain_ml = (data > 0).sum() * 8 / 1000
        assert 1300 < brain_ml < 2400
    assert np.corrcoef(first.ravel(), second.ravel())[0, 1] < 0.99


def test_the_same_seed_gives_the_same_images(dataset, tmp_path):
    write_dataset(tmp_path, seed=1)
    for path in dataset.glob("sub-*/anat/*_T1w.nii.gz"):
        again = tmp_path / path.relative_to(dataset)
        assert np.array_equal(np.asanyarray(nib.load(path).dataobj), np.asanyarray(nib.load(again).dataobj))


def test_dataset_says_that_it_is_synthetic_and_is_valid(dataset):
    assert "Nobody was scanned" in (dataset / "README").read_text()
    validator = Path(sys.executable).with_name("bids-validator-deno")
    if not validator.exists():
        pytest.skip("bids-validator-deno is not installed")
    done = subprocess.run([validator, "--json", str(dataset)], capture_output=True, text=True, timeout=120)
    issues = json.loads(done.stdout)["issues"]["issues"]
    assert [issue for issue in issues if issue["severity"] == "error"] == []
