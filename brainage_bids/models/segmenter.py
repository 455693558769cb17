"""Models that name voxels instead of an age: what an age network may start from (Pacheco 2023)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import torch

from brainage_bids.models.arithmetic import exact
from brainage_bids.models.heads import arrays_under, read_heads
from brainage_bids.models.image_contract import InputContract
from brainage_bids.models.nets.segment import SegmentNet, build_segmenter
from brainage_bids.models.network import load_state, state_arrays
from brainage_bids.models.preparation import Step, prepare, steps_from_json, steps_to_json
from brainage_bids.models.registry import WEIGHTS, ModelFolder
from brainage_bids.models.weights import describe_arrays, load_arrays
from brainage_bids.records import BadConfiguration

if TYPE_CHECKING:
    from brainage_bids.models.case import Case

KIND = "segment"
"""On the card of such a model."""
FORMAT = 1
SLICES_AT_ONCE = 16


@dataclass(frozen=True)
class SegmentModel:
    """An encoder-decoder with its inputs.

    Attributes
    ----------
    kind : str
        The age network whose convolutions it has.
    architecture : mapping
        Of that network.
    net : SegmentNet
        In eval mode.
    inputs : tuple of InputContract
        One.
    steps : tuple of Step
        What is done to an image before the network sees it.
    names : tuple of str
        Of labels 1, 2 …
    """

    kind: str
    architecture: Mapping[str, Any]
    net: SegmentNet
    inputs: tuple[InputContract, ...]
    steps: tuple[Step, ...]
    names: tuple[str, ...]

    def predict(self, case: Case) -> NoReturn:
        """Refuse: nothing of it is an output of the app (``prediction.Model``)."""
        words = f"names {len(self.names)} labels and gives no age; train one from it by brainage-train --init"
        raise BadConfiguration(f"A model of kind segment {words}.")

    def label_array(self, volume: np.ndarray) -> np.ndarray:
        """Labels of an image that is already in an array.

        Parameters
        ----------
        volume : ndarray, shape of the contract
            Values as in the file, before the network's own intensity rule.

        Returns
        -------
        ndarray, uint8
            On the grid that the network sees (after crops); 0 is background, 1 the first of `names`.
        """
        prepared = prepare(np.asarray(volume, dtype=np.float32), self.inputs[0], self.steps)
        return label_prepared(self.net, prepared.data, slice_axis(self.kind, self.architecture))


def slice_axis(kind: str, architecture: Mapping[str, Any]) -> int | None:
    """The axis along which a network looks at slices, None if it sees the volume."""
    return int(architecture.get("axis", 2)) if kind == "slices" else None


def label_prepared(net: SegmentNet, image: np.ndarray, axis: int | None, device: str = "cpu") -> np.ndarray:
    """The label with the highest score of every voxel of a prepared image, uint8."""
    net.eval()
    with exact(), torch.inference_mode():
        tensor = torch.from_numpy(np.ascontiguousarray(image, dtype=np.float32)).to(device)
        if axis is None:
            return net(tensor[None, None])[0].argmax(0).to(torch.uint8).cpu().numpy()
        moved = tensor.movedim(axis, 0)[:, None]
        parts = [net(part.contiguous()).argmax(1).to(torch.uint8) for part in moved.split(SLICES_AT_ONCE)]
        return np.moveaxis(torch.cat(parts).cpu().numpy(), 0, axis)


def segmenter_to_files(model: SegmentModel) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Arrays for the weights and the content of ``heads.json``."""
    arrays = {f"net.{name}": value.astype(np.float32) for name, value in state_arrays(model.net).items()}
    heads = {
        "kind": KIND,
        "format": FORMAT,
        "task": "segment",
        "network": model.kind,
        "architecture": dict(model.architecture),
        "inputs": [contract.key for contract in model.inputs],
        "steps": steps_to_json(model.steps),
        "names": list(model.names),
        "arrays": describe_arrays(arrays),
    }
    return arrays, heads


def load_segmenter(folder: ModelFolder) -> SegmentModel:
    """Load a model of kind ``segment``.

    Raises
    ------
    BadConfiguration
        If a file is missing or another one than the card says, or arrays and descriptions do not fit each other.
    """
    heads = read_heads(folder, KIND, FORMAT)
    try:
        arrays = load_arrays(folder.path / WEIGHTS, folder.sha256, heads["arrays"])
        by_key = {contract.key: contract for contract in folder.card.contracts}
        inputs = tuple(by_key[key] for key in heads["inputs"])
        steps, names = steps_from_json(heads["steps"]), tuple(map(str, heads["names"]))
        kind, architecture = str(heads["network"]), dict(heads["architecture"])
        net = build_segmenter(kind, architecture, len(names) + 1)
    except BadConfiguration:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise BadConfiguration(f"The heads.json of the model {folder.card.name} is not as it should be ({error!r}).") from error
    if not all(np.isfinite(values).all() for values in arrays.values()):
        raise BadConfiguration(f"The weights of the model {folder.card.name} hold numbers that cannot be used; get the model again.")
    load_state(net, arrays_under(arrays, "net."))
    return SegmentModel(kind, architecture, net.eval(), inputs, steps, names)
