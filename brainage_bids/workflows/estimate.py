"""The brain age of a session by every model that was asked for."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from brainage_bids.bids.names import derivative_path
from brainage_bids.bids.sink import sink_table
from brainage_bids.records import FLAGS, OTHER_MODALITIES, Session
from brainage_bids.workflows.other_session import other_outputs
from brainage_bids.workflows.stages import STAGES, Output, read_sidecar

if TYPE_CHECKING:
    from brainage_bids.models.order import Asked


def estimate_session(session: Session, plan) -> bool:
    """Ask every model of the run, and write ``B_brainage.tsv`` and their tables, maps and images.

    Returns
    -------
    bool
        Whether a row, table or map is another than before.

    Raises
    ------
    BadConfiguration
        If a model is not there, damaged, or does not fit.
    UnusableInput
        If a model gives no number for this person. One that looks at a FLAIR or SWI that is not there gives a row without an age.
    """
    from brainage_bids.bids.estimates import ABOUT, COLUMNS, estimate_rows, read_rows
    from brainage_bids.models.case import session_case
    from brainage_bids.models.predict import estimate_of, predict
    from brainage_bids.workflows.model_outputs import discard_outputs, write_outputs

    path = derivative_path(plan.out_dir, "brainage", session.participant_id, session.session_id)
    asked = asked_models(plan)
    case = session_case(plan.out_dir, session.participant_id, session.session_id, age=session.age, phenotype=session.phenotype)
    predictions = [predict(one, case, device=plan.device, precision=plan.precision) for one in asked]
    rows = estimate_rows(
        session,
        [
            estimate_of(one, prediction, age=session.age, quality_flags=quality_flags(session, plan.out_dir, one.modalities))
            for one, prediction in zip(asked, predictions, strict=True)
            if one.folder.card.gives_age
        ],
    )
    changed = discard_outputs(session, plan.out_dir, [one.folder.card.name for one in asked])
    for one, prediction in zip(asked, predictions, strict=True):
        changed |= bool(write_outputs(session, plan.out_dir, one.folder, prediction))
    if path.is_file() and read_rows(path) == rows:
        return changed
    sink_table(rows, path, COLUMNS, sidecar=ABOUT)
    return True


def asked_models(plan) -> list[Asked]:
    """The models of a run with all that they need, those that others of the run need before them."""
    from brainage_bids.models.order import ask
    from brainage_bids.models.registry import DEFAULT_MODEL, find_model

    return [ask(find_model(name, plan.model_dirs), plan.model_dirs) for name in (plan.models or (DEFAULT_MODEL,))]


def waits_for_others(plan) -> bool:
    """Whether a model of the run looks at a FLAIR or SWI, so that they come before the estimate."""
    return any(one.modalities & set(OTHER_MODALITIES) for one in asked_models(plan))


def model_inputs(modalities: Collection[str] = OTHER_MODALITIES) -> dict[str, Output]:
    """The images that a model may look at where a session has these modalities beside the T1w, by ``InputContract.key``."""
    outputs = [*STAGES["template"], *STAGES["arrays"]]
    for modality in (modality for modality in OTHER_MODALITIES if modality in modalities):
        outputs += [other_outputs(modality)[key] for key in ("packed", "packed_mni")]
    return {"_".join([output.key, *(value for _, value in output.entities)]): output for output in outputs}


def quality_flags(session: Session, out_dir, modalities: Collection[str] = ()) -> tuple[str, ...]:
    """Flags of the phenotype, of the scan's header and of the quality tables, in the order of ``records.FLAGS``.

    The T1w's count always, as all goes through its mask and registration; those of a FLAIR or SWI if it is among `modalities`.
    """
    from brainage_bids.bids.tables import read_tsv

    tables = [derivative_path(out_dir, "qc", session.participant_id, session.session_id)]
    looked_at = [modality for modality in OTHER_MODALITIES if modality in modalities and modality in session.scans]
    tables += [path for path in (other_outputs(modality)["quality"].path(out_dir, session) for modality in looked_at) if path.is_file()]
    raised = {row["flag"] for path in tables for row in read_tsv(path).rows}
    raised |= set(session.flags) | set(read_sidecar(out_dir, session).get("Flags", []))
    return tuple(flag for flag in FLAGS if flag in raised)
