import importlib.util
from pathlib import Path

import numpy as np
import pytest

from brainage_bids.bids.tables import read_tsv
from brainage_bids.cli.train import main
from brainage_bids.group.seeds import _of_folder
from brainage_bids.stats.permutation import sign_flip_test

_SPEC = importlib.util.spec_from_file_location("tiny", Path(__file__).with_name("test_train_segment.py"))
_TINY = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(_TINY)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    root = tmp_path_factory.mktemp("cohort")
    people = _TINY.tiny_phantoms(root)
    for kind in ("slices", "encoder3d"):
        assert _TINY.segment(people, root / f"seg{kind}", kind, *(["--block", "residual"] if kind == "encoder3d" else [])) == 0
    assert _TINY.ages(people, root / "aged", "encoder3d", "--block", "residual", "--seed", "9") == 0
    return root, people


def run(cohort, out, *more):
    root, (derivatives, table) = cohort
    words = ["compare", str(derivatives), "--phenotype", str(table), "--out", str(out), *_TINY.FAST, *_TINY.WIDTHS]
    return main([*words, *more])


def start(cohort, **names):
    return ["--start", *(f"{word}={cohort[0] / name}" for word, name in names.items())]


def test_kinds_starts_and_seeds(cohort, tmp_path, capsys):
    words = [
        "--models",
        "slices",
        "encoder3d:residual",
        *start(cohort, segment="segslices"),
        *start(cohort, segment="segencoder3d", transfer="aged"),
    ]
    assert run(cohort, tmp_path / "side", *words, "--runs", "2", "--freeze", "convolutions") == 0
    out = capsys.readouterr().out
    assert "guess of the mean age" in out
    assert "Cells of ImageNet are absent" in out
    rows = read_tsv(tmp_path / "side" / "comparison.tsv").rows
    assert [(row["model"], row["start"], row["frozen"]) for row in rows] == [
        ("slices", "none", "none"),
        ("slices", "segment", "convolutions"),
        ("encoder3d:residual", "none", "none"),
        ("encoder3d:residual", "segment", "convolutions"),
        ("encoder3d:residual", "transfer", "convolutions"),
    ]
    predicted = read_tsv(tmp_path / "side" / "predictions.tsv").rows
    split = {row["participant_id"]: row["split"] for row in read_tsv(tmp_path / "side" / "split.tsv").rows}
    for part in ("test", "validation"):
        assert {row["participant_id"] for row in predicted if row["part"] == part} == {name for name in split if split[name] == part}
    assert {row["counted"] for row in predicted} == {"yes"}
    sizes = {}
    for row in rows:
        mine = [one for one in predicted if (one["model"], one["start"], one["part"]) == (row["model"], row["start"], "test")]
        errors = {seed: [abs(float(one["brain_age"]) - float(one["age"])) for one in mine if one["seed"] == seed] for seed in ("1", "2")}
        maes = [np.mean(errors[seed]) for seed in ("1", "2")]
        assert row["runs"] == "2"
        assert float(row["test_mae"]) == pytest.approx(np.mean(maes), abs=1e-3)
        assert float(row["test_mae_sd"]) == pytest.approx(np.std(maes, ddof=1), abs=1e-3)
        assert float(row["test_mae_low"]) <= float(row["test_mae"]) <= float(row["test_mae_high"])
        sizes[row["model"], row["start"]] = np.mean([errors["1"], errors["2"]], axis=0)
    for row in rows:
        if row["start"] == "none":
            assert row["p_scratch"] is None or row["p_scratch"] == "n/a"
        else:
            own, scratch = sizes[row["model"], row["start"]], sizes[row["model"], "none"]
            assert float(row["difference"]) == pytest.approx((own - scratch).mean(), abs=1e-3)
            assert float(row["p_scratch"]) == pytest.approx(sign_flip_test(own, scratch, seed=1).p, abs=0.03)
    # finished runs are not trained again, and a table is not replaced without a word
    assert run(cohort, tmp_path / "side", *words, "--runs", "2", "--freeze", "convolutions") == 78
    assert "holds a comparison already" in capsys.readouterr().err
    assert run(cohort, tmp_path / "side", *words, "--runs", "2", "--freeze", "convolutions", "--overwrite") == 0
    assert "epoch" not in capsys.readouterr().err
    again = read_tsv(tmp_path / "side" / "comparison.tsv").rows
    assert [row["test_mae"] for row in again] == [row["test_mae"] for row in rows]


def test_retrained_on_training_and_validation(cohort, tmp_path, capsys):
    split = tmp_path / "split.tsv"
    parts = ["test" if row < 4 else "validation" if row < 8 else "train" for row in range(_TINY.PEOPLE)]
    lines = [f"sub-{row:02d}\t{part}" for row, part in enumerate(parts)]
    split.write_text("\n".join(["participant_id\tsplit", *lines]) + "\n")
    for name, more in (("plain", []), ("again", ["--retrain"])):
        assert run(cohort, tmp_path / name, "--models", "mrinet", "--split-file", str(split), *more) == 0
    plain, again = (read_tsv(tmp_path / name / "comparison.tsv").rows[0] for name in ("plain", "again"))
    assert [plain[name] for name in ("validation_mae", "test_mae", "n_test")] == [
        again[name] for name in ("validation_mae", "test_mae", "n_test")
    ]
    assert "retrained_mae" not in plain and again["retrained_mae"] != again["test_mae"]  # both tests stay in the table
    predicted = read_tsv(tmp_path / "again" / "predictions.tsv").rows
    errors = [abs(float(row["brain_age"]) - float(row["age"])) for row in predicted if row["part"] == "test after training and validation"]
    assert len(errors) == 4 and float(again["retrained_mae"]) == pytest.approx(np.mean(errors), abs=1e-3)
    assert "after training + validation" in capsys.readouterr().out


