"""One participant: every session on its own, failures recorded, and the report at the end."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable

from brainage_bids.records import OTHER_MODALITIES, BadConfiguration, Failure, Participant, Session, UnusableInput
from brainage_bids.workflows.other_session import process_other
from brainage_bids.workflows.session import Plan, process_session

LOGGER = logging.getLogger("brainage")


def process_participant(participant: Participant, plan: Plan) -> list[Failure]:
    """Process all sessions of a person, the T1w first, then FLAIR and SWI; what fails leaves the others alone.

    Returns
    -------
    list of Failure
        Empty if every session ends in a brain age, and every FLAIR and SWI could be read. Those of a FLAIR or SWI name it.

    Raises
    ------
    BadConfiguration
        If a model or setting is wrong: that is not this person's failure.
    """
    failures = []
    for session in participant.sessions:
        lost = _try(lambda session=session: process_session(session, plan), session)
        failures += [lost] if lost else []
        for modality in () if lost else OTHER_MODALITIES:
            if modality in session.scans:
                lost_one = _try(lambda session=session, modality=modality: process_other(session, modality, plan), session, modality)
                failures += [lost_one] if lost_one else []
    return failures


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
