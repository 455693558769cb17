import json
import re
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from brainage_bids.bids.names import derivative_path
from brainage_bids.cli.train import main
from brainage_bids.models.cardfile import read_card
from brainage_bids.models.registry import open_model
from brainage_bids.models.selftest import run_self_test

AFFINE = np.diag([1.5, 1.5, 1.5, 1.0])


def write_cohort(root: Path, n: int) -> Path:
    """Outputs of n people whose grey matter shrinks with age; returns the phenotype table."""
    generator = np.random.default_rng(0)
    ages = np.linspace(20, 60, n).round(1)
    for row, age in enumerate(ages):
        effect = (age - 40) / 20
        for label in ("GM", "WM"):
            path = derivative_path(root, "modulated_smooth", f"sub-{row:02d}", label=label)
            path.parent.mkdir(parents=True, exist_ok=True)
            values = 0.4 - 0.1 * effect * (np.arange(16)[:, None, None] > 8) + generator.normal(0, 0.05, (16, 18, 16))
            nib.save(nib.Nifti1Image(values.astype(np.float32), AFFINE), path)
        volumes = derivative_path(root, "volumes", f"sub-{row:02d}")
        volumes.write_text(f"participant_id\tGM\tWM\tCSF\tbrain\nsub-{row:02d}\t{6e5 - 2e4 * effect}\t5e5\t2e5\t{1.1e6 - 2e4 * effect}\n")
    table = root.parent / "participants.tsv"
    lines = [f"sub-{row:02d}\t{age}\t{'MF'[row % 2]}\t{'<b>patient</b>' if row % 3 else 'control'}" for row, age in enumerate(ages)]
    table.write_text("\n".join(["participant_id\tage\tsex\tgroup", *reversed(lines)]) + "\n")
    return table


@pytest.fixture
def cohort(tmp_path):
    root = tmp_path / "outputs of mine"
    return root, write_cohort(root, 12)


def run(root, table, out, *more):
    return main([str(root), "--phenotype", str(table), "--out", str(out), "--folds", "3", "--repeats", "1", *more])


def test_from_outputs_to_a_model(cohort, tmp_path, capsys):
    root, table = cohort
    out = tmp_path / "models" / "toy"
    words = ["--licence", "CC0-1.0", "--citation", "Me", "--limits", "One.", "--limits", "Two.", "--dataset_name", "D"]
    assert run(root, table, out, "--group-column", "group", *words) == 0
    card = read_card(out / "model.toml")
    assert (card.name, card.kind, card.licence, card.citation, card.limits) == ("toy", "gpr", "CC0-1.0", "Me", ("One.", "Two."))
    assert (card.training.n, card.training.datasets, card.training.seeds) == (12, ("D",), (1,))
    assert card.training.groups == {"<b>patient</b>": 8, "control": 4}
    assert card.errors.mae.value < card.errors.mae_guess.value
    assert run_self_test(open_model(out)).passed
    printed = capsys.readouterr()
    assert re.search(rf"mean absolute error +{card.errors.mae.value:.2f} +[\d.]+ to [\d.]+ +years", printed.out)
    assert "error of guessing the mean age" in printed.out
    assert "seed 1" in printed.out
    assert "cross-validation: 3 of 3" in printed.err
    rows = [line.split("\t") for line in (tmp_path / "models" / "toy_cv" / "cv_predictions.tsv").read_text().splitlines()]
    assert rows[0] == ["participant_id", "group", "age", "brain_age", "brain_age_sd", "guess", "brain_age_1"]
    errors = [abs(float(row[3]) - float(row[2])) for row in rows[1:]]
    assert np.mean(errors) == pytest.approx(card.errors.mae.value, abs=1e-3)
    described = json.loads((tmp_path / "models" / "toy_cv" / "cv_predictions.json").read_text())
    assert set(rows[0]) <= set(described)
    assert (tmp_path / "models" / "toy_cv" / "cv_scatter.png").read_bytes().startswith(b"\x89PNG")


def test_same_seed_same_weights(cohort, tmp_path):
    for name in ("one", "two"):
        assert run(*cohort, tmp_path / name, "--seed", "4", "--cv-out", str(tmp_path / f"{name}_errors"), "--name", "toy") == 0
    assert read_card(tmp_path / "one" / "model.toml").files == read_card(tmp_path / "two" / "model.toml").files
    tables = [(tmp_path / f"{name}_errors" / "cv_predictions.tsv").read_bytes() for name in ("one", "two")]
    assert tables[0] == tables[1]


def test_a_model_is_not_replaced_by_accident(cohort, tmp_path, capsys):
    assert run(*cohort, tmp_path / "toy") == 0
    before = (tmp_path / "toy" / "model.toml").read_bytes()
    assert run(*cohort, tmp_path / "toy") == 78
    assert "--overwrite" in capsys.readouterr().err
    assert (tmp_path / "toy" / "model.toml").read_bytes() == before
    assert run(*cohort, tmp_path / "toy", "--overwrite", "--seed", "9") == 0
    assert read_card(tmp_path / "toy" / "model.toml").training.seeds == (9,)


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        (["--name", "My Model"], 78, "mymodel"),
        (["--folds", "50"], 65, "12 people cannot"),
        (["--group-column", "nope"], 78, "no column 'nope'"),
        (["--phenotype", "b.tsv", "--phenotype", "c.tsv"], 78, "one phenotype table"),
    ],
)
def test_errors_are_sentences(cohort, tmp_path, capsys, change, code, words):
    assert run(*cohort, tmp_path / "toy", *change) == code
    error = capsys.readouterr().err
    assert words in error
    assert "Traceback" not in error
    assert not (tmp_path / "toy").exists()


def test_other_errors(cohort, tmp_path, capsys):
    root, table = cohort
    assert run(tmp_path, table, tmp_path / "toy") == 65
    assert run(root, tmp_path / "nope.tsv", tmp_path / "toy") == 78
    (tmp_path / "file").write_text("")
    assert run(root, table, tmp_path / "file" / "toy") == 78
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("more", [None, [], ["--phenotype", "z", "--folds", "1"], ["--phenotype", "z", "--no"]])
def test_usage(more, capsys):
    with pytest.raises(SystemExit) as caught:
        main([] if more is None else ["x", "--out", "y", *more])
    assert caught.value.code == 64
    assert "usage: brainage-train" in capsys.readouterr().out + capsys.readouterr().err


@pytest.mark.parametrize("program", ["train", "models"])
def test_help_imports_nothing_heavy(program):
    code = (
        f"import sys; from brainage_bids.cli.{program} import main\n"
        "try: main(['--help'])\n"
        "except SystemExit as stop: assert stop.code == 0\n"
        "print('HEAVY', sorted({'numpy', 'scipy', 'pandas', 'torch', 'matplotlib', 'nibabel', 'nipype', 'bids'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "HEAVY []" in found.stdout
