"""Networks side by side: kinds × where they start × seeds, on one split, with a paired test (P2, R3)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch

from brainage_bids.models.network import load_state, state_arrays
from brainage_bids.stats.folds import participant_folds
from brainage_bids.stats.metrics import bootstrap_intervals, error_metrics
from brainage_bids.stats.permutation import sign_flip_test
from brainage_bids.training.cache import Cache
from brainage_bids.training.forward import Cohort, predict
from brainage_bids.training.images import ImageTable
from brainage_bids.training.loop import fit
from brainage_bids.training.network_train import Setup, inner_split, train_one
from brainage_bids.training.transfer import start_from

SCRATCH = "none"
"""What a start from random weights is called."""


VALIDATION, TEST, RETRAINED = "validation", "test", "test after training and validation"
"""Parts of the predictions: by the network of the training part, and by the one of training and validation together."""


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
class Round:
    """Rows of a table that one network of a run is trained on, stopped by, and scored on; `beside` are rows predicted and not counted.

    Attributes
    ----------
    train, validation, test : tuple of int
    beside : mapping of str to tuple of int
        By the part (`VALIDATION`, `TEST`) that they stand with.
    """

    train: tuple[int, ...]
    validation: tuple[int, ...]
    test: tuple[int, ...]
    beside: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Scored:
    """What the networks of all runs said of the people of one part.

    Attributes
    ----------
    participants : tuple of str
        Sorted.
    ages : ndarray, shape (n,)
        Years.
    predictions : ndarray, shape (runs, n)
        Brain ages, years; means over sessions.
    """

    participants: tuple[str, ...]
    ages: np.ndarray
    predictions: np.ndarray

    @property
    def maes(self) -> np.ndarray:
        """Mean absolute error of every run, (runs,)."""
        return np.abs(self.predictions - self.ages).mean(axis=1)

    @property
    def sizes(self) -> np.ndarray:
        """Absolute error of every person, mean over runs, (n,)."""
        return np.abs(self.predictions - self.ages).mean(axis=0)


@dataclass(frozen=True)
class Outcome:
    """What a cell gave.

    Attributes
    ----------
    cell : Cell
    parts, beside : mapping of str to Scored
        People of the kind that was trained on, by `VALIDATION` (not with folds), `TEST` and, if it was asked for, `RETRAINED`; others.
    guesses : ndarray, shape (n,)
        Mean age of the people in training, for each of the test part.
    validation_mae : ndarray, shape (runs,)
        Of the epoch that was kept; mean over folds.
    best_epochs : tuple of float
        Means over folds.
    minutes : float
        Of all runs.
    """

    cell: Cell
    parts: Mapping[str, Scored]
    beside: Mapping[str, Scored]
    guesses: np.ndarray
    validation_mae: np.ndarray
    best_epochs: tuple[float, ...]
    minutes: float


def rounds_of_parts(table: ImageTable, parts: Mapping[str, str], counted: np.ndarray) -> list[Round]:
    """The one round of a split; rows that do not count are predicted beside their part, and never trained on.

    Parameters
    ----------
    parts : mapping
        ``train``, ``validation``, ``test`` (or nothing) of each participant.
    counted : ndarray of bool, shape (n,)
        Rows of the kind that is trained on.
    """
    part_of = np.array([parts.get(person, "") for person in table.participants])
    rows = {name: tuple(np.flatnonzero((part_of == name) & counted).tolist()) for name in ("train", VALIDATION, TEST)}
    beside = {name: tuple(np.flatnonzero((part_of == name) & ~counted).tolist()) for name in (VALIDATION, TEST)}
    return [Round(rows["train"], rows[VALIDATION], rows[TEST], beside)]


def rounds_of_folds(table: ImageTable, folds: int, seed: int, counted: np.ndarray) -> list[Round]:
    """A round a fold: everybody who counts is held out once, a tenth of those in training picks the epoch; others are predicted by all."""
    known = np.flatnonzero(counted)
    assigned = participant_folds([table.participants[row] for row in known], folds, seed=seed, ages=table.ages[known])
    beside = {TEST: tuple(np.flatnonzero(~counted).tolist())}
    rounds = []
    for fold in range(folds):
        train, validation = inner_split(table, known[assigned != fold], (seed, fold))
        rounds.append(Round(tuple(train.tolist()), tuple(validation.tolist()), tuple(known[assigned == fold].tolist()), beside))
    return rounds


def run_cell(cell: Cell, rounds: Sequence[Round], seeds: Sequence[int], *, retrain: bool = False, told: Callable | None = None) -> Outcome:
    """Train one way with several seeds; the epoch is chosen on the validation part, never on the test part.

    Parameters
    ----------
    cell : Cell
    rounds : sequence of Round
        One of a split, or one a fold.
    seeds : sequence of int
    retrain : bool
        Train again on the people of training and validation for the number of epochs that was best, and test that network too (P2).
    told : callable, optional
        Told after each epoch the name of the run and the line of its history.
    """
    cohort = Cohort(cell.cache, cell.table.ages)
    said: dict[tuple[str, bool], list[dict[int, list[float]]]] = {}
    maes, epochs, seconds = np.empty((len(seeds), len(rounds))), np.empty((len(seeds), len(rounds))), 0.0
    for run, seed in enumerate(seeds):
        for number, rows in enumerate(rounds):
            fold = f", fold {number + 1} of {len(rounds)}" if len(rounds) > 1 else ""
            named = None if told is None else _named(told, f"{cell.model}, {cell.start}, run {run + 1} of {len(seeds)}{fold}")
            trained = train_one(cell.setup, cohort, rows.train, rows.validation, seed, named)
            seconds += trained.fitted.seconds
            maes[run, number], epochs[run, number] = trained.fitted.score, trained.fitted.best_epoch
            parts = [(TEST, True, rows.test), (TEST, False, rows.beside.get(TEST, ()))]
            if len(rounds) == 1:
                parts += [(VALIDATION, True, rows.validation), (VALIDATION, False, rows.beside.get(VALIDATION, ()))]
            _say(said, run, parts, trained.model.net, cell.setup, cohort)
            if retrain:
                net, more = _again(cell.setup, cohort, rows, seed, trained.fitted.best_epoch)
                seconds += more
                _say(said, run, [(RETRAINED, *rest) for name, *rest in parts if name == TEST], net, cell.setup, cohort)
    scored = {key: _scored(cell.table, by_run) for key, by_run in said.items()}
    guess_of = {row: float(cell.table.ages[list(rows.train)].mean()) for rows in rounds for row in rows.test}
    people, row_of = np.unique([cell.table.participants[row] for row in guess_of], return_inverse=True)
    guesses = np.bincount(row_of, list(guess_of.values())) / np.bincount(row_of)
    split = ({name: one for (name, counts), one in scored.items() if counts is wanted} for wanted in (True, False))
    return Outcome(cell, *split, guesses, maes.mean(axis=1), tuple(epochs.mean(axis=1).tolist()), seconds / 60)


def _say(said: dict, run: int, parts: Sequence[tuple[str, bool, Sequence[int]]], net, setup: Setup, cohort: Cohort) -> None:
    """Add what a network says of some rows to what those of the run said."""
    for name, counts, rows in parts:
        if len(rows):
            by_run = said.setdefault((name, counts), [])
            if len(by_run) == run:
                by_run.append({})
            for row, value in zip(rows, predict(net, cohort, list(rows), device=setup.device, batch=setup.recipe.batch)):
                by_run[run].setdefault(row, []).append(float(value))


def _scored(table: ImageTable, by_run: Sequence[Mapping[int, Sequence[float]]]) -> Scored:
    """Means over folds and sessions of each person."""
    rows = sorted(by_run[0])
    people, row_of = np.unique([table.participants[row] for row in rows], return_inverse=True)
    count = np.bincount(row_of)
    predictions = np.array([np.bincount(row_of, [np.mean(values[row]) for row in rows]) / count for values in by_run])
    return Scored(tuple(map(str, people)), np.bincount(row_of, table.ages[rows]) / count, predictions)


def _again(setup: Setup, cohort: Cohort, rows: Round, seed: int, epochs: int):
    """The network after so many epochs on training and validation together, and the seconds; nothing is chosen any more."""
    torch.manual_seed(seed)
    both, model = [*rows.train, *rows.validation], setup.make()
    net = model.net
    net.head.start_at(float(cohort.ages[both].mean()))
    if setup.init is not None:
        start_from(net, setup.init, model)
    last: dict[str, np.ndarray] = {}
    recipe = replace(setup.recipe, epochs=epochs, patience=epochs)
    how = {"seed": seed, "freeze": setup.freeze, "device": setup.device, "told": lambda line: last.update(state_arrays(net))}
    fitted = fit(net, cohort, both, list(rows.validation), recipe, **how)
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
        test = one.parts[TEST]
        guess = np.abs(one.guesses - test.ages)
        row = {
            "model": one.cell.model,
            "start": one.cell.start,
            "frozen": one.cell.setup.freeze,
            "runs": len(test.maes),
            "validation_mae": float(one.validation_mae.mean()),
            "validation_mae_sd": _sd(one.validation_mae),
            **_tested(one, scratch.get(one.cell.model), TEST, "test", "", seed),
            "r": error_metrics(test.ages, test.predictions.mean(axis=0)).r,
            "n_test": len(test.ages),
            "guess_mae": float(guess.mean()),
            "p_guess": sign_flip_test(test.sizes, guess, seed=seed).p,
            **(_tested(one, scratch.get(one.cell.model), RETRAINED, "retrained", "_retrained", seed) if RETRAINED in one.parts else {}),
            "best_epoch": float(np.mean(one.best_epochs)),
            "minutes": one.minutes,
        }
        rows.append({name: _rounded(value) for name, value in row.items()})
    return rows


def _tested(one: Outcome, beside: Outcome | None, part: str, name: str, ending: str, seed: int) -> dict[str, float | None]:
    """Errors of a part, and the paired test against the same kind from random weights."""
    scored = one.parts[part]
    low, high = bootstrap_intervals(np.zeros_like(scored.sizes), scored.sizes, seed=seed)["mae"]
    own = beside is not None and beside is not one
    test = sign_flip_test(scored.sizes, beside.parts[part].sizes, seed=seed) if own else None
    return {
        f"{name}_mae": float(scored.maes.mean()),
        f"{name}_mae_sd": _sd(scored.maes),
        f"{name}_mae_low": low,
        f"{name}_mae_high": high,
        f"difference{ending}": None if test is None else test.difference,
        f"p_scratch{ending}": None if test is None else test.p,
    }


def _sd(values: np.ndarray) -> float | None:
    return float(np.std(values, ddof=1)) if len(values) > 1 else None


def _rounded(value: object) -> object:
    if isinstance(value, float):
        return round(value, 4) if np.isfinite(value) else None
    return value
