"""The stages of the models: what each predicts, and the table of brain ages, which also depends on the phenotype.

What a model says of the images is an entry in the sidecar of ``B_brainage.tsv``; gaps and flags are made from it, so a corrected age
repeats no prediction. Nothing but this file calls models.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Collection, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from brainage_bids.bids.names import derivative_path, find_derivatives
from brainage_bids.bids.sink import sidecar_path, sink_table
from brainage_bids.records import FLAGS, OTHER_MODALITIES, AgeEstimate, BadConfiguration, Session
from brainage_bids.workflows import secondary, t1w
from brainage_bids.workflows.plan import Plan
from brainage_bids.workflows.stage import ENTRIES, Output, Stage, read_entries, write_entries

if TYPE_CHECKING:
    from brainage_bids.models.registry import ModelFolder

LOGGER = logging.getLogger("brainage")
TABLE = Output("brainage")
PREDICTION, STRUCTURES = 1, 1
"""Revisions of what is kept of a model's prediction, and of its table of structures; its card counts in both."""
WITH_STRUCTURES = ("volumes",)
"""Kinds of models that look at structures one by one."""


def model_stages(plan: Plan) -> tuple[Stage, ...]:
    """A stage for the prediction of each model of a run, one for its structures if it looks at them, and that of the table of ages.

    Raises
    ------
    BadConfiguration
        If a model is not there, its card cannot be used, or two have one name.
    """
    folders = models_of(plan)
    stages = [stage for folder in folders for stage in _stages_of(folder)]
    looked_at = {contract.modality for folder in folders for contract in folder.card.inputs}
    needs = (
        "|".join(prediction_name(folder) for folder in folders),
        "structure",
        "quality",
        *(f"{modality}?" for modality in OTHER_MODALITIES if modality in looked_at),
        "phenotype:age",
        "phenotype:flags",
    )
    return (*stages, Stage("ages", needs, (TABLE,), (), 1, partial(write_ages, folders)))


def models_of(plan: Plan) -> tuple[ModelFolder, ...]:
    """The models of a run, each once; errors as of `model_stages`."""
    from brainage_bids.models.registry import DEFAULT_MODEL, find_model

    names = plan.settings.models or (DEFAULT_MODEL,)
    folders = {folder.path.resolve(): folder for folder in (find_model(name, plan.settings.model_dirs) for name in names)}
    named: dict[str, ModelFolder] = {}
    for folder in folders.values():
        other = named.setdefault(folder.card.name, folder)
        if other is not folder:
            raise BadConfiguration(f"The models {other.path} and {folder.path} are both called {folder.card.name}; run one of them.")
    return tuple(folders.values())


def prediction_name(folder: ModelFolder) -> str:
    """Name of the stage of a model's prediction."""
    return f"model-{folder.card.name}"


def _stages_of(folder: ModelFolder) -> list[Stage]:
    name, card, is_network = folder.card.name, folder.card, _is_network(folder)
    made_by = {output.name: stage.name for stage in _image_stages() for output in stage.outputs}
    makers = dict.fromkeys(made_by[contract.key] for contract in card.inputs if contract.key in made_by)
    needs = [f"{maker}?" if maker in OTHER_MODALITIES else maker for maker in makers] + ["volumes"] * (not is_network)
    how = ("device", "precision") if is_network else ()
    entry = Output(TABLE.key, entry=name)
    digest = card_digest(folder)
    stages = [Stage(prediction_name(folder), tuple(needs), (entry,), how, f"{PREDICTION}:{digest}", partial(predict, folder))]
    if card.kind in WITH_STRUCTURES:
        output = Output("structures", (("model", name),))
        needs = ["volumes", "phenotype:age"]
        run = partial(write_structures, folder)
        stages.append(Stage(f"structures-{name}", tuple(needs), (output,), (), f"{STRUCTURES}:{digest}", run))
    return stages


def _is_network(folder: ModelFolder) -> bool:
    """Whether a model looks at images alone, on a device that may be chosen; others look at volumes, with or without images."""
    from brainage_bids.models.nets import NETS

    return folder.card.kind in NETS


def card_digest(folder: ModelFolder) -> str:
    """SHA-256 of a model's card, which names those of all its files."""
    from brainage_bids.models.cardfile import CARD

    return hashlib.sha256((folder.path / CARD).read_bytes()).hexdigest()


def _image_stages() -> tuple[Stage, ...]:
    """Stages that make images a model may look at."""
    return (*(stage for stage in t1w.STAGES if stage.name in ("template", "arrays")), *secondary.STAGES)


def model_inputs(modalities: Collection[str] = OTHER_MODALITIES) -> dict[str, Output]:
    """The images that a model may look at where a session has these modalities beside the T1w, by ``InputContract.key``."""
    outputs = [*t1w.TEMPLATE, *t1w.ARRAYS]
    for modality in (modality for modality in OTHER_MODALITIES if modality in modalities):
        outputs += [secondary.outputs_of(modality)[key] for key in ("packed", "packed_mni")]
    return {output.name: output for output in outputs}


