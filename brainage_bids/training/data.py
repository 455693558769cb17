"""What a network is taught: samples by number, and what counts as learned; the same for ages, labels and maps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from brainage_bids.training.objective import Recipe
from brainage_bids.training.processes import Team


@dataclass(frozen=True)
class Sample:
    """What a step of training sees of one session.

    Attributes
    ----------
    images : Tensor, (views, channels, …) float32
        One view of a volume, or several cuts or slices of it.
    target : Tensor, (views, …)
        The age, the label of every voxel, or the value of every voxel, of each view.
    """

    images: torch.Tensor
    target: torch.Tensor


class Dataset(Protocol):
    """Sessions by number.

    Attributes
    ----------
    name : str
        Another one for other data, so that a training that was killed goes on with the same only.
    least : int
        How many sessions a batch must have.
    """

    name: str
    least: int

    def item(self, row: int, rng: np.random.Generator) -> Sample:
        """A sample for training; all that is random in it is drawn from `rng`."""
        ...

    def drawn_by(self, recipe: Recipe) -> Dataset:
        """The same sessions, augmented as a recipe says."""
        ...

    def weights(self, rows: np.ndarray) -> np.ndarray | None:
        """Probabilities that let all ages count alike (``Recipe.balance``); None where that means nothing."""
        ...


@dataclass(frozen=True)
class Objective:
    """What is minimised, and by what the best epoch is known.

    Attributes
    ----------
    loss : callable
        From the network's output (float32) and the targets of a batch to a scalar.
    score : callable
        From the network, rows and the team to the number that tells an epoch's worth on them.
    measure : str
        What that number is called in the history: ``validation_mae``.
    sense : {-1, 1}
        −1 if less is better.
    """

    loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    score: Callable[[torch.nn.Module, Sequence[int], Team], float]
    measure: str
    sense: int

    def better(self, value: float, than: float) -> bool:
        """Whether one score is better than another."""
        return self.sense * (value - than) > 0

    @property
    def worst(self) -> float:
        """What every score is better than."""
        return -self.sense * float("inf")
