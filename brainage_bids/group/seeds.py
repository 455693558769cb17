"""Networks of ``brainage-train compare`` in this cohort: errors, and gaps between groups, over seeds and parts of the split (P4)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from brainage_bids.bids.tables import read_tsv
from brainage_bids.group.cohort import Cohort
from brainage_bids.group.groups import group_order, groups_column
from brainage_bids.group.results import Result, table
from brainage_bids.records import BadConfiguration, UnusableInput
from brainage_bids.stats.groups import compare_groups, over_repeats
from brainage_bids.stats.rows import Row, labels, tidy

FILE = "predictions.tsv"
_COLUMNS = ("participant_id", "age", "model", "start", "seed", "part", "counted", "brain_age")
_ASSUMPTIONS = "one row a person; networks of several seeds on one split; predictions not corrected for age bias"


@dataclass(frozen=True)
class Predicted:
    """What one network said of the people of one part.

    Attributes
    ----------
    comparison, model, start, part, seed : str
    gaps : dict of str to float
        Brain age less age, years, by person.
    counted : frozenset of str
        Those of them who count in errors, as they are of the kind that was trained on.
    """

    comparison: str
    model: str
    start: str
    part: str
    seed: str
    gaps: dict[str, float]
    counted: frozenset[str]

    @property
    def cell(self) -> tuple[str, str, str, str]:
        """All but the seed."""
        return self.comparison, self.model, self.start, self.part


def errors(cohort: Cohort) -> list[Result]:
    """Mean absolute error of each network, mean and s.d. over seeds, by part of the split; nothing without ``--comparison``."""
    if not cohort.settings.comparison:
        return []
    rows = list(_error_rows(_read(cohort)).values())
    about = "Errors of the networks of --comparison on people of the kind that was trained on: mean and s.d. over seeds, by part."
    return [table("comparison_errors", "Errors of trained networks", about, rows)]


def groups(cohort: Cohort) -> list[Result]:
    """Mann-Whitney tests of the gap between all pairs of groups, mean and standard deviation over seeds, by part of the split."""
    if not cohort.settings.comparison:
        return []
    found = _read(cohort)
    column = groups_column(cohort)
    people = cohort.table.drop_duplicates("participant_id")
    group_of = {person: group for person, group in zip(people["participant_id"], labels(people[column])) if group is not None}
    maes = _error_rows(found)
    tested: dict[tuple, list[Row]] = {}
    for one in found:
        known = [person for person in one.gaps if person in group_of]
        names = group_order(cohort, sorted({group_of[person] for person in known}))
        if len(names) > 1:
            values, of = [one.gaps[person] for person in known], [group_of[person] for person in known]
            how = {"variable": "pad", "order": names, "ranks": True, "alternative": cohort.settings.alternative}
            tested.setdefault(one.cell, []).extend(compare_groups(values, of, **how, family="pairs of groups, one network and part"))
    if not tested:
        raise UnusableInput(f"The predictions of --comparison hold no part with people of two groups of '{column}' in this dataset.")
    rows = []
    for cell, repeats in tested.items():
        for row in over_repeats(repeats):
            about = {**_named(cell), **{name: maes[cell][name] for name in ("mae", "mae_sd") if cell in maes}}
            rows.append({**about, **row})
    about = f"Mann-Whitney tests of the gap between the groups of '{column}' by each network of --comparison: p, rank-biserial correlation "
    about += "and AUC as mean and s.d. over seeds, by part of the split, beside the error; a smaller error need not tell groups better."
    return [table("comparison_groups", "Groups by trained networks", about, rows)]


def _read(cohort: Cohort) -> list[Predicted]:
    """Predictions of every network, part and seed.

    Raises
    ------
    UnusableInput
        If it holds nobody of this cohort.
    BadConfiguration
        If a folder holds none.
    """
    people = set(cohort.everyone["participant_id"])
    found = [one for folder in cohort.settings.comparison for one in _of_folder(Path(folder), people)]
    if not found:
        raise UnusableInput("Nobody in the predictions of --comparison is in this dataset; give a comparison that was made with it.")
    return found


def _of_folder(folder: Path, people: set[str]) -> Iterator[Predicted]:
    path = folder / FILE
    try:
        rows = read_tsv(path).rows
    except OSError as error:
        raise BadConfiguration(f"The folder {folder} of --comparison has no {FILE} ({error.strerror}); give --out of compare.") from error
    if not rows or any(name not in rows[0] for name in _COLUMNS):
        raise BadConfiguration(f"{path} lacks a column of {', '.join(_COLUMNS)}; make it again by brainage-train compare.")
    by_network: dict[tuple, dict[str, tuple[float, bool]]] = {}
    for row in rows:
        if row["participant_id"] in people:
            try:
                gap = float(row["brain_age"]) - float(row["age"])
            except (TypeError, ValueError) as error:
                raise BadConfiguration(f"{path} has a row of {row['participant_id']} without an age or a brain age.") from error
            network = by_network.setdefault((row["model"], row["start"], row["part"], row["seed"]), {})
            network[row["participant_id"]] = gap, row["counted"] == "yes"
    for (model, start, part, seed), told in by_network.items():
        gaps = {person: gap for person, (gap, _) in told.items()}
        counted = frozenset(person for person, (_, counts) in told.items() if counts)
        yield Predicted(folder.name, model, start, part, seed, gaps, counted)


def _error_rows(found: list[Predicted]) -> dict[tuple, Row]:
    """A row a network and part, by its cell."""
    sizes: dict[tuple, list[np.ndarray]] = {}
    for one in found:
        if one.counted:
            sizes.setdefault(one.cell, []).append(np.abs([one.gaps[person] for person in sorted(one.counted)]))
    rows = {}
    for cell, seeds in sizes.items():
        maes = [float(values.mean()) for values in seeds]
        spread = float(np.std(maes, ddof=1)) if len(maes) > 1 else None
        values = {"repeats": len(maes), "mae": float(np.mean(maes)), "mae_sd": spread}
        note = "" if len(maes) > 1 else "One seed: no standard deviation."
        rows[cell] = tidy("mean absolute error, over seeds", len(seeds[0]), _ASSUMPTIONS, note=note, **_named(cell), **values)
    return rows


def _named(cell: tuple) -> dict[str, str]:
    return dict(zip(("comparison", "network", "start", "split"), cell))
