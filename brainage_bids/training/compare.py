"""Networks side by side: kinds × where they start × seeds, on one split, with a paired test (P2, R3)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from brainage_bids.models.network import NetworkModel, load_state, make_network, state_arrays
from brainage_bids.stats.metrics import bootstrap_intervals, error_metrics
from brainage_bids.stats.permutation import sign_flip_test
from brainage_bids.training.cache import Cache
from brainage_bids.training.forward import Cohort, predict
from brainage_bids.training.images import ImageTable
from brainage_bids.training.loop import fit
from brainage_bids.training.network_train import Setup, train_one
from brainage_bids.training.transfer import start_from

SCRATCH = "none"
"""What a start from random weights is called."""


@dataclass(frozen=True)
class Cell:
    """One way to train.

    Attributes
    ----------
    model : str
        Kind of network.
    start : str
        What it starts from, in a word; `SCRATCH` for random weights.
    setup : Setup
    table : ImageTable
    cache : Cache
        Of the images of the kind, in the order of the table.
    """

    model: str
    start: str
    setup: Setup
    table: ImageTable
    cache: Cache


@dataclass(frozen=True)
class Outcome:
    """What a cell gave.

    Attributes
    ----------
    cell : Cell
    participants : tuple of str
        Of the test part, sorted.
    ages : ndarray, shape (n,)
        Years.
    predictions : ndarray, shape (runs, n)
        Brain ages, years; means over sessions.
    validation_mae : ndarray, shape (runs,)
        Of the epoch that was kept.
    best_epochs : tuple of int
    minutes : float
        Of all runs.
    guess : float
        Mean age of the people in training.
    """

    cell: Cell
    participants: tuple[str, ...]
    ages: np.ndarray
    predictions: np.ndarray
    validation_mae: np.ndarray
    best_epochs: tuple[int, ...]
    minutes: float
    guess: float

    @property
    def sizes(self) -> np.ndarray:
        """Absolute error of every person, mean over runs, (n,)."""
        return np.abs(self.predictions - self.ages).mean(axis=0)


def run_cell(cell: Cell, parts: Mapping[str, str], seeds: Sequence[int], *, retrain: bool = False, told: Callable | None = None) -> Outcome:
    """Train one way with several seeds; the epoch is chosen on the validation part, never on the test part.

    Parameters
    ----------
    cell : Cell
    parts : mapping
        ``train``, ``validation``, ``test`` (or nothing) of each participant.
    seeds : sequence of int
    retrain : bool
        Train again on the people of training and validation for the number of epochs that was best, and test that network (P2).
    told : callable, optional
        Told after each epoch the name of the run and the line of its history.
    """
    part_of = np.array([parts.get(person, "") for person in cell.table.participants])
    rows = {name: np.flatnonzero(part_of == name).tolist() for name in ("train", "validation", "test")}
    cohort = Cohort(cell.cache, cell.table.ages)
    found, maes, epochs, seconds = [], [], [], 0.0
    for number, seed in enumerate(seeds, start=1):
        name = f"{cell.model}, {cell.start}, run {number} of {len(seeds)}"
        trained = train_one(cell.setup, cohort, rows["train"], rows["validation"], seed, None if told is None else _named(told, name))
        net, seconds = trained.model.net, seconds + trained.fitted.seconds
        maes.append(trained.fitted.score)
        epochs.append(trained.fitted.best_epoch)
        if retrain:
            net, more = _again(cell.setup, cohort, rows, seed, trained.fitted.best_epoch)
            seconds += more
        found.append(predict(net, cohort, rows["test"], device=cell.setup.device, batch=cell.setup.recipe.batch))
    people, row_of = np.unique([cell.table.participants[row] for row in rows["test"]], return_inverse=True)
    count = np.bincount(row_of)
    predictions = np.array([np.bincount(row_of, values) / count for values in found])
    ages = np.bincount(row_of, cell.table.ages[rows["test"]]) / count
    guess = float(cell.table.ages[rows["train"]].mean())
    return Outcome(cell, tuple(map(str, people)), ages, predictions, np.array(maes), tuple(epochs), seconds / 60, guess)


def _again(setup: Setup, cohort: Cohort, rows: Mapping[str, list[int]], seed: int, epochs: int):
    """The network after so many epochs on training and validation together, and the seconds; nothing is chosen any more."""
    torch.manual_seed(seed)
    both, contract = [*rows["train"], *rows["validation"]], setup.place.contract
    net, architecture = make_network(setup.kind, [contract], setup.place.steps, setup.architecture)
    net.head.start_at(float(cohort.ages[both].mean()))
    if setup.init is not None:
        start_from(net, setup.init, NetworkModel(setup.kind, architecture, net, (contract,), setup.place.steps))
    last: dict[str, np.ndarray] = {}
    recipe = replace(setup.recipe, epochs=epochs, patience=epochs)
    how = {"seed": seed, "freeze": setup.freeze, "device": setup.device, "told": lambda line: last.update(state_arrays(net))}
    fitted = fit(net, cohort, both, rows["validation"], recipe, **how)
    load_state(net, last)
    return net.eval(), fitted.seconds


def _named(told: Callable, name: str):
    return lambda line: told(name, line)


def rows_of(outcomes: Sequence[Outcome], *, seed: int = 0) -> list[dict[str, object]]:
    """A row a cell.

    The test pairs people: their absolute errors (mean over runs) against those of the same kind from scratch, and against the
    guess, 999 sign flips (R8).

    Parameters
    ----------
    outcomes : sequence of Outcome
        All on the same people.
    seed : int
        Of intervals and permutations.
    """
    scratch = {one.cell.model: one for one in outcomes if one.cell.start == SCRATCH}
    rows = []
    for one in outcomes:
        maes = np.abs(one.predictions - one.ages).mean(axis=1)
        mean = one.predictions.mean(axis=0)
        metrics, intervals = error_metrics(one.ages, mean), bootstrap_intervals(np.zeros_like(one.sizes), one.sizes, seed=seed)
        guess = np.abs(one.guess - one.ages)
        beside = scratch.get(one.cell.model)
        own = beside is not None and beside is not one
        test = sign_flip_test(one.sizes, beside.sizes, seed=seed) if own else None
        row = {
            "model": one.cell.model,
            "start": one.cell.start,
            "frozen": one.cell.setup.freeze,
            "runs": len(maes),
            "validation_mae": float(one.validation_mae.mean()),
            "validation_mae_sd": _sd(one.validation_mae),
            "test_mae": float(maes.mean()),
            "test_mae_sd": _sd(maes),
            "test_mae_low": intervals["mae"][0],
            "test_mae_high": intervals["mae"][1],
            "r": metrics.r,
            "n_test": len(one.ages),
            "guess_mae": float(guess.mean()),
            "p_guess": sign_flip_test(one.sizes, guess, seed=seed).p,
            "difference": None if test is None else test.difference,
            "p_scratch": None if test is None else test.p,
            "best_epoch": float(np.mean(one.best_epochs)),
            "minutes": one.minutes,
        }
        rows.append({name: _rounded(value) for name, value in row.items()})
    return rows


def _sd(values: np.ndarray) -> float | None:
    return float(np.std(values, ddof=1)) if len(values) > 1 else None


def _rounded(value: object) -> object:
    if isinstance(value, float):
        return round(value, 4) if np.isfinite(value) else None
    return value
