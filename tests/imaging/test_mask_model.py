import numpy as np
import pytest
from scipy import ndimage

from brainage_bids.imaging.atlas import OUTSIDE, load_atlas
from brainage_bids.imaging.mask_model import without_skull
from brainage_bids.imaging.warps import WARP_GRID

LEVEL = {"GM": 600.0, "WM": 900.0, "CSF": 200.0}
OUTER_LEVEL = dict(zip((name for name, _ in OUTSIDE), (350.0, 500.0, 640.0, 330.0, 450.0, 20.0)))


@pytest.mark.slow
def test_a_swollen_mask_loses_skull_as_bright_as_grey_matter():
    atlas = load_atlas()
    level = np.array([LEVEL[region.tissue] for region in atlas.regions] + [OUTER_LEVEL[name] for name, _ in OUTSIDE])
    channel = atlas.probabilities.argmax(axis=-1)
    image = ndimage.gaussian_filter(level[channel], 0.4) + np.random.default_rng(0).normal(0, 25, channel.shape)
    image = np.abs(image).astype(np.float32)
    brain = channel < len(atlas.regions)
    swollen = ndimage.binary_dilation(brain, iterations=5)  # 7.5 mm of skull and more

    found = without_skull(image, WARP_GRID.affine, swollen, atlas=atlas)
    extra = (swollen & ~brain).sum()
    assert (found & ~brain).sum() < 0.5 * extra
    assert (brain & ~found).sum() < 0.03 * brain.sum()
    assert not (found & ~swollen).any()
