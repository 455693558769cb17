"""Ageing rings: numbers and places of what tells the age."""

import hashlib
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brainage_bids.bids.tables import read_tsv
from brainage_bids.phantoms.design import Design
from brainage_bids.phantoms.torus import (
    EDGE,
    FILE,
    LESION,
    LOST,
    TISSUE,
    TORUS,
    depth,
    dilate,
    draw_tori,
    ellipses,
    erode,
    make_tori,
    smallest,
)
from brainage_bids.records import BadConfiguration

DESIGN = Design(participants=600, ages=(20.0, 80.0), kind="torus", seed=4)


@pytest.fixture(scope="module")
def ages():
    return np.linspace(20, 80, 400)


@pytest.fixture(scope="module")
def tori(ages):
    return draw_tori(ages, np.random.default_rng(1))


def test_five_border_pixels_a_year_are_lost(tori, ages):
    lost = (tori.places & LOST > 0).sum((1, 2))
    slope, start = np.polyfit(ages, lost, 1)
    assert slope == pytest.approx(5, abs=0.03) and abs(start) < 1
    assert np.std(lost - 5 * ages) == pytest.approx(1.5, rel=0.15)


def test_border_pixels_are_lost_from_the_border_inwards(tori):
    ring, lost = tori.places & TORUS > 0, tori.places & LOST > 0
    assert not (lost & ~ring).any()
    layer = depth(ring)
    for image in range(len(ring)):
        deepest = layer[image][lost[image]].max()
        assert lost[image][layer[image] < deepest].all()  # every layer above is gone
    on_border = lost & (layer == 0)
    assert on_border.sum() / lost.sum() > 0.99  # both borders hold about 405 pixels, lost at 80 years
    middle = ellipses(np.full((1, 2), 52.0))  # both borders crumble
    assert (lost & middle).any((1, 2)).all() and (lost & ~middle).any((1, 2)).all()


def test_lesions_start_at_forty_and_lie_within(tori, ages):
    lesion, ring = tori.places & LESION > 0, tori.places & TORUS > 0
    assert (tori.lesions[ages <= 40] == 0).all() and not lesion[ages <= 40].any()
    slope, _ = np.polyfit(ages[ages > 42], tori.lesions[ages > 42], 1)
    assert slope == pytest.approx(1, abs=0.02)
    assert not (lesion & ~erode(ring)).any()  # whole, and no neighbour of the background
    opened = dilate(erode(lesion))
    assert (opened == lesion).all()  # nothing but squares of three
    few = np.flatnonzero(tori.lesions == 1)
    assert all(lesion[image].sum() == 9 for image in few) and len(few) > 0


def test_intensities_are_the_stated_ones(tori):
    ring, lesion, lost = (tori.places & bit > 0 for bit in (TORUS, LESION, LOST))
    assert (tori.images[~ring | lost] == 0).all() and tori.images.shape[1:] == (EDGE, EDGE)
    plain, bright = tori.images[ring & ~lesion & ~lost], tori.images[lesion & ~lost]
    assert plain.mean() == pytest.approx(TISSUE, abs=1e-3) and plain.std() == pytest.approx(0.04, rel=0.02)
    assert bright.mean() == pytest.approx(TISSUE + 0.2, abs=2e-3)
    area = ring.sum((1, 2)).mean()
    assert area == pytest.approx(np.pi / 4 * 80 * 65 * (1 - 0.4**2), rel=0.02)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1000), number=st.integers(0, 40))
def test_smallest_marks_as_many_as_asked_for(seed, number):
    keys = np.random.default_rng(seed).random((2, 5, 6))
    marked = smallest(keys, np.array([number, 3]))
    assert marked[0].sum() == min(number, 30) and marked[1].sum() == 3
    assert keys[1][marked[1]].max() < keys[1][~marked[1]].min()


def digest(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def test_one_archive_and_a_table_with_the_same_bytes_again(tmp_path):
    assert make_tori(tmp_path / "a", DESIGN) == 600 and make_tori(tmp_path / "b", DESIGN) == 600
    assert digest(tmp_path / "a") == digest(tmp_path / "b")
    content, table = np.load(tmp_path / "a" / FILE), read_tsv(tmp_path / "a" / "participants.tsv")
    assert content["images"].shape == (600, EDGE, EDGE) and len(table.rows) == 600
    for row in (0, 599):
        assert float(table.rows[row]["age"]) == content["age"][row]
        assert int(table.rows[row]["border_pixels"]) == (content["places"][row] & LOST > 0).sum()
        assert int(table.rows[row]["lesion_pixels"]) == (content["places"][row] & LESION > 0).sum()
    assert {split: int((content["split"] == split).sum()) for split in ("train", "validation", "test")} == {
        "train": 480, "validation": 60, "test": 60,
    }  # fmt: skip
    assert json.loads((tmp_path / "a" / "effects.json").read_text())["border"]["pixels_a_year"] == 5
    assert make_tori(tmp_path / "a", DESIGN) == 0
    with pytest.raises(BadConfiguration, match="seed: 4 there, 5 here"):
        make_tori(tmp_path / "a", Design(participants=600, ages=(20.0, 80.0), kind="torus", seed=5))
