"""Phantoms in the template's space, against the app's own way there and against what is true of them."""

from dataclasses import replace

import numpy as np
import pytest

from brainage_bids.imaging.grids import GRIDS, sample
from brainage_bids.imaging.normalise import to_template
from brainage_bids.imaging.registration import around_brain, register
from brainage_bids.phantoms.head import make_head
from brainage_bids.phantoms.normalised import SULCUS_MM, cut_out, model_space
from brainage_bids.phantoms.render import render
from tests.phantoms.test_render import SCANNER, visit

EVEN = replace(SCANNER, bias=0.0)


@pytest.fixture(scope="module")
def old():
    return model_space(visit(75.0), "T1w")


def test_tissue_maps_sum_to_the_volumes():
    head, maps = make_head(visit(70.0)), model_space(visit(70.0))
    target = head.targets
    white = sum(target[name] for name in ("white", "cerebellar_white", "brain_stem", "ventral_dc"))
    assert maps["WM"].shape == GRIDS["1p5"].shape
    assert float(maps["WM"].sum()) * 1.5**3 / 1000 == pytest.approx(white, rel=0.02)


def test_a_t1w_is_the_scan_as_the_app_registers_it(old):
    """The same visit's raw scan, without a bias field, through the functions of the app."""
    raw = render(replace(visit(75.0), scanner=EVEN), ("T1w",))
    image, place = raw.images["T1w"]
    spatial_map = register(*around_brain(image, place, raw.labels > 0), levels="1x0x0")
    np.testing.assert_allclose(old["matrix"], spatial_map.affine, atol=1e-9)
    there = to_template(image, place, spatial_map, GRIDS["1"], warped=False)
    np.testing.assert_allclose(old["T1w"], there, atol=2e-3 * image.max())
    assert np.corrcoef(old["T1w"].ravel(), there.ravel())[0, 1] > 0.9999


def test_the_truth_lies_where_the_image_shows_it(old):
    labels, image = old["labels"], old["T1w"]
    white, grey, fluid = (np.median(image[np.isin(labels, codes)]) for codes in ((2, 41), (3, 42), (4, 43)))
    assert white > 1.3 * grey > 1.3 * 1.5 * fluid
    assert labels.shape == image.shape == GRIDS["1"].shape and labels.dtype == old["lesions"].dtype == np.uint8
    assert 0 < old["lesions"].sum() == (old["lesions"] & np.isin(labels, (2, 41))).sum()
    volume = np.isin(labels, (4, 43)).sum() / 1000 * abs(np.linalg.det(old["matrix"][:3, :3]))
    assert volume == pytest.approx(make_head(visit(75.0)).targets["ventricles"], rel=0.15)  # inferior horns are labels of their own


def test_position_is_taken_out_and_age_is_not(old):
    """Another visit of the person is turned, shifted and has other noise; a younger brain has other ventricles in the same skull."""
    again = model_space(replace(visit(75.0), visit_seed=77), "T1w")
    assert np.abs(again["matrix"] - old["matrix"])[:3, 3].max() > 1  # the head lay elsewhere
    near = np.isin(old["labels"], (4, 43)), np.isin(again["labels"], (4, 43))
    assert 2 * (near[0] & near[1]).sum() / (near[0].sum() + near[1].sum()) > 0.93
    young = model_space(visit(25.0), "T1w")
    assert np.isin(young["labels"], (4, 43)).sum() < 0.6 * near[0].sum()
    sizes = [np.linalg.det(maps["matrix"][:3, :3]) for maps in (young, old)]
    assert sizes[0] == pytest.approx(sizes[1], rel=0.08)


def test_a_brain_that_was_cut_out():
    maps = model_space(visit(75.0), "T1w", stripped=True)
    points = sample(np.pad(maps["T1w"], 0), GRIDS["1"].affine, np.array([[0.0, -20.0, 20.0], [0.0, 100.0, 0.0], [85.0, 0.0, 0.0]]))
    assert points[0] > 0 and points[1] == points[2] == 0
    brain = (maps["labels"] > 0) & (maps["labels"] != 24)
    assert (maps["T1w"][brain] > 0).mean() > 0.99
    assert (maps["T1w"] > 0).sum() < 1.35 * brain.sum()  # with narrow sulci and what reading mixes at the edge


def test_narrow_sulci_stay_and_wide_ones_go():
    labels = np.full((60, 40, 40), 24, np.uint8)
    labels[:2] = labels[-2:] = 0
    labels[10:50, 10:30, 10:30] = 3
    labels[20:24] = labels[36:46] = 24  # 4 and 10 mm of fluid between parts of the brain
    found = cut_out(labels, np.ones(3))
    assert found[labels == 3].all() and not found[labels == 0].any()
    assert found[20:24, 18:22, 18:22].all() and not found[40:42, 18:22, 18:22].any()
    assert not found[:10].any() and 4 < 2 * SULCUS_MM < 10


def test_bad_requests_are_said():
    with pytest.raises(ValueError, match="choose tissues or T1w"):
        model_space(visit(30.0), "FLAIR")