def input_files(session: Session, out_dir: Path) -> dict[str, Path]:
    """Where the images lie, or would lie, that a model may look at, by ``InputContract.key``."""
    return {key: output.path(out_dir, session) for key, output in model_inputs(tuple(session.scans)).items()}


def predict(folder: ModelFolder, session: Session, plan: Plan) -> None:
    """Keep what a model says of the images and volumes of a session, whatever its age.

    Raises
    ------
    BadConfiguration
        If the model is damaged, or does not fit.
    UnusableInput
        If it gives no number for this person. One that looks at a FLAIR or SWI that is not there says so by a flag.
    """
    from brainage_bids.models.inference import estimate

    how = {"device": plan.settings.device, "precision": plan.settings.precision}
    volumes = {} if _is_network(folder) else _volumes(session, plan.out_dir)
    found = estimate(folder, input_files(session, plan.out_dir), volumes, age=None, **how)
    own = tuple(flag for flag in found.flags if flag != "age_missing")
    entries = read_entries(TABLE, plan.out_dir, session)
    write_entries(TABLE, plan.out_dir, session, entries | {found.model: asdict(replace(found, flags=own))})


def has_predictions(session: Session, out_dir: Path, models: Collection[str]) -> bool:
    """Whether a prediction of each of these models is kept, be it valid or stale."""
    return set(models) <= set(read_entries(TABLE, out_dir, session))


def write_structures(folder: ModelFolder, session: Session, plan: Plan) -> None:
    """Write the table of what each structure says to a model."""
    from brainage_bids.bids.structures import COLUMNS, structure_rows
    from brainage_bids.models.inference import read_structures

    readings = read_structures(folder, _volumes(session, plan.out_dir), session.age)
    path = derivative_path(plan.out_dir, "structures", session.participant_id, session.session_id, model=folder.card.name)
    sink_table(structure_rows(map(vars, readings)), path, COLUMNS)


def write_ages(folders: Sequence[ModelFolder], session: Session, plan: Plan) -> None:
    """Write ``B_brainage.tsv`` from what the models said, and remove what is left of other models."""
    from brainage_bids.bids.estimates import COLUMNS, estimate_rows

    entries = read_entries(TABLE, plan.out_dir, session)
    said = [folder for folder in folders if folder.card.name in entries]
    rows = estimate_rows(session, [_with_phenotype(folder, entries[folder.card.name], session, plan) for folder in said])
    kept = {folder.card.name: entries[folder.card.name] for folder in said}
    sink_table(rows, TABLE.path(plan.out_dir, session), COLUMNS, sidecar={ENTRIES: kept})
    remove_structures(session, plan.out_dir, {folder.card.name for folder in folders if folder.card.kind in WITH_STRUCTURES})
    LOGGER.info("%s: brain age written", session.stem)


def _with_phenotype(folder: ModelFolder, entry: dict, session: Session, plan: Plan) -> AgeEstimate:
    """A prediction that is kept, with all flags."""
    from brainage_bids.models.inference import age_flags

    found = AgeEstimate(**{name: value for name, value in entry.items() if name in AgeEstimate.__dataclass_fields__})
    raised = {*quality_flags(session, plan.out_dir, {contract.modality for contract in folder.card.inputs}), *found.flags}
    if found.brain_age is not None:
        raised |= set(age_flags(folder, session.age))
    return replace(found, flags=tuple(flag for flag in FLAGS if flag in raised))


def remove_structures(session: Session, out_dir: Path, models: Collection[str]) -> None:
    """Remove the tables of structures of all models but these."""
    for found in find_derivatives(out_dir, "structures", session.participant_id, session.session_id):
        if found.session_id == session.session_id and found.entities["model"] not in models:
            found.path.unlink()
            sidecar_path(found.path).unlink(missing_ok=True)


def _volumes(session: Session, out_dir: Path) -> dict[str, float]:
    from brainage_bids.models.features import read_volumes

    return read_volumes(*(output.path(out_dir, session) for output in t1w.VOLUMES))


def quality_flags(session: Session, out_dir: Path, modalities: Collection[str] = ()) -> tuple[str, ...]:
    """Flags of the phenotype, of the scan's header and of the quality tables, in the order of ``records.FLAGS``.

    The T1w's count always, as all goes through its mask and registration; those of a FLAIR or SWI if it is among `modalities`.
    """
    from brainage_bids.bids.tables import read_tsv

    tables = [output.path(out_dir, session) for output in t1w.QUALITY]
    looked_at = [modality for modality in OTHER_MODALITIES if modality in modalities and modality in session.scans]
    theirs = [secondary.outputs_of(modality)["quality"].path(out_dir, session) for modality in looked_at]
    tables += [path for path in theirs if path.is_file()]
    raised = {row["flag"] for path in tables for row in read_tsv(path).rows}
    raised |= set(session.flags) | set(t1w.facts_of(session, out_dir).get("Flags", []))
    return tuple(flag for flag in FLAGS if flag in raised)
