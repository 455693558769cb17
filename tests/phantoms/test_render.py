from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from brainage_bids.phantoms import ageing, anatomy, lesions
from brainage_bids.phantoms.head import make_head
from brainage_bids.phantoms.people import Scanner, Sequence, Visit
from brainage_bids.phantoms.render import field_of_view, render
from brainage_bids.records import UnusableInput

COARSE = (3.0, 3.0, 3.0)
SEQUENCES = {
    "T1w": Sequence(2.3, 0.003, 0.9, 9.0, COARSE),
    "FLAIR": Sequence(5.0, 0.12, 1.76, 90.0, (3.0, 3.0, 5.0)),
    "SWI": Sequence(0.028, 0.02, 0.0, 15.0, COARSE),
}
SCANNER = Scanner("one", "here", 3.0, 0.02, 0.1, 1.0, SEQUENCES)


def visit(age: float, sex: str = "F", seed: int = 5, **more) -> Visit:
    return Visit("sub-1", None, age, 0.0, sex, "control", 0.0, SCANNER, seed, 9, **more)


@pytest.fixture(scope="module")
def young():
    return render(visit(25.0), ("T1w", "FLAIR", "SWI"))


@pytest.fixture(scope="module")
def old():
    return render(visit(80.0), ("T1w", "FLAIR", "SWI"))


def mean(rendering, modality: str, codes) -> float:
    """Of the innermost voxels of structures; only of a modality on the truth's grid."""
    where = np.isin(rendering.labels, codes)
    inner = ndimage.binary_erosion(where) if np.count_nonzero(ndimage.binary_erosion(where)) > 20 else where
    return float(rendering.images[modality][0][inner].mean())


def test_volumes_meet_their_targets(young, old):
    for rendering in (young, old):
        for name, target in rendering.effects["target_volumes_ml"].items():
            tolerance = 0.02 if target > 100 else 0.06 if target > 5 else 0.09  # painted at 1.5 mm
            assert rendering.volumes[name] == pytest.approx(target, rel=tolerance), name
    assert young.volumes["lesions"] == 0
    assert old.volumes["lesions"] == pytest.approx(old.effects["lesion_volume_target_ml"], rel=0.25)


def test_the_skull_carries_no_age(young, old):
    assert young.volumes["cranium"] == pytest.approx(old.volumes["cranium"], rel=0.004)
    outside = [~ndimage.binary_dilation(rendering.labels > 0, iterations=2) for rendering in (young, old)]
    both = outside[0] & outside[1]
    noise = 0.02 * young.effects["intensity_of_white_matter"]["T1w"]
    difference = np.abs(young.images["T1w"][0] - old.images["T1w"][0])[both]  # the same visit but for the brain's age: noise and all
    assert difference.max() < 0.1 * noise and (difference > 0.01 * noise).mean() < 0.001  # sums are rounded


def test_the_atrophy_map_integrates_to_the_change_of_volume(young, old):
    """∫ over a structure of exp(−log volume change) is its volume at 20 years."""
    start = ageing.target_volumes(ageing.young(visit(80.0)))
    voxel_ml = 27 / 1000
    for rendering, names in (
        (old, {"white": 0.03, "ventricles": 0.25, "cortical_grey": 0.05, "thalamus": 0.08}),
        (young, {"cortical_grey": 0.03}),
    ):
        for name, tolerance in names.items():
            inside = np.isin(rendering.labels, ageing.STRUCTURES[name])
            assert float(np.exp(-rendering.atrophy[inside]).sum()) * voxel_ml == pytest.approx(start[name], rel=tolerance), name
    assert float(old.atrophy[np.isin(old.labels, (3, 42))].mean()) < -0.15
    assert float(old.atrophy[np.isin(old.labels, (4, 43))].mean()) > 0.8
    assert not old.atrophy[old.labels == 0].any()


def test_heads_look_like_heads(old):
    t1w, swi = ({codes: mean(old, name, codes) for codes in ((2, 41), (3, 42), (4, 43), (12, 51))} for name in ("T1w", "SWI"))
    assert t1w[2, 41] > t1w[3, 42] > 1.5 * t1w[4, 43]
    assert swi[12, 51] < 0.95 * swi[2, 41]
    image, _ = old.images["T1w"]
    rim = ndimage.distance_transform_edt(old.labels == 0, sampling=3.0)
    assert image[(rim > 3) & (rim < 5)].mean() < 0.5 * t1w[2, 41]  # skull
    assert float(old.iron.max()) == pytest.approx(old.effects["iron_mg_per_kg"]["pallidum"], rel=1e-3)


