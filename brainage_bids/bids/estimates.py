"""The table of brain ages of a session, ``B_brainage.tsv``: a row a model."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from brainage_bids.bids.sidecars import table_columns
from brainage_bids.bids.tables import read_values
from brainage_bids.records import AgeEstimate, Session

COLUMNS = table_columns("brainage")
"""Columns of the table, in their order, with their descriptions."""
ABOUT = {"Description": "Brain age of the session: one row a model."}
"""What the JSON file says of the table as a whole."""
DECIMALS = 3
"""Ages are written to a thousandth of a year, some nine hours."""
_TEXTS = frozenset({"participant_id", "session_id", "model", "modality", "interval_method", "bias_method", "flags", "model_sha256"})


def estimate_rows(session: Session, estimates: Iterable[AgeEstimate]) -> list[dict[str, Any]]:
    """Return the rows of the table for one session.

    Parameters
    ----------
    session : Session
        Whose brain it is; its age makes the gap.
    estimates : iterable of AgeEstimate
        One a model.

    Returns
    -------
    list of dict
        Every column of `COLUMNS`; None where nothing is known (the gap without an age, the correction before one is
        fitted). ``pad`` is the difference of the two ages as they are written.
    """
    return [_row(session, estimate) for estimate in estimates]


def read_rows(path: Path | str) -> list[dict[str, Any]]:
    """Read a table back in the form of `estimate_rows`.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If a cell that must be a number is none.
    """
    return read_values(path, _TEXTS)


def _row(session: Session, estimate: AgeEstimate) -> dict[str, Any]:
    brain_age = _years(estimate.brain_age)
    age = _years(session.age)
    values = {
        "participant_id": session.participant_id,
        "session_id": session.session_id,
        "model": estimate.model,
        "modality": estimate.modality,
        "brain_age": brain_age,
        "brain_age_sd": _years(estimate.sd),
        "sd_within": _years(estimate.sd_within),
        "sd_between": _years(estimate.sd_between),
        "brain_age_low": _years(estimate.low),
        "brain_age_high": _years(estimate.high),
        "interval_level": None if estimate.interval_method is None else float(estimate.interval_level),
        "interval_method": estimate.interval_method,
        "age": age,
        "pad": None if age is None or brain_age is None else _years(brain_age - age),
        "brain_age_corrected": None,
        "pad_corrected": None,
        "bias_method": None,
        "flags": ";".join(estimate.flags) or None,
        "model_sha256": estimate.model_sha256,
    }
    return {name: values[name] for name in COLUMNS}


def _years(value: float | None) -> float | None:
    return None if value is None else round(float(value), DECIMALS)
