"""Models whose age comes from a network: what stands around it, and how it lies in a model folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from brainage_bids.imaging.packing import CLIPPED_LIMIT
from brainage_bids.models.arithmetic import exact
from brainage_bids.models.features import block_means
from brainage_bids.models.gpr import correlation
from brainage_bids.models.heads import NETWORK_FORMAT, arrays_under, read_heads
from brainage_bids.models.image_contract import InputContract
from brainage_bids.models.needs import ImageNeed
from brainage_bids.models.nets import build_net
from brainage_bids.models.nets.base import AgeNet
from brainage_bids.models.prediction import Estimate, Prediction
from brainage_bids.models.preparation import Step, prepare, prepared_shape, steps_from_json, steps_to_json
from brainage_bids.models.registry import WEIGHTS, ModelFolder
from brainage_bids.models.traced import Traced
from brainage_bids.models.weights import describe_arrays, load_arrays
from brainage_bids.records import BadConfiguration, UnusableInput

if TYPE_CHECKING:
    from brainage_bids.models.case import Case

_COUNTERS = "num_batches_tracked"


@dataclass(frozen=True)
class NetworkModel:
    """A network with its inputs.

    Attributes
    ----------
    kind : str
        Of ``nets.NETS``.
    architecture : mapping
        Arguments of the network.
    net : AgeNet
        In eval mode.
    inputs : tuple of InputContract
        One a channel, in their order.
    steps : tuple of Step
        What is done to each image before the network sees it.
    residual_sd : float or None
        Root mean squared error on people held out, years; None if not known.
    mean_cells : mapping of str to ndarray
        Cell means of the training people's images, averaged; may be empty.
    similarity : mapping of str to float
        Lowest correlation with `mean_cells` that counts as the same kind of image.
    device : str
        Where the network is.
    precision : {"float32", "bfloat16"}
        Of the convolutions.
    """

    kind: str
    architecture: Mapping[str, Any]
    net: AgeNet
    inputs: tuple[InputContract, ...]
    steps: tuple[Step, ...]
    residual_sd: float | None = None
    mean_cells: Mapping[str, np.ndarray] = field(default_factory=dict)
    similarity: Mapping[str, float] = field(default_factory=dict)
    device: str = "cpu"
    precision: str = "float32"

    def running(self, device: str, precision: str) -> NetworkModel:
        """The same network, moved to a device (``auto``: a GPU if there is one); BadConfiguration if it is not there."""
        device = usable_device(device)
        if (device, precision) == (self.device, self.precision):
            return self
        return replace(self, net=self.net.to(device), device=device, precision=precision)

    def predict(self, case: Case) -> Prediction:
        """Read the images of a case and estimate the brain age (``prediction.Model``)."""
        return self._prediction([case.image(ImageNeed(contract)) for contract in self.inputs])

    def traced(self, case: Case) -> Traced:
        """The network with the images of a case (``prediction.Differentiable``)."""
        images = {contract.key: case.boxed(ImageNeed(contract)) for contract in self.inputs}
        prepared = {contract.key: prepare(images[contract.key].data, contract, self.steps) for contract in self.inputs}
        self.net.to(self.device)

        def to_grid(key: str) -> Callable[[np.ndarray], np.ndarray]:
            return lambda values: images[key].to_file_grid(prepared[key].to_grid(values))

        return Traced(
            net=self.net,
            tensors={key: torch.from_numpy(one.data).to(self.device).requires_grad_() for key, one in prepared.items()},
            to_grid={key: to_grid(key) for key in prepared},
            head=lambda output: self.net.head.age(output)[0],
        )

    def predict_array(self, volume: np.ndarray) -> Prediction:
        """The brain age of an image that is already in an array.

        Parameters
        ----------
        volume : ndarray, shape of the contract; (inputs, X, Y, Z) for more than one input
            Values as in the files of the contract, before the network's own intensity rule.

        Raises
        ------
        UnusableInput
            If it has another shape, values that are not finite, or nothing but zeros.
        """
        return self._prediction(self._split(volume))

    def features(self, volume: np.ndarray) -> np.ndarray:
        """What the network's head reads of an array, (d,) float32; parameters and errors as in `predict_array`."""
        tensor, _ = self._tensor(self._split(volume))
        with self._arithmetic():
            return self.net.features(tensor)[0].float().cpu().numpy()

    def _split(self, volume: np.ndarray) -> list[np.ndarray]:
        volume = np.asarray(volume, dtype=np.float32)
        images = [volume] if volume.ndim == 3 else list(volume)
        if len(images) != len(self.inputs):
            raise UnusableInput(f"The network wants {len(self.inputs)} images of one person, not an array of shape {volume.shape}.")
        for image in images:
            if not np.isfinite(image).all() or not image.any():
                raise UnusableInput("The array holds values that are not finite, or nothing but zeros, so no age can be estimated.")
        return images

    def _tensor(self, images: Sequence[np.ndarray]) -> tuple[torch.Tensor, float]:
        prepared = [prepare(image, contract, self.steps) for image, contract in zip(images, self.inputs, strict=True)]
        tensor = torch.from_numpy(np.stack([one.data for one in prepared]))[None]
        laid = tensor.contiguous(memory_format=torch.channels_last_3d)
        return laid.to(self.device), max(one.clipped for one in prepared)

    def _prediction(self, images: Sequence[np.ndarray]) -> Prediction:
        tensor, clipped = self._tensor(images)
        with self._arithmetic():
            age, sd = self.net.head.age(self.net(tensor))
        spread = self.residual_sd if self.residual_sd is not None or sd is None else float(sd[0])
        flags = ("input_mismatch",) if clipped > CLIPPED_LIMIT or self._unlike(images) else ()
        return Prediction(Estimate(float(age[0]), spread), flags=flags)

    @contextmanager
    def _arithmetic(self) -> Iterator[None]:
        self.net.to(self.device)  # another user of the loaded network may have moved it
        fast = torch.autocast(torch.device(self.device).type, torch.bfloat16, enabled=self.precision == "bfloat16")
        with exact(), torch.inference_mode(), fast:
            try:
                yield
            except torch.OutOfMemoryError as error:
                advice = "give --precision bfloat16 or --device cpu"
                raise BadConfiguration(f"The GPU has too little memory for the network {self.kind}; {advice}.") from error

    def _unlike(self, images: Sequence[np.ndarray]) -> bool:
        """Whether an image looks unlike all training images."""
        pairs = zip(self.inputs, images, strict=True)
        cells = {contract.key: block_means(image, contract.voxel_mm) for contract, image in pairs if contract.key in self.mean_cells}
        return any(not correlation(cells[key].ravel(), self.mean_cells[key].ravel()) >= self.similarity[key] for key in cells)


