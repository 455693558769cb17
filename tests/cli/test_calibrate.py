import numpy as np
import pytest

from brainage_bids.bids.names import derivative_path
from brainage_bids.bids.sidecars import table_columns
from brainage_bids.bids.sink import sink_table
from brainage_bids.cli.models import main


@pytest.fixture
def outputs(tmp_path, volume_person):
    """The outputs of twenty people, one of them without an age, and the table of ages."""
    lines = ["participant_id\tage"]
    for row, age in enumerate(np.linspace(25, 75, 20).round(1)):
        names = {"participant_id": f"sub-{row:02d}", "session_id": None}
        tissues = [names | {"GM": 6e5, "WM": 5e5, "CSF": 2e5, "brain": 1.1e6}]
        regions = [names | {"name": name, "volume_mm3": value} for name, value in volume_person(age, row).items()]
        for key, table in (("volumes", tissues), ("volumes_atlas", regions)):
            sink_table(table, derivative_path(tmp_path / "out", key, f"sub-{row:02d}"), table_columns(key))
        lines.append(f"sub-{row:02d}\t{age if row != 3 else 'n/a'}")
    (tmp_path / "participants.tsv").write_text("\n".join(lines) + "\n")
    return str(tmp_path / "out"), str(tmp_path / "participants.tsv")


def test_a_new_model_from_controls(outputs, volume_model, tmp_path, capsys):
    out, table = outputs
    command = ["calibrate", str(volume_model.path), out, "--phenotype", table, "--to", str(tmp_path / "mine")]
    everybody = [f"{row:02d}" for row in range(20)]
    assert main([*command, "--fit", "both", "--controls", *everybody]) == 0
    printed = capsys.readouterr().out
    assert "left out, no age: sub-03" in printed
    assert "on 19 controls of 25 to 75 years" in printed
    assert "thalamus: volumes times" in printed
    assert main(["self-test", str(tmp_path / "mine")]) == 0
    assert main([*command, "--controls", *everybody]) == 78
    assert "--overwrite" in capsys.readouterr().err


def test_controls_that_cannot_be_used(outputs, volume_model, tmp_path, capsys):
    out, table = outputs
    command = ["calibrate", str(volume_model.path), out, "--phenotype", table, "--to", str(tmp_path / "mine"), "--controls"]
    assert main([*command, "sub-01"]) == 65
    assert "10 are needed" in capsys.readouterr().err
    assert main([*command, "sub-01", "77"]) == 65
    assert "no volumes of sub-77" in capsys.readouterr().err
    assert not (tmp_path / "mine").exists()


def test_only_models_of_volumes(outputs, tmp_path, capsys):
    out, table = outputs
    command = ["calibrate", "gpr36", out, "--phenotype", table, "--to", str(tmp_path / "mine"), "--controls", *map(str, range(10, 20))]
    assert main(command) == 78
    assert "only kind 'volumes' can be calibrated" in capsys.readouterr().err
