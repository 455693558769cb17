"""Settings of a training: written beside the model, read back, and what the command line changes of them."""

import nibabel as nib
import numpy as np
import pytest

from brainage_bids.bids.names import derivative_path
from brainage_bids.cli.train import main, make_parser
from brainage_bids.cli.train_options import parse_options, settings_of
from brainage_bids.files import parse_toml
from brainage_bids.models.cardfile import read_card
from brainage_bids.records import BadConfiguration
from brainage_bids.settings import TrainSettings

EVERY = [
    "a", "b", "--phenotype", "p", "--phenotype", "q", "--model", "mrinet", "--input", "packed2", "packed2flair", "--limits", "One.",
    "--limits=--Two", "--seed", "7", "--split-parts", "--rate", "0.02", "--bins", "-5", "2", "40", "--widths", "4", "8", "--balance",
    "--where", "group == 'x y'", "--exclude-flag", "age_missing", "--dataset-name", "first", "--dataset-name", "second", "--allow-missing",
]  # fmt: skip


def parse(*words):
    return parse_options(make_parser(), list(words))


def test_settings_give_the_same_options_again(tmp_path):
    first = parse(*EVERY, "--out", "here")
    (tmp_path / "s.toml").write_text(settings_of(first).to_toml())
    again = parse("--out", "there", "--config-file", str(tmp_path / "s.toml"))
    assert settings_of(again) == settings_of(first)
    assert (again.input, again.bins, again.limits, again.seed) == (["packed2", "packed2flair"], [-5.0, 2.0, 40.0], ["One.", "--Two"], 7)
    assert again.out.name == "there" and all(path.is_absolute() for path in (*again.derivatives, *again.phenotype))


def test_the_command_line_wins(tmp_path):
    (tmp_path / "s.toml").write_text(settings_of(parse(*EVERY, "--out", "here")).to_toml())
    file = ["--config-file", str(tmp_path / "s.toml")]
    found = parse("c", "--out", "x", *file, "--seed", "0", "--input", "packed2", "--phenotype", "r")
    assert (found.seed, found.input, found.rate) == (0, ["packed2"], 0.02)
    assert ([path.name for path in found.derivatives], [path.name for path in found.phenotype]) == (["c"], ["r"])


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("derivatives = ['a']\nsed = 1", "unknown setting 'sed'"),
        ("derivatives = ['a']\nseed = 'x'", "The setting seed is 'x'; give a whole number"),
        ("derivatives = ['a']\nwidths = [4, 'x']", "give a list of whole numbers"),
        ("derivatives = ['a']\nout = 'x'", "unknown setting 'out'"),
        ("seed = 1", "lacks settings"),
        ("seed =", "cannot be read"),
    ],
)
def test_files_that_cannot_be_used(tmp_path, capsys, text, sentence):
    (tmp_path / "s.toml").write_text(text)
    assert main(["--out", str(tmp_path / "m"), "--config-file", str(tmp_path / "s.toml")]) == 78
    assert sentence in capsys.readouterr().err


def test_choices_of_the_file_are_checked_as_options(tmp_path, capsys):
    (tmp_path / "s.toml").write_text("derivatives = ['a']\nmodel = 'magic'")
    with pytest.raises(SystemExit, match="64"):
        main(["--out", str(tmp_path / "m"), "--config-file", str(tmp_path / "s.toml")])
    assert "argument --model: invalid choice: 'magic'" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="64"):
        main(["--out", str(tmp_path / "m")])
    assert "required: DERIVATIVES" in capsys.readouterr().err


def test_every_option_is_a_setting():
    beside = {"out", "cv_out", "work", "overwrite", "config_file"}
    assert set(vars(parse("a", "--out", "x"))) - beside == set(TrainSettings.__dataclass_fields__)
    with pytest.raises(BadConfiguration, match="not UTF-8"):
        TrainSettings(("\udce9",))


def test_a_training_is_repeated_from_its_settings(tmp_path, capsys):
    root, generator = tmp_path / "out", np.random.default_rng(0)
    lines = ["participant_id\tage"]
    for row in range(12):
        path = derivative_path(root, "modulated", f"sub-{row:02d}", label="GM")
        path.parent.mkdir(parents=True)
        values = 0.5 - 0.02 * row + generator.normal(0, 0.02, (9, 10, 8))
        nib.save(nib.Nifti1Image(values.astype(np.float32), np.diag([1.5] * 3 + [1])), path)
        lines.append(f"sub-{row:02d}\t{20 + row}")
    (tmp_path / "p.tsv").write_text("\n".join(lines) + "\n")
    how = ["--model", "resnet", "--widths", "2", "3", "--folds", "2", "--repeats", "1", "--epochs", "2", "--seed", "5", "--device", "cpu"]
    assert main([str(root), "--phenotype", str(tmp_path / "p.tsv"), "--out", str(tmp_path / "first"), *how]) == 0
    file = tmp_path / "first" / "settings.toml"
    assert parse_toml(file.read_text())["derivatives"] == [str(root)]
    assert main(["--config-file", str(file), "--out", str(tmp_path / "again")]) == 0
    assert main(["--config-file", str(file), "--out", str(tmp_path / "other"), "--seed", "6"]) == 0
    first, again, other = (read_card(tmp_path / name / "model.toml") for name in ("first", "again", "other"))
    assert first.files["weights.safetensors"] == again.files["weights.safetensors"] != other.files["weights.safetensors"]
    assert first.files["settings.toml"] == again.files["settings.toml"] and other.training.seeds == (6,)
