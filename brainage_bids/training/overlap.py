"""How well labels overlap: Dice of hard labels, and the loss that training minimises."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional


def dice_of_labels(found: np.ndarray, truth: np.ndarray, count: int) -> np.ndarray:
    """2 |A ∩ B| / (|A| + |B|) of every label but the background.

    Parameters
    ----------
    found, truth : ndarray of the same shape, integer
        Labels from 0 on.
    count : int
        How many labels there are, the background among them.

    Returns
    -------
    ndarray, shape (count − 1,), float64
        NaN for a label that is in neither.

    Examples
    --------
    >>> dice_of_labels(np.array([1, 1, 0, 2]), np.array([1, 0, 0, 2]), 4).round(3).tolist()
    [0.667, 1.0, nan]
    """
    found, truth = found.ravel(), truth.ravel()
    both = np.bincount(truth[found == truth], minlength=count)[:count]
    total = np.bincount(found, minlength=count)[:count] + np.bincount(truth, minlength=count)[:count]
    with np.errstate(invalid="ignore"):
        return (2.0 * both / np.where(total > 0, total, np.nan))[1:]


def dice_and_entropy(scores: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Cross-entropy plus 1 − mean soft Dice over the labels that are there, both over the whole batch.

    Dice of label c: (2 Σ p_c y_c + 1) / (Σ p_c + Σ y_c + 1), the sums over voxels and images of the batch.

    Parameters
    ----------
    scores : Tensor, shape (N, count, …)
        Before the softmax.
    labels : Tensor, shape (N, …), int64

    Returns
    -------
    Tensor, scalar, float32

    Examples
    --------
    >>> scores = torch.tensor([[[20.0, -20.0], [-20.0, 20.0]]])
    >>> round(dice_and_entropy(scores, torch.tensor([[0, 1]])).item(), 6)
    0.0
    """
    scores = scores.float()
    logs = functional.log_softmax(scores, dim=1)
    entropy = functional.nll_loss(logs, labels)
    shares = logs.exp()
    axes = [axis for axis in range(scores.dim()) if axis != 1]
    count = scores.shape[1]
    true = torch.bincount(labels.ravel(), minlength=count).to(scores)
    picked = shares.gather(1, labels[:, None])[:, 0]
    both = torch.zeros_like(true).index_add(0, labels.ravel(), picked.ravel())
    dice = (2 * both + 1) / (shares.sum(axes) + true + 1)
    return entropy + 1 - dice[true > 0].mean()
