"""Conforming: the same head in the same place whatever the file's order, type and faults."""

import itertools
import os
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nibabel.orientations import apply_orientation, inv_ornt_aff

from brainage_bids.imaging.conform import cleaned, conform, load_scan
from brainage_bids.records import FLAGS, UnusableInput

SHAPE = (24, 28, 20)
AFFINE = np.array([[7.0, 0.3, -0.2, -80], [-0.3, 7.0, 0.1, -95], [0.2, -0.1, 7.0, -70], [0, 0, 0, 1]])
AFFINE[:3, :3] = np.linalg.svd(AFFINE[:3, :3])[0] @ np.linalg.svd(AFFINE[:3, :3])[2] * 7.0
REAL = Path(os.environ.get("BRAINAGE_TEST_DATA", Path(__file__).parents[2] / ".." / "shared" / "data"))
ORDERS = [
    np.array([[axis, flip] for axis, flip in zip(axes, flips)])
    for axes in itertools.permutations(range(3))
    for flips in itertools.product((-1, 1), repeat=3)
]


def head(seed=0):
    """Positive noise on a ball, zeros around it."""
    index = np.stack(np.meshgrid(*[np.linspace(-1, 1, n) for n in SHAPE], indexing="ij"))
    inside = (index**2).sum(axis=0) < 0.8
    return (np.random.default_rng(seed).uniform(100, 900, SHAPE) * inside).astype(np.float32)


def made(data=None, affine=AFFINE):
    return nib.Nifti1Image(head() if data is None else data, affine)


def result(data=None):
    conformed = conform(made(data))
    return conformed, np.asanyarray(conformed.image.dataobj)


@pytest.mark.parametrize("order", ORDERS, ids=lambda order: "".join(map(str, order.ravel())))
def test_any_order_of_axes_gives_the_same_image(order):
    data = head()
    shuffled = nib.Nifti1Image(apply_orientation(data, order), AFFINE @ inv_ornt_aff(order, SHAPE))
    conformed = conform(shuffled)
    assert nib.aff2axcodes(conformed.image.affine) == ("R", "A", "S")
    np.testing.assert_array_equal(np.asanyarray(conformed.image.dataobj), data)
    np.testing.assert_allclose(conformed.image.affine, AFFINE, atol=1e-4)
    assert conformed.flags == () and conformed.notes == ()


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_every_voxel_keeps_its_place_in_the_world(data):
    angles = data.draw(st.lists(st.floats(-np.pi, np.pi), min_size=3, max_size=3))
    sizes = data.draw(st.lists(st.floats(5, 9), min_size=3, max_size=3))
    from scipy.spatial.transform import Rotation

    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", angles).as_matrix() * sizes
    affine[:3, 3] = data.draw(st.lists(st.floats(-200, 200), min_size=3, max_size=3))
    volume = head()
    out = conform(nib.Nifti1Image(volume, affine)).image
    voxel = np.array([data.draw(st.integers(0, size - 1)) for size in SHAPE])
    world = affine[:3, :3] @ voxel + affine[:3, 3]
    found = np.linalg.inv(out.affine) @ [*world, 1]
    np.testing.assert_allclose(found[:3], found[:3].round(), atol=1e-3)
    assert np.asanyarray(out.dataobj)[tuple(found[:3].round().astype(int))] == volume[tuple(voxel)]
    assert np.all(np.abs(out.affine[:3, :3]).argmax(axis=0).tolist() == [0, 1, 2]) or max(map(abs, angles)) > 0.5


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32", "float64", ">i2", ">f4"])
def test_any_type_becomes_float32_with_the_same_values(dtype):
    data = head().round() // 4
    conformed, out = result(data.astype(dtype))
    np.testing.assert_array_equal(out, data)
    assert out.dtype == np.float32 and out.flags["C_CONTIGUOUS"] and conformed.notes == ()


def test_scaled_files_are_scaled(tmp_path):
    image = made(head().astype(np.int16))
    content = bytearray(image.to_bytes())
    content[112:120] = np.array([0.5, 10], "<f4").tobytes()
    (tmp_path / "a.nii").write_bytes(content)
    for loaded in (load_scan(tmp_path / "a.nii"), nib.load(tmp_path / "a.nii")):
        np.testing.assert_array_equal(np.asanyarray(conform(loaded).image.dataobj), head().astype(np.int16) * 0.5 + 10)


