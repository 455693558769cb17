"""The stages of the models: what each gives for a session, and the table of brain ages, which also depends on the phenotype.

What a model says of the images is an entry in the sidecar of ``B_brainage.tsv``; gaps and flags are made from it, so a corrected age
repeats no prediction. Nothing but this file asks models.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Collection, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from brainage_bids.bids.sink import sink_table
from brainage_bids.modalities import COREGISTERED
from brainage_bids.records import FLAGS, AgeEstimate, BadConfiguration, Session
from brainage_bids.workflows import secondary, t1w
from brainage_bids.workflows.model_outputs import discard_outputs, files_of, write_outputs
from brainage_bids.workflows.plan import Plan
from brainage_bids.workflows.roots import COLUMN
from brainage_bids.workflows.stage import ENTRIES, Output, Stage, read_entries, write_entries

if TYPE_CHECKING:
    from brainage_bids.models.order import Asked
    from brainage_bids.models.registry import ModelFolder

LOGGER = logging.getLogger("brainage")
TABLE = Output("brainage")
PREDICTION = 2
"""Revision of what is kept of a model's prediction; its card counts beside it."""


def model_stages(plan: Plan) -> tuple[Stage, ...]:
    """A stage for each model of a run, and that of the table of ages.

    Raises
    ------
    BadConfiguration
        If a model is not there, its card cannot be used, or two have one name.
    """
    asked = models_of(plan)
    stages = tuple(_stage_of(one) for one in asked)
    with_age = tuple(one for one in asked if one.folder.card.gives_age)
    if not with_age:
        return stages
    looked_at = frozenset().union(*(one.modalities for one in with_age))
    needs = (
        "|".join(prediction_name(one.folder) for one in with_age),
        "structure",
        "quality",
        *(f"{modality}?" for modality in COREGISTERED if modality in looked_at),
        "phenotype:age",
        "phenotype:flags",
    )
    return (*stages, Stage("ages", needs, (TABLE,), (), 1, partial(write_ages, with_age, [one.folder.card.name for one in asked])))


def models_of(plan: Plan) -> tuple[Asked, ...]:
    """The models of a run, each once, with all that they need; errors as of `model_stages`."""
    from brainage_bids.models.order import ask
    from brainage_bids.models.registry import DEFAULT_MODEL, find_model

    names, dirs = plan.settings.models or (DEFAULT_MODEL,), plan.settings.model_dirs
    folders = {folder.path.resolve(): folder for folder in (find_model(name, dirs) for name in names)}
    named: dict[str, ModelFolder] = {}
    for folder in folders.values():
        other = named.setdefault(folder.card.name, folder)
        if other is not folder:
            raise BadConfiguration(f"The models {other.path} and {folder.path} are both called {folder.card.name}; run one of them.")
    return tuple(ask(folder, dirs) for folder in folders.values())


def prediction_name(folder: ModelFolder) -> str:
    """Name of the stage of a model's prediction."""
    return f"model-{folder.card.name}"


def _stage_of(asked: Asked) -> Stage:
    from brainage_bids.models.kinds import kind_of
    from brainage_bids.models.needs import PHENOTYPE, Table

    folders = [one.folder for one in asked.everyone()]
    made_by = {output.name: stage.name for stage in _image_stages() for output in stage.outputs}
    keys = [contract.key for folder in folders for contract in folder.card.contracts]
    makers = dict.fromkeys(made_by[key] for key in keys if key in made_by)
    tables = [table for folder in folders for table in folder.card.tables]
    columns = sorted({name for table in tables if table.source == PHENOTYPE for name in table.columns})
    outputs = [output for folder in folders for output in folder.card.outputs]
    needs = tuple(f"{maker}?" if maker in COREGISTERED else maker for maker in makers)
    needs += ("volumes",) * (any(table.source != PHENOTYPE for table in tables) or any(kind_of(folder).reads_volumes for folder in folders))
    needs += tuple(f"{COLUMN}:{quote(name, safe='')}" for name in columns)
    needs += ("phenotype:age",) * any(isinstance(output, Table) and output.by_age for output in outputs)
    how = ("device", "precision") if any(kind_of(folder).needs_torch for folder in folders) else ()
    name = asked.folder.card.name
    files = tuple(files_of(asked.folder.card))
    revision = ":".join([str(PREDICTION), *map(card_digest, folders)])
    return Stage(prediction_name(asked.folder), needs, (*files, Output(TABLE.key, entry=name)), how, revision, partial(predict, asked))


