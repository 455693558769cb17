"""``brainage-phantom``: fast help, both spellings, exit codes, progress."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from brainage_bids.bids.tables import read_tsv
from brainage_bids.cli.console import Progress
from brainage_bids.cli.phantom import build_parser, design_of, main
from brainage_bids.phantoms.design import Design

TABLES = ("--tables-only", "--jobs", "1")


def test_help_imports_nothing_heavy():
    code = (
        "import sys, atexit\n"
        "heavy = ('torch', 'nipype', 'SimpleITK', 'matplotlib', 'pandas', 'numpy', 'scipy', 'nibabel', 'bids')\n"
        "atexit.register(lambda: print('LOADED', [name for name in heavy if name in sys.modules]))\n"
        "from brainage_bids.cli.phantom import main; main(['--help'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0 and "LOADED []" in done.stdout and "--tables-only" in done.stdout


def test_defaults_are_those_of_the_design():
    assert design_of(build_parser().parse_args(["out"])) == Design()
    rings = design_of(build_parser().parse_args(["out", "--kind", "torus"]))
    assert (rings.participants, rings.ages) == (2000, (20.0, 80.0))


def test_both_spellings_are_the_same():
    dashes = ["out", "--scanners-per-site=2", "--years-between", "0", "2", "--sessions", "3", "--tables-only", "--no-blood"]
    underscores = ["out", "--scanners_per_site=2", "--years_between", "0", "2", "--sessions", "3", "--tables_only", "--no_blood"]
    one, other = (design_of(build_parser().parse_args(words)) for words in (dashes, underscores))
    assert one == other and one.scanners_per_site == 2 and one.since_first == (0.0, 0.0, 2.0) and not one.blood


@pytest.mark.parametrize(
    "arguments",
    ([], ["out", "--odd"], ["out", "--participants", "x"], ["out", "--kind", "cube"], ["out", "--kind", "torus", "--sites", "2"]),
)
def test_wrong_usage_ends_with_64(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 64 and "brainage-phantom: error:" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", (["--ages", "50", "20"], ["--jobs", "0"], ["--patients", "99"], ["--anatomies", "/nowhere"]))
def test_a_wrong_value_ends_with_78(arguments, tmp_path, capsys):
    assert main([str(tmp_path / "out"), *arguments]) == 78
    said = capsys.readouterr().err
    assert said.startswith("brainage-phantom: ") and "Traceback" not in said and arguments[0] in said
    assert not (tmp_path / "out").exists()


def test_a_cohort_and_its_rerun(tmp_path, capsys):
    out = tmp_path / "ü cohort"
    assert main([str(out), *TABLES, "--participants", "12", "--patients", "3"]) == 0
    said = capsys.readouterr()
    assert "12 made" in said.out and "12 of 12" in said.err
    assert len(read_tsv(out / "participants.tsv").rows) == 12
    assert sum(row["group"] == "patient" for row in read_tsv(out / "participants.tsv").rows) == 3
    assert json.loads((out / "derivatives" / "truth" / "effects.json").read_text())["gap"]["sd"] == 4
    assert main([str(out), *TABLES, "--participants", "12", "--patients", "3"]) == 0 and "0 made" in capsys.readouterr().out
    assert main([str(out), *TABLES, "--participants", "12"]) == 78
    assert "patients: 3 there, 0 here" in capsys.readouterr().err


def test_killed_at_any_moment_the_same_command_ends_with_the_same_bytes(tmp_path):
    options = [*TABLES[:1], "--jobs", "2", "--participants", "600", "--sessions", "2"]
    command = [sys.executable, "-m", "brainage_bids.cli.phantom"]
    assert subprocess.run([*command, str(tmp_path / "whole"), *options], capture_output=True).returncode == 0
    out = tmp_path / "killed"
    for sign in ("derivatives/truth/effects.json", "sub-260"):
        process = subprocess.Popen([*command, str(out), *options], stderr=subprocess.DEVNULL, start_new_session=True)
        until = time.monotonic() + 60
        while process.poll() is None and not (out / sign).exists():
            assert time.monotonic() < until
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        assert not (out / "dataset_description.json").exists()
    assert subprocess.run([*command, str(out), *options], capture_output=True).returncode == 0
    contents = [
        {path.relative_to(root): path.read_bytes() for path in root.rglob("*") if path.is_file()} for root in (out, tmp_path / "whole")
    ]
    assert contents[0] == contents[1]


def test_rings(tmp_path, capsys):
    assert main([str(tmp_path / "rings"), "--kind", "torus", "--participants", "20"]) == 0
    assert (tmp_path / "rings" / "tori.npz").exists() and "20 made" in capsys.readouterr().out


def test_a_bar_moves_on_a_terminal(monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    told = Progress("visits")
    told(1, 2)
    told(2, 2)
    said = capsys.readouterr().err
    assert said.count("\r") == 2 and "1 of 2" in said and said.endswith("\n") and "#" * Progress.WIDTH in said


def test_without_a_terminal_there_are_ten_lines(capsys):
    told = Progress("visits")
    for done in range(1, 201):
        told(done, 200)
    assert len(capsys.readouterr().err.splitlines()) == 10
