"""Models of kind ``volumes`` as files: ``heads.json`` and the weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from brainage_bids.models.heads import arrays_under, read_heads
from brainage_bids.models.needs import VOLUMES
from brainage_bids.models.norms import read_norms
from brainage_bids.models.registry import WEIGHTS, ModelFolder
from brainage_bids.models.regressor import regressor_from_files, regressor_to_json
from brainage_bids.models.volumes import Structure, VolumeModel
from brainage_bids.models.weights import describe_arrays, load_arrays
from brainage_bids.records import BadConfiguration

KIND = "volumes"
FORMAT = 1
"""Version of the layout of ``heads.json`` and the weights."""


def volumes_to_files(model: VolumeModel) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Arrays for the weights and the content of ``heads.json``.

    Scales and offset lie with the weights, so that a model that was calibrated has another SHA-256 than the one it came from.
    """
    arrays = {
        "centre": model.centre,
        "spread": model.spread,
        "low": model.low,
        "high": model.high,
        "scale": np.array([structure.scale for structure in model.model_structures]),
        "offset": np.array([model.offset]),
        **{f"regressor.{name}": array for name, array in model.regressor.arrays.items()},
    }
    arrays = {name: np.asarray(array, dtype=np.float64) for name, array in arrays.items()}
    structures = [
        {"name": item.name, "label": item.label, "parts": list(item.parts), "in_brain": item.in_brain, "used": item.used}
        for item in model.model_structures
    ]
    heads = {
        "kind": KIND,
        "format": FORMAT,
        "structures": structures,
        "regressor": regressor_to_json(model.regressor),
        "arrays": describe_arrays(arrays),
    }
    return arrays, heads


def load_volumes(folder: ModelFolder) -> VolumeModel:
    """Load a model of kind ``volumes``.

    Raises
    ------
    BadConfiguration
        If a file is missing or another one than the card says, or arrays and descriptions do not fit each other.
    """
    heads = read_heads(folder, KIND, FORMAT)
    norms = read_norms(folder)
    try:
        arrays = load_arrays(folder.path / WEIGHTS, folder.digest(WEIGHTS), heads["arrays"])
        model = VolumeModel(
            model_structures=_structures(heads["structures"], arrays["scale"]),
            centre=arrays["centre"],
            spread=arrays["spread"],
            low=arrays["low"],
            high=arrays["high"],
            regressor=regressor_from_files(heads["regressor"], arrays_under(arrays, "regressor.")),
            offset=float(arrays["offset"][0]),
            norms=norms,
        )
    except BadConfiguration:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise BadConfiguration(f"The heads.json of the model {folder.card.name} is not as it should be ({error!r}).") from error
    _check(model, folder)
    return model


def _structures(content: list[Mapping[str, Any]], scales: np.ndarray) -> tuple[Structure, ...]:
    return tuple(
        Structure(str(item["name"]), str(item["label"]), tuple(map(str, item["parts"])), bool(item["in_brain"]), bool(item["used"]), scale)
        for item, scale in zip(content, map(float, scales), strict=True)
    )


def _check(model: VolumeModel, folder: ModelFolder) -> None:
    """Refuse arrays that do not fit each other or the card, and numbers that cannot be used."""
    d = len(model.used) + 1
    first = model.regressor.arrays["coefficients" if model.regressor.kernel == "linear" else "support"]
    names = {part for structure in model.model_structures for part in structure.parts}
    given = {name for need in folder.card.tables if need.source == VOLUMES for name in need.columns}
    fits = (
        names == given
        and any(structure.in_brain for structure in model.model_structures)
        and all(values.shape == (d,) for values in (model.centre, model.spread, model.low, model.high))
        and first.shape[-1] == d
        and set(model.norms) <= {structure.name for structure in model.used}
    )
    if not fits:
        raise BadConfiguration(f"The parts of the model {folder.card.name} do not fit each other or its card; get the model again.")
    scales = np.array([structure.scale for structure in model.model_structures])
    finite = all(np.isfinite(values).all() for values in (model.centre, model.spread, model.low, model.high, scales, model.offset))
    if not finite or not np.all(model.spread > 0) or not np.all(scales > 0):
        raise BadConfiguration(f"The weights of the model {folder.card.name} hold numbers that cannot be used; get the model again.")
