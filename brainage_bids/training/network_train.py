"""From packed images to a trained network with its errors on people it has not seen."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np

from brainage_bids.models.age_heads import Bins
from brainage_bids.models.arithmetic import exact
from brainage_bids.models.image_contract import InputContract
from brainage_bids.models.network import NetworkModel, make_network
from brainage_bids.models.preparation import Step
from brainage_bids.models.segmenter import SegmentModel
from brainage_bids.records import BadConfiguration, BadDataset
from brainage_bids.stats.folds import participant_folds
from brainage_bids.stats.metrics import Metrics, bootstrap_intervals, error_metrics
from brainage_bids.stats.permutation import SignFlip, sign_flip_test
from brainage_bids.training.cache import Cache
from brainage_bids.training.forward import Cohort, predict
from brainage_bids.training.images import ImageTable
from brainage_bids.training.loop import Fitted, fit
from brainage_bids.training.objective import Recipe
from brainage_bids.training.processes import ALONE, Team
from brainage_bids.training.split_file import count_parts
from brainage_bids.training.transfer import start_from

LEVEL = 0.95
LEAST_SD = 0.1
"""Years; a network that hits all its validation people is not believed to be exact."""


@dataclass(frozen=True)
class Setup:
    """How networks of a run are made and trained.

    Attributes
    ----------
    kind : str
    inputs : tuple of InputContract
        What the images that are there are, one a channel.
    steps : tuple of Step
        What is done to each before the network sees it.
    recipe : Recipe
    architecture : mapping
        Arguments of the network that are not the default ones.
    init : NetworkModel, SegmentModel or None
        Where to start.
    freeze : str
        Of ``transfer.FREEZE``.
    device : str
    work : Path or None
        Folder of checkpoints.
    team : Team
        The processes that train together.
    """

    kind: str
    inputs: tuple[InputContract, ...]
    steps: tuple[Step, ...]
    recipe: Recipe
    architecture: Mapping[str, Any] = field(default_factory=dict)
    init: NetworkModel | SegmentModel | None = None
    freeze: str = "none"
    device: str = "cpu"
    work: Path | None = None
    team: Team = ALONE

    def make(self) -> NetworkModel:
        """The network with random weights; BadConfiguration if it does not fit the images."""
        net, architecture = make_network(self.kind, self.inputs, self.steps, self.architecture)
        return NetworkModel(self.kind, architecture, net, self.inputs, self.steps)

    def try_network(self) -> None:
        """Make the network once, without memory, so that what does not fit is said before hours of packing.

        Raises
        ------
        BadConfiguration
            If it does not fit the images or the model it is to start from.
        """
        import torch

        with torch.device("meta"):
            model = self.make()
        if self.init is not None:
            start_from(model.net.to_empty(device="cpu"), self.init, model)


@dataclass(frozen=True)
class Trained:
    """One network; `model` has no spread yet.

    Attributes
    ----------
    model : NetworkModel
    fitted : Fitted
    seed : int
    validation_rmse : float
        Years.
    """

    model: NetworkModel
    fitted: Fitted
    seed: int
    validation_rmse: float


@dataclass(frozen=True)
class HeldOut:
    """Predictions for people held out; one entry a person, ages in years.

    Attributes
    ----------
    by : str
        How they were held out, in words.
    participants : tuple of str
        Sorted.
    ages, predictions, sds, guesses : ndarray, shape (people,)
        Means over sessions and repeats (of the variance, for ``sds``). A guess is the mean age of the people in training.
    metrics, intervals, test, coverage
        As in ``evaluate.CrossValidation``.
    by_run : tuple of float
        Mean absolute error of each run or repeat.
    features : ndarray or None, shape (people, d)
        What the head read, from networks that did not train on the person; None if they come from several networks.
    """

    by: str
    participants: tuple[str, ...]
    ages: np.ndarray
    predictions: np.ndarray
    sds: np.ndarray
    guesses: np.ndarray
    metrics: Metrics
    intervals: Mapping[str, tuple[float, float]]
    test: SignFlip
    coverage: float
    by_run: tuple[float, ...]
    features: np.ndarray | None = None


Told = Callable[[str, Mapping[str, float]], None]
"""Told after each epoch which network it is of, and the line of its history."""


def train_one(setup: Setup, cohort: Cohort, train: Sequence[int], validation: Sequence[int], seed: int, told=None) -> Trained:
    """Make a network from a seed and train it.

    Raises
    ------
    BadConfiguration
        If the network does not fit the images or the model it is to start from, or training fails; see ``loop.fit``.
    """
    import torch

    torch.manual_seed(seed)
    model = setup.make()
    model.net.head.start_at(float(cohort.ages[list(train)].mean()))
    if setup.init is not None:
        start_from(model.net, setup.init, model)
    how = {"freeze": setup.freeze, "device": setup.device, "work": setup.work, "team": setup.team}
    fitted = fit(model.net, cohort, train, validation, setup.recipe, seed=seed, told=told, **how)
    errors = _predicted(setup, model, cohort, np.asarray(validation)) - cohort.ages[list(validation)]
    return Trained(model, fitted, seed, max(LEAST_SD, float(np.sqrt(np.mean(errors**2)))))


def train_parts(
    setup: Setup, table: ImageTable, cache: Cache, parts: np.ndarray, *, seed: int, runs: int = 1, told: Told | None = None
) -> tuple[Trained, HeldOut]:
    """Train on one part, stop by the second, score the third; of several runs the one with the least validation error is kept.

    Parameters
    ----------
    setup, table, cache
    parts : ndarray of str, shape (n,)
        ``train``, ``validation``, ``test`` or ``""`` of each row.
    seed : int
        Of the first run; the next one has the next.
    runs : int

    Returns
    -------
    Trained, HeldOut
        The errors are those of the network that is kept; ``by_run`` those of all.
    """
    check_ages(table.ages)
    check_parts(table.participants, parts)
    rows = {name: np.flatnonzero(parts == name) for name in ("train", "validation", "test")}
    cohort = Cohort(cache, table.ages)
    trained = []
    for number in range(runs):
        name = f"run {number + 1} of {runs}"
        trained.append(train_one(setup, cohort, rows["train"], rows["validation"], seed + number, _named(told, name)))
    test = rows["test"]
    _, row_of = np.unique([table.participants[row] for row in test], return_inverse=True)
    sessions = np.bincount(row_of)
    predictions = [_predicted(setup, one.model, cohort, test) for one in trained]
    errors = [np.bincount(row_of, values - table.ages[test]) / sessions for values in predictions]
    best = int(np.argmin([one.fitted.score for one in trained]))
    counts = count_parts(table.participants, parts)
    numbers = ", ".join(f"{count} {name}" for name, count in counts.items())
    guesses = np.full(test.size, table.ages[rows["train"]].mean())
    sds = np.full(test.size, trained[best].validation_rmse)
    held_out = _summary(
        f"people of the test part ({numbers})",
        [table.participants[row] for row in test],
        table.ages[test],
        np.array([predictions[best]]),
        np.array([sds]),
        np.array([guesses]),
        seed,
        by_run=[np.mean(np.abs(of_people)) for of_people in errors],
        features=_features(setup, trained[best], cohort, test),
    )
    return trained[best], held_out


def train_folds(
    setup: Setup, table: ImageTable, cache: Cache, *, folds: int, repeats: int, seed: int, told: Told | None = None
) -> tuple[Trained, HeldOut]:
    """Cross-validate by person, then train the network that is kept on all people but a tenth that stops it.

    In every fold a tenth of the people in training (two at least) picks the epoch; those held out take no part in anything.

    Raises
    ------
    BadDataset
        If there are too few people for the folds.
    """
    check_ages(table.ages)
    check_folds(table.n_people, folds, repeats)
    cohort = Cohort(cache, table.ages)
    shape = (repeats, len(table.ages))
    predictions, sds, guesses = np.empty(shape), np.empty(shape), np.empty(shape)
    features = None
    for repeat in range(repeats):
        assigned = participant_folds(table.participants, folds, seed=(seed, repeat), ages=table.ages)
        for fold in range(folds):
            test = np.flatnonzero(assigned == fold)
            train, validation = inner_split(table, np.flatnonzero(assigned != fold), (seed, repeat, fold))
            name = f"repeat {repeat + 1} of {repeats}, fold {fold + 1} of {folds}"
            one = train_one(setup, cohort, train, validation, seed + repeat * folds + fold, _named(told, name))
            predictions[repeat, test] = _predicted(setup, one.model, cohort, test)
            sds[repeat, test], guesses[repeat, test] = one.validation_rmse, table.ages[np.r_[train, validation]].mean()
            if repeat == 0:
                found = _features(setup, one, cohort, test)
                features = np.empty((len(table.ages), found.shape[1])) if features is None else features
                features[test] = found
    times = "once" if repeats == 1 else f"{repeats} times, predictions of a person averaged"
    by = f"{folds}-fold cross-validation by person, {times}; a tenth of the people in training picks the epoch"
    held_out = _summary(by, table.participants, table.ages, predictions, sds, guesses, seed, features=features)
    train, validation = inner_split(table, np.arange(len(table.ages)), (seed, repeats, folds))
    return train_one(setup, cohort, train, validation, seed, _named(told, "all people")), held_out


def inner_split(table: ImageTable, rows: np.ndarray, seed: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Divide rows by person: nine tenths to train on, a tenth (two people at least) to pick the epoch; ages alike in both."""
    people = [table.participants[row] for row in rows]
    count = len(set(people))
    parts = min(10, max(2, count // 2))
    assigned = participant_folds(people, parts, seed=seed, ages=table.ages[rows])
    return rows[assigned != 0], rows[assigned == 0]


def check_ages(ages: np.ndarray) -> None:
    """Raise BadDataset if there is nothing to be learned: everybody of one age."""
    if len(ages) < 2 or not np.ptp(ages) > 0:
        raise BadDataset(f"All {len(ages)} sessions have the same age, so there is nothing to learn; check the phenotype table.")


def check_bins(ages: np.ndarray, architecture: Mapping[str, Any]) -> None:
    """Raise BadConfiguration if a network says bins of age and somebody is in none of them, so that nothing could be learned of them."""
    if not architecture.get("bins"):
        return
    bins = Bins(**architecture["bins"])
    high = bins.low + bins.width * bins.count
    outside = int(np.sum((ages < bins.low) | (ages > high)))
    if outside:
        who = f"{outside} of {len(ages)} sessions ({ages.min():.1f} to {ages.max():.1f} years)"
        advice = "give --bins LOW WIDTH COUNT that hold all, or leave these people out by --where"
        raise BadConfiguration(f"{who} lie outside the bins of {bins.low:g} to {high:g} years; {advice}.")


def check_folds(people: int, folds: int, repeats: int) -> None:
    """Raise BadDataset if there are too few people for the folds."""
    if not 2 <= folds <= people or people - -(-people // folds) < 4 or repeats < 1:
        least = "four people in training, one a fold and two folds are the least"
        raise BadDataset(f"{people} people cannot be cross-validated in {folds} folds: {least}.")


def check_parts(participants: Sequence[str], parts: Sequence[str]) -> None:
    """Raise BadDataset if nobody is in a part, or fewer than two people are there to be scored."""
    counts = count_parts(participants, parts)
    if min(counts.values()) < 1 or counts["test"] < 2:
        numbers = ", ".join(f"{count} {name}" for name, count in counts.items())
        raise BadDataset(f"The parts are too small ({numbers}): two people in test, one in each other part are the least; use --folds.")


def _predicted(setup: Setup, model: NetworkModel, cohort: Cohort, rows: np.ndarray) -> np.ndarray:
    return predict(model.net, cohort, rows.tolist(), device=setup.device, batch=setup.recipe.batch, team=setup.team)


def _features(setup: Setup, one: Trained, cohort: Cohort, rows: np.ndarray) -> np.ndarray:
    """What the head reads of packed images, (len(rows), d)."""
    import torch

    found = []
    with exact(), torch.inference_mode():
        for row in rows:
            image = cohort.images([row]).to(setup.device)
            found.append(one.model.net.features(image)[0].flatten().double().cpu().numpy())
    return np.array(found)


def _named(told: Told | None, name: str):
    return None if told is None else lambda line: told(name, line)


def _summary(by: str, participants, ages, predictions, sds, guesses, seed: int, *, by_run=None, features=None) -> HeldOut:
    """Means of (repeats, rows) over sessions and repeats, and what they say."""
    people, row_of = np.unique(np.asarray(participants), return_inverse=True)
    if people.size < 2:
        raise BadDataset("Errors need two people held out at least; give more people, or another split.")
    count = np.bincount(row_of)

    def of_people(values: np.ndarray) -> np.ndarray:
        return np.bincount(row_of, values) / count

    truth, guess = of_people(ages), of_people(guesses.mean(axis=0))
    predicted, spread = of_people(predictions.mean(axis=0)), np.sqrt(of_people((sds**2).mean(axis=0)))
    half = NormalDist().inv_cdf((1 + LEVEL) / 2) * spread
    runs = by_run if by_run is not None else [np.mean(np.abs(of_people(row) - truth)) for row in predictions]
    return HeldOut(
        by=by,
        participants=tuple(map(str, people)),
        ages=truth,
        predictions=predicted,
        sds=spread,
        guesses=guess,
        metrics=error_metrics(truth, predicted, guess),
        intervals=bootstrap_intervals(truth, predicted, guess, level=LEVEL, seed=seed),
        test=sign_flip_test(predicted - truth, guess - truth, seed=seed),
        coverage=float(np.mean(np.abs(predicted - truth) <= half)),
        by_run=tuple(map(float, runs)),
        features=None if features is None else np.array([of_people(column) for column in features.T]).T,
    )
