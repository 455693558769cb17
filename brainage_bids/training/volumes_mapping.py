"""From our volumes to FreeSurfer's: a factor a structure with its uncertainty, learned on label maps and checked on real scans."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from brainage_bids.bids.tables import read_tsv
from brainage_bids.models.volumes import BRAIN, STRUCTURES, Structure, log_shares
from brainage_bids.records import BadConfiguration
from brainage_bids.training.volumes_convention import Convention

MAPPING = "mapping.tsv"
"""The table in a model folder from which its mapping was learned."""
FEWEST_MAPS = 5
LARGEST_FACTOR = 1.5
LEAST_RELIABILITY = 0.75
"""Of .65, .75 and .8 the one that errs least on people of a site left out of the table, errors of the transfer added (docs/model.md)."""
LARGEST_GAP = 0.2
"""Largest distance, as a logarithm of the share, between what the factors promise and what real scans show."""
NO_CONVENTION = Convention(0.0, 0.0)
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
    convention, convention_se : float
        Logarithm of the factor from the maps to the table (``volumes_convention``), and its standard error.
    sd_log : float
        Standard deviation of the logarithm of theirs over ours over maps.
    share_error : float
        Standard deviation over maps of (logarithm of the share, mapped from ours) − (theirs).
    people_sd : float
        Standard deviation of the logarithm of the share among the training people.
    reliability : float
        people_sd² / (people_sd² + share_error²).
    gap : float or None
        Median over people measured both ways of (logarithm of the share, mapped from ours) − (theirs); None without such people.
    used : bool
    reason : str
        Why it is not used; empty if it is.
    """

    structure: str
    maps: int
    scale: float
    low: float
    high: float
    convention: float
    convention_se: float
    sd_log: float
    share_error: float
    people_sd: float
    reliability: float
    gap: float | None
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
        `share_error` and `convention_se` together (root of the sum of squares), of the features in their order; the brain's size last.
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
    maps: Mapping[str, Mapping[str, tuple[float, float]]],
    people_sd: Mapping[str, float],
    *,
    conventions: Mapping[str, Convention] | None = None,
    paired: Sequence[Mapping[str, tuple[float, float]]] = (),
    n_resamples: int = 2000,
    seed: int = 0,
) -> VolumeMapping:
    """Fit the factors and decide which structures are used.

    A structure is left out if fewer than `FEWEST_MAPS` label maps have it, if its factor on them (or one over it) is above
    `LARGEST_FACTOR`, so that something else is measured, if its reliability is below `LEAST_RELIABILITY`: the error of the
    transfer is then too large beside the differences between people; or if real people's scans contradict its factor by more
    than `LARGEST_GAP`. People's ages play no part in this.

    Parameters
    ----------
    maps : mapping
        As from `read_mapping`.
    people_sd : mapping of str to float
        For each structure, the standard deviation of the logarithm of its share among the training people.
    conventions : mapping of str to Convention, optional
        From the maps to the table of the training people.
    paired : sequence of mapping
        People whose scans were measured by both: structure → (ours, theirs), mm³. They only check.
    n_resamples, seed : int
        Of the bootstrap over maps.

    Raises
    ------
    BadConfiguration
        If a structure of the brain is on fewer than `FEWEST_MAPS` maps.
    """
    generator = np.random.default_rng(seed)
    known = conventions or {}
    logs = {item.name: np.log([maps[name][item.name] for name in sorted(maps) if item.name in maps[name]]) for item in STRUCTURES}
    poor = [item.label for item in STRUCTURES if item.in_brain and len(logs[item.name]) < FEWEST_MAPS]
    if poor:
        raise BadConfiguration(f"The mapping needs {FEWEST_MAPS} label maps with each of: {', '.join(poor)}.")
    ratios = {name: pairs[:, 1] - pairs[:, 0] if len(pairs) else np.array([]) for name, pairs in logs.items()}
    scaled = tuple(
        replace(item, scale=float(np.exp(ratios[item.name].mean() + known.get(item.name, NO_CONVENTION).log_factor)))
        for item in STRUCTURES
        if len(ratios[item.name])
    )
    errors, gaps = _share_errors(maps, scaled), _gaps(paired, scaled)
    rows = []
    for structure in STRUCTURES:
        name = structure.name
        convention = known.get(name, NO_CONVENTION)
        error = errors.get(name, np.nan)
        rows.append(_row(name, ratios[name], convention, error, people_sd[name], gaps.get(name), generator, n_resamples))
    use = {row.structure: row.used for row in rows}
    kept = tuple(replace(item, used=use[item.name]) for item in scaled if use[item.name] or item.in_brain)
    shares = {row.structure: float(np.hypot(row.share_error, row.convention_se)) for row in rows} | {BRAIN: errors[BRAIN]}
    order = [*(item.name for item in kept if item.used), BRAIN]
    return VolumeMapping(kept, tuple(rows), np.array([shares[name] for name in order]))


def _differences(pairs: Mapping[str, tuple[float, float]], structures: tuple[Structure, ...]) -> dict[str, float]:
    """Mapped less true log share (and log brain volume) by structure; empty if a part of the brain is missing."""
    here = tuple(item for item in structures if item.name in pairs)
    if not all(item.name in pairs for item in structures if item.in_brain):
        return {}
    ours = log_shares({item.name: item.scale * pairs[item.name][0] for item in here}, here)
    theirs = log_shares({item.name: pairs[item.name][1] for item in here}, here)
    return dict(zip([*(item.name for item in here), BRAIN], (ours - theirs).tolist(), strict=True))


def _gaps(paired: Sequence[Mapping[str, tuple[float, float]]], structures: tuple[Structure, ...]) -> dict[str, float]:
    """Median difference of the people measured both ways, by structure."""
    found = [_differences(pairs, structures) for pairs in paired]
    names = {name for row in found for name in row}
    return {name: float(np.median([row[name] for row in found if name in row])) for name in names}


def _share_errors(maps: Mapping[str, Mapping[str, tuple[float, float]]], structures: tuple[Structure, ...]) -> dict[str, float]:
    """Standard deviation over maps of `_differences`."""
    found: dict[str, list[float]] = {}
    for pairs in maps.values():
        for name, difference in _differences(pairs, structures).items():
            found.setdefault(name, []).append(difference)
    return {name: float(np.std(values, ddof=1)) for name, values in found.items() if len(values) > 1}


def _row(
    name: str,
    ratios: np.ndarray,
    convention: Convention,
    error: float,
    people_sd: float,
    gap: float | None,
    generator: np.random.Generator,
    draws: int,
) -> StructureMapping:
    count = len(ratios)
    if count < 2 or not np.isfinite(error):
        reason = f"it is on {count} label maps only"
        return StructureMapping(name, count, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0, people_sd, 0.0, None, False, reason)
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
    elif gap is not None and abs(gap) > LARGEST_GAP:
        reason = f"on real scans its share is {np.exp(gap):.2f} of what FreeSurfer finds"
    return StructureMapping(
        structure=name,
        maps=count,
        scale=scale,
        low=float(low),
        high=float(high),
        convention=convention.log_factor,
        convention_se=convention.se,
        sd_log=float(np.std(ratios, ddof=1)),
        share_error=error,
        people_sd=people_sd,
        reliability=reliability,
        gap=gap,
        used=not reason,
        reason=reason,
    )
