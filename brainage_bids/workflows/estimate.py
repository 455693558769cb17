"""The brain age of a session by every model that was asked for."""

from __future__ import annotations

from brainage_bids.bids.names import derivative_path
from brainage_bids.bids.sink import sink_table
from brainage_bids.records import FLAGS, Session
from brainage_bids.workflows.stages import STAGES, read_sidecar


def estimate_session(session: Session, plan) -> bool:
    """Write ``B_brainage.tsv`` unless it already holds what would be written; tell whether it was written.

    Raises
    ------
    BadConfiguration
        If a model is not there, damaged, or does not fit.
    UnusableInput
        If a model gives no number for this person.
    """
    from brainage_bids.bids.estimates import COLUMNS, estimate_rows, read_rows
    from brainage_bids.models.features import read_volumes
    from brainage_bids.models.inference import estimate
    from brainage_bids.models.registry import DEFAULT_MODEL, find_model

    path = derivative_path(plan.out_dir, "brainage", session.participant_id, session.session_id)
    folders = [find_model(name, plan.model_dirs) for name in (plan.models or (DEFAULT_MODEL,))]
    files = {
        f"{output.key}_{value}": output.path(plan.out_dir, session)
        for output in STAGES["template"]
        for _, value in output.entities or (("", ""),)
    }
    flags = quality_flags(session, plan.out_dir)
    tables = [derivative_path(plan.out_dir, key, session.participant_id, session.session_id) for key in ("volumes", "volumes_atlas")]
    volumes = read_volumes(*tables)
    rows = estimate_rows(
        session, [estimate(folder, files, volumes, age=session.age, sex=session.sex, quality_flags=flags) for folder in folders]
    )
    if path.is_file() and read_rows(path) == rows:
        return False
    sink_table(rows, path, COLUMNS)
    return True


def quality_flags(session: Session, out_dir) -> tuple[str, ...]:
    """Flags of the phenotype, of the scan's header and of the quality table, in the order of ``records.FLAGS``."""
    from brainage_bids.bids.tables import read_tsv

    table = read_tsv(derivative_path(out_dir, "qc", session.participant_id, session.session_id))
    raised = {row["flag"] for row in table.rows} | set(session.flags) | set(read_sidecar(out_dir, session).get("Flags", []))
    return tuple(flag for flag in FLAGS if flag in raised)
