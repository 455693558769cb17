"""Files that nobody can read to the end (pipes, devices, sockets, terabytes) or that overwhelm a reader, wherever a user may give one."""

import json
import os
import shutil
import signal
import socket
import tempfile
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from brainage_bids.cli.brainage import main as brainage
from brainage_bids.cli.models import main as models
from brainage_bids.cli.phantom import main as phantom
from brainage_bids.cli.train import main as train
from brainage_bids.models.registry import DEFAULT_MODEL, embedded_dir

IMAGE = nib.Nifti1Image(np.zeros((2, 2, 2), np.uint8), np.eye(4)).to_bytes()
T1W = "sub-01/anat/sub-01_T1w.nii"
PIPE, DEVICE, SOCKET, LARGE, FOLDER = "named pipe", "device", "socket", "MiB", "folder"


def put(path, kind):
    """Make a file of a kind that is none to be read."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    if kind == PIPE:
        os.mkfifo(path)
    elif kind == DEVICE:
        path.symlink_to("/dev/zero")
    elif kind == SOCKET:
        with tempfile.TemporaryDirectory() as short, socket.socket(socket.AF_UNIX) as bound:  # names of sockets are short
            bound.bind(f"{short}/s")
            os.rename(f"{short}/s", path)
    elif kind == LARGE:
        path.touch()
        os.truncate(path, 2**40)
    elif kind == FOLDER:
        path.mkdir()
    else:
        path.write_bytes(kind)


@pytest.fixture(autouse=True)
def no_waiting():
    """Whoever waits for a pipe is woken by an error."""

    def wake(*_):
        raise AssertionError("waits for ever")

    previous = signal.signal(signal.SIGALRM, wake)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, previous)


@pytest.fixture
def dataset(tmp_path):
    for name, content in {
        "dataset_description.json": b'{"Name": "x", "BIDSVersion": "1.8.0"}', T1W: IMAGE, T1W.replace("01", "02"): IMAGE,
        "sub-03/ses-a/anat/sub-03_ses-a_T1w.nii": IMAGE, "participants.tsv": b"participant_id\tage\nsub-01\t30\n",
    }.items():  # fmt: skip
        put(tmp_path / "bids" / name, content)
    return tmp_path / "bids"


@pytest.mark.parametrize("kind", [PIPE, DEVICE, SOCKET, LARGE, FOLDER])
@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("dataset_description.json", 65),
        ("participants.tsv", 0),
        ("participants.json", 0),
        ("phenotype/blood.tsv", 0),
        ("sessions.json", 0),
        ("sub-03/sub-03_sessions.tsv", 0),
        ("T1w.json", 0),
        (T1W.replace("nii", "json"), 0),
    ],
)
def test_files_of_a_dataset(dataset, capsys, name, code, kind):
    if name == "sessions.json":
        put(dataset / "sub-03/sub-03_sessions.tsv", b"session_id\tage\nses-a\t30\n")
    put(dataset / name, kind)
    assert brainage([str(dataset), str(dataset.parent / "out"), "participant", "--dry-run"]) == code
    said = capsys.readouterr()
    assert kind in said.err and Path(name).name in said.err
    assert "Traceback" not in said.err
    assert said.out.count("process") == (3 if code == 0 else 0)


@pytest.mark.parametrize("kind", [PIPE, DEVICE, FOLDER, b"[1]", b"{", b"[" * 100_000])
def test_the_settings_of_pybids(dataset, tmp_path, capsys, monkeypatch, kind):
    put(tmp_path / "here" / "pybids_config.json", kind)
    monkeypatch.chdir(tmp_path / "here")
    assert brainage([str(dataset), str(tmp_path / "out"), "participant", "--dry-run"]) == 78
    said = capsys.readouterr().err
    assert "settings of pybids" in said and said.count("\n") == 1


@pytest.mark.parametrize("option", ("--work-dir", "--derivatives", "--model-dir", "--models", "--phenotype", "--config-file"))
def test_a_link_that_leads_to_itself(dataset, tmp_path, capsys, option):
    (tmp_path / "loop").symlink_to("loop")
    assert brainage([str(dataset), str(tmp_path / "out"), "participant", option, str(tmp_path / "loop")]) == 78
    said = capsys.readouterr().err
    assert "loop" in said and "Traceback" not in said


def test_a_setting_with_a_nul(dataset, tmp_path, capsys):
    (tmp_path / "given").write_text('work_dir = "a\\u0000b"')
    assert brainage([str(dataset), str(tmp_path / "out"), "participant", "--config-file", str(tmp_path / "given")]) == 78
    assert "work_dir" in capsys.readouterr().err


def test_label_maps_and_splits_that_are_none(tmp_path, capsys):
    for number in (1, 2):
        put(tmp_path / "maps" / f"{number}.nii.gz", PIPE)
    words = ["--task", "segment", "--model", "slices", "--paintings", "3", "--batch", "2", "--epochs", "1", "--widths", "2", "2", "2"]
    assert train([str(tmp_path / "maps"), *words, "--out", str(tmp_path / "model")]) in (65, 78)
    said = capsys.readouterr().err
    assert "1.nii.gz" in said and PIPE in said
    assert phantom([str(tmp_path / "cohort"), "--participants", "1", "--anatomies", str(tmp_path / "maps")]) in (65, 78)
    said = capsys.readouterr().err
    assert "1.nii.gz" in said and PIPE in said and "Traceback" not in said


def test_an_image_that_is_a_pipe_ranks_last(dataset, capsys):
    put(dataset / T1W.replace("_T1w", "_run-2_T1w"), PIPE)
    assert brainage([str(dataset), str(dataset.parent / "out"), "participant", "--dry-run"]) == 0
    assert f"{T1W}\tprocess" in capsys.readouterr().out


def test_an_index_that_is_a_pipe(dataset, capsys, tmp_path):
    put(tmp_path / "index" / "layout_index.sqlite", PIPE)
    words = [str(dataset), str(tmp_path / "out"), "participant", "--dry-run", "--bids-database-dir", str(tmp_path / "index")]
    assert brainage(words) == 78
    assert "it is a named pipe" in capsys.readouterr().err


@pytest.mark.parametrize("kind", [PIPE, DEVICE, SOCKET, LARGE, FOLDER])
@pytest.mark.parametrize(
    ("option", "level"),
    [*((option, level) for option in ("--config-file", "--phenotype") for level in ("participant", "group")),
     ("--bids-filter-file", "participant")],
)  # fmt: skip
def test_files_of_an_option(dataset, capsys, tmp_path, option, level, kind):
    put(tmp_path / "given", kind)
    put(tmp_path / "out" / "sub-01" / "sub-01_desc-x_brainage.tsv", b"participant_id\n")
    words = [str(dataset), str(tmp_path / "out"), level, option, str(tmp_path / "given")]
    assert brainage([*words, "--dry-run"] if level == "participant" else words) == 78
    said = capsys.readouterr().err
    assert kind in said and str(tmp_path / "given") in said and "Traceback" not in said


BAD_TEXT = {
    "deep": b"[" * 100_000, "objects": b'{"a":' * 100_000, "digits": b"9" * 5000, "list": b"[1]",
    "half a letter": b'{"EchoTime": "\\ud800"}', "just too deep": b'{"a": ' + b"[" * 70 + b"]" * 70 + b"}", "latin": b"\xff\xfe\xff",
}  # fmt: skip


@pytest.mark.parametrize("content", BAD_TEXT.values(), ids=BAD_TEXT)
@pytest.mark.parametrize("option", ["--bids-filter-file", "--config-file"])
def test_text_that_overwhelms_a_reader_of_options(dataset, tmp_path, capsys, option, content):
    (tmp_path / "given").write_bytes(b"a = " + content if option == "--config-file" and content != b"[1]" else content)
    assert brainage([str(dataset), str(tmp_path / "out"), "participant", "--dry-run", option, str(tmp_path / "given")]) == 78
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "given" in said


@pytest.mark.parametrize("content", BAD_TEXT.values(), ids=BAD_TEXT)
@pytest.mark.parametrize("name", ["dataset_description.json", "participants.json", T1W.replace("nii", "json")])
def test_text_that_overwhelms_a_reader_of_a_dataset(dataset, tmp_path, capsys, name, content):
    (dataset / name).write_bytes(content)
    code = brainage([str(dataset), str(tmp_path / "out"), "participant", "--dry-run"])
    said = capsys.readouterr().err
    assert code == 0 or (code, name) == (65, "dataset_description.json")
    assert Path(name).name in said and "Traceback" not in said


def test_a_number_beyond_all_others_spoils_no_sidecar(dataset, tmp_path, capsys):
    (dataset / T1W.replace("nii", "json")).write_bytes(b'{"EchoTime": ' + b"9" * 5000 + b', "Manufacturer": "x"}')
    assert brainage([str(dataset), str(tmp_path / "out"), "participant", "--dry-run"]) == 0
    assert "T1w.json" not in capsys.readouterr().err


def test_no_model_hides_the_others(tmp_path, capsys):
    kinds = {
        "pipe": PIPE, "device": DEVICE, "socket": SOCKET, "large": LARGE, "folder": FOLDER, "deep": b"a = " + b"[" * 100_000,
        "parts": b"a." * 200_000 + b"a = 1", "digits": b"a = " + b"9" * 5000, "hex": b"a = 0x" + b"f" * 5000, "twice": b"a = 1\na = 2",
        "date": b"licence = 2020-01-01", "latin": b'a = "\xff"', "nan": b"model = nan", "table": b"[model.a]\n[model.a]\n",
    }  # fmt: skip
    for name, kind in kinds.items():
        put(tmp_path / "models" / name / "model.toml", kind)
    shutil.copytree(embedded_dir() / DEFAULT_MODEL, tmp_path / "models" / "sound")
    assert models(["list", "--model-dir", str(tmp_path / "models")]) == 1
    said = capsys.readouterr()
    assert str(tmp_path / "models" / "sound") in said.out
    sentences = said.err.splitlines()
    assert len(sentences) == len(kinds)
    assert all(any(f"{os.sep}{name}{os.sep}model.toml" in line for line in sentences) for name in kinds)


@pytest.mark.parametrize("kind", [PIPE, DEVICE, SOCKET, LARGE, FOLDER])
@pytest.mark.parametrize("file", ["heads.json", "weights.safetensors", "norms.json", "example.json"])
def test_files_of_a_model(tmp_path, capsys, file, kind):
    shutil.copytree(embedded_dir() / DEFAULT_MODEL, tmp_path / "sound")
    put(tmp_path / "sound" / file, kind)
    assert models(["verify", str(tmp_path / "sound")]) == 78
    said = capsys.readouterr().err
    assert kind in said and file in said and said.count("\n") == 1


@pytest.mark.parametrize("kind", [PIPE, DEVICE, SOCKET, LARGE, FOLDER])
@pytest.mark.parametrize("network", ["sfcn", "mrinet"])
def test_weights_that_are_imported(tmp_path, capsys, network, kind):
    put(tmp_path / "given.h5", kind)
    words = ["--kind", network, "--train-ages", "20", "80", "--train-n", "9", "--to", str(tmp_path / "model")]
    assert models(["import", str(tmp_path / "given.h5"), *words]) == 78
    said = capsys.readouterr().err
    assert kind in said and "given.h5" in said and "Traceback" not in said


@pytest.mark.parametrize("kind", [PIPE, DEVICE, SOCKET, LARGE, FOLDER])
def test_tables_that_are_trained_on(tmp_path, capsys, kind):
    put(tmp_path / "given.tsv", kind)
    put(tmp_path / "out" / "dataset_description.json", json.dumps({"Name": "x"}).encode())
    words = ["--model", "gpr", "--phenotype", str(tmp_path / "given.tsv"), "--out", str(tmp_path / "model")]
    assert train([str(tmp_path / "out"), *words]) in (65, 66, 78)
    assert "Traceback" not in capsys.readouterr().err
    table = ["--model", "volumes", "--mapping", str(tmp_path / "given.tsv"), "--out", str(tmp_path / "model")]
    assert train([str(tmp_path / "given.tsv"), *table]) in (65, 78)
    said = capsys.readouterr().err
    assert kind in said and "given.tsv" in said and "Traceback" not in said
