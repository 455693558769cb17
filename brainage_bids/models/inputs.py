"""The published inputs of each kind of network, as this app makes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from brainage_bids.imaging.brain_parts import PARTS
from brainage_bids.imaging.grids import GRIDS
from brainage_bids.imaging.packing import TOP
from brainage_bids.modalities import COREGISTERED, MODALITIES
from brainage_bids.models.image_contract import InputContract
from brainage_bids.models.preparation import Step
from brainage_bids.records import SPACE, BadConfiguration

MNI_BOX = Step("crop", {"start": (7, 8, 0), "stop": (189, 226, 182)})
"""From our 1 mm grid to the 182×218×182 of the MNI152 templates of FSL, x −91…90, y −126…91, z −72…109."""
SFCN_BOX = Step("crop", {"start": (11, 13, 11), "stop": (171, 205, 171)})
"""The middle 160×192×160 of that."""

EVEN_BOX = Step("crop", {"start": (8, 8, 0), "stop": (189, 225, 181)})
"""The part of our 1 mm grid of which every second voxel centre is one of our 2 mm grid."""


PACKED = Step("scale", {"by": TOP})
"""White matter is 110 of 383 in packed arrays, or what `modalities.MODALITIES` says."""


@dataclass(frozen=True)
class NetInput:
    """An input contract and what is done to the image before a network sees it.

    The contract leaves open whether the skull is there; `training.images` writes down what the people had where no step
    takes it off.
    """

    contract: InputContract
    steps: tuple[Step, ...]


def _image(
    derivative: str,
    entities: Mapping[str, str],
    grid: str,
    alignment: str,
    intensity: str,
) -> InputContract:
    place = GRIDS[grid]
    affine = tuple(tuple(float(value) for value in row) for row in place.affine)
    return InputContract(
        derivative, entities, "T1w", SPACE, alignment, (place.voxel_mm,) * 3, place.shape, affine, intensity, stripped=None
    )


def _mni(grid: str) -> InputContract:
    return _image("t1w_mni", {"res": grid}, grid, "nonlinear", "preproc")


def _packed(modality: str) -> NetInput:
    """H1's type ii: the person's brain in the template, one byte a voxel."""
    contract = _image("packed_mni", {"image": modality}, "2", "nonlinear", "packed")
    return NetInput(replace(contract, modality=modality, stripped=True), (PACKED,))


def _part_of(modality: str, part: str) -> NetInput:
    """H4: of such a brain, one part of the template's; no voxel is in two."""
    whole = _packed(modality)
    return replace(whole, steps=(*whole.steps, Step("part", {"name": part})))


_NAMED = {"": "T1w", **{MODALITIES[suffix].key: suffix for suffix in COREGISTERED}}
"""What stands in the name of an input for a modality."""


def _packed_box(modality: str) -> NetInput:
    """H1's type i: the person's brain along the axes of the T1w, in a box whose size the people in training decide."""
    edges = tuple(tuple(float(value) for value in row) for row in ((1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1)))
    alignment = "rigid" if MODALITIES[modality].registered else "none"
    entities = {"image": modality}
    contract = InputContract("packed", entities, modality, "T1w", alignment, (1.0,) * 3, (1, 1, 1), edges, "packed", crop="brain")
    return NetInput(contract, (PACKED,))


GREY = NetInput(_image("modulated", {"label": "GM"}, "1p5", "nonlinear", "modulated"), ())
AFFINE = _image("t1w_mni_affine", {}, "1", "affine", "affine")

INPUTS: Mapping[str, NetInput] = {
    "grey": GREY,
    "mni1": NetInput(_mni("1"), (MNI_BOX, Step("top_mean"))),
    "mni2": NetInput(_mni("2"), (Step("top_mean"),)),
    "mni1brain": NetInput(_mni("1"), (MNI_BOX, Step("brain"), Step("top_mean"))),
    "mni2brain": NetInput(_mni("2"), (Step("brain"), Step("top_mean"))),
    "mni1affine": NetInput(AFFINE, (MNI_BOX, Step("top_mean"))),
    **{f"packed2{name}": _packed(image) for name, image in _NAMED.items()},
    **{f"packed1{name}": _packed_box(image) for name, image in _NAMED.items()},
    **{f"packed2{name}{part}": _part_of(image, part) for name, image in _NAMED.items() for part in PARTS},
    "brain2uint8": NetInput(_mni("2"), (Step("uint8"), Step("brain"), Step("scale", {"by": 255}))),
    "brain2zscore": NetInput(_mni("2"), (Step("zscore"),)),
    "brain2affine": NetInput(AFFINE, (EVEN_BOX, Step("halve"), Step("zscore"))),
    "sfcn": NetInput(AFFINE, (MNI_BOX, Step("brain"), Step("mean"), SFCN_BOX)),
    "sfcnukb": NetInput(AFFINE, (MNI_BOX, Step("brain"), Step("mean"), SFCN_BOX, Step("flip", {"axis": 0}))),
}
"""By name: ``grey`` R1; ``mni1``, ``mni2`` J1 and J3 (``mni1affine`` without the warp, ``mni1brain`` and ``mni2brain`` of the
brain alone); ``packed2…`` H1's type ii as 0 to 1 (with a part of the brain at the end: H4's), ``packed1…`` its type i (the shape is
that of the largest brain in training),
``brain2uint8`` the former with the brain of the template; ``brain2zscore`` P1, and ``brain2affine`` the same without the warp, so
that ventricles and sulci are the person's own (phantoms give it); ``sfcn`` Peng 2021, ``sfcnukb`` with x from right to left, as
the files of the UK Biobank lie."""

DEFAULT_INPUT: Mapping[str, str] = {
    "resnet": "grey",
    "vgg8": "mni1",
    "mrinet": "packed2",
    "sfcn": "sfcn",
    "slices": "brain2zscore",
    "encoder3d": "brain2zscore",
}
"""The published input of each kind."""


def with_box(place: NetInput, box: tuple[int, int, int] | None) -> NetInput:
    """An input with the box of a network that was trained elsewhere.

    Raises
    ------
    BadConfiguration
        If a box is needed and not given, or the other way round.
    """
    if (place.contract.crop == "brain") == (box is None):
        key, advice = place.contract.key, "give --box, the voxels of its largest brain and two"
        none = f"The input {key} has no box; leave out --box."
        raise BadConfiguration(none if box else f"The input {key} is a brain in a box, whose size the weights do not tell; {advice}.")
    return place if box is None else replace(place, contract=replace(place.contract, shape=box))


def net_input(kind: str, name: str | None = None) -> NetInput:
    """The input of that name, or the published one of a kind.

    Raises
    ------
    BadConfiguration
        If there is none.
    """
    name = name or DEFAULT_INPUT.get(kind)
    if name not in INPUTS:
        raise BadConfiguration(f"There is no input {name!r} for the network {kind}; known are {', '.join(INPUTS)}.")
    return INPUTS[name]
