import json
import tomllib
from dataclasses import replace

import numpy as np
import pytest

from brainage_bids.cli.models import main
from brainage_bids.models.cardfile import card_text, read_card
from brainage_bids.models.image_contract import InputContract
from brainage_bids.models.weights import sha256_of_bytes
from brainage_bids.training.collect import TrainingData
from brainage_bids.training.evaluate import cross_validate, train_model
from brainage_bids.training.folder import About, write_model
from brainage_bids.training.gpr import Grid

AFFINE = ((1.5, 0.0, 0.0, 0.0), (0.0, 1.5, 0.0, 0.0), (0.0, 0.0, 1.5, 0.0), (0.0, 0.0, 0.0, 1.0))
GRID = Grid(n_components=(3,), kernels=(("linear", 1.0),), alphas=(1.0,), inner_folds=3, inner_repeats=1)


@pytest.fixture(autouse=True)
def only_mine(monkeypatch, tmp_path):
    monkeypatch.setattr("brainage_bids.models.registry.embedded_dir", lambda: tmp_path / "embedded")
    monkeypatch.delenv("BRAINAGE_MODEL_DIR", raising=False)


@pytest.fixture
def models(tmp_path):
    """A folder with two models trained on noise."""
    generator = np.random.default_rng(0)
    rest = ("T1w", "MNI152NLin2009aSym", "nonlinear", (1.5,) * 3, (16, 18, 16), AFFINE, "modulatedSmooth4")
    contracts = tuple(InputContract("modulated_smooth", {"label": label}, *rest) for label in ("GM", "WM"))
    data = TrainingData(
        participants=tuple(f"sub-{row}" for row in range(9)),
        sessions=(None,) * 9,
        ages=generator.uniform(20, 60, 9),
        cells={contract.key: generator.random((9, 7, 8, 7), dtype=np.float32) for contract in contracts},
        volumes=tuple({"GM": float(value), "brain": 1e6} for value in generator.uniform(5e5, 7e5, 9)),
        contracts=contracts,
        datasets=("noise",),
    )
    model, choice = train_model(data, grid=GRID)
    validation = cross_validate(data, folds=3, repeats=1, grid=GRID)
    for name in ("one", "two"):
        about = About(name, "1", "2026-01-01", "CC0-1.0", "Me", ("Made of noise.",))
        write_model(tmp_path / "m" / name, model, data, validation, choice, about)
    return tmp_path / "m"


def run(models, *argv):
    return main([*argv, "--model-dir", str(models)])


def test_list(models, capsys):
    assert run(models, "list") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["name", "one", "two"]
    assert str(models / "one") in lines[1]


def test_show_prints_the_card(models, capsys):
    assert run(models, "show", "two") == 0
    printed = capsys.readouterr().out
    assert "# Made of noise." in printed
    assert "mean absolute error" in printed
    assert tomllib.loads(printed)["model"]["name"] == "two"


@pytest.mark.parametrize("command", ["verify", "self-test"])
def test_sound_models_pass(models, capsys, command):
    assert run(models, command) == 0
    assert [line.split(":")[0] for line in capsys.readouterr().out.splitlines()] == ["one", "two"]
    assert run(models, command, "one") == 0
    assert main([command, str(models / "two")]) == 0


@pytest.mark.parametrize("file", ["weights.safetensors", "heads.json", "example.json", "example.safetensors"])
def test_verify_finds_one_changed_byte(models, capsys, file):
    path = models / "one" / file
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    assert run(models, "verify", "one") == 78
    assert "SHA-256" in capsys.readouterr().err
    assert run(models, "verify", "two") == 0


def test_self_test_fails_with_one(models, capsys):
    path = models / "one" / "example.json"
    content = json.loads(path.read_text())
    content["brain_age"] += 0.02
    text = json.dumps(content).encode()
    path.write_bytes(text)
    card = read_card(models / "one" / "model.toml")
    (models / "one" / "model.toml").write_text(card_text(replace(card, files={**card.files, "example.json": sha256_of_bytes(text)})))
    assert run(models, "self-test") == 1
    lines = capsys.readouterr().out.splitlines()
    assert "FAILED" in lines[0]
    assert "passed" in lines[1]


def test_a_broken_card(models, capsys):
    (models / "one" / "model.toml").write_text("x = 1\n")
    assert run(models, "list") == 1
    printed = capsys.readouterr()
    assert "two" in printed.out
    assert "lacks" in printed.err
    assert run(models, "verify") == 78


def test_no_such_model(models, capsys):
    assert run(models, "show", "three") == 78
    assert "known are: one, two" in capsys.readouterr().err


def test_no_model_at_all(capsys):
    for command in ("list", "verify", "self-test"):
        assert main([command]) == 66
    assert "brainage-train" in capsys.readouterr().err


@pytest.mark.parametrize("argv", [[], ["dance"], ["show"], ["list", "--no"]])
def test_usage(argv):
    with pytest.raises(SystemExit) as caught:
        main(argv)
    assert caught.value.code == 64


def test_underscores(models):
    assert main(["list", f"--model_dir={models}"]) == 0
