import json

import pytest

from brainage_bids.models.norms import NormCurve, norms_to_json, read_norms
from brainage_bids.records import BadConfiguration

CURVE = NormCurve("thalamus", "thalamus", (20.0, 40.0, 60.0), (1.0, 0.9, 0.8), (1.2, 1.1, 1.0), (1.5, 1.4, 1.3))


def test_at_knots_between_and_outside():
    assert CURVE.at(40.0) == pytest.approx((0.9, 1.1, 1.4))
    assert CURVE.at(20.0) == pytest.approx((1.0, 1.2, 1.5))
    assert CURVE.at(60.0) == pytest.approx((0.8, 1.0, 1.3))
    assert CURVE.at(50.0) == pytest.approx((0.85, 1.05, 1.35))
    assert CURVE.at(19.9) is CURVE.at(60.1) is None


def test_position():
    assert [CURVE.position(40.0, share) for share in (0.9, 1.1, 1.4)] == pytest.approx([5, 50, 95])
    assert CURVE.position(10.0, 1.0) is CURVE.position(40.0, 0.0) is None


@pytest.mark.parametrize(
    "changes", [{"ages": (20.0, 20.0, 60.0)}, {"p5": (1.0, 1.1, 0.8)}, {"p95": (1.5, 1.4)}, {"p50": (1.2, float("nan"), 1.0)}]
)
def test_curves_that_are_none(changes):
    with pytest.raises(BadConfiguration, match="rising"):
        NormCurve(**{**vars(CURVE), **changes})


def test_written_and_read(volume_model):
    norms = read_norms(volume_model)
    assert read_norms(volume_model.path) == norms
    assert json.loads((volume_model.path / "norms.json").read_text()) == json.loads(json.dumps(norms_to_json(norms)))
    assert norms["lateral_ventricles"].label == "lateral ventricles"
    assert norms["lateral_ventricles"].at(75.0)[1] > norms["lateral_ventricles"].at(25.0)[1]
