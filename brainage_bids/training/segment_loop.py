"""Training of an encoder-decoder; like the loop of ages it goes on after a kill and ends with the same weights."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from brainage_bids.models.arithmetic import exact
from brainage_bids.models.nets.segment import SegmentNet
from brainage_bids.models.network import load_state, state_arrays
from brainage_bids.models.segmenter import label_prepared
from brainage_bids.records import BadConfiguration
from brainage_bids.training.checkpoint import Standing, fingerprint, read_checkpoint, save_checkpoint
from brainage_bids.training.objective import Recipe, make_optimiser, rate_at
from brainage_bids.training.overlap import dice_and_entropy, dice_of_labels
from brainage_bids.training.segment_sources import Source

HISTORY = ("epoch", "rate", "train_loss", "validation_dice", "seconds", "volumes_per_s")
"""Columns of ``history.tsv``."""


@dataclass(frozen=True)
class View:
    """What of a volume a training step looks at.

    Attributes
    ----------
    axis : int or None
        Along which slices are drawn; None for a volume.
    slices : tuple of two ints
        First and last of those that are drawn from, both included.
    drawn : int
        How many of a volume.
    patch : int
        Edge of the cube that is cut out at a random place, voxels; 0 for the whole volume.
    """

    axis: int | None = None
    slices: tuple[int, int] = (0, 0)
    drawn: int = 8
    patch: int = 0


@dataclass(frozen=True)
class FittedSegmenter:
    """What training says of itself.

    Attributes
    ----------
    history : tuple of mapping
        One an epoch, with the columns `HISTORY`.
    best_epoch : int
        Whose weights the network has, counted from 1.
    dice : ndarray, shape (validation images, labels)
        Of that epoch, without the background; NaN for a label that is in neither image.
    seconds : float
    """

    history: tuple[Mapping[str, float], ...]
    best_epoch: int
    dice: np.ndarray
    seconds: float


def cut(image: np.ndarray, labels: np.ndarray, view: View, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """What a training step looks at: (images, …) of both, one cube or several slices."""
    if view.axis is not None:
        first, last = view.slices
        chosen = first + generator.permutation(last - first + 1)[: view.drawn]
        return tuple(np.ascontiguousarray(np.moveaxis(np.take(values, chosen, view.axis), view.axis, 0)) for values in (image, labels))
    if view.patch:
        starts = [int(generator.integers(0, max(n - view.patch, 0) + 1)) for n in image.shape]
        box = tuple(slice(start, start + view.patch) for start in starts)
        image, labels = image[box], labels[box]
    return np.ascontiguousarray(image)[None], np.ascontiguousarray(labels)[None]


def fit_segmenter(
    net: SegmentNet,
    source: Source,
    train: Sequence[int],
    validation: Sequence[int],
    recipe: Recipe,
    view: View,
    count: int,
    *,
    seed: int,
    device: str = "cpu",
    work: Path | None = None,
    told: Callable[[Mapping[str, float]], None] | None = None,
) -> FittedSegmenter:
    """Train in place; the network ends with the weights of the epoch whose mean Dice in validation was the largest.

    Parameters
    ----------
    net : SegmentNet
    source : Source
    train, validation : sequence of int
        Numbers of images.
    recipe : Recipe
        Its loss is not looked at: it is ``overlap.dice_and_entropy``.
    view : View
    count : int
        Labels, the background among them.
    seed : int
    device : str
    work : Path, optional
        Folder of checkpoints; without one nothing is kept.
    told : callable, optional
        Called after each epoch with its line of the history.

    Raises
    ------
    BadConfiguration
        If there is nothing to train on or to validate with, or the loss is no number any more.
    """
    if not len(train) or not len(validation):
        raise BadConfiguration("Training needs images to train on and images to validate with.")
    with exact():
        return _Run(net, source, train, validation, recipe, view, count, seed, device, work).go(told)


class _Run:
    """One call of `fit_segmenter`."""

    def __init__(self, net, source, train, validation, recipe, view, count, seed, device, work):
        self.net, self.source, self.recipe, self.view = net.to(device), source, recipe, view
        self.train, self.validation, self.count = np.asarray(train), np.asarray(validation), count
        self.seed, self.device = seed, device
        self.optimiser = make_optimiser(recipe, net.parameters())
        self.batches = math.ceil(len(self.train) / recipe.batch)
        self.steps = math.ceil(self.batches / recipe.accumulate)
        self.standing = Standing((-math.inf, 0, {}))
        self.path = work / f"segment-{self._digest()}.pt" if work is not None else None

    def go(self, told) -> FittedSegmenter:
        if self.path is not None and self.path.is_file():
            self.standing = read_checkpoint(self.path, self.net, self.optimiser, self.device)
        standing = self.standing
        while not standing.finished:
            line = self._epoch(len(standing.history))
            standing.history.append(line)
            if line["validation_dice"] > standing.best[0]:
                standing.best = (line["validation_dice"], len(standing.history), state_arrays(self.net))
            waited = len(standing.history) - standing.best[1]
            standing.finished = len(standing.history) >= self.recipe.epochs or waited >= self.recipe.patience
            if self.path is not None:
                save_checkpoint(self.path, self.net, self.optimiser, standing)
            if told:
                told(line)
        load_state(self.net, standing.best[2])
        return FittedSegmenter(tuple(standing.history), standing.best[1], self._dice(), sum(line["seconds"] for line in standing.history))

    def _epoch(self, epoch: int) -> dict[str, float]:
        start = time.monotonic()
        torch.manual_seed(int(np.random.default_rng((self.seed, epoch, 1)).integers(2**62)))
        self.net.train()
        losses, rate = [], 0.0
        for number, (images, labels) in enumerate(self._batches(epoch)):
            with torch.autocast(torch.device(self.device).type, torch.bfloat16, enabled=self.recipe.precision == "bfloat16"):
                scores = self.net(images)
            loss = dice_and_entropy(scores, labels)
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
        speed = len(self.train) / max(time.monotonic() - start, 1e-9)
        found = self._dice()
        dice = float(np.nanmean(np.nanmean(found, axis=0))) if np.isfinite(found).any() else 0.0
        values = (epoch + 1, rate, float(np.mean(losses)), dice, time.monotonic() - start, speed)
        return dict(zip(HISTORY, values, strict=True))

    def _dice(self) -> np.ndarray:
        found = []
        for row in self.validation.tolist():
            image, labels = self.source.fixed(row)
            if self.view.axis is not None:  # those that no step looks at are not judged by
                chosen = np.arange(self.view.slices[0], self.view.slices[1] + 1)
                image, labels = (np.take(values, chosen, self.view.axis) for values in (image, labels))
            found.append(dice_of_labels(label_prepared(self.net, image, self.view.axis, self.device), labels, self.count))
        return np.array(found)

    def _batches(self, epoch: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Batches of an epoch; the next one is made by another thread."""
        order = np.random.default_rng((self.seed, epoch, 2)).permutation(self.train)
        parts = [order[start : start + self.recipe.batch] for start in range(0, len(order), self.recipe.batch)]
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(self._batch, epoch, 0, parts[0])
            for number in range(len(parts)):
                images, labels = waiting.result()
                if number + 1 < len(parts):
                    waiting = pool.submit(self._batch, epoch, number + 1, parts[number + 1])
                yield images.to(self.device), labels.to(self.device)

    def _batch(self, epoch: int, number: int, rows: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        images, labels = [], []
        for place, row in enumerate(rows):
            generator = np.random.default_rng((self.seed, epoch, number, place, 3))
            image, truth = cut(*self.source.draw(int(row), generator), self.view, generator)
            images.append(image)
            labels.append(truth)
        return torch.from_numpy(np.concatenate(images))[:, None], torch.from_numpy(np.concatenate(labels)).long()

    def _digest(self) -> str:
        """What the weights at the end depend on: everything that was given, and the weights at the start."""
        rows = [self.train.tolist(), self.validation.tolist(), self.source.name, self.count]
        return fingerprint(self.net, [asdict(self.recipe), asdict(self.view), self.seed, str(self.net), rows])
