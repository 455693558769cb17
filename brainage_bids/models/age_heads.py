"""From features to an age: a number, or a distribution over bins of age. Always in float32.

bfloat16 has steps of 0.25 between 32 and 64, so an age must never be computed in it, whatever the rest of a network does.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from brainage_bids.records import BadConfiguration

LEAST_LABEL = 1e-16
"""Added to soft labels before their logarithm."""


@dataclass(frozen=True)
class Bins:
    """Bins of age of one width.

    Attributes
    ----------
    low : float
        Lower edge of the first bin, years.
    width : float
        Of a bin, years.
    count : int
        How many.
    sigma : float
        Standard deviation of the labels in training, years.

    Notes
    -----
    Peng et al. 2021 (doi:10.1016/j.media.2020.101871) use 40 bins of one year from 42 on, σ = 1, for the UK Biobank.
    """

    low: float = 42.0
    width: float = 1.0
    count: int = 40
    sigma: float = 1.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and 0 < self.width < math.inf and self.count >= 2 and 0 < self.sigma < math.inf):
            raise BadConfiguration(f"Bins of age need a width and a sigma above zero and a count of two or more, not {self}.")

    @property
    def centres(self) -> np.ndarray:
        """Middle of every bin, (count,), years."""
        return self.low + self.width * (np.arange(self.count) + 0.5)


def soft_labels(ages: np.ndarray, bins: Bins) -> np.ndarray:
    """Probability of each bin under a Gaussian around the age: P_k = Φ((e_{k+1} − a)/σ) − Φ((e_k − a)/σ).

    Parameters
    ----------
    ages : ndarray, shape (n,)
        Years.
    bins : Bins

    Returns
    -------
    ndarray, shape (n, count), float64
        Not scaled to sum 1: an age near the edge keeps what falls outside (Peng et al. 2021).

    Examples
    --------
    >>> soft_labels(np.array([50.5]), Bins(low=50, count=2))[0].round(4).tolist()
    [0.3829, 0.2417]
    """
    from scipy.special import ndtr

    edges = bins.low + bins.width * np.arange(bins.count + 1)
    return np.diff(ndtr((edges[None, :] - np.asarray(ages, dtype=float)[:, None]) / bins.sigma), axis=1)


def soft_age(probabilities: torch.Tensor, centres: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation of distributions over bins: Σ p_k c_k and √(Σ p_k (c_k − mean)²).

    >>> mean, sd = soft_age(torch.tensor([[0.5, 0.5]]), torch.tensor([40.0, 42.0]))
    >>> mean.item(), sd.item()
    (41.0, 1.0)
    """
    mean = probabilities @ centres
    return mean, (probabilities * (centres[None, :] - mean[:, None]) ** 2).sum(1).clamp_min(0).sqrt()


def in_float32(values: torch.Tensor):
    """A context without autocast (which does not know the device "meta")."""
    return nullcontext() if values.device.type == "meta" else torch.autocast(values.device.type, enabled=False)


class Regression(nn.Module):
    """One linear layer from features to years; its bias starts at the mean training age."""

    def __init__(self, features: int):
        super().__init__()
        self.linear = nn.Linear(features, 1)

    def start_at(self, age: float) -> None:
        """Set the bias, years."""
        with torch.no_grad():
            self.linear.bias.fill_(age)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """(N, d) to years (N,)."""
        with in_float32(features):
            return self.linear(features.float())[:, 0]

    @staticmethod
    def age(output: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Years, and no spread."""
        return output, None


class SoftBins(nn.Module):
    """Log-probabilities of bins of age; `layer` maps features to a score a bin."""

    def __init__(self, layer: nn.Module, bins: Bins):
        super().__init__()
        self.layer, self.bins = layer, bins

    def extra_repr(self) -> str:
        """What its printed form says of the bins."""
        return str(self.bins)

    def start_at(self, age: float) -> None:
        """Nothing to set: the distribution starts flat."""

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """(N, d, …) to log P (N, count)."""
        with in_float32(features):
            return torch.log_softmax(self.layer(features.float()).flatten(1), dim=1)

    def age(self, output: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and standard deviation of the distribution, (N,) each, years."""
        centres = torch.as_tensor(self.bins.centres, dtype=torch.float32, device=output.device)
        with in_float32(output):
            return soft_age(output.float().exp(), centres)


def read_bins(content: Mapping[str, Any] | None) -> Bins | None:
    """Bins from ``heads.json``; None where the head is a number."""
    if content is None:
        return None
    return Bins(float(content["low"]), float(content["width"]), int(content["count"]), float(content["sigma"]))


def make_head(features: int, bins: Bins | None) -> nn.Module:
    """The head on a vector of features: `Regression`, or `SoftBins` with a linear layer."""
    return Regression(features) if bins is None else SoftBins(nn.Linear(features, bins.count), bins)
