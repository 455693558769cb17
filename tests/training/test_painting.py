import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brainage_bids.imaging.atlas import OUTSIDE, load_atlas
from brainage_bids.imaging.volumes import read_regions
from brainage_bids.imaging.warps import WARP_GRID
from brainage_bids.models.inputs import net_input
from brainage_bids.models.label_sets import label_set
from brainage_bids.records import BadDataset, UnusableInput
from brainage_bids.training.painting import BACKGROUND, OUTER, LabelMap, Painting, contrast, deformation, fit_affine, label_map_paths, paint
from brainage_bids.training.painting import read_label_map as read
from brainage_bids.training.segment_sources import PaintedSource

CALM = Painting(*(0 if name != "knots_mm" else 18 for name in Painting.__dataclass_fields__))
SHAPE, AFFINE = (24, 28, 24), np.array([[8, 0, 0, -90], [0, 8, 0, -126], [0, 0, 8, -72], [0, 0, 0, 1.0]])


def source_codes():
    """The most probable label of the atlas at each place, in the codes of label maps."""
    atlas = load_atlas()
    codes = [region.index for region in atlas.regions] + [outer[0] for _, outer in OUTSIDE]
    return np.array(codes, dtype=np.int16)[atlas.probabilities.argmax(axis=-1)]


@pytest.fixture(scope="module")
def head(tmp_path_factory):
    """A label map whose place is known: turned, stretched and shifted by its header."""
    turn = np.deg2rad(12)
    placed = np.array([[np.cos(turn), -np.sin(turn), 0, 7], [np.sin(turn), np.cos(turn), 0, -11], [0, 0, 1.1, 20], [0, 0, 0, 1]])
    path = tmp_path_factory.mktemp("maps") / "head.nii.gz"
    nib.save(nib.Nifti1Image(source_codes(), placed @ WARP_GRID.affine), path)
    return path


def test_a_head_is_laid_onto_the_template(head):
    found = read(head)
    points = np.stack(np.meshgrid([-50, 0, 50], [-80, 0, 50], [-20, 30, 60], indexing="ij"), axis=-1).reshape(-1, 3)
    index = points @ found.to_index[:3, :3].T + found.to_index[:3, 3]
    expected = (points - WARP_GRID.affine[:3, 3]) / WARP_GRID.voxel_mm
    assert np.abs(index - expected).max() < 1.5  # voxels; the argmax is not quite the mean of the probabilities


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_affines_are_found_again(seed):
    generator = np.random.default_rng(seed)
    matrix = np.eye(4)
    matrix[:3] = generator.normal(0, 10, (3, 4))
    points = generator.normal(0, 50, (9, 3))
    np.testing.assert_allclose(fit_affine(points, points @ matrix[:3, :3].T + matrix[:3, 3]), matrix, atol=1e-6)


def in_place():
    codes = source_codes()
    table = np.full(1024, OUTER, dtype=np.uint8)
    table[:200] = np.arange(200)
    table[0] = BACKGROUND
    return LabelMap(table[codes], np.linalg.inv(WARP_GRID.affine))


def test_a_calm_painting_is_a_look_up():
    source = in_place()
    generator = np.random.default_rng(3)
    image, labels = paint(source, WARP_GRID.shape, WARP_GRID.affine, CALM, np.random.default_rng(3))
    np.testing.assert_array_equal(labels, source.codes)
    deformation(WARP_GRID.shape, 1.5, CALM, generator)
    mean, sd = contrast(CALM, generator)
    assert not sd.any()
    inner = (slice(5, -5),) * 3
    same = np.ones([n - 10 for n in labels.shape], dtype=bool)
    for axis in range(3):
        for step in (-1, 1):
            same &= np.roll(labels, step, axis)[inner] == labels[inner]
    np.testing.assert_allclose(image[inner][same], mean[labels][inner][same], atol=1e-5)
    assert image.min() >= 0


def test_the_seed_decides_and_paintings_differ():
    source = in_place()
    one, same, other = (paint(source, SHAPE, AFFINE, Painting(), np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(one, same, strict=True))
    assert not np.array_equal(one[1], other[1])
    assert np.isfinite(one[0]).all()


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 1000), st.floats(0, 8))
def test_displacements_stay_below_those_of_their_knots(seed, most):
    field = deformation((12, 10, 9), 2.0, Painting(warp_mm=most, knots_mm=6, turn_deg=0, scale=0), np.random.default_rng(seed))
    assert field.shape == (3, 12, 10, 9)
    assert np.abs(field).max() <= most + 1e-5


def test_a_stretch_is_about_the_middle():
    field = deformation((11, 11, 11), 2.0, Painting(warp_mm=0, turn_deg=0, scale=0.2), np.random.default_rng(0))
    assert np.abs(field[:, 5, 5, 5]).max() < 1e-6
    np.testing.assert_allclose(np.diff(field[0], axis=0), np.diff(field[0], axis=0)[0, 0, 0], atol=1e-5)


def test_contrasts_are_a_t1w_s_unless_odd():
    generator = np.random.default_rng(0)
    plain = np.mean([contrast(Painting(odd_contrast=0, stripped=0), generator)[0] for _ in range(50)], axis=0)
    assert plain[2] > plain[3] > plain[4] > 0
    drawn = [contrast(Painting(odd_contrast=1), generator)[0] for _ in range(50)]
    brighter = np.mean([mean[2] > mean[3] for mean in drawn])
    assert 0.2 < brighter < 0.8
    left = {region.name[5:]: region.index for region in read_regions() if region.hemisphere == "L"}
    right = {region.name[6:]: region.index for region in read_regions() if region.hemisphere == "R"}
    assert all(np.array_equal([m[left[name]] for m in drawn], [m[right[name]] for m in drawn]) for name in left)


def test_stripped_heads_end_at_the_brain():
    how = Painting(stripped=1, dry=1, coarse=0)
    image, labels = paint(in_place(), SHAPE, AFFINE, how, np.random.default_rng(0))
    outside = (labels >= OUTER) | (labels == 24)
    assert np.median(image[outside]) == 0
    assert np.median(image[labels == 2]) > 0.3


def test_what_is_no_label_map(tmp_path, head):
    (tmp_path / "a.nii.gz").write_bytes(b"no image")
    with pytest.raises(UnusableInput, match="not a NIfTI file and cannot be read"):
        read(tmp_path / "a.nii.gz")
    nib.save(nib.Nifti1Image(np.ones((5, 5, 5), np.int16), np.eye(4)), tmp_path / "b.nii.gz")
    with pytest.raises(UnusableInput, match="no label map of a whole head"):
        read(tmp_path / "b.nii.gz")
    with pytest.raises(BadDataset, match="holds 1 label maps"):
        label_map_paths(head.parent)


def test_a_painting_does_not_need_the_finer_grid(head):
    """The affine input at 2 mm is painted at 2 mm: the same painting as for the warped one."""
    places = [net_input("slices", name) for name in ("brain2affine", "brain2zscore")]
    found = [PaintedSource((head,), place, label_set("tissues").table()).fixed(3) for place in places]
    assert len(np.unique(found[0][1])) == 4
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)
