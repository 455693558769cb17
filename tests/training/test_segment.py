import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

import brainage_bids
from brainage_bids.bids.names import derivative_path
from brainage_bids.imaging.grids import GRIDS
from brainage_bids.imaging.transforms import write_transforms
from brainage_bids.imaging.warps import WARP_GRID, SpatialMap
from brainage_bids.models.inputs import net_input
from brainage_bids.models.label_sets import LabelSet, label_set
from brainage_bids.models.nets.segment import build_segmenter
from brainage_bids.models.network import state_arrays
from brainage_bids.models.preparation import Step
from brainage_bids.records import BadConfiguration, BadDataset, UnusableInput
from brainage_bids.training.loop import fit
from brainage_bids.training.objective import Recipe
from brainage_bids.training.segment_data import SegmentData, View, cut, dice_in_validation, segment_objective
from brainage_bids.training.segment_sources import labels_as_prepared, packed_source, warped_labels
from brainage_bids.training.segment_train import split_people

SHAPE = (12, 14, 10)
AFFINE = np.array([[15, 0, 0, -90], [0, 16, 0, -126], [0, 0, 18, -72], [0, 0, 0, 1.0]])
RECIPE = Recipe(optimiser="adamw", rate=0.02, epochs=6, patience=6, batch=2)


class Balls:
    """Balls in noise: label 1 where it is bright."""

    name = "balls"
    people = tuple(f"sub-{row}" for row in range(10))

    def fixed(self, row):
        return self.draw(row, np.random.default_rng((row, 7)))

    def draw(self, row, generator):
        middle = generator.uniform(3, 6, 3)
        distance = sum((axis - c) ** 2 for axis, c in zip(np.indices((9, 9, 9)), middle, strict=True))
        labels = (distance < 9).astype(np.uint8)
        return (labels + generator.normal(0, 0.2, labels.shape)).astype(np.float32), labels


def network(kind="vgg8", seed=0):
    torch.manual_seed(seed)
    more = {"first": 1, "last": 7} if kind == "slices" else {}
    return build_segmenter(kind, {"shape": (9, 9, 9), "channels": 1, "widths": (4, 6), **more}, 2)


WHOLE = View()


def fitted(net, view=WHOLE, **more):
    data = SegmentData(Balls(), view)
    return fit(net, data, range(8), (8, 9), RECIPE, seed=3, objective=segment_objective(data, 2), **more)


@pytest.mark.parametrize(("kind", "view"), [("vgg8", View()), ("encoder3d", View(patch=8)), ("slices", View(2, (1, 7), 3))])
def test_it_learns(kind, view):
    net = network(kind)
    found = fitted(net, view)
    dice = dice_in_validation(net, SegmentData(Balls(), view), (8, 9), 2)
    assert dice.mean() > 0.8
    assert found.score == pytest.approx(dice.mean(), abs=1e-6)
    assert found.score == max(line["validation_dice"] for line in found.history)
    assert found.history[found.best_epoch - 1]["validation_dice"] == found.score


def equal(first, second):
    first, second = state_arrays(first), state_arrays(second)
    return all(np.array_equal(first[name], second[name]) for name in first)


KILLED = """
import os, signal, sys
sys.path.insert(0, {tests!r})
from test_segment import fitted, network
from pathlib import Path
from brainage_bids.training import loop
whole = loop._Run._epoch
def epoch(self, number):
    if number == 2:  # dies in the middle of its third epoch
        count, step = iter(range(2)), self.optimiser.step
        self.optimiser.step = lambda: step() if next(count, None) != 1 else os.kill(os.getpid(), signal.SIGKILL)
    return whole(self, number)
loop._Run._epoch = epoch
fitted(network(), work=Path({work!r}))
"""


