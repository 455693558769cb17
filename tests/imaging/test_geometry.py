"""Which orientation is believed, what is repaired, what is refused."""

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brainage_bids.imaging.geometry import orthogonalised, read_geometry, shear_degrees
from brainage_bids.imaging.grids import voxel_sizes
from brainage_bids.records import UnusableInput

SHAPE = (180, 200, 160)


def turned(degrees, sizes=(1.0, 1.0, 1.0), origin=(-90.0, -100.0, -80.0)):
    """Axes turned about x, voxel sizes, origin."""
    angle = np.radians(degrees)
    affine = np.eye(4)
    affine[1:3, 1:3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    affine[:3, :3] *= sizes
    affine[:3, 3] = origin
    return affine


def header(sform=None, qform=None, pixdim=None, unit="mm"):
    out = nib.Nifti1Header()
    out.set_data_shape(SHAPE)
    out.set_xyzt_units(unit)
    if qform is not None:
        out.set_qform(qform, code=1)
    if pixdim is not None:
        out["pixdim"][1:4] = pixdim
    if sform is not None:
        out["sform_code"] = 1
        out["srow_x"], out["srow_y"], out["srow_z"] = np.asarray(sform)[:3]
    return out


def read(*args, **kwargs):
    return read_geometry(header(*args, **kwargs), SHAPE, "scan.nii")


@pytest.mark.parametrize("degrees", [0, 7, 40, 90])
def test_a_sound_header_is_taken_as_it_is(degrees):
    affine = turned(degrees, (0.9, 1.0, 1.2))
    geometry = read(affine, affine)
    np.testing.assert_allclose(geometry.affine, affine, atol=1e-4)
    assert not geometry.repaired and geometry.notes == ()


def test_either_form_alone_will_do():
    affine = turned(12, (0.9, 1.0, 1.2))
    for kwargs in ({"sform": affine, "pixdim": (0.9, 1.0, 1.2)}, {"qform": affine}):
        geometry = read(**kwargs)
        np.testing.assert_allclose(geometry.affine, affine, atol=1e-4)
        assert not geometry.repaired


@pytest.mark.parametrize("broken", [np.zeros((4, 4)), np.full((4, 4), np.nan), turned(0)[[0, 0, 2, 3]]])
def test_a_degenerate_sform_gives_way_to_the_qform(broken):
    affine = turned(12, (0.9, 1.0, 1.2))
    geometry = read(broken, affine)
    np.testing.assert_allclose(geometry.affine, affine, atol=1e-4)
    assert geometry.repaired and "sform" in geometry.notes[0]


def test_a_broken_qform_beside_a_sound_sform_does_no_harm():
    bad = header(turned(5), turned(5))
    bad["quatern_b"] = bad["quatern_c"] = 3.0
    geometry = read_geometry(bad, SHAPE, "scan.nii")
    np.testing.assert_allclose(geometry.affine, turned(5), atol=1e-5)
    assert not geometry.repaired and "qform is not finite" in geometry.notes[0].replace("the qform", "qform")


def test_no_orientation_at_all_leaves_the_voxel_sizes_as_nibabel_reads_them():
    bare = header(pixdim=(0.9, 1.0, 1.2))
    geometry = read_geometry(bare, SHAPE, "scan.nii")
    np.testing.assert_allclose(geometry.affine, bare.get_base_affine(), atol=1e-4)
    assert geometry.repaired and "left" in geometry.notes[0]


def test_nothing_usable_is_refused():
    with pytest.raises(UnusableInput, match="scan.nii has no usable orientation"):
        read(np.zeros((4, 4)), None, (np.nan, 1, 1))


@pytest.mark.parametrize(("degrees", "repaired"), [(0.0, False), (0.01, False), (1.0, True), (4.9, True)])
def test_a_little_shear_becomes_right_angles(degrees, repaired):
    sheared = turned(0)
    sheared[0, 1] = np.tan(np.radians(degrees))
    sheared[:3, 1] /= np.linalg.norm(sheared[:3, 1])
    assert shear_degrees(sheared) == pytest.approx(degrees, abs=1e-9)
    geometry = read(sheared, pixdim=(1, 1, 1))
    assert shear_degrees(geometry.affine) < 1e-3 and geometry.repaired == repaired
    np.testing.assert_allclose(voxel_sizes(geometry.affine), 1, atol=1e-5)


def test_much_shear_is_refused_unless_the_qform_is_sound():
    sheared = turned(0)
    sheared[0, 1] = 0.2
    with pytest.raises(UnusableInput, match="right angles"):
        read(sheared, pixdim=(1, 1, 1))
    np.testing.assert_allclose(read(sheared, turned(0)).affine, turned(0), atol=1e-5)


def test_a_sform_scaled_to_a_template_gives_way_to_the_scanners_qform():
    native = turned(3, (1.0, 1.0, 1.0))
    geometry = read(np.diag([1.1, 1.15, 1.2, 1.0]) @ native, native)
    np.testing.assert_allclose(voxel_sizes(geometry.affine), 1.0, atol=1e-5)
    assert geometry.repaired


@pytest.mark.parametrize(
    ("in_sform", "in_pixdim", "expected"),
    [
        ((1, 1, 1), (0.9, 0.9, 1.2), (0.9, 0.9, 1.2)),
        ((0.9, 0.9, 1.2), (1, 1, 1), (0.9, 0.9, 1.2)),
        ((0.9, 0.9, 1.2), (0.8, 0.8, 1), (0.9, 0.9, 1.2)),
    ],
)
def test_of_two_voxel_sizes_the_one_somebody_set_counts(in_sform, in_pixdim, expected):
    geometry = read(turned(0, in_sform), pixdim=in_pixdim)
    np.testing.assert_allclose(voxel_sizes(geometry.affine), expected, rtol=1e-5)
    assert geometry.repaired and "disagrees" in geometry.notes[0]


def test_voxel_sizes_of_zero_are_taken_from_the_sform():
    geometry = read(turned(0, (0.9, 1.0, 1.1)), pixdim=(np.nan, np.nan, np.nan))
    np.testing.assert_allclose(voxel_sizes(geometry.affine), (0.9, 1.0, 1.1), rtol=1e-5)
    assert geometry.repaired


def test_forms_that_mirror_each_other_are_flagged_and_the_sform_wins():
    mirrored = turned(0)
    mirrored[0] *= -1
    geometry = read(turned(0), mirrored)
    np.testing.assert_allclose(geometry.affine, turned(0), atol=1e-5)
    assert geometry.repaired and "(RAS)" in geometry.notes[0] and "(LAS)" in geometry.notes[0]


@pytest.mark.parametrize(("degrees", "notes", "repaired"), [(0.5, 0, False), (10, 1, False), (90, 1, True)])
def test_forms_turned_against_each_other(degrees, notes, repaired):
    geometry = read(turned(0), turned(degrees))
    assert len(geometry.notes) == notes and geometry.repaired == repaired


@pytest.mark.parametrize(("unit", "factor"), [("meter", 1e-3), ("micron", 1e3)])
def test_other_units_become_millimetres(unit, factor):
    small = np.diag([factor] * 3 + [1.0]) @ turned(0, (0.9, 1.0, 1.1))
    geometry = read(small, small, unit=unit)
    np.testing.assert_allclose(geometry.affine, turned(0, (0.9, 1.0, 1.1)), rtol=1e-4)
    assert geometry.repaired


def test_units_that_the_numbers_contradict_are_not_believed():
    geometry = read(turned(0), turned(0), unit="meter")
    np.testing.assert_allclose(geometry.affine, turned(0), atol=1e-5)
    assert geometry.repaired


@pytest.mark.parametrize("origin", [(np.nan, 0, 0), (1e6, 0, 0)])
def test_an_origin_far_out_moves_to_the_middle(origin):
    geometry = read(turned(0, origin=origin), pixdim=(1, 1, 1))
    centre = geometry.affine @ [*(np.array(SHAPE) - 1) / 2, 1]
    np.testing.assert_allclose(centre[:3], 0, atol=1e-3)
    assert geometry.repaired


def test_an_isocentre_half_a_metre_away_is_ordinary():
    assert not read(turned(0, origin=(400, -300, -900)), pixdim=(1, 1, 1)).repaired


@pytest.mark.parametrize(
    ("sizes", "fault"),
    [
        ((0.1, 1, 1), "voxels of 0.1"),
        ((1, 1, 11), "voxels of 1 × 1 × 11"),
        ((0.4, 1, 1), "too small for a head"),
        ((1, 1, 4), "too large for a scanner"),
    ],
)
def test_absurd_sizes_are_refused_with_the_numbers(sizes, fault):
    with pytest.raises(UnusableInput, match=fault):
        read(turned(0, sizes), pixdim=sizes)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-0.3, 0.3), min_size=9, max_size=9), st.lists(st.floats(0.5, 3), min_size=3, max_size=3))
def test_orthogonalising_keeps_sizes_and_changes_nothing_that_is_rectangular(entries, sizes):
    affine = np.eye(4)
    affine[:3, :3] = (np.eye(3) + np.reshape(entries, (3, 3))) * sizes
    out = orthogonalised(affine)
    assert shear_degrees(out) < 1e-5
    np.testing.assert_allclose(voxel_sizes(out), voxel_sizes(affine), rtol=1e-9)
    np.testing.assert_allclose(orthogonalised(out), out, atol=1e-9)
    assert np.linalg.det(out) * np.linalg.det(affine) > 0
