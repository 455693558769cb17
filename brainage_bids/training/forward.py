"""Sending packed images through a network that does not learn."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from brainage_bids.models.arithmetic import exact
from brainage_bids.models.nets.base import AgeNet
from brainage_bids.training.augment import augment, preset
from brainage_bids.training.cache import Cache
from brainage_bids.training.data import Objective, Sample
from brainage_bids.training.objective import Recipe, balanced_weights, bins_of, loss_of
from brainage_bids.training.processes import ALONE, Team


@dataclass(frozen=True)
class Cohort:
    """Packed images with their ages, years (``data.Dataset``)."""

    cache: Cache
    ages: np.ndarray
    augmentation: str = "none"
    least = 2  # batch norm has no variance of one

    @property
    def name(self) -> str:
        """Of images and ages."""
        ages = hashlib.sha256(np.ascontiguousarray(self.ages).tobytes()).hexdigest()[:16]
        return f"{self.cache.name}-{self.cache.volumes.shape}-{ages}"

    def item(self, row: int, rng: np.random.Generator) -> Sample:
        """See `Dataset`: the images, augmented, and the age."""
        images = augment(torch.from_numpy(self.cache.read(row)), preset(self.augmentation), rng)
        return Sample(images[None], torch.tensor([self.ages[row]], dtype=torch.float32))

    def drawn_by(self, recipe: Recipe) -> Cohort:
        """See `Dataset`."""
        return replace(self, augmentation=recipe.augmentation)

    def weights(self, rows: np.ndarray) -> np.ndarray:
        """See `Dataset`."""
        return balanced_weights(self.ages[rows])

    def images(self, rows: Sequence[int]) -> torch.Tensor:
        """Prepared images of some rows, (len(rows), channels, X, Y, Z), float32."""
        return torch.from_numpy(np.stack([self.cache.read(int(row)) for row in rows]))


def predict(net: AgeNet, cohort: Cohort, rows: Sequence[int], *, device: str = "cpu", batch: int = 4, team: Team = ALONE) -> np.ndarray:
    """Ages of packed images, (len(rows),) float64, in float32 arithmetic; several processes share the work."""
    found = np.zeros(len(rows))
    mine = np.arange(len(rows))[team.share(len(rows))]
    net.eval().to(device)
    with exact(), torch.inference_mode():
        for start in range(0, len(mine), batch):
            part = mine[start : start + batch]
            age, _ = net.head.age(net(cohort.images([rows[place] for place in part]).to(device)))
            found[part] = age.double().cpu().numpy()
    return team.total_array(found, device) if team.size > 1 else found


def age_objective(net: AgeNet, cohort: Cohort, recipe: Recipe, device: str = "cpu") -> Objective:
    """Ages: the loss of the recipe, and the mean absolute error of the people of validation, years."""

    def score(trained: AgeNet, rows: Sequence[int], team: Team) -> float:
        predicted = predict(trained, cohort, rows, device=device, batch=recipe.batch, team=team)
        return float(np.mean(np.abs(predicted - cohort.ages[list(rows)])))

    return Objective(lambda output, ages: loss_of(recipe.loss, output, ages, bins_of(net)), score, "validation_mae", -1)


@dataclass(frozen=True)
class Convolved:
    """What frozen convolutions make of the images of a cohort, computed once and kept on the disk.

    Attributes
    ----------
    outputs : ndarray, shape (rows, channels, …), float32, memory-mapped
    place : mapping of int to int
        Row of the cohort to row of `outputs`.
    ages : ndarray, shape (people of the cohort,)
        Years.
    """

    outputs: np.ndarray
    place: Mapping[int, int]
    ages: np.ndarray

    def batch(self, rows: Sequence[int]) -> torch.Tensor:
        """Outputs of some rows of the cohort."""
        return torch.from_numpy(np.array(self.outputs[[self.place[int(row)] for row in rows]]))

    def targets(self, rows: Sequence[int]) -> torch.Tensor:
        """Ages of some rows of the cohort."""
        return torch.from_numpy(self.ages[rows].astype(np.float32))


def convolve(
    net: AgeNet, cohort: Cohort, rows: Sequence[int], *, device: str = "cpu", batch: int = 4, work: Path | None = None
) -> Convolved:
    """Send images through the convolutions of a network, which do not learn.

    Parameters
    ----------
    work : Path, optional
        Where the outputs lie, in a file without a name that goes with the process.
    """
    net.eval().to(device)
    shape: tuple[int, ...] = ()
    with tempfile.TemporaryFile(dir=work) as file, exact(), torch.inference_mode():
        for start in range(0, len(rows), batch):
            found = net.convolutions(cohort.images(rows[start : start + batch]).to(device)).float().cpu().contiguous().numpy()
            shape = found.shape[1:]
            file.write(found.data)
        file.flush()
        outputs = np.memmap(file, np.float32, "r", shape=(len(rows), *shape))
    return Convolved(outputs, {int(row): number for number, row in enumerate(rows)}, cohort.ages)
