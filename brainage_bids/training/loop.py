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
from brainage_bids.training.batches import Batch, Batches
from brainage_bids.training.checkpoint import Standing, fingerprint, read_checkpoint, save_checkpoint
from brainage_bids.training.data import Dataset, Objective
from brainage_bids.training.forward import age_objective, convolve
from brainage_bids.training.objective import Recipe, enough_memory, make_optimiser, rate_at, step_weights
from brainage_bids.training.processes import ALONE, Team, joint_norms
from brainage_bids.training.transfer import hold, to_training

HISTORY = ("epoch", "rate", "train_loss", "{measure}", "seconds", "volumes_per_s", "waiting")
"""Columns of ``history.tsv``; the loss has the units of its kind, the measure is that of the objective; ``waiting`` is the share of the
time of training (without validation) in which the network had to wait for images."""


@dataclass(frozen=True)
class Fitted:
    """A trained network.

    Attributes
    ----------
    history : tuple of mapping
        One an epoch, with the columns `HISTORY`.
    best_epoch : int
        Whose weights the network has, counted from 1.
    score : float
        Of that epoch, by the objective: years for ages.
    seconds : float
        Of all epochs, those before an interruption too.
    """

    history: tuple[Mapping[str, float], ...]
    best_epoch: int
    score: float
    seconds: float


