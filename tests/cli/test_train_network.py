import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

import brainage_bids
from brainage_bids.bids.names import derivative_path
from brainage_bids.cli.train import main
from brainage_bids.models import load_model
from brainage_bids.models.cardfile import read_card
from brainage_bids.models.contract import input_paths
from brainage_bids.models.registry import open_model
from brainage_bids.models.selftest import run_self_test
from brainage_bids.training.images import find_images, net_inputs

AFFINE = np.diag([1.5, 1.5, 1.5, 1.0])
SHAPE = (9, 10, 8)
FAST = ["--epochs", "6", "--rate", "0.02", "--augmentation", "none", "--device", "cpu"]


def write_cohort(root: Path, n: int = 24, shape=SHAPE) -> Path:
    """Grey-matter maps that shrink with age; returns the phenotype table."""
    generator = np.random.default_rng(0)
    ages = np.linspace(20, 60, n).round(1)
    for row, age in enumerate(ages):
        path = derivative_path(root, "modulated", f"sub-{row:02d}", label="GM")
        path.parent.mkdir(parents=True, exist_ok=True)
        values = 0.5 - 0.2 * (age - 40) / 20 + generator.normal(0, 0.02, shape)
        nib.save(nib.Nifti1Image(values.astype(np.float32), AFFINE), path)
    table = root.parent / "participants.tsv"
    kinds = ["patient" if row % 6 == 5 else "control" for row in range(n)]
    lines = [f"sub-{row:02d}\t{age}\t{'MF'[row % 2]}\tsite{row % 2}\t{kinds[row]}\t{100 - age}" for row, age in enumerate(ages)]
    table.write_text("\n".join(["participant_id\tage\tsex\tsite\tgroup\tscore", *lines]) + "\n")
    return table


@pytest.fixture
def people(tmp_path):
    root = tmp_path / "out"
    return root, write_cohort(root)


def run(people, out, kind, *more):
    return main([str(people[0]), "--phenotype", str(people[1]), "--out", str(out), "--model", kind, *FAST, *more])


def rows_of(path):
    lines = [line.split("\t") for line in path.read_text().splitlines()]
    return [dict(zip(lines[0], line, strict=True)) for line in lines[1:]]


def test_from_derivatives_to_a_model_that_the_app_uses(people, tmp_path, capsys, estimate):
    out = tmp_path / "models" / "toy"
    words = ["--split-parts", "--runs", "2", "--export-features", "--where", "group == 'control'", "--licence", "CC0-1.0"]
    assert run(people, out, "resnet", *words) == 0
    card = read_card(out / "model.toml")
    assert (card.name, card.kind, card.licence, card.training.seeds, card.training.device) == ("toy", "resnet", "CC0-1.0", (1, 2), "cpu")
    assert card.training.sexes["F"] + card.training.sexes["M"] == card.training.n == 18
    assert card.training.minutes > 0
    assert card.errors.mae.value < card.errors.mae_guess.value
    assert run_self_test(open_model(out)).passed
    printed = capsys.readouterr()
    assert "mean absolute error of 2 runs" in printed.out
    assert "left out, the condition does not hold: 4" in printed.out
    assert "packing images: 20 of 20" in printed.err
    assert "volumes/s" in printed.err
    beside = tmp_path / "models" / "toy_cv"
    predicted = rows_of(beside / "cv_predictions.tsv")
    mae = np.mean([abs(float(row["brain_age"]) - float(row["age"])) for row in predicted])
    assert mae == pytest.approx(card.errors.mae.value, abs=1e-3)
    assert len(rows_of(beside / "features.tsv")[0]) == 257
    split = {row["participant_id"]: row["split"] for row in rows_of(beside / "split.tsv")}
    assert {row["participant_id"] for row in predicted} == {name for name, part in split.items() if part == "test"}
    assert len(rows_of(out / "history.tsv")) <= 6
    assert all((beside / name).read_bytes().startswith(b"\x89PNG") for name in ("history.png", "split.png"))
    assert "; mean absolute error of 2 runs " in card.training.split
    assert set(predicted[0]) <= set(json.loads((beside / "cv_predictions.json").read_text()))
    # as the app asks for it
    files = input_paths(card, people[0], "sub-03", None)
    found = estimate(out, files, {}, age=26.1)
    reading = load_model(out).predict_array(nib.load(files["modulated_GM"]).get_fdata(dtype=np.float32))
    assert (found.brain_age, found.flags) == (pytest.approx(reading.age.mean, abs=1e-4), ())
    assert found.low < 26.1 < found.high


