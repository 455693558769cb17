import numpy as np
import pytest

from brainage_bids.imaging.bias_field import FEW, bias_field


def test_a_planted_smooth_field_is_found():
    x, y, z = np.meshgrid(*[np.linspace(-1, 1, 40)] * 3, indexing="ij")
    mask = x**2 + y**2 + z**2 < 0.8
    rng = np.random.default_rng(0)
    tissue = np.where(np.sin(9 * x) * np.sin(8 * y) * np.sin(7 * z) > 0, 100.0, 60.0)
    planted = np.exp(0.3 * (0.6 * x - 0.5 * y * z + 0.4 * z**2))
    image = (tissue * planted * mask + rng.normal(0, 1, mask.shape)).clip(0.1).astype(np.float32)
    field = bias_field(image, np.diag([4.0, 4.0, 4.0, 1.0]), mask, effort=FEW)
    assert np.corrcoef(np.log(field[mask]), np.log(planted[mask]))[0, 1] > 0.95
    assert np.log(field[mask]).mean() == pytest.approx(0, abs=1e-4)
    assert (field > 0).all()


def test_a_mask_without_intensity_is_refused():
    with pytest.raises(ValueError, match="bias field"):
        bias_field(np.zeros((8, 8, 8), np.float32), np.eye(4), np.ones((8, 8, 8), bool))
