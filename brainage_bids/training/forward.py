"""Sending packed images through a network that does not learn."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from brainage_bids.models.arithmetic import exact
from brainage_bids.models.nets.base import AgeNet
from brainage_bids.training.cache import Cache
from brainage_bids.training.processes import ALONE, Team


@dataclass(frozen=True)
class Cohort:
    """Packed images with their ages, years."""

    cache: Cache
    ages: np.ndarray

    def images(self, rows: Sequence[int]) -> torch.Tensor:
        """Prepared images of some rows, (len(rows), 1, X, Y, Z), float32."""
        return torch.from_numpy(np.stack([self.cache.read(int(row)) for row in rows]))[:, None]


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


@dataclass(frozen=True)
class Convolved:
    """What frozen convolutions make of the images of a cohort, computed once and kept on the disk.

    Attributes
    ----------
    outputs : ndarray, shape (rows, channels, …), float32, memory-mapped
    place : mapping of int to int
        Row of the cohort to row of `outputs`.
    """

    outputs: np.ndarray
    place: Mapping[int, int]

    def batch(self, rows: Sequence[int]) -> torch.Tensor:
        """Outputs of some rows of the cohort."""
        return torch.from_numpy(np.array(self.outputs[[self.place[int(row)] for row in rows]]))


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
    return Convolved(outputs, {int(row): number for number, row in enumerate(rows)})
