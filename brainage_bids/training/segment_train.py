"""From images with labels to the folder of an encoder-decoder from which age networks start (P1)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from brainage_bids import __version__
from brainage_bids.models.card import Ages, Errors, ModelCard, Training
from brainage_bids.models.cardfile import CARD, card_text
from brainage_bids.models.image_contract import InputContract
from brainage_bids.models.inputs import NetInput
from brainage_bids.models.label_sets import LabelSet
from brainage_bids.models.needs import ImageNeed
from brainage_bids.models.nets.segment import build_segmenter
from brainage_bids.models.network import make_network
from brainage_bids.models.registry import HEADS, WEIGHTS, ModelFolder
from brainage_bids.models.segmenter import KIND, SegmentModel, segmenter_to_files, slice_axis
from brainage_bids.models.weights import pack_arrays
from brainage_bids.records import BadDataset
from brainage_bids.training.folder import About, check_place, json_bytes, place_folder, write_bytes
from brainage_bids.training.loop import Fitted, fit, history_text
from brainage_bids.training.objective import Recipe
from brainage_bids.training.segment_data import SegmentData, View, dice_in_validation, segment_objective
from brainage_bids.training.segment_sources import PaintedSource, Source

HISTORY_FILE, DICE_FILE = "history.tsv", "dice.tsv"
NO_AGES = Ages(0.0, 120.0)
"""On the card: ages play no part in this task and are not read."""
PAINTINGS = 200
"""Of label maps, in an epoch."""
VALIDATION_PAINTINGS = 2
"""Of each label map that is held out."""
MOST_VALIDATION = 20
"""Packed images that are looked at after each epoch, at most."""
RECIPES = {
    2: Recipe(optimiser="adamw", rate=2e-3, epochs=50, patience=10, batch=2),
    3: Recipe(optimiser="adamw", rate=2e-3, epochs=50, patience=10, batch=2),
}
"""By the number of axes of the network; P1 states none."""


@dataclass(frozen=True)
class SegmentSetup:
    """How an encoder-decoder is made and trained.

    Attributes
    ----------
    kind : str
        The age network whose convolutions are taught.
    place : NetInput
        With the contract of the images that are there.
    labels : LabelSet
    recipe : Recipe
    architecture : mapping
        Arguments of the age network that are not the default ones.
    patch : int
        Edge of cubes that a step looks at, voxels; 0 for whole volumes. Slices are always whole.
    paintings : int
        Of label maps, in an epoch.
    device : str
    work : Path or None
        Folder of checkpoints.
    """

    kind: str
    place: NetInput
    labels: LabelSet
    recipe: Recipe
    architecture: Mapping[str, Any] = field(default_factory=dict)
    patch: int = 0
    paintings: int = PAINTINGS
    device: str = "cpu"
    work: Path | None = None


@dataclass(frozen=True)
class TrainedSegmenter:
    """A trained encoder-decoder, its Dice of every label (columns) in the images of validation, and who it was trained on."""

    model: SegmentModel
    fitted: Fitted
    dice: np.ndarray
    train_people: tuple[str, ...]
    validation_people: tuple[str, ...]
    seed: int


def train_segmenter(
    setup: SegmentSetup, source: Source, *, seed: int, told: Callable[[Mapping[str, float]], None] | None = None
) -> TrainedSegmenter:
    """Hold some people out, train on the others, and keep the epoch that labels those held out best.

    Raises
    ------
    BadDataset
        If there are fewer than two people.
    BadConfiguration
        If the network cannot be made, or training fails.
    """
    train, validation = split_people(source, seed, setup.paintings)
    contract = setup.place.contract
    with torch.device("meta"):
        _, architecture = make_network(setup.kind, [contract], setup.place.steps, setup.architecture)
    torch.manual_seed(seed)
    net = build_segmenter(setup.kind, architecture, setup.labels.count)
    axis = slice_axis(setup.kind, architecture)
    slices = (0, 0) if axis is None else (int(architecture["first"]), int(architecture["last"]))
    view = View(axis, slices, int(architecture.get("drawn", 8)), setup.patch)
    data = SegmentData(source, view)
    how = {"seed": seed, "device": setup.device, "work": setup.work, "told": told}
    objective = segment_objective(data, setup.labels.count, setup.device)
    fitted = fit(net, data, train, validation, setup.recipe, objective=objective, **how)
    dice = dice_in_validation(net, data, validation, setup.labels.count, setup.device)
    model = SegmentModel(setup.kind, architecture, net.to("cpu").eval(), (contract,), setup.place.steps, setup.labels.names)
    people = [tuple(sorted({_whose(source, row) for row in rows})) for rows in (train, validation)]
    return TrainedSegmenter(model, fitted, dice, *people, seed)


def split_people(source: Source, seed: int, paintings: int) -> tuple[list[int], list[int]]:
    """Numbers of images to train on and to validate with: a tenth of the people (of label maps a seventh), one at least.

    Raises
    ------
    BadDataset
        If there are fewer than two people.
    """
    names = sorted(set(source.people))
    if len(names) < 2:
        raise BadDataset(f"There is {len(names)} person with labels; two or more are needed, to learn from and to judge by.")
    painted = isinstance(source, PaintedSource)
    order = np.random.default_rng((seed, 4)).permutation(len(names))
    held = {names[k] for k in order[: max(1, len(names) // (7 if painted else 10))]}
    rows = {False: [], True: []}
    for row, person in enumerate(source.people):
        rows[person in held].append(row)
    if not painted:
        return rows[False], rows[True][:MOST_VALIDATION]
    count = len(source.people)
    train = [rows[False][k % len(rows[False])] for k in range(paintings)]
    return train, [row + count * number for row in rows[True] for number in range(1, VALIDATION_PAINTINGS + 1)]


def _whose(source: Source, row: int) -> str:
    return source.people[row % len(source.people)]


def write_segmenter(
    out: Path | str,
    trained: TrainedSegmenter,
    setup: SegmentSetup,
    about: About,
    datasets: Sequence[str],
    *,
    minutes: float,
    overwrite: bool = False,
) -> ModelFolder:
    """Write the model folder: card, weights, ``heads.json``, history and Dice of every label in validation.

    Raises
    ------
    BadConfiguration
        If the place is taken.
    """
    check_place(out, overwrite)

    def write(folder: Path) -> ModelCard:
        arrays, heads = segmenter_to_files(trained.model)
        files = {
            WEIGHTS: write_bytes(folder / WEIGHTS, pack_arrays(arrays)),
            HEADS: write_bytes(folder / HEADS, json_bytes(heads)),
            HISTORY_FILE: write_bytes(folder / HISTORY_FILE, history_text(trained.fitted.history).encode()),
            DICE_FILE: write_bytes(folder / DICE_FILE, dice_text(trained.model.names, trained.dice).encode()),
            **{name: write_bytes(folder / name, content) for name, content in about.kept.items()},
        }
        card = _card(trained, setup, about, datasets, minutes, files)
        write_bytes(folder / CARD, card_text(card).encode())
        return card

    return place_folder(out, write)


def dice_text(names: Sequence[str], dice: np.ndarray) -> str:
    """Mean Dice of every label over the images of the validation that have it, as a tsv.

    >>> print(dice_text(["GM"], np.array([[0.5], [0.75], [np.nan]])).replace(chr(9), " "))
    label dice images
    GM 0.625 2
    <BLANKLINE>
    """
    lines = ["label\tdice\timages"]
    for name, column in zip(names, dice.T, strict=True):
        known = column[np.isfinite(column)]
        lines.append(f"{name}\t{f'{known.mean():.4g}' if known.size else 'n/a'}\t{known.size}")
    return "\n".join(lines) + "\n"


def mean_dice(dice: np.ndarray) -> float:
    """Mean over labels of their mean over images; labels that are in no image do not count."""
    columns = [column[np.isfinite(column)].mean() for column in dice.T if np.isfinite(column).any()]
    return float(np.mean(columns)) if columns else 0.0


def _card(trained: TrainedSegmenter, setup: SegmentSetup, about: About, datasets: Sequence[str], minutes: float, files) -> ModelCard:
    n = len(trained.train_people) + len(trained.validation_people)
    contract: InputContract = setup.place.contract
    recipe, dice = setup.recipe, mean_dice(trained.dice)
    who = f"{len(trained.validation_people)} people held out, who picked the epoch"
    words = f"mean Dice {dice:.3f} of {len(trained.model.names)} labels on {who}"
    limits = (
        f"It names voxels and gives no age; a network {setup.kind} starts from it by brainage-train --init.",
        "The ages of the people are not on this card, as they play no part.",
        *about.limits,
    )
    return ModelCard(
        name=about.name,
        kind=KIND,
        version=about.version,
        created=about.created,
        needs=(ImageNeed(contract),),
        outputs=(),
        training=Training(
            datasets=tuple(datasets),
            n=n,
            sessions=n,
            ages=NO_AGES,
            split=f"{words}; Dice and cross-entropy, {recipe.optimiser} {recipe.rate:g}, batches of {recipe.batch}",
            seeds=(trained.seed,),
            device=setup.device,
            software=f"brainage_bids {__version__}",
            minutes=round(minutes, 2),
        ),
        errors=Errors(by=words, n=len(trained.validation_people)),
        files=files,
        licence=about.licence,
        citation=about.citation,
        limits=limits,
    )


def recipe_for_segments(kind: str, **given: Any) -> Recipe:
    """The recipe of a kind, changed where something is given (None is nothing)."""
    return replace(RECIPES[2 if kind == "slices" else 3], **{name: value for name, value in given.items() if value is not None})
