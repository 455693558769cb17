import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brainage_bids.reports import mosaic


def planned(images):
    volume, mask = mosaic.load(images["t1w"]), np.asarray(images["mask"].dataobj) > 0
    return volume, mask, mosaic.plan(volume, mask, 4.0)


def middle(layout, plane):
    tiles = [tile for tile in layout.tiles if tile.plane == plane]
    return tiles[len(tiles) // 2]


@pytest.mark.parametrize("plane", ["axial", "coronal"])
def test_the_right_of_the_person_is_right_in_the_picture(head, plane):
    volume, _, layout = planned(head)
    tile = middle(layout, plane)
    part = mosaic.compose(volume.data, layout)[int(tile.y) : int(tile.y) + tile.height, int(tile.x) : int(tile.x) + tile.width]
    _, columns = np.nonzero(part > 140)
    assert columns.size and columns.min() > tile.width / 2


@pytest.mark.parametrize("axes", [("L", "A", "S"), ("L", "P", "S"), ("S", "L", "P"), ("A", "I", "R")])
def test_stored_orientation_does_not_change_the_picture(head, axes):
    turn = nib.orientations.ornt_transform(nib.orientations.axcodes2ornt(("R", "A", "S")), nib.orientations.axcodes2ornt(axes))
    turned = {name: image.as_reoriented(turn) for name, image in head.items()}
    assert nib.aff2axcodes(turned["t1w"].affine) == axes
    one, two = (mosaic.load(images["t1w"]) for images in (head, turned))
    assert np.array_equal(one.data, two.data) and np.allclose(one.affine, two.affine)


@settings(max_examples=20, deadline=None)
@given(zooms=st.tuples(*[st.floats(1.0, 6.0)] * 3))
def test_tiles_keep_millimetres(tools, zooms):
    volume, _, layout = planned(tools.ball_head(zooms, 150.0))
    for tile in layout.tiles:
        across, up = ((1 if tile.axis == 0 else 0), (1 if tile.axis == 2 else 2))
        for pixels, axis in ((tile.width, across), (tile.height, up)):
            shown = (layout.box[axis, 1] - layout.box[axis, 0]) * volume.zooms[axis]
            assert pixels * layout.pixel_mm == pytest.approx(shown, abs=0.51 * layout.pixel_mm)


@pytest.mark.parametrize("zooms", [(2.0, 2.0, 2.0), (1.0, 1.0, 5.0)])
def test_outlines_lie_on_the_border_of_the_mask(tools, zooms):
    """The cut of a ball of radius 60 mm at the height h is a circle of radius sqrt(60² − h²)."""
    volume, mask, layout = planned(tools.ball_head(zooms))
    tile = middle(layout, "axial")
    lines = mosaic.contours(mask, layout)
    start = np.array([tile.x, tile.y])
    inside = [line for line in lines if np.all((line >= start) & (line <= start + [tile.width, tile.height]))]
    assert len(inside) == 1
    centre = np.array([tile.x + tile.width / 2, tile.y + tile.height / 2])
    radii = np.linalg.norm(inside[0] - centre, axis=1) * layout.pixel_mm
    assert np.abs(radii - np.sqrt(60**2 - tile.position_mm**2)).max() < 1.5 * max(zooms[:2])


def test_positions_are_millimetres_and_lie_inside_the_brain(head):
    volume, mask, layout = planned(head)
    for tile in layout.tiles:
        assert abs(tile.position_mm) < 60
        assert tile.position_mm == pytest.approx(volume.affine[tile.axis, tile.axis] * tile.index + volume.affine[tile.axis, 3])


def test_tiles_do_not_overlap_and_fill_the_canvas(head):
    _, _, layout = planned(head)
    covered = np.zeros((layout.height, layout.width), int)
    for tile in layout.tiles:
        covered[int(tile.y) : int(tile.y) + tile.height, int(tile.x) : int(tile.x) + tile.width] += 1
    assert covered.max() == 1
    assert len(layout.tiles) == 20


def test_an_empty_mask_shows_the_whole_volume(head):
    volume = mosaic.load(head["t1w"])
    layout = mosaic.plan(volume, np.zeros(volume.data.shape, bool))
    assert layout.box.tolist() == [[0, n] for n in volume.data.shape]


def test_grey_window_without_a_mask_and_without_values():
    data = np.full((3, 3, 3), np.nan)
    assert mosaic.grey_window(data, np.zeros(data.shape, bool)) == (0.0, 1.0)
    assert mosaic.grey_window(np.full((2, 2, 2), 5.0), np.ones((2, 2, 2), bool)) == (5.0, 6.0)


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=20))
def test_grey_values_keep_the_order(values):
    grey = mosaic.to_grey(np.array([sorted(values)]), (-10.0, 10.0))[0]
    assert np.all(np.diff(grey.astype(int)) >= 0)


def test_a_trailing_axis_is_dropped_and_others_are_refused():
    assert mosaic.load(nib.Nifti1Image(np.zeros((3, 3, 3, 1), np.float32), np.eye(4))).data.shape == (3, 3, 3)
    with pytest.raises(ValueError, match="3-D"):
        mosaic.load(nib.Nifti1Image(np.zeros((3, 3, 3, 2), np.float32), np.eye(4)))
