"""The load of white-matter lesions, log(lesions / white matter), where the cohort's tables or volumes know the lesions."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from brainage_bids.group.cohort import Cohort, is_numeric
from brainage_bids.records import BadConfiguration, UnusableInput
from brainage_bids.stats.rows import numbers
from brainage_bids.stats.windows import lesion_load

if TYPE_CHECKING:
    import pandas as pd

NAME = "lesion_load"
_LESIONS = re.compile(r"lesion|wmh|wml|hyperintens|hypointens|leuk?oaraiosis", re.IGNORECASE)
_WHITE = re.compile(r"(^|_)(wm|white|white_?matter|cerebral_?white_?matter)(_|$)", re.IGNORECASE)
_IN_MM3 = dict.fromkeys(("mm3", "mm^3", "mm³", "ul", "µl"), 1.0) | dict.fromkeys(("ml", "cm3", "cm^3", "cm³", "cc"), 1000.0)
"""Units of volume."""


def with_load(cohort: Cohort) -> Cohort:
    """The cohort with the column ``lesion_load`` among the phenotype; the same where no lesions or no white matter are known.

    Lesions are a phenotype column of volumes (``--lesion-column``, or one whose name says lesions and whose name or unit says volume),
    or labels of lesions among the volumes of the outputs. White matter is that of the outputs, else a phenotype column.

    Raises
    ------
    BadConfiguration
        If ``--lesion-column`` names no column of numbers.
    UnusableInput
        If lesions are known and no volume of white matter is.
    """
    asked = cohort.settings.lesion_column
    if asked and (asked not in cohort.everyone or not is_numeric(cohort.everyone[asked])):
        raise BadConfiguration(f"There is no column '{asked}' of numbers for --lesion-column; there are {', '.join(cohort.numeric())}.")
    if NAME in cohort.everyone:
        return cohort
    lesions = {asked: _unit(asked, cohort.descriptions) or 1000.0} if asked else _lesions(cohort)
    if not lesions:
        return cohort
    white = _white_matter(cohort)
    if not white:
        raise UnusableInput(f"Lesions are known ({', '.join(lesions)}), but no volume of white matter, so their load is not computed.")
    said = f"Load of white-matter lesions: logarithm of {' + '.join(lesions)} over {' + '.join(white)}; n/a where there are none."
    table, everyone = (frame.assign(**{NAME: _load(frame, lesions, white)}) for frame in (cohort.table, cohort.everyone))
    told = {**cohort.descriptions, NAME: {"Description": said}}
    return replace(cohort, table=table, everyone=everyone, phenotype=(*cohort.phenotype, NAME), descriptions=told)


def _lesions(cohort: Cohort) -> dict[str, float]:
    """Columns of lesions and what makes mm³ of them: the first of the phenotype, else all labels of the outputs."""
    for name in cohort.numeric():
        unit = _unit(name, cohort.descriptions)
        if unit and _LESIONS.search(name):
            return {name: unit}
    return dict.fromkeys((name for name in cohort.regions if _LESIONS.search(name)), 1.0)


def _white_matter(cohort: Cohort) -> dict[str, float]:
    sides = [name for name in cohort.regions if name.endswith("Cerebral-White-Matter")]
    if sides or "vol_WM" in cohort.regions:
        return dict.fromkeys(sides or ["vol_WM"], 1.0)
    for name in cohort.numeric():
        unit = _unit(name, cohort.descriptions)
        if unit and _WHITE.search(name) and not _LESIONS.search(name):
            return {name: unit}
    return {}


def _unit(name: str, told: Mapping[str, Mapping[str, Any]]) -> float | None:
    """What makes mm³ of a column, by its JSON, else by the end of its name; None if neither says a volume.

    >>> _unit("lesions_ml", {}), _unit("WMH", {"WMH": {"Units": "mm^3"}}), _unit("standing_lesions", {})
    (1000.0, 1.0, None)
    """
    written = str((told.get(name) or {}).get("Units") or "").strip().lower()
    return _IN_MM3.get(written) or _IN_MM3.get(name.lower().rpartition("_")[2])


def _load(frame: pd.DataFrame, lesions: Mapping[str, float], white: Mapping[str, float]) -> np.ndarray:
    return lesion_load(_sum(frame, lesions), _sum(frame, white)).round(5)


def _sum(frame: pd.DataFrame, columns: Mapping[str, float]) -> Sequence[float]:
    """Volumes in mm³, NaN where one is missing."""
    return np.sum([factor * numbers(frame[name], name) for name, factor in columns.items()], axis=0)