def card_digest(folder: ModelFolder) -> str:
    """SHA-256 of a model's card, which names those of all its files."""
    from brainage_bids.files import CARD as CARD_LIMIT
    from brainage_bids.files import read_bytes
    from brainage_bids.models.cardfile import CARD

    return hashlib.sha256(read_bytes(folder.path / CARD, CARD_LIMIT)).hexdigest()


def _image_stages() -> tuple[Stage, ...]:
    """Stages that make images a model may look at."""
    return (*(stage for stage in t1w.STAGES if stage.name in ("template", "arrays")), *secondary.STAGES)


def model_inputs(modalities: Collection[str] = COREGISTERED) -> dict[str, Output]:
    """The images that a model may look at where a session has these modalities beside the T1w, by ``InputContract.key``."""
    outputs = [*t1w.TEMPLATE, *t1w.ARRAYS]
    for modality in (modality for modality in COREGISTERED if modality in modalities):
        outputs += [secondary.outputs_of(modality)[key] for key in ("packed", "packed_mni")]
    return {output.name: output for output in outputs}


def predict(asked: Asked, session: Session, plan: Plan) -> None:
    """Keep what a model says of a session, whatever its age, and write its maps, tables and images.

    Raises
    ------
    BadConfiguration
        If the model is damaged, or does not fit.
    UnusableInput
        If it gives no number for this person. One that looks at an image that is not there says so by a flag.
    """
    from brainage_bids.models.case import session_case
    from brainage_bids.models.predict import estimate_of
    from brainage_bids.models.predict import predict as ask_model

    who = session.participant_id, session.session_id
    case = session_case(plan.out_dir, *who, age=session.age, phenotype=session.phenotype)
    prediction = ask_model(asked, case, device=plan.settings.device, precision=plan.settings.precision)
    found = estimate_of(asked, prediction, age=None)
    own = tuple(flag for flag in found.flags if flag != "age_missing")
    write_outputs(session, plan.out_dir, asked.folder, prediction)
    entries = read_entries(TABLE, plan.out_dir, session)
    write_entries(TABLE, plan.out_dir, session, entries | {found.model: asdict(replace(found, flags=own))})


def has_predictions(session: Session, out_dir: Path, models: Collection[str]) -> bool:
    """Whether a prediction of each of these models is kept, be it valid or stale."""
    return set(models) <= set(read_entries(TABLE, out_dir, session))


def write_ages(asked: Sequence[Asked], models: Collection[str], session: Session, plan: Plan) -> None:
    """Write ``B_brainage.tsv`` from what the models said, and remove what is left of models that are not of this run."""
    from brainage_bids.bids.estimates import ABOUT, COLUMNS, estimate_rows

    entries = read_entries(TABLE, plan.out_dir, session)
    said = [one for one in asked if one.folder.card.name in entries]
    rows = estimate_rows(session, [kept_estimate(one, session, plan) for one in said])
    kept = {name: entry for name, entry in entries.items() if name in models}
    sink_table(rows, TABLE.path(plan.out_dir, session), COLUMNS, sidecar={**ABOUT, ENTRIES: kept})
    discard_outputs(session, plan.out_dir, models)
    LOGGER.info("%s: brain age written", session.stem)


def kept_estimate(asked: Asked, session: Session, plan: Plan) -> AgeEstimate:
    """The prediction of a model that is kept, with all flags."""
    from brainage_bids.models.predict import age_flags

    entry = read_entries(TABLE, plan.out_dir, session)[asked.folder.card.name]
    found = AgeEstimate(**{name: value for name, value in entry.items() if name in AgeEstimate.__dataclass_fields__})
    raised = {*quality_flags(session, plan.out_dir, asked.modalities), *found.flags}
    if found.brain_age is not None:
        raised |= set(age_flags(asked.folder, found.brain_age, session.age))
    return replace(found, flags=tuple(flag for flag in FLAGS if flag in raised))


def quality_flags(session: Session, out_dir: Path, modalities: Collection[str] = ()) -> tuple[str, ...]:
    """Flags of the phenotype, of the scan's header and of the quality tables, in the order of ``records.FLAGS``.

    The T1w's count always, as all goes through its mask and registration; those of another image if it is among `modalities`.
    """
    from brainage_bids.bids.tables import read_tsv

    tables = [output.path(out_dir, session) for output in t1w.QUALITY]
    looked_at = [modality for modality in COREGISTERED if modality in modalities and modality in session.scans]
    theirs = [secondary.outputs_of(modality)["quality"].path(out_dir, session) for modality in looked_at]
    tables += [path for path in theirs if path.is_file()]
    raised = {row["flag"] for path in tables for row in read_tsv(path).rows}
    raised |= set(session.flags) | set(t1w.facts_of(session, out_dir).get("Flags", []))
    return tuple(flag for flag in FLAGS if flag in raised)
