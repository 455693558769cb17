"""ComBat between sites, fitted on reference rows by neuroHarmonize and applied to any rows of the same sites.

A site that was not among the reference rows is refused, or left empty and flagged; its values are never passed on as if they were
harmonised. The transformation is done here, because neuroHarmonize's own needs every site of the fit among the new rows.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from brainage_bids.cohort.fusion import fusion_matrix
from brainage_bids.records import BadConfiguration, UnusableInput
from brainage_bids.stats.rows import Columns, is_constant, labels, same_length

NOT_HARMONISED = "site_not_harmonised"
"""Flag of a row whose site was not among the reference rows."""

OUTSIDE = "covariate_outside_reference"
"""Flag of a row with a covariate outside the range of the reference rows, to which its kept effect is extrapolated."""

IMPUTED = "covariate_imputed"
"""Flag of a row that lacks a covariate; the mean of the reference rows stands in, so that its kept effect is that of the average."""

_FEWEST = 3


@dataclass(frozen=True)
class Harmonisation:
    """A ComBat model of some columns.

    Attributes
    ----------
    columns, sites, covariates : tuples of str
        What is harmonised, between which sites, keeping the effects of which covariates.
    mean, scale : tuples of float, one a column
        Grand mean and pooled s.d.
    effects : tuple of tuples, covariates × columns
        Kept effects of the covariates.
    shifts, spreads : tuples of tuples, sites × columns
        What is taken off and divided by, in units of the pooled s.d.
    counts : tuple of int
        Reference rows of each site.
    covariate_min, covariate_max : tuples of float
        Range of each covariate in the reference rows.
    covariate_mean : tuple of float
        Its mean there, which stands in for a missing value; empty in files of earlier versions: then nothing does.
    """

    columns: tuple[str, ...]
    sites: tuple[str, ...]
    covariates: tuple[str, ...]
    mean: tuple[float, ...]
    scale: tuple[float, ...]
    effects: tuple[tuple[float, ...], ...]
    shifts: tuple[tuple[float, ...], ...]
    spreads: tuple[tuple[float, ...], ...]
    counts: tuple[int, ...]
    covariate_min: tuple[float, ...]
    covariate_max: tuple[float, ...]
    covariate_mean: tuple[float, ...] = ()

    def transform(
        self, table: Columns, sites: Sequence[Any], *, unseen: Literal["refuse", "flag"] = "refuse"
    ) -> tuple[dict[str, np.ndarray], list[tuple[str, ...]]]:
        """Harmonise rows of the sites of the fit.

        Parameters
        ----------
        table : mapping of columns
            With the columns and covariates of the fit.
        sites : sequence, length n
        unseen : {"refuse", "flag"}
            What to do with rows of other sites (or none).

        Returns
        -------
        dict of str to ndarray, list of tuples of str
            Columns (NaN where a value is missing or the site is unseen), and the flags of each row: ``site_not_harmonised``,
            ``covariate_outside_reference``, ``covariate_imputed``.

        Raises
        ------
        UnusableInput
            If a site is unseen and `unseen` is "refuse".
        """
        if unseen not in ("refuse", "flag"):
            raise BadConfiguration(f"Rows of unseen sites are refused or flagged, not '{unseen}'.")
        names = labels(sites)
        new = sorted({"none" if name is None else name for name in names if name not in self.sites})
        if new and unseen == "refuse":
            raise UnusableInput(
                f"The harmonisation has not seen the site {', '.join(new)}; it was fitted on {', '.join(self.sites)}. "
                "Fit it with reference rows of that site, or leave it out."
            )
        values = _matrix(table, self.columns)
        same_length(table=values, sites=sites)
        given = _matrix(table, self.covariates)
        lacking = ~np.isfinite(given).all(axis=1)
        if self.covariate_mean:
            given = np.where(np.isfinite(given), given, np.asarray(self.covariate_mean))
        place = np.array([self.sites.index(name) if name in self.sites else -1 for name in names], dtype=int)
        kept = given @ np.asarray(self.effects).reshape(len(self.covariates), len(self.columns)) + np.asarray(self.mean)
        scored = (values - kept) / np.asarray(self.scale)
        moved = (scored - np.asarray(self.shifts)[place]) / np.asarray(self.spreads)[place]
        harmonised = np.where(place[:, None] >= 0, moved * np.asarray(self.scale) + kept, np.nan)
        outside = ((given < np.asarray(self.covariate_min)) | (given > np.asarray(self.covariate_max))).any(axis=1)
        seen = place >= 0
        imputed = lacking & bool(self.covariate_mean)
        flags = [
            (OUTSIDE,) * bool(far) + (IMPUTED,) * bool(guessed) if known else (NOT_HARMONISED,)
            for known, far, guessed in zip(seen, outside, imputed)
        ]
        return {name: harmonised[:, number] for number, name in enumerate(self.columns)}, flags


def fit_harmonisation(
    table: Columns, sites: Sequence[Any], columns: Sequence[str], covariates: Sequence[str] = ("age",), *, pool: bool = True
) -> Harmonisation:
    """Fit ComBat on reference rows.

    Parameters
    ----------
    table : mapping of columns
        Features or gaps to harmonise, and covariates as numbers (age, age²) or sex as F and M. Rows that lack anything are left out.
    sites : sequence, length n
    columns, covariates : sequences of str
        Covariates' effects are kept. If what is harmonised is the age's own prediction, keep age among them.
    pool : bool
        Empirical Bayes over columns; never for one column.

    Returns
    -------
    Harmonisation

    Raises
    ------
    UnusableInput
        If there are fewer than two sites, a site has fewer than three complete rows, or a column is constant or follows from others.
    """
    names = labels(sites)
    values, given = _matrix(table, columns), _matrix(table, covariates)
    same_length(table=values, sites=sites)
    complete = np.isfinite(values).all(axis=1) & np.isfinite(given).all(axis=1) & np.array([name is not None for name in names], dtype=bool)
    values, given, names = values[complete], given[complete], names[complete].astype(str)
    found, counts = np.unique(names, return_counts=True)
    _check(values, given, names, found, counts, columns, covariates)
    model = _learn(values, given, names, covariates, pool and len(columns) > 1)
    return Harmonisation(
        columns=tuple(columns), sites=tuple(found.tolist()), covariates=tuple(covariates),
        mean=_tuple(model["stand_mean"][:, 0]), scale=_tuple(np.sqrt(np.ravel(model["var_pooled"]))),
        effects=_nested(model["B_hat"][len(found) :]), shifts=_nested(np.asarray(model["gamma_star"])),
        spreads=_nested(np.sqrt(np.asarray(model["delta_star"]))), counts=tuple(counts.tolist()),
        covariate_min=_tuple(given.min(axis=0)), covariate_max=_tuple(given.max(axis=0)), covariate_mean=_tuple(given.mean(axis=0)),
    )  # fmt: skip


def _learn(values: np.ndarray, given: np.ndarray, names: np.ndarray, covariates: Sequence[str], pool: bool) -> dict[str, Any]:
    import pandas as pd
    from neuroHarmonize import harmonizationLearn

    frame = pd.DataFrame({"SITE": names} | {name: given[:, place] for place, name in enumerate(covariates)})
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():  # it prints what it does
        warnings.simplefilter("ignore", PendingDeprecationWarning)
        model, _ = harmonizationLearn(values, frame, eb=pool, seed=0)
    return model


def _check(values, given, names, found, counts, columns: Sequence[str], covariates: Sequence[str]) -> None:
    if found.size < 2:
        raise UnusableInput(f"Harmonisation needs complete rows of two sites; there are {found.size}.")
    if counts.min() < _FEWEST:
        few = found[counts.argmin()]
        raise UnusableInput(f"The site {few} has {counts.min()} complete reference rows; harmonisation needs {_FEWEST} a site.")
    for place, name in enumerate(columns):
        if any(is_constant(values[names == site, place]) for site in found):
            raise UnusableInput(f"The column '{name}' is constant at a site and cannot be harmonised; leave it out.")
    design = np.column_stack([*(names == site for site in found), given]).astype(float)
    design /= np.maximum(np.sqrt((design**2).sum(axis=0)), 1e-300)
    if np.linalg.matrix_rank(design, tol=1e-8) < design.shape[1] or len(values) <= design.shape[1]:
        raise UnusableInput(f"The sites and the covariates ({', '.join(covariates)}) cannot be told apart in {len(values)} complete rows.")


def _matrix(table: Columns, names: Sequence[str]) -> np.ndarray:
    if not names:
        return np.empty((len(next(iter(table[name] for name in table))), 0))
    return fusion_matrix(table, names)


def _tuple(values: np.ndarray) -> tuple[float, ...]:
    return tuple(float(value) for value in np.ravel(values))


def _nested(values: np.ndarray) -> tuple[tuple[float, ...], ...]:
    return tuple(_tuple(line) for line in np.asarray(values))
