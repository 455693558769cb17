"""The stages of one session in the order of their needs: what is there is left, the rest is made, what fails is a record."""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Callable

from brainage_bids.modalities import words_of
from brainage_bids.records import BadConfiguration, Failure, Session, UnusableInput
from brainage_bids.workflows.engine import NO_MEMORY, GraphFailed
from brainage_bids.workflows.helper_process import HelperProcess, Lost
from brainage_bids.workflows.plan import Plan
from brainage_bids.workflows.roots import Roots
from brainage_bids.workflows.stage import (
    Stage,
    discard,
    fingerprint,
    is_finished,
    is_root,
    mark_finished,
    needed_stages,
    parse_need,
    stored_fingerprint,
    those_that_need,
)

LOGGER = logging.getLogger("brainage")
LOST = f"The process of {words_of()} was ended, most often because memory ran out; run again, with --omp-nthreads 1 if memory is short."


class Driver:
    """How far the stages of a session are.

    Parameters
    ----------
    session : Session
    plan : Plan
    stages : tuple of Stage
        Those of `stage.in_order`.

    Attributes
    ----------
    failures : list of Failure
        Of the stages that failed; those that need them are not tried.
    settled : dict
        Name of each stage that has ended to its fingerprint; None if its outputs are not there.
    asked : dict
        Name of each stage that the helper process has been asked for to its fingerprint.
    """

    def __init__(self, session: Session, plan: Plan, stages: tuple[Stage, ...]):
        self.session, self.plan, self.stages = session, plan, stages
        self.roots = Roots(session, plan)
        self.failures: list[Failure] = []
        self.settled: dict[str, str | None] = {}
        self.asked: dict[str, str] = {}

    def go(self, helper: HelperProcess | None = None) -> None:
        """Take every stage that need not wait for the helper process, which is asked for those that read another scan than the T1w.

        Raises
        ------
        BadConfiguration
            If a model or setting is wrong: that is not this person's failure.
        """
        for stage in self.stages:
            waits = stage.name in self.asked or any(name not in self.settled for name in needed_stages(stage))
            if stage.name not in self.settled and not waits:
                self._take(stage, helper)

    def hear(self, name: str, answer: Failure | Lost | None) -> None:
        """Settle a stage that the helper process was asked for."""
        stage = next(stage for stage in self.stages if stage.name == name)
        if isinstance(answer, Lost):
            LOGGER.error("%s: %s", self.session.stem, LOST)
            who = (self.session.participant_id, self.session.session_id)
            answer = Failure(*who, _place(stage, "process"), LOST, f"exit status {answer.status}", stage.modality)
        self._settle(stage, self.asked.pop(name), answer)

    def to_make(self) -> list[Stage]:
        """Stages that are not finished, as far as one can tell before any is made; those that would wait for them are among them."""
        digests: dict[str, str | None] = {}
        found = []
        for stage in self.stages:
            if not self._has_roots(stage):
                continue
            try:
                digest = self._digest(stage, digests)
            except (UnusableInput, OSError):  # said when it is taken
                continue
            digests[stage.name] = digest
            if not is_finished(stage, digest, self.plan.out_dir, self.session):
                found.append(stage)
        return found

    def _take(self, stage: Stage, helper: HelperProcess | None) -> None:
        """Leave a stage, make it, or ask the helper process for it."""
        out_dir, session = self.plan.out_dir, self.session
        if not self._has_roots(stage) or not self._has_stages(stage):
            self.settled[stage.name] = None
            return
        digests: list[str] = []
        failure = attempt(lambda: digests.append(self._digest(stage, self.settled)), stage, session)
        if failure is not None:
            self._settle(stage, None, failure)
            return
        (digest,) = digests
        if is_finished(stage, digest, out_dir, session):
            LOGGER.info("%s: %s is there already", session.stem, stage.name)
            self.settled[stage.name] = digest
            return
        if stored_fingerprint(stage, out_dir, session) not in (None, digest):
            words = "was made from other data, with other settings or by another version; it and what follows from it are made anew"
            LOGGER.info("%s: %s %s", session.stem, stage.name, words)
        for stale in (stage, *those_that_need(stage.name, self.stages)):
            discard(stale, out_dir, session)
        if helper is not None and stage.modality:
            helper.ask(make, stage, session, self.plan, digest)
            self.asked[stage.name] = digest
        else:
            self._settle(stage, digest, make(stage, session, self.plan, digest))

    def _settle(self, stage: Stage, digest: str | None, failure: Failure | None) -> None:
        if failure is not None:
            self.failures.append(failure)
        self.settled[stage.name] = digest if failure is None else None

    def _has_roots(self, stage: Stage) -> bool:
        return all(self.roots.has(need) for need in stage.needs if is_root(need))

    def _has_stages(self, stage: Stage) -> bool:
        parsed = [parse_need(need) for need in stage.needs if not is_root(need)]
        return all(sum(self.settled[name] is not None for name in names) >= least for names, least in parsed)

    def _digest(self, stage: Stage, stages: dict[str, str | None]) -> str:
        roots = {need: self.roots.digest(need) for need in stage.needs if is_root(need)}
        return fingerprint(stage, self.plan.settings, roots | stages)


def make(stage: Stage, session: Session, plan: Plan, digest: str) -> Failure | None:
    """Run a stage and write its fingerprint, or say in a record why that failed."""

    def work() -> None:
        LOGGER.info("%s: %s", session.stem, stage.name)
        start = time.monotonic()
        stage.run(session, plan)
        mark_finished(stage, digest, plan.out_dir, session)
        LOGGER.info("%s: %s done in %.1f s", session.stem, stage.name, time.monotonic() - start)

    return attempt(work, stage, session)


def attempt(work: Callable[[], object], stage: Stage, session: Session) -> Failure | None:
    """Do something for a stage, and say in a record why that failed if it did.

    Raises
    ------
    BadConfiguration
        As it is.
    """
    try:
        work()
        return None
    except BadConfiguration:
        raise
    except GraphFailed as error:
        step, message, detail = error.step, error.message, error.detail
    except UnusableInput as error:
        step, message, detail = "read", str(error), traceback.format_exc()
    except MemoryError:
        step, message, detail = "memory", NO_MEMORY, traceback.format_exc()
    except OSError as error:
        step, message, detail = "files", _sentence(error), traceback.format_exc()
    except Exception as error:  # this is lost, the rest of the person and other people are not; the report says so
        message = f"The processing stopped with an error that was not foreseen ({type(error).__name__}: {error}); the log has the details."
        step, detail = "processing", traceback.format_exc()
    LOGGER.error("%s: %s", session.stem, message)
    return Failure(session.participant_id, session.session_id, _place(stage, step), message, detail, stage.modality)


def _place(stage: Stage, step: str) -> str:
    return f"{stage.modality}: {step}" if stage.modality else step


def _sentence(error: OSError) -> str:
    text = error.strerror or str(error)
    return text if text.endswith(".") else f"A file could not be read or written ({error}); check the disk and the folder, then run again."
