"""Volumes of tissues and regions, against counting by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from brainage_bids.imaging.modulate import jacobian_determinant
from brainage_bids.imaging.volumes import INSIDE_SHARE, Region, intracranial_estimate, read_regions, region_volumes, tissue_volumes
from brainage_bids.imaging.warps import WARP_GRID

CODES = (2, 41, 3, 42, 4, 43, 5, 44, 7, 46, 8, 47, 10, 49, 11, 50, 12, 51, 13, 52, 14, 15, 16, 17, 53, 18, 54, 24, 26, 58, 28, 60)


def test_the_atlas_table_names_every_brain_code_once_in_order():
    regions = read_regions()
    assert [region.index for region in regions] == sorted(CODES)
    assert len({region.name for region in regions}) == len(regions)


def test_hemispheres_and_tissues_of_the_atlas_agree_with_its_names():
    by_name = {region.name: region for region in read_regions()}
    for name, region in by_name.items():
        side, _, rest = name.partition("-")
        assert region.hemisphere == {"Left": "L", "Right": "R"}.get(side, "n/a")
        if side == "Left":
            assert by_name[f"Right-{rest}"].tissue == region.tissue
        expected = "CSF" if "Vent" in name.replace("VentralDC", "") or name == "CSF" else None
        expected = expected or ("WM" if "White" in name or name == "Brain-Stem" or "VentralDC" in name else "GM")
        assert region.tissue == expected, name


@settings(max_examples=40, deadline=None)
@given(arrays(np.uint8, st.tuples(*[st.integers(1, 20)] * 3), elements=st.integers(0, 3)), st.floats(0.1, 30))
def test_tissues_of_hard_labels_agree_with_counting(dseg, voxel_mm3):
    maps = {"GM": (dseg == 1).astype("f4"), "WM": (dseg == 2).astype("f4"), "CSF": (dseg == 3).astype("f4")}
    found = tissue_volumes(maps, voxel_mm3)
    assert found["GM"] == pytest.approx((dseg == 1).sum() * voxel_mm3)
    assert found["brain"] + found["CSF"] == pytest.approx((dseg > 0).sum() * voxel_mm3)


def test_sums_over_many_float32_voxels_stay_exact():
    half = np.full((300, 300, 200), 0.1, np.float32)
    volume = tissue_volumes({"GM": half, "WM": half, "CSF": half}, 1.0)["GM"]
    assert volume == pytest.approx(1.8e6, rel=1e-6)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_region_volumes_agree_with_counting(data):
    shape = data.draw(st.tuples(st.integers(1, 40), st.integers(1, 4), st.integers(1, 4)))
    labels = data.draw(arrays(np.int32, shape, elements=st.sampled_from([0, 2, 16, 41])))
    weights = data.draw(arrays(np.float32, shape, elements=st.floats(0, 1, width=32)))
    regions = [Region(2, "a"), Region(16, "b"), Region(41, "c"), Region(60, "d")]
    rows = region_volumes(labels, 1.5, regions)
    weighted = region_volumes(labels, 1.5, regions, weights)
    for region, row, soft in zip(regions, rows, weighted):
        assert row["index"] == soft["index"] == region.index
        assert row["volume_mm3"] == pytest.approx((labels == region.index).sum() * 1.5)
        assert soft["volume_mm3"] == pytest.approx(weights[labels == region.index].sum(dtype=float) * 1.5, abs=1e-5)


def test_codes_without_a_name_are_not_dropped_in_silence():
    with pytest.raises(ValueError, match=r"\[77\]"):
        region_volumes(np.array([[[0, 2, 77]]]), 1.0, [Region(2, "a")])


def test_the_intracranial_estimate_scales_with_volume_and_not_with_place_or_mirroring():
    affine = np.array([[0.9, 0.1, 0, 5], [0, 0.8, 0, -3], [0, 0, 1.1, 0], [0, 0, 0, 1.0]])
    inside = np.random.default_rng(0).random((6, 7, 8)).astype(np.float32)
    none = np.ones_like(inside)
    plain = intracranial_estimate(inside, none, np.eye(4))
    assert plain == pytest.approx(inside.sum() * 1.5**3 / INSIDE_SHARE)
    assert intracranial_estimate(inside, none, affine) == pytest.approx(plain * 0.9 * 0.8 * 1.1)
    assert intracranial_estimate(inside, none, np.diag([-1.0, 1, 1, 1]) @ affine) == pytest.approx(plain * 0.9 * 0.8 * 1.1)


def test_the_intracranial_estimate_is_the_same_however_a_map_is_split_into_affine_and_warp():
    """One head, one map: the affine takes 3 % more, the warp 3 % less."""
    grid = WARP_GRID.affine
    points = np.stack(np.meshgrid(*(np.arange(n) for n in WARP_GRID.shape), indexing="ij"), axis=-1) @ grid[:3, :3].T + grid[:3, 3]
    inside = (np.linalg.norm(points - [0, -18, 10], axis=-1) < 60).astype(np.float32)
    estimates = []
    for share in (1.0, 1.01):
        displacement = (points / share - points).astype(np.float32)
        estimates.append(intracranial_estimate(inside, jacobian_determinant(displacement, grid), np.diag([0.9 * share] * 3 + [1])))
    assert estimates[1] == pytest.approx(estimates[0], rel=1e-4)
    assert estimates[0] == pytest.approx(4 / 3 * np.pi * 54**3 / INSIDE_SHARE, rel=0.01)


@pytest.mark.parametrize("labels", [np.ones((2, 2, 2)), np.full((2, 2, 2), -1)])
def test_labels_that_are_no_codes_are_refused(labels):
    with pytest.raises(ValueError, match="labels are"):
        region_volumes(labels, 1.0, [Region(1, "a")])


def test_weights_of_another_shape_are_refused():
    with pytest.raises(ValueError, match="do not fit"):
        region_volumes(np.ones((2, 2, 2), int), 1.0, [Region(1, "a")], np.ones((2, 2, 3)))


def test_a_users_table_needs_index_and_name_only(tmp_path):
    table = tmp_path / "Åtlas tablé.tsv"
    table.write_text("name\tindex\nNucleus ruber\t7\n", encoding="utf-8")
    assert read_regions(table) == (Region(7, "Nucleus ruber"),)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("index\tlabel\n1\ta\n", "columns"),
        ("index\tname\n", "columns"),
        ("index\tname\n1.5\ta\n", "whole"),
        ("index\tname\n1\ta\n1\tb\n", "twice"),
    ],
)
def test_tables_with_faults_are_refused(tmp_path, text, fault):
    table = tmp_path / "atlas.tsv"
    table.write_text(text)
    with pytest.raises(ValueError, match=fault):
        read_regions(table)
