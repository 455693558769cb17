"""Between label maps and FreeSurfer's tables: where the two draw a border differently although both name the structure alike.

Label maps are drawn voxel by voxel, FreeSurfer's volumes of cortex and white matter come from surfaces, and its tables name the choroid
plexus apart. Nobody was measured both ways here, and the ages of the people behind the maps are not known. What ventricles show
is: at equal lateral ventricles, relative to the cerebrum, people should have the same shares of everything else. So each structure's
share is regressed on that of the lateral ventricles among the people of the table, and the mean distance of the maps from that
line is the convention.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from brainage_bids.models.volumes import STRUCTURES, log_shares
from brainage_bids.records import BadConfiguration
from brainage_bids.training.volumes_table import VolumeTable

ANCHOR = "lateral_ventricles"
"""The structure that is taken to be measured alike, inferior horns and choroid plexus included."""
DEGREE = 2
FEWEST = 5
"""Label maps that are needed."""


@dataclass(frozen=True)
class Convention:
    """How a structure's share differs between label maps and a table.

    Attributes
    ----------
    log_factor : float
        Logarithm of the table's share over the maps', at equal lateral ventricles.
    se : float
        Its standard error over maps.
    """

    log_factor: float
    se: float


def find_conventions(table: VolumeTable, maps: Mapping[str, Mapping[str, tuple[float, float]]]) -> dict[str, Convention]:
    """Compare label maps with the people of a table at equal lateral ventricles.

    Parameters
    ----------
    table : VolumeTable
        The training people.
    maps : mapping
        As from ``volumes_mapping.read_mapping``; only the maps' own volumes are looked at. Maps that lack a structure, and those whose
        ventricles are smaller or larger than anybody's in the table, are passed over.

    Returns
    -------
    dict
        By the name of a structure.

    Raises
    ------
    BadConfiguration
        If fewer than `FEWEST` maps can be compared.
    """
    names = [structure.name for structure in STRUCTURES]
    people = table.features(STRUCTURES)[:, :-1]
    whole = [pairs for _, pairs in sorted(maps.items()) if all(name in pairs for name in names)]
    theirs = np.array([log_shares({name: pairs[name][1] for name in names}, STRUCTURES)[:-1] for pairs in whole]).reshape(-1, len(names))
    anchor = names.index(ANCHOR)
    low, high = people[:, anchor].min(), people[:, anchor].max()
    theirs = theirs[(theirs[:, anchor] >= low) & (theirs[:, anchor] <= high)]
    if len(theirs) < FEWEST:
        raise BadConfiguration(f"The mapping needs {FEWEST} label maps with every structure and with ventricles like the table's people.")
    found = {}
    for column, name in enumerate(names):
        if name == ANCHOR:
            found[name] = Convention(0.0, 0.0)
            continue
        line = np.polynomial.Polynomial.fit(people[:, anchor], people[:, column], DEGREE)
        distance = line(theirs[:, anchor]) - theirs[:, column]
        found[name] = Convention(float(distance.mean()), float(distance.std(ddof=1) / np.sqrt(len(distance))))
    return found
