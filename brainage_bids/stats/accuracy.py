"""Accuracy by age bin, site, sex and any other column, with intervals over people; two models compared.

Every number is computed from the prediction as the model gave it: nothing here takes an age corrected for bias (`metrics` says why).
People are drawn, not scans: someone with three visits enters or leaves a draw with all three.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from brainage_bids.records import BadConfiguration, UnusableInput
from brainage_bids.stats.metrics import error_metrics, pearson_r
from brainage_bids.stats.people import person_weights
from brainage_bids.stats.permutation import shuffle_test, sign_flip_test
from brainage_bids.stats.rows import Row, is_constant, labels, numbers, same_length, tidy

MEASURES = ("mae", "rmse", "r", "r2", "bias_slope", "mae_guess")
_ASSUMPTIONS = "independent people; predictions not corrected for age bias and not made from the person's own training row"
_FEWEST_FOR_INTERVAL = 3


def age_bins(ages: np.ndarray, width: float = 5.0) -> np.ndarray:
    """Edges of half-open bins [edge, next edge) at multiples of the width that hold all ages.

    >>> age_bins(np.array([21.0, 33.0, 35.0])).tolist()
    [20.0, 25.0, 30.0, 35.0, 40.0]
    """
    if not width > 0:
        raise BadConfiguration(f"Age bins need a width above 0, not {width}.")
    first, last = np.floor(np.nanmin(ages) / width), np.floor(np.nanmax(ages) / width) + 1
    return np.arange(first, last + 1) * width


def accuracy_rows(
    ages: Sequence[Any], predictions: Sequence[Any], participants: Sequence[str], *, by: Mapping[str, Sequence[Any]] | None = None,
    bin_width: float = 5.0, level: float = 0.95, n_resamples: int = 2000, seed: int = 0,
) -> list[Row]:  # fmt: skip
    """Errors of all rows, by age bin and by every other column, with percentile bootstrap intervals over people.

    Parameters
    ----------
    ages, predictions : sequences, length n
        Years; rows that lack one are left out and counted in the note.
    participants : sequence of str, length n
        Whose row it is.
    by : mapping of name to sequence, optional
        Further divisions (site, sex, study). Rows whose cell is missing belong to none of the parts.
    bin_width : float
        Of the age bins, in years; half-open [low, high).
    level, n_resamples, seed
        Of the bootstrap.

    Returns
    -------
    list of Row
        ``by``, ``stratum``, ``participants``, each measure of `metrics.Metrics` and ``…_low``, ``…_high``. The guess of
        ``mae_guess`` is the mean age of all rows, in every part.

    Raises
    ------
    UnusableInput
        If no row has both an age and a prediction, or the columns differ in length.

    Examples
    --------
    >>> rows = accuracy_rows([20.0, 30.0, 32.0], [22.0, 29.0, 35.0], ["a", "b", "c"])
    >>> [(row["stratum"], row["mae"]) for row in rows]
    [('all', 2.0), ('[20, 25)', 2.0), ('[30, 35)', 2.0)]
    """
    same_length(ages=ages, predictions=predictions, participants=participants, **(by or {}))
    age, prediction, people = numbers(ages, "age"), numbers(predictions, "prediction"), labels(participants)
    known = np.isfinite(age) & np.isfinite(prediction) & np.array([name is not None for name in people], dtype=bool)
    if not known.any():
        raise UnusableInput("No row has a participant, an age and a prediction, so no error can be computed.")
    left_out = int((~known).sum())
    note = f"{left_out} row(s) without age, prediction or participant are left out." if left_out else ""
    guess = float(age[known].mean())
    parts = [("all", "all", known)]
    edges = age_bins(age[known], bin_width)
    parts += [("age", f"[{low:g}, {high:g})", known & (age >= low) & (age < high)) for low, high in zip(edges, edges[1:])]
    for name, column in (by or {}).items():
        cells = labels(column)
        parts += [(name, value, known & (cells == value)) for value in sorted(set(cells[known]) - {None})]
    rows = []
    for name, value, chosen in parts:
        if chosen.any():
            about = {"by": name, "stratum": value}
            numbers_of = (age[chosen], prediction[chosen], people[chosen].astype(str), guess)
            rows.append(_accuracy(about, *numbers_of, level, n_resamples, seed, note if name == "all" else ""))
    return rows


def weighted_measures(ages: np.ndarray, predictions: np.ndarray, guess: float, weights: np.ndarray) -> dict[str, np.ndarray]:
    """The measures when each row counts as often as its weight says.

    Parameters
    ----------
    ages, predictions : ndarray, shape (n,)
    guess : float
        Age that someone guesses who sees nobody.
    weights : ndarray, shape (m, n)
        One line a draw.

    Returns
    -------
    dict of name to ndarray, shape (m,)
        NaN where a measure is not defined (ages or predictions that do not vary).

    Examples
    --------
    >>> found = weighted_measures(np.array([20.0, 30.0]), np.array([22.0, 29.0]), 25.0, np.array([[2.0, 0.0], [1.0, 1.0]]))
    >>> found["mae"].tolist()
    [2.0, 1.5]
    """
    age, prediction = ages - ages.mean(), predictions - ages.mean()
    error = prediction - age
    moments = np.column_stack(
        [np.ones_like(age), np.abs(error), error**2, age, age**2, prediction, prediction**2, age * prediction, np.abs(ages - guess)]
    )
    total, size, square, a, aa, p, pp, ap, guessed = (weights @ moments).T
    spread_a, spread_p, both = aa - a**2 / total, pp - p**2 / total, ap - a * p / total
    varies_a, varies_p = spread_a > 1e-9 * np.maximum(aa, 1e-300), spread_p > 1e-9 * np.maximum(pp, 1e-300)
    with np.errstate(divide="ignore", invalid="ignore"):
        r = np.where(varies_a & varies_p, both / np.sqrt(spread_a * spread_p), np.nan)
        r2 = np.where(varies_a, 1 - square / spread_a, np.nan)
        slope = np.where(varies_a, both / spread_a - 1, np.nan)
    found = (size / total, np.sqrt(square / total), np.clip(r, -1, 1), r2, slope, guessed / total)
    return dict(zip(MEASURES, found))


def error_by_age(
    ages: Sequence[Any], predictions: Sequence[Any], edges: Sequence[float], *, baseline: Sequence[Any] | None = None
) -> list[Row]:
    """Mean and variance of the error by the user's half-open age bins, and how much smaller the error is than a baseline's.

    Parameters
    ----------
    ages, predictions : sequences, length n
        Years.
    edges : sequence of float
        Growing edges; a bin holds low ≤ age < high. Ages outside all bins are counted in the note.
    baseline : sequence, optional
        Another model's predictions of the same rows; rows that lack one of the two are left out.

    Returns
    -------
    list of Row
        ``low, high, mae, mean_error`` (prediction − age), ``variance_error`` (n − 1 below), ``mae_baseline`` and ``reduction_percent``,
        100 (1 − MAE / MAE of the baseline).

    Examples
    --------
    >>> row, = error_by_age([20, 25], [23, 24], [20, 30], baseline=[24, 29])
    >>> row["mae"], row["mean_error"], row["variance_error"], row["reduction_percent"]
    (2.0, 1.0, 8.0, 50.0)
    """
    if len(edges) < 2 or any(low >= high for low, high in zip(edges, edges[1:])):
        raise BadConfiguration(f"Age bins need two growing edges at least, not {list(edges)}.")
    same_length(ages=ages, predictions=predictions, baseline=baseline)
    age, error = numbers(ages, "age"), numbers(predictions, "prediction")
    error = error - age
    other = np.full_like(error, np.nan) if baseline is None else numbers(baseline, "baseline") - age
    known = np.isfinite(error) & (np.isfinite(other) | (baseline is None))
    outside = int((known & ((age < edges[0]) | (age >= edges[-1]))).sum())
    rows = []
    for low, high in zip(edges, edges[1:]):
        chosen = known & (age >= low) & (age < high)
        rows.append(_age_row(low, high, error[chosen], other[chosen], baseline is not None, outside))
    return rows


def compare_models(
    ages: Sequence[Any], first: Sequence[Any], second: Sequence[Any], participants: Sequence[str], *,
    names: tuple[str, str] = ("first", "second"), paired: bool = True, n_permutations: int = 999, n_resamples: int = 2000,
    level: float = 0.95, seed: int = 0,
) -> Row:  # fmt: skip
    """MAE of two models on the same rows: difference, paired bootstrap over people and permutation test; how far they go together.

    Parameters
    ----------
    ages, first, second : sequences, length n
        Years; rows that lack one are left out.
    participants : sequence of str, length n
        The sign is flipped, and people are drawn, with all rows of a person.
    paired : bool
        Flip the sign of each person's difference (the default); False shuffles the absolute errors of both models, as Ren et al. did.

    Returns
    -------
    Row
        ``mae_first, mae_second, difference`` (first − second, negative if the first is better), ``low, high, p_bootstrap, p`` (of the
        permutations), ``r_predictions, r_errors`` (Pearson's r of both predictions, and of both signed errors).
    """
    return compare_with_null(
        ages, first, second, participants, names=names, paired=paired, n_permutations=n_permutations, n_resamples=n_resamples,
        level=level, seed=seed,
    )[0]  # fmt: skip


def compare_with_null(
    ages: Sequence[Any], first: Sequence[Any], second: Sequence[Any], participants: Sequence[str], *,
    names: tuple[str, str] = ("first", "second"), paired: bool = True, n_permutations: int = 999, n_resamples: int = 2000,
    level: float = 0.95, seed: int = 0,
) -> tuple[Row, np.ndarray]:  # fmt: skip
    """`compare_models`, and the differences by chance, shape (n_permutations,), that its p rests on; none without a row."""
    same_length(ages=ages, first=first, second=second, participants=participants)
    age, people = numbers(ages, "age"), labels(participants)
    errors = numbers(first, names[0]) - age, numbers(second, names[1]) - age
    known = np.isfinite(errors[0]) & np.isfinite(errors[1]) & np.array([name is not None for name in people], dtype=bool)
    how = "paired sign-flip of people's differences" if paired else "unpaired shuffle of absolute errors"
    method = f"difference of mean absolute errors, {how}, {n_permutations} permutations; interval by bootstrap over people"
    about = {"first": names[0], "second": names[1]}
    if not known.any():
        empty = dict.fromkeys((*_COMPARED, "participants"))
        return tidy(method, 0, _ASSUMPTIONS, note="No row has an age and both predictions.", **about, **empty), np.empty(0)
    people, age, errors = people[known].astype(str), age[known], (errors[0][known], errors[1][known])
    sizes = np.abs(errors[0]), np.abs(errors[1])
    flips = {"participants": people} if paired else {}
    test = (sign_flip_test if paired else shuffle_test)(*sizes, n_permutations=n_permutations, seed=seed, **flips)
    difference = sizes[0] - sizes[1]
    draws = np.concatenate([weights @ difference / weights.sum(axis=1) for weights in person_weights(people, n_resamples, seed)])
    enough = np.unique(people).size >= _FEWEST_FOR_INTERVAL
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2]) if enough else (None, None)
    note = "" if enough else f"Fewer than {_FEWEST_FOR_INTERVAL} people: no interval."
    if not paired and np.unique(people).size < people.size:
        note = (note + " The shuffle takes rows of one person as independent.").strip()
    values = (sizes[0].mean(), sizes[1].mean(), difference.mean(), low, high, _p_of_draws(draws) if enough else None, test.p)
    values += (_r(errors[0] + age, errors[1] + age), _r(*errors))
    values_of = dict(zip(_COMPARED, values, strict=True))
    return tidy(method, people.size, _ASSUMPTIONS, note=note, **about, participants=np.unique(people).size, **values_of), test.null


_COMPARED = ("mae_first", "mae_second", "difference", "low", "high", "p_bootstrap", "p", "r_predictions", "r_errors")


def _p_of_draws(draws: np.ndarray) -> float:
    """Two-sided p of a bootstrap: twice the smaller share of draws on one side of 0, each share with one draw more."""
    beyond = min(np.count_nonzero(draws <= 0), np.count_nonzero(draws >= 0))
    return min(1.0, 2 * (1 + beyond) / (1 + draws.size))


def _r(first: np.ndarray, second: np.ndarray) -> float | None:
    return None if first.size < 3 or is_constant(first) or is_constant(second) else float(pearson_r(first, second))


def _accuracy(
    about: dict[str, str], ages: np.ndarray, predictions: np.ndarray, people: np.ndarray, guess: float,
    level: float, n_resamples: int, seed: int, note: str,
) -> Row:  # fmt: skip
    n_people = np.unique(people).size
    method = f"errors of the uncorrected prediction; {100 * level:g} % percentile bootstrap over people, {n_resamples} draws"
    found: dict[str, Any] = {name: value[0] for name, value in weighted_measures(ages, predictions, guess, np.ones((1, ages.size))).items()}
    if ages.size >= 2:
        exact = error_metrics(ages, predictions, np.full_like(ages, guess)).as_dict()
        found = {name: exact[name] for name in MEASURES} | {name: exact[name] for name in ("age_min", "age_max", "age_mean", "age_sd")}
    else:
        found |= {"age_min": ages.min(), "age_max": ages.max(), "age_mean": ages.mean(), "age_sd": None}
    limits = {f"{name}_{side}": None for name in MEASURES for side in ("low", "high")}
    notes = [note] if note else []
    if n_people >= _FEWEST_FOR_INTERVAL:
        draws: dict[str, list[np.ndarray]] = {}
        for weights in person_weights(people, n_resamples, seed):
            for name, values in weighted_measures(ages, predictions, guess, weights).items():
                draws.setdefault(name, []).append(values)
        for name, blocks in draws.items():
            values = np.concatenate(blocks)
            defined = values[np.isfinite(values)]
            if defined.size and np.isfinite(found[name]):
                limits[f"{name}_low"], limits[f"{name}_high"] = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    else:
        notes.append(f"{n_people} participant(s): no interval.")
    if is_constant(ages) or is_constant(predictions):
        notes.append("Ages or predictions do not vary: r, R2 or the slope is not defined.")
    return tidy(method, ages.size, _ASSUMPTIONS, note=" ".join(notes), **about, participants=n_people, **found, **limits)


def _age_row(low: float, high: float, error: np.ndarray, other: np.ndarray, compared: bool, outside: int) -> Row:
    note = f"{outside} age(s) lie outside all bins." if outside else ""
    values: dict[str, Any] = dict.fromkeys(("mae", "mean_error", "variance_error", "mae_baseline", "reduction_percent"))
    if error.size:
        values |= {"mae": np.abs(error).mean(), "mean_error": error.mean(), "variance_error": error.var(ddof=1) if error.size > 1 else None}
        note = note if error.size > 1 else f"One row: no variance. {note}".strip()
        if compared:
            baseline = np.abs(other).mean()
            values |= {"mae_baseline": baseline, "reduction_percent": 100 * (1 - values["mae"] / baseline) if baseline > 0 else None}
            note = note if baseline > 0 else f"The baseline has no error, so there is nothing to reduce. {note}".strip()
    else:
        note = f"Nobody of this age. {note}".strip()
    return tidy("mean and variance of the error by age, half-open bins", error.size, _ASSUMPTIONS, note=note, low=low, high=high, **values)
