"""Reading: what nibabel reads is read the same, what is damaged is named in one sentence."""

import gzip
import os

import nibabel as nib
import numpy as np
import pytest

from brainage_bids.imaging.scanfile import MAX_VOXELS, check_type, load_scan, spatial_shape
from brainage_bids.records import UnusableInput

SHAPE = (20, 22, 24)
AFFINE = np.array([[-5.0, 0, 0, 50], [0, 4.5, 0, -48], [0, 0, 4.0, -47], [0, 0, 0, 1]])


def noise(dtype="int16"):
    return np.random.default_rng(0).integers(0, 200, SHAPE).astype(dtype)


def written(path, data=None, kind=nib.Nifti1Image, affine=AFFINE):
    nib.save(kind(noise() if data is None else data, affine), path)
    return path


def refused(path):
    """The message, which names the file and is one sentence."""
    with pytest.raises(UnusableInput) as caught:
        load_scan(path)
    message = str(caught.value)
    assert str(path) in message and message.endswith(".") and "\n" not in message
    return message


@pytest.mark.parametrize("name", ["sub-01_T1w.nii", "sub-01_T1w.nii.gz", "späce und ümlaut.nii.gz"])
@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32", "float64"])
def test_voxels_affine_and_header_are_nibabels(tmp_path, name, kind, dtype):
    path = written(tmp_path / name, noise(dtype), kind)
    ours, theirs = load_scan(path), nib.load(path)
    np.testing.assert_array_equal(ours.get_fdata(), theirs.get_fdata())
    np.testing.assert_array_equal(ours.affine, theirs.affine)
    assert ours.header.binaryblock == theirs.header.binaryblock
    assert ours.get_filename() == str(path)


def test_slope_and_intercept_are_applied(tmp_path):
    image = nib.Nifti1Image(noise(), AFFINE)
    image.header.set_slope_inter(0.25, -3)
    image.set_data_dtype("int16")
    nib.save(image, tmp_path / "a.nii.gz")
    header = bytearray(gzip.decompress((tmp_path / "a.nii.gz").read_bytes()))
    header[112:120] = np.array([0.25, -3], "<f4").tobytes()
    (tmp_path / "b.nii").write_bytes(header)
    np.testing.assert_allclose(load_scan(tmp_path / "b.nii").get_fdata(), nib.load(tmp_path / "b.nii").get_fdata())
    assert load_scan(tmp_path / "b.nii").get_fdata().min() == -3


def test_a_big_endian_file_reads_the_same(tmp_path):
    image = nib.Nifti1Image(noise(), AFFINE, nib.Nifti1Header(endianness=">"))
    nib.save(image, tmp_path / "big.nii")
    assert (tmp_path / "big.nii").read_bytes()[:4] == b"\x00\x00\x01\x5c"
    np.testing.assert_array_equal(load_scan(tmp_path / "big.nii").get_fdata(), noise())


def test_gzip_under_a_plain_name_is_read_all_the_same(tmp_path):
    path = written(tmp_path / "a.nii.gz")
    other = path.rename(tmp_path / "a.nii")
    np.testing.assert_array_equal(load_scan(other).get_fdata(), noise())


def test_a_missing_file(tmp_path):
    assert "does not exist" in refused(tmp_path / "gone.nii.gz")


def test_a_folder(tmp_path):
    (tmp_path / "folder.nii.gz").mkdir()
    assert "not a file" in refused(tmp_path / "folder.nii.gz")


def test_a_broken_annex_link(tmp_path):
    link = tmp_path / "a.nii.gz"
    link.symlink_to("../.git/annex/objects/xx/MD5E-s1--0.nii.gz/MD5E-s1--0.nii.gz")
    assert "fetch it first" in refused(link)


@pytest.mark.parametrize("text", ["/annex/objects/MD5E-s12--aa.nii.gz\n", "version https://git-lfs.github.com/spec/v1\noid sha256:0\n"])
def test_an_unfetched_pointer(tmp_path, text):
    (tmp_path / "a.nii.gz").write_text(text)
    assert "fetch it first" in refused(tmp_path / "a.nii.gz")


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_an_empty_file(tmp_path, name):
    (tmp_path / name).touch()
    assert "0 bytes" in refused(tmp_path / name)


@pytest.mark.parametrize("share", [0.01, 0.3, 0.9, 0.999])
def test_a_truncated_gzip_wherever_it_ends(tmp_path, share):
    path = written(tmp_path / "a.nii.gz")
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    assert "cut short" in refused(path)


def test_a_gzip_that_lacks_its_last_byte_only(tmp_path):
    path = written(tmp_path / "a.nii.gz")
    path.write_bytes(path.read_bytes()[:-1])
    nib.load(path).get_fdata()  # nibabel does not notice
    assert "cut short" in refused(path)


def test_a_truncated_plain_file(tmp_path):
    path = written(tmp_path / "a.nii")
    path.write_bytes(path.read_bytes()[:-100])
    assert "cut short" in refused(path) and f"{352 + noise().nbytes}" in refused(path)


