"""The picture of a model's cross-validation: predicted against true ages."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

COLOURS = ("#0b6e75", "#c2571a", "#6b4fa3", "#3c7a2a", "#99365f", "#555555")


def scatter_cv(
    ages: Sequence[float] | np.ndarray,
    predictions: Sequence[float] | np.ndarray,
    path: Path,
    *,
    mae_ci: tuple[float, float] | None = None,
    r_ci: tuple[float, float] | None = None,
    guess: float | None = None,
    mae_guess: float | None = None,
    p_value: float | None = None,
    groups: Sequence[str] | None = None,
    title: str = "Cross-validated brain age",
) -> Path:
    """Draw held-out predictions against ages with the identity line and what the errors are.

    The mean absolute error and the correlation are computed here from what is drawn; intervals and the error of the guess
    (predicting the training people's mean age for everyone) come from the caller.

    Parameters
    ----------
    ages, predictions : sequence of float, shape (n,)
        True age and prediction of each person, made without that person; years.
    path : pathlib.Path
        ``.png`` or ``.svg`` to be written; the same input gives the same bytes.
    mae_ci, r_ci : tuple of float, optional
        95 % confidence intervals.
    guess : float, optional
        Mean age of the people in training, years; that of ``ages`` if None.
    mae_guess : float, optional
        Mean absolute error of the guess; computed from ``ages`` and ``guess`` if None.
    p_value : float, optional
        Of the test of the model's errors against those of the guess.
    groups : sequence of str, shape (n,), optional
        A word for each person (diagnosis, site); gives the points their colours.
    title : str
        Above the picture.

    Returns
    -------
    pathlib.Path
        ``path``.

    Raises
    ------
    ValueError
        If the lengths differ, fewer than two people are given, or a value is not finite.
    """
    import numpy as np

    ages, predictions = np.asarray(ages, float), np.asarray(predictions, float)
    if ages.shape != predictions.shape or ages.ndim != 1 or ages.size < 2 or (groups is not None and len(groups) != ages.size):
        raise ValueError(f"A scatter needs one prediction an age, at least two; got shapes {ages.shape} and {predictions.shape}.")
    if not (np.isfinite(ages).all() and np.isfinite(predictions).all()):
        raise ValueError("A scatter needs finite ages and predictions; drop the people without an age first.")
    guess = float(ages.mean()) if guess is None else guess
    if mae_guess is None:
        mae_guess = float(np.mean(np.abs(ages - guess)))
    return _draw(ages, predictions, guess, path, groups, title, summary_lines(ages, predictions, mae_ci, r_ci, mae_guess, p_value))


def summary_lines(ages, predictions, mae_ci=None, r_ci=None, mae_guess=None, p_value=None) -> list[str]:
    """The errors in words, a line each.

    Examples
    --------
    >>> summary_lines([20.0, 30.0, 40.0], [22.0, 30.0, 38.0], mae_ci=(0.5, 2.0), mae_guess=6.7)
    ['MAE 1.33 years (95 % CI 0.50 to 2.00)', 'r 1.00', 'guessing the mean age: MAE 6.70 years', 'n = 3']
    """
    import numpy as np

    ages, predictions = np.asarray(ages, float), np.asarray(predictions, float)
    lines = [f"MAE {np.mean(np.abs(predictions - ages)):.2f} years{_interval(mae_ci)}"]
    if ages.std() > 0 and predictions.std() > 0:
        lines.append(f"r {np.corrcoef(ages, predictions)[0, 1]:.2f}{_interval(r_ci)}")
    if mae_guess is not None:
        lines.append(f"guessing the mean age: MAE {mae_guess:.2f} years")
    if p_value is not None:
        lines.append(f"model against guess: p = {p_value:.3g}")
    return [*lines, f"n = {ages.size}"]


def _interval(bounds: tuple[float, float] | None) -> str:
    return f" (95 % CI {bounds[0]:.2f} to {bounds[1]:.2f})" if bounds else ""


def _draw(ages, predictions, guess, path, groups, title, lines) -> Path:
    import matplotlib as mpl
    import numpy as np
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    path = Path(path)
    kind = path.suffix.lstrip(".").lower()
    with mpl.rc_context({"svg.hashsalt": "brainage", "font.family": "DejaVu Sans", "font.size": 10}):
        figure = Figure(figsize=(6.0, 6.0), layout="constrained", facecolor="white")
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        low, high = min(ages.min(), predictions.min()), max(ages.max(), predictions.max())
        margin = 0.05 * (high - low) or 1.0
        span = (low - margin, high + margin)
        axes.plot(span, span, color="#555555", lw=1, ls="--", label="prediction = age", zorder=1)
        axes.axhline(guess, color="#999999", lw=1, ls=":", label="guess: the mean age", zorder=1)
        names = sorted(set(groups)) if groups is not None else []
        for index, name in enumerate(names or [None]):
            chosen = np.array([group == name for group in groups]) if names else np.ones(ages.size, bool)
            colour = COLOURS[index % len(COLOURS)]
            axes.scatter(ages[chosen], predictions[chosen], s=34, color=colour, alpha=0.8, lw=0, label=name, zorder=2)
        axes.set(xlim=span, ylim=span, xlabel="age (years)", ylabel="predicted without the person (years)", title=title, aspect="equal")
        axes.text(0.02, 0.98, "\n".join(lines), transform=axes.transAxes, va="top", bbox={"fc": "white", "ec": "none", "alpha": 0.85})
        axes.legend(loc="lower right", frameon=True, framealpha=0.85, edgecolor="none")
        axes.spines[["top", "right"]].set_visible(False)
        metadata = {"Date": None} if kind == "svg" else {"Software": None}
        figure.savefig(path, format=kind, dpi=120, metadata=metadata)
    return path
