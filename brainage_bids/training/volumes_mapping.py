"""From our volumes to FreeSurfer's: a factor a structure with its uncertainty, learned on label maps that both measure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from brainage_bids.bids.tables import read_tsv
from brainage_bids.models.volumes import BRAIN, STRUCTURES, Structure, log_shares
from brainage_bids.records import BadConfiguration

MAPPING = "mapping.tsv"
"""The table in a model folder from which its mapping was learned."""
FEWEST_MAPS = 5
LARGEST_FACTOR = 1.5
LEAST_RELIABILITY = 0.8
"""The usual bar for a measure that is to tell people apart."""
COLUMNS = ("map", "structure", "ours_mm3", "theirs_mm3")


@dataclass(frozen=True)
class StructureMapping:
    """How one structure passes from our segmentation to theirs.

    Attributes
    ----------
    structure : str
    maps : int
        How many label maps have it.
    scale, low, high : float
        Geometric mean of theirs over ours, with its 95 % bootstrap interval over maps.
    sd_log : float
        Standard deviation of the logarithm of that ratio over maps.
    share_error : float
        Standard deviation over maps of (logarithm of the share, mapped from ours) − (theirs).
    people_sd : float
        Standard deviation of the logarithm of the share among the training people.
    reliability : float
        people_sd² / (people_sd² + share_error²).
    used : bool
    reason : str
        Why it is not used; empty if it is.
    """

    structure: str
    maps: int
    scale: float
    low: float
    high: float
    sd_log: float
    share_error: float
    people_sd: float
    reliability: float
    used: bool
    reason: str

    def to_json(self) -> dict[str, Any]:
        """For ``heads.json``."""
        return {name: round(value, 6) if isinstance(value, float) else value for name, value in asdict(self).items()}


@dataclass(frozen=True)
class VolumeMapping:
    """The mapping of all structures.

    Attributes
    ----------
    structures : tuple of Structure
        With scale and use; those that neither are used nor make the brain are gone.
    rows : tuple of StructureMapping
        One of each structure that was tried.
    errors : ndarray, shape (used structures + 1,)
        `share_error` of the features in their order, that of the brain's size last.
    """

    structures: tuple[Structure, ...]
    rows: tuple[StructureMapping, ...]
    errors: np.ndarray


def read_mapping(path: Path | str) -> dict[str, dict[str, tuple[float, float]]]:
    """Volumes of label maps: map → structure → (ours, theirs), mm³.

    Parameters
    ----------
    path : Path
        A tsv with the columns map, structure, ours_mm3, theirs_mm3. A structure is one of ours or a region of the atlas
        (``Left-Thalamus``); regions are summed.

    Raises
    ------
    BadConfiguration
        If a column is missing or a volume is no number.
    """
    table = read_tsv(Path(path))
    lacking = [name for name in COLUMNS if table.column(name) is None]
    if lacking:
        raise BadConfiguration(f"The mapping {path} lacks the columns {', '.join(lacking)}.")
    found: dict[str, dict[str, tuple[float, float]]] = {}
    for row in table.rows:
        try:
            pair = float(row["ours_mm3"]), float(row["theirs_mm3"])
        except ValueError as error:
            raise BadConfiguration(f"The mapping {path} has a volume that is no number: {row['map']}, {row['structure']}.") from error
        found.setdefault(row["map"], {})[row["structure"]] = pair
    return {name: _summed(regions) for name, regions in found.items()}


def _summed(regions: Mapping[str, tuple[float, float]]) -> dict[str, tuple[float, float]]:
    """Structures of ours from regions; those that are not whole, or empty on one side, are left out."""
    summed = {}
    for structure in STRUCTURES:
        parts = (structure.name,) if structure.name in regions else structure.parts
        if all(part in regions for part in parts):
            pair = tuple(sum(regions[part][side] for part in parts) for side in (0, 1))
            if min(pair) > 0:
                summed[structure.name] = pair
    return summed


def fit_mapping(
    maps: Mapping[str, Mapping[str, tuple[float, float]]], people_sd: Mapping[str, float], *, n_resamples: int = 2000, seed: int = 0
) -> VolumeMapping:
    """Fit the factors and decide which structures are used.

    A structure is left out if fewer than `FEWEST_MAPS` label maps have it, if its factor (or one over it) is above
    `LARGEST_FACTOR`, so that something else is measured, or if its reliability is below `LEAST_RELIABILITY`: the error of the
    transfer is then too large beside the differences between people. People's ages play no part in this.

    Parameters
    ----------
    maps : mapping
        As from `read_mapping`.
    people_sd : mapping of str to float
        For each structure, the standard deviation of the logarithm of its share among the training people.
    n_resamples, seed : int
        Of the bootstrap over maps.

    Raises
    ------
    BadConfiguration
        If a structure of the brain is on fewer than `FEWEST_MAPS` maps.
    """
    generator = np.random.default_rng(seed)
    logs = {item.name: np.log([maps[name][item.name] for name in sorted(maps) if item.name in maps[name]]) for item in STRUCTURES}
    poor = [item.label for item in STRUCTURES if item.in_brain and len(logs[item.name]) < FEWEST_MAPS]
    if poor:
        raise BadConfiguration(f"The mapping needs {FEWEST_MAPS} label maps with each of: {', '.join(poor)}.")
    ratios = {name: pairs[:, 1] - pairs[:, 0] if len(pairs) else np.array([]) for name, pairs in logs.items()}
    scaled = tuple(replace(item, scale=float(np.exp(ratios[item.name].mean()))) for item in STRUCTURES if len(ratios[item.name]))
    errors = _share_errors(maps, scaled)
    rows = []
    for structure in STRUCTURES:
        values, error = ratios[structure.name], errors.get(structure.name, np.nan)
        rows.append(_row(structure.name, values, error, people_sd[structure.name], generator, n_resamples))
    use = {row.structure: row.used for row in rows}
    kept = tuple(replace(item, used=use[item.name]) for item in scaled if use[item.name] or item.in_brain)
    order = [*(item.name for item in kept if item.used), BRAIN]
    return VolumeMapping(kept, tuple(rows), np.array([errors[name] for name in order]))


def _share_errors(maps: Mapping[str, Mapping[str, tuple[float, float]]], structures: tuple[Structure, ...]) -> dict[str, float]:
    """Standard deviation over maps of mapped less true log share (and log brain volume), by structure."""
    found: dict[str, list[float]] = {}
    for pairs in maps.values():
        here = tuple(item for item in structures if item.name in pairs)
        if not all(item.name in pairs for item in structures if item.in_brain):
            continue
        ours = log_shares({item.name: item.scale * pairs[item.name][0] for item in here}, here)
        theirs = log_shares({item.name: pairs[item.name][1] for item in here}, here)
        for name, difference in zip([*(item.name for item in here), BRAIN], ours - theirs, strict=True):
            found.setdefault(name, []).append(float(difference))
    return {name: float(np.std(values, ddof=1)) for name, values in found.items() if len(values) > 1}


def _row(name: str, ratios: np.ndarray, error: float, people_sd: float, generator: np.random.Generator, draws: int) -> StructureMapping:
    count = len(ratios)
    if count < 2 or not np.isfinite(error):
        return StructureMapping(name, count, 1.0, 1.0, 1.0, 0.0, 0.0, people_sd, 0.0, False, f"it is on {count} label maps only")
    resampled = ratios[generator.integers(0, count, (draws, count))].mean(axis=1)
    low, high = np.exp(np.percentile(resampled, [2.5, 97.5]))
    scale = float(np.exp(ratios.mean()))
    reliability = people_sd**2 / (people_sd**2 + error**2)
    reason = ""
    if count < FEWEST_MAPS:
        reason = f"it is on {count} label maps only"
    elif max(scale, 1 / scale) > LARGEST_FACTOR:
        reason = f"ours is {1 / scale:.2f} times theirs, so something else is measured"
    elif reliability < LEAST_RELIABILITY:
        reason = f"the transfer errs by {100 * error:.0f} % where people differ by {100 * people_sd:.0f} %"
    sd = float(np.std(ratios, ddof=1))
    return StructureMapping(name, count, scale, float(low), float(high), sd, error, people_sd, reliability, not reason, reason)