def test_killed_in_an_epoch_and_resumed_gives_the_same_weights(tmp_path):
    script = KILLED.format(tests=str(Path(__file__).parent), work=str(tmp_path))
    environment = os.environ | {"PYTHONPATH": str(Path(brainage_bids.__file__).parents[1]), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    whole, again, seen = network(), network(), []
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        fitted(whole)
        found = fitted(again, work=tmp_path, told=lambda line: seen.append(line["epoch"]))
    finally:
        torch.set_num_threads(threads)
    assert seen == [3, 4, 5, 6]
    assert equal(again, whole)
    assert len(found.history) == 6
    (path,) = tmp_path.glob("run-*.pt")
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(BadConfiguration, match="cannot be read .* remove it to start again"):
        fitted(network(), work=tmp_path)


def test_what_a_step_looks_at():
    image, labels = np.arange(60.0).reshape(3, 4, 5), np.arange(60).reshape(3, 4, 5)
    for view, shape in (
        (View(), (1, 3, 4, 5)),
        (View(patch=2), (1, 2, 2, 2)),
        (View(patch=9), (1, 3, 4, 5)),
        (View(1, (0, 3), 2), (2, 3, 5)),
    ):
        found, truth = cut(image, labels, view, np.random.default_rng(0))
        assert found.shape == shape
        np.testing.assert_array_equal(found, truth)


def test_nobody_is_in_both_parts():
    train, validation = split_people(Balls(), 1, 5)
    assert sorted([*train, *validation]) == list(range(10))
    assert len(validation) == 1
    one = Balls()
    one.people = ("sub-1",)
    with pytest.raises(BadDataset, match="1 person with labels"):
        split_people(one, 1, 5)


def test_labels_are_cut_and_turned_as_images_are():
    codes = np.random.default_rng(0).integers(0, 9, (4, 5, 6))
    steps = [Step("crop", {"start": (1, 0, 2), "stop": (4, 5, 5)}), Step("mean"), Step("flip", {"axis": 0})]
    np.testing.assert_array_equal(labels_as_prepared(codes, steps), codes[1:4, :, 2:5][::-1])
    np.testing.assert_array_equal(labels_as_prepared(codes, [Step("halve"), *steps[1:]]), codes[::2, ::2, ::2][::-1])


# sources on disk


def place():
    found = net_input("encoder3d")
    contract = replace(found.contract, shape=SHAPE, affine=tuple(map(tuple, AFFINE.tolist())), voxel_mm=(15.0, 16.0, 18.0))
    return replace(found, contract=contract, steps=(Step("mean"),))


def write_image(root, name, labels):
    path = derivative_path(root, "t1w_mni", name, None, res="2")
    path.parent.mkdir(parents=True, exist_ok=True)
    values = (labels > 0) + 0.5 + np.random.default_rng(0).random(labels.shape)
    nib.save(nib.Nifti1Image(values.astype(np.float32), AFFINE), path)


def write_truth(root, name, labels, affine=AFFINE):
    folder = root.parent / "truth" / name / "anat"
    folder.mkdir(parents=True, exist_ok=True)
    stem = f"{name}_space-MNI152NLin2009aSym_res-2"
    nib.save(nib.Nifti1Image(labels.astype(np.uint8), affine), folder / f"{stem}_desc-true_dseg.nii.gz")
    nib.save(nib.Nifti1Image((labels == 2).astype(np.uint8), affine), folder / f"{stem}_label-lesion_desc-true_mask.nii.gz")


@pytest.fixture
def phantoms(tmp_path):
    root, generator = tmp_path / "derivatives" / "brainage", np.random.default_rng(0)
    labels = [generator.choice([0, 2, 3, 4, 41, 53], SHAPE) for _ in range(3)]
    for row, one in enumerate(labels):
        write_image(root, f"sub-{row}", one)
        write_truth(root, f"sub-{row}", one)
    return root, labels


def test_truth_of_phantoms_is_packed(phantoms, tmp_path):
    root, labels = phantoms
    write_image(root, "sub-9", labels[0])  # of whom no truth is known
    source, contract, left_out = packed_source([root], place(), label_set("tissues"), tmp_path / "work", augmentation="strong")
    assert (source.people, left_out, contract.shape) == (("sub-0", "sub-1", "sub-2"), (("sub-9", "no labels"),), SHAPE)
    names = np.array(["", *label_set("tissues").names])
    for row, one in enumerate(labels):
        image, found = source.fixed(row)
        assert image.mean() == pytest.approx(1, abs=2e-3)
        expected = np.select([np.isin(one, (2, 41)), np.isin(one, (3, 53)), one == 4], ["WM", "GM", "CSF"], "")
        np.testing.assert_array_equal(names[found], expected)
    again, _, _ = packed_source([root], place(), label_set("structures"), tmp_path / "work")
    assert len(list((tmp_path / "work").glob("labels-*.npy"))) == 1  # codes are packed, not labels
    np.testing.assert_array_equal(again.labels[1], labels[1])
    lesions, _, _ = packed_source([root], place(), label_set("lesions"), tmp_path / "work")
    np.testing.assert_array_equal(lesions.fixed(2)[1], labels[2] == 2)
    write_truth(root, "sub-1", labels[0])
    changed, _, _ = packed_source([root], place(), label_set("structures"), tmp_path / "work")
    np.testing.assert_array_equal(changed.labels[1], labels[0])


def test_truth_on_a_finer_grid_is_halved_with_the_image(tmp_path):
    """The input of phantoms: the label of every second voxel, where the image is bright as that voxel is."""
    root, affine = tmp_path / "derivatives" / "brainage", np.array(net_input("slices", "brain2affine").contract.affine)
    labels = np.zeros(GRIDS["1"].shape, np.uint8)
    labels[60:130, 80:160, 40:120] = 41
    labels[84:100, 100:130, 60:90] = 43
    path = derivative_path(root, "t1w_mni_affine", "sub-1", None)
    path.parent.mkdir(parents=True)
    nib.save(nib.Nifti1Image((600.0 * (labels == 41) + 50).astype(np.float32), affine), path)
    folder = root.parent / "truth" / "sub-1" / "anat"
    folder.mkdir(parents=True)
    nib.save(nib.Nifti1Image(labels, affine), folder / "sub-1_space-MNI152NLin2009aSym_res-1_desc-true_dseg.nii.gz")
    source, contract, left_out = packed_source([root], net_input("slices", "brain2affine"), label_set("tissues"), tmp_path / "work")
    image, found = source.fixed(0)
    assert image.shape == found.shape == GRIDS["2"].shape and contract.shape == GRIDS["1"].shape and not left_out
    names = label_set("tissues").names
    assert found[44, 58, 40] == 1 + names.index("CSF") and found[30, 40, 50] == 1 + names.index("WM")
    white = found == 1 + names.index("WM")
    inside = image != 0
    assert image[white & inside].mean() > 0 > image[(found == 1 + names.index("CSF")) & inside].mean()
    np.testing.assert_array_equal(found > 0, labels[8:189:2, 8:225:2, :181:2] > 0)


def test_labels_move_with_the_image(phantoms, tmp_path):
    root, _ = phantoms
    source, _, _ = packed_source([root], place(), label_set("tissues"), tmp_path / "work", augmentation="light")
    marked = replace(source, labels=np.rint(100 * np.array([source.cache.read(row)[0] for row in range(3)])).clip(0, 255).astype(np.uint8))
    marked = replace(marked, table=np.arange(256, dtype=np.uint8))
    moved = 0
    for seed in range(10):
        image, labels = marked.draw(0, np.random.default_rng(seed))
        np.testing.assert_array_equal(np.rint(100 * image).clip(0, 255), labels)
        moved += not np.array_equal(labels, marked.fixed(0)[1])
    assert moved > 5


def test_truth_on_another_grid_is_refused(phantoms, tmp_path):
    root, labels = phantoms
    write_truth(root, "sub-1", labels[0], AFFINE + np.eye(4) * [1, 0, 0, 0])
    with pytest.raises(BadDataset, match="1 labels cannot be trained on: .*sub-1.* lie on another grid.* Give --allow-missing"):
        packed_source([root], place(), label_set("tissues"), tmp_path / "work")
    assert not list((tmp_path / "work").glob("*labels*"))
    for _ in range(2):  # packed, and found again
        source, _, left_out = packed_source([root], place(), label_set("tissues"), tmp_path / "work", allow_missing=True)
        assert source.people == ("sub-0", "sub-2")
        assert [who for who, _ in left_out] == ["sub-1"]
        image, found = source.fixed(1)
        np.testing.assert_array_equal(found, label_set("tissues").table()[labels[2]])
        np.testing.assert_array_equal(image, np.asarray(source.cache.volumes[2, 0], np.float32))
    with pytest.raises(BadDataset, match="Give --allow-missing"):
        packed_source([root], place(), label_set("tissues"), tmp_path / "work")
    with pytest.raises(BadDataset, match="No image t1w_mni_2 with labels"):
        packed_source([tmp_path / "empty"], place(), label_set("tissues"), tmp_path / "work")


@pytest.mark.parametrize("alignment", ["nonlinear", "affine"])
def test_labels_of_the_app_come_through_its_transform(tmp_path, alignment):
    """A shift by three whole voxels in the affine, and one by a voxel in the field."""
    codes = np.random.default_rng(0).integers(0, 60, (20, 22, 18)).astype(np.uint8)
    affine = np.diag([6.0, 6, 6, 1])
    affine[:3, 3] = -60, -66, -54
    nib.save(nib.Nifti1Image(codes, affine), tmp_path / "aseg.nii.gz")
    matrix = np.eye(4)
    matrix[0, 3] = 18.0
    field = np.zeros((*WARP_GRID.shape, 3), np.float32)
    field[..., 1] = 6.0
    write_transforms(SpatialMap(matrix, field, -field), tmp_path / "to.h5", tmp_path / "from.h5")
    contract = replace(
        place().contract, shape=codes.shape, affine=tuple(map(tuple, affine.tolist())), voxel_mm=(6.0,) * 3, alignment=alignment
    )
    found = warped_labels(tmp_path / "aseg.nii.gz", tmp_path / "to.h5", contract)
    shift = 1 if alignment == "nonlinear" else 0
    expected = np.zeros_like(codes)
    expected[:-3, : codes.shape[1] - shift] = codes[3:, shift:]
    np.testing.assert_array_equal(found, expected)
    (tmp_path / "to.h5").write_bytes(b"no transform")
    with pytest.raises(UnusableInput, match="cannot be read"):
        warped_labels(tmp_path / "aseg.nii.gz", tmp_path / "to.h5", contract)


def test_a_label_set_has_a_table():
    assert LabelSet(("a", "b"), ((3,), (7, 9))).table()[[0, 3, 7, 9]].tolist() == [0, 1, 2, 2]


def test_sessions_of_poor_quality_are_left_out(phantoms, tmp_path):
    root, _ = phantoms
    path = derivative_path(root, "qc", "sub-1", None)
    path.write_text("measure\tvalue\tflag\nx\t1\tpoor_registration\n")
    source, _, left_out = packed_source([root], place(), label_set("tissues"), tmp_path / "work", exclude_flags=("poor_registration",))
    assert (source.people, left_out) == (("sub-0", "sub-2"), (("sub-1", "flag poor_registration"),))


def test_a_full_disk_is_a_sentence_while_labels_are_packed(phantoms, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    packed_source([phantoms[0]], place(), label_set("lesions"), tmp_path / "other")
    packed_source([phantoms[0]], place(), label_set("lesions"), tmp_path / "work")
    monkeypatch.setattr("brainage_bids.training.segment_sources.Stack.add", full)
    with pytest.raises(OSError, match="the disk is full; free some space"):
        packed_source([phantoms[0]], place(), label_set("tissues"), tmp_path / "work")
    assert len(list((tmp_path / "work").glob("labels-*.npy"))) == 1 and not list((tmp_path / "work").glob(".labels*"))


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory."), MemoryError()])
def test_too_little_memory_says_what_to_do(monkeypatch, error):
    def full(*_):
        raise error

    monkeypatch.setattr("brainage_bids.training.loop._Run._epoch", full)
    with pytest.raises(BadConfiguration, match="too little memory for 2 images at once; give --batch 1 --accumulate 2"):
        fitted(network())
