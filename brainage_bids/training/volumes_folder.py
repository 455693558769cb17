"""Training a ``volumes`` model from a table and a mapping, and writing it as a folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from brainage_bids import __version__
from brainage_bids.models.card import ModelCard, Training, check_name
from brainage_bids.models.cardfile import CARD, card_text
from brainage_bids.models.needs import VOLUMES, TableNeed
from brainage_bids.models.norms import NORMS, NormCurve, norms_to_json
from brainage_bids.models.registry import HEADS, WEIGHTS, ModelFolder
from brainage_bids.models.selftest import EXAMPLE, predict_example
from brainage_bids.models.usual_outputs import usual_outputs
from brainage_bids.models.volumes import STRUCTURES, VolumeModel
from brainage_bids.models.volumes_folder import KIND, volumes_to_files
from brainage_bids.models.weights import pack_arrays
from brainage_bids.training.folder import EXAMPLE_PEOPLE, About, check_place, describe_ages, json_bytes, place_folder, write_bytes
from brainage_bids.training.norms import fit_norm
from brainage_bids.training.volumes import Candidate, Choice, choose, fit, site_folds
from brainage_bids.training.volumes_convention import find_conventions
from brainage_bids.training.volumes_evaluate import HeldOut
from brainage_bids.training.volumes_mapping import MAPPING, VolumeMapping, fit_mapping
from brainage_bids.training.volumes_table import VolumeTable


@dataclass(frozen=True)
class TrainedVolumes:
    """A fitted model with what it was fitted on.

    Attributes
    ----------
    model : VolumeModel
    table : VolumeTable
    features : ndarray, shape (n, d)
        Of the table.
    mapping : VolumeMapping
    choice : Choice
        Made on all people.
    """

    model: VolumeModel
    table: VolumeTable
    features: np.ndarray
    mapping: VolumeMapping
    choice: Choice


def map_table(
    table: VolumeTable,
    maps: Mapping[str, Mapping[str, tuple[float, float]]],
    *,
    paired: Sequence[Mapping[str, tuple[float, float]]] = (),
    seed: int = 1,
) -> VolumeMapping:
    """The way from our volumes by label maps to a table, judged by how much its people differ (``volumes_mapping.fit_mapping``)."""
    sds = table.features(STRUCTURES).std(axis=0, ddof=1)
    people_sd = dict(zip((item.name for item in STRUCTURES), map(float, sds), strict=False))
    return fit_mapping(maps, people_sd, conventions=find_conventions(table, maps), paired=paired, seed=seed)


def train_volumes(
    table: VolumeTable, mapping: VolumeMapping, *, seed: int = 1, candidates: Sequence[Candidate] | None = None
) -> TrainedVolumes:
    """Choose on all people, fit on all, and draw the norm curves.

    Parameters
    ----------
    table : VolumeTable
    mapping : VolumeMapping
        See `map_table`.
    seed : int
    candidates : sequence of Candidate, optional
        What is tried.
    """
    features = table.features(mapping.structures)
    folds = site_folds(table.participants, table.sites, table.ages, seed=seed)
    choice = choose(features, table.ages, folds, mapping.errors, seed=(seed,), candidates=candidates)
    fitted = fit(features, table.ages, mapping.errors, choice.candidate, choice.inner_rmse)
    used = [structure for structure in mapping.structures if structure.used]
    norms = {item.name: fit_norm(item.name, item.label, table.ages, features[:, column]) for column, item in enumerate(used)}
    low, high = features.min(axis=0), features.max(axis=0)
    model = VolumeModel(mapping.structures, fitted.centre, fitted.spread, low, high, fitted.regressor, 0.0, norms)
    return TrainedVolumes(model, table, features, mapping, choice)


def write_volume_model(
    out: Path | str,
    trained: TrainedVolumes,
    held_out: Sequence[HeldOut],
    about: About,
    *,
    dataset: str,
    label_maps: bytes = b"",
    seed: int = 1,
    overwrite: bool = False,
) -> ModelFolder:
    """Write a model folder; it appears as a whole or not at all.

    Parameters
    ----------
    out : Path
        The folder to be; what is there must be an older model, and is replaced only with ``overwrite``.
    trained : TrainedVolumes
    held_out : sequence of HeldOut
        As from ``volumes_evaluate.evaluate``. The last, which is nearest to what the app does, is told first on the card.
    about : About
    dataset : str
        Name of the people's dataset.
    label_maps : bytes
        Content of the table from which the mapping was learned; it is kept in the folder.
    seed : int
        Of the training.

    Raises
    ------
    BadConfiguration
        If the name may not be a model's, or the place is taken.
    """
    check_place(out, overwrite)
    check_name(about.name)
    arrays, heads = volumes_to_files(trained.model)
    heads["choice"] = _choice_to_json(trained.choice)
    heads["mapping"] = [row.to_json() for row in trained.mapping.rows]
    heads["left_out"] = trained.table.reasons()

    def make_card(files: Mapping[str, str]) -> ModelCard:
        return _card(trained, held_out, about, dataset, seed, files)

    norms, example, kept = trained.model.norms, _example(trained), {MAPPING: label_maps, **about.kept}
    return place_folder(out, lambda folder: write_volume_files(folder, arrays, heads, norms, example, kept, make_card))


def write_volume_files(
    folder: Path,
    arrays: Mapping[str, np.ndarray],
    heads: Mapping[str, Any],
    norms: Mapping[str, NormCurve],
    example: Mapping[str, float],
    kept: Mapping[str, bytes],
    make_card: Callable[[Mapping[str, str]], ModelCard],
) -> ModelCard:
    """Write every file of a model into an empty folder, and return the card.

    Parameters
    ----------
    folder : Path
    arrays, heads
        As from ``models.volumes_folder.volumes_to_files``.
    norms : mapping of str to NormCurve
    example : mapping of str to float
        Volumes of the self-test, mm³ by the name of a region.
    kept : mapping of str to bytes
        Further files.
    make_card : callable
        From the names and sums of the files to the card.
    """
    files = {
        WEIGHTS: write_bytes(folder / WEIGHTS, pack_arrays(arrays)),
        HEADS: write_bytes(folder / HEADS, json_bytes(heads)),
        NORMS: write_bytes(folder / NORMS, json_bytes(norms_to_json(norms))),
        **{name: write_bytes(folder / name, content) for name, content in kept.items()},
    }
    card = make_card(files)
    expected = predict_example(ModelFolder(folder, card), {}, example)
    content = {"volumes": dict(example), "brain_age": expected.mean, "sd": expected.sd}
    card = replace(card, files={**files, EXAMPLE: write_bytes(folder / EXAMPLE, json_bytes(content))})
    write_bytes(folder / CARD, card_text(card).encode())
    return card


def _example(trained: TrainedVolumes) -> dict[str, float]:
    """Mean volumes of the oldest people on our scale, each structure divided evenly among its regions."""
    oldest = np.argsort(trained.table.ages, kind="stable")[-EXAMPLE_PEOPLE:]
    volumes = {}
    for structure in trained.model.model_structures:
        mean = float(np.mean([trained.table.volumes[row][structure.name] for row in oldest]))
        volumes.update(dict.fromkeys(structure.parts, mean / structure.scale / len(structure.parts)))
    return volumes


def _card(
    trained: TrainedVolumes, held_out: Sequence[HeldOut], about: About, dataset: str, seed: int, files: Mapping[str, str]
) -> ModelCard:
    table = trained.table
    names = tuple(part for structure in trained.model.model_structures for part in structure.parts)
    ways = "; ".join(item.by for item in held_out)
    return ModelCard(
        name=about.name,
        kind=KIND,
        version=about.version,
        created=about.created,
        needs=(TableNeed(VOLUMES, names),),
        outputs=usual_outputs(KIND),
        training=Training(
            datasets=(dataset,),
            n=len(table.ages),
            sessions=len(table.ages),
            ages=describe_ages(table.ages),
            split=f"{ways}; every choice by leaving sites out in training, with the errors of the transfer added",
            seeds=(seed,),
            device="cpu",
            software=f"brainage_bids {__version__}",
            sites=tuple(table.counts(table.sites)),
            sexes=table.counts(table.sexes),
        ),
        errors=held_out[-1].to_card(),
        files=files,
        licence=about.licence,
        citation=about.citation,
        limits=(*_limits(trained), *about.limits),
        further_errors=tuple(item.to_card() for item in held_out[:-1]),
    )


def _limits(trained: TrainedVolumes) -> list[str]:
    """What follows from the table and the mapping, in sentences."""
    labels = {structure.name: structure.label for structure in STRUCTURES}
    used = ", ".join(structure.label for structure in trained.model.used)
    maps = max(row.maps for row in trained.mapping.rows)
    sentences = [
        f"It looks at the volumes of {used}, each as a share of the cerebrum, and at the size of the cerebrum; sex is not used.",
        "It was learned from FreeSurfer's volumes. Those of this app are brought to their scale by factors learned on "
        f"{maps} label maps and by comparing these maps with the table at equal lateral ventricles; the errors with that transfer are "
        "simulated: on another scanner the estimate may be off by a constant for everybody, which ten or more controls can tell "
        "(brainage-models calibrate).",
    ]
    if any(row.gap is not None for row in trained.mapping.rows):
        sentences.append("Scans of the people kept out decided, by their volumes and not by their ages, which structures transfer.")
    gone = [f"{labels[row.structure]} ({row.reason})" for row in trained.mapping.rows if not row.used]
    if gone:
        sentences.append(f"Left out, as their transfer is bad: {'; '.join(gone)}.")
    implausible = [person for person, reason in trained.table.left_out if reason != "kept for judging"]
    if implausible:
        sentences.append(f"{len(implausible)} people of the table were left out as their rows are implausible: {', '.join(implausible)}.")
    judged = [person for person, reason in trained.table.left_out if reason == "kept for judging"]
    if judged:
        sentences.append(f"Kept out of training, to judge the app on them: {', '.join(judged)}.")
    return sentences


def _choice_to_json(choice: Choice) -> dict[str, Any]:
    return {**vars(choice.candidate), "inner_mae": choice.inner_mae, "inner_rmse": choice.inner_rmse}
