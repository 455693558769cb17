import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from brainage_bids.imaging.intensity import by_mean, by_top_mean, to_uint8, zscored

VOLUME = np.random.default_rng(0).gamma(2.0, 30.0, (11, 12, 13))
MASK = VOLUME > 40


def test_top_mean_by_sorting():
    count = round(0.01 * VOLUME.size)
    expected = VOLUME / np.sort(VOLUME.ravel())[-count:].mean()
    np.testing.assert_allclose(by_top_mean(VOLUME), expected, rtol=1e-6)
    padded = np.concatenate([VOLUME, np.zeros_like(VOLUME)])
    assert by_top_mean(padded).max() > by_top_mean(VOLUME).max()  # zeros count: twice as many voxels are the brightest


@given(st.floats(0.01, 1000))
def test_no_rule_sees_the_scanner_gain(gain):
    for rule in (by_top_mean, by_mean, lambda volume: zscored(volume, MASK)):
        np.testing.assert_allclose(rule(VOLUME * gain), rule(VOLUME), rtol=1e-4, atol=1e-5)
    one, other = to_uint8(VOLUME * gain, 60.0 * gain)[0], to_uint8(VOLUME, 60.0)[0]
    assert np.abs(one.astype(int) - other).max() <= 1  # rounding


def test_mean_and_zscore():
    assert by_mean(VOLUME).mean() == pytest.approx(1, abs=1e-5)
    scored = zscored(VOLUME, MASK)
    assert (scored[MASK].mean(), scored[MASK].std()) == (pytest.approx(0, abs=1e-5), pytest.approx(1, abs=1e-5))
    assert not scored[~MASK].any()


def test_white_matter_becomes_73():
    values, clipped = to_uint8(np.full((3, 3, 3), 812.0), 812.0)
    assert values.dtype == np.uint8
    assert (np.unique(values).tolist(), clipped) == ([73], 0.0)  # 110 · 255 / 383 = 73.2


@pytest.mark.parametrize("rule", [by_top_mean, by_mean, lambda v: zscored(v, v > 0), lambda v: to_uint8(v, 0.0)])
def test_an_empty_image(rule):
    with pytest.raises(ValueError, match=r"level of|nothing varies"):
        rule(np.zeros((4, 4, 4)))
