"""Where the brain mask lies in the head, on balls whose distance is known."""

import numpy as np
import pytest

from brainage_bids.imaging.quality_limits import QUALITY_LIMITS
from brainage_bids.imaging.quality_mask import scalp_distance_mm

LIMIT = next(limit for limit in QUALITY_LIMITS if limit.metric == "scalp_distance_mm")


def head(zooms=(2.0, 2.0, 2.0), noise=0.0):
    """Image of a head of 84 mm radius with a dark skull and a bright scalp, distance from its centre, affine."""
    affine = np.diag([*zooms, 1.0])
    axes = [np.arange(-100, 100, zoom) for zoom in zooms]
    radius = np.sqrt((np.stack(np.meshgrid(*axes, indexing="ij")) ** 2).sum(axis=0))
    clean = np.select([radius < 70, radius < 77, radius < 84], [0.7, 0.05, 0.8], 0.0)
    generator = np.random.default_rng(0)
    real, imag = (generator.normal(0, noise, clean.shape) for _ in range(2))
    return np.hypot(clean + real, imag).astype(np.float32), radius, affine


@pytest.mark.parametrize("zooms", [(2, 2, 2), (1.2, 1.2, 1.2), (1, 1, 4)])
@pytest.mark.parametrize("noise", [0.0, 0.03, 0.07])
def test_a_true_mask_lies_within_the_limits(zooms, noise):
    image, radius, affine = head(zooms, noise)
    found = scalp_distance_mm(image, radius < 70, affine)
    assert found == pytest.approx(16, abs=3.5) and LIMIT.low < found < LIMIT.high


@pytest.mark.parametrize("reach", [58, 80])
def test_a_mask_too_small_or_too_large_lies_outside(reach):
    image, radius, affine = head(noise=0.03)
    found = scalp_distance_mm(image, radius < reach, affine)
    assert not LIMIT.low < found < LIMIT.high


def test_a_mask_cut_off_at_the_top_only():
    image, radius, affine = head(noise=0.03)
    height = np.arange(-100, 100, 2.0)[None, None, :]
    assert scalp_distance_mm(image, (radius < 70) & (height < 40), affine) > LIMIT.high


def test_the_order_and_direction_of_the_axes_do_not_matter():
    image, radius, affine = head()
    mask = (radius < 70) & (np.arange(-100, 100, 2.0)[None, None, :] < 55)
    turned = affine[:, [2, 0, 1, 3]] @ np.diag([-1.0, 1, 1, 1])
    turn = [np.transpose(volume, (2, 0, 1))[::-1] for volume in (image, mask)]
    assert scalp_distance_mm(*turn, turned) == pytest.approx(scalp_distance_mm(image, mask, affine), rel=0.05)


@pytest.mark.parametrize("radius_mm", [0, 5])
def test_without_a_surface_there_is_no_figure(radius_mm):
    image, radius, affine = head()
    assert np.isnan(scalp_distance_mm(image, radius < radius_mm, affine))
