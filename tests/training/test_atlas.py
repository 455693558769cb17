import numpy as np
import pytest

from brainage_bids.imaging.volumes import read_regions
from brainage_bids.imaging.warps import WARP_GRID, SpatialMap
from brainage_bids.training.atlas import main, paint_brain, read_at_template


def test_paint_tells_tissues_apart_and_leaves_the_outside_black():
    labels = np.zeros((30, 30, 60), dtype=int)
    for i, code in enumerate((24, 3, 10, 2, 507)):
        labels[4:26, 4:26, 5 + 10 * i : 15 + 10 * i] = code
    image = paint_brain(labels, read_regions())
    levels = [image[15, 15, 10 + 10 * i] for i in range(5)]
    assert levels[0] < levels[1] < levels[2] < levels[3]
    assert levels[4] == 0


def test_codes_are_read_where_the_map_points():
    shift = np.eye(4)
    shift[0, 3] = 30
    still = np.zeros((*WARP_GRID.shape, 3), dtype=np.float32)
    labels = np.zeros((50, 40, 40), dtype=np.uint16)
    labels[25:] = 10
    affine = np.eye(4)
    affine[:3, 3] = (0, -20, -20)
    codes = read_at_template(labels, affine, SpatialMap(shift, still, still))
    assert codes.shape == (8, *WARP_GRID.shape)
    at = lambda x: codes[:, round((x + 90) / 1.5), 84, 48]  # noqa: E731
    assert (at(-15) == 0).all() and (at(6) == 10).all() and (at(60) == 0).all()


def test_a_name_that_is_not_there_cannot_be_left_out(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main([str(tmp_path), str(tmp_path / "out.nii.gz"), "--leave-out", "nobody"])
    assert "nobody" in capsys.readouterr().err
