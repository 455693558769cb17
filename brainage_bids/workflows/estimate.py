"""The brain age of a session by every model that was asked for."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from brainage_bids.bids.names import derivative_path, find_derivatives
from brainage_bids.bids.sink import sidecar_path, sink_table
from brainage_bids.records import FLAGS, OTHER_MODALITIES, Session
from brainage_bids.workflows.other_session import other_outputs
from brainage_bids.workflows.stages import STAGES, Output, read_sidecar

if TYPE_CHECKING:
    from brainage_bids.models.reading import StructureReading
    from brainage_bids.models.registry import ModelFolder


def estimate_session(session: Session, plan) -> bool:
    """Write ``B_brainage.tsv``, and the structures of models that look at them, unless they already hold what would be written.

    Returns
    -------
    bool
        Whether anything was written.

    Raises
    ------
    BadConfiguration
        If a model is not there, damaged, or does not fit.
    UnusableInput
        If a model gives no number for this person. One that looks at a FLAIR or SWI that is not there gives a row without an age.
    """
    from brainage_bids.bids.estimates import ABOUT, COLUMNS, estimate_rows, read_rows
    from brainage_bids.models.features import read_volumes
    from brainage_bids.models.inference import estimate, read_structures

    path = derivative_path(plan.out_dir, "brainage", session.participant_id, session.session_id)
    folders = _models(plan)
    files = input_files(session, plan.out_dir)
    tables = [derivative_path(plan.out_dir, key, session.participant_id, session.session_id) for key in ("volumes", "volumes_atlas")]
    volumes = read_volumes(*tables)
    how = {"device": plan.device, "precision": plan.precision}
    rows = estimate_rows(
        session,
        [
            estimate(folder, files, volumes, age=session.age, sex=session.sex, quality_flags=flags, **how)
            for folder in folders
            for flags in [quality_flags(session, plan.out_dir, {contract.modality for contract in folder.card.inputs})]
        ],
    )
    readings = {folder.card.name: read_structures(folder, volumes, session.age) for folder in folders}
    written = write_structures(session, plan.out_dir, readings)
    if path.is_file() and read_rows(path) == rows:
        return written
    sink_table(rows, path, COLUMNS, sidecar=ABOUT)
    return True


def waits_for_others(plan) -> bool:
    """Whether a model of the run looks at a FLAIR or SWI, so that they come before the estimate."""
    from brainage_bids.models.inference import needs_others

    return any(needs_others(folder) for folder in _models(plan))


def _models(plan) -> list[ModelFolder]:
    from brainage_bids.models.registry import DEFAULT_MODEL, find_model

    return [find_model(name, plan.model_dirs) for name in (plan.models or (DEFAULT_MODEL,))]


def input_files(session: Session, out_dir) -> dict[str, Path]:
    """Where the images lie, or would lie, that a model may look at, by ``InputContract.key``."""
    return {key: output.path(out_dir, session) for key, output in model_inputs(tuple(session.scans)).items()}


def model_inputs(modalities: Collection[str] = OTHER_MODALITIES) -> dict[str, Output]:
    """The images that a model may look at where a session has these modalities beside the T1w, by ``InputContract.key``."""
    outputs = [*STAGES["template"], *STAGES["arrays"]]
    for modality in (modality for modality in OTHER_MODALITIES if modality in modalities):
        outputs += [other_outputs(modality)[key] for key in ("packed", "packed_mni")]
    return {"_".join([output.key, *(value for _, value in output.entities)]): output for output in outputs}


def write_structures(session: Session, out_dir, readings: Mapping[str, Sequence[StructureReading]]) -> bool:
    """Write ``B_model-M_desc-structures_stats.tsv`` of each model that looks at structures; remove those of others and of former names.

    Parameters
    ----------
    session : Session
    out_dir : Path
    readings : mapping
        Name of each model of the run to what structures say to it; empty for kinds that do not look at structures.

    Returns
    -------
    bool
        Whether a table was written or removed.
    """
    from brainage_bids.bids.structures import COLUMNS, read_structure_rows, structure_rows

    changed = False
    place = partial(derivative_path, out_dir, "model_table", session.participant_id, session.session_id, desc="structures")
    for found in find_derivatives(out_dir, "model_table", session.participant_id, session.session_id, desc="structures"):
        model = found.entities["model"]
        if found.session_id == session.session_id and not (readings.get(model) and found.path == place(model=model)):
            found.path.unlink()
            sidecar_path(found.path).unlink(missing_ok=True)
            changed = True
    for model, structures in readings.items():
        if not structures:
            continue
        path = place(model=model)
        rows = structure_rows(map(vars, structures))
        if not path.is_file() or read_structure_rows(path) != rows:
            sink_table(rows, path, COLUMNS)
            changed = True
    return changed


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
