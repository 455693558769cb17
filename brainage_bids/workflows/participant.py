"""One participant: every session on its own, failures recorded, and the report at the end."""

from __future__ import annotations

import contextlib
import importlib
import logging
import traceback
from collections.abc import Callable

from brainage_bids.records import OTHER_MODALITIES, BadConfiguration, Failure, Participant, Session, UnusableInput
from brainage_bids.workflows.beside import Beside, Lost
from brainage_bids.workflows.estimate import estimate_session, waits_for_others
from brainage_bids.workflows.other_session import process_other
from brainage_bids.workflows.session import Plan, process_session
from brainage_bids.workflows.stages import is_finished

LOGGER = logging.getLogger("brainage")


def process_participant(participant: Participant, plan: Plan) -> list[Failure]:
    """Process all sessions of a person, of each the T1w, and FLAIR and SWI as soon as they can; what fails leaves the others alone.

    Returns
    -------
    list of Failure
        Empty if every session ends in a brain age, and every FLAIR and SWI could be read. Those of a FLAIR or SWI name it.

    Raises
    ------
    BadConfiguration
        If a model or setting is wrong: that is not this person's failure.
    """
    failures: list[Failure | None] = []
    late: list[Session] = []
    waits = waits_for_others(plan)
    with contextlib.ExitStack() as stack:
        beside = _company(participant, plan, stack)
        asked: list[tuple[Session, str]] = []

        def others_of(session: Session) -> None:
            for modality in (modality for modality in OTHER_MODALITIES if modality in session.scans):
                if beside is None:
                    failures.append(try_other(session, modality, plan))
                else:
                    beside.ask(try_other, session, modality, plan)
                    asked.append((session, modality))

        def t1w_of(session: Session) -> None:
            process_session(session, plan, lambda: others_of(session))
            if waits:
                late.append(session)
            else:
                write_estimate(session, plan)

        for session in participant.sessions:
            failures.append(_try(lambda session=session: t1w_of(session), session))
        if asked:
            importlib.import_module("brainage_bids.reports.assembly")  # the page is next; time to import it is while one waits
            failures += [_failure(answer, *which) for answer, which in zip(beside.answers(), asked, strict=True)]
    failures += [_try(lambda session=session: write_estimate(session, plan), session) for session in late]
    return [failure for failure in failures if failure is not None]


def write_estimate(session: Session, plan: Plan) -> None:
    """Write the brain age of a session, if it is another than what is there, and say so."""
    if estimate_session(session, plan):
        LOGGER.info("%s: brain age written", session.stem)


def try_other(session: Session, modality: str, plan: Plan) -> Failure | None:
    """Do what is missing of a FLAIR or SWI, and say in a record why that failed if it did."""
    return _try(lambda: process_other(session, modality, plan), session, modality)


def _company(participant: Participant, plan: Plan, stack: contextlib.ExitStack) -> Beside | None:
    """The second process, if the plan allows one and there is something to do for it while it gets ready."""
    to_come = any(set(OTHER_MODALITIES) & set(session.scans) for session in participant.sessions)
    if not (plan.beside and to_come):
        return None
    if all(is_finished("structure", plan.out_dir, session) for session in participant.sessions):
        return None
    plan.work_dir.mkdir(parents=True, exist_ok=True)
    return stack.enter_context(Beside(max(1, plan.threads // 2), plan.work_dir, get_ready))


def get_ready() -> None:
    """Import what takes long to import."""
    import h5py  # noqa: F401
    import picsl_greedy  # noqa: F401
    import scipy.optimize  # noqa: F401
    import SimpleITK  # noqa: F401
    import torch  # noqa: F401

    from brainage_bids.imaging import bias_field, normalise, packing, quality_other, rigid, transforms  # noqa: F401
    from brainage_bids.interfaces import other, structure  # noqa: F401
    from brainage_bids.workflows.other import init_other_wf  # noqa: F401


def _failure(answer: Failure | Lost | None, session: Session, modality: str) -> Failure | None:
    """What became of an image, also if the second process is gone."""
    if not isinstance(answer, Lost):
        return answer
    LOGGER.error("%s: %s", session.stem, LOST)
    return Failure(session.participant_id, session.session_id, f"{modality}: process", LOST, f"exit status {answer.status}", modality)


LOST = "The process of the FLAIR and SWI was ended, most often because memory ran out; run again, with --omp-nthreads 1 if memory is short."


def _try(work: Callable[[], object], session: Session, modality: str | None = None) -> Failure | None:
    """Do the T1w of a session, or another modality of it, and say in a record why that failed if it did."""
    from brainage_bids.workflows.engine import NO_MEMORY, GraphFailed

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
    place = step if modality is None else f"{modality}: {step}"
    return Failure(session.participant_id, session.session_id, place, message, detail, modality)


def _sentence(error: OSError) -> str:
    text = error.strerror or str(error)
    return text if text.endswith(".") else f"A file could not be read or written ({error}); check the disk and the folder, then run again."
