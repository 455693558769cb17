"""A network with what one session gives it: what explanations work on, whatever the kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import torch

if TYPE_CHECKING:
    import numpy as np

    from brainage_bids.models.case import Case


@dataclass(frozen=True)
class Traced:
    """A network with what one session gives it, so that an explanation can follow the age back to the images.

    Attributes
    ----------
    net : Module
        In eval mode.
    tensors : mapping of str to Tensor
        Key of each image's need to what the network sees of it, (X, Y, Z) float32; stacked in their order they are the channels.
    to_grid : mapping of str to callable
        Key to what brings an array of the tensor's shape to the grid of the image that was read, undoing its preparation.
    head : callable
        From the network's output to years.
    """

    net: torch.nn.Module
    tensors: Mapping[str, torch.Tensor]
    to_grid: Mapping[str, Callable[[np.ndarray], np.ndarray]]
    head: Callable[[torch.Tensor], torch.Tensor]

    def age(self) -> torch.Tensor:
        """The brain age, a scalar that depends on `tensors`."""
        return self.head(self.net(torch.stack(list(self.tensors.values()))[None]))[0]


@runtime_checkable
class Differentiable(Protocol):
    """A model whose age can be differentiated by its images."""

    def traced(self, case: Case) -> Traced:
        """The network with what a case gives it; errors as in ``Model.predict``."""
        ...
