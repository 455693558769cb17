from __future__ import annotations

import numpy as np
import pytest

from brainage_bids.phantoms import acquisition


def grid(edge: float, first: float = 0.0) -> np.ndarray:
    affine = np.diag([edge, edge, edge, 1.0])
    affine[:3, 3] = first
    return affine


@pytest.mark.parametrize("edges", [(2.0, 2.0, 2.0), (2.0, 2.0, 5.0), (3.0, 3.0, 3.0)])
def test_a_voxel_is_the_mean_of_what_lies_in_it(edges):
    fine = np.zeros((60, 60, 60), dtype=np.float32)
    fine[20:40, 20:40, 20:40] = 1
    affine = np.diag([*edges, 1.0])
    affine[:3, 3] = np.array(edges) / 2 - 0.5
    image = acquisition.voxelised(fine, grid(1.0), tuple(int(60 / e) for e in edges), affine, np.eye(4))
    assert image.sum() * np.prod(edges) == pytest.approx(fine.sum(), rel=0.01)
    assert image.max() == pytest.approx(1)


def test_the_pose_carries_the_head_into_the_scanner():
    fine = np.zeros((40, 40, 40), dtype=np.float32)
    fine[20, 12, 20] = 1
    pose = acquisition.rigid(np.array([0.0, 0.0, 90.0]), np.array([4.0, 0.0, 0.0]))
    image = acquisition.voxelised(fine, grid(1.0, -20.0), (40, 40, 40), grid(1.0, -20.0), pose)
    assert np.argwhere(image > 0.99).tolist() == [[20 + 8 + 4, 20, 20]]  # (0, −8, 0) turns to (8, 0, 0) and moves by 4


def test_motion_keeps_the_signal_and_adds_ghosts():
    image = np.zeros((16, 64, 20), dtype=np.float32)
    image[4:12, 20:44, 4:16] = 100
    assert acquisition.moved(image, 0.0, 1.0, np.random.default_rng(1)) is image
    ghosted = acquisition.moved(image, 1.0, 1.0, np.random.default_rng(1))
    assert (ghosted**2).sum() == pytest.approx((image**2).sum(), rel=1e-4)  # phases keep the energy (Parseval)
    outside = ghosted[4:12, :12, 4:16].mean()
    assert outside > 1
    assert outside > acquisition.moved(image, 0.2, 1.0, np.random.default_rng(1))[4:12, :12, 4:16].mean()


def test_rician_noise_has_the_second_moment_of_its_channels():
    signal = np.full((50, 50, 50), 30.0, dtype=np.float32)
    noisy = acquisition.rician(signal, 10.0, np.random.default_rng(2))
    assert float((noisy.astype(float) ** 2).mean()) == pytest.approx(30**2 + 2 * 10**2, rel=0.01)
