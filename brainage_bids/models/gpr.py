"""Models of kind ``gpr``: principal components of tissue maps and relative volumes, then ridge or a Gaussian process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from brainage_bids.models.features import VolumeRatio, block_means, cell_count, ratios_from_json, ratios_to_json, volume_ratios
from brainage_bids.models.heads import arrays_under, read_heads
from brainage_bids.models.image_contract import InputContract
from brainage_bids.models.needs import VOLUMES, ImageNeed, TableNeed
from brainage_bids.models.prediction import Estimate, Prediction
from brainage_bids.models.registry import WEIGHTS, ModelFolder
from brainage_bids.models.regressor import Regressor, regressor_from_files, regressor_to_json
from brainage_bids.models.weights import describe_arrays, load_arrays
from brainage_bids.records import BadConfiguration

if TYPE_CHECKING:
    from brainage_bids.models.case import Case

KIND = "gpr"
FORMAT = 1
"""Version of the layout of ``heads.json`` and the weights."""


@dataclass(frozen=True)
class GprModel:
    """Everything that turns maps and volumes into an age.

    Attributes
    ----------
    maps : tuple of str
        Keys of the maps (``modulated_smooth_GM``), in the order of `mean`.
    cell_mm : float
        Edge of the cells over which maps are averaged.
    mask : ndarray of bool, shape (X, Y, Z)
        Cells that are looked at.
    mean : ndarray, shape (maps × cells in mask,), float32
        Mean of the training rows, map after map.
    components : ndarray, shape (k, maps × cells in mask), float16 or wider
        Principal components, each divided by its entry in `component_scale`.
    component_scale : ndarray, shape (k,), float64
    score_scale : float
        Scores are divided by it, so that together they have a mean square of 1 in training.
    ratios : tuple of VolumeRatio
        Volumes that are looked at; may be empty.
    ratio_mean, ratio_sd : ndarray, shape (len(ratios),), float64
        Of the training rows; standardised ratios are divided by √len(ratios).
    regressor : Regressor
        From scores and ratios to age.
    similarity : mapping of str to float
        For each map the lowest correlation with the training mean that counts as the same kind of map.
    needs : tuple of ImageNeed
        The maps as they lie among the outputs of a session; empty for a model that is not in a folder yet.
    """

    maps: tuple[str, ...]
    cell_mm: float
    mask: np.ndarray
    mean: np.ndarray
    components: np.ndarray
    component_scale: np.ndarray
    score_scale: float
    ratios: tuple[VolumeRatio, ...]
    ratio_mean: np.ndarray
    ratio_sd: np.ndarray
    regressor: Regressor
    similarity: Mapping[str, float]
    needs: tuple[ImageNeed, ...] = ()

    def predict(self, case: Case) -> Prediction:
        """Read the maps and volumes of a case and estimate the brain age (``prediction.Model``)."""
        images = {need.key: case.image(need) for need in self.needs}
        cells = self.cells(images, {need.key: need.contract.voxel_mm for need in self.needs})
        parts = dict.fromkeys(part for ratio in self.ratios for part in ratio.parts)
        volumes = case.table(TableNeed(VOLUMES, tuple(parts))) if parts else {}
        flags = ("input_mismatch",) if self.unlike_training(cells) else ()
        return Prediction(Estimate(*self.age(cells, volumes)), flags=flags)

    def cells(self, images: Mapping[str, np.ndarray], voxel_mm: Mapping[str, tuple[float, float, float]]) -> dict[str, np.ndarray]:
        """Masked cell means, (cells in mask,) float32 each, of the maps on their fine grid."""
        return {key: block_means(images[key], voxel_mm[key], self.cell_mm)[self.mask] for key in self.maps}

    def features(self, cells: Mapping[str, np.ndarray], volumes: Mapping[str, float]) -> np.ndarray:
        """Standardised scores and ratios of one person, shape (d,), float64.

        Parameters
        ----------
        cells : mapping
            As from `cells`.
        volumes : mapping
            As from ``features.read_volumes``.
        """
        values = np.concatenate([np.asarray(cells[key], dtype=np.float64) for key in self.maps]) - self.mean
        scores = project(values[None, :], self.components, self.component_scale)[0] / self.score_scale
        if not self.ratios:
            return scores
        standard = (volume_ratios(volumes, self.ratios) - self.ratio_mean) / self.ratio_sd
        return np.concatenate([scores, standard / np.sqrt(len(self.ratios))])

    def age(self, cells: Mapping[str, np.ndarray], volumes: Mapping[str, float]) -> tuple[float, float]:
        """Brain age and its standard deviation in years."""
        mean, sd = self.regressor.predict(self.features(cells, volumes)[None, :])
        return float(mean[0]), float(sd[0])

    def unlike_training(self, cells: Mapping[str, np.ndarray]) -> bool:
        """Whether a map looks unlike all training maps: a failed registration, or maps made in another way."""
        size = int(np.count_nonzero(self.mask))
        means = {key: self.mean[i * size : (i + 1) * size] for i, key in enumerate(self.maps)}
        return any(not correlation(cells[key], means[key]) >= self.similarity[key] for key in self.maps)


def correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Pearson correlation; 0 if one of the two is constant.

    >>> correlation(np.array([1.0, 2.0, 3.0]), np.array([2.0, 4.0, 6.0])), correlation(np.zeros(3), np.arange(3.0))
    (1.0, 0.0)
    """
    first, second = (np.asarray(values, dtype=np.float64) - np.mean(values, dtype=np.float64) for values in (first, second))
    norm = float(np.sqrt((first @ first) * (second @ second)))
    return float(first @ second) / norm if norm > 0 else 0.0


