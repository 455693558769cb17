"""The order of the steps and what is handed on; each step is tested where it lies."""

import numpy as np
import pytest

from brainage_bids.imaging import pipeline
from brainage_bids.imaging.tissues import Segmentation
from brainage_bids.imaging.transforms import rounded_field

AFFINE = np.diag([4.0, 4.0, 4.0, 1.0])


def ball(radius_mm=65.0, around=0.0):
    """A bright ball in air, or in a head that fills the image."""
    x = 4.0 * (np.arange(46) - 22.5)
    inside = sum(axis**2 for axis in np.meshgrid(x, x, x, indexing="ij")) < radius_mm**2
    return np.where(inside, 100.0, around).astype(np.float32)


@pytest.mark.parametrize(
    ("image", "how", "expected"),
    [(ball(), "auto", True), (ball(around=40.0), "auto", False), (ball(around=40.0), "skip", True), (ball(), "force", False)],
)
def test_whether_the_brain_is_looked_for(monkeypatch, image, how, expected):
    looked = []

    def found(image, affine, **how):
        looked.append(how)
        return image > 50

    monkeypatch.setattr(pipeline.brain_mask, "find_brain", found)
    mask, stripped = pipeline.first_mask(image, AFFINE, skull_strip=how, threads=3, sloppy=True)
    assert stripped is expected and bool(looked) is not expected
    assert mask.dtype == bool and (mask.all() if expected and image.min() > 0 else mask.sum() == (image > 50).sum())
    assert not looked or (looked[0]["threads"], looked[0]["sloppy"]) == (3, True)


@pytest.mark.parametrize("sloppy", [True, False])
def test_each_step_gets_what_the_one_before_made(monkeypatch, sloppy):
    image, seen, told = ball(), {}, []
    found = Segmentation({"GM": np.full(image.shape, 0.5)}, np.zeros(image.shape, np.uint8))
    monkeypatch.setattr(pipeline, "bias_field", lambda data, affine, mask, **how: seen.update(how) or 2.0)
    way = type("Way", (), {"affine": np.eye(4), "displacement": np.full((2, 2, 2, 3), 0.1), "inverse": np.zeros((2, 2, 2, 3))})()
    monkeypatch.setattr(pipeline, "register", lambda part, affine, **how: seen.update(register=how, bright=float(part.max())) or way)
    monkeypatch.setattr(pipeline, "invert_displacement", lambda field, **_: seen.update(inverted=True) or field)
    monkeypatch.setattr(pipeline, "refine", lambda data, affine, way, **how: seen.update(refined=how) or way)
    monkeypatch.setattr(pipeline, "segment_brain", lambda data, affine, mask, way, **how: seen.update(segment=how, way=way) or found)
    made = pipeline.find_structures(image, AFFINE, sloppy=sloppy, seed=7, after=told.append)
    assert told == list(pipeline.STEPS) and made.found.labels is found.labels and made.stripped
    assert float(made.found.tissues["GM"][0, 0, 0]) == pytest.approx(128 / 255), "as the files hold it"
    assert seen["bright"] == pytest.approx(50.0, abs=0.01)
    assert (seen["threads"], seen["register"]["seed"], seen["register"]["threads"]) == (1, 7, 1)
    assert seen["effort"] == (pipeline.SLOPPY if sloppy else pipeline.FULL)
    assert ("inverted" in seen, "refined" in seen) == (sloppy, not sloppy)
    assert sloppy or (seen["refined"]["seed"] == 7 and seen["refined"]["mask"].sum() == (image > 0).sum())
    assert seen["segment"]["stripped"] is True and seen["way"] is made.spatial_map
    assert np.array_equal(made.spatial_map.displacement, rounded_field(way.displacement)), "as the files hold it"
