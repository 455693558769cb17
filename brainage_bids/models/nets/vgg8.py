"""``vgg8``: five convolutions and three dense layers on a T1w in MNI space (Jomsky 2024, arXiv:2412.01865)."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from torch import nn

from brainage_bids.models.age_heads import Bins, make_head
from brainage_bids.models.blocks import NORM, POOL, conv, halved
from brainage_bids.models.nets.base import AgeNet


class Vgg8(AgeNet):
    """Blocks of conv 3 – norm – ReLU – max-pool 2, then 512, 128 and the age, with ReLU between.

    Parameters
    ----------
    shape, channels, widths, bins
        As in ``resnet.ResNet``.
    hidden : sequence of int
        Sizes of the dense layers.
    """

    def __init__(
        self,
        shape: Sequence[int] = (182, 218, 182),
        channels: int = 1,
        widths: Sequence[int] = (16, 32, 64, 128, 256),
        hidden: Sequence[int] = (512, 128),
        bins: Bins | None = None,
    ):
        super().__init__()
        nd, sizes = len(shape), [channels, *widths]
        steps: list[nn.Module] = []
        for before, after in zip(sizes, sizes[1:], strict=False):
            steps += [conv(nd, before, after), NORM[nd](after), nn.ReLU(), POOL[nd](2)]
        self.convolutions = nn.Sequential(*steps)
        layers: list[nn.Module] = [nn.Flatten()]
        last = widths[-1] * prod(halved(shape, len(widths)))
        for size in hidden:
            layers += [nn.Linear(last, size), nn.ReLU()]
            last = size
        self.dense = nn.Sequential(*layers)
        self.head = make_head(last, bins)
