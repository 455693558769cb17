"""Runs that end before any participant is processed: exit codes and sentences."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest

from brainage_bids.cli.brainage import main
from brainage_bids.cli.children import Outcome
from brainage_bids.cli.failures import failure_path, forget_failures, write_failures
from brainage_bids.cli.options import check_folders, settings_of
from brainage_bids.cli.parser import build_parser
from brainage_bids.cli.run import summarise
from brainage_bids.models.card import Ages, Errors, ModelCard, Training
from brainage_bids.models.inputs import INPUTS
from brainage_bids.models.needs import ImageNeed
from brainage_bids.models.network import NetworkModel, make_network
from brainage_bids.records import Failure
from brainage_bids.settings import Settings
from brainage_bids.training.network_folder import write_network


@pytest.fixture
def bids(tmp_path):
    folder = tmp_path / "bids"
    for label in ("01", "02"):
        path = folder / f"sub-{label}" / "anat" / f"sub-{label}_T1w.nii.gz"
        path.parent.mkdir(parents=True)
        nib.save(nib.Nifti1Image(np.ones((4, 4, 4), np.float32), np.eye(4)), path)
    (folder / "sub-03").mkdir()
    (folder / "dataset_description.json").write_text(json.dumps({"Name": "x", "BIDSVersion": "1.8.0"}))
    (folder / "participants.tsv").write_text("participant_id\tage\nsub-01\t30\nsub-02\t31\nsub-03\t32\n")
    return folder


def run(*arguments):
    return main([str(argument) for argument in arguments])


def test_dry_run_prints_a_table_and_writes_nothing(bids, tmp_path, capsys):
    assert run(bids, tmp_path / "out", "participant", "--dry-run") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split("\t") == ["participant_id", "session_id", "modality", "file", "action", "reason"]
    assert [line.split("\t")[4] for line in lines[1:]] == ["process", "process", "skip"]
    assert not (tmp_path / "out").exists()


@pytest.fixture
def network(tmp_path):
    """A function from an input contract to the folder of a small network."""

    def make(contract):
        training = Training(("none",), 1, 1, Ages(20.0, 80.0), "none", (), "cpu", "x")
        about = ("toy", "resnet", "1", "2026-01-01", (ImageNeed(contract),), training, Errors("none", 0))
        net, architecture = make_network("resnet", [contract], (), {"widths": (2, 2, 2, 2, 2), "hidden": 3})
        model = NetworkModel("resnet", architecture, net.eval(), (contract,), (), 5.0)
        return write_network(tmp_path / "toy", model, lambda files: ModelCard(*about, dict(files), "CC0-1.0", "nobody", ()))

    return make


def test_what_a_model_lacks_is_said_before_anybody_is_processed(bids, tmp_path, network, capsys, monkeypatch):
    words = (bids, tmp_path / "out", "participant", "-w", tmp_path / "w", "--models", tmp_path / "toy")
    network(
        replace(INPUTS["packed2"].contract, derivative="other_mni", entities={"modality": "FLAIR"}, modality="FLAIR", intensity="preproc")
    )
    assert run(*words) == 78
    assert "The model toy needs other_mni_FLAIR, which this app does not make." in capsys.readouterr().err
    shutil.rmtree(tmp_path / "toy")
    network(INPUTS["packed2"].contract)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert run(*words, "--device", "cuda") == 78
    assert "The device 'cuda' is not there; give --device cpu." in capsys.readouterr().err
    assert not list((tmp_path / "out").glob("sub-*"))


def test_nothing_found_ends_with_66(bids, tmp_path):
    assert run(bids, tmp_path / "out", "participant", "--dry-run", "--participant-label", "03") == 66


def test_a_missing_dataset_ends_with_65(tmp_path, capsys):
    assert run(tmp_path / "nowhere", tmp_path / "out", "participant", "--dry-run") == 65
    assert str(tmp_path / "nowhere") in capsys.readouterr().err


def test_an_output_below_a_file_ends_with_78(bids, tmp_path, capsys):
    (tmp_path / "file").write_text("x")
    assert run(bids, tmp_path / "file" / "out", "participant", "-w", tmp_path / "w") == 78
    assert "Nothing can be written" in capsys.readouterr().err


def test_the_input_is_refused_as_output(bids, capsys):
    assert run(bids, bids, "participant") == 78
    assert "is the BIDS folder itself" in capsys.readouterr().err


def test_an_output_among_the_raw_data_is_refused_but_not_one_in_derivatives(bids, tmp_path, capsys):
    assert run(bids, bids / "sub-01" / "out", "participant", "-w", tmp_path / "w") == 78
    assert "among the raw data" in capsys.readouterr().err
    check_folders(Settings(str(bids), str(bids / "derivatives" / "brainage"), str(tmp_path / "w")))
    assert (bids / "derivatives" / "brainage").is_dir()


def test_who_is_left_out_is_said_without_asking(bids, tmp_path, capsys):
    assert run(bids, tmp_path / "out", "participant", "-w", tmp_path / "w", "--participant-label", "03") == 66
    assert "left out: sub-03 no T1w image" in capsys.readouterr().err


def test_a_closed_pipe_ends_a_dry_run_quietly(bids, tmp_path):
    words = [sys.executable, "-m", "brainage_bids.cli.brainage", str(bids), str(tmp_path / "out"), "participant", "--dry-run"]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    process.stdout.close()
    assert process.wait(timeout=60) == 0 and process.stderr.read() == ""


def test_a_path_that_is_not_utf8_is_refused_in_words(bids, tmp_path):
    root = os.fsencode(tmp_path) + b"/caf\xe9"
    os.rename(bids, root)
    words = [os.fsencode(sys.executable), b"-m", b"brainage_bids.cli.brainage", root, b"out", b"participant", b"--dry-run"]
    done = subprocess.run(words, capture_output=True, cwd=tmp_path)
    assert done.returncode == 78 and b"bids_dir" in done.stderr and b"UTF-8" in done.stderr


def test_scratch_inside_the_output_is_refused(bids, tmp_path):
    assert run(bids, tmp_path / "out", "participant", "-w", tmp_path / "out" / "work") == 78


def test_the_output_is_refused_as_derivatives(bids, tmp_path, capsys):
    (tmp_path / "out").mkdir()
    assert run(bids, tmp_path / "out", "participant", "-w", tmp_path / "w", "-d", f"own={tmp_path / 'out'}") == 78
    assert "the output folder itself" in capsys.readouterr().err


def test_derivatives_are_kept_by_name_and_absolute_path(bids, tmp_path, monkeypatch):
    (tmp_path / "prep").mkdir()
    monkeypatch.chdir(tmp_path)
    options = build_parser().parse_args([str(bids), "out", "participant", "-d", "prep"])
    assert settings_of(options).derivatives == (f"prep={tmp_path / 'prep'}",)


def test_an_unknown_model_ends_with_78_and_says_what_there_is(bids, tmp_path, capsys):
    assert run(bids, tmp_path / "out", "participant", "-w", tmp_path / "w", "--models", "nosuchmodel") == 78
    assert "nosuchmodel" in capsys.readouterr().err


def test_failures_are_written_and_forgotten(tmp_path):
    write_failures(tmp_path, [Failure("sub-1", "ses-a", "conform", "No."), Failure("sub-1", None, "process", "Dead.")])
    assert json.loads(failure_path(tmp_path, "sub-1", "ses-a").read_text())["message"] == "No."
    forget_failures(tmp_path, "sub-1", ["ses-a"])
    assert not list((tmp_path / "logs" / "failures").iterdir())


def test_scratch_inside_the_raw_data_is_refused(bids, tmp_path):
    assert run(bids, tmp_path / "out", "participant", "-w", bids / "work") == 78
    assert not (bids / "work").exists()


def test_a_file_name_that_is_not_utf8_ends_with_65(bids, tmp_path, capsys):
    import os

    folder = os.fsencode(bids / "sub-01" / "anat")
    os.rename(folder + b"/sub-01_T1w.nii.gz", folder + b"/sub-01_acq-\xff_T1w.nii.gz")
    assert run(bids, tmp_path / "out", "participant", "--dry-run") == 65
    assert "is not UTF-8" in capsys.readouterr().err


def test_the_exit_code_tells_whether_everybody_is_done():
    done, failed, busy = Outcome("sub-1", True, 1.0), Outcome("sub-2", False, 1.0), Outcome("sub-3", False, 0.0, busy=True)
    assert summarise([done, done], 0, 2) == 0
    assert [summarise([done, bad], 0, 2) for bad in (failed, busy)] == [1, 1]
    assert summarise([done], 1, 1) == 1 and summarise([done], 0, 2) == 1
