"""What an encoder-decoder is taught: images with labels as samples, and Dice as what counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch

from brainage_bids.models.nets.segment import SegmentNet
from brainage_bids.models.segmenter import label_prepared
from brainage_bids.training.data import Objective, Sample
from brainage_bids.training.objective import Recipe
from brainage_bids.training.overlap import dice_and_entropy, dice_of_labels
from brainage_bids.training.processes import Team
from brainage_bids.training.segment_sources import Source


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


@dataclass(frozen=True)
class SegmentData:
    """Images with labels, cut as a view says (``data.Dataset``)."""

    source: Source
    view: View
    least = 1

    @property
    def name(self) -> str:
        """Of source and view."""
        return f"{self.source.name}-{asdict(self.view)}"

    def item(self, row: int, rng: np.random.Generator) -> Sample:
        """See `Dataset`."""
        image, labels = cut(*self.source.draw(row, rng), self.view, rng)
        return Sample(torch.from_numpy(image)[:, None], torch.from_numpy(labels).long())

    def drawn_by(self, recipe: Recipe) -> SegmentData:
        """The same: a source augments by itself."""
        return self

    def weights(self, rows: np.ndarray) -> None:
        """None: nobody's age is known."""
        return None


def segment_objective(data: SegmentData, count: int, device: str = "cpu") -> Objective:
    """Labels: Dice and cross-entropy, and the mean Dice of the images of validation.

    Parameters
    ----------
    data : SegmentData
    count : int
        Labels, the background among them.
    device : str
    """

    def score(net: SegmentNet, rows: Sequence[int], team: Team) -> float:
        found = dice_in_validation(net, data, rows, count, device)
        return float(np.nanmean(np.nanmean(found, axis=0))) if np.isfinite(found).any() else 0.0

    return Objective(dice_and_entropy, score, "validation_dice", 1)


def dice_in_validation(net: SegmentNet, data: SegmentData, rows: Sequence[int], count: int, device: str = "cpu") -> np.ndarray:
    """Dice of every label but the background, (rows, count − 1); NaN for a label that is in neither image."""
    found = []
    for row in rows:
        image, labels = data.source.fixed(row)
        if data.view.axis is not None:  # those that no step looks at are not judged by
            chosen = np.arange(data.view.slices[0], data.view.slices[1] + 1)
            image, labels = (np.take(values, chosen, data.view.axis) for values in (image, labels))
        found.append(dice_of_labels(label_prepared(net, image, data.view.axis, device), labels, count))
    return np.array(found)
