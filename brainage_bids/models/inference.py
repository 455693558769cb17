"""From a model folder and the outputs of one session to one estimate of brain age."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from statistics import NormalDist
from typing import TYPE_CHECKING

from brainage_bids.models.contract import check
from brainage_bids.models.registry import ModelFolder, open_model
from brainage_bids.records import FLAGS, AgeEstimate, BadConfiguration, UnusableInput

if TYPE_CHECKING:
    from brainage_bids.models.gpr import GprModel

LEVEL = 0.95
"""Level of the interval."""


def estimate(
    folder: ModelFolder | Path | str,
    files: Mapping[str, Path],
    volumes: Mapping[str, float],
    *,
    age: float | None,
    sex: str | None = None,
    quality_flags: Iterable[str] = (),
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
        For kinds of model that take it as an input; ``gpr`` does not.
    quality_flags : iterable of str
        Flags of the session and its images (codes of ``records.FLAGS``), which are passed on.

    Returns
    -------
    AgeEstimate
        With a Gaussian interval of level .95, and flags in the order of ``records.FLAGS``.

    Raises
    ------
    BadConfiguration
        If the model cannot be used: a file is missing or altered, its kind is not known, an input is not made by this run.
    UnusableInput
        If an input does not fulfil the contract, or the result is no number.
    """
    folder = folder if isinstance(folder, ModelFolder) else open_model(folder)
    given = set(quality_flags)
    unknown = sorted(given - set(FLAGS))
    if unknown:
        raise ValueError(f"There are no flags {', '.join(unknown)}.")
    model = load_model(folder)
    images = check(folder.card, files)
    cells = model.cells(images, {contract.key: contract.voxel_mm for contract in folder.card.inputs})
    brain_age, sd = model.predict(cells, volumes)
    if not (math.isfinite(brain_age) and math.isfinite(sd) and sd > 0):
        first = next(iter(files.values()))
        raise UnusableInput(f"The model {folder.card.name} gave no number for {first}; look at its maps and volumes.")
    ages = folder.card.training.ages
    raised = {
        "age_missing": age is None,
        "age_out_of_range": age is not None and not ages.low <= age <= ages.high,
        "prediction_out_of_range": not ages.low <= brain_age <= ages.high,
        "input_mismatch": model.unlike_training(cells),
    }
    given |= {flag for flag, holds in raised.items() if holds}
    half = NormalDist().inv_cdf((1 + LEVEL) / 2) * sd
    return AgeEstimate(
        model=folder.card.name,
        modality=folder.card.modality,
        brain_age=brain_age,
        sd=sd,
        sd_within=None,
        sd_between=None,
        low=brain_age - half,
        high=brain_age + half,
        interval_level=LEVEL,
        interval_method="gaussian",
        flags=tuple(flag for flag in FLAGS if flag in given),
        model_sha256=folder.sha256,
    )


def load_model(folder: ModelFolder) -> GprModel:
    """Load a model by the kind on its card.

    Raises
    ------
    BadConfiguration
        If the kind is not known or a part of the model cannot be used.
    """
    kinds: Mapping[str, Callable[[ModelFolder], GprModel]] = {"gpr": _load_gpr}
    if folder.card.kind not in kinds:
        raise BadConfiguration(f"The model {folder.card.name} is of kind {folder.card.kind!r}; this version knows {', '.join(kinds)}.")
    return kinds[folder.card.kind](folder)


def _load_gpr(folder: ModelFolder) -> GprModel:
    from brainage_bids.models.gpr import load_gpr

    return load_gpr(folder)
