"""Nulls are rejected and intervals hold the truth as often as said: the checks of ``benchmarks/calibration.py``."""

import importlib.util
from pathlib import Path

import pytest

PATH = Path(__file__).resolve().parents[2] / "benchmarks" / "calibration.py"
TABLES = 200
SLOW = (
    "mixed",
    "windows",
    "formula",
    "coefficient",
    "sign_flip",
    "shuffle",
    "mediation",
    "mediators",
    "acme",
    "ade",
    "mae",
    "slope",
    "within",
    "paired",
)


def _load():
    spec = importlib.util.spec_from_file_location("calibration", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


calibration = _load()
QUICK = [name for name in calibration.CHECKS if not any(word in name for word in SLOW)]


@pytest.mark.parametrize("name", QUICK)
def test_quick_checks(name):
    low, high = calibration.band(TABLES, calibration.expected(name))
    found = calibration.count(calibration.CHECKS[name], TABLES)
    assert (0 if name in calibration.AT_MOST else low) <= found <= high


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in calibration.CHECKS if name not in QUICK])
def test_slow_checks(name):
    test_quick_checks(name)


def test_a_wrong_interval_is_found_out():
    low, high = calibration.band(TABLES, 0.95)
    narrow = calibration.count(lambda draw: abs(draw.normal()) < 1.5, TABLES)  # 87 %
    assert not low <= narrow <= high
