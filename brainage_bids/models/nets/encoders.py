"""``slices`` and ``encoder3d``: encoders of segmentation networks as age models (Pacheco 2023, arXiv:2307.05241)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from brainage_bids.models.age_heads import Bins, Regression, make_head
from brainage_bids.models.blocks import Encoder, halved
from brainage_bids.models.nets.base import AgeNet
from brainage_bids.models.nets.sfcn import MeanOverSpace
from brainage_bids.records import BadConfiguration


class Encoder3d(AgeNet):
    """A 3-D encoder, the mean over space, the age.

    Parameters
    ----------
    shape, channels, bins
        As in ``resnet.ResNet``.
    widths, block
        As in ``blocks.Encoder``.
    """

    def __init__(
        self,
        shape: Sequence[int] = (91, 109, 91),
        channels: int = 1,
        widths: Sequence[int] = (16, 32, 64, 128, 256),
        block: str = "unet",
        bins: Bins | None = None,
    ):
        super().__init__()
        halved(shape, len(widths) - 1)  # says so if the grid is too small
        self.convolutions = Encoder(len(shape), channels, widths, block)
        self.dense = MeanOverSpace()
        self.head = make_head(widths[-1], bins)


class Slices(AgeNet):
    """A 2-D encoder on slices; the age of a subject is the mean of those of the slices in a range.

    Parameters
    ----------
    shape, channels
        As in ``resnet.ResNet``.
    widths, block
        As in ``blocks.Encoder``; 480 channels at the bottom.
    axis : int
        Axis of the volume along which slices lie, 0 to 2.
    first, last : int
        Slices that count, both included; by default the middle three fifths of 91 (``network.middle_slices``).
    drawn : int
        Slices of a volume that are looked at in a training step, drawn at random.
    """

    def __init__(
        self,
        shape: Sequence[int] = (91, 109, 91),
        channels: int = 1,
        widths: Sequence[int] = (30, 60, 120, 240, 480),
        block: str = "unet",
        axis: int = 2,
        first: int = 18,
        last: int = 72,
        drawn: int = 8,
        bins: Bins | None = None,
    ):
        super().__init__()
        if bins is not None:
            raise BadConfiguration("The network slices has a number as its age; bins of age go with the other networks.")
        if axis not in (0, 1, 2) or not 0 <= first <= last < shape[axis] or drawn < 1:
            raise BadConfiguration(f"The slices {first} to {last} along axis {axis} do not lie in a grid of {tuple(shape)}.")
        self.axis, self.first, self.last, self.drawn = axis, first, last, drawn
        halved([n for k, n in enumerate(shape) if k != axis], len(widths) - 1)  # says so if slices are too small
        self.convolutions = Encoder(2, channels, widths, block)
        self.dense = MeanOverSpace()
        self.head: nn.Module = Regression(widths[-1])

    def extra_repr(self) -> str:
        """What its printed form says of the slices."""
        return f"axis={self.axis}, first={self.first}, last={self.last}, drawn={self.drawn}"

    def slices(self, images: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
        """(N, C, X, Y, Z) to (N × slices, C, …), the slices of a subject together."""
        moved = images.movedim(self.axis + 2, 1).index_select(1, chosen)
        return moved.flatten(0, 1)

    def features(self, images: torch.Tensor) -> torch.Tensor:
        """Mean of the slices' features, (N, d); the head is linear, so the age of the mean is the mean of the ages."""
        chosen = torch.arange(self.first, self.last + 1, device=images.device)
        found = super().features(self.slices(images, chosen))
        return found.unflatten(0, (len(images), len(chosen))).mean(1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Years (N,); while training those of some slices, (N, drawn), as each slice learns the age by itself."""
        if not self.training:
            return self.head(self.features(images))
        count = min(self.drawn, self.last - self.first + 1)
        chosen = (self.first + torch.randperm(self.last - self.first + 1)[:count]).to(images.device)
        return self.head(super().features(self.slices(images, chosen))).unflatten(0, (len(images), count))
