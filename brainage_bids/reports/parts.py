"""The picture of a split: ages and sexes of each part, dataset by dataset."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from brainage_bids.reports.scatter import COLOURS

SPREAD = 0.6
"""Of the dots of a row, so that people of one age lie beside each other; rows are 1 apart."""


def draw_parts(
    ages: Sequence[float],
    sexes: Sequence[str | None],
    projects: Sequence[str | None],
    parts: Sequence[str],
    names: Sequence[str],
    path: Path,
) -> Path:
    """Draw who is in which part of a split: a row for each project and part, a dot a person at the age, its colour the sex (J5).

    Parameters
    ----------
    ages : sequence of float, shape (people,)
        Years.
    sexes, projects : sequence of str or None, shape (people,)
        A project is a dataset and its site; None where it is not known.
    parts : sequence of str, shape (people,)
        People whose part is not in `names` are not drawn.
    names : sequence of str
        The parts, from the top of each project downwards.
    path : Path
        ``.png`` to be written; the same input gives the same bytes.

    Returns
    -------
    Path
    """
    from matplotlib.figure import Figure

    people = [one for one in zip(ages, sexes, projects, parts, strict=True) if one[3] in names]
    rows = [(project, part) for project in sorted({str(one[2] or "") for one in people}) for part in names]
    figure = Figure(figsize=(6.4, 1.6 + 0.32 * len(rows)), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    known = sorted({one[1] or "not known" for one in people})
    for number, sex in enumerate(known):
        dots = [(one[0], place) for one, place in zip(people, _places(people, rows), strict=True) if (one[1] or "not known") == sex]
        axes.scatter(*zip(*dots, strict=True), s=14, color=COLOURS[number], alpha=0.8, lw=0, label=f"{sex} ({len(dots)})")
    counts = [sum((str(one[2] or ""), one[3]) == row for one in people) for row in rows]
    labels = [f"{project} {part} ({count})".strip() for (project, part), count in zip(rows, counts, strict=True)]
    axes.set_yticks([-number for number in range(len(rows))], labels)
    axes.set(xlabel="age (years)", ylim=(-len(rows) + 0.4, 0.6), title="Who is in which part")
    for number in range(len(names), len(rows), len(names)):
        axes.axhline(0.5 - number, color="#999999", lw=0.5)
    figure.legend(loc="outside lower center", frameon=False, ncols=len(known))
    figure.savefig(path, metadata={"Software": None})
    return path


def _places(people: Sequence[tuple], rows: Sequence[tuple[str, str]]) -> list[float]:
    """Height of each person's dot: that of the row, spread in the order of age."""
    places = [0.0] * len(people)
    for number, row in enumerate(rows):
        members = sorted((k for k, one in enumerate(people) if (str(one[2] or ""), one[3]) == row), key=lambda k: (people[k][0], k))
        for order, k in enumerate(members):
            places[k] = -number + SPREAD * ((order * 0.382) % 1 - 0.5 if len(members) > 1 else 0.0)
    return places
