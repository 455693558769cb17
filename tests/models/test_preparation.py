import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from brainage_bids.imaging.grids import GRIDS
from brainage_bids.imaging.intensity import by_mean, by_top_mean
from brainage_bids.imaging.packing import pack
from brainage_bids.interfaces.images import save_packed
from brainage_bids.models.contract import check_image
from brainage_bids.models.inputs import DEFAULT_INPUT, INPUTS, net_input, with_box
from brainage_bids.models.nets import NETS
from brainage_bids.models.preparation import Step, placed, prepare, prepared_shape, steps_from_json, steps_to_json, template_probability
from brainage_bids.records import BadConfiguration, UnusableInput

PUBLISHED = {
    "grey": (121, 145, 121), "mni1": (182, 218, 182), "mni2": (91, 109, 91), "mni1affine": (182, 218, 182),
    "mni1brain": (182, 218, 182), "mni2brain": (91, 109, 91),
    "brain2uint8": (91, 109, 91), "brain2zscore": (91, 109, 91), "brain2affine": (91, 109, 91),
    "sfcn": (160, 192, 160), "sfcnukb": (160, 192, 160),
    "packed2": (91, 109, 91), "packed2flair": (91, 109, 91), "packed2swi": (91, 109, 91),
    "packed2t2w": (91, 109, 91),
    **{f"packed2{image}{part}": (91, 109, 91) for image in ("", "flair", "swi", "t2w") for part in ("cortex", "subcortex", "cerebellum")},
    "packed1": (1, 1, 1), "packed1flair": (1, 1, 1), "packed1swi": (1, 1, 1), "packed1t2w": (1, 1, 1),  # until training decides
}  # fmt: skip


@pytest.mark.parametrize("name", INPUTS)
def test_published_grids(name):
    assert prepared_shape(INPUTS[name].contract.shape, INPUTS[name].steps) == PUBLISHED[name]
    again = steps_from_json(json.loads(json.dumps(steps_to_json(INPUTS[name].steps))))
    assert again == INPUTS[name].steps and steps_to_json(again) == steps_to_json(INPUTS[name].steps)


def test_every_network_has_an_input():
    assert set(DEFAULT_INPUT) == set(NETS)
    assert net_input("vgg8", "mni2") is INPUTS["mni2"]
    with pytest.raises(BadConfiguration, match="no input 'mni3'"):
        net_input("vgg8", "mni3")


def test_the_box_of_fsl():
    """FSL's MNI152 at 1 mm: voxel (90, 126, 72) from the left is the origin, 182×218×182."""
    origin = [np.argmin(np.abs(GRIDS["1"].origin_mm[axis] + np.arange(GRIDS["1"].shape[axis]))) for axis in range(3)]
    start = INPUTS["mni1"].steps[0].values["start"]
    assert tuple(a - b for a, b in zip(origin, start, strict=True)) == (91, 126, 72)


def test_sfcn_by_hand():
    contract = INPUTS["sfcnukb"].contract
    data = np.random.default_rng(0).random(contract.shape, dtype=np.float32)
    found = prepare(data, contract, INPUTS["sfcnukb"].steps).data
    brain = template_probability("brain", contract.shape, contract.affine) >= 0.5
    fsl = np.where(brain, data, 0)[7:189, 8:226, :182]
    expected = by_mean(fsl)[11:171, 13:205, 11:171][::-1]
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert 1200 < brain.sum() / 1e3 < 2200  # mL of a brain with its fluid


