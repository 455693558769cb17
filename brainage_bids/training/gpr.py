"""Training of models of kind ``gpr``: every choice by an inner cross-validation, principal components by Gram matrices.

The scores of people on principal components follow from the inner products of their maps alone (the dual form of principal
component analysis), so a fold costs an eigenvalue problem as large as the number of people, however many voxels there are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from brainage_bids.models.features import CELL_MM
from brainage_bids.models.gpr import GprModel, correlation, project
from brainage_bids.models.regressor import Kernel, Regressor, Spread, fit_regressor, rbf_kernel, squared_distances
from brainage_bids.stats.folds import participant_folds
from brainage_bids.training.collect import TrainingData

Features = Literal["maps", "volumes", "both"]
MASK_THRESHOLD = 0.1
"""Cells are looked at where the training people's mean of grey + white matter is above it."""
LARGEST_RBF = 600
"""A process with an RBF kernel keeps an n × n matrix; with more sessions it is not tried."""
_COLUMNS_AT_ONCE = 8192
_RANK_TOLERANCE = 1e-9


@dataclass(frozen=True)
class Grid:
    """What is tried.

    Attributes
    ----------
    features : tuple of {"volumes", "maps", "both"}
    n_components : tuple of int
        How many principal components; a number above what the data have means all of them.
    kernels : tuple of (kernel, float)
        The number is the length scale in median distances between training people; the linear kernel has none.
    alphas : tuple of float
        Noise variance over signal variance, strongest regularisation first, so that it wins a draw. Features are scaled so
        that the squares of a person's scores, and those of their ratios, sum to 1 on average.
    inner_folds, inner_repeats : int
        Of the cross-validation that chooses.
    """

    features: tuple[Features, ...] = ("volumes", "maps", "both")
    n_components: tuple[int, ...] = (3, 10, 30)
    kernels: tuple[tuple[Kernel, float], ...] = (("linear", 1.0), ("rbf", 1.0), ("rbf", 2.0))
    alphas: tuple[float, ...] = (100.0, 30.0, 10.0, 3.0, 1.0, 0.3, 0.1)
    inner_folds: int = 10
    inner_repeats: int = 2


@dataclass(frozen=True)
class Candidate:
    """One combination of a `Grid`; ``n_components`` is 0 without maps."""

    features: Features
    n_components: int
    kernel: Kernel
    length_factor: float
    alpha: float


@dataclass(frozen=True)
class Choice:
    """The best candidate, its spread, and its errors on people held out within the training people (years)."""

    candidate: Candidate
    spread: Spread
    inner_mae: float
    inner_rmse: float


@dataclass(frozen=True)
class Prepared:
    """Inner products and ratios of all sessions, seen from some of them.

    Attributes
    ----------
    gram : ndarray, shape (n, n), float64
        Inner products of maps within the mask, around the mean of the training rows.
    ratios : ndarray, shape (n, m), float64
    mask : ndarray of bool
        Cells looked at.
    """

    gram: np.ndarray
    ratios: np.ndarray
    mask: np.ndarray


def brain_cells(data: TrainingData, rows: np.ndarray) -> np.ndarray:
    """Cells in which the sum of the maps, averaged over these sessions, is above `MASK_THRESHOLD`."""
    return sum(cells[rows].mean(axis=0, dtype=np.float64) for cells in data.cells.values()) > MASK_THRESHOLD


def prepare(data: TrainingData, rows: np.ndarray) -> Prepared:
    """Mask and centre by the sessions in `rows` alone, and take the inner products of all.

    Parameters
    ----------
    data : TrainingData
    rows : ndarray of int
        Training rows; the others take no part in mask or centre.
    """
    mask = brain_cells(data, rows)
    values = _masked(data, mask)
    n = len(values)
    gram = np.zeros((n, n))
    for start in range(0, values.shape[1], _COLUMNS_AT_ONCE):
        block = values[:, start : start + _COLUMNS_AT_ONCE].astype(np.float64)
        block -= block[rows].mean(axis=0)
        gram += block @ block.T
    return Prepared(gram, data.ratio_values(), mask)


