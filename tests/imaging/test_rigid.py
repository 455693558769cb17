"""Known rigid transforms come back, in another contrast, with thick slices and cut fields of view; what does not match is told."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from brainage_bids.imaging import rigid
from brainage_bids.imaging.grids import resample
from brainage_bids.imaging.smooth import smooth
from brainage_bids.records import UnusableInput

CONTRASTS = {
    "FLAIR": ([0.0, 0.25, 0.6, 0.9, 1.5], [0.0, 0.1, 1.0, 0.75, 0.7]),
    "swi": ([0.0, 0.25, 0.6, 0.9, 1.5], [0.0, 0.9, 0.75, 0.6, 0.5]),
}
"""Brightness of the T1w as a share of white matter's, and what becomes of it."""


def recoloured(t1w, kind):
    """The same brain in another contrast, white matter near 700."""
    share = t1w / np.percentile(t1w[t1w > 0], 90)
    return (1000 * np.interp(share, *CONTRASTS[kind]) * (t1w > 0)).astype(np.float32)


def seen(image, affine, matrix, voxel, fov=(190.0, 220.0, 190.0), seed=0):
    """The brain moved by a pose and scanned anew around its middle, with noise of 2 % of white matter; and the affine of that."""
    grid = np.diag([*voxel, 1.0])
    middle = (affine @ [*(np.array(image.shape) / 2), 1])[:3]
    grid[:3, 3] = middle - np.array(fov) / 2 + np.array(voxel) / 2
    shape = tuple(int(n) for n in np.round(np.array(fov) / voxel))
    moved = resample(image, affine, shape, grid, matrix=np.linalg.inv(matrix), antialias=True)
    noise = np.random.default_rng(seed).normal(0, 14, (2, *shape))
    return np.where(moved > 20, np.hypot(moved + noise[0], noise[1]), 0).astype(np.float32), grid


@pytest.fixture(scope="module")
def head():
    """The template's brain at 2 mm, its affine and mask."""
    from brainage_bids.imaging.grids import GRIDS
    from brainage_bids.imaging.registration import template

    image = 1000 * template("2")
    return image.astype(np.float32), GRIDS["2"].affine, image > 50


@pytest.fixture(scope="module")
def target(head):
    return rigid.compared(*head)


def points_of(head):
    return np.argwhere(head[2])[::200] @ head[1][:3, :3].T + head[1][:3, 3]


CASES = {
    "FLAIR, 3 mm slices": ("FLAIR", (1.5, 1.5, 3.0), (190.0, 220.0, 190.0)),
    "SWI, 3 mm sagittal": ("swi", (3.0, 1.5, 1.5), (190.0, 220.0, 190.0)),
    "SWI, slab": ("swi", (2.0, 2.0, 2.0), (190.0, 220.0, 84.0)),
}


@pytest.mark.parametrize("name", CASES)
def test_a_known_transform_of_15_degrees_and_15_mm_is_recovered(head, target, name):
    kind, voxel, fov = CASES[name]
    truth = rigid.pose([15.0, -9.0, 6.0], [-8.0, 15.0, 4.0], points_of(head).mean(axis=0))
    image, affine = seen(recoloured(head[0], kind), head[1], truth, voxel, fov)
    found = rigid.register_rigid(target, image, affine, start_mm=rigid.head_shift(head[0], head[1], image, affine))
    distance, angle = rigid.rigid_error(found, truth, points_of(head))
    assert distance < 1.0 and angle < 1.0
    assert np.allclose(found[:3, :3] @ found[:3, :3].T, np.eye(3), atol=1e-6)
    assert rigid.agreement_at(target, image, affine, found) > 0.8


def test_the_same_input_gives_the_same_bits(head, target):
    image, affine = seen(recoloured(head[0], "FLAIR"), head[1], rigid.pose([4, 4, 4], [3, 3, 3], [0, 0, 0]), (2.0, 2.0, 3.0))
    found = [rigid.register_rigid(target, image, affine, start_mm=np.zeros(3), sloppy=True) for _ in range(2)]
    assert np.array_equal(*found)


