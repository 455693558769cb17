"""Starting a network from another one, and holding parts of it still."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from torch import nn

from brainage_bids.models.nets.base import AgeNet
from brainage_bids.models.network import NetworkModel, load_state, state_arrays
from brainage_bids.models.preparation import steps_to_json
from brainage_bids.models.segmenter import SegmentModel
from brainage_bids.records import BadConfiguration
from brainage_bids.training.images import ImageTable

FREEZE = ("none", "convolutions", "all-but-last")


def frozen_parts(net: nn.Module, freeze: str) -> list[nn.Module]:
    """The parts of a network that do not learn; BadConfiguration for a word that is not in `FREEZE`."""
    if freeze not in FREEZE:
        raise BadConfiguration(f"{freeze!r} cannot be frozen; known are {', '.join(FREEZE)}.")
    names = {"none": (), "convolutions": ("convolutions",), "all-but-last": ("convolutions", "dense")}[freeze]
    return [getattr(net, name) for name in names]


def hold(net: nn.Module, freeze: str) -> None:
    """Switch off learning of the frozen parts; call once, before an optimiser is made."""
    for part in frozen_parts(net, freeze):
        part.requires_grad_(False)


def to_training(net: nn.Module, freeze: str) -> None:
    """Training mode, in which frozen parts stay in eval mode: their batch norm uses and keeps the statistics it has."""
    net.train()
    for part in frozen_parts(net, freeze):
        part.eval()


def start_from(net: AgeNet, source: NetworkModel | SegmentModel, wanted: NetworkModel) -> None:
    """Copy the weights of a model into a network; a head of another form stays as it is.

    Of a model that was trained to name voxels, the convolutions are taken and nothing else.

    Parameters
    ----------
    net : AgeNet
        To be trained.
    source : NetworkModel or SegmentModel
        Where it starts.
    wanted : NetworkModel
        What it is to be: kind, inputs and steps.

    Raises
    ------
    BadConfiguration
        If the model is of another kind, was trained on another image, grid or intensity rule, or its layers differ.
    """
    if source.kind != wanted.kind:
        raise BadConfiguration(f"A network {wanted.kind} cannot start from one of kind {source.kind}.")
    ours, theirs = wanted.inputs[0], source.inputs[0]
    if (ours.shape, ours.affine) != (theirs.shape, theirs.affine):
        grids = " and ".join("×".join(map(str, contract.shape)) for contract in (theirs, ours))
        raise BadConfiguration(f"The model to start from was made for another grid than these images ({grids} voxels).")
    keys = [contract.key for contract in wanted.inputs]
    if keys != [contract.key for contract in source.inputs[: 1 if _three_for_one(source, wanted) else None]]:
        known = ", ".join(contract.key for contract in source.inputs)
        raise BadConfiguration(f"The model to start from looks at {known}, these images are {', '.join(keys)}; give the same --input.")
    if steps_to_json(source.steps) != steps_to_json(wanted.steps):
        raise BadConfiguration("The model to start from was trained with another intensity rule or crop; choose the same --input.")
    arrays = state_arrays(source.net)
    own = state_arrays(net)
    arrays = {name: _summed(value, own.get(name)) for name, value in arrays.items()}
    if isinstance(source, SegmentModel):
        arrays = own | {name: value for name, value in arrays.items() if name.startswith("convolutions.")}
    if {name for name in arrays if name.startswith("head.")} != {name for name in own if name.startswith("head.")}:
        arrays = {name: value for name, value in arrays.items() if not name.startswith("head.")}
        arrays |= {name: value for name, value in own.items() if name.startswith("head.")}
    try:
        load_state(net, arrays)
    except BadConfiguration as error:
        made = [f"--{name} {_words(source.architecture[name])}" for name in ("widths", "block") if source.architecture.get(name)]
        advice = f"made with {' '.join(made)}; give the same" if made else "of another size; give it the --widths and --block of these"
        raise BadConfiguration(f"The model to start from does not fit: it was {advice}. {error}") from error


def _words(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def in_box_of(table: ImageTable, source: NetworkModel | SegmentModel | None) -> ImageTable:
    """The table with the box of the model to start from, if images are brains in a box; packing refuses larger ones."""
    if source is None or table.contracts[0].crop != "brain" or source.inputs[0].crop != "brain":
        return table
    return replace(table, contracts=(replace(table.contracts[0], shape=source.inputs[0].shape),))


def _three_for_one(source: NetworkModel | SegmentModel, wanted: NetworkModel) -> bool:
    """Whether kernels are summed: those of three channels, as networks of photographs have them, for one."""
    return len(source.inputs) == 3 and len(wanted.inputs) == 1


def _summed(value: np.ndarray, own: np.ndarray | None) -> np.ndarray:
    """A first kernel of several channels for a network of one: summed over them (Pacheco 2023)."""
    if own is not None and value.ndim == own.ndim > 2 and own.shape[1] == 1 < value.shape[1] and own.shape[0] == value.shape[0]:
        return value.sum(axis=1, keepdims=True)
    return value
