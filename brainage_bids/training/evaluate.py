"""How far a way of training errs on people it has not seen: nested, repeated cross-validation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from brainage_bids.records import BadDataset
from brainage_bids.stats.folds import repeated_folds
from brainage_bids.stats.metrics import Metrics, bootstrap_intervals, error_metrics
from brainage_bids.stats.permutation import SignFlip, sign_flip_test
from brainage_bids.training.collect import TrainingData
from brainage_bids.training.gpr import Choice, Grid, choose, fit_model, fit_predict, prepare

COVERAGE_LEVEL = 0.95


@dataclass(frozen=True)
class CrossValidation:
    """Held-out predictions and what they say; one entry a person unless said otherwise. Ages in years.

    Attributes
    ----------
    participants : tuple of str
        Sorted.
    ages, predictions, sds, guesses : ndarray, shape (people,)
        Means over the person's sessions and over repeats (of the variance, for ``sds``). A guess is the mean age of the
        people in training.
    by_repeat : ndarray, shape (repeats, people)
        Predictions of each repeat.
    metrics : Metrics
    intervals : mapping of str to (float, float)
        95 % bootstrap intervals over people, by the names of `Metrics`.
    test : SignFlip
        Errors of the model against those of the guess.
    coverage : float
        Share of people whose age lies in the Gaussian 95 % interval.
    choices : tuple of Choice
        One a fold and repeat.
    folds, repeats, seed : int
    grid : Grid
    """

    participants: tuple[str, ...]
    ages: np.ndarray
    predictions: np.ndarray
    sds: np.ndarray
    guesses: np.ndarray
    by_repeat: np.ndarray
    metrics: Metrics
    intervals: Mapping[str, tuple[float, float]]
    test: SignFlip
    coverage: float
    choices: tuple[Choice, ...]
    folds: int
    repeats: int
    seed: int
    grid: Grid

    @property
    def by(self) -> str:
        """How people were held out, in words."""
        times = "once" if self.repeats == 1 else f"{self.repeats} times, predictions of a person averaged"
        return f"nested {self.folds}-fold cross-validation by person, {times}"


def cross_validate(
    data: TrainingData,
    *,
    folds: int = 10,
    repeats: int = 5,
    seed: int = 1,
    grid: Grid | None = None,
    n_permutations: int = 999,
    n_resamples: int = 2000,
    progress: Callable[[int, int], None] | None = None,
) -> CrossValidation:
    """Estimate the errors of training on these data.

    In every fold the people held out take no part in anything: mask, centre, components, scaling, every choice of the grid
    (made in an inner cross-validation) and the fit see the others only, and so does the guess.

    Parameters
    ----------
    data : TrainingData
    folds, repeats, seed : int
        Folds are dealt anew in every repeat; folds are alike in age.
    grid : Grid, optional
        What is tried.
    n_permutations, n_resamples : int
        Of the test and of the intervals.
    progress : callable, optional
        Called after each fold with the number of folds done and of all.

    Raises
    ------
    BadDataset
        If there are fewer people than folds, or fewer than four.
    """
    grid = grid or Grid()
    if data.n_people < max(folds, 4) or folds < 2 or repeats < 1:
        people = f"{data.n_people} people cannot be cross-validated in {folds} folds, {repeats} times"
        raise BadDataset(f"{people}: four people, one a fold, two folds and one repeat are the least.")
    assigned = repeated_folds(data.participants, folds, repeats, seed=seed, ages=data.ages)
    shape = (repeats, len(data.ages))
    means, variances, guesses = np.empty(shape), np.empty(shape), np.empty(shape)
    choices: list[Choice] = []
    for repeat in range(repeats):
        for fold in range(folds):
            train, test = np.flatnonzero(assigned[repeat] != fold), np.flatnonzero(assigned[repeat] == fold)
            prepared = prepare(data, train)
            choice = choose(prepared, data, train, grid, (seed, repeat, fold))
            mean, sd = fit_predict(prepared, data.ages, train, test, choice)
            means[repeat, test], variances[repeat, test] = mean, sd**2
            guesses[repeat, test] = data.ages[train].mean()
            choices.append(choice)
            if progress:
                progress(len(choices), folds * repeats)
    return _summary(data, means, variances, guesses, choices, (folds, repeats, seed, grid), n_permutations, n_resamples)


def train_model(data: TrainingData, *, seed: int = 1, grid: Grid | None = None, dtype: type = np.float16):
    """Fit the model that is shipped: choices by cross-validation over all people, then the fit on all.

    Returns
    -------
    GprModel, Choice
    """
    rows = np.arange(len(data.ages))
    choice = choose(prepare(data, rows), data, rows, grid or Grid(), (seed,))
    return fit_model(data, choice, dtype=dtype), choice


def _summary(data, means, variances, guesses, choices, plan, n_permutations, n_resamples) -> CrossValidation:
    folds, repeats, seed, grid = plan
    people, row_of = np.unique(np.asarray(data.participants), return_inverse=True)

    def person_means(values: np.ndarray) -> np.ndarray:
        return np.bincount(row_of, values) / np.bincount(row_of)

    ages, predictions, guess = person_means(data.ages), person_means(means.mean(axis=0)), person_means(guesses.mean(axis=0))
    sds = np.sqrt(person_means(variances.mean(axis=0)))
    half = NormalDist().inv_cdf((1 + COVERAGE_LEVEL) / 2) * sds
    return CrossValidation(
        participants=tuple(map(str, people)),
        ages=ages,
        predictions=predictions,
        sds=sds,
        guesses=guess,
        by_repeat=np.array([person_means(row) for row in means]),
        metrics=error_metrics(ages, predictions, guess),
        intervals=bootstrap_intervals(ages, predictions, guess, n_resamples=n_resamples, seed=seed),
        test=sign_flip_test(predictions - ages, guess - ages, n_permutations=n_permutations, seed=seed),
        coverage=float(np.mean(np.abs(predictions - ages) <= half)),
        choices=tuple(choices),
        folds=folds,
        repeats=repeats,
        seed=seed,
        grid=grid,
    )