def usable_device(device: str) -> str:
    """``cpu`` or ``cuda``, whatever ``auto`` means here; BadConfiguration if there is no such device.

    >>> usable_device("cpu")
    'cpu'
    """
    if device == "cpu":  # without a look at GPUs, after which a process must not be forked
        return device
    there = torch.cuda.is_available()
    if device == "auto":
        return "cuda" if there else "cpu"
    if not (device.startswith("cuda") and there):
        raise BadConfiguration(f"The device {device!r} is not there; give --device cpu.")
    return device


def make_network(
    kind: str, inputs: Sequence[InputContract], steps: Sequence[Step], architecture: Mapping[str, Any] | None = None
) -> tuple[AgeNet, dict[str, Any]]:
    """An untrained network for given inputs, and its architecture with all that follows from them.

    Raises
    ------
    BadConfiguration
        If inputs lie on different grids or the network cannot be made for them.
    """
    grids = {(contract.shape, contract.affine) for contract in inputs}
    if len(grids) != 1:
        raise BadConfiguration(f"A network needs inputs on one grid; {', '.join(contract.key for contract in inputs)} lie on {len(grids)}.")
    full = {**(architecture or {}), "shape": list(prepared_shape(inputs[0].shape, steps)), "channels": len(inputs)}
    if kind == "slices" and "first" not in full:
        full |= middle_slices(full["shape"][full.get("axis", 2)])
    return build_net(kind, full), full


