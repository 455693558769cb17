"""From models and the case of one session to predictions, and from a prediction to the row that is written of it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from statistics import NormalDist

from brainage_bids.models.case import Case
from brainage_bids.models.kinds import kind_of
from brainage_bids.models.needs import Age, ModelNeed
from brainage_bids.models.order import Asked
from brainage_bids.models.prediction import BETWEEN, WITHIN, Prediction
from brainage_bids.models.protocols import Model, Movable
from brainage_bids.models.registry import ModelFolder
from brainage_bids.records import FLAGS, AgeEstimate, BadConfiguration, UnusableInput, Withheld

LEVEL = 0.95
"""Level of the interval."""
MOST_LOADED = 64
"""Models that are kept loaded; H4's ensemble has 45."""
_LOADED: dict[tuple, Model] = {}


def predict(asked: Asked, case: Case, *, device: str = "cpu", precision: str = "float32") -> Prediction:
    """Ask a model, and before it the models that it needs and that were not asked yet.

    Parameters
    ----------
    asked : Asked
        See ``order.ask``.
    case : Case
        Keeps what was read and what was said, for the models that follow.
    device, precision : str
        Of networks; see `load_model`.

    Returns
    -------
    Prediction
        Without anything but flags if the session is none for this model (a FLAIR is not there, a brain is larger than its box).

    Raises
    ------
    BadConfiguration
        If a model cannot be used (a file is missing or altered, its kind is unknown, it gives what its card does not say).
    UnusableInput
        If an input does not fulfil its need, or the result is no number.
    """
    for one in asked.everyone():
        if one.key not in case.predictions:
            case.predictions[one.key] = _predicted(one.folder, case, device, precision)
    return case.predictions[asked.key]


def _predicted(folder: ModelFolder, case: Case, device: str, precision: str) -> Prediction:
    own = replace(case, asker=f"the model {folder.card.name}")
    try:
        for need in folder.card.needs:
            if not isinstance(need, ModelNeed) and not case.has(need):
                words = f"The model {folder.card.name} gives nothing for {case.name}, which lacks the {need.key} that it looks at."
                raise Withheld(words, "modality_missing")
        prediction = load_model(folder, device=device, precision=precision).predict(own)
    except Withheld as error:
        return Prediction(flags=(error.code,))
    _check_outputs(folder, prediction)
    return prediction


def _check_outputs(folder: ModelFolder, prediction: Prediction) -> None:
    """Refuse a prediction that is another than the card announces, or no number."""
    card = folder.card
    announced = {output.key for output in card.outputs if not isinstance(output, Age)}
    given = {*prediction.maps, *prediction.tables, *prediction.images}
    if announced != given or (prediction.age is None) == card.gives_age:
        told = f"{', '.join(sorted(announced)) or 'nothing'}{' and an age' * card.gives_age}"
        raise BadConfiguration(f"The model {card.name} gave other outputs than its card says ({told}); get the model again.")
    if prediction.age is not None:
        mean, sd = prediction.age.mean, prediction.age.sd
        if not math.isfinite(mean) or (sd is not None and not 0 < sd < math.inf):
            raise UnusableInput(f"The model {card.name} gave no number for this session; look at its maps and volumes.")


def estimate_of(asked: Asked, prediction: Prediction, *, age: float | None, quality_flags: Iterable[str] = ()) -> AgeEstimate:
    """The row that is written of a prediction.

    Parameters
    ----------
    asked : Asked
    prediction : Prediction
        Of `predict`.
    age : float or None
        Age at the scan in years. It raises flags and nothing else: the estimate does not look at it.
    quality_flags : iterable of str
        Flags of the session and its images (codes of ``records.FLAGS``), which are passed on.

    Returns
    -------
    AgeEstimate
        With a Gaussian interval of level .95 (none if the model knows no spread), and flags in the order of ``records.FLAGS``.
    """
    estimate = prediction.age
    mean, sd = (None, None) if estimate is None else (estimate.mean, estimate.sd)
    half = None if sd is None else NormalDist().inv_cdf((1 + LEVEL) / 2) * sd
    levels = {} if estimate is None else estimate.variance
    within, between = (math.sqrt(levels[level]) if level in levels else None for level in (WITHIN, BETWEEN))
    raised = () if estimate is None else age_flags(asked.folder, mean, age)
    return AgeEstimate(
        model=asked.folder.card.name,
        modality=asked.modality,
        brain_age=mean,
        sd=sd,
        sd_within=within,
        sd_between=between,
        low=None if half is None else mean - half,
        high=None if half is None else mean + half,
        interval_level=LEVEL,
        interval_method=None if half is None else "gaussian",
        flags=_in_order({*quality_flags, *prediction.flags, *raised}),
        model_sha256=asked.folder.sha256,
    )


def age_flags(folder: ModelFolder, brain_age: float, age: float | None) -> tuple[str, ...]:
    """Flags that follow from the two ages and those of the training people."""
    ages = folder.card.training.ages
    raised = {
        "age_missing": age is None,
        "age_out_of_range": age is not None and not ages.low <= age <= ages.high,
        "prediction_out_of_range": not ages.low <= brain_age <= ages.high,
    }
    return tuple(flag for flag, holds in raised.items() if holds)


def _in_order(flags: set[str]) -> tuple[str, ...]:
    """The flags in the order of ``records.FLAGS``; ValueError for one that is not among them."""
    unknown = sorted(flags - set(FLAGS))
    if unknown:
        raise ValueError(f"There are no flags {', '.join(unknown)}.")
    return tuple(flag for flag in FLAGS if flag in flags)


def load_model(folder: ModelFolder, *, device: str = "cpu", precision: str = "float32") -> Model:
    """Load a model by the kind on its card; what was loaded before and has not changed since is not loaded again.

    Parameters
    ----------
    folder : ModelFolder
    device : {"cpu", "cuda", "auto"}
        Where a network runs; auto takes a GPU if there is one. Other kinds do as always.
    precision : {"float32", "bfloat16"}
        Of a network's convolutions; the age is computed in float32 always (docs/benchmarks.md has seconds and differences).

    Raises
    ------
    BadConfiguration
        If the kind is not known, a part of the model cannot be used or there is no such device.
    """
    kind = kind_of(folder)
    key = _state(folder)
    if key not in _LOADED:
        model = kind.load(folder)
        while len(_LOADED) >= MOST_LOADED:
            _LOADED.pop(next(iter(_LOADED)))
        _LOADED[key] = model
    model = _LOADED[key]
    return model.running(device, precision) if isinstance(model, Movable) else model


def _state(folder: ModelFolder) -> tuple:
    """What tells a model, and its files as they are now, from all others."""
    found = []
    for name, digest in sorted(folder.card.files.items()):
        try:
            status = (folder.path / name).stat()
            found.append((name, digest, status.st_mtime_ns, status.st_size))
        except OSError:
            found.append((name, digest, 0, 0))
    return folder.path.resolve(), folder.card.kind, repr(folder.card.needs), tuple(found)
