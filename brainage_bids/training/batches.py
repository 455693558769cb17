"""Batches of an epoch: who is in which, and their images, made ahead of the network by threads."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import torch

from brainage_bids.records import BadConfiguration
from brainage_bids.training.augment import Augmentation, augment
from brainage_bids.training.forward import Cohort, Convolved
from brainage_bids.training.objective import balanced_weights
from brainage_bids.training.processes import ALONE, Team

MOST_LOADERS = 8


@dataclass
class Batch:
    """What a process takes of a batch.

    Attributes
    ----------
    images : Tensor
        (n, 1, X, Y, Z), or what frozen convolutions make of that.
    ages : Tensor, shape (n,)
    share : float
        n over the people of the batch in all processes.
    """

    images: torch.Tensor
    ages: torch.Tensor
    share: float


@dataclass
class Batches:
    """Makes the batches of epochs; everything that is drawn follows from the seed, the epoch and the place.

    Attributes
    ----------
    cohort : Cohort
    rows : ndarray of int
        Who is trained on.
    size : int
        People of a batch, over all processes.
    how : Augmentation
    seed : int
    balance : bool
    device : str
    team : Team
    convolved : Convolved or None
        Used instead of images.
    waited : float
        Seconds in which the network had nothing to do, of the epoch that is running.
    """

    cohort: Cohort
    rows: np.ndarray
    size: int
    how: Augmentation
    seed: int
    balance: bool = False
    device: str = "cpu"
    team: Team = ALONE
    convolved: Convolved | None = None
    waited: float = field(default=0.0, init=False)

    def parts(self, epoch: int) -> list[np.ndarray]:
        """Rows of each batch of an epoch; every process has somebody in every batch."""
        least = max(2 if self.size > 1 else 1, self.team.size)  # batch norm has no variance of one
        if min(self.size, len(self.rows)) < self.team.size:
            words = f"{min(self.size, len(self.rows))} people cannot be shared by {self.team.size} processes"
            raise BadConfiguration(f"A batch of {words}; give --batch {self.team.size} or more, or fewer processes.")
        generator = np.random.default_rng((self.seed, epoch, 2))
        if self.balance:
            order = generator.choice(self.rows, len(self.rows), p=balanced_weights(self.cohort.ages[self.rows]))
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
                images, ages = (values.to(self.device, non_blocking=True) for values in (made.images, made.ages))
                yield Batch(images, ages, made.share)

    def _make(self, epoch: int, number: int, rows: np.ndarray) -> Batch:
        places = range(len(rows))[self.team.share(len(rows))]
        mine = rows[self.team.share(len(rows))]
        ages = torch.from_numpy(self.cohort.ages[mine].astype(np.float32))
        images = self.convolved.batch(mine) if self.convolved is not None else self._images(epoch, number, places, mine)
        if self.device.startswith("cuda"):
            images, ages = images.pin_memory(), ages.pin_memory()
        return Batch(images, ages, len(mine) / len(rows))

    def _images(self, epoch: int, number: int, places: Sequence[int], rows: np.ndarray) -> torch.Tensor:
        images = []
        for place, row in zip(places, rows, strict=True):
            generator = np.random.default_rng((self.seed, epoch, number, place, 3))
            images.append(augment(torch.from_numpy(self.cohort.cache.read(int(row))), self.how, generator))
        stacked = torch.stack(images)[:, None]
        return stacked.contiguous(memory_format=torch.channels_last_3d) if stacked.dim() == 5 else stacked


def loader_count(device: str) -> int:
    """Threads that make batches: one beside a network on the CPU, which wants the cores itself, up to eight beside a GPU."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    return max(1, min(MOST_LOADERS, cores - 1)) if device.startswith("cuda") else 1
