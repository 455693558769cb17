"""What can go wrong around a run: no room, no memory, killed children, two runs at once. Works for root too."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from brainage_bids.cli.phantom import main as make_people

OPTIONS = ("participant", "--sloppy", "--omp-nthreads", "1")


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bids") / "people"
    make_people([str(folder), "--participants", "2", "--resolution", "2", "--modalities", "T1w", "--seed", "1100", "--jobs", "1"])
    return folder


@pytest.fixture
def start(people, tmp_path):
    """Start the app on one output folder; every run has its own scratch folder."""
    numbers = iter(range(100))

    def run(*more, limit=None):
        words = [sys.executable, "-m", "brainage_bids.cli.brainage", str(people), str(tmp_path / "out"), *OPTIONS]
        words += ["-w", str(tmp_path / f"work{next(numbers)}"), *more]
        return subprocess.Popen(words, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, preexec_fn=limit)

    return run


def labels(people):
    return sorted(path.name for path in people.glob("sub-*"))


def partial(out: Path) -> list[Path]:
    return [path for path in out.rglob(".*") if path.is_file() and path.name != ".bidsignore"]


def failure(out: Path, label: str) -> str:
    return json.loads((out / "logs" / "failures" / f"{label}.json").read_text())["message"]


def test_no_room_for_files_is_said_and_leaves_nothing_partial(people, tmp_path, start):
    process = start("--participant-label", labels(people)[0], limit=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (200_000,) * 2))
    assert process.wait(timeout=300) == 1, process.stderr.read()
    message = failure(tmp_path / "out", labels(people)[0])
    assert "File too large" in message or "could not be written" in message
    assert not partial(tmp_path / "out") and not list((tmp_path / "out").rglob("*_probseg.nii.gz"))


def test_too_little_memory_is_a_failed_participant(people, tmp_path, start):
    label = labels(people)[0]
    process = start("--participant-label", label, "--mem-mb", "900")
    assert process.wait(timeout=300) == 1, process.stderr.read()
    assert failure(tmp_path / "out", label) and not partial(tmp_path / "out")
    assert (tmp_path / "out" / f"{label}.html").is_file()


def children_of(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(word) for word in text.split()]


def test_a_killed_participant_fails_alone(people, tmp_path, start):
    first, second = labels(people)
    process = start("--nprocs", "1")
    out, until = tmp_path / "out", time.monotonic() + 120
    while not any((out / "logs").rglob(f"{first}.log")) or not (found := children_of(process.pid)):
        assert time.monotonic() < until and process.poll() is None
        time.sleep(0.05)
    time.sleep(3)
    os.kill(found[0], signal.SIGKILL)
    assert process.wait(timeout=600) == 1, process.stderr.read()
    assert "signal SIGKILL" in failure(out, first)
    assert "signal SIGKILL" in (out / f"{first}.html").read_text(encoding="utf-8")
    assert (out / second / "anat" / f"{second}_brainage.tsv").is_file() and not partial(out)


def test_children_end_with_a_killed_app(people, tmp_path, start):
    process = start("--nprocs", "2")
    until = time.monotonic() + 60
    while len(found := children_of(process.pid)) < 2:
        assert time.monotonic() < until
        time.sleep(0.05)
    time.sleep(2)
    process.kill()
    process.wait()
    until = time.monotonic() + 20
    while any(Path(f"/proc/{pid}").exists() and "Z" not in Path(f"/proc/{pid}/stat").read_text().split()[2] for pid in found):
        assert time.monotonic() < until, "a participant outlived the app"
        time.sleep(0.2)


def test_two_runs_on_different_people_share_an_output(people, tmp_path, start):
    runs = [start("--participant-label", label) for label in labels(people)]
    assert [run.wait(timeout=600) for run in runs] == [0, 0]
    for label in labels(people):
        assert (tmp_path / "out" / label / "anat" / f"{label}_brainage.tsv").is_file()
        assert (tmp_path / "out" / f"{label}.html").is_file()
    assert not partial(tmp_path / "out")