def test_brain2affine_lies_on_the_grid_of_2_mm():
    """An image that is linear in x, y, z is its own mean over any voxel; the brain is that of ``brain2zscore``."""
    place, plain = INPUTS["brain2affine"], INPUTS["brain2zscore"]
    there, left = placed(place.contract, place.steps)
    assert (there.shape, there.affine, there.voxel_mm) == (plain.contract.shape, plain.contract.affine, plain.contract.voxel_mm)
    assert left == plain.steps
    brain = template_probability("brain", plain.contract.shape, plain.contract.affine) >= 0.5
    inner = brain & (np.arange(91) > 0)  # below its lowest plane the fine grid has nothing
    found = {}
    for name, grid in (("brain2affine", GRIDS["1"]), ("brain2zscore", GRIDS["2"])):
        axes = [origin + grid.voxel_mm * np.arange(n) for origin, n in zip(grid.origin_mm, grid.shape, strict=True)]
        x, y, z = np.ix_(*axes)
        found[name] = prepare((900 + x + 2 * y + 3 * z).astype(np.float32), INPUTS[name].contract, INPUTS[name].steps).data
    assert not found["brain2affine"][~brain].any()
    np.testing.assert_allclose(found["brain2affine"][inner], found["brain2zscore"][inner], atol=2e-3)


def test_a_cut_after_halving_takes_the_right_brain():
    contract = INPUTS["brain2affine"].contract
    data = np.random.default_rng(0).random(contract.shape, dtype=np.float32)
    steps = (*INPUTS["brain2affine"].steps[:2], Step("crop", {"start": (10, 20, 0), "stop": (80, 90, 70)}), Step("brain"))
    found = prepare(data, contract, steps).data
    brain = template_probability("brain", GRIDS["2"].shape, INPUTS["mni2"].contract.affine)[10:80, 20:90, :70] >= 0.5
    np.testing.assert_array_equal(found > 0, brain)


def test_top_mean_is_of_the_box_alone():
    contract = INPUTS["mni1"].contract
    data = np.random.default_rng(0).random(contract.shape, dtype=np.float32)
    data[0] = 1e6  # outside the box
    found = prepare(data, contract, INPUTS["mni1"].steps).data
    np.testing.assert_allclose(found, by_top_mean(data[7:189, 8:226, :182]))


def test_uint8_finds_white_matter_and_says_what_was_clipped():
    contract = INPUTS["brain2uint8"].contract
    white = template_probability("white", contract.shape, contract.affine)
    data = (20 + 400 * white + np.random.default_rng(0).normal(0, 3, contract.shape)).astype(np.float32)
    data[40, 50, 40:44] = 9000
    found, clipped = (one := prepare(data, contract, INPUTS["brain2uint8"].steps)).data, one.clipped
    inside = found[white > 0.98]
    assert np.median(inside) * 255 == pytest.approx(73, abs=1.5)
    assert clipped == pytest.approx(4 / data.size)
    np.testing.assert_array_equal(found * 255, np.rint(found * 255))


def test_top_mean_of_the_brain_alone():
    """J1's option: what is outside is zero, and counts among all voxels of the grid as before."""
    contract = INPUTS["mni2brain"].contract
    data = np.random.default_rng(0).random(contract.shape, dtype=np.float32)
    data[:3] = 50  # bright, and outside the brain
    brain = template_probability("brain", contract.shape, contract.affine) >= 0.5
    found = prepare(data, contract, INPUTS["mni2brain"].steps).data
    top = np.sort(np.where(brain, data, 0).ravel())[-round(0.01 * data.size) :].mean()
    np.testing.assert_allclose(found, np.where(brain, data, 0) / top, rtol=1e-5)


def test_parts_of_the_brain_share_no_voxel():
    """H4: three inputs a sequence, each zero outside its part of the template."""
    shown = {}
    for part in ("cortex", "subcortex", "cerebellum"):
        place = INPUTS[f"packed2flair{part}"]
        assert place.contract.modality == "FLAIR"
        shown[part] = prepare(np.full(GRIDS["2"].shape, 110, np.uint8), place.contract, place.steps).data
        assert np.unique(shown[part]).tolist() == pytest.approx([0, 110 / 383])
    assert (np.sum([image > 0 for image in shown.values()], axis=0) <= 1).all()
    with pytest.raises(BadConfiguration, match="no part 'lobe' of the brain"):
        Step("part", {"name": "lobe"})


