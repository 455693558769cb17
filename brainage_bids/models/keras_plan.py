"""What a Keras HDF5 of a `mrinet` says of its layers beside their weights, so that no other network is taken for one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from brainage_bids.files import WEIGHTS, open_file, parse_json
from brainage_bids.records import BadConfiguration

_SILENT = ("InputLayer", "Flatten", "Dropout")
"""Layers that change nothing in use but the shape."""
_NESTED = ("Sequential", "Functional", "Model")
_SLOPES = {"relu": 0.0, "leaky_relu": 0.2}
"""Slope below zero of activations that are named (Keras' own number for the second)."""


@dataclass(frozen=True)
class KerasPlan:
    """What the file says.

    Attributes
    ----------
    shape : tuple of int, or None
        Spatial shape of the input; None if the file leaves it open.
    leak : float
        Slope of every ReLU below zero.
    """

    shape: tuple[int, ...] | None
    leak: float


def read_plan(path: Path | str) -> KerasPlan | None:
    """Read and check the description of the layers that ``model.save("x.h5")`` puts beside the weights.

    Parameters
    ----------
    path : Path
        An HDF5 file of Keras 2 or 3.

    Returns
    -------
    KerasPlan or None
        None if there is no description, as in files of ``save_weights``.

    Raises
    ------
    BadConfiguration
        If the layers are not those of a `mrinet`: convolutions with stride 1 and max-pool 3, stride 2, all "same", and one slope
        below zero after all but the last.
    """
    import h5py

    try:
        with open_file(path, WEIGHTS) as opened, h5py.File(opened, "r") as file:
            text = file.attrs.get("model_config")
    except OSError as error:
        raise BadConfiguration(f"{path} cannot be read as HDF5 of Keras ({error}).") from error
    if text is None:
        return None
    try:
        return _plan(list(_flat(parse_json(text)["config"])))
    except _Other as error:
        raise BadConfiguration(f"{path} is of another network than a mrinet: {error}.") from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadConfiguration(f"The description of the layers in {path} cannot be read ({error!r}).") from error


class _Other(Exception):
    """What a layer has that a mrinet's has not."""


def _flat(config: Any):
    """Class and settings of every layer, those of nested models in their place; Keras 1 and 2 list them without a mapping."""
    for layer in config["layers"] if isinstance(config, Mapping) else config:
        if layer["class_name"] in _NESTED:
            yield from _flat(layer["config"])
        else:
            yield layer["class_name"], layer["config"]


def _plan(layers: list[tuple[str, Mapping[str, Any]]]) -> KerasPlan:
    slopes: list[float] = []
    weighted = convolutions = pools = 0
    shape = None
    for name, config in layers:
        given = config.get("batch_shape", config.get("batch_input_shape"))
        if shape is None and given is not None and None not in given[1:]:
            shape = tuple(int(n) for n in given[1:-1])
        if name in ("Conv2D", "Conv3D"):
            _want(name, config, {"strides": 1, "dilation_rate": 1, "groups": 1}, "same")
            convolutions += 1
        elif name in ("MaxPooling2D", "MaxPooling3D"):
            _want(name, config, {"pool_size": 3, "strides": 2}, "same")
            pools += 1
        elif name not in ("Dense", "LeakyReLU", "ReLU", "Activation", *_SILENT):
            raise _Other(f"it has a layer {name}")
        weighted += name in ("Conv2D", "Conv3D", "Dense")
        slopes += _slopes(name, config)
    if pools != convolutions or len(slopes) != weighted - 1 or len(set(slopes)) != 1 or slopes[0] < 0:
        found = f"{weighted} layers with weights, {pools} pools after {convolutions} convolutions, and ReLUs of slopes {slopes}"
        raise _Other(f"it has {found}")
    return KerasPlan(shape, slopes[0])


def _want(name: str, config: Mapping[str, Any], numbers: Mapping[str, int], padding: str) -> None:
    """`_Other` if a layer has another padding, order of axes, or numbers (one, or one an axis)."""
    if config.get("padding") != padding or config.get("data_format", "channels_last") != "channels_last":
        raise _Other(f"a {name} has the padding {config.get('padding')!r} and {config.get('data_format')!r}")
    for key, wanted in numbers.items():
        given = config.get(key, wanted)
        if set(given if isinstance(given, list | tuple) else [given]) != {wanted}:
            raise _Other(f"a {name} has {key} {given}")


def _slopes(name: str, config: Mapping[str, Any]) -> list[float]:
    """Slope below zero of the activation that a layer is or has; none for a linear one."""
    if name == "LeakyReLU":
        return [float(config["negative_slope"] if "negative_slope" in config else config["alpha"])]
    if name == "ReLU":
        if config.get("max_value") is not None or config.get("threshold", 0):
            raise _Other("a ReLU has a threshold or a largest value")
        return [float(config.get("negative_slope") or 0.0)]
    named = config.get("activation", "linear")
    if named == "linear":
        return []
    if named not in _SLOPES:
        raise _Other(f"a {name} has the activation {named!r}")
    return [_SLOPES[named]]