def test_the_same_command_again_gives_the_same_weights_without_training(people, tmp_path, capsys):
    out = tmp_path / "toy"
    assert run(people, out, "resnet", "--folds", "3", "--repeats", "1") == 0
    first = read_card(out / "model.toml").files["weights.safetensors"]
    assert "epoch 1:" in capsys.readouterr().err
    assert run(people, out, "resnet", "--folds", "3", "--repeats", "1", "--overwrite") == 0
    assert "epoch" not in capsys.readouterr().err  # checkpoints of finished networks
    assert read_card(out / "model.toml").files["weights.safetensors"] == first
    assert run(people, tmp_path / "fresh", "resnet", "--folds", "3", "--repeats", "1", "--name", "toy") == 0
    assert read_card(tmp_path / "fresh" / "model.toml").files["weights.safetensors"] == first
    assert len(rows_of(tmp_path / "toy_cv" / "cv_predictions.tsv")) == 24


def test_transfer_keeps_the_convolutions(people, tmp_path, capsys):
    assert run(people, tmp_path / "first", "resnet", "--split-parts") == 0
    split = str(tmp_path / "first_cv" / "split.tsv")
    words = ["--init", str(tmp_path / "first"), "--freeze", "convolutions", "--split-file", split, "--seed", "7"]
    assert run(people, tmp_path / "second", "resnet", *words) == 0
    first, second = (load_model(tmp_path / name).net.state_dict() for name in ("first", "second"))
    same = {name: bool((first[name] == second[name]).all()) for name in first if "num_batches" not in name}
    assert all(value for name, value in same.items() if name.startswith("convolutions."))
    assert not all(value for name, value in same.items() if not name.startswith("convolutions."))
    assert "frozen: convolutions" in read_card(tmp_path / "second" / "model.toml").training.split
    other = tmp_path / "other" / "out"
    table = write_cohort(other, 12, (9, 10, 9))
    capsys.readouterr()
    assert run((other, table), tmp_path / "third", "resnet", "--init", str(tmp_path / "first"), "--folds", "2") == 78
    assert "made for another grid than these images (9×10×8 and 9×10×9 voxels)" in capsys.readouterr().err
    assert run(people, tmp_path / "third", "mrinet", "--input", "grey", "--init", str(tmp_path / "first")) == 78
    assert "cannot start from one of kind resnet" in capsys.readouterr().err


def test_another_target(people, tmp_path):
    assert run(people, tmp_path / "toy", "mrinet", "--input", "grey", "--target", "score", "--split-parts", "--loss", "mae") == 0
    card = read_card(tmp_path / "toy" / "model.toml")
    assert 40 <= card.training.ages.low < card.training.ages.high <= 80
    assert card.limits == ("It learned the column score instead of the age, and what it gives is that.",)


def test_split_files_and_cohorts_that_differ(people, tmp_path, capsys):
    """Who is in one of them only is said; a test part of one person is refused before anything is packed or trained."""
    split = tmp_path / "split.tsv"
    parts = {row: "train" for row in range(2, 22)} | {0: "test", 1: "validation", 22: "test", 99: "train"}
    split.write_text("participant_id\tsplit\n" + "\n".join(f"sub-{row:02d}\t{part}" for row, part in parts.items()) + "\n")
    assert run(people, tmp_path / "toy", "resnet", "--split-file", str(split)) == 0
    said = capsys.readouterr().out
    assert "; not in it and not used: 1 (sub-23); in it, but not among these people: 1 (sub-99)" in said
    split.write_text(split.read_text().replace("sub-22\ttest", "sub-22\ttrain"))
    assert run(people, tmp_path / "again", "resnet", "--split-file", str(split)) == 65
    said = capsys.readouterr().err
    assert "The parts are too small (21 train, 1 validation, 1 test): two people in test" in said and "epoch" not in said
    assert not (tmp_path / "again_work").exists()


def test_sites_of_two_datasets_are_two(people, tmp_path):
    """Both have a site0 and a site1; 8:1:1 is dealt within each of the four."""
    root, table = people
    other = write_cohort(tmp_path / "other" / "out", 24)
    found = find_images([root, tmp_path / "other" / "out"], [table, other], net_inputs("resnet"))
    assert set(found.projects) == {"1:site0", "1:site1", "2:site0", "2:site1"}
    assert set(found.keep(range(3), {}).projects) == {"1:site0", "1:site1"}
    assert set(find_images([root], [table], net_inputs("resnet")).projects) == {"site0", "site1"}


