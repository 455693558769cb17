"""Ten parts of a cohort that are like the whole in age and project, and which two are most like it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from brainage_bids.records import UnusableInput
from brainage_bids.stats.rows import Row, labels, numbers, same_length, tidy

_ASSUMPTIONS = "every person is in one part, with all rows; half a person is added to every cell of both histograms"


def balanced_parts(
    ages: Sequence[Any], projects: Sequence[Any], participants: Sequence[str], *, parts: int = 10, seed: int = 0
) -> tuple[np.ndarray, list[Row]]:
    """Divide people into parts, dealt within each age decile of each project, and rank the parts by likeness to the whole.

    Likeness is the Kullback-Leibler divergence KL(part ‖ whole) of the joint histogram of age decile × project, with .5 added to each cell.
    The part nearest to the whole becomes ``validation``, the next ``test``, the others ``train``.

    Parameters
    ----------
    ages, projects, participants : sequences, length n
        A person's age is the mean of their rows', the project that of the first row.
    parts, seed : int
        Number of parts, and the seed of the dealing.

    Returns
    -------
    ndarray of int, shape (n,)
        Part of each row, 0 … parts − 1.
    list of Row
        ``part, divergence, use``, one a part.

    Raises
    ------
    UnusableInput
        If a row lacks age, project or person, or there are fewer people than parts.

    Examples
    --------
    >>> of, rows = balanced_parts(list(range(20, 60)), ["x"] * 40, [f"p{i}" for i in range(40)], parts=4)
    >>> sorted(np.bincount(of).tolist()), sorted(row["use"] for row in rows)
    ([10, 10, 10, 10], ['test', 'train', 'train', 'validation'])
    """
    same_length(ages=ages, projects=projects, participants=participants)
    age, project, people = numbers(ages, "age"), labels(projects), labels(participants)
    if not np.isfinite(age).all() or None in project or None in people:
        raise UnusableInput("Every row needs an age, a project and a person before people can be divided.")
    names, first, row_of = np.unique(people.astype(str), return_index=True, return_inverse=True)
    if parts < 3 or names.size < parts:
        raise UnusableInput(f"{names.size} people cannot be divided into {parts} parts (three at least).")
    mean_age = np.bincount(row_of, age) / np.bincount(row_of)
    decile = np.searchsorted(np.quantile(mean_age, np.arange(0.1, 1.0, 0.1)), mean_age, side="right")
    kinds, kind = np.unique(project[first].astype(str), return_inverse=True)
    cell = kind * 10 + decile
    generator = np.random.default_rng(seed)
    shuffled = generator.permutation(names.size)
    order = shuffled[np.argsort(cell[shuffled], kind="stable")]  # people of a cell follow each other and are dealt in turn
    part = np.empty(names.size, dtype=int)
    for start in range(0, names.size, parts):
        block = order[start : start + parts]
        part[block] = generator.permutation(parts)[: block.size]
    cells = 10 * kinds.size
    whole = np.bincount(cell, minlength=cells) + 0.5
    divergence = [_divergence(np.bincount(cell[part == number], minlength=cells) + 0.5, whole) for number in range(parts)]
    use = dict(zip(np.argsort(divergence, kind="stable").tolist(), ("validation", "test")))
    method = "KL(part || whole) of age decile x project, +0.5"
    rows = [
        tidy(method, int((part == number).sum()), _ASSUMPTIONS, part=number, divergence=divergence[number], use=use.get(number, "train"))
        for number in range(parts)
    ]
    return part[row_of], rows


def _divergence(part: np.ndarray, whole: np.ndarray) -> float:
    share, of_whole = part / part.sum(), whole / whole.sum()
    return float(np.sum(share * np.log(share / of_whole)))