def fit(
    net: torch.nn.Module,
    data: Dataset,
    train: Sequence[int],
    validation: Sequence[int],
    recipe: Recipe,
    *,
    seed: int,
    objective: Objective | None = None,
    freeze: str = "none",
    device: str = "cpu",
    work: Path | None = None,
    told: Callable[[Mapping[str, float]], None] | None = None,
    team: Team = ALONE,
) -> Fitted:
    """Train a network in place; it ends with the weights of the epoch that was best in validation.

    Everything that is drawn follows from the seed and the number of the epoch, so that a run that was killed and started
    again with the same arguments ends with the same weights.

    Parameters
    ----------
    net : Module
    data : Dataset
    train, validation : sequence of int
        Rows of the data.
    recipe : Recipe
    seed : int
    objective : Objective, optional
        That of ages by default.
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
    objective = objective or age_objective(net, data, recipe, device)
    with enough_memory(recipe):
        net.to(device)
        with exact(), joint_norms(net, team):
            fitted = _Run(net, data, train, validation, recipe, objective, seed, freeze, device, work, team).go(told)
    net.eval()
    return fitted


def can_convolve_once(net: AgeNet, recipe: Recipe, freeze: str) -> bool:
    """Whether the convolutions see the same images in every epoch and give the same of them."""
    return freeze != "none" and recipe.augmentation == "none" and recipe.precision == "float32" and not isinstance(net, Slices)


class _Run:
    """One call of `fit`."""

    def __init__(
        self, net, data: Dataset, train, validation, recipe: Recipe, objective: Objective, seed: int, freeze: str, device, work, team: Team
    ):
        self.net, self.data, self.recipe, self.objective, self.seed, self.team = net, data, recipe, objective, seed, team
        if any(weight.dim() == 5 for weight in net.parameters()):
            net.to(memory_format=torch.channels_last_3d)
        self.train, self.validation = np.asarray(train), np.asarray(validation)
        self.freeze, self.device, self.work = freeze, device, work
        hold(net, freeze)
        self.optimiser = make_optimiser(recipe, net.parameters())
        self.batches = Batches(data.drawn_by(recipe), self.train, recipe.batch, seed, recipe.balance, device, team)
        self.in_epoch = len(self.batches.parts(0))
        self.steps = math.ceil(self.in_epoch / recipe.accumulate)
        self.standing = Standing((objective.worst, 0, {}))
        self.path = work / f"run-{self._digest()}.pt" if work is not None else None

    def go(self, told) -> Fitted:
        if self.path is not None and self.path.is_file():
            self.standing = read_checkpoint(self.path, self.net, self.optimiser, self.device)
        standing = self.standing
        if not standing.finished and can_convolve_once(self.net, self.recipe, self.freeze):
            rows = [*self.train.tolist(), *self.validation.tolist()]
            how = {"device": self.device, "batch": self.recipe.batch, "work": self.work}
            self.batches.convolved = convolve(self.net, self.data, rows, **how)
        while not standing.finished:
            line = self._epoch(len(standing.history))
            standing.history.append(line)
            if self.objective.better(line[self.objective.measure], standing.best[0]):
                standing.best = (line[self.objective.measure], len(standing.history), state_arrays(self.net))
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
        sizes = [len(rows) for rows in self.batches.parts(epoch)]
        weights = step_weights(sizes, self.recipe.accumulate)
        for number, batch in enumerate(self.batches.of_epoch(epoch)):
            losses.append(self._learn_from(batch, weights[number], epoch))
            if (number + 1) % self.recipe.accumulate == 0 or number + 1 == self.in_epoch:
                rate = rate_at(self.recipe, epoch * self.steps + number // self.recipe.accumulate, self.recipe.epochs * self.steps)
                for group in self.optimiser.param_groups:
                    group["lr"] = rate
                self.team.total_gradients(list(self.net.parameters()))
                self.optimiser.step()
                self.optimiser.zero_grad(set_to_none=True)
        seconds = max(time.monotonic() - start, 1e-9)
        score = self._score()
        if not math.isfinite(score):
            raise BadConfiguration(f"The network gave no number in epoch {epoch + 1}; give a smaller --rate.")
        speed, waiting = len(self.train) / seconds, self.batches.waited / seconds
        values = (epoch + 1, rate, float(np.average(losses, weights=sizes)), score, time.monotonic() - start, speed, waiting)
        return dict(zip((name.format(measure=self.objective.measure) for name in HISTORY), values, strict=True))

    def _learn_from(self, batch: Batch, weight: float, epoch: int) -> float:
        """Add the gradients of a batch to those of its step and return its loss, that of all processes."""
        loss = self._loss(batch.images, batch.target) * batch.share
        value = float(self.team.total(loss.detach().clone()))
        if not math.isfinite(value):
            advice = "give a smaller --rate, or look for images with odd values"
            raise BadConfiguration(f"The training loss became {value} in epoch {epoch + 1}; {advice}.")
        (loss * weight).backward()
        return value

    def _loss(self, images: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        with torch.autocast(torch.device(self.device).type, torch.bfloat16, enabled=self.recipe.precision == "bfloat16"):
            output = self.net(images) if self.batches.convolved is None else self.net.head(self.net.dense(images))
        return self.objective.loss(output.float(), target)

    def _score(self) -> float:
        rows, convolved = self.validation.tolist(), self.batches.convolved
        if convolved is None:
            return self.objective.score(self.net, rows, self.team)
        self.net.eval()
        found = []
        with torch.inference_mode():
            for start in range(0, len(rows), self.recipe.batch):
                outputs = convolved.batch(rows[start : start + self.recipe.batch]).to(self.device)
                age, _ = self.net.head.age(self.net.head(self.net.dense(outputs)))
                found.append(age.double().cpu().numpy())
        return float(np.mean(np.abs(np.concatenate(found) - convolved.ages[rows])))

    def _digest(self) -> str:
        """What the weights at the end depend on: everything that was given, and the weights at the start."""
        rows = [self.train.tolist(), self.validation.tolist(), self.data.name, self.objective.measure]
        about = [asdict(self.recipe), self.seed, self.freeze, str(self.net), rows, HISTORY]
        return fingerprint(self.net, about)


def history_text(history: Sequence[Mapping[str, float]]) -> str:
    """The history as a tsv.

    >>> history_text([{"epoch": 1.0, "train_loss": 9.5}]).split()
    ['epoch', 'train_loss', '1', '9.5']
    """
    names = list(history[0])
    return "\n".join(["\t".join(names), *("\t".join(f"{line[name]:.6g}" for name in names) for line in history)]) + "\n"
