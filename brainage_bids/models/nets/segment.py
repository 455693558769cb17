"""Encoder-decoders: the convolutions of an age network, and a way back up that names every voxel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from brainage_bids.models.blocks import CONVOLUTION, NORM, POOL, Encoder, SamePool, conv
from brainage_bids.models.nets import build_net
from brainage_bids.records import BadConfiguration

SEGMENT = ("encoder3d", "slices", "resnet", "vgg8", "mrinet")
"""Kinds whose convolutions can be taught by naming voxels; those of `sfcn` pool before they are finished."""
_POOLS = (*POOL.values(), SamePool)


def scales(convolutions: nn.Module, images: torch.Tensor) -> list[torch.Tensor]:
    """What convolutions give before each of their pools, the finest first, and at their end if that is not a pool.

    >>> net = build_net("vgg8", {"shape": (8, 8, 8), "widths": (2, 3)})
    >>> [tuple(part.shape[1:]) for part in scales(net.convolutions, torch.zeros(1, 1, 8, 8, 8))]
    [(2, 8, 8, 8), (3, 4, 4, 4)]
    """
    if isinstance(convolutions, Encoder):
        return convolutions.scales(images)
    found, values, pooled = [], images, True
    for layer in convolutions.children():
        pool = isinstance(layer, _POOLS)
        if pool:
            found.append(values)
        values, pooled = layer(values), pool
    return found if pooled else [*found, values]


class SegmentNet(nn.Module):
    """Scores of labels for every voxel.

    From the coarsest level on, what was found is brought to the channels of the next finer level (1-wide), laid over its grid
    (nearest voxel), added to what the convolutions gave there, and sent through conv 3 – norm – ReLU; a 1-wide convolution
    at the end gives a score a label. Adding, not joining, keeps the way up cheaper than the way down.

    Parameters
    ----------
    convolutions : Module
        Of an age network.
    nd : int
        2 or 3.
    widths : sequence of int
        Channels of its levels.
    count : int
        Labels, the background among them.
    """

    def __init__(self, convolutions: nn.Module, nd: int, widths: Sequence[int], count: int):
        super().__init__()
        self.convolutions = convolutions
        self.down = nn.ModuleList(CONVOLUTION[nd](deep, fine, 1) for fine, deep in zip(widths, widths[1:], strict=False))
        self.refine = nn.ModuleList(nn.Sequential(conv(nd, fine, fine), NORM[nd](fine), nn.ReLU()) for fine in widths[:-1])
        self.score = CONVOLUTION[nd](widths[0], count, 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(N, C, …) to (N, count, …)."""
        *finer, values = scales(self.convolutions, images)
        for level in reversed(range(len(finer))):
            laid = functional.interpolate(self.down[level](values), size=finer[level].shape[2:])
            values = self.refine[level](finer[level] + laid)
        return self.score(values)


def build_segmenter(kind: str, architecture: Mapping[str, Any], count: int) -> SegmentNet:
    """An encoder-decoder whose way down is that of an age network.

    Parameters
    ----------
    kind : str
        Of `SEGMENT`.
    architecture : mapping
        Of the age network; see ``nets.build_net``.
    count : int
        Labels, the background among them.

    Raises
    ------
    BadConfiguration
        If there is none of that kind, or it does not fit the arguments.
    """
    if kind not in SEGMENT:
        raise BadConfiguration(f"The network {kind} cannot be taught by segmentation; {', '.join(SEGMENT)} can.")
    nd = 2 if kind == "slices" else len(architecture["shape"])
    with torch.no_grad(), torch.device("meta"):
        plan = build_net(kind, architecture).eval()
        found = scales(plan.convolutions, torch.zeros(1, architecture.get("channels", 1), *(64,) * nd))
    return SegmentNet(build_net(kind, architecture).convolutions, nd, [part.shape[1] for part in found], count)
