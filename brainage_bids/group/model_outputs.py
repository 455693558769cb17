"""Tables and maps that models wrote for each person, described over the cohort: the same for every model, none is named here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from brainage_bids.bids.model_files import MAPS, TABLE, read_model_table
from brainage_bids.bids.names import Derivative, find_derivatives
from brainage_bids.bids.nifti import read_image
from brainage_bids.bids.sink import sidecar_path
from brainage_bids.bids.tables import read_json_object
from brainage_bids.group.cohort import Cohort
from brainage_bids.group.results import Place, Result, table
from brainage_bids.records import UnusableInput
from brainage_bids.stats.rows import Row

PLACE = Place(
    "What models gave beside ages",
    {
        "key": {"Description": "Which table or map of the model; the desc- entity of its files."},
        "row": {"Description": "Row of the table, by its first column."},
        "quantity": {"Description": "Column of the table."},
        "unit": {"Description": "Unit of the values."},
        "space": {"Description": "Space of the map: a template, or T1w for each person's own."},
        "size": {"Description": "Mean over people of the mean size of the values that are not 0, whatever their sign."},
    },
    "Tables and maps that models gave beside an age are described by mean and standard deviation over the first visits of participants.",
)
BLOCK = 2**20
"""Voxels of a map that are looked at at once."""


def tables(cohort: Cohort) -> list[Result]:
    """Mean and spread over people of every number in the tables of models, first visits."""
    values: dict[tuple[str, str, str, str, str], list[float]] = {}
    for found in _first_visits(cohort, (TABLE,)):
        try:
            one = read_model_table(found.path)
        except (OSError, ValueError) as error:
            cohort.problems.append(f"{found.path.name} cannot be read ({error}) and is left out.")
            continue
        for row, column, value in one.numbers():
            units = str(one.columns[column].get("Units", ""))
            values.setdefault((one.model, one.key, row, column, units), []).append(value)
    if not values:
        raise UnusableInput("The outputs hold no tables of models beside their ages.")
    names = ("model", "key", "row", "quantity", "unit")
    rows = [dict(zip(names, key, strict=True)) | _described(numbers) for key, numbers in values.items()]
    about = "Mean and standard deviation over the first visits of all numbers that models wrote in tables of their own."
    return [table("model_tables", "Tables of models", about, rows, PLACE)]


def maps(cohort: Cohort) -> list[Result]:
    """Mean and spread over people of each person's mean in a map of a model, first visits; a map at a time is in memory."""
    values: dict[tuple[str, str, str, str], list[tuple[float, float]]] = {}
    for found in _first_visits(cohort, MAPS):
        about, _ = read_json_object(sidecar_path(found.path))
        try:
            mean = _mean_of_map(found.path)
        except (OSError, ValueError) as error:
            cohort.problems.append(f"{found.path.name} cannot be read ({error}) and is left out.")
            continue
        key = found.entities["model"], found.entities["desc"], found.entities.get("space", "T1w"), str(about.get("Units", ""))
        values.setdefault(key, []).append(mean)
    if not values:
        raise UnusableInput("The outputs hold no maps of models.")
    rows: list[Row] = []
    for key, found in values.items():
        described = _described([mean for mean, _ in found])
        rows.append(dict(zip(("model", "key", "space", "unit"), key, strict=True)) | described | {"size": fmean(size for _, size in found)})
    about = "Each person's mean over the voxels of a map that are not 0, its mean and standard deviation over the first visits."
    return [table("model_maps", "Maps of models", about, rows, replace(PLACE, draw=_draw_maps))]


def _first_visits(cohort: Cohort, keys: Sequence[str]) -> Iterator[Derivative]:
    """Files of the first visit of everybody who takes part."""
    taking_part = cohort.table.drop_duplicates("participant_id")
    visits = {(person, visit or None) for person, visit in zip(taking_part["participant_id"], taking_part["session_id"], strict=True)}
    for key in keys:
        for found in find_derivatives(Path(cohort.settings.out_dir), key):
            if (found.participant_id, found.session_id) in visits:
                yield found


def _mean_of_map(path: Path) -> tuple[float, float]:
    """Mean, and mean size, of the values of a map that are not 0; 0 for a map without any."""
    import numpy as np

    data = np.asarray(read_image(path).dataobj, dtype=np.float32).ravel()
    total, size, count = 0.0, 0.0, 0
    for start in range(0, data.size, BLOCK):
        block = data[start : start + BLOCK]
        block = block[np.isfinite(block) & (block != 0)].astype(np.float64)
        total, size, count = total + block.sum(), size + np.abs(block).sum(), count + block.size
    return (total / count, size / count) if count else (0.0, 0.0)


def _described(numbers: Sequence[float]) -> Row:
    spread = stdev(numbers) if len(numbers) > 1 else None
    return {"mean": fmean(numbers), "sd": spread, "low": min(numbers), "high": max(numbers), "n": len(numbers)}


def _draw_maps(rows: Sequence[Row], figure: Any) -> None:
    """A dot a map at the mean over people, with a standard deviation each way."""
    axes = figure.add_subplot()
    names = [f"{row['model']}: {row['key']}" + (f" ({row['unit']})" if row["unit"] else "") for row in rows]
    places = range(len(rows))
    axes.errorbar([row["mean"] for row in rows], places, xerr=[row["sd"] or 0.0 for row in rows], fmt="o", capsize=3)
    axes.set_yticks(list(places), names)
    axes.axvline(0, lw=0.8, color="0.6")
    axes.set_xlabel("mean over the map, ± 1 s.d. over people")