def test_agreement_falls_where_the_pose_is_wrong_and_the_head_another(head, target):
    image, affine = seen(recoloured(head[0], "FLAIR"), head[1], np.eye(4), (2.0, 2.0, 2.0))
    middle = points_of(head).mean(axis=0)
    right = rigid.agreement_at(target, image, affine, np.eye(4))
    shifted = rigid.agreement_at(target, image, affine, rigid.pose([8, 0, 0], [0, 0, 0], middle))
    turned = rigid.agreement_at(target, image, affine, rigid.pose([0, 0, 0], [0, 0, 20], middle))
    stretched = seen(recoloured(head[0], "FLAIR"), head[1], np.diag([1.2, 0.85, 1.1, 1.0]), (2.0, 2.0, 2.0))
    other = rigid.agreement_at(target, *stretched, np.eye(4))
    assert right > 0.85 and max(shifted, other) < 0.72 and turned < right - 0.2


def test_unrelated_edges_agree_by_a_third():
    random = np.random.default_rng(0)
    one, two = (smooth(random.normal(size=(40, 40, 40)), 6.0, (1.5, 1.5, 1.5)) for _ in range(2))
    assert rigid.edge_agreement(one, two, np.ones(one.shape, bool), 1.5) == pytest.approx(1 / 3, abs=0.05)


@given(st.floats(0.1, 50), st.floats(-100, 100), st.booleans())
def test_agreement_does_not_know_contrast(scale, offset, inverted):
    image = np.random.default_rng(1).normal(size=(12, 12, 12)).astype(np.float32)
    other = (-scale if inverted else scale) * image + offset
    assert rigid.edge_agreement(image, other, np.ones(image.shape, bool), 1.5) == pytest.approx(1.0, abs=1e-3)


def test_mutual_information_is_symmetric_and_largest_for_equal_values():
    random = np.random.default_rng(0)
    one, two = random.uniform(size=(2, 5000))
    assert rigid.normalised_mutual_information(one, two) == pytest.approx(rigid.normalised_mutual_information(two, one))
    assert rigid.normalised_mutual_information(one, one) > 1.3 > 1.1 > rigid.normalised_mutual_information(one, two)


def test_how_much_of_the_brain_is_seen(head, target):
    whole = rigid.brain_seen(target, head[0].shape, head[1], np.eye(4))
    assert whole == 1.0
    half = rigid.brain_seen(target, head[0].shape, head[1], rigid.pose([91.0, 0, 0], [0, 0, 0], [0, 0, 0]))
    assert 0.4 < half < 0.6


def test_a_pose_turns_about_its_centre_and_keeps_distances():
    matrix = rigid.pose([1, 2, 3], [10, 20, 30], [5, 6, 7])
    assert (matrix @ [5, 6, 7, 1])[:3] == pytest.approx([6, 8, 10])
    assert np.allclose(matrix[:3, :3] @ matrix[:3, :3].T, np.eye(3))


def test_what_shows_no_brain_is_refused_in_one_sentence(head, target):
    dark = np.zeros((40, 40, 40), np.float32)
    with pytest.raises(UnusableInput, match="cannot be registered"):
        rigid.head_shift(head[0], head[1], dark, np.diag([5.0, 5, 5, 1]))
    with pytest.raises(UnusableInput, match="mask of the T1w is empty"):
        rigid.compared(head[0], head[1], np.zeros(head[2].shape, bool))
    far = np.diag([5.0, 5, 5, 1])
    far[:3, 3] = 1000.0
    block = np.zeros((40, 40, 40), np.float32)
    block[18:22] = 1.0
    with pytest.raises(UnusableInput, match="Hardly any of the brain"):
        rigid.register_rigid(target, block, far, start_mm=np.zeros(3))


def test_moving_to_the_grid_of_the_t1w_undoes_the_pose(head, target):
    truth = rigid.pose([5.0, 0, 0], [0, 0, 6.0], [0, 0, 0])
    image, affine = seen(head[0], head[1], truth, (2.0, 2.0, 2.0))
    back = resample(image, affine, head[0].shape, head[1], matrix=truth)
    inside = head[2]
    assert np.corrcoef(back[inside], head[0][inside])[0, 1] > 0.9
