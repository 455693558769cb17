"""Checkpoints of a training: what is needed to go on from the last whole epoch to the same weights."""

from __future__ import annotations

import hashlib
import io
import json
import pickle
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from brainage_bids.bids.sink import write_atomic
from brainage_bids.files import WEIGHTS, open_file
from brainage_bids.models.network import state_arrays
from brainage_bids.records import BadConfiguration


@dataclass
class Standing:
    """How far a training is.

    Attributes
    ----------
    best : tuple of (float, int, dict)
        Measure, epoch (counted from 1) and weights of the best epoch so far.
    history : list of dict
        A line an epoch.
    finished : bool
    """

    best: tuple[float, int, dict[str, np.ndarray]]
    history: list[dict[str, float]] = field(default_factory=list)
    finished: bool = False


def fingerprint(net: torch.nn.Module, about: Any) -> str:
    """16 hexadecimal digits of the weights at the start and of `about`, everything else (as JSON) that the weights at the end depend on."""
    digest = hashlib.sha256()
    for name, value in sorted(state_arrays(net).items()):
        digest.update(name.encode() + np.ascontiguousarray(value).tobytes())
    digest.update(json.dumps(about).encode())
    return digest.hexdigest()[:16]


def save_checkpoint(path: Path, net: torch.nn.Module, optimiser: torch.optim.Optimizer, standing: Standing) -> None:
    """Write a checkpoint beside, then rename.

    Raises
    ------
    OSError
        If it cannot be written, with the cause.
    """
    measure, epoch, weights = standing.best
    content: dict[str, Any] = {
        "net": net.state_dict(),
        "optimiser": optimiser.state_dict(),
        "history": standing.history,
        "best": [measure, epoch, {name: torch.from_numpy(value.copy()) for name, value in weights.items()}],
        "finished": standing.finished,
    }
    packed = io.BytesIO()  # torch hides why a file cannot be written
    torch.save(content, packed)
    with write_atomic(path) as partial:
        partial.write_bytes(packed.getbuffer())


def read_checkpoint(path: Path, net: torch.nn.Module, optimiser: torch.optim.Optimizer, device: str) -> Standing:
    """Put network and optimiser back to where a checkpoint was written; returns how far it was.

    Raises
    ------
    BadConfiguration
        If it cannot be read.
    """
    try:
        with open_file(path, WEIGHTS) as file:
            content = torch.load(file, map_location=device, weights_only=True)
        net.load_state_dict(content["net"])
        optimiser.load_state_dict(content["optimiser"])
        measure, epoch, best = content["best"]
        weights = {name: value.cpu().numpy() for name, value in best.items()}
        return Standing((measure, epoch, weights), content["history"], content["finished"])
    except (OSError, EOFError, RuntimeError, KeyError, ValueError, pickle.UnpicklingError) as error:
        what = type(error).__name__
        raise BadConfiguration(f"The checkpoint {path} cannot be read ({what}); remove it to start again.") from error