def test_lesions_are_bright_on_flair_dim_on_t1w_and_near_the_ventricles(old):
    where = old.lesions > 0
    assert set(np.unique(old.labels[where])) <= {2, 41}
    plain = ndimage.binary_erosion(np.isin(old.labels, (2, 41)) & ~ndimage.binary_dilation(where))
    assert old.images["T1w"][0][where].mean() < 0.92 * old.images["T1w"][0][plain].mean()
    far = ndimage.distance_transform_edt(~np.isin(old.labels, (4, 43)), sampling=3.0)
    assert np.median(far[where]) < 0.6 * np.median(far[plain])
    flair, affine = old.images["FLAIR"]
    to_flair = np.linalg.inv(affine) @ np.array(old.effects["T1w_to_modality_mm"]["FLAIR"]) @ old.affine
    read = ndimage.affine_transform(flair, to_flair[:3, :3], to_flair[:3, 3], old.labels.shape, order=1)
    assert read[where].mean() > 1.1 * read[plain].mean()
    assert read[plain].mean() > 2 * read[ndimage.binary_erosion(np.isin(old.labels, (4, 43)))].mean()


def test_every_modality_has_its_voxels_and_position(old):
    assert old.images["FLAIR"][0].shape == field_of_view((3.0, 3.0, 5.0))[0]
    assert np.diag(old.images["FLAIR"][1])[:3].tolist() == [3, 3, 5]
    poses = old.effects["head_to_scanner_mm"]
    assert 0.1 < np.abs(np.array(poses["FLAIR"]) - np.array(poses["T1w"]))[:3, 3].max() < 15
    json.dumps(old.effects)


def test_the_same_visit_gives_the_same_bits_and_a_retest_the_same_head(young):
    again = render(visit(25.0), ("T1w",))
    assert np.array_equal(again.images["T1w"][0], young.images["T1w"][0])
    assert np.array_equal(again.labels, young.labels) and np.array_equal(again.atrophy, young.atrophy)
    retest = render(replace(visit(25.0), visit_seed=10), ("T1w",))
    assert retest.volumes == again.volumes
    assert not np.array_equal(retest.images["T1w"][0], again.images["T1w"][0])


def test_structures_are_whole():
    labels = anatomy.aseg_codes()[
        anatomy.from_atlas(7, {"cortical_grey": 0.38, "white": 0.30, "cerebellar_grey": 0.07, "cerebellar_white": 0.02})
    ]
    for code in (4, 10, 11, 12, 13, 16, 17, 18, 43, 49, 50, 51, 52, 53, 54):
        pieces, number = ndimage.label(labels == code)
        sizes = np.bincount(pieces.ravel())[1:]
        assert number and sizes.max() > 0.97 * sizes.sum(), code
    x = np.arange(labels.shape[0])[:, None, None]
    for left, right in ((17, 53), (4, 43), (12, 51)):
        assert np.mean(np.broadcast_to(x, labels.shape)[labels == left]) < 120 < np.mean(np.broadcast_to(x, labels.shape)[labels == right])


def test_lesions_and_microbleeds_of_60_are_there_at_80():
    plain = anatomy.from_atlas(8, {"cortical_grey": 0.38, "white": 0.30, "cerebellar_grey": 0.07, "cerebellar_white": 0.02})
    score = lesions.lesion_score(plain, 8)
    few, many = (lesions.with_lesions(plain, score, share) != plain for share in (0.01, 0.04))
    assert 0 < few.sum() < many.sum() and not (few & ~many).any()
    assert few.sum() == pytest.approx(0.01 * np.isin(plain, (2, 41)).sum(), rel=0.05)
    (one, number), (two, more) = (lesions.with_microbleeds(plain, 8, expected) for expected in (2.0, 6.0))
    assert number <= more and not ((one != plain) & (two == plain)).any()


@pytest.mark.real
@pytest.mark.slow
def test_heads_from_label_maps_meet_their_targets():
    maps = Path(os.environ.get("BRAINAGE_TEST_DATA", "../shared/data")) / "labels"
    if not maps.is_dir():
        pytest.skip(f"the label maps are not at {maps}; set BRAINAGE_TEST_DATA")
    head = render(visit(70.0), ("T1w",), anatomies=maps)
    for name in ("cortical_grey", "white", "ventricles", "hippocampus", "outer_csf"):
        assert head.volumes[name] == pytest.approx(head.effects["target_volumes_ml"][name], rel=0.05), name


def test_bad_requests_are_said(tmp_path):
    with pytest.raises(ValueError, match="no sequence for T2w"):
        render(visit(30.0), ("T2w",))
    with pytest.raises(UnusableInput, match="no label map"):
        make_head(visit(30.0), tmp_path)
    (tmp_path / "map.nii.gz").write_bytes(b"no image")
    with pytest.raises(UnusableInput, match="cannot be read"):
        make_head(visit(30.0), tmp_path)
