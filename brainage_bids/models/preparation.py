"""From an image that fulfils a contract to the array that a network sees: crops, intensity rule, flips, in a stated order."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from inspect import signature
from typing import Any

import numpy as np

from brainage_bids.imaging import intensity
from brainage_bids.imaging.brain_parts import PARTS
from brainage_bids.imaging.grids import halved, spread
from brainage_bids.imaging.packing import mode
from brainage_bids.models.image_contract import InputContract
from brainage_bids.records import BadConfiguration, UnusableInput

BRAIN_PROBABILITY = 0.5
WHITE_PROBABILITY = 0.9
"""Where the template is brain (with its fluid), and where it is white matter for sure."""


@dataclass(frozen=True)
class Step:
    """One thing that is done to an image.

    Attributes
    ----------
    name : str
        Of `STEPS`: ``crop`` (``start``, ``stop``: three voxels each), ``halve`` (every second voxel, as means over voxels of twice
        the edge), ``brain`` (zero outside the template's brain), ``part``
        (``name``: zero outside cortex, subcortex or cerebellum of the template, H4),
        ``top_mean`` (``share``), ``mean``, ``zscore`` (in the template's brain), ``uint8`` (white matter to 110, as 0–255),
        ``scale`` (``by``: divide), ``flip`` (``axis``).
    values : mapping
        Its arguments.
    """

    name: str
    values: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.name not in STEPS:
            raise BadConfiguration(f"There is no step {self.name!r} before a network; known are {', '.join(STEPS)}.")
        same = {name: tuple(value) if isinstance(value, list) else value for name, value in self.values.items()}
        try:
            signature(STEPS[self.name]).bind(None, **same)
        except TypeError as error:
            raise BadConfiguration(f"The step {self.name!r} before a network has other arguments than {sorted(same)} ({error}).") from error
        if self.name == "part" and same["name"] not in PARTS:
            raise BadConfiguration(f"There is no part {same['name']!r} of the brain; known are {', '.join(PARTS)}.")
        object.__setattr__(self, "values", same)  # as read from JSON or not, a step is the same


Undo = Callable[[np.ndarray], np.ndarray]


@dataclass
class _Image:
    """An image on its way, where it came from, and what brings arrays on its grid back there, the last step first."""

    data: np.ndarray
    contract: InputContract
    box: list[slice]
    clipped: float = 0.0
    undo: list[Undo] = field(default_factory=list)

    def template(self, what: str, probability: float) -> np.ndarray:
        """Where the template is brain or white matter, cut as the image is."""
        place = template_probability(what, self.contract.shape, self.contract.affine)[tuple(self.box)]
        return place >= probability


@dataclass(frozen=True)
class Prepared:
    """What a network sees of an image.

    Attributes
    ----------
    data : ndarray, float32
        uint8 values stay whole numbers.
    clipped : float
        Share of voxels that were clipped.
    undo : tuple of callable
        What brings an array of the shape of `data` back to the contract's grid, in this order.
    """

    data: np.ndarray
    clipped: float
    undo: tuple[Undo, ...]

    def to_grid(self, values: np.ndarray) -> np.ndarray:
        """Values on the grid that the network sees, on the contract's grid.

        Intensities are not undone. Voxels that a crop left out are 0, and where an image was halved, each voxel's value is spread
        over the voxels that its mean was made of, by their weights, so that the sum over an array stays what it was.

        Parameters
        ----------
        values : ndarray, shape of `data`

        Returns
        -------
        ndarray, shape of the contract, float32
        """
        for step in self.undo:
            values = step(values)
        return np.asarray(values, dtype=np.float32)


def prepare(image: np.ndarray, contract: InputContract, steps: Sequence[Step]) -> Prepared:
    """Do all steps.

    Parameters
    ----------
    image : ndarray, contract.shape
    contract : InputContract
        Which the image fulfils.
    steps : sequence of Step

    Returns
    -------
    Prepared

    Raises
    ------
    UnusableInput
        If a rule is not defined for the image (all zeros, constant).
    """
    if image.shape != contract.shape:
        raise UnusableInput(f"An array of shape {image.shape} does not fit the input {contract.key}, which has {contract.shape}.")
    work = _Image(np.asarray(image, dtype=np.float32), contract, [slice(0, n, 1) for n in contract.shape])
    for step in steps:
        try:
            STEPS[step.name](work, **step.values)
        except ValueError as error:
            raise UnusableInput(f"The intensities of {contract.key} cannot be scaled ({error}); look at the image.") from error
    return Prepared(np.ascontiguousarray(work.data, dtype=np.float32), work.clipped, tuple(reversed(work.undo)))


def prepared_shape(shape: Sequence[int], steps: Sequence[Step]) -> tuple[int, ...]:
    """Shape after all steps; BadConfiguration if a crop does not lie in the grid.

    >>> prepared_shape((197, 233, 189), [Step("crop", {"start": (7, 8, 0), "stop": (189, 226, 182)})])
    (182, 218, 182)
    """
    for step in steps:
        if step.name == "halve":
            shape = tuple((n + 1) // 2 for n in shape)
        if step.name == "crop":
            start, stop = step.values["start"], step.values["stop"]
            if not all(0 <= a < b <= n for a, b, n in zip(start, stop, shape, strict=True)):
                raise BadConfiguration(f"The box from {list(start)} to {list(stop)} does not lie in a grid of {list(shape)}.")
            shape = tuple(b - a for a, b in zip(start, stop, strict=True))
    return tuple(shape)


def placed(contract: InputContract, steps: Sequence[Step]) -> tuple[InputContract, tuple[Step, ...]]:
    """The grid that the first steps lead to, where these only cut and halve, as a contract, and the steps that are left.

    What makes an image straight on that grid spares the finer one.

    >>> contract = InputContract("x", {}, "T1w", "S", "affine", (1,) * 3, (9,) * 3, tuple(map(tuple, np.eye(4))), "affine")
    >>> there, left = placed(contract, [Step("crop", {"start": (2, 2, 2), "stop": (9, 9, 9)}), Step("halve"), Step("mean")])
    >>> there.shape, there.voxel_mm, there.affine[0], [step.name for step in left]
    ((4, 4, 4), (2.0, 2.0, 2.0), (2.0, 0.0, 0.0, 2.0), ['mean'])
    """
    affine, shape, left = np.array(contract.affine, dtype=float), contract.shape, list(steps)
    while left and left[0].name in ("crop", "halve"):
        step = left.pop(0)
        shape = prepared_shape(shape, [step])
        if step.name == "crop":
            affine[:3, 3] += affine[:3, :3] @ np.asarray(step.values["start"], dtype=float)
        else:
            affine[:3, :3] *= 2
    edges = tuple(float(edge) for edge in np.sqrt((affine[:3, :3] ** 2).sum(axis=0)))
    rows = tuple(tuple(float(value) for value in row) for row in affine)
    return replace(contract, shape=shape, affine=rows, voxel_mm=edges), tuple(left)


@lru_cache(maxsize=4)
def template_probability(what: str, shape: tuple[int, int, int], affine: tuple[tuple[float, ...], ...]) -> np.ndarray:
    """P(brain or its fluid) or P(white matter) of the template on a grid, float32, from the packaged atlas."""
    from brainage_bids.imaging.atlas import load_atlas
    from brainage_bids.imaging.grids import resample
    from brainage_bids.imaging.warps import WARP_GRID

    atlas = load_atlas()
    probability = atlas.inside() if what == "brain" else atlas.tissue("WM")
    return resample(probability, WARP_GRID.affine, shape, np.array(affine))


@lru_cache(maxsize=4)
def template_parts(shape: tuple[int, int, int], affine: tuple[tuple[float, ...], ...]) -> Mapping[str, np.ndarray]:
    """Masks of `imaging.brain_parts.PARTS` on an upright grid of the template."""
    from brainage_bids.imaging.brain_parts import brain_parts
    from brainage_bids.imaging.grids import Grid

    return brain_parts(Grid("", shape, affine[0][0], (affine[0][3], affine[1][3], affine[2][3])))


def _crop(image: _Image, start: Sequence[int], stop: Sequence[int]) -> None:
    part = tuple(slice(a, b) for a, b in zip(start, stop, strict=True))
    image.box = [
        slice(old.start + old.step * new.start, old.start + old.step * (new.stop - 1) + 1, old.step)
        for old, new in zip(image.box, part, strict=True)
    ]
    outside = tuple((one.start, n - one.stop) for one, n in zip(part, image.data.shape, strict=True))
    image.undo.append(lambda values: np.pad(values, outside))
    image.data = image.data[part]


def _halve(image: _Image) -> None:
    image.box = [slice(old.start, old.stop, 2 * old.step) for old in image.box]
    shape = image.data.shape
    image.undo.append(lambda values: spread(values, shape))
    image.data = halved(image.data)


def _brain(image: _Image) -> None:
    image.data = np.where(image.template("brain", BRAIN_PROBABILITY), image.data, np.float32(0))


def _part(image: _Image, name: str) -> None:
    mask = template_parts(image.contract.shape, image.contract.affine)[name][tuple(image.box)]
    image.data = np.where(mask, image.data, np.float32(0))


def _zscore(image: _Image) -> None:
    image.data = intensity.zscored(image.data, image.template("brain", BRAIN_PROBABILITY))


def _top_mean(image: _Image, share: float = 0.01) -> None:
    image.data = intensity.by_top_mean(image.data, share)


def _mean(image: _Image) -> None:
    image.data = intensity.by_mean(image.data)


def _uint8(image: _Image) -> None:
    values = image.data[image.template("white", WHITE_PROBABILITY)]
    if not (values > 0).any():
        raise ValueError("no voxel of white matter is above zero")
    image.data, image.clipped = intensity.to_uint8(image.data, mode(values[values > 0]))


def _scale(image: _Image, by: float) -> None:
    image.data = np.asarray(image.data, dtype=np.float32) / np.float32(by)


def _flip(image: _Image, axis: int) -> None:
    image.undo.append(lambda values: np.flip(values, axis))
    image.data = np.flip(image.data, axis)


STEPS: Mapping[str, Callable[..., None]] = {
    "crop": _crop,
    "halve": _halve,
    "brain": _brain,
    "part": _part,
    "top_mean": _top_mean,
    "mean": _mean,
    "zscore": _zscore,
    "uint8": _uint8,
    "scale": _scale,
    "flip": _flip,
}
"""What each step does; a flip must be the last, as masks are not turned with the image."""


def steps_to_json(steps: Sequence[Step]) -> list[dict[str, Any]]:
    """Steps as they stand in ``heads.json``."""
    return [{"step": step.name, **step.values} for step in steps]


def steps_from_json(content: Sequence[Mapping[str, Any]]) -> tuple[Step, ...]:
    """Steps from ``heads.json``; BadConfiguration for one that is not known or a flip that is not last."""
    steps = tuple(Step(str(item["step"]), {name: value for name, value in item.items() if name != "step"}) for item in content)
    names = [step.name for step in steps]
    if "flip" in names and set(names[names.index("flip") :]) != {"flip"}:
        raise BadConfiguration("A flip must be the last step before a network.")
    return steps
