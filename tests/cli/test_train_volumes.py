import pytest

from brainage_bids.cli import models
from brainage_bids.cli.train import main
from brainage_bids.training import volumes

COMMAND = ["--model", "volumes", "--folds", "3", "--repeats", "1", "--leave-out", "sub-010", "sub-011", "--licence", "CC0-1.0"]


@pytest.fixture(autouse=True)
def few_candidates(monkeypatch):
    monkeypatch.setattr(volumes, "grid", lambda: (volumes.Candidate("linear", 10.0, 1.0),))


def test_from_a_table_to_a_model(volume_files, tmp_path, capsys):
    table, mapping = map(str, volume_files)
    assert main([table, *COMMAND, "--mapping", mapping, "--out", str(tmp_path / "toy"), "--dataset-name", "people"]) == 0
    printed = capsys.readouterr().out
    for words in (
        "116 people",
        "left out, implausible: cortex: sub-005",
        "sub-010, sub-011",
        "where people differ",
        "decade",
        "Leaving one site out",
    ):
        assert words in printed
    for command in ("verify", "self-test", "show"):
        assert models.main([command, str(tmp_path / "toy")]) == 0
    assert models.main(["list", "--model-dir", str(tmp_path / "toy")]) == 0
    printed = capsys.readouterr().out
    assert "toy: passed" in printed
    assert "further_errors" in printed
    assert main([table, *COMMAND, "--mapping", mapping, "--out", str(tmp_path / "toy")]) == 78


def test_options_that_do_not_go_together(volume_files, tmp_path, capsys):
    table, mapping = map(str, volume_files)
    out = ["--out", str(tmp_path / "toy")]
    for argv in (
        [table, *COMMAND, *out],
        [table, table, *COMMAND, "--mapping", mapping, *out],
        [table, *out],
        [table, *out, "--phenotype", table, "--mapping", mapping],
        [table, *out, "--phenotype", table, "--paired", table],
    ):
        with pytest.raises(SystemExit) as caught:
            main(argv)
        assert caught.value.code == 64


def test_a_table_that_is_none(tmp_path, volume_files, capsys):
    (tmp_path / "empty.tsv").write_text("participant_id\tage\n")
    assert main([str(tmp_path / "empty.tsv"), *COMMAND, "--mapping", str(volume_files[1]), "--out", str(tmp_path / "toy")]) == 78
    assert "lacks lhCortexVol_mm3" in capsys.readouterr().err
