"""From maps and volumes to numbers: means of blocks of voxels, and volumes relative to the brain's.

Rule for maps. The smoothed modulated map on its fine grid is averaged over cubic cells of 4 mm. The first cell is centred
on the first voxel, cells follow without gaps until the grid is covered, and a voxel counts in a cell by the share of its
volume that lies there. Nothing is lost: the sum over cells times their volume is that over voxels times theirs, so a cell
still tells how much tissue lies in it.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from brainage_bids.files import TABLE, read_utf8
from brainage_bids.records import BadConfiguration, UnusableInput

if TYPE_CHECKING:
    import numpy as np

CELL_MM = 4.0
"""Edge of a cell."""
TISSUES = ("GM", "WM", "CSF", "brain")
"""Columns of the table of volumes that count as volumes."""


@dataclass(frozen=True)
class VolumeRatio:
    """A volume relative to another: sum of the one over sum of the other, by names of tissues and regions."""

    name: str
    numerator: tuple[str, ...]
    denominator: tuple[str, ...] = ("brain",)

    @property
    def parts(self) -> tuple[str, ...]:
        """Every volume that it needs."""
        return self.numerator + self.denominator


def _both(name: str) -> tuple[str, str]:
    return f"Left-{name}", f"Right-{name}"


RATIOS: tuple[VolumeRatio, ...] = (
    VolumeRatio("grey_matter", ("GM",)),
    VolumeRatio("lateral_ventricles", (*_both("Lateral-Ventricle"), *_both("Inf-Lat-Vent"))),
    VolumeRatio("third_ventricle", ("3rd-Ventricle",)),
    VolumeRatio("thalamus", _both("Thalamus")),
    VolumeRatio("caudate", _both("Caudate")),
    VolumeRatio("putamen", _both("Putamen")),
    VolumeRatio("hippocampus", _both("Hippocampus")),
    VolumeRatio("amygdala", _both("Amygdala")),
)
"""Volumes that models of kind ``gpr`` look at by default, over grey + white matter. White matter's share is 1 − grey
matter's, so it is not listed; neither is all cerebrospinal fluid: how much of the outer fluid is seen depends on the way a
brain was extracted, not on its age. The ventricles stand for it."""


def cell_count(n_voxels: int, voxel_mm: float, cell_mm: float = CELL_MM) -> int:
    """How many cells cover a row of voxels; the first cell is centred on the first voxel.

    >>> cell_count(121, 1.5), cell_count(145, 1.5)
    (46, 55)
    """
    last_edge = (n_voxels - 0.5) * voxel_mm + 0.5 * cell_mm
    return max(1, math.ceil(round(last_edge / cell_mm, 9)))


def overlap(n_voxels: int, voxel_mm: float, cell_mm: float = CELL_MM) -> np.ndarray:
    """Share of every cell that each voxel of a row fills.

    Parameters
    ----------
    n_voxels : int
        Length of the row.
    voxel_mm, cell_mm : float
        Edges, mm.

    Returns
    -------
    ndarray, shape (cells, n_voxels), float64
        Rows sum to 1 for cells inside the row of voxels; columns to voxel_mm / cell_mm.

    Examples
    --------
    >>> overlap(3, 2.0, 4.0).tolist()
    [[0.5, 0.25, 0.0], [0.0, 0.25, 0.5]]
    """
    import numpy as np

    n_cells = cell_count(n_voxels, voxel_mm, cell_mm)
    cells = np.arange(n_cells)[:, None] * cell_mm
    voxels = np.arange(n_voxels)[None, :] * voxel_mm
    left = np.maximum(cells - cell_mm / 2, voxels - voxel_mm / 2)
    right = np.minimum(cells + cell_mm / 2, voxels + voxel_mm / 2)
    return np.clip(right - left, 0.0, None) / cell_mm


def block_means(volume: np.ndarray, voxel_mm: Sequence[float], cell_mm: float = CELL_MM) -> np.ndarray:
    """Average a map over cubic cells; space outside the grid counts as zero.

    Parameters
    ----------
    volume : ndarray, shape (X, Y, Z)
    voxel_mm : three floats
        Edges of a voxel.
    cell_mm : float
        Edge of a cell.

    Returns
    -------
    ndarray, shape of three `cell_count`, float32

    Examples
    --------
    >>> import numpy as np
    >>> cells = block_means(np.ones((4, 4, 4)), (2.0, 2.0, 2.0))
    >>> cells.shape, float(cells.sum()) * 4.0**3, 4**3 * 2.0**3
    ((3, 3, 3), 512.0, 512.0)
    """
    import numpy as np

    out = np.asarray(volume, dtype=np.float64)
    for axis, edge in enumerate(voxel_mm):
        weights = overlap(out.shape[axis], float(edge), cell_mm)
        out = np.moveaxis(np.tensordot(weights, out, axes=(1, axis)), 0, axis)
    return np.ascontiguousarray(out, dtype=np.float32)


def spread_cells(cells: np.ndarray, shape: Sequence[int], voxel_mm: Sequence[float], cell_mm: float = CELL_MM) -> np.ndarray:
    """A map on the fine grid that has the value of the cell in which the centre of each voxel lies.

    Parameters
    ----------
    cells : ndarray
        As from `block_means` for a map of this shape.
    shape : three ints
        Of the fine grid.
    voxel_mm, cell_mm
        Edges.

    Returns
    -------
    ndarray, `shape`, float32
    """
    import numpy as np

    indices = [np.floor(np.arange(n) * edge / cell_mm + 0.5).astype(int) for n, edge in zip(shape, voxel_mm, strict=True)]
    return np.asarray(cells, dtype=np.float32)[np.ix_(*indices)]


def volume_ratios(volumes: Mapping[str, float], ratios: Sequence[VolumeRatio]) -> np.ndarray:
    """Values of ratios for one person.

    Parameters
    ----------
    volumes : mapping
        mm³ by the name of a tissue or region, as from `read_volumes`.
    ratios : sequence of VolumeRatio

    Returns
    -------
    ndarray, shape (len(ratios),), float64

    Raises
    ------
    UnusableInput
        If a volume is missing or not finite, or a denominator is not above zero.

    Examples
    --------
    >>> volume_ratios({"GM": 600.0, "brain": 1200.0}, RATIOS[:1]).tolist()
    [0.5]
    """
    import numpy as np

    missing = sorted({part for ratio in ratios for part in ratio.parts if part not in volumes})
    if missing:
        raise UnusableInput(f"The model needs volumes that are not there: {', '.join(missing)}; run the preprocessing again.")
    values = []
    for ratio in ratios:
        top, bottom = (sum(float(volumes[part]) for part in parts) for parts in (ratio.numerator, ratio.denominator))
        if not (math.isfinite(top) and math.isfinite(bottom) and bottom > 0 and top >= 0):
            sizes = f"{top:g} and {bottom:g} mm³"
            raise UnusableInput(f"The volumes behind {ratio.name!r} are {sizes}, so their ratio means nothing; look at the tissues.")
        values.append(top / bottom)
    return np.array(values, dtype=np.float64)


def usable_ratios(volumes: Sequence[Mapping[str, float]], ratios: Sequence[VolumeRatio] = RATIOS) -> tuple[VolumeRatio, ...]:
    """The ratios whose volumes everybody has."""
    return tuple(ratio for ratio in ratios if all(part in person for person in volumes for part in ratio.parts))


def read_volumes(volumes_tsv: Path | str, atlas_tsv: Path | str | None = None) -> dict[str, float]:
    """Volumes of one session by name, from the tables of the outputs.

    Parameters
    ----------
    volumes_tsv : Path
        ``*_desc-volumes_morph.tsv``: one row with the columns of `TISSUES`.
    atlas_tsv : Path, optional
        ``*_seg-BrainageAseg_desc-volumes_morph.tsv``: a row a region, with the columns name and volume_mm3.

    Returns
    -------
    dict
        mm³ by name; a value that is ``n/a`` is left out.

    Raises
    ------
    UnusableInput
        If a table cannot be read or lacks its columns.
    """
    rows = _read_rows(Path(volumes_tsv))
    if len(rows) != 1 or "brain" not in rows[0]:
        raise UnusableInput(f"The table {volumes_tsv} needs one row with GM, WM, CSF and brain; run the preprocessing again.")
    volumes = _numbers({name: rows[0][name] for name in TISSUES if name in rows[0]}, volumes_tsv)
    if atlas_tsv is not None:
        regions = _read_rows(Path(atlas_tsv))
        if not regions or not {"name", "volume_mm3"} <= set(regions[0]):
            raise UnusableInput(f"The table {atlas_tsv} needs the columns name and volume_mm3; run the preprocessing again.")
        volumes.update(_numbers({row["name"]: row["volume_mm3"] for row in regions}, atlas_tsv))
    return volumes


def ratios_to_json(ratios: Sequence[VolumeRatio]) -> list[dict[str, Any]]:
    """Ratios as they stand in ``heads.json``."""
    return [{"name": ratio.name, "numerator": list(ratio.numerator), "denominator": list(ratio.denominator)} for ratio in ratios]


def ratios_from_json(content: Sequence[Mapping[str, Any]]) -> tuple[VolumeRatio, ...]:
    """Ratios from ``heads.json``.

    Raises
    ------
    BadConfiguration
        If the content has another form.
    """
    try:
        fields = [(str(item["name"]), tuple(map(str, item["numerator"])), tuple(map(str, item["denominator"]))) for item in content]
    except (KeyError, TypeError) as error:
        raise BadConfiguration(f"The volumes in the model's heads.json are not described as they should be ({error!r}).") from error
    return tuple(VolumeRatio(*field) for field in fields)


def _read_rows(path: Path) -> list[dict[str, str]]:
    try:
        return list(csv.DictReader(io.StringIO(read_utf8(path, TABLE), newline=""), delimiter="\t", quoting=csv.QUOTE_NONE))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UnusableInput(f"The table {path} cannot be read ({error}); run the preprocessing again.") from error


def _numbers(cells: Mapping[str, str | None], path: Path | str) -> dict[str, float]:
    numbers = {}
    for name, text in cells.items():
        if text in (None, "", "n/a"):
            continue
        try:
            numbers[name] = float(text)
        except ValueError as error:
            raise UnusableInput(f"The volume of {name} in {path} is no number ({text!r}); run the preprocessing again.") from error
    return numbers
