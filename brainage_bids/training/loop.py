"""Training of one network: epochs, early stopping, and checkpoints from which a killed run goes on to the same weights."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from brainage_bids.bids.sink import write_atomic
from brainage_bids.models.nets.base import AgeNet
from brainage_bids.models.nets.encoders import Slices
from brainage_bids.models.network import load_state, state_arrays
from brainage_bids.records import BadConfiguration
from brainage_bids.training.augment import augment, preset
from brainage_bids.training.cache import Cache
from brainage_bids.training.objective import Recipe, balanced_weights, bins_of, loss_of, make_optimiser, rate_at
from brainage_bids.training.transfer import hold, to_training

HISTORY = ("epoch", "rate", "train_loss", "validation_mae", "seconds", "volumes_per_s")
"""Columns of ``history.tsv``; the loss has the units of its kind, the error years."""
_AHEAD = 2


@dataclass(frozen=True)
class Cohort:
    """Packed images with their ages, years."""

    cache: Cache
    ages: np.ndarray


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

    Raises
    ------
    BadConfiguration
        If nobody is to be trained on or validated with, the loss is no number any more, or the GPU has too little memory.
    """
    if not len(train) or not len(validation):
        raise BadConfiguration("Training needs people to train on and people to validate with.")
    try:
        return _Run(net, cohort, train, validation, recipe, seed, freeze, device, work).go(told)
    except torch.OutOfMemoryError as error:
        smaller = max(1, recipe.batch // 2)
        advice = f"give --batch {smaller} --accumulate {recipe.accumulate * 2} and --precision bfloat16"
        raise BadConfiguration(f"The GPU has too little memory for {recipe.batch} images at once; {advice}.") from error


def predict(net: AgeNet, cohort: Cohort, rows: Sequence[int], *, device: str = "cpu", batch: int = 4) -> np.ndarray:
    """Ages of packed images, (len(rows),) float64, in float32 arithmetic."""
    found = []
    net.eval().to(device)
    with torch.inference_mode():
        for start in range(0, len(rows), batch):
            images = np.stack([cohort.cache.read(row) for row in rows[start : start + batch]])
            age, _ = net.head.age(net(torch.from_numpy(images)[:, None].to(device)))
            found.append(age.double().cpu().numpy())
    return np.concatenate(found) if found else np.zeros(0)


@dataclass(frozen=True)
class Convolved:
    """What frozen convolutions make of the images of a cohort, computed once.

    Attributes
    ----------
    outputs : ndarray, shape (rows, channels, …), float32
    place : mapping of int to int
        Row of the cohort to row of `outputs`.
    """

    outputs: np.ndarray
    place: Mapping[int, int]

    def batch(self, rows: Sequence[int]) -> torch.Tensor:
        """Outputs of some rows of the cohort."""
        return torch.from_numpy(self.outputs[[self.place[int(row)] for row in rows]])


def convolve(net: AgeNet, cohort: Cohort, rows: Sequence[int], *, device: str = "cpu", batch: int = 4) -> Convolved:
    """Send images through the convolutions of a network, which do not learn."""
    net.eval().to(device)
    found = []
    with torch.inference_mode():
        for start in range(0, len(rows), batch):
            images = np.stack([cohort.cache.read(int(row)) for row in rows[start : start + batch]])
            found.append(net.convolutions(torch.from_numpy(images)[:, None].to(device)).float().cpu().numpy())
    return Convolved(np.concatenate(found), {int(row): number for number, row in enumerate(rows)})


def can_convolve_once(net: AgeNet, recipe: Recipe, freeze: str) -> bool:
    """Whether the convolutions see the same images in every epoch and give the same of them."""
    return freeze != "none" and recipe.augmentation == "none" and recipe.precision == "float32" and not isinstance(net, Slices)


class _Run:
    """One call of `fit`."""

    def __init__(self, net, cohort, train, validation, recipe: Recipe, seed: int, freeze: str, device: str, work: Path | None):
        self.net, self.cohort, self.recipe, self.seed = net.to(device), cohort, recipe, seed
        self.train, self.validation = np.asarray(train), np.asarray(validation)
        self.freeze, self.device = freeze, device
        hold(net, freeze)
        self.convolved: Convolved | None = None
        self.optimiser = make_optimiser(recipe, net.parameters())
        self.how = preset(recipe.augmentation)
        self.batches = math.ceil(len(self.train) / recipe.batch)
        self.steps = math.ceil(self.batches / recipe.accumulate)
        self.history: list[dict[str, float]] = []
        self.best: tuple[float, int, dict[str, np.ndarray]] = (math.inf, 0, {})
        self.finished = False
        self.path = work / f"run-{self._digest()}.pt" if work is not None else None

    def go(self, told) -> Fitted:
        self._resume()
        if not self.finished and can_convolve_once(self.net, self.recipe, self.freeze):
            rows = [*self.train.tolist(), *self.validation.tolist()]
            self.convolved = convolve(self.net, self.cohort, rows, device=self.device, batch=self.recipe.batch)
        while not self.finished:
            line = self._epoch(len(self.history))
            self.history.append(line)
            if line["validation_mae"] < self.best[0]:
                self.best = (line["validation_mae"], len(self.history), state_arrays(self.net))
            waited = len(self.history) - self.best[1]
            self.finished = len(self.history) >= self.recipe.epochs or waited >= self.recipe.patience
            self._save()
            if told:
                told(line)
        load_state(self.net, self.best[2])
        self.net.eval()
        return Fitted(tuple(self.history), self.best[1], self.best[0], sum(line["seconds"] for line in self.history))

    def _epoch(self, epoch: int) -> dict[str, float]:
        start = time.monotonic()
        torch.manual_seed(int(np.random.default_rng((self.seed, epoch, 1)).integers(2**62)))
        to_training(self.net, self.freeze)
        losses, rate = [], 0.0
        for number, (images, ages) in enumerate(self._batches(epoch)):
            loss = self._loss(images, ages)
            if not math.isfinite(loss.item()):
                advice = "give a smaller --rate, or look for images with odd values"
                raise BadConfiguration(f"The training loss became {loss.item()} in epoch {epoch + 1}; {advice}.")
            losses.append(loss.item())
            (loss / self.recipe.accumulate).backward()
            if (number + 1) % self.recipe.accumulate == 0 or number + 1 == self.batches:
                rate = rate_at(self.recipe, epoch * self.steps + number // self.recipe.accumulate, self.recipe.epochs * self.steps)
                for group in self.optimiser.param_groups:
                    group["lr"] = rate
                self.optimiser.step()
                self.optimiser.zero_grad(set_to_none=True)
        seconds = time.monotonic() - start
        speed = len(self.train) / max(seconds, 1e-9)
        predicted = self._predict_validation()
        mae = float(np.mean(np.abs(predicted - self.cohort.ages[self.validation])))
        if not math.isfinite(mae):
            raise BadConfiguration(f"The network gave no number in epoch {epoch + 1}; give a smaller --rate.")
        values = (epoch + 1, rate, float(np.mean(losses)), mae, time.monotonic() - start, speed)
        return dict(zip(HISTORY, values, strict=True))

    def _loss(self, images: torch.Tensor, ages: torch.Tensor) -> torch.Tensor:
        with torch.autocast(torch.device(self.device).type, torch.bfloat16, enabled=self.recipe.precision == "bfloat16"):
            output = self.net(images) if self.convolved is None else self.net.head(self.net.dense(images))
        return loss_of(self.recipe.loss, output.float(), ages, bins_of(self.net))

    def _predict_validation(self) -> np.ndarray:
        rows = self.validation.tolist()
        if self.convolved is None:
            return predict(self.net, self.cohort, rows, device=self.device, batch=self.recipe.batch)
        self.net.eval()
        with torch.inference_mode():
            age, _ = self.net.head.age(self.net.head(self.net.dense(self.convolved.batch(rows).to(self.device))))
        return age.double().cpu().numpy()

    def _batches(self, epoch: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Batches of an epoch, made ahead by another thread."""
        generator = np.random.default_rng((self.seed, epoch, 2))
        if self.recipe.balance:
            order = generator.choice(self.train, len(self.train), p=balanced_weights(self.cohort.ages[self.train]))
        else:
            order = generator.permutation(self.train)
        parts = [order[start : start + self.recipe.batch] for start in range(0, len(order), self.recipe.batch)]
        if len(parts) > 1 and len(parts[-1]) == 1 and self.recipe.batch > 1:
            parts[-2:] = [np.concatenate(parts[-2:])]  # batch norm has no variance of one
            self.batches = len(parts)
        with ThreadPoolExecutor(1) as pool:
            waiting = [pool.submit(self._batch, epoch, number, part) for number, part in enumerate(parts[:_AHEAD])]
            for number in range(len(parts)):
                images, ages = waiting.pop(0).result()
                if number + _AHEAD < len(parts):
                    waiting.append(pool.submit(self._batch, epoch, number + _AHEAD, parts[number + _AHEAD]))
                yield images.to(self.device, non_blocking=True), ages.to(self.device, non_blocking=True)

    def _batch(self, epoch: int, number: int, rows: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        ages = torch.from_numpy(self.cohort.ages[rows].astype(np.float32))
        if self.convolved is not None:
            return self.convolved.batch(rows), ages
        images = []
        for place, row in enumerate(rows):
            generator = np.random.default_rng((self.seed, epoch, number, place, 3))
            images.append(augment(torch.from_numpy(self.cohort.cache.read(int(row))), self.how, generator))
        stacked = torch.stack(images)[:, None]
        return stacked.contiguous(memory_format=torch.channels_last_3d) if stacked.dim() == 5 else stacked, ages

    def _digest(self) -> str:
        """What the weights at the end depend on: everything that was given, and the weights at the start."""
        start = hashlib.sha256()
        for name, value in sorted(state_arrays(self.net).items()):
            start.update(name.encode() + np.ascontiguousarray(value).tobytes())
        rows = [self.train.tolist(), self.validation.tolist(), self.cohort.ages.tolist(), self.cohort.cache.volumes.shape]
        about = [asdict(self.recipe), self.seed, self.freeze, str(self.net), rows, self.cohort.cache.name]
        start.update(json.dumps(about).encode())
        return start.hexdigest()[:16]

    def _save(self) -> None:
        if self.path is None:
            return
        content: dict[str, Any] = {
            "net": self.net.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "history": self.history,
            "best": [self.best[0], self.best[1], {name: torch.from_numpy(value.copy()) for name, value in self.best[2].items()}],
            "finished": self.finished,
        }
        with write_atomic(self.path) as partial:
            torch.save(content, partial)

    def _resume(self) -> None:
        """Go on from the last whole epoch of a run with the same arguments, if there is one."""
        if self.path is None or not self.path.is_file():
            return
        import pickle

        try:
            content = torch.load(self.path, map_location=self.device, weights_only=True)
            self.net.load_state_dict(content["net"])
            self.optimiser.load_state_dict(content["optimiser"])
            mae, epoch, best = content["best"]
        except (OSError, EOFError, RuntimeError, KeyError, ValueError, pickle.UnpicklingError) as error:
            what = type(error).__name__
            raise BadConfiguration(f"The checkpoint {self.path} cannot be read ({what}); remove it to start again.") from error
        self.history, self.finished = content["history"], content["finished"]
        self.best = (mae, epoch, {name: value.cpu().numpy() for name, value in best.items()})
