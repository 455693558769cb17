"""A right segmentation raises nothing, a broken one does: the most probable labels of the atlas as the person."""

import os
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from brainage_bids.imaging.atlas import load_atlas
from brainage_bids.imaging.quality_limits import STRUCTURE_METRICS, assess
from brainage_bids.imaging.quality_structures import NORMS, asymmetry, count_labels, measure_structures, structures_outside_norms
from brainage_bids.imaging.volumes import read_regions
from brainage_bids.imaging.warps import WARP_GRID

BRIGHTNESS = {"GM": 0.55, "WM": 0.85, "CSF": 0.17}
SIDES = {region.index: region.hemisphere for region in read_regions()}
DATA = Path(os.environ.get("BRAINAGE_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))


@pytest.fixture(scope="module")
def person():
    """Image, labels and affine."""
    atlas = load_atlas()
    codes = np.zeros(atlas.probabilities.shape[-1], np.uint8)
    codes[: len(atlas.regions)] = [region.index for region in atlas.regions]
    labels = codes[atlas.probabilities.argmax(axis=-1)]
    shades = np.zeros(256, np.float32)
    for region in atlas.regions:
        shades[region.index] = BRIGHTNESS[region.tissue]
    noise = np.random.default_rng(0).normal(0, 0.04, labels.shape).astype(np.float32)
    return ndimage.gaussian_filter(shades[labels], 0.5) + noise, labels, WARP_GRID.affine


@pytest.fixture
def raised(person):
    """A function from labels (and an image) to the metrics that raise a flag."""

    def metrics(labels, image=None):
        values, details = measure_structures(person[0] if image is None else image, labels, person[2])
        assert set(values) == set(STRUCTURE_METRICS)
        others = {
            "snr": 15,
            "cnr": 3,
            "cjv": 0.5,
            "efc": 0.5,
            "fber": 999,
            "bias_range": 1.2,
            "mask_volume_ml": 1400,
            "scalp_distance_mm": 15,
        }
        others |= {"registration_overlap": 0.75, "jacobian_nonpositive_share": 0, "coverage": 1, "voxel_max_mm": 1, "gm_ratio": 0.56}
        rows = assess(values | others, stripped=False, details=details)
        return {row["metric"]: row["description"] for row in rows if row["flag"] != "n/a"}

    return metrics


def exchanged(labels):
    """Left and right codes swapped."""
    table = np.arange(256, dtype=np.uint8)
    for norm in NORMS:
        if len(norm.codes) == 2:
            table[list(norm.codes)] = norm.codes[::-1]
    return table[labels]


def test_norms_cover_the_atlas_but_the_outer_fluid():
    assert sorted(code for norm in NORMS for code in norm.codes) == sorted(set(SIDES) - {24})
    for norm in NORMS:
        assert norm.low < norm.high and [SIDES[code] for code in norm.codes] in (["L", "R"], ["n/a"])


def test_a_right_segmentation_raises_nothing(person, raised):
    assert raised(person[1]) == {}


def test_the_contrast_does_not_matter(person, raised):
    assert raised(person[1], 1.2 - person[0]) == {}


def test_exchanged_sides(person, raised):
    assert set(raised(exchanged(person[1]))) == {"wrong_side_share"}


def test_exchanged_sides_of_the_front_only(person, raised):
    labels = person[1].copy()
    labels[:, 100:] = exchanged(labels[:, 100:])
    assert "wrong_side_share" in raised(labels)


@pytest.mark.parametrize("part", [np.s_[:60, 100:], np.s_[:60, :44], np.s_[:44, :, :45]])
def test_a_missing_lobe(person, raised, part):
    labels = person[1].copy()
    labels[part] = 0
    assert "asymmetry" in raised(labels)


@pytest.mark.parametrize("codes", [(4,), (4, 43)])
def test_a_ventricle_that_leaked(person, raised, codes):
    labels = person[1].copy()
    grown = ndimage.binary_dilation(np.isin(labels, codes), iterations=3)
    for code, white in ((4, 2), (43, 41)):
        labels[grown & (labels == white)] = code
    assert "ventricle_leak" in raised(labels)


def test_labels_beside_their_structures(person, raised):
    assert "intensity_fit" in raised(np.roll(person[1], 4, axis=1))


def test_a_structure_that_was_not_found(person, raised):
    labels = person[1].copy()
    labels[labels == 17] = 2
    found = raised(labels)
    assert "Here: hippocampus." in found["structures_missing"] and "Here: hippocampus 2." in found["asymmetry"]


def test_a_structure_torn_apart(person, raised):
    labels = person[1].copy()
    labels[:, 60:63][labels[:, 60:63] == 2] = 0
    assert "detached_share" in raised(labels)


def test_a_brain_of_white_matter_alone(person, raised):
    assert {"structures_missing", "structures_outside_norms"} <= set(
        raised(np.where(np.isin(person[1], (3, 42)), 2, person[1]).astype(np.uint8))
    )


def test_no_labels_at_all_are_flagged_and_do_not_crash(person):
    values, details = measure_structures(person[0], np.zeros_like(person[1]), person[2])
    assert values["structures_missing"] == 31 and values["structures_outside_norms"] == len(NORMS)
    assert all(
        np.isnan(values[metric]) for metric in ("asymmetry", "detached_share", "wrong_side_share", "intensity_fit", "ventricle_leak")
    )


def test_the_order_of_the_axes_does_not_matter(person):
    image, labels, affine = person
    values, _ = measure_structures(image, labels, affine)
    turned = affine[:, [1, 2, 0, 3]]
    again, _ = measure_structures(np.transpose(image, (1, 2, 0)), np.transpose(labels, (1, 2, 0)), turned)
    assert again == pytest.approx(values, rel=1e-5)


@pytest.mark.real
@pytest.mark.skipif(not (DATA / "labels").is_dir(), reason=f"no label maps in {DATA} (BRAINAGE_TEST_DATA)")
def test_label_maps_of_real_people_lie_within_the_norms():
    import nibabel as nib

    for path in sorted((DATA / "labels").glob("*.nii.gz"))[:4]:
        labels = np.asarray(nib.load(path).dataobj)
        counts = count_labels(np.where(labels <= 60, labels, 0).astype(np.uint8))
        assert structures_outside_norms(counts) == (0, "") and asymmetry(counts)[0] <= 1, path.name