def project(centred: np.ndarray, components: np.ndarray, component_scale: np.ndarray) -> np.ndarray:
    """Scores of centred rows.

    Parameters
    ----------
    centred : ndarray, shape (n, features)
    components, component_scale
        As in `GprModel`.

    Returns
    -------
    ndarray, shape (n, k), float64

    Examples
    --------
    >>> project(np.array([[3.0, 4.0]]), np.array([[1.0, 0.0]], np.float16), np.array([2.0])).tolist()
    [[6.0]]
    """
    return np.asarray(centred, dtype=np.float64) @ np.asarray(components, dtype=np.float64).T * component_scale


def gpr_to_files(model: GprModel) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Arrays for the weights and the content of ``heads.json``."""
    arrays = {
        "mask": model.mask.astype(np.uint8),
        "mean": model.mean.astype(np.float32),
        "components": model.components,
        "component_scale": model.component_scale.astype(np.float64),
        "ratio_mean": model.ratio_mean.astype(np.float64),
        "ratio_sd": model.ratio_sd.astype(np.float64),
        **{f"regressor.{name}": array for name, array in model.regressor.arrays.items()},
    }
    heads = {
        "kind": KIND,
        "format": FORMAT,
        "maps": list(model.maps),
        "cell_mm": model.cell_mm,
        "score_scale": model.score_scale,
        "ratios": ratios_to_json(model.ratios),
        "regressor": regressor_to_json(model.regressor),
        "similarity": dict(model.similarity),
        "arrays": describe_arrays(arrays),
    }
    return arrays, heads


def load_gpr(folder: ModelFolder) -> GprModel:
    """Load a model of kind ``gpr``.

    Raises
    ------
    BadConfiguration
        If a file is missing or another one than the card says, or arrays and descriptions do not fit each other.
    """
    heads = read_heads(folder, KIND, FORMAT)
    try:
        arrays = load_arrays(folder.path / WEIGHTS, folder.sha256, heads["arrays"])
        ratios = ratios_from_json(heads["ratios"])
        model = GprModel(
            maps=tuple(map(str, heads["maps"])),
            cell_mm=float(heads["cell_mm"]),
            mask=arrays["mask"].astype(bool),
            mean=arrays["mean"],
            components=arrays["components"],
            component_scale=arrays["component_scale"],
            score_scale=float(heads["score_scale"]),
            ratios=ratios,
            ratio_mean=arrays["ratio_mean"],
            ratio_sd=arrays["ratio_sd"],
            regressor=regressor_from_files(heads["regressor"], arrays_under(arrays, "regressor.")),
            similarity={str(key): float(value) for key, value in heads["similarity"].items()},
            needs=tuple(need for need in folder.card.needs if isinstance(need, ImageNeed)),
        )
    except BadConfiguration:
        raise
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadConfiguration(f"The heads.json of the model {folder.card.name} is not as it should be ({error!r}).") from error
    _check_shapes(model, folder)
    return model


def _check_shapes(model: GprModel, folder: ModelFolder) -> None:
    """Refuse arrays that do not fit each other or the card's contract."""
    cells = int(np.count_nonzero(model.mask)) * len(model.maps)
    k, m = len(model.component_scale), len(model.ratios)
    first = model.regressor.arrays["coefficients" if model.regressor.kernel == "linear" else "support"]
    fits = (
        set(model.maps) == {contract.key for contract in folder.card.contracts}
        and set(model.similarity) == set(model.maps)
        and model.mean.shape == (cells,)
        and model.components.shape == (k, cells)
        and model.ratio_mean.shape == model.ratio_sd.shape == (m,)
        and first.shape[-1] == k + m
        and all(block_shape(contract, model.cell_mm) == model.mask.shape for contract in folder.card.contracts)
    )
    if not fits:
        raise BadConfiguration(f"The parts of the model {folder.card.name} do not fit each other or its card; get the model again.")
    arrays = (model.mean, model.components, model.component_scale, model.ratio_mean, model.ratio_sd)
    if not all(np.isfinite(values).all() for values in arrays) or not model.score_scale > 0 or not np.all(model.ratio_sd > 0):
        raise BadConfiguration(f"The weights of the model {folder.card.name} hold numbers that cannot be used; get the model again.")


def block_shape(contract: InputContract, cell_mm: float) -> tuple[int, ...]:
    """Shape of the cells that cover the grid of an input contract."""
    return tuple(cell_count(n, edge, cell_mm) for n, edge in zip(contract.shape, contract.voxel_mm, strict=True))
