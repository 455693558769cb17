"""Mediation: how much of the way from an exposure to an outcome leads through a mediator.

M = i₂ + aX + ζC and Y = i₃ + c′X + bM + ζC (+ dXM). ACME = ab is the part through the mediator, ADE = c′ the rest, total = c′ + ab. With
the product XM the effects are those of a small step of X at its mean: ACME = a(b + dx̄), ADE = c′ + dm̄.

That the exposure comes before the mediator and the mediator before the outcome, and that nothing unmeasured acts on mediator and
outcome, is assumed and never tested here. ``rho`` says how strongly the errors of M and Y would have to correlate for the ACME to be 0
(Imai, Keele and Tingley 2010): a small one means a fragile finding.

BCa intervals of a product are liberal in small samples (Fritz, Taylor and MacKinnon 2012, doi:10.1080/00273171.2012.640596), so the ACME
counts as found only if both its ways are: its p is the larger of that of the bootstrap and those of the t-tests of a and b (the test of
joint significance, MacKinnon et al. 2002, doi:10.1037/1082-989X.7.1.83), and its interval reaches to 0 where that test does not reject.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from brainage_bids.records import UnusableInput
from brainage_bids.stats.associations import correlation
from brainage_bids.stats.bootstrap import acceleration, bca_interval
from brainage_bids.stats.corrections import correct
from brainage_bids.stats.least_squares import Covariates, least_squares
from brainage_bids.stats.people import person_weights
from brainage_bids.stats.rows import Row, is_constant, numbers, same_length, tidy

EFFECTS = ("acme", "ade", "total")
_ASSUMPTIONS = (
    "exposure before mediator before outcome; nothing unmeasured acts on mediator and outcome; linear effects; independent people"
)
_LARGEST_LEAVE_ONE_OUT = 500
_BLOCKS = 100
_MOMENTS_AT_ONCE = 4_000_000


@dataclass(frozen=True)
class Mediation:
    """Effects of one mediation, with bias-corrected and accelerated intervals.

    Attributes
    ----------
    estimate, low, high, p : dict of str to float
        By effect: ``acme``, ``ade``, ``total``. The p-value is the level at which the interval would touch 0 (see the top of the file).
    rho : float
        Correlation of the errors at which the ACME is 0.
    a, b : float
        Exposure → mediator, mediator → outcome.
    n : int
        People.
    """

    estimate: dict[str, float]
    low: dict[str, float]
    high: dict[str, float]
    p: dict[str, float]
    rho: float
    a: float
    b: float
    n: int


def mediate(
    exposure: np.ndarray, mediator: np.ndarray, outcome: np.ndarray, covariates: np.ndarray | None = None, *,
    interaction: bool = False, level: float = 0.95, n_resamples: int = 1000, seed: int = 0,
) -> Mediation:  # fmt: skip
    """Mediation of continuous variables by least squares, with BCa bootstrap over people.

    Every draw is solved from its cross-products, all draws at once. z₀ = Φ⁻¹(#{θ* < θ̂}/B); the acceleration comes from leaving
    out one person at a time, for more than 500 people one of 100 blocks of them.

    Parameters
    ----------
    exposure, mediator, outcome : ndarray, shape (n,)
        One row a person, nothing missing; none constant. Predicted ages must be out of fold.
    covariates : ndarray, shape (n, q), optional
        In both equations.
    interaction : bool
        Add the product of exposure and mediator to the outcome's equation.
    level, n_resamples, seed
        Of the intervals; 1,000 draws at least.

    Returns
    -------
    Mediation

    Raises
    ------
    UnusableInput
        If a column is constant, one follows from others, or there are too few people.

    Examples
    --------
    >>> x = np.arange(40.0)
    >>> wave = np.sin(x)
    >>> found = mediate(x, 2 * x + 5 * wave, 3 * (2 * x + 5 * wave) + x + np.cos(3 * x))
    >>> round(found.estimate["acme"], 1), round(found.estimate["ade"], 1)
    (6.0, 1.0)
    """
    if n_resamples < 1000:
        raise UnusableInput(f"Intervals of a mediation need 1000 draws at least, not {n_resamples}.")
    columns, scale = _columns(exposure, mediator, outcome, covariates, interaction)
    n = len(columns)
    size = columns.shape[1]
    upper = np.triu_indices(size)
    products = columns[:, upper[0]] * columns[:, upper[1]]
    whole = products.sum(axis=0)
    point = _effects(whole[None], size, interaction, scale)[0]
    names = np.arange(n).astype(str)
    draws = []
    for weights in person_weights(names, n_resamples, seed):
        for start in range(0, len(weights), max(1, _MOMENTS_AT_ONCE // n)):
            draws.append(_effects(weights[start : start + max(1, _MOMENTS_AT_ONCE // n)] @ products, size, interaction, scale))
    bootstrap = np.concatenate(draws)
    accelerations = acceleration(_effects(whole - _left_out(products, seed), size, interaction, scale))
    low, high, p = {}, {}, {}
    df = n - (size - 1)
    for number, name in enumerate(EFFECTS):
        low[name], high[name], p[name] = bca_interval(bootstrap[:, number], point[number], accelerations[number], level, people=n, df=df)
    joint = _both_ways(columns, interaction)
    p["acme"] = max(p["acme"], joint)
    if joint >= 1 - level:
        low["acme"], high["acme"] = min(low["acme"], 0.0), max(high["acme"], 0.0)
    rho = _error_correlation(columns, interaction)
    estimate = {name: float(value) for name, value in zip(EFFECTS, point)}
    return Mediation(estimate, low, high, p, rho, float(point[3]), float(point[4]), n)


def mediation_rows(
    exposures: Mapping[str, Sequence[Any]], mediators: Mapping[str, Sequence[Any]], outcome: Sequence[Any], *, outcome_name: str = "age",
    covariates: Mapping[str, Sequence[Any]] | None = None, direction: str = "", screen: float | None = 0.05, interaction: bool = False,
    level: float = 0.95, n_resamples: int = 1000, seed: int = 0,
) -> list[Row]:  # fmt: skip
    """Mediations of every exposure through every mediator, in one direction.

    Parameters
    ----------
    exposures, mediators : mappings of columns
        Numbers, one row a person; each triple uses the rows that have all.
    outcome : sequence
        Such as the age (out-of-fold brain age, brain-age gap).
    covariates : mapping of name to sequence, optional
        In both equations.
    direction : str
        Names the family; made from the outcome's name by default.
    screen : float, optional
        Exposures whose linear association with the outcome (given the covariates) has a p not below it are not mediated; their row
        says so. None mediates all. Mediators are never screened.

    Returns
    -------
    list of Row
        ``exposure, mediator, outcome, direction``; ``acme, acme_low, acme_high, acme_p`` and so for ``ade`` and ``total``;
        ``rho``; ``acme_p_corrected`` by Benjamini and Hochberg over the direction; ``mediation`` by it: none (1 − level or more), else full
        (the ADE's interval holds 0; it is not corrected, as that would name more of them full) or partial.
    """
    covariates = covariates or {}
    direction = direction or f"exposure -> mediator -> {outcome_name}"
    same_length(
        **{f"exposure {name}": exposures[name] for name in exposures}, **{f"mediator {name}": mediators[name] for name in mediators}
    )
    same_length(exposure=next(iter(exposures.values()), outcome), outcome=outcome, **covariates)
    y = numbers(outcome, outcome_name)
    others = Covariates(covariates, y.size)
    rows = []
    for exposure in exposures:
        x = numbers(exposures[exposure], exposure)
        reason = "" if screen is None else _screened(x, y, others, (exposure, outcome_name), screen)
        for mediator in mediators:
            about = {"direction": direction, "exposure": exposure, "mediator": mediator, "outcome": outcome_name}
            triple = (x, numbers(mediators[mediator], mediator), y)
            rows.append(_mediation_row(about, triple, others, reason, interaction, level, n_resamples, seed))
    return [_named(row, 1 - level) for row in correct(rows, "bh", family=direction, p="acme_p")]


def correct_over_all(rows: Sequence[Row]) -> list[Row]:
    """Add Benjamini and Hochberg's correction over both directions as ``acme_p_corrected_all``, beside that within each."""
    both = correct(rows, "bh", family="all directions", p="acme_p", into="acme_p_corrected_all")
    return [{**new, "correction": f"{old['correction']}; {new['correction']}"} for old, new in zip(rows, both)]


def _columns(exposure, mediator, outcome, covariates, interaction: bool) -> tuple[np.ndarray, np.ndarray]:
    named = {"exposure": exposure, "mediator": mediator, "outcome": outcome}
    named = {name: np.asarray(values, dtype=float) for name, values in named.items()}
    others = np.empty((len(named["outcome"]), 0)) if covariates is None else np.asarray(covariates, dtype=float)
    others = others[:, [not is_constant(part) for part in others.T]]
    if not all(np.isfinite(values).all() for values in (*named.values(), others)):
        raise UnusableInput("A mediation needs complete rows.")
    for name, values in named.items():
        if is_constant(values):
            raise UnusableInput(f"The {name} is constant.")
    n, needed = len(others), others.shape[1] + 4 + interaction
    if n <= needed + 3:
        raise UnusableInput(f"A mediation of these columns needs more than {needed + 3} complete rows; there are {n}.")
    whole = np.column_stack([named["exposure"], named["mediator"], named["outcome"], others])
    spread = whole.std(axis=0)
    scaled = (whole - whole.mean(axis=0)) / spread
    x, m, y, rest = scaled[:, 0], scaled[:, 1], scaled[:, 2], scaled[:, 3:]
    product = [x * m] if interaction else []
    ordered = np.column_stack([np.ones(n), x, rest, m, *product, y])
    if np.linalg.matrix_rank(ordered[:, :-1], tol=1e-9 * math.sqrt(n)) < ordered.shape[1] - 1:
        raise UnusableInput("The mediator or a covariate follows from the other columns, so effects cannot be told apart.")
    return ordered, spread[:3]


def _effects(moments: np.ndarray, size: int, interaction: bool, scale: np.ndarray) -> np.ndarray:
    """ACME, ADE, total, a and b of every line of cross-products; shape (draws, 5)."""
    upper = np.triu_indices(size)
    full = np.empty((len(moments), size, size))
    full[:, upper[0], upper[1]] = moments
    full[:, upper[1], upper[0]] = moments
    m, y = (size - 3 if interaction else size - 2), size - 1
    of_m = _solve(full[:, :m, :m], full[:, :m, m])
    of_y = _solve(full[:, :y, :y], full[:, :y, y])
    a, b, direct = of_m[:, 1], of_y[:, m], of_y[:, 1]
    if interaction:
        total = full[:, 0, 0]
        b, direct = b + of_y[:, m + 1] * full[:, 0, 1] / total, direct + of_y[:, m + 1] * full[:, 0, m] / total
    x_sd, m_sd, y_sd = scale
    acme, ade = a * b * y_sd / x_sd, direct * y_sd / x_sd
    return np.column_stack([acme, ade, acme + ade, a * m_sd / x_sd, b * y_sd / m_sd])


def _solve(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Solve every system; NaN where a draw has one that cannot be solved."""
    size = left.shape[-1]
    diagonal = np.einsum("...ii->...i", left)
    sign, size_of = np.linalg.slogdet(left)
    well = (sign > 0) & (size_of > np.log(np.maximum(diagonal, 1e-300)).sum(axis=-1) + math.log(1e-12))  # Hadamard's ratio
    safe = np.where(well[:, None, None], left, np.eye(size))
    solved = np.linalg.solve(safe, right[..., None])[..., 0]
    return np.where(well[:, None], solved, np.nan)


def _left_out(products: np.ndarray, seed: int) -> np.ndarray:
    n = len(products)
    if n <= _LARGEST_LEAVE_ONE_OUT:
        return products
    block = np.random.default_rng((seed, 1)).permutation(n) % _BLOCKS
    sums = np.zeros((_BLOCKS, products.shape[1]))
    np.add.at(sums, block, products)
    return sums


def _error_correlation(columns: np.ndarray, interaction: bool) -> float:
    m = columns.shape[1] - (3 if interaction else 2)
    given = columns[:, :m]
    both = columns[:, [m, -1]]
    left = both - given @ np.linalg.lstsq(given, both, rcond=None)[0]
    norm = math.sqrt(float(np.prod(np.sum(left**2, axis=0))))
    return float(np.prod(left, axis=1).sum() / norm) if norm > 1e-12 else math.nan


def _both_ways(columns: np.ndarray, interaction: bool) -> float:
    """The larger p of the t-tests of a and of b (b at the exposure's mean)."""
    from scipy.special import stdtr

    m = columns.shape[1] - (3 if interaction else 2)
    found = []
    for design, outcome, place in ((columns[:, :m], columns[:, m], 1), (columns[:, :-1], columns[:, -1], m)):
        fit = least_squares(design, outcome)
        error = math.sqrt(fit.covariance[place, place])
        found.append(float(2 * stdtr(fit.df, -abs(fit.coefficients[place]) / error)) if error > 0 else 0.0)
    return max(found)


def _screened(x: np.ndarray, y: np.ndarray, others: Covariates, names: tuple[str, str], limit: float) -> str:
    exposure, outcome = names
    known = np.isfinite(x) & np.isfinite(y) & others.covered
    p = correlation(x[known], y[known], covariates=others.design(known))["p"] if known.sum() >= 4 else math.nan
    if not math.isfinite(p):
        return f"Not mediated: the association of {exposure} with {outcome} cannot be tested."
    return "" if p < limit else f"Not mediated: {exposure} is not associated with {outcome} (p = {p:.3g})."


def _mediation_row(
    about: dict[str, str],
    triple: tuple[np.ndarray, ...],
    others: Covariates,
    reason: str,
    interaction: bool,
    level: float,
    n_resamples: int,
    seed: int,
) -> Row:
    x, m, y = triple
    complete = np.isfinite(x) & np.isfinite(m) & np.isfinite(y) & others.covered
    n = int(complete.sum())
    assumptions = _ASSUMPTIONS + others.lacking(np.isfinite(x) & np.isfinite(m) & np.isfinite(y))
    product = " with exposure x mediator" if interaction else ""
    blocks = f", jackknife of {_BLOCKS} blocks" if n > _LARGEST_LEAVE_ONE_OUT else ""
    method = f"mediation by least squares{product}; expanded BCa bootstrap over people, {n_resamples} draws{blocks}; t-tests of both ways"
    empty = dict.fromkeys([f"{name}{part}" for name in EFFECTS for part in ("", "_low", "_high", "_p")] + ["a", "b", "rho", "mediation"])
    if reason:
        return tidy(method, n, assumptions, note=reason, **about, **empty)
    try:
        settings = {"interaction": interaction, "level": level, "n_resamples": n_resamples, "seed": seed}
        found = mediate(x[complete], m[complete], y[complete], others.design(complete), **settings)
    except UnusableInput as error:
        return tidy(method, n, assumptions, note=str(error), **about, **empty)
    values: dict[str, Any] = {}
    for name in EFFECTS:
        values |= {name: found.estimate[name], f"{name}_low": found.low[name], f"{name}_high": found.high[name], f"{name}_p": found.p[name]}
    return tidy(method, n, assumptions, **about, **values, a=found.a, b=found.b, rho=found.rho, mediation=None)


def _named(row: Row, alpha: float) -> Row:
    """The row with its mediation named by the corrected p."""
    if row["acme_p_corrected"] is None:
        return row
    direct, found = row["ade_low"] > 0 or row["ade_high"] < 0, row["acme_p_corrected"] < alpha
    kind = ("partial" if direct else "full") if found else "none"
    said = f"p = {row['acme_p']:.3g} alone, not below {alpha:.2g} once corrected." if not found and row["acme_p"] < alpha else ""
    if kind == "partial" and row["acme"] * row["ade"] < 0:
        said = "The two ways have opposite signs (suppression)."
    return {**row, "mediation": kind, "note": " ".join(filter(None, (row["note"], said)))}
