"""What is rounded in memory is what a reader of the files gets."""

import numpy as np

from brainage_bids.imaging.stored import map_as_stored, probability_as_stored, scan_as_stored, top_of_scan
from brainage_bids.imaging.transforms import read_transforms, write_transforms
from brainage_bids.imaging.warps import WARP_GRID, SpatialMap
from brainage_bids.interfaces.images import load_probability, save_scaled


def test_values_are_rounded_in_memory_as_in_files(tmp_path):
    rng = np.random.default_rng(3)
    data = rng.gamma(2.0, 151.7, (20, 21, 22)).astype(np.float32)
    mask = data > 300
    path = save_scaled(data, np.eye(4), tmp_path / "scan.nii", dtype=np.int16, top=top_of_scan(data, mask))
    np.testing.assert_array_equal(load_probability(path)[0], scan_as_stored(data, mask))
    shares = rng.random((20, 21, 22)).astype(np.float32)
    path = save_scaled(shares, np.eye(4), tmp_path / "share.nii", dtype=np.uint8, top=1.0)
    np.testing.assert_array_equal(load_probability(path)[0], probability_as_stored(shares))
    fields = rng.normal(0, 3, (2, *WARP_GRID.shape, 3)).astype(np.float32)
    way = SpatialMap(np.diag([0.9, 1.1, 1.0, 1.0]), *fields)
    write_transforms(way, tmp_path / "f.h5", tmp_path / "i.h5")
    read, rounded = read_transforms(tmp_path / "f.h5", tmp_path / "i.h5"), map_as_stored(way)
    np.testing.assert_array_equal(read.displacement, rounded.displacement)
    np.testing.assert_array_equal(read.inverse, rounded.inverse)
    np.testing.assert_array_equal(read.affine, rounded.affine)