def test_the_header_written_is_plain_and_complete(tmp_path):
    conformed = conform(made())
    nib.save(conformed.image, tmp_path / "out.nii.gz")
    header = nib.load(tmp_path / "out.nii.gz").header
    assert int(header["sform_code"]) == int(header["qform_code"]) == 1
    np.testing.assert_allclose(header.get_sform(), header.get_qform(), atol=1e-3)
    assert header.get_xyzt_units() == ("mm", "sec") and header.get_data_dtype() == np.float32


@pytest.mark.parametrize("extra", [(1,), (1, 1)])
def test_a_fourth_dimension_of_one_volume_goes(extra):
    conformed, out = result(head().reshape(*SHAPE, *extra))
    np.testing.assert_array_equal(out, head())
    assert conformed.image.shape == SHAPE


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (np.zeros((*SHAPE, 4), np.float32), "4 volumes"),
        (np.zeros(SHAPE, np.float32), "only zeros"),
        (np.full(SHAPE, 7, np.float32), r"the same value \(7\)"),
        (np.full(SHAPE, np.nan, np.float32), "no finite value"),
        ((head() > 0).astype(np.uint8), "mask"),
        (head().astype(np.complex64), "complex"),
        (np.zeros(SHAPE, dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")]), "RGB"),
        (head()[:10], "at least 16"),
    ],
)
def test_what_is_no_scan_is_refused_by_name(data, fault):
    with pytest.raises(UnusableInput, match=fault) as caught:
        conform(made(data), "sub-01_T1w.nii.gz")
    assert str(caught.value).startswith("sub-01_T1w.nii.gz ") and str(caught.value).endswith(".")


def test_too_little_signal_is_refused():
    data = np.zeros(SHAPE, np.float32)
    data[10:16, 10:16, 8:10] = head()[10:16, 10:16, 8:10]  # 72 voxels of 343 mm³: 25 mL
    with pytest.raises(UnusableInput, match="25 mL"):
        conform(made(data))


def test_a_few_lost_voxels_become_zero_and_are_counted():
    data = head()
    data[12, 14, 10], data[12, 15, 10], data[11, 14, 10] = np.nan, np.inf, -np.inf
    conformed, out = result(data)
    assert out[12, 14, 10] == out[12, 15, 10] == out[11, 14, 10] == 0
    assert np.isfinite(out).all() and "3 voxels" in conformed.notes[0] and "(3 of them" in conformed.notes[0]


@pytest.mark.parametrize("share", [0.03, 0.15, 0.4, 0.7])
def test_much_loss_inside_the_head_is_refused(share):
    data = head()
    data[np.random.default_rng(1).random(SHAPE) < share] = np.nan
    with pytest.raises(UnusableInput, match="lost"):
        conform(made(data))


def test_a_hole_inside_the_head_counts_as_loss():
    data = head()
    data[8:16, 10:18, 6:14] = np.nan
    with pytest.raises(UnusableInput, match="lost"):
        conform(made(data))


def test_nan_around_an_extracted_brain_is_background():
    data = head()
    data[data == 0] = np.nan
    conformed, out = result(data)
    np.testing.assert_array_equal(out, head())
    assert len(conformed.notes) == 1


def test_values_beyond_float32_count_as_lost():
    data = head().astype(np.float64)
    data[12, 14, 10] = 1e300
    assert result(data)[1][12, 14, 10] == 0


def test_ringing_is_cut_at_zero():
    data = head()
    edge = (data == 0) & (np.random.default_rng(2).random(SHAPE) < 0.2)
    data[edge] = -3.0
    data[0, 0, 0] = -3.5
    conformed, out = result(data)
    np.testing.assert_array_equal(out, head())
    assert "slightly negative" in conformed.notes[0] or "padding" in conformed.notes[0]


def test_padding_becomes_zero_and_tissue_keeps_its_values():
    data = head()
    data[data == 0] = -1024
    conformed, out = result(data)
    np.testing.assert_array_equal(out, head())
    assert "-1024" in conformed.notes[0]


def test_centred_intensities_are_shifted_in_order_and_the_surroundings_stay_zero():
    data = head()
    inside = data > 0
    data[inside] = (data[inside] - data[inside].mean()) / data[inside].std()
    conformed, out = result(data)
    assert out.min() == 0 and np.all(out[~inside] == 0)
    top = out[inside] > np.percentile(out[inside], 1)
    ranks = np.argsort(np.argsort(out[inside][top], kind="stable"))
    np.testing.assert_array_equal(ranks, np.argsort(np.argsort(data[inside][top], kind="stable")))
    assert "shifted" in conformed.notes[-1]


