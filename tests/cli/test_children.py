"""One process a participant: how it ends is recorded and said. The pipeline and the page are stand-ins; the processes are real."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from brainage_bids.bids.inventory import Inventory
from brainage_bids.cli import children
from brainage_bids.cli.failures import failure_path, write_failures
from brainage_bids.cli.locks import lock_participant
from brainage_bids.records import Failure, Participant, Scan, Session
from brainage_bids.settings import Settings

STAND_INS = '''
"""Puts a pipeline and a page in the place of the real ones: what a participant does stands in the name after the dash."""
import sys, types

def process_participant(participant, plan):
    import ctypes, os, resource, signal, time
    from pathlib import Path
    from brainage_bids.records import BadConfiguration, Failure
    name, what = participant.participant_id, participant.participant_id.split("X")[1]
    scratch = plan.work_dir
    scratch.mkdir(parents=True, exist_ok=True)
    (plan.out_dir / f"{name}.pid").write_text(str(os.getpid()))
    if what == "fails":
        return [Failure(name, session.session_id, "conform", f"The scan of {session.stem} is odd.") for session in participant.sessions]
    if what == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "exits":
        os._exit(7)
    if what == "raises":
        raise RuntimeError("not foreseen")
    if what == "misconfigured":
        raise BadConfiguration("The model is wrong.")
    if what == "hungry":
        assert resource.getrlimit(resource.RLIMIT_AS)[0] == 700 * 2**20
        bytearray(10**9)
    if what == "sleeps":
        time.sleep(60)
    if what == "hogs":  # a library that never lets go of the interpreter
        ctypes.PyDLL(None).sleep(60)
    (plan.out_dir / f"{name}.txt").write_text(f"{plan.threads} {os.environ['ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS']}")
    return []

def write_participant_report(out_dir, participant_id, **_):
    if participant_id.endswith("noreport"):
        raise OSError(28, "No space left on device", str(out_dir / "page"))
    records = sorted((out_dir / "logs" / "failures").glob(participant_id + "*"))
    (out_dir / f"{participant_id}.html").write_text("".join(path.read_text() for path in records))

if "brainage_bids.cli.child" in sys.orig_argv:
    for module, function in (("workflows.participant", process_participant), ("reports.page", write_participant_report)):
        stand_in = types.ModuleType("brainage_bids." + module)
        setattr(stand_in, function.__name__, function)
        sys.modules["brainage_bids." + module] = stand_in
'''


@pytest.fixture(autouse=True)
def stand_ins(tmp_path, monkeypatch):
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(STAND_INS)
    monkeypatch.setenv("PYTHONPATH", str(site))


@pytest.fixture
def settings(tmp_path):
    for name in ("bids", "out ü", "work"):
        (tmp_path / name).mkdir()
    return Settings(str(tmp_path / "bids"), str(tmp_path / "out ü"), str(tmp_path / "work"), omp_nthreads=1)


def inventory(settings, *names):
    def participant(name):
        scan = Scan(Path(settings.bids_dir) / f"{name}_T1w.nii", "T1w", {"subject": name}, "only T1w", {"EchoTime": 0.003})
        sessions = tuple(Session(name, session, {"T1w": scan}, flags=("age_missing",)) for session in ("ses-a", "ses-b"))
        return Participant(name, sessions)

    return Inventory(Path(settings.bids_dir), tuple(map(participant, names)))


def run_all(settings, *names, **options):
    run_dir = Path(settings.out_dir) / "logs" / "run"
    run_dir.mkdir(parents=True, exist_ok=True)
    return children.run_all(inventory(settings, *names), settings, run_dir, **options)


def record(settings, name, session=None):
    return json.loads(failure_path(Path(settings.out_dir), name, session).read_text())


def test_a_participant_that_succeeds_leaves_no_failure_and_no_scratch(settings):
    out = Path(settings.out_dir)
    write_failures(out, [Failure("sub-1Xfine", None, "process", "Old."), Failure("sub-1Xfine", "ses-a", "conform", "Old.")])
    (outcome,) = run_all(replace(settings, omp_nthreads=3), "sub-1Xfine")
    assert outcome.done and (out / "sub-1Xfine.txt").read_text() == "3 3"
    assert not list((out / "logs" / "failures").iterdir()) and not list(Path(settings.work_dir).iterdir())
    assert (out / "sub-1Xfine.html").read_text() == ""


@pytest.mark.parametrize(
    ("what", "stage", "words"),
    [
        ("killed", "process", "signal SIGKILL (most often because memory ran out)"),
        ("exits", "process", "ended with the status 7"),
        ("raises", "processing", "RuntimeError: not foreseen"),
        ("misconfigured", "configuration", "The model is wrong."),
        ("noreport", "report", "No space left on device"),
    ],
)
def test_however_a_participant_ends_it_is_recorded_and_said_and_the_next_one_is_done(settings, what, stage, words, caplog, monkeypatch):
    monkeypatch.setattr(children.LOGGER, "propagate", True)
    name = f"sub-1X{what}"
    bad, good = run_all(settings, name, "sub-2Xfine")
    assert not bad.done and good.done
    written = record(settings, name)
    assert written["stage"] == stage and words in written["message"]
    assert any(words in entry.getMessage() and name in entry.getMessage() for entry in caplog.records)
    page = Path(settings.out_dir) / f"{name}.html"
    assert what == "noreport" or words in page.read_text()
    assert not list(Path(settings.work_dir).glob("*.json"))


def test_what_failed_in_each_session_is_said_on_the_terminal(settings, caplog, monkeypatch):
    monkeypatch.setattr(children.LOGGER, "propagate", True)
    (outcome,) = run_all(settings, "sub-1Xfails")
    assert not outcome.done
    said = [entry.getMessage() for entry in caplog.records]
    for session in ("ses-a", "ses-b"):
        assert f"sub-1Xfails: The scan of sub-1Xfails_{session} is odd." in said
        assert record(settings, "sub-1Xfails", session)["stage"] == "conform"


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not hold a process to a limit of its address space")
def test_memory_beyond_the_limit_is_refused_and_said(settings):
    (outcome,) = run_all(replace(settings, mem_mb=700), "sub-1Xhungry")
    assert not outcome.done and "700 MB of --mem-mb" in record(settings, "sub-1Xhungry")["message"]


def test_no_further_participant_starts_after_the_first_failure(settings):
    outcomes = run_all(replace(settings, stop_on_first_crash=True), "sub-1Xexits", "sub-2Xfine")
    assert [outcome.participant_id for outcome in outcomes] == ["sub-1Xexits"]
    assert not (Path(settings.out_dir) / "sub-2Xfine.txt").exists()


def test_as_many_run_at_once_as_asked_for_and_sigterm_ends_them(settings):
    names = [f"sub-{number}Xsleeps" for number in range(3)]
    signs = [Path(settings.out_dir) / f"{name}.pid" for name in names]

    def terminate_us():
        until = time.monotonic() + 60
        while time.monotonic() < until and not all(written(sign) for sign in signs[:2]):
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=terminate_us, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        run_all(replace(settings, nprocs=2), *names)
    assert [sign.exists() for sign in signs] == [True, True, False]
    assert not any(alive(int(sign.read_text())) for sign in signs[:2])


def written(sign):
    return sign.exists() and sign.read_text() != ""


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def another_app(settings, name):
    """Another process that runs one participant, once that participant is at work."""
    run = (
        "import sys, runpy; from pathlib import Path; from brainage_bids.cli import children; from brainage_bids.settings import Settings\n"
        "tests = runpy.run_path(sys.argv[1]); tests['run_all'](Settings(*sys.argv[2:5], omp_nthreads=1), sys.argv[5])"
    )
    app = subprocess.Popen([sys.executable, "-c", run, __file__, settings.bids_dir, settings.out_dir, settings.work_dir, name])
    sign, until = Path(settings.out_dir) / f"{name}.pid", time.monotonic() + 60
    while not written(sign):
        assert time.monotonic() < until and app.poll() is None
        time.sleep(0.05)
    return app, int(sign.read_text())


def kill(app, pid):
    """Kill an app; its participant has to follow."""
    app.kill()
    app.wait()
    until = time.monotonic() + 5
    while alive(pid):
        assert time.monotonic() < until, "the participant outlived the app"
        time.sleep(0.05)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux' kernel ends a child with its parent")
def test_a_participant_inside_a_library_ends_with_the_killed_app(settings):
    app, pid = another_app(settings, "sub-1Xhogs")
    time.sleep(0.5)
    assert alive(pid)
    kill(app, pid)
    assert not alive(pid)


def test_two_runs_on_one_participant_do_not_meet(settings, tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(children.LOGGER, "propagate", True)
    out, name = Path(settings.out_dir), "sub-1Xsleeps"
    app, pid = another_app(settings, name)
    busy, good = run_all(replace(settings, work_dir=str(tmp_path), stop_on_first_crash=True), name, "sub-2Xfine")
    assert busy.busy and not busy.done and good.done
    assert int((out / f"{name}.pid").read_text()) == pid and alive(pid)
    assert not (out / f"{name}.html").exists() and not (out / "logs" / "failures").exists()
    assert any(f"process {app.pid}" in entry.getMessage() and name in entry.getMessage() for entry in caplog.records)
    kill(app, pid)
    lock_participant(out, name).release()
    assert not list((out / "logs" / "locks").iterdir())


def test_what_is_not_ours_in_the_scratch_folder_stays(settings):
    other = Path(settings.work_dir) / "sub-1Xfine" / "anat" / "precious.nii"
    other.parent.mkdir(parents=True)
    other.write_text("x")
    assert run_all(settings, "sub-1Xfine", clean=True)[0].done
    assert [path for path in Path(settings.work_dir).rglob("*") if path.is_file()] == [other]


def test_a_file_in_the_current_folder_stands_in_for_no_module(settings, tmp_path, monkeypatch):
    (tmp_path / "json.py").write_text("raise SystemExit(9)")
    monkeypatch.chdir(tmp_path)
    (outcome,) = run_all(settings, "sub-1Xfine")
    assert outcome.done
