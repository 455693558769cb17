"""``resnet``: five residual blocks on a grey-matter map (Ren 2021, doi:10.1002/hbm.25748, after Jonsson 2019,
doi:10.1038/s41467-019-13163-9).
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from torch import nn

from brainage_bids.models.age_heads import Bins, make_head
from brainage_bids.models.blocks import POOL, Residual, halved_up
from brainage_bids.models.nets.base import AgeNet


class ResNet(AgeNet):
    """Residual blocks, each followed by max-pool 3, stride 2, padding 1; flatten; 256 features after an ELU; the age.

    Parameters
    ----------
    shape : sequence of int
        Of the input.
    channels : int
        Of the input.
    widths : sequence of int
        Channels of the blocks.
    hidden : int
        Features.
    bins : Bins, optional
        A distribution instead of a number.
    """

    def __init__(
        self,
        shape: Sequence[int] = (121, 145, 121),
        channels: int = 1,
        widths: Sequence[int] = (8, 16, 32, 64, 128),
        hidden: int = 256,
        bins: Bins | None = None,
    ):
        super().__init__()
        nd, sizes = len(shape), [channels, *widths]
        steps: list[nn.Module] = []
        for before, after in zip(sizes, sizes[1:], strict=False):
            steps += [Residual(nd, before, after), POOL[nd](3, 2, 1)]
        self.convolutions = nn.Sequential(*steps)
        flat = widths[-1] * prod(halved_up(shape, len(widths)))
        self.dense = nn.Sequential(nn.Flatten(), nn.Linear(flat, hidden), nn.ELU())
        self.head = make_head(hidden, bins)