def test_packed_arrays_are_the_uint8_of_the_app(tmp_path):
    """The file as the app writes it, through the contract: 0 to 1 in steps of a byte, H1's scale."""
    contract, steps = INPUTS["packed2"].contract, INPUTS["packed2"].steps
    image = np.random.default_rng(0).uniform(0, 300, contract.shape).astype(np.float32)
    path = tmp_path / "sub-01_space-MNI152NLin2009aSym_res-2_desc-packed_T1w.nii.gz"
    Path(save_packed(pack(image, 1.5), np.array(contract.affine), tmp_path / "x.nii")).rename(tmp_path / "y.nii")
    nib.save(nib.load(tmp_path / "y.nii"), path)
    found = prepare(check_image(contract, path, "the test"), contract, steps).data
    np.testing.assert_allclose(found * 255, np.rint(np.clip(1.5 * image, 0, 383) * 255 / 383), atol=1e-3)
    with pytest.raises(UnusableInput, match="a T1w is needed and it is a FLAIR"):
        check_image(contract, path.with_name(path.name.replace("T1w", "FLAIR")), "the test")


def test_the_box_of_an_imported_network():
    assert with_box(INPUTS["packed1"], (170, 200, 160)).contract.shape == (170, 200, 160)
    assert with_box(INPUTS["packed2"], None) is INPUTS["packed2"]
    with pytest.raises(BadConfiguration, match="--box, the voxels of its largest brain"):
        with_box(INPUTS["packed1"], None)
    with pytest.raises(BadConfiguration, match="has no box"):
        with_box(INPUTS["packed2"], (170, 200, 160))


def test_refusals():
    contract = INPUTS["mni2"].contract
    with pytest.raises(UnusableInput, match="does not fit the input t1w_mni_2"):
        prepare(np.zeros((3, 3, 3)), contract, ())
    with pytest.raises(UnusableInput, match="cannot be scaled"):
        prepare(np.zeros(contract.shape), contract, INPUTS["mni2"].steps)
    with pytest.raises(UnusableInput, match="cannot be scaled .no voxel of white matter is above zero"):
        prepare(np.zeros(contract.shape), contract, INPUTS["brain2uint8"].steps)
    with pytest.raises(BadConfiguration, match="no step 'sharpen'"):
        Step("sharpen")
    for name, values in (("crop", {"start": (0, 0, 0)}), ("scale", {"to": 2}), ("mean", {"by": 1})):
        with pytest.raises(BadConfiguration, match=f"The step '{name}' before a network has other arguments"):
            Step(name, values)
    with pytest.raises(BadConfiguration, match="does not lie in a grid"):
        prepared_shape((9, 9, 9), [Step("crop", {"start": (0, 0, 0), "stop": (9, 9, 10)})])
    with pytest.raises(BadConfiguration, match="flip must be the last"):
        steps_from_json([{"step": "flip", "axis": 0}, {"step": "mean"}])


def test_the_way_back_keeps_sums_and_places():
    """Crop, halve and flip undone: a sum stays what it was, and a voxel lands where it came from."""
    contract = INPUTS["brain2affine"].contract
    data = np.random.default_rng(0).random(contract.shape, dtype=np.float32)
    prepared = prepare(data, contract, INPUTS["brain2affine"].steps)
    values = np.random.default_rng(1).random(prepared.data.shape, dtype=np.float32)
    back = prepared.to_grid(values)
    assert back.shape == contract.shape
    assert back.sum(dtype=float) == pytest.approx(values.sum(dtype=float), rel=1e-5)
    one = np.zeros_like(values)
    one[30, 40, 50] = 1
    places = np.argwhere(prepared.to_grid(one))
    start = INPUTS["brain2affine"].steps[0].values["start"]
    assert (places.mean(axis=0) == np.array(start) + 2 * np.array([30, 40, 50])).all() and len(places) == 27
    turned = prepare(data, INPUTS["sfcnukb"].contract, INPUTS["sfcnukb"].steps)
    one = np.zeros_like(turned.data)
    one[0, 0, 0] = 1
    assert np.argwhere(turned.to_grid(one)).tolist() == [[177, 21, 11]]
