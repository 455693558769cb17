"""What a network's training minimises, and by which steps."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import nn

from brainage_bids.models.age_heads import LEAST_LABEL, Bins, SoftBins, soft_labels
from brainage_bids.records import BadConfiguration

LOSSES = ("mae", "mse", "kl")
OPTIMISERS = ("adam", "adamw")


@dataclass(frozen=True)
class Recipe:
    """How a network is trained.

    Attributes
    ----------
    loss : {"mae", "mse", "kl"}
        Mean absolute or squared error; divergence of the soft label from the bins.
    optimiser : {"adam", "adamw"}
        ``adam`` with Keras' decay of the step, as in the papers; ``adamw`` with warm-up and a cosine to zero.
    rate : float
        Step.
    decay : float
        Of ``adam``: step t has rate / (1 + decay · t).
    weight_decay : float
        Of ``adamw``.
    warm_up : float
        Share of all steps in which ``adamw`` grows from zero.
    epochs, patience : int
        At most so many, and stop after so many without a better validation error.
    batch, accumulate : int
        Images at once, and batches a step.
    precision : {"float32", "bfloat16"}
        Of the convolutions; the head is float32 always.
    balance : bool
        Draw people so that all ages count alike.
    augmentation : str
        Of ``augment.PRESETS``.
    """

    loss: str = "mae"
    optimiser: str = "adam"
    rate: float = 1e-4
    decay: float = 0.0
    weight_decay: float = 0.01
    warm_up: float = 0.05
    epochs: int = 100
    patience: int = 10
    batch: int = 4
    accumulate: int = 1
    precision: str = "float32"
    balance: bool = False
    augmentation: str = "light"

    def __post_init__(self) -> None:
        if self.loss not in LOSSES or self.optimiser not in OPTIMISERS or self.precision not in ("float32", "bfloat16"):
            raise BadConfiguration(f"A network cannot be trained with {self.loss}, {self.optimiser}, {self.precision}.")
        if min(self.epochs, self.patience, self.batch, self.accumulate) < 1 or not 0 < self.rate < math.inf:
            raise BadConfiguration("Epochs, patience, batch and accumulated batches must be one or more, the rate above zero.")


RECIPES: Mapping[str, Recipe] = {
    "resnet": Recipe(decay=1e-6, batch=4),
    "vgg8": Recipe(batch=3, epochs=100, patience=10),
    "mrinet": Recipe(loss="mse", rate=5e-4),
    "sfcn": Recipe(loss="kl", optimiser="adamw", rate=1e-3, batch=8),
    "slices": Recipe(batch=4),
    "encoder3d": Recipe(batch=4),
}
"""Of each kind: R2, J3, H2 as published; Peng 2021 trained `sfcn` by SGD, which AdamW stands in for; P1 states none."""


def recipe_for(kind: str, *, soft: bool, **given) -> Recipe:
    """The recipe of a kind, changed where something is given (None is nothing); ``kl`` goes with bins and only with them."""
    base = RECIPES.get(kind, Recipe())
    if given.get("loss") is None and (base.loss == "kl") != soft:
        base = replace(base, loss="kl" if soft else "mae")
    made = replace(base, **{name: value for name, value in given.items() if value is not None})
    if (made.loss == "kl") != soft:
        raise BadConfiguration("The loss kl goes with a network that says bins of age (--bins); mae and mse go with the others.")
    return made


def loss_of(name: str, output: torch.Tensor, ages: torch.Tensor, bins: Bins | None = None) -> torch.Tensor:
    """Mean loss of a batch.

    Parameters
    ----------
    name : {"mae", "mse", "kl"}
    output : Tensor, shape (n,), (n, slices) or (n, bins)
        Years; every slice is held against the age of its subject. For ``kl`` log-probabilities.
    ages : Tensor, shape (n,)
        Years.
    bins : Bins, optional
        For ``kl``: Σ_k y_k (log y_k − log p_k) averaged over people, y the soft label (Peng et al. 2021).

    Returns
    -------
    Tensor, scalar, float32

    Examples
    --------
    >>> loss_of("mae", torch.tensor([[40.0, 44.0]]), torch.tensor([41.0])).item()
    2.0
    """
    if name == "kl":
        labels = torch.as_tensor(soft_labels(ages.cpu().numpy(), bins or Bins()), dtype=torch.float32, device=output.device) + LEAST_LABEL
        return (labels * (labels.log() - output)).sum(1).mean()
    difference = output - (ages[:, None] if output.dim() == 2 else ages)
    return difference.abs().mean() if name == "mae" else difference.square().mean()


def bins_of(net: nn.Module) -> Bins | None:
    """The bins of a network's head, None if it says a number."""
    return net.head.bins if isinstance(net.head, SoftBins) else None


