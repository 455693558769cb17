"""Norm curves: which share of the brain a structure has in people of an age (``norms.json`` of a model folder)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist
from typing import Any

from brainage_bids.files import parse_json
from brainage_bids.models.registry import ModelFolder, open_model
from brainage_bids.records import BadConfiguration

NORMS = "norms.json"
_Z95 = NormalDist().inv_cdf(0.95)


@dataclass(frozen=True)
class NormCurve:
    """Percentiles of one structure's share by age.

    Attributes
    ----------
    name, label : str
        Of the structure, and plain words for it.
    ages : tuple of float
        Grid, years, rising.
    p5, p50, p95 : tuple of float
        5th, 50th and 95th percentile of the share at these ages, percent of the brain's volume.
    """

    name: str
    label: str
    ages: tuple[float, ...]
    p5: tuple[float, ...]
    p50: tuple[float, ...]
    p95: tuple[float, ...]

    def __post_init__(self) -> None:
        rows = list(zip(self.p5, self.p50, self.p95, strict=False))
        whole = len(self.ages) > 1 and len(self.ages) == len(self.p5) == len(self.p50) == len(self.p95)
        rising = all(one < two for one, two in zip(self.ages, self.ages[1:], strict=False))
        if not whole or not rising or not all(0 < low < middle < high < math.inf for low, middle, high in rows):
            raise BadConfiguration(f"The norm of {self.name!r} needs rising ages and, at each, three rising shares above zero.")

    def at(self, age: float) -> tuple[float, float, float] | None:
        """The three percentiles at an age, straight between the ages of the grid; None outside of it.

        >>> curve = NormCurve("thalamus", "thalamus", (20.0, 30.0), (1.0, 1.0), (1.2, 1.1), (1.4, 1.3))
        >>> [round(value, 3) for value in curve.at(25.0)], curve.at(31.0)
        ([1.0, 1.15, 1.35], None)
        """
        if not self.ages[0] <= age <= self.ages[-1]:
            return None
        upper = next(index for index in range(1, len(self.ages)) if age <= self.ages[index])
        step = (age - self.ages[upper - 1]) / (self.ages[upper] - self.ages[upper - 1])
        low, middle, high = (curve[upper - 1] + step * (curve[upper] - curve[upper - 1]) for curve in (self.p5, self.p50, self.p95))
        return low, middle, high

    def position(self, age: float, share: float) -> float | None:
        """Percentile at which a share lies at an age; None outside of the ages or for a share that is not above zero.

        On either side of the median the logarithm of the share is taken as normal, with the spread of that side's percentile.

        >>> curve = NormCurve("thalamus", "thalamus", (20.0, 30.0), (1.0, 1.0), (1.2, 1.2), (1.4, 1.4))
        >>> [round(curve.position(25.0, share), 1) for share in (1.0, 1.2, 1.4)]
        [5.0, 50.0, 95.0]
        """
        found = self.at(age)
        if found is None or not share > 0:
            return None
        low, middle, high = map(math.log, found)
        distance = math.log(share) - middle
        return 100 * NormalDist().cdf(_Z95 * distance / (high - middle if distance > 0 else middle - low))


def norms_to_json(norms: Mapping[str, NormCurve]) -> dict[str, Any]:
    """Content of ``norms.json``."""
    curves = [vars(curve) for curve in norms.values()]
    return {"unit": "percent of the brain's volume", "curves": curves}


def read_norms(folder: ModelFolder | Path | str) -> dict[str, NormCurve]:
    """Norm curves of a model by the name of the structure.

    Raises
    ------
    BadConfiguration
        If the card names no ``norms.json``, the file is another one, or it cannot be used.
    """
    folder = folder if isinstance(folder, ModelFolder) else open_model(folder)
    try:
        curves = parse_json(folder.read(NORMS))["curves"]
        norms = [
            NormCurve(str(item["name"]), str(item["label"]), *(tuple(map(float, item[key])) for key in ("ages", "p5", "p50", "p95")))
            for item in curves
        ]
    except BadConfiguration:
        raise
    except (KeyError, TypeError, ValueError) as error:
        raise BadConfiguration(f"The norms.json of the model {folder.card.name} is not as it should be ({error!r}).") from error
    return {curve.name: curve for curve in norms}
