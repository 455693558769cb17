"""What all networks have in common."""

from __future__ import annotations

import torch
from torch import nn


class AgeNet(nn.Module):
    """Convolutions, then dense layers to a vector of features, then a head.

    Attributes
    ----------
    convolutions : Module
        (N, C, …) to (N, channels, …); what ``--freeze convolutions`` holds.
    dense : Module
        The rest of the way to the features.
    head : Module
        ``age_heads.Regression`` or ``age_heads.SoftBins``; all that ``--freeze all-but-last`` leaves to train.
    """

    convolutions: nn.Module
    dense: nn.Module
    head: nn.Module

    def features(self, images: torch.Tensor) -> torch.Tensor:
        """The vector before the head, (N, d); R4's 256 numbers for ``resnet``."""
        return self.dense(self.convolutions(images))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Years (N,), or log-probabilities of bins (N, count); float32."""
        return self.head(self.features(images))
