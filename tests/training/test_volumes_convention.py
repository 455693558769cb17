"""People and label maps of one kind, the maps' cortex drawn thicker by a known factor."""

import numpy as np
import pytest

from brainage_bids.models.volumes import STRUCTURES
from brainage_bids.records import BadConfiguration
from brainage_bids.training.volumes_convention import find_conventions
from brainage_bids.training.volumes_table import VolumeTable

MEAN = {item.name: 450e3 if item.name in ("cortex", "white_matter") else 1e4 for item in STRUCTURES}


def person(generator, spread=1.0, factors=None):
    """Volumes that all follow how large the ventricles are."""
    wide = generator.normal(0, 0.4 * spread)
    volumes = {name: mean * np.exp(-0.1 * wide + generator.normal(0, 0.02)) for name, mean in MEAN.items()}
    volumes["lateral_ventricles"] = 2e4 * np.exp(wide)
    return {name: value * (factors or {}).get(name, 1.0) for name, value in volumes.items()}


def table(n=300, seed=1):
    generator = np.random.default_rng(seed)
    people = tuple(person(generator) for _ in range(n))
    return VolumeTable(tuple(f"sub-{i}" for i in range(n)), np.full(n, 50.0), (None,) * n, (None,) * n, people)


def label_maps(n=14, seed=2, **options):
    generator = np.random.default_rng(seed)
    return {f"map{i}": {name: (0.0, value) for name, value in person(generator, **options).items()} for i in range(n)}


def test_equal_borders_need_no_factor():
    for name, found in find_conventions(table(), label_maps()).items():
        assert abs(found.log_factor) <= max(4 * found.se, 1e-9), name


def test_a_thicker_cortex_is_seen_whatever_the_age_of_the_maps():
    factors = {"cortex": 1.1, "caudate": 0.8}
    found = find_conventions(table(), label_maps(spread=0.5, factors=factors))
    grown = np.log((450e3 * 2.1 + 7.8e4) / (450e3 * 2 + 8e4))  # the cerebrum grows with its cortex
    assert found["caudate"].log_factor == pytest.approx(-np.log(0.8) + grown, abs=0.03)
    assert found["cortex"].log_factor - found["white_matter"].log_factor == pytest.approx(-np.log(1.1), abs=0.02)
    assert found["lateral_ventricles"].log_factor == 0 and found["lateral_ventricles"].se == 0


def test_maps_beyond_the_people_are_passed_over():
    maps = label_maps(6)
    for pairs in list(maps.values())[:2]:
        pairs["lateral_ventricles"] = (0.0, 5e5)
    with pytest.raises(BadConfiguration, match="5 label maps"):
        find_conventions(table(), maps)
