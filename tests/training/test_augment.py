import numpy as np
import pytest
import torch
from scipy import ndimage

from brainage_bids.records import BadConfiguration
from brainage_bids.training.augment import PRESETS, Augmentation, augment, coarser, preset, shifted, smooth_field, turned

IMAGE = torch.from_numpy(ndimage.gaussian_filter(np.random.default_rng(0).random((12, 14, 10)), 1.5).astype(np.float32))


def changed(**how):
    return augment(IMAGE[None], Augmentation(**how), np.random.default_rng(4))[0]


def test_nothing_changes_nothing():
    assert torch.equal(changed(), IMAGE)


def test_the_seed_decides_and_the_image_stays():
    before = IMAGE.clone()
    first, second = (augment(IMAGE[None], PRESETS["strong"], np.random.default_rng(1)) for _ in range(2))
    assert torch.equal(first, second)
    assert not torch.equal(first, augment(IMAGE[None], PRESETS["strong"], np.random.default_rng(2)))
    assert torch.equal(IMAGE, before)


@pytest.mark.parametrize("steps", [[2, 0, -3], [0, 0, 0], [-1, 5, 1]])
def test_shifts_against_scipy(steps):
    expected = ndimage.shift(IMAGE.numpy(), steps, order=0, mode="constant")
    np.testing.assert_array_equal(shifted(IMAGE, steps), expected)


def test_turns_against_scipy():
    angles, scale = np.array([0.2, -0.1, 0.15]), 1.1
    cx, cy, cz = np.cos(angles)
    sx, sy, sz = np.sin(angles)
    about = [[[1, 0, 0], [0, cx, -sx], [0, sx, cx]], [[cy, 0, -sy], [0, 1, 0], [sy, 0, cy]], [[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]]]
    matrix = np.array(about[0]) @ np.array(about[1]) @ np.array(about[2]) / scale
    middle = (np.array(IMAGE.shape) - 1) / 2
    expected = ndimage.affine_transform(IMAGE.numpy(), matrix, middle - matrix @ middle, order=1, mode="constant")
    found = turned(IMAGE, angles, scale).numpy()
    inner = (slice(3, -3),) * 3
    np.testing.assert_allclose(found[inner], expected[inner], atol=1e-4)


def test_flip_is_its_own_inverse():
    flipped = changed(flip=1.0)
    assert torch.equal(flipped.flip(0), IMAGE)


def test_channels_move_as_one_and_are_noisy_each_for_itself():
    how = Augmentation(shift=3, flip=0.5, rotate_deg=9, affine=1, blur=1)
    moved = augment(torch.stack([IMAGE, 2 * IMAGE]), how, np.random.default_rng(2))
    torch.testing.assert_close(moved[1], 2 * moved[0])
    assert not torch.equal(moved[0], IMAGE)
    noisy = augment(torch.stack([IMAGE, IMAGE]), Augmentation(noise=0.2, bias=0.1, gain=0.1), np.random.default_rng(2))
    assert not torch.equal(noisy[0], noisy[1])


def test_gain_keeps_zero_and_order():
    found = changed(gain=0.3)
    order = IMAGE.ravel().argsort()
    assert (found.ravel()[order].diff() >= 0).all()
    assert augment(torch.zeros(1, 4, 4, 4), Augmentation(gain=0.3), np.random.default_rng(0)).abs().max() == 0


def test_noise_and_field_have_their_size():
    large = torch.linspace(0, 1, 40**3).reshape(40, 40, 40)
    noise = augment(large[None], Augmentation(noise=0.2), np.random.default_rng(3))[0] - large
    assert 0 < noise.std() <= 0.2 * large.std() * 1.02
    field = smooth_field((20, 20, 20), 0.3, np.random.default_rng(0)).log()
    assert field.abs().max() <= 0.3 + 1e-5
    assert field.diff(dim=0).abs().max() < 0.6 / (19 / 3) + 1e-5  # linear between knots 19/3 voxels apart


def test_coarser_keeps_the_mean_and_loses_detail():
    image = torch.rand(8, 8, 8)
    found = coarser(image, 1)
    assert found.mean() == pytest.approx(float(image.mean()), abs=0.02)
    assert found.diff(dim=1).abs().mean() < 0.5 * image.diff(dim=1).abs().mean()


def test_presets():
    assert preset("none") == Augmentation()
    with pytest.raises(BadConfiguration, match="known are none, light, strong"):
        preset("wild")
