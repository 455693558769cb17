"""``mrinet``: the base model of the ensembles of Hofmann 2022 (doi:10.1016/j.neuroimage.2022.119504), in two and three dimensions."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from torch import nn

from brainage_bids.models.age_heads import Bins, make_head
from brainage_bids.models.blocks import SamePool, conv, halved_up
from brainage_bids.models.nets.base import AgeNet


class MriNet(AgeNet):
    """Convolutions 3, 3, 3, 3 and 1 wide, each with a ReLU and max-pool 3, stride 2, all "same"; dropout; dense; the age.

    Parameters
    ----------
    shape, channels, widths, bins
        As in ``resnet.ResNet``; a shape of two numbers makes the 2-D network.
    hidden : int
        Features.
    leak : float
        Slope of the ReLU below zero: 0.2, or 0 for the twin that LRP is made on.
    dropout : float
        Share of flattened values left out in training.
    """

    def __init__(
        self,
        shape: Sequence[int] = (91, 109, 91),
        channels: int = 1,
        widths: Sequence[int] = (16, 16, 32, 64, 32),
        hidden: int = 64,
        leak: float = 0.2,
        dropout: float = 0.5,
        bins: Bins | None = None,
    ):
        super().__init__()
        nd, sizes = len(shape), [channels, *widths]
        steps: list[nn.Module] = []
        for number, (before, after) in enumerate(zip(sizes, sizes[1:], strict=False)):
            kernel = 1 if number == len(widths) - 1 else 3
            steps += [conv(nd, before, after, kernel), activation(leak), SamePool()]
        self.convolutions = nn.Sequential(*steps)
        flat = widths[-1] * prod(halved_up(shape, len(widths)))
        self.dense = nn.Sequential(nn.Flatten(), nn.Dropout(dropout), nn.Linear(flat, hidden), activation(leak))
        self.head = make_head(hidden, bins)


def activation(leak: float) -> nn.Module:
    """ReLU, leaky where the slope is above zero."""
    return nn.LeakyReLU(leak) if leak > 0 else nn.ReLU()
