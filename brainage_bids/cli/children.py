"""One child process a participant, some of them at once; one that dies is a failed participant and nothing more."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

from brainage_bids.cli.failures import read_messages, write_failures
from brainage_bids.cli.locks import Busy, Lock, lock_participant
from brainage_bids.cli.nursery import Forked, Nursery, can_share
from brainage_bids.records import Failure, Participant
from brainage_bids.settings import Settings

LOGGER = logging.getLogger("brainage")
POLL_SECONDS = 0.1
OUT_OF_MEMORY = 75
KEPT_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(32 * 2**20), "MALLOC_TRIM_THRESHOLD_": str(2**30)}
"""For glibc, which gives the memory of large arrays back to the system and asks for it anew: a tenth of the time. Users' values win."""


@dataclass(frozen=True)
class Outcome:
    """How a participant ended; `busy` tells that another run has it, so that this one left it alone."""

    participant_id: str
    done: bool
    seconds: float
    busy: bool = False


@dataclass
class _Child:
    participant: Participant
    process: subprocess.Popen | Forked
    task: dict[str, Any]
    started: float
    lock: Lock


def run_all(inventory, settings: Settings, run_dir: Path, *, reports_only: bool = False, clean: bool = False) -> list[Outcome]:
    """Process the participants of an inventory, `settings.nprocs` at once, in their order.

    Returns
    -------
    list of Outcome
        Of those that were started, or met busy.
    """
    waiting = list(inventory.participants)
    total = len(waiting)
    running: list[_Child] = []
    outcomes: list[Outcome] = []
    previous = signal.signal(signal.SIGTERM, _interrupt)
    nursery = None
    try:
        if not reports_only and can_share(settings, total) and _unpredicted(waiting, settings) > 1:
            nursery = Nursery(_command(), _environment(settings), settings, run_dir / "models.log")
        while waiting or running:
            stop = settings.stop_on_first_crash and any(not (outcome.done or outcome.busy) for outcome in outcomes)
            if stop and not running:
                break
            while waiting and len(running) < settings.nprocs and not stop:
                participant = waiting.pop(0)
                place = f"[{total - len(waiting)}/{total}] {participant.participant_id}"
                try:
                    lock = lock_participant(Path(settings.out_dir), participant.participant_id)
                except Busy as error:
                    LOGGER.error("%s: %s", place, error)
                    outcomes.append(Outcome(participant.participant_id, False, 0.0, busy=True))
                    continue
                task = _task(participant, inventory, settings, reports_only, clean)
                process = _launch(task, settings, run_dir / f"{participant.participant_id}.log", lock, nursery)
                running.append(_Child(participant, process, task, time.monotonic(), lock))
                LOGGER.warning("%s started", place)
            for child in [child for child in running if child.process.poll() is not None]:
                running.remove(child)
                outcomes.append(_finish(child, settings, run_dir))
            time.sleep(POLL_SECONDS)
    finally:
        signal.signal(signal.SIGTERM, previous)
        for child in running:
            _kill(child.process)
            child.lock.release()
        if nursery is not None:
            nursery.close()
    return outcomes


def _task(participant: Participant, inventory, settings: Settings, reports_only: bool, clean: bool) -> dict[str, Any]:
    reused = {
        session.stem: {"dataset": r.dataset, "root": str(r.root), "files": {key: str(path) for key, path in r.files.items()}}
        for session in participant.sessions
        if (r := inventory.reused.get(session.stem)) is not None
    }
    what = "report" if reports_only else "process"
    return {"what": what, "clean": clean, "participant": asdict(participant), "settings": asdict(settings), "reused": reused}


def _unpredicted(participants: list[Participant], settings: Settings) -> int:
    """How many participants lack the prediction of a model; those of the others may be stale, but most often nothing is to be loaded."""
    from brainage_bids.models.registry import open_model
    from brainage_bids.workflows.predict import has_predictions

    names = [open_model(path).card.name for path in settings.models]
    out_dir = Path(settings.out_dir)
    return sum(not all(has_predictions(session, out_dir, names) for session in person.sessions) for person in participants)


def _launch(
    task: dict[str, Any], settings: Settings, log: Path, lock: Lock, nursery: Nursery | None = None
) -> subprocess.Popen | Forked:
    """Start a process for a task, in the nursery if there is one that lives."""
    with _written(task, settings) as written:
        forked = nursery.start(written.fileno(), log, lock.descriptor) if nursery is not None and nursery.alive else None
        if forked is not None:
            return forked
        with open(log, "ab") as output:
            return subprocess.Popen(
                [*_command(), str(written.fileno()), str(os.getpid())],
                stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
                pass_fds=(lock.descriptor, written.fileno()), env=_environment(settings),
            )  # fmt: skip


def _written(task: dict[str, Any], settings: Settings) -> BinaryIO:
    """A task as a file without a name in the scratch folder: age and sex are in it, and it goes with those who have it open."""
    file = tempfile.TemporaryFile(dir=settings.work_dir)
    try:
        file.write(json.dumps(task, default=str).encode())
        file.flush()
    except BaseException:
        file.close()
        raise
    return file


def _command() -> list[str]:
    # -P: a file of the user's current folder must not stand in for a module
    return [sys.executable, "-P", "-m", "brainage_bids.cli.child"]


def _environment(settings: Settings) -> dict[str, str]:
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS")
    libraries = {"NIPYPE_NO_ET": "1", "NO_ET": "1", "MPLBACKEND": "Agg", "TQDM_DISABLE": "1"}
    return KEPT_MEMORY | os.environ | dict.fromkeys(names, str(settings.omp_nthreads)) | libraries


def _finish(child: _Child, settings: Settings, run_dir: Path) -> Outcome:
    """Record how a child ended; one that did not end by itself gets a failure and a report here."""
    name, code, out_dir = child.participant.participant_id, child.process.returncode, Path(settings.out_dir)
    log = run_dir / f"{name}.log"
    messages = read_messages(out_dir, name, [session.session_id for session in child.participant.sessions]) if code == 1 else []
    if code != 0 and not messages:
        messages = [_why(code, settings, log)]
        try:
            write_failures(out_dir, [Failure(name, None, "process", messages[0], f"exit status {code}; the log is {log}")])
            _launch(child.task | {"what": "report"}, settings, log, child.lock).wait()
        except OSError as error:
            LOGGER.error("%s: the failure cannot be recorded (%s)", name, error)
    child.lock.release()
    for message in messages:
        LOGGER.error("%s: %s", name, message)
    seconds = time.monotonic() - child.started
    LOGGER.warning("%s %s in %.0f s", name, "done" if code == 0 else "FAILED", seconds)
    return Outcome(name, code == 0, seconds)


def _why(code: int, settings: Settings, log: Path) -> str:
    if code < 0:
        name = signal.Signals(-code).name
        memory = " (most often because memory ran out)" if -code == signal.SIGKILL else ""
        advice = "run the same command again, with fewer --nprocs if memory is short"
        return f"The process of this participant was ended by the signal {name}{memory}; {advice}."
    if code == OUT_OF_MEMORY and settings.mem_mb:
        return f"The {settings.mem_mb} MB of --mem-mb were not enough for this participant; allow more."
    return f"The process of this participant ended with the status {code}; {log} says where."


def _kill(process: subprocess.Popen | Forked) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    process.wait()


def _interrupt(*_) -> None:
    raise KeyboardInterrupt
