"""Every kind of network on a tiny phantom cohort: taught by segmentation, trained on ages from there, used by the app."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from brainage_bids.bids.names import derivative_path
from brainage_bids.bids.tables import read_tsv
from brainage_bids.cli.train import main
from brainage_bids.imaging.atlas import load_atlas
from brainage_bids.imaging.grids import resample
from brainage_bids.imaging.volumes import read_regions
from brainage_bids.imaging.warps import WARP_GRID
from brainage_bids.models import load_model
from brainage_bids.models.card import describe_errors
from brainage_bids.models.cardfile import read_card
from brainage_bids.models.nets import NETS
from brainage_bids.models.nets.segment import SEGMENT
from brainage_bids.models.registry import open_model
from brainage_bids.models.selftest import run_self_test
from brainage_bids.records import BadConfiguration, Session
from brainage_bids.settings import Settings
from brainage_bids.workflows.plan import Plan
from brainage_bids.workflows.predict import model_stages
from brainage_bids.workflows.run_models import with_models

SHAPE = (23, 27, 23)
AFFINE = np.array([[8, 0, 0, -90], [0, 8, 0, -126], [0, 0, 8, -72], [0, 0, 0, 1.0]])
PEOPLE = 20
FAST = ["--input", "brain2zscore", "--epochs", "2", "--rate", "0.01", "--device", "cpu", "--batch", "4", "--augmentation", "light"]
WIDTHS = ["--widths", "2", "3", "4"]


def tiny_phantoms(out: Path) -> tuple[Path, Path]:
    """The atlas's most probable tissues at 8 mm, fluid brighter with age, their truth beside, and the tables of the app."""
    atlas, generator = load_atlas(), np.random.default_rng(0)
    tissues = [resample(atlas.tissue(name), WARP_GRID.affine, SHAPE, AFFINE) for name in ("GM", "WM", "CSF")]
    codes = np.where(sum(tissues) > 0.5, np.array([3, 2, 24])[np.argmax(tissues, axis=0)], 0).astype(np.uint8)
    root = out / "derivatives" / "brainage"
    lines = ["participant_id\tage\tsex\tsite"]
    for row, age in enumerate(np.linspace(20, 80, PEOPLE)):
        name = f"sub-{row:02d}"
        image = np.select([codes == 2, codes == 3, codes == 24], [1.0, 0.7, 0.2 + age / 200]) + generator.normal(0, 0.02, SHAPE) * (
            codes > 0
        )
        path = derivative_path(root, "t1w_mni", name, None, res="2")
        path.parent.mkdir(parents=True)
        nib.save(nib.Nifti1Image(image.astype(np.float32), AFFINE), path)
        folder = out / "derivatives" / "truth" / name / "anat"
        folder.mkdir(parents=True)
        nib.save(nib.Nifti1Image(codes, AFFINE), folder / f"{name}_space-MNI152NLin2009aSym_res-2_desc-true_dseg.nii.gz")
        lines.append(f"{name}\t{age:.1f}\t{'MF'[row % 2]}\tsite{row % 2}")
    derivative_path(root, "qc", "sub-07").write_text("flag\tvalue\n")
    derivative_path(root, "volumes", "sub-07").write_text("GM\tWM\tCSF\tbrain\n600000\t500000\t200000\t1100000\n")
    regions = "".join(f"{region.name}\t1000\n" for region in read_regions())
    derivative_path(root, "volumes_atlas", "sub-07").write_text("name\tvolume_mm3\n" + regions)
    (out / "participants.tsv").write_text("\n".join(lines) + "\n")
    return root, out / "participants.tsv"


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    return tiny_phantoms(tmp_path_factory.mktemp("cohort"))


def segment(cohort, out, kind="vgg8", *more):
    return main([str(cohort[0]), "--task", "segment", "--labels", "tissues", "--model", kind, "--out", str(out), *FAST, *WIDTHS, *more])


def ages(cohort, out, kind="vgg8", *more):
    words = [str(cohort[0]), "--phenotype", str(cohort[1]), "--model", kind, "--out", str(out), "--split-parts", *FAST, *WIDTHS]
    return main([*words, *more])


@pytest.mark.parametrize("kind", NETS)
def test_every_kind_from_segmentation_to_the_app(cohort, tmp_path, kind, capsys):
    start = []
    if kind in SEGMENT:
        assert segment(cohort, tmp_path / "seg", kind, "--epochs", "3") == 0
        assert "mean Dice" in capsys.readouterr().out
        start = ["--init", str(tmp_path / "seg"), "--freeze", "convolutions"]
    assert ages(cohort, tmp_path / "toy", kind, *start) == 0
    card = read_card(tmp_path / "toy" / "model.toml")
    assert (card.kind, card.training.n) == (kind, 18)
    if start:
        first, second = (load_model(tmp_path / name).net.state_dict() for name in ("seg", "toy"))
        shared = [name for name in second if name.startswith("convolutions.") and "num_batches" not in name]
        assert shared
        assert all(bool((first[name] == second[name]).all()) for name in shared)
        assert "frozen: convolutions" in card.training.split
    assert run_self_test(open_model(tmp_path / "toy")).passed
    plan = Plan(Settings(str(cohort[0]), str(cohort[0]), str(tmp_path), models=(str(tmp_path / "toy"),), device="cpu"), tmp_path)
    for stage in model_stages(plan):
        stage.run(Session("sub-07", None, {}, age=42.1), plan)
    (row,) = read_tsv(derivative_path(cohort[0], "brainage", "sub-07")).rows
    image = nib.load(derivative_path(cohort[0], "t1w_mni", "sub-07", None, res="2")).get_fdata(dtype=np.float32)
    assert row["model"] == "toy"
    assert float(row["brain_age"]) == pytest.approx(load_model(tmp_path / "toy").predict_array(image).age.mean, abs=0.01)


