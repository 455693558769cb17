"""From a model folder and the outputs of one session to one estimate of brain age."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from statistics import NormalDist

from brainage_bids.models.nets import NETS
from brainage_bids.models.reading import AgeModel, StructureReading
from brainage_bids.models.registry import ModelFolder, open_model
from brainage_bids.records import FLAGS, OTHER_MODALITIES, AgeEstimate, BadConfiguration, BeyondBox, UnusableInput

LEVEL = 0.95
"""Level of the interval."""
MOST_LOADED = 64
"""Models that are kept loaded; H4's ensemble has 45."""
_LOADED: dict[tuple, AgeModel] = {}


def estimate(
    folder: ModelFolder | Path | str,
    files: Mapping[str, Path],
    volumes: Mapping[str, float],
    *,
    age: float | None,
    sex: str | None = None,
    quality_flags: Iterable[str] = (),
    device: str = "cpu",
    precision: str = "float32",
) -> AgeEstimate:
    """Estimate the brain age of one session by one model.

    Parameters
    ----------
    folder : ModelFolder or Path
        The model; see ``registry.find_model``.
    files : mapping
        Inputs by ``InputContract.key`` (``modulated_smooth_GM``); see ``contract.input_paths``. Others are ignored.
    volumes : mapping
        mm³ by the name of a tissue or region; see ``features.read_volumes``.
    age : float or None
        Age at the scan in years. It raises flags and nothing else: the estimate does not look at it.
    sex : str, optional
        For kinds of model that take it as an input; ``gpr`` and ``volumes`` do not.
    quality_flags : iterable of str
        Flags of the session and its images (codes of ``records.FLAGS``), which are passed on.
    device, precision : str
        Of networks; see `load_model`.

    Returns
    -------
    AgeEstimate
        With a Gaussian interval of level .95 (none if the model knows no spread), and flags in the order of ``records.FLAGS``. Without
        an age if the model looks at a FLAIR or SWI that is not there, or the brain is larger than its box; a flag says which.

    Raises
    ------
    BadConfiguration
        If the model cannot be used (a file is missing or altered, its kind is unknown) or an input was not given.
    UnusableInput
        If an input does not fulfil the contract, or the result is no number.
    """
    folder = folder if isinstance(folder, ModelFolder) else open_model(folder)
    given = _in_order(set(quality_flags))
    if not _has_others(folder, files):
        return _without_age(folder, {*given, "modality_missing"})
    try:
        reading = load_model(folder, device=device, precision=precision).read(folder.card, files, volumes)
    except BeyondBox:
        return _without_age(folder, {*given, "brain_beyond_box"})
    brain_age, sd = reading.brain_age, reading.sd
    _check_number(brain_age, sd, folder.card.name, files)
    raised = _raised(folder, brain_age, age) + ("input_mismatch",) * reading.unlike_training
    half = None if sd is None else NormalDist().inv_cdf((1 + LEVEL) / 2) * sd
    return AgeEstimate(
        model=folder.card.name,
        modality=folder.card.modality,
        brain_age=brain_age,
        sd=sd,
        sd_within=None,
        sd_between=None,
        low=None if half is None else brain_age - half,
        high=None if half is None else brain_age + half,
        interval_level=LEVEL,
        interval_method=None if half is None else "gaussian",
        flags=_in_order({*given, *raised}),
        model_sha256=folder.sha256,
    )


def read_structures(folder: ModelFolder, volumes: Mapping[str, float], age: float | None) -> tuple[StructureReading, ...]:
    """What each structure says to a model; empty for kinds that do not look at structures one by one.

    Parameters and errors as in `estimate`; the age chooses the norms and nothing else.
    """
    return load_model(folder).structures(volumes, age)


def needs_others(folder: ModelFolder) -> bool:
    """Whether a model looks at a FLAIR or SWI."""
    return any(contract.modality in OTHER_MODALITIES for contract in folder.card.inputs)


