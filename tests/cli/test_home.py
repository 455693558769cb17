"""A user whom the system does not know: no HOME, no line in the table of users."""

import getpass
import os
import pwd
import subprocess
import sys
from pathlib import Path

import pytest

from brainage_bids.cli import home

NOBODY = """
import pwd
def getpwuid(uid):
    raise KeyError(f"getpwuid(): uid not found: {uid}")
pwd.getpwuid = getpwuid
"""


@pytest.fixture
def unknown(monkeypatch):
    def getpwuid(uid):
        raise KeyError(uid)

    monkeypatch.setattr(pwd, "getpwuid", getpwuid)
    for name in ("HOME", "USER", "LOGNAME", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)


def test_what_is_known_stays(monkeypatch):
    monkeypatch.setenv("HOME", "/nonexistent")
    monkeypatch.setenv("LOGNAME", "somebody")
    before = dict(os.environ)
    home.settle()
    assert dict(os.environ) == before


def test_an_unknown_user_gets_a_home_that_nobody_can_write_in(unknown):
    home.settle()
    assert str(Path.home()) == home.NOWHERE and getpass.getuser() == str(os.getuid())
    with pytest.raises(OSError, match="Not a directory"):
        os.makedirs(home.NOWHERE)


def test_the_home_of_somebody_else_is_left_alone(unknown, monkeypatch, tmp_path):
    def stat(path, *_, **__):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setenv("HOME", str(tmp_path))
    with monkeypatch.context() as patch:
        patch.setattr(os, "stat", stat)
        home.settle()
    assert os.environ["HOME"] == home.NOWHERE


@pytest.mark.parametrize("environment", [{}, {"HOME": ""}, {"HOME": "/nonexistent"}, {"HOME": "/proc"}, {"HOME": "relative"}])
def test_the_participant_level_needs_no_home(tmp_path, environment):
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(NOBODY)
    (tmp_path / "bids" / "sub-01" / "anat").mkdir(parents=True)
    (tmp_path / "bids" / "sub-01" / "anat" / "sub-01_T1w.nii.gz").write_bytes(b"x")
    paths = os.pathsep.join([str(tmp_path / "site"), str(Path(home.__file__).parents[2])])
    found = subprocess.run(
        [sys.executable, "-m", "brainage_bids.cli.brainage", str(tmp_path / "bids"), str(tmp_path / "out"), "participant", "--dry-run"],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": paths, **environment}, capture_output=True, text=True, cwd=tmp_path, check=False,
    )  # fmt: skip
    assert found.returncode == 0, found.stderr
    assert "sub-01_T1w.nii.gz\tprocess" in found.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bids", "site"]


@pytest.mark.parametrize("library", ["matplotlib.pyplot", "nipype.interfaces.base", "bids", "nilearn", "torch", "nireports"])
def test_libraries_that_look_for_a_home_are_content(tmp_path, library):
    (tmp_path / "sitecustomize.py").write_text(NOBODY)
    paths = os.pathsep.join([str(tmp_path), str(Path(home.__file__).parents[2])])
    code = f"import brainage_bids.cli, getpass; getpass.getuser(); import {library}"
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": paths, "TMPDIR": str(tmp_path)}
    found = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
