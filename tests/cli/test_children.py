"""One process a participant: how it ends is recorded and said. The pipeline and the page are stand-ins; the processes are real."""

import json
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from brainage_bids.bids.inventory import Inventory
from brainage_bids.cli import children
from brainage_bids.cli.failures import failure_path, write_failures
from brainage_bids.cli.locks import lock_participant
from brainage_bids.cli.nursery import can_share
from brainage_bids.models import kinds
from brainage_bids.records import Failure, Participant, Scan, Session
from brainage_bids.settings import Settings
from brainage_bids.workflows.predict import TABLE
from brainage_bids.workflows.stage import write_entries

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
    if what == "estimates":
        from brainage_bids.models.predict import load_model
        from brainage_bids.models.registry import open_model
        (plan.out_dir / f"{name}.loaded").write_text(str(os.getpid()))
        load_model(open_model(plan.settings.models[0]))
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
    import os
    from brainage_bids.models.kinds import Kind

    def counted(self, folder, load=Kind.load):
        with open(os.environ["LOADS"], "a") as file:
            file.write(f"{os.getpid()} ")
        return load(self, folder)

    Kind.load = counted
'''


@pytest.fixture(autouse=True)
def stand_ins(tmp_path, monkeypatch):
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.setenv("LOADS", str(tmp_path / "loads"))
    (site / "sitecustomize.py").write_text(STAND_INS)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(site), str(Path(children.__file__).parents[2])]))  # the code under test


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


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere each participant loads the models itself")
def test_participants_of_a_run_share_models_that_are_loaded_once(settings, volume_model, tmp_path, monkeypatch):
    monkeypatch.setattr(children, "can_share", lambda settings, participants: participants > 1)
    names = ["sub-1Xestimates", "sub-2Xkilled", "sub-3Xexits", "sub-4Xnoreport", "sub-5Xestimates"]
    with_model = replace(settings, models=(str(volume_model.path),), nprocs=2)
    outcomes = {outcome.participant_id: outcome.done for outcome in run_all(with_model, *names)}
    assert outcomes == {name: name.endswith("estimates") for name in names}
    loads = (tmp_path / "loads").read_text().split()
    processes = {(Path(settings.out_dir) / f"{name}.loaded").read_text() for name in (names[0], names[4])}
    assert len(loads) == 1
    assert len(processes | set(loads)) == 3  # each in a process of its own
    assert "loaded in" in (Path(settings.out_dir) / "logs" / "run" / "models.log").read_text()
    assert "signal SIGKILL" in record(settings, names[1])["message"]
    assert "ended with the status 7" in record(settings, names[2])["message"]
    assert "No space left on device" in record(settings, names[3])["message"]
    (tmp_path / "loads").unlink()
    assert run_all(with_model, names[0])[0].done
    assert len((tmp_path / "loads").read_text().split()) == 1


def test_models_are_not_loaded_for_people_who_are_predicted(settings, volume_model, tmp_path, monkeypatch):
    monkeypatch.setattr(children, "can_share", lambda settings, participants: participants > 1)
    names = ["sub-1Xfine", "sub-2Xfine"]
    with_model = replace(settings, models=(str(volume_model.path),))
    for number, session in enumerate(("ses-a", "ses-b")):
        assert run_all(with_model, *names)[0].done and (tmp_path / "loads").exists()
        (tmp_path / "loads").unlink()
        for name in names[number:]:  # in the end one of them lacks one
            write_entries(TABLE, Path(settings.out_dir), Session(name, session, {}), {"toyvolumes": {"brain_age": 40.0}})
    write_entries(TABLE, Path(settings.out_dir), Session(names[0], "ses-b", {}), {"another": {"brain_age": 40.0}})
    assert run_all(with_model, *names)[0].done and not (tmp_path / "loads").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="there is no nursery elsewhere")
def test_only_networks_are_shared(settings, volume_model, tmp_path, monkeypatch):
    several = replace(settings, models=(str(volume_model.path),))
    assert not can_share(several, 5)
    monkeypatch.setitem(kinds._OURS, "volumes", replace(kinds.KINDS["volumes"], shareable=True))
    assert can_share(several, 5) and not can_share(several, 1)
    assert not can_share(replace(settings, models=(str(tmp_path),)), 5)


@pytest.mark.skipif(sys.platform != "linux", reason="there is no nursery elsewhere")
def test_a_killed_nursery_is_the_end_of_those_in_it_and_not_of_the_run(settings, volume_model, monkeypatch):
    monkeypatch.setattr(children, "can_share", lambda settings, participants: participants > 1)
    names = ["sub-1Xsleeps", "sub-2Xfine"]
    sign = Path(settings.out_dir) / f"{names[0]}.pid"

    def kill_the_parent():
        until = time.monotonic() + 60
        while time.monotonic() < until and not written(sign):
            time.sleep(0.05)
        os.kill(int(Path(f"/proc/{sign.read_text()}/stat").read_text().rsplit(")", 1)[1].split()[1]), signal.SIGKILL)

    threading.Thread(target=kill_the_parent, daemon=True).start()
    slept, fine = run_all(replace(settings, models=(str(volume_model.path),)), *names)
    assert (slept.done, fine.done) == (False, True)
    assert "signal SIGKILL" in record(settings, names[0])["message"]
    assert not alive(int(sign.read_text()))


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


RUN = """
import json, signal, sys
from pathlib import Path
from brainage_bids.bids.inventory import Inventory
from brainage_bids.cli import children
from brainage_bids.records import Participant, Session
from brainage_bids.settings import Settings
settings, name = Settings.from_mapping(json.loads(sys.argv[1]), "the test"), sys.argv[2]
run_dir = Path(settings.out_dir) / "logs" / "run"
run_dir.mkdir(parents=True, exist_ok=True)
signal.signal(signal.SIGINT, signal.default_int_handler)  # what runs in the background is born without
inventory = Inventory(Path(settings.bids_dir), (Participant(name, (Session(name, None, {}, age=41.25, sex="F"),)),))
children.run_all(inventory, settings, run_dir)
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_no_end_of_a_run_leaves_ages_in_the_scratch_folder(settings, how, tmp_path):
    name, scratch = "sub-1Xsleeps", Path(settings.work_dir)
    sign = Path(settings.out_dir) / f"{name}.pid"
    with open(tmp_path / "said", "wb") as output:
        run = subprocess.Popen([sys.executable, "-c", RUN, json.dumps(asdict(settings)), name], stdout=output, stderr=output)
    until = time.monotonic() + 60
    while time.monotonic() < until and not written(sign):
        time.sleep(0.05)
    during = [path for path in scratch.rglob("*") if path.is_file()]
    run.send_signal(how)
    assert run.wait(60) != 0
    assert sign.exists() and during == [] and not [path for path in scratch.rglob("*") if path.is_file()]
    assert [outcome.done for outcome in run_all(settings, "sub-1Xfine")] == [True]
    assert not [path for path in scratch.rglob("*") if path.is_file()]


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="the open files of a process are looked at")
def test_a_task_has_no_name_and_is_for_its_owner_alone(settings):
    with children._written({"age": 41.25}, settings) as file:
        status = os.fstat(file.fileno())
        assert (status.st_nlink, stat.S_IMODE(status.st_mode) & 0o077) == (0, 0)
        assert not list(Path(settings.work_dir).iterdir())
    before = os.listdir("/proc/self/fd")
    run_all(settings, "sub-1Xfine", "sub-2Xexits")
    assert len(os.listdir("/proc/self/fd")) == len(before)


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
