import subprocess
import sys

HEAVY = ("pandas", "scipy.stats", "statsmodels", "sklearn", "neuroHarmonize", "torch", "nipype", "matplotlib", "pingouin")


def test_rooms_are_cheap_to_import():
    code = (
        "import importlib, pkgutil, sys, brainage_bids.stats, brainage_bids.cohort\n"
        "for room in (brainage_bids.stats, brainage_bids.cohort):\n"
        "    for module in pkgutil.iter_modules(room.__path__, room.__name__ + '.'):\n"
        "        importlib.import_module(module.name)\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
