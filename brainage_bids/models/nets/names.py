"""Which networks there are; read by who must not import torch."""

from __future__ import annotations

from collections.abc import Mapping

NETS: Mapping[str, tuple[str, str]] = {
    "resnet": ("resnet", "ResNet"),
    "vgg8": ("vgg8", "Vgg8"),
    "mrinet": ("mrinet", "MriNet"),
    "sfcn": ("sfcn", "Sfcn"),
    "slices": ("encoders", "Slices"),
    "encoder3d": ("encoders", "Encoder3d"),
}
"""Module and class of each kind."""