def make_optimiser(recipe: Recipe, parameters) -> torch.optim.Optimizer:
    """Adam with β .9 and .999, or AdamW; only parameters that learn."""
    learning = [parameter for parameter in parameters if parameter.requires_grad]
    if recipe.optimiser == "adam":
        return torch.optim.Adam(learning, lr=recipe.rate)
    return torch.optim.AdamW(learning, lr=recipe.rate, weight_decay=recipe.weight_decay)


def rate_at(recipe: Recipe, step: int, total: int) -> float:
    """The rate of a step, counted from 0, of so many.

    >>> rate_at(Recipe(decay=1.0), 1, 10), rate_at(Recipe(optimiser="adamw", warm_up=0.5), 0, 4)
    (5e-05, 5e-05)
    """
    if recipe.optimiser == "adam":
        return recipe.rate / (1.0 + recipe.decay * step)
    warm = max(1, round(recipe.warm_up * total))
    if step < warm:
        return recipe.rate * (step + 1) / warm
    return recipe.rate * 0.5 * (1.0 + math.cos(math.pi * (step - warm) / max(1, total - warm)))


@contextmanager
def enough_memory(recipe: Recipe) -> Iterator[None]:
    """Turn an error of too little memory, of a GPU or of this machine, into BadConfiguration that says what to do."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise BadConfiguration(_too_much(recipe, "The GPU")) from error
    except MemoryError as error:
        raise BadConfiguration(_too_much(recipe, "This machine")) from error
    except RuntimeError as error:
        if "can't allocate memory" not in str(error):
            raise
        raise BadConfiguration(_too_much(recipe, "This machine")) from error


def _too_much(recipe: Recipe, what: str) -> str:
    advice = f"give --batch {recipe.batch // 2} --accumulate {recipe.accumulate * 2} and --precision bfloat16"
    if recipe.batch == 1:
        advice = "give --precision bfloat16 or an --input of larger voxels"
    return f"{what} has too little memory for {recipe.batch} images at once; {advice}."


def step_weights(sizes: Sequence[int], accumulate: int) -> list[float]:
    """Weight of each batch's mean loss in the step it belongs to: its people over those of the step, as in one large batch.

    >>> step_weights([4, 4, 4, 2, 6], 2)
    [0.5, 0.5, 0.6666666666666666, 0.3333333333333333, 1.0]
    """
    steps = [sizes[start : start + accumulate] for start in range(0, len(sizes), accumulate)]
    return [size / sum(step) for step in steps for size in step]


def balanced_weights(ages: np.ndarray, width: float = 5.0) -> np.ndarray:
    """Probabilities of people that give every bin of age the same weight, (n,).

    >>> balanced_weights(np.array([21.0, 22.0, 23.0, 51.0])).round(3).tolist()
    [0.167, 0.167, 0.167, 0.5]
    """
    _, inverse, counts = np.unique(np.floor(np.asarray(ages) / width), return_inverse=True, return_counts=True)
    weights = 1.0 / counts[inverse]
    return weights / weights.sum()