def dual_scores(gram: np.ndarray, train: np.ndarray, test: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scores on all principal components of the training rows.

    Parameters
    ----------
    gram : ndarray, shape (n, n)
        Inner products around any centre.
    train, test : ndarray of int
        Rows.

    Returns
    -------
    ndarray (len(train), k), ndarray (len(test), k)
        Largest component first, k the rank of the training rows; divided by one number so that the training scores have a
        mean square (summed over components) of 1.

    Notes
    -----
    With K the inner products of the training rows around their mean, K = UΛUᵀ: training scores are UΛ^½, those of others
    k U Λ^(−½), k their inner products with the training rows (Schölkopf, Smola and Müller 1998,
    doi:10.1162/089976698300017467, with a linear kernel).
    """
    inner = gram[np.ix_(train, train)]
    column_mean, grand_mean = inner.mean(axis=0), inner.mean()
    centred = inner - column_mean[None, :] - column_mean[:, None] + grand_mean
    cross = gram[np.ix_(test, train)]
    cross = cross - cross.mean(axis=1, keepdims=True) - column_mean[None, :] + grand_mean
    values, vectors = np.linalg.eigh(centred)
    values, vectors = values[::-1], vectors[:, ::-1]
    kept = values > _RANK_TOLERANCE * max(values[0], 0.0)
    roots = np.sqrt(values[kept])
    scale = np.sqrt(max(float(np.trace(centred)), 0.0) / len(train)) or 1.0
    return vectors[:, kept] * roots / scale, cross @ vectors[:, kept] / roots / scale


def standard_ratios(ratios: np.ndarray, train: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each ratio over the training rows; 1 for the latter where a ratio does not vary."""
    mean, sd = ratios[train].mean(axis=0), ratios[train].std(axis=0)
    return mean, np.where(sd > 1e-12 * np.maximum(np.abs(mean), 1e-300), sd, 1.0)


def designs(
    prepared: Prepared, train: np.ndarray, test: np.ndarray, wanted: Sequence[tuple[Features, int]]
) -> Iterator[tuple[Features, int, np.ndarray, np.ndarray]]:
    """Features of training and test rows for each combination of features and number of components.

    Yields
    ------
    features, n_components, ndarray (len(train), d), ndarray (len(test), d)
    """
    scores = dual_scores(prepared.gram, train, test) if any(kind != "volumes" for kind, _ in wanted) else None
    mean, sd = standard_ratios(prepared.ratios, train)
    standard = (prepared.ratios - mean) / sd / np.sqrt(max(1, prepared.ratios.shape[1]))
    for kind, count in wanted:
        blocks_train, blocks_test = [], []
        if kind != "volumes" and scores is not None:
            blocks_train.append(scores[0][:, :count])
            blocks_test.append(scores[1][:, :count])
        if kind != "maps":
            blocks_train.append(standard[train])
            blocks_test.append(standard[test])
        yield kind, count, np.hstack(blocks_train), np.hstack(blocks_test)


def wanted_designs(grid: Grid, n_ratios: int) -> list[tuple[Features, int]]:
    """Combinations of features and numbers of components; without ratios only maps, and without maps no components.

    >>> wanted_designs(Grid(n_components=(3,)), 8), wanted_designs(Grid(n_components=(3,)), 0)
    ([('volumes', 0), ('maps', 3), ('both', 3)], [('maps', 3)])
    """
    wanted: list[tuple[Features, int]] = []
    for kind in grid.features:
        if kind == "maps" or n_ratios:
            wanted += [(kind, count) for count in (grid.n_components if kind != "volumes" else (0,))]
    if not wanted:
        raise ValueError("There is nothing to train on: no maps are wanted and no volumes are there.")
    return wanted


def median_distance(features: np.ndarray) -> float:
    """Median distance between two rows; 1 if they are all alike."""
    pairs = np.triu_indices(len(features), k=1)
    return float(np.sqrt(np.median(squared_distances(features, features)[pairs]))) or 1.0


def try_alphas(
    train: np.ndarray, ages: np.ndarray, test: np.ndarray, kernel: Kernel, length_factor: float, alphas: Sequence[float]
) -> tuple[np.ndarray, np.ndarray]:
    """Predictions for many alphas by one eigenvalue problem.

    Returns
    -------
    ndarray, ndarray, shape (len(alphas), len(test))
        Mean and standard deviation of a process, as ``models.regressor`` computes them one by one.
    """
    intercept = ages.mean()
    centred = ages - intercept
    noise = np.asarray(alphas, dtype=float)[:, None]
    if kernel == "linear":
        values, vectors = np.linalg.eigh(train.T @ train)
        values = np.clip(values, 0.0, None)[None, :]
        target, seen = vectors.T @ (train.T @ centred), test @ vectors
        signal = (centred @ centred - (target**2 / (values + noise)).sum(axis=1)) / (noise[:, 0] * len(ages))
        unexplained = noise * ((seen**2)[None] / (values + noise)[:, None, :]).sum(axis=2)
    else:
        length = length_factor * median_distance(train)
        values, vectors = np.linalg.eigh(rbf_kernel(train, train, length))
        values = np.clip(values, 0.0, None)[None, :]
        target, seen = vectors.T @ centred, rbf_kernel(test, train, length) @ vectors
        signal = (target**2 / (values + noise)).sum(axis=1) / len(ages)
        unexplained = 1.0 - ((seen**2)[None] / (values + noise)[:, None, :]).sum(axis=2)
    means = intercept + (target / (values + noise)) @ seen.T
    return means, np.sqrt(np.clip(signal, 0.0, None)[:, None] * (np.clip(unexplained, 0.0, None) + noise))


def choose(prepared: Prepared, data: TrainingData, rows: np.ndarray, grid: Grid, seed: Sequence[int]) -> Choice:
    """Choose among all candidates by cross-validation within `rows`.

    The candidate with the least mean squared error on held-out people wins (squared rather than absolute, for with few
    people it wavers less); then the spread, the process's own or the constant error, under which their ages are likelier.

    Parameters
    ----------
    prepared : Prepared
        Made from the same rows.
    data : TrainingData
    rows : ndarray of int
        The training rows; no other row's age is looked at.
    grid : Grid
    seed : sequence of int
        Of the inner folds.
    """
    candidates, means, sds = _inner_predictions(prepared, data, rows, grid, seed)
    errors = means - data.ages[rows]
    squared = (errors**2).mean(axis=(1, 2))
    best = int(np.argmin(squared))
    error, sd = errors[best], sds[best]
    rmse = float(np.sqrt(squared[best]))
    process = -0.5 * np.mean((error / sd) ** 2 + 2 * np.log(sd)) if np.all(sd > 0) else -np.inf
    constant = -0.5 * (1.0 + 2 * np.log(rmse)) if rmse > 0 else np.inf
    return Choice(candidates[best], "process" if process >= constant else "residual", float(np.abs(error).mean()), rmse)


def _inner_predictions(
    prepared: Prepared, data: TrainingData, rows: np.ndarray, grid: Grid, seed: Sequence[int]
) -> tuple[list[Candidate], np.ndarray, np.ndarray]:
    """Held-out means and standard deviations, (candidates, repeats, rows)."""
    people = [data.participants[row] for row in rows]
    n_folds = min(grid.inner_folds, len(set(people)))
    wanted = wanted_designs(grid, prepared.ratios.shape[1])
    kernels = [kernel for kernel in grid.kernels if kernel[0] == "linear" or len(rows) <= LARGEST_RBF]
    parts = [(*design, *kernel, alpha) for design in wanted for kernel in kernels for alpha in grid.alphas]
    candidates = [Candidate(*part) for part in parts]
    means = np.empty((len(candidates), grid.inner_repeats, len(rows)))
    sds = np.empty_like(means)
    step = len(grid.alphas)
    for repeat in range(grid.inner_repeats):
        folds = participant_folds(people, n_folds, seed=(*seed, repeat), ages=data.ages[rows])
        for fold in range(n_folds):
            held = np.flatnonzero(folds == fold)
            train, test = rows[folds != fold], rows[held]
            position = 0
            for _, _, x_train, x_test in designs(prepared, train, test, wanted):
                for kernel, factor in kernels:
                    found = try_alphas(x_train, data.ages[train], x_test, kernel, factor, grid.alphas)
                    means[position : position + step, repeat, held], sds[position : position + step, repeat, held] = found
                    position += step
    return candidates, means, sds


def fit_choice(train: np.ndarray, ages: np.ndarray, choice: Choice) -> Regressor:
    """Fit the chosen regression on features (n, d) and ages (n,)."""
    candidate = choice.candidate
    length = candidate.length_factor * median_distance(train) if candidate.kernel == "rbf" else 1.0
    return fit_regressor(
        train,
        ages,
        kernel=candidate.kernel,
        alpha=candidate.alpha,
        length_scale=length,
        spread=choice.spread,
        residual_sd=choice.inner_rmse,
    )


def fit_predict(prepared: Prepared, ages: np.ndarray, train: np.ndarray, test: np.ndarray, choice: Choice) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation, (len(test),) each, of rows that took no part in `prepared`, `choice` or the fit."""
    wanted = [(choice.candidate.features, choice.candidate.n_components)]
    _, _, x_train, x_test = next(designs(prepared, train, test, wanted))
    return fit_choice(x_train, ages[train], choice).predict(x_test)


def fit_model(data: TrainingData, choice: Choice, *, dtype: type = np.float16) -> GprModel:
    """Fit the model that is shipped, on every session.

    Parameters
    ----------
    data : TrainingData
    choice : Choice
        From `choose` on all rows.
    dtype : type
        Of the stored components. The regression is fitted to scores on the components as they are stored, so that
        rounding them does not bias it.
    """
    rows = np.arange(len(data.ages))
    prepared = prepare(data, rows)
    values = _masked(data, prepared.mask).astype(np.float64)
    mean = values.mean(axis=0).astype(np.float32)
    centred = values - mean
    candidate = choice.candidate
    components, component_scale = _components(centred, prepared.gram, candidate.n_components, dtype)
    score_scale = float(np.sqrt(np.trace(prepared.gram) / len(rows))) or 1.0
    blocks = [project(centred, components, component_scale) / score_scale]
    ratios = data.ratios if candidate.features != "maps" else ()
    ratio_mean, ratio_sd = standard_ratios(prepared.ratios, rows) if ratios else (np.zeros(0), np.zeros(0))
    if ratios:
        blocks.append((prepared.ratios - ratio_mean) / ratio_sd / np.sqrt(len(ratios)))
    return GprModel(
        maps=tuple(data.cells),
        cell_mm=CELL_MM,
        mask=prepared.mask,
        mean=mean,
        components=components,
        component_scale=component_scale,
        score_scale=score_scale,
        ratios=ratios,
        ratio_mean=ratio_mean,
        ratio_sd=ratio_sd,
        regressor=fit_choice(np.hstack(blocks), data.ages, choice),
        similarity=_similarity_limits(data, values, mean),
    )


def _components(centred: np.ndarray, gram: np.ndarray, count: int, dtype: type) -> tuple[np.ndarray, np.ndarray]:
    """Unit components W = Λ^(−½) Uᵀ X, each divided by its largest entry and stored as `dtype`; and those entries."""
    values, vectors = np.linalg.eigh(gram)
    kept = np.flatnonzero(values > _RANK_TOLERANCE * values[-1])[::-1][:count]
    unit = (vectors[:, kept] / np.sqrt(values[kept])).T @ centred
    scale = np.abs(unit).max(axis=1) if len(unit) else np.zeros(0)
    return (unit / scale[:, None]).astype(dtype), scale


def _similarity_limits(data: TrainingData, values: np.ndarray, mean: np.ndarray) -> dict[str, float]:
    """For each map 1 − 2 max(1 − r), r the correlations of the training maps with their mean."""
    size = values.shape[1] // len(data.cells)
    limits = {}
    for index, key in enumerate(data.cells):
        part = slice(index * size, (index + 1) * size)
        lowest = min(correlation(row[part], mean[part]) for row in values)
        limits[key] = 1.0 - 2.0 * (1.0 - lowest)
    return limits


def _masked(data: TrainingData, mask: np.ndarray) -> np.ndarray:
    """Masked cells of all maps side by side, (n, maps × cells), float32."""
    return np.concatenate([cells[:, mask] for cells in data.cells.values()], axis=1)
