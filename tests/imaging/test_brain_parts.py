"""Cortex, subcortex and cerebellum (METHODS H4)."""

import numpy as np
import pytest

from brainage_bids.imaging.brain_parts import FLUID, brain_parts, labels_on, parts_words, union_share
from brainage_bids.imaging.grids import GRIDS


@pytest.fixture(scope="module")
def parts():
    return brain_parts()


def test_the_masks_share_no_voxel_and_lie_on_the_grid_of_2_mm(parts):
    assert set(parts) == {"cortex", "subcortex", "cerebellum"}
    assert all(mask.shape == GRIDS["2"].shape and mask.dtype == bool and mask.any() for mask in parts.values())
    assert np.sum(list(parts.values()), axis=0).max() == 1


def test_the_parts_lie_where_they_belong(parts):
    def at(*place_mm):
        return tuple(np.rint(np.linalg.inv(GRIDS["2"].affine) @ [*place_mm, 1])[:3].astype(int))

    assert parts["subcortex"][at(12, -18, 8)] and parts["subcortex"][at(-26, 4, 0)]  # thalamus, putamen
    assert parts["cerebellum"][at(25, -70, -35)]
    assert not any(mask[at(28, -20, 30)] for mask in parts.values())  # cerebral white matter
    left, right = parts["cortex"][:45].sum(), parts["cortex"][46:].sum()
    assert left == pytest.approx(right, rel=0.05)


def test_the_share_of_the_brain_that_they_cover(parts):
    labels = labels_on(GRIDS["2"])
    tissue = (labels > 0) & ~np.isin(labels, FLUID)
    assert union_share(parts, tissue) == pytest.approx(0.61, abs=0.02) and "61 %" in parts_words()
