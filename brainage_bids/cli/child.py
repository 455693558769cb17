"""The process of one participant: ``python -m brainage_bids.cli.child DESCRIPTOR PARENT_PID``, or forked by ``cli.nursery``."""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import sys
import threading
import time
import traceback
from pathlib import Path

from brainage_bids import __version__
from brainage_bids.cli.failures import forget_failures, write_failures
from brainage_bids.cli.nursery import SERVE, serve
from brainage_bids.cli.options import scratch_of
from brainage_bids.records import BadConfiguration, Failure, Participant, Scan, Session
from brainage_bids.settings import Settings
from brainage_bids.workflows.helper_process import end_with_parent

LOGGER = logging.getLogger("brainage")
OUT_OF_MEMORY = 75


def main(argv: list[str]) -> int:
    """Process a participant, write its report, and return 0 if all sessions are done, else 1."""
    logging.basicConfig(stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s", level=logging.WARNING)
    LOGGER.setLevel(logging.INFO)
    if argv[0] == SERVE:
        end_with_parent()
        descriptor, parent = serve(int(argv[1]), *json.loads(argv[3]))
    else:
        descriptor, parent = int(argv[0]), int(argv[1])
    _die_with(parent)
    task = _read_task(descriptor)
    settings = Settings.from_mapping(task["settings"], "The task")
    participant = participant_of(task["participant"])
    if task["what"] == "process" and settings.mem_mb:
        _limit_memory(settings.mem_mb)
    failures = []
    if task["what"] == "process":
        try:
            failures = process(participant, settings, task)
        except MemoryError:
            return OUT_OF_MEMORY
        except Exception as error:  # whatever it is, the participant has failed and the others go on
            failures = [_lost(participant, error)]
            write_failures(Path(settings.out_dir), failures)
    _lift_memory_limit()
    try:
        report(participant.participant_id, settings)
    except Exception as error:  # a report that cannot be written is a failure of this participant
        lost = _lost(participant, error, "report")
        if not any(failure.session_id is None for failure in failures):  # what came first is kept
            write_failures(Path(settings.out_dir), [lost])
        return 1
    return 1 if failures else 0


def _read_task(descriptor: int) -> dict:
    with open(descriptor, "rb") as file:
        file.seek(0)  # who wrote it left the place at the end
        return json.loads(file.read())


def _lost(participant: Participant, error: Exception, stage: str = "processing") -> Failure:
    """The record of a participant who was lost to an error outside of the sessions."""
    if isinstance(error, BadConfiguration):
        stage, message = "configuration", str(error)
    elif isinstance(error, OSError):
        message = f"A file could not be read or written ({error}); check the disk and the folder, then run again."
    else:
        message = f"The {stage} stopped with an error that was not foreseen ({type(error).__name__}: {error}); the log has the details."
    LOGGER.exception("%s: %s", participant.participant_id, message)
    return Failure(participant.participant_id, None, stage, message, traceback.format_exc())


def process(participant: Participant, settings: Settings, task: dict) -> list:
    """Do what is missing of the participant; failures are recorded and returned."""
    from brainage_bids.bids.reuse import Reused
    from brainage_bids.bids.sink import sweep_partial
    from brainage_bids.workflows.participant import process_participant
    from brainage_bids.workflows.plan import Plan

    out_dir, work_dir = Path(settings.out_dir), scratch_of(settings, participant.participant_id)
    sweep_partial(out_dir, participant.participant_id)
    if task["clean"]:
        shutil.rmtree(work_dir, ignore_errors=True)
    precomputed = {
        stem: Reused(value["dataset"], Path(value["root"]), {key: Path(path) for key, path in value["files"].items()})
        for stem, value in task["reused"].items()
    }
    plan = Plan(settings, work_dir, precomputed)
    failures = process_participant(participant, plan)
    forget_failures(out_dir, participant.participant_id, [session.session_id for session in participant.sessions])
    write_failures(out_dir, failures)
    if not failures:
        shutil.rmtree(work_dir, ignore_errors=True)
    return failures


def report(participant_id: str, settings: Settings) -> None:
    """Write the participant's page from what is there."""
    from brainage_bids.models.registry import find_model
    from brainage_bids.reports.page import write_participant_report

    folders = [find_model(model, settings.model_dirs) for model in settings.models]
    write_participant_report(
        Path(settings.out_dir),
        participant_id,
        version=__version__,
        run_settings=settings.to_toml(),
        models={folder.card.name: folder for folder in folders},
    )


def participant_of(content: dict) -> Participant:
    """A participant read back from JSON."""
    sessions = []
    for session in content["sessions"]:
        scans = {key: Scan(**(scan | {"path": Path(scan["path"])})) for key, scan in session["scans"].items()}
        sessions.append(Session(**(session | {"scans": scans, "flags": tuple(session["flags"])})))
    return Participant(content["participant_id"], tuple(sessions))


def _limit_memory(megabytes: int) -> None:
    """Bound the address space, by the soft limit, so that `_lift_memory_limit` can take it back."""
    import resource

    wanted = megabytes * 2**20
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard))


def _lift_memory_limit() -> None:
    """Let the report be written, which is small, by a process that has just used up its memory."""
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (hard, hard))


def _die_with(parent: int) -> None:
    """End this process group as soon as the parent is gone, so that a rerun never races with leftovers of a killed run.

    On Linux the kernel does it at once, even while a library holds the interpreter's lock for minutes; the watch is for other
    systems, and for a parent that was gone before the kernel was asked.
    """
    end_with_parent()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.2)
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