def test_the_folder_of_a_segmentation(cohort, tmp_path, capsys):
    words = ["encoder3d", "--epochs", "12", "--patch", "16", "--seed", "2", "--widths", "6", "8", "10", "--batch", "1"]
    assert segment(cohort, tmp_path / "seg", *words) == 0
    out, err = capsys.readouterr()
    assert "20 people with labels; CSF, GM, WM" in out
    assert "epoch 12: loss" in err
    card = read_card(tmp_path / "seg" / "model.toml")
    assert (card.kind, card.training.n, card.training.seeds) == ("segment", 20, (2,))
    assert "gives no age" in card.limits[0]
    rows = read_tsv(tmp_path / "seg" / "dice.tsv").rows
    assert [row["label"] for row in rows] == ["CSF", "GM", "WM"]
    assert len(read_tsv(tmp_path / "seg" / "history.tsv").rows) == 12
    model = load_model(tmp_path / "seg")
    truth = nib.load(next((cohort[0].parent / "truth" / "sub-03" / "anat").glob("*dseg.nii.gz"))).get_fdata()
    image = nib.load(derivative_path(cohort[0], "t1w_mni", "sub-03", None, res="2")).get_fdata(dtype=np.float32)
    found = model.label_array(image)
    assert model.names == ("CSF", "GM", "WM")
    assert (found[truth > 0] == np.array([0, 3, 2, 1])[np.searchsorted([0, 2, 3, 24], truth[truth > 0])]).mean() > 0.6
    with pytest.raises(BadConfiguration, match="gives no age"):
        with_models(Settings(bids_dir=".", out_dir=".", work_dir=".", models=(str(tmp_path / "seg"),)))
    with pytest.raises(BadConfiguration, match="gives no age"):
        model.predict(None)
    with pytest.raises(BadConfiguration, match="carries no example"):
        run_self_test(open_model(tmp_path / "seg"))
    assert "gives no age: mean Dice 0." in describe_errors(card)
    # the same command again: a finished checkpoint
    assert segment(cohort, tmp_path / "seg", *words, "--overwrite") == 0
    assert "epoch" not in capsys.readouterr().err
    assert read_card(tmp_path / "seg" / "model.toml").files["weights.safetensors"] == card.files["weights.safetensors"]
    # and what cannot start from it
    for words, sentence in (
        (("vgg8",), "cannot start from one of kind encoder3d"),
        (("encoder3d", "--input", "mni2"), "another intensity rule"),
        (("encoder3d",), "belong to another grid or network"),
    ):
        assert ages(cohort, tmp_path / "toy", words[0], *words[1:], "--init", str(tmp_path / "seg")) == 78
        assert sentence in capsys.readouterr().err


def test_label_maps_are_painted(tmp_path, capsys):
    atlas = load_atlas()
    codes = np.array([region.index for region in atlas.regions] + [507, 511, 515, 516, 502, 0], np.int16)[atlas.probabilities.argmax(-1)]
    (tmp_path / "maps").mkdir()
    for name, stretch in (("one", 1.0), ("two", 1.05)):
        nib.save(nib.Nifti1Image(codes, np.diag([stretch, 1, 1, 1]) @ WARP_GRID.affine), tmp_path / "maps" / f"{name}.nii.gz")
    words = [str(tmp_path / "maps"), "--task", "segment", "--model", "slices", "--paintings", "3", "--batch", "2", "--epochs", "1", *WIDTHS]
    assert main([*words, "--out", str(tmp_path / "seg"), "--device", "cpu"]) == 0
    out = capsys.readouterr().out
    assert "2 people with labels" in out
    assert load_model(tmp_path / "seg").architecture["shape"] == [91, 109, 91]
    assert main([*words, "--labels", "lesions", "--out", str(tmp_path / "no"), "--device", "cpu"]) == 78
    assert "hold no lesions" in capsys.readouterr().err
    assert main([*words[:4], "resnet", "--out", str(tmp_path / "no"), "--device", "cpu"]) == 78
    assert "Only a T1w can be painted" in capsys.readouterr().err


def test_bad_input_is_one_sentence(cohort, tmp_path, capsys):
    cases = [
        (("sfcn",), 78, "cannot be taught by segmentation"),
        (("vgg8", "--labels", "lesions"), 65, "No image t1w_mni_2 with labels"),
        (("vgg8", "--input", "mni1"), 65, "No image t1w_mni_1 with labels"),
        (("vgg8", "--device", "tpu"), 78, "is not there; give --device cpu"),
        (("vgg8", "--rate", "1e30"), 78, "the training loss became"),
    ]
    for words, code, sentence in cases:
        assert segment(cohort, tmp_path / "no", *words) == code, words
        message = capsys.readouterr().err
        assert sentence.lower() in message.lower()
        assert "Traceback" not in message
        assert not (tmp_path / "no").exists()


@pytest.mark.parametrize(
    "words",
    [
        ["--model", "gpr", "--task", "segment"],
        ["--model", "vgg8", "--labels", "tissues", "--phenotype", "p.tsv"],
        ["--model", "vgg8", "--task", "segment", "--phenotype", "p.tsv"],
        ["--model", "vgg8", "--task", "segment", "--runs", "2"],
        ["--model", "vgg8", "--task", "segment", "--init", "a", "--freeze", "convolutions"],
        ["--model", "vgg8", "--task", "segment", "--patch", "3"],
    ],
)
def test_options_that_do_not_go_together(words, tmp_path):
    with pytest.raises(SystemExit) as stopped:
        main(["out", "--out", str(tmp_path / "toy"), *words])
    assert stopped.value.code == 64
