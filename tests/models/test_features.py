import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from brainage_bids.models.features import (
    RATIOS,
    VolumeRatio,
    block_means,
    cell_count,
    overlap,
    ratios_from_json,
    ratios_to_json,
    read_volumes,
    spread_cells,
    usable_ratios,
    volume_ratios,
)
from brainage_bids.records import BadConfiguration, UnusableInput


def by_hand(volume, voxel, cell):
    """Share of every voxel in every cell, by intervals."""
    shape = tuple(cell_count(n, edge, cell) for n, edge in zip(volume.shape, voxel, strict=True))
    out = np.zeros(shape)
    for index in itertools.product(*map(range, shape)):
        for where in itertools.product(*map(range, volume.shape)):
            share = 1.0
            for i, w, edge in zip(index, where, voxel, strict=True):
                share *= max(0.0, min(i * cell + cell / 2, (w + 0.5) * edge) - max(i * cell - cell / 2, (w - 0.5) * edge)) / cell
            out[index] += share * volume[where]
    return out


def test_against_intervals():
    volume = np.random.default_rng(0).random((5, 4, 6))
    np.testing.assert_allclose(block_means(volume, (1.5, 2.0, 1.5)), by_hand(volume, (1.5, 2.0, 1.5), 4.0), atol=1e-6)


@given(st.integers(1, 40), st.floats(0.5, 3.0), st.floats(3.0, 6.0))
def test_nothing_is_lost(n, voxel, cell):
    weights = overlap(n, voxel, cell)
    np.testing.assert_allclose(weights.sum(axis=0) * cell, voxel, atol=1e-9)
    assert np.all(weights.sum(axis=1) <= 1 + 1e-9)
    assert weights[-1].sum() > 0 or n == 1  # no cell beyond the last voxel


def test_sum_is_the_volume_of_the_tissue():
    volume = np.random.default_rng(1).random((121, 30, 20)).astype(np.float32)
    assert block_means(volume, (1.5,) * 3).sum(dtype=float) * 64 == pytest.approx(volume.sum(dtype=float) * 1.5**3, rel=1e-6)


def test_template_grid():
    assert tuple(cell_count(n, 1.5) for n in (121, 145, 121)) == (46, 55, 46)


def test_constant_inside():
    np.testing.assert_allclose(block_means(np.full((20, 20, 20), 0.7), (1.5,) * 3)[1:-1, 1:-1, 1:-1], 0.7, rtol=1e-6)


def test_spread_and_back_keeps_smooth_cells():
    x = np.linspace(0, 1, 46)[:, None, None] * np.ones((1, 8, 9))
    fine = spread_cells(x, (121, 19, 22), (1.5,) * 3)
    back = block_means(fine, (1.5,) * 3)
    assert fine.shape == (121, 19, 22)
    np.testing.assert_allclose(back[2:-2, 2:-2, 2:-2], x[2:-2, 2:-2, 2:-2], atol=0.01)


def test_spread_gives_every_voxel_its_cell():
    cells = np.arange(cell_count(11, 1.5))[:, None, None] * np.ones((1, 1, 1))
    found = spread_cells(cells, (11, 1, 1), (1.5,) * 3)[:, 0, 0]
    assert found.tolist() == [0, 0, 1, 1, 2, 2, 2, 3, 3, 3, 4]  # centres at 0, 1.5, …; cells ±2 around 0, 4, …


def test_ratios_by_hand():
    volumes = {"GM": 600.0, "brain": 1200.0, "Left-Thalamus": 7.0, "Right-Thalamus": 5.0}
    ratios = usable_ratios([volumes])
    assert [ratio.name for ratio in ratios] == ["grey_matter", "thalamus"]
    assert volume_ratios(volumes, ratios).tolist() == [0.5, 0.01]
    assert usable_ratios([volumes, {"GM": 1.0, "brain": 2.0}]) == (RATIOS[0],)


@pytest.mark.parametrize("volumes", [{"GM": 1.0}, {"GM": np.nan, "brain": 1.0}, {"GM": 1.0, "brain": 0.0}, {"GM": -1.0, "brain": 1.0}])
def test_ratios_without_meaning_are_refused(volumes):
    with pytest.raises(UnusableInput):
        volume_ratios(volumes, RATIOS[:1])


def test_default_ratios_are_regions_of_the_atlas():
    from brainage_bids.imaging.volumes import read_regions

    known = {region.name for region in read_regions()} | {"GM", "WM", "CSF", "brain"}
    assert {part for ratio in RATIOS for part in ratio.parts} <= known


def test_json_and_back():
    assert ratios_from_json(ratios_to_json(RATIOS)) == RATIOS
    with pytest.raises(BadConfiguration):
        ratios_from_json([{"name": "x", "numerator": ["GM"]}])
    assert VolumeRatio("x", ("a",), ("b", "c")).parts == ("a", "b", "c")


def test_volumes_from_tables(tmp_path):
    (tmp_path / "v.tsv").write_text("participant_id\tsession_id\tGM\tWM\tCSF\tbrain\tmask\nsub-1\tn/a\t600\t500.5\tn/a\t1100.5\t1300\n")
    (tmp_path / "a.tsv").write_text("participant_id\tindex\tname\themisphere\tvolume_mm3\nsub-1\t10\tLeft-Thalamus\tL\t7000\n")
    assert read_volumes(tmp_path / "v.tsv", tmp_path / "a.tsv") == {"GM": 600.0, "WM": 500.5, "brain": 1100.5, "Left-Thalamus": 7000.0}


@pytest.mark.parametrize("text", ["", "participant_id\tGM\nsub-1\t3\n", "GM\tbrain\n1\t2\n1\t2\n", "GM\tbrain\nmuch\t2\n"])
def test_bad_tables_are_refused(tmp_path, text):
    (tmp_path / "v.tsv").write_text(text)
    with pytest.raises(UnusableInput, match=r"v\.tsv"):
        read_volumes(tmp_path / "v.tsv")


def test_missing_table(tmp_path):
    with pytest.raises(UnusableInput, match="cannot be read"):
        read_volumes(tmp_path / "v.tsv")