def test_spikes_are_cut_and_the_rest_is_left_alone():
    data = head()
    data[12, 14, 10] = 1e9
    conformed, out = result(data)
    assert out[12, 14, 10] == pytest.approx(9000, rel=0.02)
    out[12, 14, 10] = data[12, 14, 10]
    np.testing.assert_array_equal(out, data)
    assert "1 voxels brighter" in conformed.notes[0]


@pytest.mark.parametrize("factor", [1e-9, 1e12])
def test_extreme_ranges_are_scaled_and_proportions_kept(factor):
    conformed, out = result(head() * np.float32(factor))
    assert np.percentile(out[out > 0], 99.9) == pytest.approx(1000, rel=0.01)
    np.testing.assert_allclose(out / out.max(), head() / head().max(), atol=1e-6)
    assert "scaled" in conformed.notes[0]


@pytest.mark.parametrize("factor", [1e-3, 1.0, 100.0])
def test_ordinary_ranges_are_left_alone(factor):
    _, out = result(head() * np.float32(factor))
    np.testing.assert_array_equal(out, head() * np.float32(factor))


def test_cleaning_works_in_place():
    data = head()
    data[12, 14, 10] = np.nan
    cleaned(data, 343.0, "x")
    assert data[12, 14, 10] == 0


def test_a_repaired_header_raises_a_flag_of_the_closed_list():
    image = made()
    image.header["sform_code"] = image.header["qform_code"] = 0
    image.header["pixdim"][1:4] = 7.0
    conformed = conform(image)
    assert conformed.flags == ("header_repaired",) and conformed.flags[0] in FLAGS and conformed.notes


def test_the_scan_itself_is_not_changed():
    data = head()
    data[data == 0] = -5
    kept = data.copy()
    conform(made(data))
    np.testing.assert_array_equal(data, kept)


REAL_SCANS = [
    ("ds002748/sub-01/anat/sub-01_T1w.nii.gz", (288, 288, 181)),
    ("ixi2mm/sub-IXI012/anat/sub-IXI012_T1w.nii.gz", (90, 120, 120)),
    ("openms/sub-ms01/ses-1/anat/sub-ms01_ses-1_T1w.nii.gz", (320, 320, 39)),
]


@pytest.mark.real
@pytest.mark.parametrize(("name", "shape"), REAL_SCANS)
def test_real_scans_agree_with_nibabels_canonical_form(name, shape):
    if not (REAL / name).exists():
        pytest.skip(f"{name} is not under BRAINAGE_TEST_DATA ({REAL})")
    conformed = conform(load_scan(REAL / name))
    expected = nib.as_closest_canonical(nib.load(REAL / name))
    assert conformed.image.shape == shape and conformed.flags == () and conformed.notes == ()
    np.testing.assert_allclose(conformed.image.affine, expected.affine, atol=1e-3)
    np.testing.assert_allclose(np.asanyarray(conformed.image.dataobj), expected.get_fdata(dtype=np.float32), rtol=1e-6)


@pytest.mark.parametrize("dtype", ["int32", "uint32", "int64", "float64"])
@pytest.mark.parametrize("slope", [1.0, 0.5])
def test_values_stored_far_from_zero_come_back_to_their_last_digit(tmp_path, dtype, slope):
    """2^30 + 1 is no float32: read as one before the intercept is added, intensities would go in steps of 64."""
    far = 2**30
    data = np.rint(head()).astype("int64")
    turned = AFFINE[:, [1, 2, 0, 3]]  # axes in another order than conforming gives
    image = nib.Nifti1Image((data + far).astype(dtype), turned, dtype=np.dtype(dtype))
    content = bytearray(image.to_bytes())
    content[112:120] = np.array([slope, -far * slope], "<f4").tobytes()
    (tmp_path / "a.nii").write_bytes(content)
    read = conform(load_scan(tmp_path / "a.nii")).image.get_fdata(dtype=np.float32)
    plain = conform(made((data * slope).astype(np.float32), turned)).image
    assert plain.shape != SHAPE
    np.testing.assert_array_equal(read, plain.get_fdata(dtype=np.float32))
