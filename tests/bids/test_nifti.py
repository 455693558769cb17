"""Reading an image file: no more of it than its header promises, the right voxels or one sentence, wherever a user gives one."""

import gzip
import struct
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brainage_bids.bids.nifti import SLACK, read_header, read_image
from brainage_bids.bids.selection import read_grid
from brainage_bids.files import IMAGE
from brainage_bids.records import UnusableInput

SHAPE = (20, 22, 24)
DATA = np.random.default_rng(0).integers(0, 200, SHAPE).astype(np.int16)
PLAIN = nib.Nifti1Image(DATA, np.diag([4.0, 4, 4, 1])).to_bytes()
SECOND = nib.Nifti2Image(DATA, np.diag([4.0, 4, 4, 1])).to_bytes()
READERS = {
    "load_scan": "from brainage_bids.imaging.scanfile import load_scan as read",
    "load_image": "from brainage_bids.models.contract import load_image as read",
    "load_header": "from brainage_bids.models.contract import load_header as read",
    "read_grid": "from brainage_bids.bids.selection import read_grid as read",
    "read_label_map": "from brainage_bids.training.painting import read_label_map as read",
    "_read_codes": "from brainage_bids.training.segment_sources import _read_codes as read",
    "from_label_map": "from brainage_bids.phantoms.anatomy import from_label_map as read",
}
PEAK = """
import resource, sys
from pathlib import Path
{reader}
from brainage_bids.records import UnusableInput
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    read(Path(sys.argv[1]))
except UnusableInput as error:
    print(error, file=sys.stderr)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def edited(*fields, content=PLAIN):
    raw = bytearray(content)
    for where, kind, *values in fields:
        struct.pack_into(kind, raw, where, *values)
    return bytes(raw)


def written(folder, content, name="sub-01_T1w.nii"):
    (folder / name).write_bytes(content)
    return folder / name


def refused(path):
    with pytest.raises(UnusableInput) as caught:
        read_image(path)
    message = str(caught.value)
    assert str(path) in message and message.endswith(".") and "\n" not in message
    return message


def bomb(path, *, shape=(160, 160, 160), megabytes=300, start=352.0, extension=0):
    """A file that unpacks to zeros, many more than the 8 MB that its header promises."""
    header = nib.Nifti1Header()
    header.set_data_shape(shape)
    header.set_data_dtype(np.int16)
    header.set_sform(np.diag([1.5, 1.5, 1.5, 1]), 1)
    header["magic"], header["vox_offset"] = b"n+1", start
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(header.binaryblock)
        file.write(struct.pack("<4B2i", bool(extension), 0, 0, 0, extension, 6))
        for _ in range(megabytes):
            file.write(bytes(1 << 20))
    return path


def peak_mb(reader, path):
    """Memory that reading takes at its worst, MB, and what was said."""
    done = subprocess.run(
        [sys.executable, "-c", PEAK.format(reader=READERS[reader]), str(path)], capture_output=True, text=True, check=True
    )
    return int(done.stdout) / (1024 if sys.platform == "linux" else 1024**2), done.stderr


@pytest.mark.parametrize("reader", READERS)
def test_a_file_that_unpacks_to_more_than_it_promises_takes_what_it_promises(tmp_path_factory, reader):
    path = tmp_path_factory.getbasetemp() / "sub-01_T1w.nii.gz"
    mb, said = peak_mb(reader, path if path.exists() else bomb(path))
    assert mb < 60
    if reader not in ("load_header", "read_grid"):
        assert "far more than" in said and str(path) in said and said.count("\n") == 1


@pytest.mark.parametrize("reader", ["load_scan", "read_grid", "load_header"])
def test_a_huge_extension_takes_no_memory(tmp_path, reader):
    path = bomb(tmp_path / "sub-01_T1w.nii.gz", start=250_000_000.0, extension=249_999_648)
    mb, said = peak_mb(reader, path)
    assert mb < 60
    if reader == "load_scan":
        assert "begin at byte 2.5e+08" in said


def test_a_promise_that_the_file_does_not_keep_takes_no_memory(tmp_path):
    path = bomb(tmp_path / "sub-01_T1w.nii.gz", shape=(700, 700, 700), megabytes=1)
    mb, said = peak_mb("load_scan", path)
    assert mb < 60 and "cut short" in said


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_a_file_larger_than_any_image_is_not_read(tmp_path, name):
    path = written(tmp_path, PLAIN, name)
    with open(path, "r+b") as file:
        file.truncate(IMAGE.mib * 2**20 + 1)
    assert "more than any image" in refused(path)


@pytest.mark.parametrize("dims", [(30000,) * 3, (-20, 22, 24), (0, 22, 24)])
def test_sizes_that_no_image_has(tmp_path, dims):
    assert "voxels by its header" in refused(written(tmp_path, edited((42, "<3h", *dims))))


def test_sizes_whose_product_overflows(tmp_path):
    """2^64 voxels are 0 in the arithmetic of 64 bits."""
    path = written(tmp_path, edited((24, "<3q", 2**21, 2**21, 2**22), content=SECOND))
    assert "more than fit in memory" in refused(path)


@pytest.mark.parametrize("count", [8, -3])
def test_more_dimensions_than_there_are(tmp_path, count):
    assert "damaged header" in refused(written(tmp_path, edited((40, "<h", count))))


@pytest.mark.parametrize("extra", [b"", b"g" * 1000, bytes(SLACK)])
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_little_after_the_voxels_is_let_pass(tmp_path, extra, pack):
    path = written(tmp_path, pack(PLAIN + extra))
    np.testing.assert_array_equal(np.asarray(read_image(path).dataobj), DATA)


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_much_after_the_voxels_is_not(tmp_path, pack):
    assert "far more than" in refused(written(tmp_path, pack(PLAIN + bytes(SLACK + 1))))


def members(content, size):
    return b"".join(gzip.compress(content[at : at + size]) for at in range(0, len(content), size))


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
@pytest.mark.parametrize("content", [PLAIN, gzip.compress(PLAIN), members(PLAIN, 700), gzip.compress(PLAIN) + bytes(512)])
def test_packed_or_not_whatever_the_name_says(tmp_path, name, content):
    np.testing.assert_array_equal(np.asarray(read_image(written(tmp_path, content, name)).dataobj), DATA)


@pytest.mark.parametrize("content", [gzip.compress(PLAIN) + b"no member", gzip.compress(PLAIN)[:-8] + bytes(8)])
def test_damage_behind_the_voxels_is_found(tmp_path, content):
    assert "damaged" in refused(written(tmp_path, content, "a.nii.gz"))


@pytest.mark.parametrize("content", [b"BZh9" + bytes(999), b"\x28\xb5\x2f\xfd" + bytes(999), gzip.compress(gzip.compress(PLAIN))])
def test_packed_in_another_way(tmp_path, content):
    assert "not a NIfTI file" in refused(written(tmp_path, content, "a.nii.gz"))


@pytest.mark.parametrize("value", [0.0, float("nan")])
def test_a_file_that_does_not_say_where_its_voxels_begin(tmp_path, value):
    path = written(tmp_path, edited((108, "<f", value)))
    np.testing.assert_array_equal(np.asarray(read_image(path).dataobj), DATA)
    assert read_header(path)["vox_offset"] == 352
    path = written(tmp_path, edited((108, "<f", value), (348, "B", 1)))
    assert "does not say how long" in refused(path)


def test_the_same_of_the_second_kind(tmp_path):
    path = written(tmp_path, edited((168, "<q", 0), content=SECOND))
    np.testing.assert_array_equal(np.asarray(read_image(path).dataobj), DATA)
    assert read_header(path)["vox_offset"] == 544


@pytest.mark.parametrize("value", [float("inf"), -float("inf"), -352.0, 1.0, 351.0, 353.5, 2e9, 1e30])
def test_a_place_where_voxels_cannot_begin(tmp_path, value):
    assert "where they cannot" in refused(written(tmp_path, edited((108, "<f", value))))


@pytest.mark.parametrize("size", [16, 17, 1000])
@pytest.mark.parametrize("said", [None, 0, -1, 2_000_000_000])
def test_an_extension_of_any_size(tmp_path, size, said):
    body = struct.pack("<2i", size if said is None else said, 6) + b"x" * (size - 8)
    head = edited((108, "<f", 352.0 + size), (348, "B", 1))
    np.testing.assert_array_equal(np.asarray(read_image(written(tmp_path, head[:352] + body + head[352:])).dataobj), DATA)


def test_no_slope_means_no_intercept_either(tmp_path):
    for slope in (0.0, float("nan"), float("inf")):
        path = written(tmp_path, edited((112, "<2f", slope, 100.0)))
        np.testing.assert_array_equal(np.asarray(read_image(path).dataobj), DATA)
    assert "intercept" in refused(written(tmp_path, edited((112, "<2f", 1.0, float("nan")))))


def test_an_image_that_lies_nowhere(tmp_path):
    assert "no usable orientation" in refused(written(tmp_path, edited((280, "<f", float("nan")), (254, "<h", 1))))


def test_voxel_sizes_of_headers_without_sense(tmp_path):
    assert read_grid(written(tmp_path, PLAIN)).voxel_mm == (4.0, 4.0, 4.0)
    for path in (written(tmp_path, edited((80, "<f", 0.0))), written(tmp_path, b"x"), tmp_path / "none.nii"):
        assert read_grid(path) is None


@settings(max_examples=200, deadline=None)
@given(at=st.integers(0, 351), patch=st.binary(min_size=1, max_size=8))
def test_any_header_gives_the_voxels_or_a_sentence(tmp_path_factory, at, patch):
    raw = bytearray(PLAIN)
    raw[at : at + len(patch)] = patch
    path = Path(tmp_path_factory.getbasetemp()) / "odd.nii"
    path.write_bytes(raw[: len(PLAIN)])
    try:
        image = read_image(path)
    except UnusableInput as error:
        assert str(path) in str(error)
    else:
        assert np.asarray(image.dataobj).size >= 1 and np.isfinite(image.affine).all()
