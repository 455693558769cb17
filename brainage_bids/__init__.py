"""Brain age from raw BIDS: estimate, spread, quality flags and a report for every participant.

From Python (docs/python.md); nothing is imported before it is asked for::

    import brainage_bids as bb

    found = bb.predict("sub-01_T1w.nii.gz", model="volumes", age=52)
    print(found.brain_age, found.low, found.high, found.flags)
"""

__version__ = "0.2.0"

_PLACES = {
    "BrainAge": "api",
    "Segmented": "api",
    "predict": "api",
    "read_cohort": "api",
    "segment": "api",
    "load_model": "models",
    "BadConfiguration": "records",
    "BadDataset": "records",
    "FLAGS": "records",
    "UnusableInput": "records",
}
__all__ = [*sorted(_PLACES), "__version__"]  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> object:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = globals()[name] = getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
