"""Writing a trained model as a folder: card, weights, heads and the example of its self-test."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from brainage_bids import __version__
from brainage_bids.bids.sink import partial_folder, sweep_folders, write_atomic
from brainage_bids.models.card import Ages, Errors, Measure, ModelCard, Training, check_name
from brainage_bids.models.cardfile import CARD, card_text
from brainage_bids.models.gpr import KIND, GprModel, gpr_to_files
from brainage_bids.models.needs import ImageNeed
from brainage_bids.models.registry import HEADS, WEIGHTS, ModelFolder
from brainage_bids.models.selftest import EXAMPLE, EXAMPLE_ARRAYS, example_to_files, predict_example
from brainage_bids.models.weights import pack_arrays, sha256_of_bytes
from brainage_bids.records import BadConfiguration
from brainage_bids.training.collect import TrainingData
from brainage_bids.training.evaluate import COVERAGE_LEVEL, CrossValidation
from brainage_bids.training.gpr import Choice

EXAMPLE_PEOPLE = 10
"""The example is the mean of up to this many people, the oldest ones."""


SETTINGS_FILE = "settings.toml"
"""The settings of the training, for ``brainage-train --config-file``."""


@dataclass(frozen=True)
class About:
    """What a person must say about a model, because no data can."""

    name: str
    version: str
    created: str  # YYYY-MM-DD
    licence: str
    citation: str
    limits: tuple[str, ...] = ()
    settings: str = ""  # TOML of what was asked for; empty if that is not known

    @property
    def kept(self) -> dict[str, bytes]:
        """Files of the folder, by name, that tell how the model was asked for."""
        return {SETTINGS_FILE: self.settings.encode()} if self.settings else {}


def make_card(data: TrainingData, validation: CrossValidation, about: About, files: Mapping[str, str]) -> ModelCard:
    """Write down what was trained on what, and how far it errs.

    Parameters
    ----------
    data : TrainingData
    validation : CrossValidation
        Of the same data.
    about : About
    files : mapping of str to str
        Name to SHA-256 of the other files of the folder.
    """
    metrics = validation.metrics
    measures = {name: measure(getattr(metrics, name), validation.intervals[name]) for name in validation.intervals}
    return ModelCard(
        name=about.name,
        kind=KIND,
        version=about.version,
        created=about.created,
        needs=tuple(map(ImageNeed, data.contracts)),
        training=Training(
            datasets=data.datasets,
            n=data.n_people,
            sessions=len(data.ages),
            ages=describe_ages(data.ages),
            split=f"{validation.by}; every choice by an inner {validation.grid.inner_folds}-fold cross-validation by person",
            seeds=(validation.seed,),
            device="cpu",
            software=f"brainage_bids {__version__}",
            sites=tuple(data.people_by(data.sites)),
            sexes=data.people_by(data.sexes),
            groups=data.people_by(data.groups),
        ),
        errors=Errors(
            by=validation.by,
            n=metrics.n,
            p_guess=validation.test.p,
            permutations=validation.test.n_permutations,
            coverage=validation.coverage,
            coverage_level=COVERAGE_LEVEL,
            **measures,
        ),
        files=files,
        licence=about.licence,
        citation=about.citation,
        limits=about.limits,
    )


def write_model(
    out: Path | str,
    model: GprModel,
    data: TrainingData,
    validation: CrossValidation,
    choice: Choice,
    about: About,
    *,
    overwrite: bool = False,
) -> ModelFolder:
    """Write a model folder; it appears as a whole or not at all.

    Parameters
    ----------
    out : Path
        The folder to be. What is there must be an older model, and is replaced only with ``overwrite``.
    model, choice
        From ``evaluate.train_model``.
    data, validation
        On what it was trained, and its errors.
    about : About
    overwrite : bool

    Returns
    -------
    ModelFolder

    Raises
    ------
    BadConfiguration
        If the name may not be a model's, or the place is taken.
    OSError
        If the folder cannot be written.
    """
    check_place(out, overwrite)
    check_name(about.name)
    return place_folder(out, lambda folder: _write_files(folder, model, data, validation, choice, about))


def place_folder(out: Path | str, write: Callable[[Path], ModelCard]) -> ModelFolder:
    """Let a function write a model into an empty folder and put it in its place as a whole, for what is there.

    Parameters
    ----------
    out : Path
        The folder to be; see `check_place`.
    write : callable
        Writes all files of the model into the folder it is given, and returns the card.
    """
    out = Path(os.path.abspath(out))
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = partial_folder(out)
    partial.mkdir()
    try:
        card = write(partial)
        _swap(partial, out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    sweep_folders(out)  # not before: a run killed between two renames left the old model there alone
    return ModelFolder(out, card)


def check_place(out: Path | str, overwrite: bool) -> None:
    """Raise BadConfiguration unless a model can be written there: nothing, an empty folder, or a model to be replaced."""
    out = Path(os.path.abspath(out))
    above = next(folder for folder in out.parents if folder.exists())
    if not (above.is_dir() and os.access(above, os.W_OK)):
        raise BadConfiguration(f"{out} cannot be made, as nothing can be written to {above}; choose another place.")
    if not os.path.lexists(out) or (out.is_dir() and not any(out.iterdir())):
        return
    if not (out / CARD).is_file():
        raise BadConfiguration(f"{out} exists and is no model folder; choose another place.")
    if not overwrite:
        raise BadConfiguration(f"{out} already holds a model; give --overwrite to replace it, or choose another place.")


def _write_files(folder: Path, model: GprModel, data: TrainingData, validation: CrossValidation, choice: Choice, about: About) -> ModelCard:
    arrays, heads = gpr_to_files(model)
    heads["choice"] = _choice_to_json(choice)
    cells, volumes = example(data)
    example_arrays, content = example_to_files(cells, volumes)
    files = {
        WEIGHTS: write_bytes(folder / WEIGHTS, pack_arrays(arrays)),
        HEADS: write_bytes(folder / HEADS, json_bytes(heads)),
        EXAMPLE_ARRAYS: write_bytes(folder / EXAMPLE_ARRAYS, pack_arrays(example_arrays)),
        **{name: write_bytes(folder / name, content) for name, content in about.kept.items()},
    }
    card = make_card(data, validation, about, files)
    expected = predict_example(ModelFolder(folder, card), example_arrays, volumes)
    content.update(brain_age=expected.mean, sd=expected.sd)
    card = replace(card, files={**files, EXAMPLE: write_bytes(folder / EXAMPLE, json_bytes(content))})
    write_bytes(folder / CARD, card_text(card).encode())
    return card


def example(data: TrainingData) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """Mean cell means and volumes of the oldest people (at most ten, at most half of all)."""
    count = max(1, min(EXAMPLE_PEOPLE, len(data.ages) // 2))
    rows = np.argsort(data.ages, kind="stable")[-count:]
    cells = {key: values[rows].mean(axis=0, dtype=np.float64) for key, values in data.cells.items()}
    names = dict.fromkeys(part for ratio in data.ratios for part in ratio.parts)
    return cells, {name: float(np.mean([data.volumes[row][name] for row in rows])) for name in names}


def _swap(partial: Path, out: Path) -> None:
    """Put the new folder in its place; an old one goes only once the new one is there, and comes back if that fails."""
    if not os.path.lexists(out):
        os.rename(partial, out)
        return
    old = partial_folder(out)
    old = old.with_name(f"{old.name}.old")
    os.rename(out, old)
    try:
        os.rename(partial, out)
    except OSError:
        os.rename(old, out)
        raise
    shutil.rmtree(old)


def write_bytes(path: Path, content: bytes) -> str:
    """Write a file of a model folder and return its SHA-256."""
    with write_atomic(path) as partial:
        partial.write_bytes(content)
    return sha256_of_bytes(content)


def json_bytes(content: Mapping[str, Any]) -> bytes:
    """A JSON object as a file of a model folder has it; ValueError for a number that is not finite."""
    return (json.dumps(content, indent=1, allow_nan=False) + "\n").encode()


def _choice_to_json(choice: Choice) -> dict[str, Any]:
    candidate = choice.candidate
    return {
        "features": candidate.features,
        "n_components": candidate.n_components,
        "kernel": candidate.kernel,
        "length_factor": candidate.length_factor,
        "alpha": candidate.alpha,
        "spread": choice.spread,
        "inner_mae": choice.inner_mae,
        "inner_rmse": choice.inner_rmse,
    }


def describe_ages(ages: np.ndarray) -> Ages:
    """Range, mean, s.d. and a histogram in bins of five years."""
    edges = np.arange(5 * np.floor(ages.min() / 5), ages.max() + 5.0001, 5)
    counts, edges = np.histogram(ages, edges)
    sd = float(ages.std(ddof=1))
    return Ages(float(ages.min()), float(ages.max()), float(ages.mean()), sd, tuple(map(float, edges)), tuple(map(int, counts)))


def measure(value: float, interval: tuple[float, float]) -> Measure | None:
    """A measure with its interval; None where it is not defined."""
    if not np.isfinite(value):
        return None
    low, high = (float(bound) if np.isfinite(bound) else None for bound in interval)
    return Measure(float(value), low, high)