def _has_others(folder: ModelFolder, files: Mapping[str, Path]) -> bool:
    """Whether each FLAIR and SWI that a model looks at is there."""
    wanted = [contract.key for contract in folder.card.inputs if contract.modality in OTHER_MODALITIES]
    return all(key in files and Path(files[key]).is_file() for key in wanted)


def _without_age(folder: ModelFolder, flags: set[str]) -> AgeEstimate:
    """The row of a model that does not fit a session."""
    nothing = dict.fromkeys(("brain_age", "sd", "sd_within", "sd_between", "low", "high", "interval_method"))
    known = {"model": folder.card.name, "modality": folder.card.modality, "interval_level": LEVEL, "model_sha256": folder.sha256}
    return AgeEstimate(**known, **nothing, flags=_in_order(flags))


def _check_number(brain_age: float, sd: float | None, model: str, files: Mapping[str, Path]) -> None:
    if not math.isfinite(brain_age) or (sd is not None and not 0 < sd < math.inf):
        raise UnusableInput(
            f"The model {model} gave no number for {next(iter(files.values()), 'the volumes')}; look at its maps and volumes."
        )


def _raised(folder: ModelFolder, brain_age: float, age: float | None) -> tuple[str, ...]:
    """Flags that follow from the two ages and those of the training people."""
    ages = folder.card.training.ages
    return age_flags(folder, age) + ("prediction_out_of_range",) * (not ages.low <= brain_age <= ages.high)


def age_flags(folder: ModelFolder, age: float | None) -> tuple[str, ...]:
    """Flags that follow from a person's age in years, None if it is not known, and those of the training people."""
    ages = folder.card.training.ages
    if age is None:
        return ("age_missing",)
    return () if ages.low <= age <= ages.high else ("age_out_of_range",)


def _in_order(flags: set[str]) -> tuple[str, ...]:
    """The flags in the order of ``records.FLAGS``; ValueError for one that is not among them."""
    unknown = sorted(flags - set(FLAGS))
    if unknown:
        raise ValueError(f"There are no flags {', '.join(unknown)}.")
    return tuple(flag for flag in FLAGS if flag in flags)


def load_model(folder: ModelFolder, *, device: str = "cpu", precision: str = "float32") -> AgeModel:
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
    if folder.card.kind not in KINDS:
        raise BadConfiguration(f"The model {folder.card.name} is of kind {folder.card.kind!r}; this version knows {', '.join(KINDS)}.")
    key = _state(folder)
    if key not in _LOADED:
        model = KINDS[folder.card.kind](folder)
        while len(_LOADED) >= MOST_LOADED:
            _LOADED.pop(next(iter(_LOADED)))
        _LOADED[key] = model
    return _LOADED[key].running(device, precision) if folder.card.kind in NETS else _LOADED[key]


def _state(folder: ModelFolder) -> tuple:
    """What tells a model, and its files as they are now, from all others."""
    found = []
    for name, digest in sorted(folder.card.files.items()):
        try:
            status = (folder.path / name).stat()
            found.append((name, digest, status.st_mtime_ns, status.st_size))
        except OSError:
            found.append((name, digest, 0, 0))
    return folder.path.resolve(), folder.card.kind, repr(folder.card.inputs), repr(folder.card.volumes), tuple(found)


def _load_gpr(folder: ModelFolder) -> AgeModel:
    from brainage_bids.models.gpr import load_gpr

    return load_gpr(folder)


def _load_volumes(folder: ModelFolder) -> AgeModel:
    from brainage_bids.models.volumes_folder import load_volumes

    return load_volumes(folder)


def _load_network(folder: ModelFolder) -> AgeModel:
    from brainage_bids.models.network import load_network

    return load_network(folder)


def _load_segmenter(folder: ModelFolder) -> AgeModel:
    from brainage_bids.models.segmenter import load_segmenter

    return load_segmenter(folder)


KINDS: Mapping[str, Callable[[ModelFolder], AgeModel]] = {
    "gpr": _load_gpr,
    "volumes": _load_volumes,
    **dict.fromkeys(NETS, _load_network),
    "segment": _load_segmenter,
}
"""What loads a model of each kind."""