def test_a_flipped_bit_is_found_by_the_checksum(tmp_path):
    path = tmp_path / "a.nii.gz"
    plain = written(tmp_path / "a.nii").read_bytes()
    packed = bytearray(gzip.compress(plain, compresslevel=0))
    packed[len(packed) // 2] ^= 1
    path.write_bytes(packed)
    assert "damaged" in refused(path)


def test_garbage_inside_the_compressed_stream(tmp_path):
    path = written(tmp_path / "a.nii.gz")
    content = bytearray(path.read_bytes())
    content[5000:5100] = os.urandom(100)
    path.write_bytes(content)
    assert "damaged" in refused(path) or "cut short" in refused(path)


@pytest.mark.parametrize("content", [b"hello", b"x" * 5000, b"\x00" * 5000])
def test_something_else_under_the_name(tmp_path, content):
    (tmp_path / "a.nii").write_bytes(content)
    assert "not a NIfTI" in refused(tmp_path / "a.nii")


def test_another_format(tmp_path):
    nib.save(nib.MGHImage(noise("float32"), AFFINE), tmp_path / "a.mgz")
    assert ".nii" in refused(tmp_path / "a.mgz")


def test_half_of_a_pair(tmp_path):
    nib.save(nib.Nifti1Pair(noise(), AFFINE), tmp_path / "a.hdr")
    (tmp_path / "a.hdr").rename(tmp_path / "a.nii")
    assert "pair" in refused(tmp_path / "a.nii")


def test_an_unknown_voxel_type(tmp_path):
    path = written(tmp_path / "a.nii")
    content = bytearray(path.read_bytes())
    content[70:72] = np.array(9999, "<i2").tobytes()
    path.write_bytes(content)
    assert "damaged header" in refused(path)


def test_a_file_that_may_not_be_read_is_named(tmp_path, monkeypatch):
    path = written(tmp_path / "a.nii")

    def broken(*args, **kwargs):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("builtins.open", broken)
    assert "Input/output error" in refused(path)


def test_several_volumes_are_counted(tmp_path):
    written(tmp_path / "a.nii", np.zeros((*SHAPE, 3), "int16"))
    assert "3 volumes" in refused(tmp_path / "a.nii")


def test_a_picture(tmp_path):
    written(tmp_path / "a.nii", np.zeros((200, 200), "int16"))
    assert "three dimensions" in refused(tmp_path / "a.nii")


def test_colours_and_complex_numbers(tmp_path):
    colours = np.zeros(SHAPE, dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    assert "RGB" in refused(written(tmp_path / "rgb.nii", colours))
    assert "magnitude" in refused(written(tmp_path / "complex.nii", noise("complex64")))
    check_type(np.dtype("float32"), "x")


def test_a_header_that_promises_too_much_is_refused_before_any_memory_is_taken(tmp_path):
    header = nib.Nifti1Header()
    header.set_data_shape((2000, 2000, 2000))
    header["magic"], header["vox_offset"] = b"n+1", 352
    (tmp_path / "a.nii").write_bytes(header.binaryblock + b"\x00" * 100)
    assert "memory" in refused(tmp_path / "a.nii")
    assert MAX_VOXELS < 2000**3


def test_header_fields_without_sense_stay_visible(tmp_path):
    image = nib.Nifti1Image(noise(), AFFINE)
    content = bytearray(image.to_bytes())
    content[76:92] = np.array([0, 0, -4.5, np.inf], "<f4").tobytes()  # pixdim 0 to 3
    content[252:256] = np.array([77, -3], "<i2").tobytes()  # qform and sform codes
    (tmp_path / "a.nii").write_bytes(content)
    header = load_scan(tmp_path / "a.nii").header
    np.testing.assert_array_equal(header["pixdim"][:4], np.array([1, np.nan, 4.5, np.nan], "f4"))
    assert header["qform_code"] == header["sform_code"] == 0


def test_an_unreadable_quaternion_leaves_the_affine_out(tmp_path):
    image = nib.Nifti1Image(noise(), AFFINE)
    image.set_sform(None, code=0)
    content = bytearray(image.to_bytes())
    content[252:256] = np.array([1, 0], "<i2").tobytes()
    content[256:268] = np.array([2, 2, 2], "<f4").tobytes()
    (tmp_path / "a.nii").write_bytes(content)
    assert load_scan(tmp_path / "a.nii").affine is None


@pytest.mark.parametrize("shape", [(20, 20, 20), (20, 20, 20, 1), (20, 20, 20, 1, 1)])
def test_one_volume_however_it_is_written(shape):
    assert spatial_shape(shape, "x") == (20, 20, 20)


@pytest.mark.parametrize(
    "shape", [(), (20,), (20, 20), (20, 20, 15), (1, 20, 20, 20), (20, 20, 20, 2), (20, 20, 20, 1, 3), (20, 20, 20, 0)]
)
def test_shapes_that_are_no_volume(shape):
    with pytest.raises(UnusableInput):
        spatial_shape(shape, "x")
