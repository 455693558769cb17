"""Batches of an epoch: who is in which, and their images, made ahead of the network by threads."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import torch

from brainage_bids.records import BadConfiguration
from brainage_bids.training.data import Dataset
from brainage_bids.training.forward import Convolved
from brainage_bids.training.processes import ALONE, Team

MOST_LOADERS = 8


@dataclass
class Batch:
    """What a process takes of a batch.

    Attributes
    ----------
    images : Tensor
        (views, channels, …), or what frozen convolutions make of that.
    target : Tensor, shape (views, …)
    share : float
        n over the people of the batch in all processes.
    """

    images: torch.Tensor
    target: torch.Tensor
    share: float


@dataclass
class Batches:
    """Makes the batches of epochs; everything that is drawn follows from the seed, the epoch and the place.

    Attributes
    ----------
    data : Dataset
    rows : ndarray of int
        Who is trained on.
    size : int
        Sessions of a batch, over all processes.
    seed : int
    balance : bool
    device : str
    team : Team
    convolved : Convolved or None
        Used instead of images.
    waited : float
        Seconds in which the network had nothing to do, of the epoch that is running.
    """

    data: Dataset
    rows: np.ndarray
    size: int
    seed: int
    balance: bool = False
    device: str = "cpu"
    team: Team = ALONE
    convolved: Convolved | None = None
    waited: float = field(default=0.0, init=False)

    def parts(self, epoch: int) -> list[np.ndarray]:
        """Rows of each batch of an epoch; every process has somebody in every batch."""
        least = max(self.data.least if self.size > 1 else 1, self.team.size)
        if min(self.size, len(self.rows)) < self.team.size:
            words = f"{min(self.size, len(self.rows))} people cannot be shared by {self.team.size} processes"
            raise BadConfiguration(f"A batch of {words}; give --batch {self.team.size} or more, or fewer processes.")
        generator = np.random.default_rng((self.seed, epoch, 2))
        if self.balance:
            order = generator.choice(self.rows, len(self.rows), p=self.data.weights(self.rows))
        else:
            order = generator.permutation(self.rows)
        parts = [order[start : start + self.size] for start in range(0, len(order), self.size)]
        if len(parts) > 1 and len(parts[-1]) < least:
            parts[-2:] = [np.concatenate(parts[-2:])]
        return parts

    def of_epoch(self, epoch: int) -> Iterator[Batch]:
        """The batches, on the device."""
        self.waited = 0.0
        loaders = loader_count(self.device)
        waiting: deque[Future[Batch]] = deque()
        left = iter(enumerate(self.parts(epoch)))
        with ThreadPoolExecutor(loaders) as pool:
            while True:
                while len(waiting) <= loaders and (following := next(left, None)) is not None:
                    waiting.append(pool.submit(self._make, epoch, *following))
                if not waiting:
                    return
                start = time.monotonic()
                made = waiting.popleft().result()
                self.waited += time.monotonic() - start
                images, target = (values.to(self.device, non_blocking=True) for values in (made.images, made.target))
                yield Batch(images, target, made.share)

    def _make(self, epoch: int, number: int, rows: np.ndarray) -> Batch:
        places = range(len(rows))[self.team.share(len(rows))]
        mine = rows[self.team.share(len(rows))]
        if self.convolved is not None:
            images, target = self.convolved.batch(mine), self.convolved.targets(mine)
        else:
            generators = [np.random.default_rng((self.seed, epoch, number, place, 3)) for place in places]
            samples = [self.data.item(int(row), generator) for row, generator in zip(mine, generators, strict=True)]
            images, target = torch.cat([one.images for one in samples]), torch.cat([one.target for one in samples])
            images = images.contiguous(memory_format=torch.channels_last_3d) if images.dim() == 5 else images
        if self.device.startswith("cuda"):
            images, target = images.pin_memory(), target.pin_memory()
        return Batch(images, target, len(mine) / len(rows))


def loader_count(device: str) -> int:
    """Threads that make batches: one beside a network on the CPU, which wants the cores itself, up to eight beside a GPU."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    return max(1, min(MOST_LOADERS, cores - 1)) if device.startswith("cuda") else 1
