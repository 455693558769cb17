"""The picture of a network's training: loss and validation error by epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from brainage_bids.reports.scatter import COLOURS


def draw_history(history: Sequence[Mapping[str, float]], path: Path) -> Path:
    """Draw the training loss and the validation error by epoch; the epoch that was kept is marked.

    Parameters
    ----------
    history : sequence of mapping
        ``epoch``, ``train_loss`` and ``validation_mae`` (years) of each epoch, at least one.
    path : Path
        ``.png`` to be written; the same input gives the same bytes.

    Returns
    -------
    Path
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    epochs = [line["epoch"] for line in history]
    errors = [line["validation_mae"] for line in history]
    figure = Figure(figsize=(6.4, 4.0), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    axes.plot(epochs, errors, color=COLOURS[0], marker="o", ms=3, label="validation error (years)")
    best = min(range(len(errors)), key=errors.__getitem__)
    axes.annotate(f"kept: {errors[best]:.2f}", (epochs[best], errors[best]), (0, -16), textcoords="offset points", ha="center", fontsize=8)
    axes.plot(epochs[best], errors[best], marker="o", ms=9, mfc="none", color=COLOURS[0])
    axes.set(xlabel="epoch", ylabel="mean absolute error, years")
    axes.margins(x=0.08, y=0.15)  # room for the words below the lowest point
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    other = axes.twinx()
    other.plot(epochs, [line["train_loss"] for line in history], color=COLOURS[1], lw=1, label="training loss")
    other.set_ylabel("training loss")
    lines = [*axes.get_lines()[:1], *other.get_lines()]
    figure.legend(lines, [str(line.get_label()) for line in lines], frameon=False, loc="outside lower center", ncols=2)
    axes.set_title("Learning curve")
    figure.savefig(path, metadata={"Software": None})
    return path
