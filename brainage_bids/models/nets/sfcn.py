"""``sfcn``: the fully convolutional network of Peng 2021 (doi:10.1016/j.media.2020.101871)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import nn

from brainage_bids.models.age_heads import Bins, Regression, SoftBins
from brainage_bids.models.blocks import CONVOLUTION, NORM, POOL, conv, halved
from brainage_bids.models.nets.base import AgeNet


class Sfcn(AgeNet):
    """Blocks of conv 3 – norm – max-pool 2 – ReLU, a 1-wide block without pool, the mean over space, dropout, the head.

    Names of the layers are those of the authors' state dict (``conv_0`` …), so that it can be imported.

    Parameters
    ----------
    shape, channels, bins
        As in ``resnet.ResNet``; the shape only says how many axes there are.
    widths : sequence of int
        Channels of the blocks, that of the 1-wide block last.
    dropout : float
    """

    def __init__(
        self,
        shape: Sequence[int] = (160, 192, 160),
        channels: int = 1,
        widths: Sequence[int] = (32, 64, 128, 256, 256, 64),
        dropout: float = 0.5,
        bins: Bins | None = None,
    ):
        super().__init__()
        nd, sizes = len(shape), [channels, *widths]
        halved(shape, len(widths) - 1)  # says so if the grid is too small
        blocks: OrderedDict[str, nn.Module] = OrderedDict()
        for number, (before, after) in enumerate(zip(sizes, sizes[1:], strict=False)):
            if number < len(widths) - 1:
                blocks[f"conv_{number}"] = nn.Sequential(conv(nd, before, after), NORM[nd](after), POOL[nd](2), nn.ReLU())
            else:
                blocks[f"conv_{number}"] = nn.Sequential(conv(nd, before, after, 1), NORM[nd](after), nn.ReLU())
        self.convolutions = nn.Sequential(blocks)
        self.dense = nn.Sequential(MeanOverSpace(), nn.Dropout(dropout))
        self.head = Regression(widths[-1]) if bins is None else SoftBins(PointConvolution(nd, widths[-1], bins.count), bins)


class MeanOverSpace(nn.Module):
    """(N, C, …) to (N, C)."""

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Average every channel."""
        return values.flatten(2).mean(2)


class PointConvolution(nn.Module):
    """A 1-wide convolution on a single point, stored as the authors store it."""

    def __init__(self, nd: int, inputs: int, outputs: int):
        super().__init__()
        self.nd, self.conv = nd, CONVOLUTION[nd](inputs, outputs, 1)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """(N, inputs) to (N, outputs, 1, …)."""
        return self.conv(values[(...,) + (None,) * self.nd])
