"""How far a ``volumes`` model errs on people it has not seen: by person, by site, and with the errors of the transfer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from brainage_bids.models.card import Errors, GroupError
from brainage_bids.stats.folds import repeated_folds
from brainage_bids.stats.metrics import Metrics, bootstrap_intervals, error_metrics
from brainage_bids.stats.permutation import SignFlip, sign_flip_test
from brainage_bids.training.folder import measure
from brainage_bids.training.volumes import Candidate, Choice, choose, fit, site_folds
from brainage_bids.training.volumes_table import VolumeTable

LEVEL = 0.95


@dataclass(frozen=True)
class HeldOut:
    """Predictions for people held out; one entry a person in the table's order, ages in years.

    Attributes
    ----------
    by : str
        How they were held out, in words.
    ages, predictions, sds, guesses : ndarray, shape (n,)
        Means over repeats (of the variance, for ``sds``). A guess is the mean age of the people in training.
    metrics, intervals, test, coverage
        As in ``evaluate.CrossValidation``.
    choices : tuple of Choice
        One a fit.
    groups : tuple of GroupError
        By decade of age, by site and by sex.
    """

    by: str
    ages: np.ndarray
    predictions: np.ndarray
    sds: np.ndarray
    guesses: np.ndarray
    metrics: Metrics
    intervals: Mapping[str, tuple[float, float]]
    test: SignFlip
    coverage: float
    choices: tuple[Choice, ...]
    groups: tuple[GroupError, ...]

    def to_card(self) -> Errors:
        """For the model's card."""
        measures = {name: measure(getattr(self.metrics, name), self.intervals[name]) for name in self.intervals}
        return Errors(
            by=self.by,
            n=self.metrics.n,
            p_guess=self.test.p,
            permutations=self.test.n_permutations,
            coverage=self.coverage,
            coverage_level=LEVEL,
            groups=self.groups,
            **measures,
        )


def evaluate(
    table: VolumeTable,
    features: np.ndarray,
    errors: np.ndarray,
    *,
    folds: int = 10,
    repeats: int = 5,
    seed: int = 1,
    candidates: Sequence[Candidate] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[HeldOut, ...]:
    """Hold people out in three ways; every choice is made without them.

    By person with the volumes as the table has them, by site with the same volumes, and by site with one random error of the
    transfer's size in each feature of each person held out: the last is what the app does, as far as the label maps can tell.

    Parameters
    ----------
    table : VolumeTable
    features : ndarray, shape (n, d)
        Of the table.
    errors : ndarray, shape (d,)
        Of the transfer; see `volumes.fit`.
    folds, repeats, seed : int
        Of the cross-validation by person.
    candidates : sequence of Candidate, optional
        What is tried.
    progress : callable, optional
        Called after each fit with the number of fits done and of all.

    Returns
    -------
    tuple of HeldOut
    """
    by_person = repeated_folds(table.participants, folds, repeats, seed=seed, ages=table.ages)
    by_site = site_folds(table.participants, table.sites, table.ages, seed=seed)[None, :]
    noise = np.random.default_rng((seed, 1)).normal(size=features.shape) * errors
    total, done = folds * repeats + len(np.unique(by_site)), 0

    def told() -> None:
        nonlocal done
        done += 1
        if progress:
            progress(done, total)

    shared = {"seed": seed, "candidates": candidates, "told": told}
    times = "once" if repeats == 1 else f"{repeats} times, predictions of a person averaged"
    first, choices = _predict(table, features, [features], errors, by_person, **shared)
    second, site_choices = _predict(table, features, [features, features + noise], errors, by_site, **shared)
    return (
        _summary(f"nested {folds}-fold cross-validation by person, {times}", table, first[0], choices, seed),
        _summary("leaving one site out", table, second[0], site_choices, seed),
        _summary("leaving one site out, volumes with the errors of the transfer", table, second[1], site_choices, seed),
    )


def _predict(table, features, versions, errors, assigned, *, seed, candidates, told) -> tuple[list[np.ndarray], list[Choice]]:
    """For each version of the features of people held out: predictions, variances and guesses, shape (3, repeats, n)."""
    out = [np.empty((3, *assigned.shape)) for _ in versions]
    choices = []
    for repeat, folds in enumerate(assigned):
        for fold in np.unique(folds):
            test = folds == fold
            train = np.flatnonzero(~test)
            names, sites = ([values[row] for row in train] for values in (table.participants, table.sites))
            inner = site_folds(names, sites, table.ages[train], seed=seed)
            choice = choose(features[train], table.ages[train], inner, errors, seed=(seed, repeat, int(fold)), candidates=candidates)
            fitted = fit(features[train], table.ages[train], errors, choice.candidate)
            for values, version in zip(out, versions, strict=True):
                values[0, repeat, test] = fitted.predict(version[test])
                values[1, repeat, test] = choice.inner_rmse**2
                values[2, repeat, test] = table.ages[train].mean()
            choices.append(choice)
            told()
    return out, choices


def _summary(by: str, table: VolumeTable, values: np.ndarray, choices: Sequence[Choice], seed: int) -> HeldOut:
    ages = table.ages
    predictions, variances, guesses = values.mean(axis=1)
    sds = np.sqrt(variances)
    half = NormalDist().inv_cdf((1 + LEVEL) / 2) * sds
    return HeldOut(
        by=by,
        ages=ages,
        predictions=predictions,
        sds=sds,
        guesses=guesses,
        metrics=error_metrics(ages, predictions, guesses),
        intervals=bootstrap_intervals(ages, predictions, guesses, seed=seed),
        test=sign_flip_test(predictions - ages, guesses - ages, seed=seed),
        coverage=float(np.mean(np.abs(predictions - ages) <= half)),
        choices=tuple(choices),
        groups=tuple(_groups(table, predictions - ages)),
    )


def _groups(table: VolumeTable, errors: np.ndarray) -> list[GroupError]:
    """Errors by decade of age, by site and by sex."""
    decades = np.array([f"{int(age // 10) * 10}–{int(age // 10) * 10 + 9}" for age in table.ages])
    sites, sexes = (np.array([value or "not known" for value in values]) for values in (table.sites, table.sexes))
    found = []
    for by, names in (("decade", decades), ("site", sites), ("sex", sexes)):
        for name in np.unique(names):
            here = errors[names == name]
            found.append(GroupError(by, str(name), len(here), float(np.abs(here).mean()), float(here.mean())))
    return found
