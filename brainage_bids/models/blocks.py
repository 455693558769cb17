"""Building blocks of the networks, in two and three dimensions; ``nd`` is the number of spatial axes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional

CONVOLUTION = {2: nn.Conv2d, 3: nn.Conv3d}
NORM = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
POOL = {2: nn.MaxPool2d, 3: nn.MaxPool3d}


def conv(nd: int, inputs: int, outputs: int, kernel: int = 3) -> nn.Module:
    """Convolution with bias whose output has the size of its input.

    >>> conv(3, 1, 8)(torch.zeros(1, 1, 4, 5, 6)).shape
    torch.Size([1, 8, 4, 5, 6])
    """
    return CONVOLUTION[nd](inputs, outputs, kernel, padding=kernel // 2)


class SamePool(nn.Module):
    """Max-pool 3, stride 2, with Keras' padding "same": n voxels become ⌈n/2⌉.

    An axis of even length is widened by one voxel behind, an odd one by one on both sides; torch's own padding would put
    the windows of even axes elsewhere. What is added is −∞ and never the largest.

    >>> SamePool()(torch.tensor([[[[1.0, 5.0, 2.0, 3.0]]]])).tolist()
    [[[[5.0, 3.0]]]]
    """

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Pool every spatial axis."""
        widths: list[int] = []
        for n in reversed(values.shape[2:]):
            widths += [n % 2, 1]
        padded = functional.pad(values, widths, value=-torch.inf)
        pool = functional.max_pool3d if values.dim() == 5 else functional.max_pool2d
        return pool(padded, 3, 2)


class Residual(nn.Module):
    """conv 3 – norm – activation – conv 3 – norm, plus a 1-wide shortcut, then the activation (Jonsson 2019)."""

    def __init__(self, nd: int, inputs: int, outputs: int, activation: type[nn.Module] = nn.ELU):
        super().__init__()
        self.main = nn.Sequential(conv(nd, inputs, outputs), NORM[nd](outputs), activation(), conv(nd, outputs, outputs), NORM[nd](outputs))
        self.shortcut = conv(nd, inputs, outputs, 1)
        self.activation = activation()

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """(N, inputs, …) to (N, outputs, …)."""
        return self.activation(self.main(values) + self.shortcut(values))


class Double(nn.Sequential):
    """Twice conv 3 – norm – ReLU, a level of a U-Net."""

    def __init__(self, nd: int, inputs: int, outputs: int):
        super().__init__(conv(nd, inputs, outputs), NORM[nd](outputs), nn.ReLU(), conv(nd, outputs, outputs), NORM[nd](outputs), nn.ReLU())


class Encoder(nn.Module):
    """The way down of a U-Net: levels of growing width with max-pool 2 between them.

    Parameters
    ----------
    nd : int
        2 or 3.
    channels : int
        Of the input.
    widths : sequence of int
        Channels of each level.
    block : {"unet", "residual"}
        What a level is made of (`Double`, or `Residual` with ReLU).
    """

    def __init__(self, nd: int, channels: int, widths: Sequence[int], block: str):
        super().__init__()
        sizes = [channels, *widths]
        make = {"unet": Double, "residual": lambda *args: Residual(*args, nn.ReLU)}[block]
        self.levels = nn.ModuleList(make(nd, before, after) for before, after in zip(sizes, sizes[1:], strict=False))
        self.pool = POOL[nd](2)

    def scales(self, values: torch.Tensor) -> list[torch.Tensor]:
        """Output of every level, the finest first."""
        found = []
        for number, level in enumerate(self.levels):
            values = level(values if number == 0 else self.pool(values))
            found.append(values)
        return found

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Output of the last level, (N, widths[-1], …)."""
        return self.scales(values)[-1]


def halved(shape: Sequence[int], times: int) -> tuple[int, ...]:
    """Sizes after pooling 2, stride 2, without padding; ValueError if nothing is left.

    >>> halved((182, 218, 182), 5)
    (5, 6, 5)
    """
    if min(shape) >> times < 1:
        raise ValueError(f"a grid of {'×'.join(map(str, shape))} is too small for {times} times half of it")
    return tuple(n >> times for n in shape)


def halved_up(shape: Sequence[int], times: int) -> tuple[int, ...]:
    """Sizes after pooling 3, stride 2, padded: n voxels become ⌈n/2⌉ each time.

    >>> halved_up((121, 145, 121), 5)
    (4, 5, 4)
    """
    return tuple(-(-n // 2**times) for n in shape)
