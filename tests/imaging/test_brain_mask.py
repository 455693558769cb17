import numpy as np

from brainage_bids.imaging import brain_mask


def test_a_stripped_brain_is_seen_and_a_head_is_not():
    x = np.linspace(-110, 110, 56)
    distance = np.sqrt(sum(axis**2 for axis in np.meshgrid(x, x, x)))
    affine = np.diag([4.0, 4.0, 4.0, 1.0])
    assert brain_mask.looks_stripped((distance < 68).astype("f4"), affine)
    assert not brain_mask.looks_stripped((distance < 105).astype("f4"), affine)  # larger than any brain
    assert not brain_mask.looks_stripped(np.ones_like(distance, dtype="f4"), affine)
    crumbs = (distance < 60) | ((distance > 90) & (distance < 95))
    assert not brain_mask.looks_stripped(crumbs.astype("f4"), affine)


def test_the_mask_of_a_stripped_image_is_its_non_zero_piece_without_holes():
    image = np.zeros((10, 10, 10), np.float32)
    image[2:7, 2:7, 2:7] = 5
    image[4, 4, 4] = 0
    image[9, 9, 9] = 5
    assert brain_mask.mask_of_stripped(image).sum() == 125
