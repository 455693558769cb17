"""A mixture of groups with a prior that differs from voxel to voxel, fitted by expectation and maximisation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

LEAST_DEVIATION = 0.01
"""Smallest standard deviation of a Gaussian, in the unit of the values (white matter is near 1)."""

LEAST_VOXELS = 50
"""A group with less evidence keeps its first guess."""


@dataclass(frozen=True)
class Column:
    """A group of the mixture.

    Attributes
    ----------
    tissue : str
        What its voxels are called.
    parts : int
        Number of Gaussians.
    between : tuple of (int, int, float), optional
        Not fitted: a mixed voxel of columns a and b with the share of b.
    """

    tissue: str
    parts: int = 1
    between: tuple[int, int, float] | None = None


@dataclass(frozen=True)
class Gaussians:
    """The intensities of a group: means, variances and weights of its Gaussians, (parts,) float32 each."""

    mean: np.ndarray
    variance: np.ndarray
    weight: np.ndarray


def fit(values: np.ndarray, prior: np.ndarray, columns: Sequence[Column], iterations: int) -> list[Gaussians]:
    """Gaussians of every group by EM.

    Parameters
    ----------
    values : ndarray, (N,) float32
        Intensities.
    prior : ndarray, (N, G) float32
        Probability of each group at each voxel before its intensity is seen.
    columns : sequence of G Column
        The groups.
    iterations : int
        Number of steps.

    Returns
    -------
    list of G Gaussians

    Examples
    --------
    >>> values = np.repeat(np.array([1.0, 3.0], dtype=np.float32), 500)
    >>> prior = np.tile(np.array([0.6, 0.4], dtype=np.float32), (1000, 1))
    >>> prior[:500], prior[500:] = (0.6, 0.4), (0.4, 0.6)
    >>> [round(float(g.mean[0]), 3) for g in fit(values, prior, [Column("a"), Column("b")], 20)]
    [1.0, 3.0]
    """
    order = np.argsort(values, kind="stable")
    model = [_first_guess(values[order], prior[order, g], column.parts) for g, column in enumerate(columns)]
    _mix(model, columns)
    for _ in range(iterations):
        weighted = prior * likelihood(values, model)
        posterior = normalised(weighted)
        for g, column in enumerate(columns):
            if column.between is None:
                model[g] = _maximised(values, posterior[:, g], model[g])
        _mix(model, columns)
    return model


def likelihood(values: np.ndarray, model: Sequence[Gaussians]) -> np.ndarray:
    """Density of the values under every group, (N, G) float32, plus a trace so that no voxel is impossible.

    Intensities are looked up in a table of 4096 steps: a voxel's density differs from the exact one by less than .1 %
    at the narrowest Gaussian that `fit` returns.
    """
    top = float(values.max()) if values.size else 1.0
    grid = np.linspace(0, top, 4096, dtype=np.float32)
    table = np.stack([_components(grid, g).sum(axis=1) for g in model], axis=1).astype(np.float32) + np.float32(1e-6)
    return table[np.rint(values * np.float32(4095 / max(top, 1e-12))).astype(np.int32).clip(0, 4095)]


def normalised(values: np.ndarray) -> np.ndarray:
    """Rows divided by their sums.

    >>> normalised(np.array([[1.0, 3.0]])).tolist()
    [[0.25, 0.75]]
    """
    return values / np.maximum(values.sum(axis=1, keepdims=True), 1e-20)


def weighted_median(values: np.ndarray, weight: np.ndarray) -> float:
    """The value below which half of the weight lies.

    Raises
    ------
    ValueError
        If the weights sum to zero.

    Examples
    --------
    >>> weighted_median(np.array([1.0, 2.0, 9.0]), np.array([1.0, 1.0, 3.0]))
    9.0
    """
    order = np.argsort(values, kind="stable")
    cumulative = np.cumsum(weight[order], dtype=np.float64)
    if cumulative.size == 0 or cumulative[-1] <= 0:
        raise ValueError("a weighted median needs some weight")
    return float(values[order][np.searchsorted(cumulative, cumulative[-1] / 2)])


def _components(values: np.ndarray, g: Gaussians) -> np.ndarray:
    """Weighted density of each Gaussian of a group, (N, parts)."""
    return g.weight / np.sqrt(2 * np.pi * g.variance) * np.exp(-0.5 * (values[:, None] - g.mean) ** 2 / g.variance)


def _first_guess(ascending: np.ndarray, prior: np.ndarray, parts: int) -> Gaussians:
    """Gaussians at weighted quantiles of the values, which come sorted; the prior squared favours sure places."""
    cumulative = np.cumsum(prior.astype(np.float64) ** 2)
    wanted = np.concatenate([np.arange(1, parts + 1) / (parts + 1), [0.16, 0.84]])
    if cumulative[-1] <= 0:
        cumulative = np.arange(1.0, len(ascending) + 1)
    found = ascending[np.searchsorted(cumulative, wanted * cumulative[-1]).clip(max=len(ascending) - 1)]
    spread = max(float(found[-1] - found[-2]) / 2, 2 * LEAST_DEVIATION) / parts
    return Gaussians(found[:-2], np.full(parts, spread**2, np.float32), np.full(parts, 1 / parts, np.float32))


def _maximised(values: np.ndarray, posterior: np.ndarray, old: Gaussians) -> Gaussians:
    """Means, variances and weights given the posterior of the group."""
    if posterior.sum() < LEAST_VOXELS:
        return old
    sure = posterior > 1e-3
    values, posterior = values[sure], posterior[sure]
    share = posterior[:, None]
    if len(old.mean) > 1:
        share = share * normalised(_components(values, old) + np.float32(1e-9))
    total = np.maximum(share.sum(axis=0), 1e-3)
    mean = (share * values[:, None]).sum(axis=0) / total
    variance = (share * (values[:, None] - mean) ** 2).sum(axis=0) / total
    return Gaussians(mean, np.maximum(variance, LEAST_DEVIATION**2), total / total.sum())


def _mix(model: list[Gaussians], columns: Sequence[Column]) -> None:
    """Set the Gaussians of the mixed columns from those they lie between."""
    for g, column in enumerate(columns):
        if column.between is not None:
            a, b, share = column.between
            mean = (1 - share) * model[a].mean[:1] + share * model[b].mean[:1]
            spread = (np.abs(model[a].mean[:1] - model[b].mean[:1]) / 8) ** 2
            variance = (1 - share) * model[a].variance[:1] + share * model[b].variance[:1]
            variance = np.maximum(np.minimum(variance, spread) + spread / 4, LEAST_DEVIATION**2)
            model[g] = Gaussians(mean, variance, np.ones(1, np.float32))