@pytest.mark.slow
def test_killed_before_the_model_is_in_its_place(people, tmp_path):
    """Predictions come first, so that a model that is there is all there; the next run leaves nothing of the killed one."""
    script = "import os, signal; from brainage_bids.training import folder; from brainage_bids.cli.train import main; import sys; "
    script += "folder._swap = lambda *_: os.kill(os.getpid(), signal.SIGKILL); main(sys.argv[1:])"
    words = [str(people[0]), "--phenotype", str(people[1]), "--out", str(tmp_path / "toy"), "--model", "resnet", *FAST, "--split-parts"]
    environment = os.environ | {"PYTHONPATH": str(Path(brainage_bids.__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", script, *words], env=environment, capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL
    assert (tmp_path / "toy_cv" / "cv_predictions.tsv").is_file() and not (tmp_path / "toy").exists()
    assert [path for path in tmp_path.iterdir() if path.name.startswith(".toy.")]
    assert main(words) == 0
    assert run_self_test(open_model(tmp_path / "toy")).passed
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_unreadable_images(people, tmp_path, capsys):
    root, _ = people
    paths = [derivative_path(root, "modulated", f"sub-{row:02d}", label="GM") for row in (2, 3)]
    paths[0].write_bytes(b"no image")
    nib.save(nib.Nifti1Image(np.ones((9, 10, 9), np.float32), AFFINE), paths[1])
    assert run(people, tmp_path / "toy", "resnet", "--split-parts") == 65
    message = capsys.readouterr().err
    assert "2 images cannot be trained on" in message
    assert "sub-02" in message
    assert "the shape 9×10×8 is needed and it has 9×10×9" in message
    assert "--allow-missing" in message
    assert not (tmp_path / "toy").exists()
    assert run(people, tmp_path / "toy", "resnet", "--split-parts", "--allow-missing") == 0
    assert "sub-03" in capsys.readouterr().out


def sentence(people, tmp_path, capsys, kind, *more):
    code = run(people, tmp_path / "toy", kind, *more)
    assert not (tmp_path / "toy").exists()
    return code, capsys.readouterr().err


def test_bad_input_is_one_sentence(people, tmp_path, capsys):
    root, table = people
    cases = [
        (("resnet", "--folds", "24", "--repeats", "1", "--where", "age < 24"), 65, "cannot be cross-validated in 24 folds"),
        (("resnet", "--split-parts", "--where", "age < 30"), 65, "cannot be divided 8:1:1"),
        (("resnet", "--where", "age <"), 78, "The query --where 'age <' cannot be read"),
        (("resnet", "--where", "iq > 3"), 78, "names 'iq', which is no column"),
        (("resnet", "--target", "iq"), 78, "has no column 'iq'"),
        (("resnet", "--where", "age > 99"), 65, "No session can be trained on"),
        (("vgg8", "--input", "grey"), 78, "too small"),
        (("vgg8",), 65, "holds no images t1w_mni_1"),
        (("resnet", "--input", "colour"), 78, "no input 'colour'"),
        (("resnet", "--loss", "kl"), 78, "goes with a network that says bins"),
        (("resnet", "--rate", "-1"), 78, "the rate above zero"),
        (("resnet", "--bins", "30", "2", "10"), 78, "sessions (20.0 to 60.0 years) lie outside the bins of 30 to 50 years; give --bins"),
        (("resnet", "--device", "tpu"), 78, "is not there; give --device cpu"),
        (("resnet", "--init", "nobody"), 78, "There is no model 'nobody'"),
        (("resnet", "--split-file", str(root / "none.tsv")), 78, "cannot be read"),
    ]
    for words, code, message in cases:
        found = sentence(people, tmp_path, capsys, *words)
        assert (found[0], message in found[1]) == (code, True), (words, found)
        assert "Traceback" not in found[1]
    table.write_text("participant_id\tage\n" + "\n".join(f"sub-{row:02d}\t40" for row in range(24)) + "\n")
    assert "have the same age" in sentence(people, tmp_path, capsys, "resnet")[1]


def command(people, out, *more, limit=None):
    """The real command; `limit` bounds the size of a file."""
    words = ["-m", "brainage_bids.cli.train", people[0], "--phenotype", people[1], "--out", out, "--model", "resnet", *FAST, *more]
    environment = os.environ | {"PYTHONPATH": str(Path(brainage_bids.__file__).parents[1]), "OMP_NUM_THREADS": "1"}
    bound = None if limit is None else lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    return subprocess.Popen(
        [sys.executable, *map(str, words)], env=environment, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, preexec_fn=bound
    )


@pytest.mark.slow
def test_killed_three_times_and_started_again_gives_the_same_weights(people, tmp_path):
    words = ["--folds", "2", "--repeats", "1", "--epochs", "12", "--name", "toy"]
    whole = command(people, tmp_path / "whole", *words)
    _, said = whole.communicate(timeout=300)
    assert whole.returncode == 0, said
    moments = ("packing images: 10 of 24", "fold 1 of 2, epoch 3:", "all people, epoch 2:")
    for moment in moments:
        process = command(people, tmp_path / "killed", *words)
        for line in process.stderr:
            if moment in line:
                process.kill()
                break
        process.communicate(timeout=60)
        assert process.returncode == -signal.SIGKILL, moment
        assert not (tmp_path / "killed").exists()
    last = command(people, tmp_path / "killed", *words)
    _, said = last.communicate(timeout=300)
    assert last.returncode == 0, said
    assert "fold" not in said and "all people, epoch 1:" not in said  # what was done is not done again
    first, second = (read_card(tmp_path / name / "model.toml").files["weights.safetensors"] for name in ("whole", "killed"))
    assert first == second
    assert not [path for path in tmp_path.rglob("*.partial*") if path.is_file()]


@pytest.mark.parametrize(("limit", "file"), [(20_000, "volumes.npy"), (200_000, "run-")])
def test_no_room_is_one_sentence(people, tmp_path, limit, file):
    process = command(people, tmp_path / "toy", "--split-parts", limit=limit)
    _, said = process.communicate(timeout=300)
    assert process.returncode == 78, said
    (sentence,) = [line for line in said.splitlines() if line.startswith("brainage-train:")]
    assert "raise the limit (ulimit -f)" in sentence and file in sentence
    assert "Traceback" not in said
    assert not (tmp_path / "toy").exists()
    assert not [path for path in tmp_path.rglob("*partial*") if path.is_file()]


def test_half_done_derivatives_are_named(people, tmp_path, capsys):
    derivative_path(people[0], "modulated", "sub-05", label="GM").unlink()
    assert run(people, tmp_path / "toy", "resnet", "--split-parts") == 0
    assert "left out, no image modulated_GM: 1 (sub-05)" in capsys.readouterr().out


def test_one_site_and_no_sites_and_ages_that_are_missing(people, tmp_path, capsys):
    root, table = people
    rows = [line.split("\t") for line in table.read_text().splitlines()]
    ages = [row[1] for row in rows[1:]]
    for name, lines in {
        "onesite": ["participant_id\tage\tsite", *(f"sub-{row:02d}\t{age}\tx" for row, age in enumerate(ages))],
        "nosite": ["participant_id\tage", *(f"sub-{row:02d}\t{age if row != 3 else 'n/a'}" for row, age in enumerate(ages))],
    }.items():
        table.write_text("\n".join(lines) + "\n")
        assert run(people, tmp_path / name, "resnet", "--split-parts") == 0
    assert "left out, no age: 1 (sub-03)" in capsys.readouterr().out
    assert [read_card(tmp_path / name / "model.toml").training.sites for name in ("onesite", "nosite")] == [("x",), ()]
    table.write_text("participant_id\tsex\n" + "\n".join(f"sub-{row:02d}\tF" for row in range(24)) + "\n")
    assert run(people, tmp_path / "third", "resnet", "--split-parts") == 65
    assert "(24 × no age); give --phenotype a table with participant_id and age" in capsys.readouterr().err


def test_a_gpu_that_is_full_says_what_to_do(people, tmp_path, capsys, monkeypatch):
    def full(*_):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr("brainage_bids.training.loop._Run._loss", full)
    assert run(people, tmp_path / "toy", "resnet", "--split-parts") == 78
    assert "too little memory for 4 images at once; give --batch 2 --accumulate 2" in capsys.readouterr().err
    assert run(people, tmp_path / "toy", "resnet", "--split-parts", "--batch", "1") == 78
    assert "give --precision bfloat16 or an --input of larger voxels" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        ["--model", "gpr", "--rate", "1"],
        ["--model", "gpr", "--freeze", "convolutions"],
        ["--model", "resnet", "--freeze", "convolutions"],
        ["--model", "resnet", "--split-parts", "--split-file", "x.tsv"],
        ["--model", "resnet", "--runs", "2"],
        ["--model", "resnet", "--mapping", "x.tsv"],
    ],
)
def test_options_that_do_not_go_together(words, tmp_path):
    with pytest.raises(SystemExit) as stopped:
        main(["out", "--phenotype", "p.tsv", "--out", str(tmp_path / "toy"), *words])
    assert stopped.value.code == 64


@pytest.mark.parametrize(
    "arguments",
    [
        ["D", "--model", "gpr", "--phenotype", "p"],
        ["D", "--model", "resnet", "--task", "segment"],
        ["compare", "D", "--phenotype", "p", "--models", "resnet"],
    ],
)
def test_torchrun_is_refused_where_one_process_does_the_work(arguments, monkeypatch, capsys):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--out", "x"])
    assert ended.value.code == 64 and "torchrun goes with networks" in capsys.readouterr().err
