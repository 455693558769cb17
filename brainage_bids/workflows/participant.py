"""One participant: every session on its own, failures recorded, and the report at the end."""

from __future__ import annotations

import logging
import traceback

from brainage_bids.records import BadConfiguration, Failure, Participant, Session, UnusableInput
from brainage_bids.workflows.session import Plan, process_session

LOGGER = logging.getLogger("brainage")


def process_participant(participant: Participant, plan: Plan) -> list[Failure]:
    """Process all sessions of a person; one that fails leaves the others alone.

    Returns
    -------
    list of Failure
        Empty if every session ends in a brain age.

    Raises
    ------
    BadConfiguration
        If a model or setting is wrong: that is not this person's failure.
    """
    return [failure for session in participant.sessions if (failure := _try_session(session, plan)) is not None]


def _try_session(session: Session, plan: Plan) -> Failure | None:
    from brainage_bids.workflows.engine import NO_MEMORY, GraphFailed

    try:
        process_session(session, plan)
        return None
    except BadConfiguration:
        raise
    except GraphFailed as error:
        failure = Failure(session.participant_id, session.session_id, error.step, error.message, error.detail)
    except UnusableInput as error:
        failure = Failure(session.participant_id, session.session_id, "read", str(error), traceback.format_exc())
    except MemoryError:
        failure = Failure(session.participant_id, session.session_id, "memory", NO_MEMORY, traceback.format_exc())
    except OSError as error:
        failure = Failure(session.participant_id, session.session_id, "files", _sentence(error), traceback.format_exc())
    except Exception as error:  # the session is lost, the other sessions and participants are not; the report says so
        message = f"The processing stopped with an error that was not foreseen ({type(error).__name__}: {error}); the log has the details."
        failure = Failure(session.participant_id, session.session_id, "processing", message, traceback.format_exc())
    LOGGER.error("%s: %s", session.stem, failure.message)
    return failure


def _sentence(error: OSError) -> str:
    text = error.strerror or str(error)
    return text if text.endswith(".") else f"A file could not be read or written ({error}); check the disk and the folder, then run again."
