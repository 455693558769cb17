"""Training of one network: epochs, early stopping, and checkpoints from which a killed run goes on to the same weights."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from brainage_bids.models.arithmetic import exact
from brainage_bids.models.nets.base import AgeNet
from brainage_bids.models.nets.encoders import Slices
from brainage_bids.models.network import load_state, state_arrays
from brainage_bids.records import BadConfiguration
from brainage_bids.training.augment import preset
from brainage_bids.training.batches import Batch, Batches
from brainage_bids.training.checkpoint import Standing, fingerprint, read_checkpoint, save_checkpoint
from brainage_bids.training.forward import Cohort, convolve, predict
from brainage_bids.training.objective import Recipe, bins_of, loss_of, make_optimiser, rate_at
from brainage_bids.training.processes import ALONE, Team, joint_norms
from brainage_bids.training.transfer import hold, to_training

HISTORY = ("epoch", "rate", "train_loss", "validation_mae", "seconds", "volumes_per_s", "waiting")
"""Columns of ``history.tsv``; the loss has the units of its kind, the error years; ``waiting`` is the share of the time of
training (without validation) in which the network had to wait for images."""


@dataclass(frozen=True)
class Fitted:
    """A trained network.

    Attributes
    ----------
    history : tuple of mapping
        One an epoch, with the columns `HISTORY`.
    best_epoch : int
        Whose weights the network has, counted from 1.
    validation_mae : float
        Of that epoch, years.
    seconds : float
        Of all epochs, those before an interruption too.
    """

    history: tuple[Mapping[str, float], ...]
    best_epoch: int
    validation_mae: float
    seconds: float


def fit(
    net: AgeNet,
    cohort: Cohort,
    train: Sequence[int],
    validation: Sequence[int],
    recipe: Recipe,
    *,
    seed: int,
    freeze: str = "none",
    device: str = "cpu",
    work: Path | None = None,
    told: Callable[[Mapping[str, float]], None] | None = None,
    team: Team = ALONE,
) -> Fitted:
    """Train a network in place; it ends with the weights of the epoch whose validation error was the least.

    Everything that is drawn follows from the seed and the number of the epoch, so that a run that was killed and started
    again with the same arguments ends with the same weights.

    Parameters
    ----------
    net : AgeNet
    cohort : Cohort
    train, validation : sequence of int
        Rows of the cohort.
    recipe : Recipe
    seed : int
    freeze : str
        Of ``transfer.FREEZE``.
    device : str
    work : Path, optional
        Folder of checkpoints; without one nothing is kept.
    told : callable, optional
        Called after each epoch with its line of the history.
    team : Team
        The processes that train this network; every one of them calls this function.

    Raises
    ------
    BadConfiguration
        If nobody is to be trained on or validated with, the loss is no number any more, or there is too little memory.
    """
    if not len(train) or not len(validation):
        raise BadConfiguration("Training needs people to train on and people to validate with.")
    try:
        net.to(device)
        with exact(), joint_norms(net, team):
            fitted = _Run(net, cohort, train, validation, recipe, seed, freeze, device, work, team).go(told)
    except torch.OutOfMemoryError as error:
        raise BadConfiguration(_too_much(recipe, "The GPU")) from error
    except RuntimeError as error:
        if "can't allocate memory" not in str(error):
            raise
        raise BadConfiguration(_too_much(recipe, "This machine")) from error
    net.eval()
    return fitted


def _too_much(recipe: Recipe, what: str) -> str:
    advice = f"give --batch {recipe.batch // 2} --accumulate {recipe.accumulate * 2} and --precision bfloat16"
    if recipe.batch == 1:
        advice = "give --precision bfloat16 or an --input of larger voxels"
    return f"{what} has too little memory for {recipe.batch} images at once; {advice}."


def can_convolve_once(net: AgeNet, recipe: Recipe, freeze: str) -> bool:
    """Whether the convolutions see the same images in every epoch and give the same of them."""
    return freeze != "none" and recipe.augmentation == "none" and recipe.precision == "float32" and not isinstance(net, Slices)


class _Run:
    """One call of `fit`."""

    def __init__(self, net, cohort, train, validation, recipe: Recipe, seed: int, freeze: str, device: str, work: Path | None, team: Team):
        self.net, self.cohort, self.recipe, self.seed, self.team = net, cohort, recipe, seed, team
        if cohort.cache.volumes.ndim == 4 and not isinstance(net, Slices):
            net.to(memory_format=torch.channels_last_3d)
        self.train, self.validation = np.asarray(train), np.asarray(validation)
        self.freeze, self.device, self.work = freeze, device, work
        hold(net, freeze)
        self.optimiser = make_optimiser(recipe, net.parameters())
        self.batches = Batches(cohort, self.train, recipe.batch, preset(recipe.augmentation), seed, recipe.balance, device, team)
        self.in_epoch = len(self.batches.parts(0))
        self.steps = math.ceil(self.in_epoch / recipe.accumulate)
        self.standing = Standing((math.inf, 0, {}))
        self.path = work / f"run-{self._digest()}.pt" if work is not None else None

    def go(self, told) -> Fitted:
        if self.path is not None and self.path.is_file():
            self.standing = read_checkpoint(self.path, self.net, self.optimiser, self.device)
        standing = self.standing
        if not standing.finished and can_convolve_once(self.net, self.recipe, self.freeze):
            rows = [*self.train.tolist(), *self.validation.tolist()]
            how = {"device": self.device, "batch": self.recipe.batch, "work": self.work}
            self.batches.convolved = convolve(self.net, self.cohort, rows, **how)
        while not standing.finished:
            line = self._epoch(len(standing.history))
            standing.history.append(line)
            if line["validation_mae"] < standing.best[0]:
                standing.best = (line["validation_mae"], len(standing.history), state_arrays(self.net))
            waited = len(standing.history) - standing.best[1]
            standing.finished = len(standing.history) >= self.recipe.epochs or waited >= self.recipe.patience
            if self.path is not None and self.team.leads:
                save_checkpoint(self.path, self.net, self.optimiser, standing)
            if told:
                told(line)
        load_state(self.net, standing.best[2])
        self.net.eval()
        return Fitted(tuple(standing.history), standing.best[1], standing.best[0], sum(line["seconds"] for line in standing.history))

    def _epoch(self, epoch: int) -> dict[str, float]:
        start = time.monotonic()
        drawn = (self.seed, epoch, 1) + (self.team.rank,) * (not self.team.leads)
        torch.manual_seed(int(np.random.default_rng(drawn).integers(2**62)))
        to_training(self.net, self.freeze)
        losses, rate = [], 0.0
        for number, batch in enumerate(self.batches.of_epoch(epoch)):
            losses.append(self._learn_from(batch, epoch))
            if (number + 1) % self.recipe.accumulate == 0 or number + 1 == self.in_epoch:
                rate = rate_at(self.recipe, epoch * self.steps + number // self.recipe.accumulate, self.recipe.epochs * self.steps)
                for group in self.optimiser.param_groups:
                    group["lr"] = rate
                self.team.total_gradients(list(self.net.parameters()))
                self.optimiser.step()
                self.optimiser.zero_grad(set_to_none=True)
        seconds = max(time.monotonic() - start, 1e-9)
        predicted = self._predict_validation()
        mae = float(np.mean(np.abs(predicted - self.cohort.ages[self.validation])))
        if not math.isfinite(mae):
            raise BadConfiguration(f"The network gave no number in epoch {epoch + 1}; give a smaller --rate.")
        speed, waiting = len(self.train) / seconds, self.batches.waited / seconds
        values = (epoch + 1, rate, float(np.mean(losses)), mae, time.monotonic() - start, speed, waiting)
        return dict(zip(HISTORY, values, strict=True))

    def _learn_from(self, batch: Batch, epoch: int) -> float:
        """Add the gradients of a batch and return its loss, that of all processes."""
        loss = self._loss(batch.images, batch.ages) * batch.share
        value = float(self.team.total(loss.detach().clone()))
        if not math.isfinite(value):
            advice = "give a smaller --rate, or look for images with odd values"
            raise BadConfiguration(f"The training loss became {value} in epoch {epoch + 1}; {advice}.")
        (loss / self.recipe.accumulate).backward()
        return value

    def _loss(self, images: torch.Tensor, ages: torch.Tensor) -> torch.Tensor:
        with torch.autocast(torch.device(self.device).type, torch.bfloat16, enabled=self.recipe.precision == "bfloat16"):
            output = self.net(images) if self.batches.convolved is None else self.net.head(self.net.dense(images))
        return loss_of(self.recipe.loss, output.float(), ages, bins_of(self.net))

    def _predict_validation(self) -> np.ndarray:
        rows = self.validation.tolist()
        convolved = self.batches.convolved
        if convolved is None:
            return predict(self.net, self.cohort, rows, device=self.device, batch=self.recipe.batch, team=self.team)
        self.net.eval()
        found = []
        with torch.inference_mode():
            for start in range(0, len(rows), self.recipe.batch):
                outputs = convolved.batch(rows[start : start + self.recipe.batch]).to(self.device)
                age, _ = self.net.head.age(self.net.head(self.net.dense(outputs)))
                found.append(age.double().cpu().numpy())
        return np.concatenate(found)

    def _digest(self) -> str:
        """What the weights at the end depend on: everything that was given, and the weights at the start."""
        rows = [self.train.tolist(), self.validation.tolist(), self.cohort.ages.tolist(), self.cohort.cache.volumes.shape]
        about = [asdict(self.recipe), self.seed, self.freeze, str(self.net), rows, self.cohort.cache.name, HISTORY]
        return fingerprint(self.net, about)