def middle_slices(count: int) -> dict[str, int]:
    """The range of slices looked at by default, a fifth of the grid left out at both ends.

    >>> middle_slices(91)
    {'first': 18, 'last': 72}
    """
    return {"first": count // 5, "last": count - 1 - count // 5}


def state_arrays(net: AgeNet) -> dict[str, np.ndarray]:
    """Copies of weights and running statistics by name, without counters that nothing reads."""
    return {name: value.detach().cpu().numpy().copy() for name, value in net.state_dict().items() if not name.endswith(_COUNTERS)}


def load_state(net: AgeNet, arrays: Mapping[str, np.ndarray]) -> None:
    """Put arrays into a network.

    Raises
    ------
    BadConfiguration
        If a name or a shape is not the network's; nothing is filled in or left out.
    """
    wanted = {name: value for name, value in net.state_dict().items() if not name.endswith(_COUNTERS)}
    missing, extra = sorted(set(wanted) - set(arrays)), sorted(set(arrays) - set(wanted))
    if missing or extra:
        words = "; ".join(f"{what} {', '.join(names[:5])}" for what, names in (("missing", missing), ("too many", extra)) if names)
        raise BadConfiguration(f"The weights are not those of this network ({words}).")
    for name, value in wanted.items():
        if tuple(value.shape) != arrays[name].shape:
            shapes = f"{list(arrays[name].shape)} instead of {list(value.shape)}"
            raise BadConfiguration(f"{name} in the weights is {shapes}: they belong to another grid or network.")
    with torch.no_grad():
        for name, value in wanted.items():
            value.copy_(torch.from_numpy(np.array(arrays[name], dtype=np.float32)))


def network_to_files(model: NetworkModel) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Arrays for the weights and the content of ``heads.json``."""
    arrays = {f"net.{name}": value.astype(np.float32) for name, value in state_arrays(model.net).items()}
    arrays |= {f"mean.{key}": np.asarray(cells, dtype=np.float16) for key, cells in model.mean_cells.items()}
    heads = {
        "kind": model.kind,
        "format": NETWORK_FORMAT,
        "architecture": dict(model.architecture),
        "inputs": [contract.key for contract in model.inputs],
        "steps": steps_to_json(model.steps),
        "residual_sd": model.residual_sd,
        "similarity": dict(model.similarity),
        "arrays": describe_arrays(arrays),
    }
    return arrays, heads


def load_network(folder: ModelFolder) -> NetworkModel:
    """Load a model whose kind is a network.

    Parameters
    ----------
    folder : ModelFolder

    Raises
    ------
    BadConfiguration
        If a file is missing or another one than the card says, or arrays and descriptions do not fit each other.
    """
    kind = folder.card.kind
    heads = read_heads(folder, kind, NETWORK_FORMAT)
    try:
        arrays = load_arrays(folder.path / WEIGHTS, folder.sha256, heads["arrays"])
        by_key = {contract.key: contract for contract in folder.card.contracts}
        inputs = tuple(by_key[key] for key in heads["inputs"])
        steps = steps_from_json(heads["steps"])
        architecture = dict(heads["architecture"])
        residual_sd = None if heads["residual_sd"] is None else float(heads["residual_sd"])
        similarity = {str(key): float(value) for key, value in heads["similarity"].items()}
        fits = list(architecture["shape"]) == list(prepared_shape(inputs[0].shape, steps)) and architecture["channels"] == len(inputs)
    except BadConfiguration:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise BadConfiguration(f"The heads.json of the model {folder.card.name} is not as it should be ({error!r}).") from error
    mean_cells = arrays_under(arrays, "mean.")
    if not fits or len(inputs) != len(by_key) or set(mean_cells) != set(similarity) or not set(mean_cells) <= set(by_key):
        raise BadConfiguration(f"The parts of the model {folder.card.name} do not fit each other or its card; get the model again.")
    if not all(np.isfinite(values).all() for values in arrays.values()) or (residual_sd is not None and not residual_sd > 0):
        raise BadConfiguration(f"The weights of the model {folder.card.name} hold numbers that cannot be used; get the model again.")
    with torch.random.fork_rng(devices=[]):  # first weights are drawn in less time than it takes to import what can leave them out
        net = build_net(kind, architecture)
    load_state(net, arrays_under(arrays, "net."))
    net.eval()
    if len(architecture["shape"]) == 3 and kind != "slices":
        net.to(memory_format=torch.channels_last_3d)
    return NetworkModel(kind, architecture, net, inputs, steps, residual_sd, mean_cells, similarity)
