"""What an image that a model is given must look like."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from brainage_bids.records import BadConfiguration

ALIGNMENTS = ("none", "rigid", "affine", "nonlinear")
CROPS = ("none", "brain")


@dataclass(frozen=True)
class InputContract:
    """One image that a model is given, and what it must look like.

    Attributes
    ----------
    derivative : str
        Key of the output in the name table (``modulated_smooth``), so that the file can be found.
    entities : mapping of str to str
        Values of the entities in that name (``{"label": "GM"}``).
    modality : str
        What was scanned: ``"T1w"``…
    space : str
        Template, or ``"T1w"`` for the scan's own, as the ``space-`` entity of the file name.
    alignment : {"none", "rigid", "affine", "nonlinear"}
        How the image was brought there.
    voxel_mm : tuple of float
        Edges of a voxel along x, y, z.
    shape : tuple of int
        Number of voxels.
    affine : tuple of four tuples of float
        Voxel index to mm, RAS.
    intensity : str
        What the values are, as the ``desc-`` entity of the file name.
    crop : {"none", "brain"}
        ``"brain"``: the array is the brain alone, in the middle of a box of `shape` that is larger than it, wherever it lay; of `affine`
        only the edges count.
    stripped : bool or None
        Whether only the brain is in the image; None if that makes no difference.
    """

    derivative: str
    entities: Mapping[str, str]
    modality: str
    space: str
    alignment: str
    voxel_mm: tuple[float, float, float]
    shape: tuple[int, int, int]
    affine: tuple[tuple[float, ...], ...]
    intensity: str
    crop: str = "none"
    stripped: bool | None = True

    def __post_init__(self) -> None:
        if self.alignment not in ALIGNMENTS:
            raise BadConfiguration(f"The alignment {self.alignment!r} of a model's input is none of {', '.join(ALIGNMENTS)}.")
        if len(self.voxel_mm) != 3 or min(self.voxel_mm) <= 0 or len(self.shape) != 3 or min(self.shape) < 1:
            grid = f"{self.voxel_mm} and {self.shape}"
            raise BadConfiguration(f"A model's input needs three voxel edges and counts above zero, not {grid}.")
        if len(self.affine) != 4 or any(len(row) != 4 for row in self.affine):
            raise BadConfiguration("The affine of a model's input needs four rows of four numbers.")
        if self.crop not in CROPS:
            raise BadConfiguration(f"The crop {self.crop!r} of a model's input is none of {', '.join(CROPS)}.")

    @property
    def key(self) -> str:
        """What this input is called in ``files``: the derivative and its values, ``modulated_smooth_GM``."""
        return "_".join([self.derivative, *self.entities.values()])

    @property
    def name_values(self) -> dict[str, str]:
        """What ``bids.names.find_derivatives`` is asked for, so that it finds such images and no others."""
        return dict(self.entities) if self.space == "T1w" else {"space": self.space, **self.entities}
