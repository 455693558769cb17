import numpy as np
import pytest

from brainage_bids.imaging.greedy import as_itk
from brainage_bids.imaging.grids import resample
from brainage_bids.imaging.registration import SLOPPY_WARP_LEVELS, register, template, template_image, template_tissues
from brainage_bids.imaging.warps import WARP_GRID, SpatialMap, grid_points
from brainage_bids.records import UnusableInput

AFFINE = np.array([[1.08, 0.08, 0, 5], [-0.08, 0.96, 0.1, -9], [0, -0.1, 1.04, 11], [0, 0, 0, 1.0]])


@pytest.fixture(scope="module")
def moved():
    """The template carried to a person by a known affine after a known wave: the person's image, and the true map."""
    from brainage_bids.imaging.grids import sample
    from brainage_bids.imaging.warps import invert_displacement

    p = grid_points()
    wave = np.stack([3 * np.sin(p[..., 1] / 30), 3 * np.cos(p[..., 2] / 30), 3 * np.sin(p[..., 0] / 30)], axis=-1).astype(np.float32)
    truth = SpatialMap(AFFINE, wave, invert_displacement(wave))
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    affine[:3, 3] = (-110, -140, -80)
    index = np.stack(np.meshgrid(np.arange(115), np.arange(125), np.arange(115), indexing="ij"), axis=-1).astype(np.float32)
    place = index @ affine[:3, :3].T.astype(np.float32) + affine[:3, 3].astype(np.float32)
    image = sample(template("1p5"), WARP_GRID.affine, truth.to_template(place))
    return image * 700, affine, truth


def test_the_template_is_the_one_that_nilearn_loads():
    from nilearn.datasets import load_mni152_gm_template, load_mni152_template

    wanted = load_mni152_template(resolution=1)
    np.testing.assert_array_equal(template("1"), np.asarray(wanted.dataobj, dtype=np.float32))
    np.testing.assert_array_equal(template_image().affine, wanted.affine)
    grey = load_mni152_gm_template(resolution=1)
    expected = resample(np.asarray(grey.dataobj, dtype=np.float32), grey.affine, WARP_GRID.shape, WARP_GRID.affine)
    np.testing.assert_array_equal(template_tissues()["GM"], expected)


def test_a_known_affine_and_warp_are_recovered_at_the_coarse_level(moved):
    image, affine, truth = moved
    found = register(image, affine, levels=SLOPPY_WARP_LEVELS)
    inside = template("1p5") > 0.3
    points = grid_points()[inside][::50]
    error = np.linalg.norm(found.to_person(points) - truth.to_person(points), axis=1)
    straight = np.linalg.norm(found.to_person(points, warped=False) - truth.to_person(points), axis=1)
    assert np.median(error) < 1.0
    assert np.median(error) < 0.6 * np.median(straight)


def test_an_empty_brain_is_refused():
    with pytest.raises(UnusableInput, match="mask is empty"):
        register(np.zeros((10, 10, 10), np.float32), np.eye(4))


def test_voxels_keep_their_world_position_in_itk():
    image = as_itk(np.zeros((4, 5, 6), np.float32), AFFINE)
    expected = AFFINE @ [1, 2, 3, 1]
    np.testing.assert_allclose(image.TransformIndexToPhysicalPoint((1, 2, 3)), expected[:3] * [-1, -1, 1], atol=0.05)
