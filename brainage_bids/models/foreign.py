"""Weights that others published, read into the names of our networks: SFCN's state dict and Keras' HDF5."""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import prod
from pathlib import Path

import numpy as np

from brainage_bids.files import WEIGHTS, open_file
from brainage_bids.models.blocks import halved_up
from brainage_bids.records import BadConfiguration

_NO_LAYERS = ("optimizer_weights", "optimizer", "seed_generator")
"""Groups of Keras' files that hold no weights of the network."""


def read_sfcn(path: Path | str) -> tuple[dict[str, np.ndarray], int]:
    """Read SFCN's state dict as its authors save it.

    Keys are ``feature_extractor.conv_0.0.weight`` … ``classifier.conv_6.weight``, with or without the ``module.`` of
    DataParallel; a checkpoint that holds the state dict under ``state_dict`` or ``model`` is taken too.

    Parameters
    ----------
    path : Path
        A file of ``torch.save``; nothing in it is executed.

    Returns
    -------
    dict, int
        Arrays by the names of ``nets.sfcn.Sfcn``, and the number of outputs.

    Raises
    ------
    BadConfiguration
        If the file cannot be read so, or is of another network.
    """
    state = _torch_file(Path(path))
    for key in ("state_dict", "model"):
        if isinstance(state.get(key), Mapping):
            state = state[key]
    arrays: dict[str, np.ndarray] = {}
    for name, value in state.items():
        name = str(name).removeprefix("module.")
        if name.endswith("num_batches_tracked"):
            continue
        for before, after in (("feature_extractor.", "convolutions."), ("classifier.conv_6.", "head.layer.conv.")):
            if name.startswith(before):
                arrays[after + name.removeprefix(before)] = _plain(path, name, value)
                break
        else:
            raise BadConfiguration(f"{path} is no state dict of SFCN: it has {name!r}.")
    last = arrays.get("head.layer.conv.bias")
    if last is None or "convolutions.conv_0.0.weight" not in arrays:
        raise BadConfiguration(f"{path} is no state dict of SFCN: conv_0 or classifier.conv_6 is missing.")
    return arrays, int(last.size)


def _plain(path: Path | str, name: str, value: object) -> np.ndarray:
    """A tensor as float32; BadConfiguration for what cannot be a weight."""
    import torch

    if not isinstance(value, torch.Tensor) or not value.is_floating_point() or value.layout != torch.strided:
        raise BadConfiguration(f"{path} is no state dict of SFCN: {name} is no array of numbers.")
    array = value.detach().float().numpy()
    check_numbers(path, name, array)
    if name.endswith("running_var") and (array < 0).any():
        raise BadConfiguration(f"{name} in {path} holds variances below zero; get the file again.")
    return array


def check_numbers(path: Path | str, name: str, array: np.ndarray) -> None:
    """BadConfiguration if an array of a file holds NaN or infinity."""
    if not np.isfinite(array).all():
        raise BadConfiguration(f"{name} in {path} holds values that are not finite; get the file again.")


def _torch_file(path: Path) -> Mapping:
    import pickle

    import torch

    try:
        with open_file(path, WEIGHTS) as file:
            state = torch.load(file, map_location="cpu", weights_only=True)
    except OSError as error:
        raise BadConfiguration(f"The weights {path} cannot be read ({error.strerror or error}).") from error
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, LookupError, AttributeError, TypeError, ArithmeticError) as error:
        # torch's own words advise to run what is in the file
        words = "is no file of plain weights: it is damaged, or holds objects that only code in it could make, which is never run"
        raise BadConfiguration(f"{path} {words}. Get the file again, or ask for the state dict alone.") from error
    if not isinstance(state, Mapping):
        raise BadConfiguration(f"{path} holds no state dict.")
    return state


def read_keras(path: Path | str) -> list[tuple[np.ndarray, np.ndarray]]:
    """Kernels and biases of a Keras model in the order of its layers.

    Read are files of ``model.save("x.h5")`` and ``save_weights`` of Keras 2 (``kernel:0``) and Keras 3 (``kernel``), and
    ``x.weights.h5`` of Keras 3 (``vars/0``, ``vars/1``).

    Raises
    ------
    BadConfiguration
        If the file is no HDF5, holds no layers with a kernel and a bias, or holds weights of other layers too (batch norm, a
        convolution without bias): a network without a part of its weights says nonsense.
    """
    import h5py

    others: list[str] = []
    try:
        with open_file(path, WEIGHTS) as opened, h5py.File(opened, "r") as file:
            root = _item(file, "model_weights") if "model_weights" in list(file) else file
            names = [_text(name) for name in root.attrs.get("layer_names", ())]
            groups = [_item(root, name) for name in names] if names else [root]
            layers = [layer for group in groups for layer in _layers(group, others)]
    except (OSError, KeyError, ValueError, TypeError, AttributeError, RuntimeError) as error:
        raise BadConfiguration(f"{path} cannot be read as HDF5 of Keras ({error}).") from error
    if not layers:
        raise BadConfiguration(f"{path} holds no layers with a kernel and a bias.")
    if others:
        raise BadConfiguration(f"{path} holds weights of layers that a mrinet has not: {', '.join(others[:5])}.")
    for number, layer in enumerate(layers, 1):
        for array in layer:
            check_numbers(path, f"layer {number}", array)
    return layers