def test_transfer_in_one_command(cohort, tmp_path, capsys):
    """60/20/20 on the large cohort, then five folds from scratch and from there, with what was frozen unchanged."""
    derivatives, table = cohort[1]
    large = ["--pretrain", str(derivatives), "--pretrain-phenotype", str(table), "--folds", "5", "--freeze", "convolutions"]
    assert run(cohort, tmp_path / "side", "--models", "slices", *large) == 0
    rows = read_tsv(tmp_path / "side" / "comparison.tsv").rows
    assert [(row["start"], row["frozen"], row["n_test"]) for row in rows] == [("none", "none", "20"), ("transfer", "convolutions", "20")]
    predicted = read_tsv(tmp_path / "side" / "predictions.tsv").rows
    assert {row["part"] for row in predicted} == {"test"} and len(predicted) == 40
    errors = [abs(float(row["brain_age"]) - float(row["age"])) for row in predicted if row["start"] == "transfer"]
    assert float(rows[1]["test_mae"]) == pytest.approx(np.mean(errors), abs=1e-3) and float(rows[1]["p_scratch"]) > 0
    out = capsys.readouterr().out
    assert "3:1:1 by age decile and site" in out and "5 folds" in out
    split = read_tsv(tmp_path / "side" / "pretrained" / "slices_cv" / "split.tsv").rows
    assert sorted(row["split"] for row in split) == ["test"] * 4 + ["train"] * 12 + ["validation"] * 4


@pytest.mark.parametrize("how", ("file", "folds"))
def test_others_are_predicted_and_never_trained_on(cohort, tmp_path, how):
    split = tmp_path / "split.tsv"
    parts = {row: "test" if row % 5 == 0 else "validation" if row % 5 == 1 else "train" for row in range(15)}
    parts |= {row: "test" if row % 2 else "validation" for row in range(15, _TINY.PEOPLE)}
    split.write_text("participant_id\tsplit\n" + "".join(f"sub-{row:02d}\t{part}\n" for row, part in parts.items()))
    how = ["--split-file", str(split)] if how == "file" else ["--folds", "4"]
    words = ["--models", "slices", "--where", "age < 65", "--also-predict", "age >= 65", *how]
    assert run(cohort, tmp_path / "side", *words) == 0
    predicted = read_tsv(tmp_path / "side" / "predictions.tsv").rows
    old = {row["participant_id"] for row in predicted if row["counted"] == "no"}
    assert len(old) == 5 and all((float(row["age"]) >= 65) == (row["counted"] == "no") for row in predicted)
    (row,) = read_tsv(tmp_path / "side" / "comparison.tsv").rows
    errors = [abs(float(one["brain_age"]) - float(one["age"])) for one in predicted if (one["part"], one["counted"]) == ("test", "yes")]
    assert float(row["test_mae"]) == pytest.approx(np.mean(errors), abs=1e-3) and len(errors) == int(row["n_test"])
    taken = [one for one in _of_folder(tmp_path / "side", {f"sub-{row:02d}" for row in range(_TINY.PEOPLE)}) if one.part == "test"]
    assert len(taken) == 1 and len(taken[0].counted) == len(errors) and set(taken[0].gaps) - taken[0].counted <= old


def test_bad_input_is_one_sentence(cohort, tmp_path, capsys):
    cases = [
        (["--models", "vgg8", *start(cohort, segment="segslices")], "which --models does not name"),
        (["--models", "slices", "--start", "segment"], "write WORD=MODEL"),
        (["--models", "slices", "--start", "none=volumes"], "write WORD=MODEL"),
        (["--models", "slices", "--start", "a=volumes"], "is no network"),
        (["--models", "slices", "--start", "a=nobody"], "There is no model 'nobody'"),
        (["--models", "encoder3d", *start(cohort, a="aged")], "of kind encoder3d:residual, which"),
        (["--models", "encoder3d:residual", *start(cohort, a="aged"), "--widths", "2", "3", "5"], "belong to another grid or network"),
    ]
    for words, sentence in cases:
        assert run(cohort, tmp_path / "no", *words) == 78, words
        message = capsys.readouterr().err
        assert sentence in message
        assert "Traceback" not in message
        assert not (tmp_path / "no").exists()


@pytest.mark.parametrize(
    "words",
    [
        ["--init", "a"],
        ["--freeze", "convolutions"],
        ["--runs", "0"],
        ["--split-parts", "--split-file", "s"],
        ["--folds", "1"],
        ["--folds", "5", "--split-file", "s"],
        ["--pretrain", "a"],
        ["--also-predict", "age > 60"],
    ],
)
def test_options_that_do_not_go_together(cohort, tmp_path, words):
    with pytest.raises(SystemExit) as stopped:
        run(cohort, tmp_path / "no", "--models", "slices", *words)
    assert stopped.value.code == 64
