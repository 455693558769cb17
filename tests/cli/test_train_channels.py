"""A network of two images: trained by the command line, and asked by the app."""

import nibabel as nib
import numpy as np
import pytest

from brainage_bids.bids.estimates import read_rows
from brainage_bids.bids.names import derivative_path
from brainage_bids.bids.sidecars import table_columns
from brainage_bids.bids.sink import sink_table
from brainage_bids.cli.train import main
from brainage_bids.models import load_model
from brainage_bids.models.cardfile import read_card
from brainage_bids.models.order import ask
from brainage_bids.models.registry import open_model
from brainage_bids.models.selftest import run_self_test
from brainage_bids.records import Scan, Session
from brainage_bids.settings import Settings
from brainage_bids.workflows import t1w
from brainage_bids.workflows.plan import Plan
from brainage_bids.workflows.predict import model_stages, predict, write_ages

SHAPE, AFFINE = (8, 9, 8), np.diag([2.0, 2.0, 2.0, 1.0])
TWO = ["packed2", "packed2flair"]
PEOPLE = 40


def write(root, who, image, value, affine=AFFINE):
    path = derivative_path(root, "packed_mni", who, image=image)
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(len(list(root.iterdir()))).normal(0, 5, SHAPE)
    nib.save(nib.Nifti1Image((value + noise).astype(np.uint8), affine), path)


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    """T1w: age and what else differs between people; FLAIR: what else differs. The last person has no FLAIR."""
    root, generator = tmp_path_factory.mktemp("two") / "out", np.random.default_rng(0)
    lines = ["participant_id\tage"]
    for row, other in enumerate(generator.uniform(-60, 60, PEOPLE)):
        age = 20 + 40 * row / PEOPLE
        write(root, f"sub-{row:02d}", "T1w", 180 + (age - 40) + other)
        if row + 1 < PEOPLE:
            write(root, f"sub-{row:02d}", "FLAIR", 120 + other)
        lines.append(f"sub-{row:02d}\t{age:.2f}")
    (root.parent / "people.tsv").write_text("\n".join(lines) + "\n")
    return root


def train(people, out, inputs, *more, model="encoder3d", epochs=40):
    words = [str(people), "--phenotype", str(people.parent / "people.tsv"), "--out", str(out), "--model", model, "--device", "cpu"]
    how = ["--augmentation", "none", "--epochs", str(epochs), "--patience", "60", "--rate", "0.01", "--split-parts", "--widths", "4", "8"]
    return main([*words, "--input", *inputs, *how, *more])


@pytest.fixture(scope="module")
def two(people):
    assert train(people, people.parent / "two", TWO) == 0
    return people.parent / "two"


def test_two_images_tell_what_neither_tells_alone(people, two, tmp_path, capsys):
    card = read_card(two / "model.toml")
    assert (card.modality, [contract.modality for contract in card.contracts]) == ("T1w+FLAIR", ["T1w", "FLAIR"])
    assert run_self_test(open_model(two)).passed
    net = load_model(two)
    assert net.architecture["channels"] == 2 and set(net.similarity) == set(net.mean_cells) == {"packed_mni_T1w", "packed_mni_FLAIR"}
    for name in TWO:
        assert train(people, tmp_path / name, [name]) == 0
        alone = read_card(tmp_path / name / "model.toml")
        assert card.errors.mae.value < 0.7 * alone.errors.mae.value


def test_who_lacks_an_image_is_named(people, tmp_path, capsys):
    assert train(people, tmp_path / "toy", TWO, epochs=1) == 0
    assert f"left out, no image packed_mni_FLAIR: 1 (sub-{PEOPLE - 1})" in capsys.readouterr().out


def test_the_app_asks_it_with_both_images_and_says_who_lacks_one(people, two, tmp_path):
    plan = Plan(Settings(str(tmp_path), str(people), str(tmp_path), models=(str(two),), omp_nthreads=1), tmp_path)
    assert {"FLAIR?", "arrays"} <= set(model_stages(plan)[0].needs)
    asked, rows = ask(open_model(two)), []
    for row in (20, PEOPLE - 1):
        scans = {modality: Scan(tmp_path / modality, modality, {}, "") for modality in ("T1w", "FLAIR")}
        session = Session(f"sub-{row:02d}", None, scans, age=40.0)
        for key in (output.key for output in t1w.QUALITY):
            sink_table([], derivative_path(people, key, session.participant_id), table_columns("qc"))
        predict(asked, session, plan)
        write_ages([asked], ["two"], session, plan)
        rows += read_rows(derivative_path(people, "brainage", session.participant_id))
    assert [row["modality"] for row in rows] == ["T1w+FLAIR"] * 2
    assert rows[0]["brain_age"] == pytest.approx(40.0, abs=8.0) and not rows[0]["flags"]
    assert rows[1]["brain_age"] is None and "modality_missing" in rows[1]["flags"]


@pytest.mark.parametrize(
    ("inputs", "sentence"),
    [
        (["packed2", "packed2"], "two are the same image"),
        (["packed1", "packed1flair"], "brains in boxes are cut one by one"),
        (["packed2", "packed2flaircortex"], "prepared in different ways"),
        (["packed2", "nothing"], "no input 'nothing'"),
    ],
)
def test_inputs_that_make_no_network(people, tmp_path, capsys, inputs, sentence):
    assert train(people, tmp_path / "toy", inputs) == 78
    assert sentence in capsys.readouterr().err


def test_a_network_of_one_image_cannot_start_one_of_two(people, two, tmp_path, capsys):
    assert train(people, tmp_path / "one", ["packed2"], epochs=1) == 0
    for start, inputs in ((tmp_path / "one", TWO), (two, ["packed2"]), (two, TWO[::-1])):
        assert train(people, tmp_path / "toy", inputs, "--init", str(start)) == 78
        assert "give the same --input" in capsys.readouterr().err
    assert train(people, tmp_path / "toy", TWO, "--init", str(two), "--freeze", "convolutions", epochs=1) == 0


def test_nobody_has_both(tmp_path, capsys):
    write(tmp_path / "out", "sub-1", "T1w", 100)
    write(tmp_path / "out", "sub-2", "FLAIR", 100)
    (tmp_path / "people.tsv").write_text("participant_id\tage\nsub-1\t30\nsub-2\t40\n")
    assert train(tmp_path / "out", tmp_path / "toy", TWO) == 65
    assert "holds no session with all of packed_mni_T1w, packed_mni_FLAIR" in capsys.readouterr().err


def test_segmentation_looks_at_one(people, tmp_path, capsys):
    with pytest.raises(SystemExit, match="64"):
        main([str(people), "--out", str(tmp_path / "seg"), "--task", "segment", "--model", "vgg8", "--input", *TWO])
    assert "looks at one image" in capsys.readouterr().err