def _text(name: object) -> str:
    return name.decode() if isinstance(name, bytes) else str(name)


def _item(group, path: str):
    """What is in a file itself; ValueError for what lies elsewhere (a pipe, say) or is larger than any weights."""
    import h5py

    for name in path.strip("/").split("/"):
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            raise ValueError(f"{name} is a link to another place")
        group = group[name]
    if isinstance(group, h5py.Dataset) and (group.is_virtual or group.external or group.nbytes > WEIGHTS.mib * 2**20):
        raise ValueError(f"{group.name} is not in the file itself, or larger than {WEIGHTS.mib} MiB")
    return group


def _layers(group, others: list[str]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Kernel and bias of every layer below a group, counted names in the order of their numbers; names of other arrays to `others`."""
    import h5py

    items = {name: _item(group, name) for name in group}
    here = {name.split(":")[0]: item for name, item in items.items() if isinstance(item, h5py.Dataset)}
    kernel, bias = here.get("kernel", here.get("0")), here.get("bias", here.get("1"))
    if kernel is not None and bias is not None and len(here) == 2 and kernel.ndim >= 2 and bias.ndim == 1:
        return [(np.asarray(kernel, dtype=np.float32), np.asarray(bias, dtype=np.float32))]
    others += [item.name for item in here.values()]
    below = [(name, item) for name, item in items.items() if isinstance(item, h5py.Group) and name not in _NO_LAYERS]
    ordered = sorted(below, key=lambda pair: _by_number(pair[0]))
    return [layer for _, item in ordered for layer in _layers(item, others)]


def _by_number(name: str) -> tuple[int, str, int]:
    """Convolutions before dense layers, each by its number: ``conv3d``, ``conv3d_1``, …, ``conv3d_10``, ``dense``."""
    found = re.fullmatch(r"(.*?)_?(\d*)", name)
    stem, number = (found[1], found[2]) if found else (name, "")
    return int(not stem.startswith("conv")), stem, int(number or 0)


def mrinet_from_keras(layers: list[tuple[np.ndarray, np.ndarray]], shape: tuple[int, ...]) -> tuple[dict[str, np.ndarray], dict]:
    """Put the layers of a Keras `mrinet` (channels last) into ours (channels first).

    Kernels turn from (k…, in, out) to (out, in, k…). Keras flattens (x, y, z, channel), we flatten (channel, x, y, z): the
    columns of the first dense layer are put in that order.

    Parameters
    ----------
    layers : list of (ndarray, ndarray)
        From `read_keras`.
    shape : tuple of int
        Of the network's input.

    Returns
    -------
    dict, dict
        Arrays by the names of ``nets.mrinet.MriNet``, and its architecture.

    Raises
    ------
    BadConfiguration
        If the layers are not those of a `mrinet` on this grid.
    """
    nd = len(shape)
    convolutions = [layer for layer in layers if layer[0].ndim == nd + 2]
    dense = [layer for layer in layers if layer[0].ndim == 2]
    if not convolutions or len(dense) != 2 or len(convolutions) + 2 != len(layers) or dense[1][0].shape[1] != 1:
        found = ", ".join("×".join(map(str, kernel.shape)) for kernel, _ in layers)
        raise BadConfiguration(f"These are not the layers of a mrinet with {nd} spatial axes: {found}.")
    widths = [kernel.shape[-1] for kernel, _ in convolutions]
    below = halved_up(shape, len(widths))
    (first, first_bias), (last, last_bias) = dense
    if first.shape[0] != prod(below) * widths[-1]:
        given = prod(below) * widths[-1]
        raise BadConfiguration(f"The dense layer of the file has {first.shape[0]} inputs; a grid of {tuple(shape)} gives {given}.")
    arrays = {}
    for number, (kernel, bias) in enumerate(convolutions):
        arrays[f"convolutions.{3 * number}.weight"] = np.ascontiguousarray(np.moveaxis(kernel, (-1, -2), (0, 1)))
        arrays[f"convolutions.{3 * number}.bias"] = bias
    turned = np.moveaxis(first.reshape(*below, widths[-1], -1), (-1, -2), (0, 1))
    arrays["dense.2.weight"] = np.ascontiguousarray(turned).reshape(first.shape[1], -1)
    arrays |= {"dense.2.bias": first_bias, "head.linear.weight": np.ascontiguousarray(last.T), "head.linear.bias": last_bias}
    architecture = {"shape": list(shape), "channels": convolutions[0][0].shape[-2], "widths": widths, "hidden": int(first.shape[1])}
    return arrays, architecture
