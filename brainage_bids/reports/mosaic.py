"""Slices of a volume in three planes, laid out as rows of tiles with the same millimetres per pixel everywhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import nibabel as nib
    import numpy as np

PLANES = (("axial", 2, 7, (0.15, 0.9)), ("coronal", 1, 7, (0.12, 0.88)), ("sagittal", 0, 6, (0.16, 0.84)))
"""Name, axis that is cut, number of tiles, first and last cut as shares of the brain's extent along that axis.

Sagittal tiles are wider, so six of them fill the width of seven."""
GAP = 4
WIDTH = (1000, 1400)
"""Least and most pixels of a row; between them a pixel is the smallest voxel size."""


@dataclass(frozen=True)
class Volume:
    """A volume with axes along right, anterior, superior.

    Attributes
    ----------
    data : numpy.ndarray, shape (x, y, z)
    zooms : tuple of float
        Millimetres per voxel along each axis.
    affine : numpy.ndarray, shape (4, 4)
        Voxel index → millimetres.
    """

    data: np.ndarray
    zooms: tuple[float, float, float]
    affine: np.ndarray


@dataclass(frozen=True)
class Tile:
    """One slice and its place in the mosaic, in pixels from the upper left corner."""

    plane: str
    axis: int
    index: int
    position_mm: float
    x: float
    y: float
    width: int
    height: int


@dataclass(frozen=True)
class Layout:
    """Where every tile of a mosaic is, and which voxels it shows.

    Attributes
    ----------
    tiles : tuple of Tile
    box : numpy.ndarray, shape (3, 2)
        First and last-plus-one voxel shown along each axis.
    pixel_mm : float
        Millimetres per pixel.
    zooms : tuple of float
        Millimetres per voxel.
    width, height : int
        Size of the mosaic in pixels.
    """

    tiles: tuple[Tile, ...]
    box: np.ndarray
    pixel_mm: float
    zooms: tuple[float, float, float]
    width: int
    height: int


def load(image: nib.spatialimages.SpatialImage | Path | str) -> Volume:
    """Read an image and turn its axes to right, anterior, superior without resampling.

    Raises
    ------
    ValueError
        If the image is not three-dimensional (a trailing axis of length one is dropped).
    """
    import nibabel as nib
    import numpy as np

    loaded = nib.load(image) if isinstance(image, (str, Path)) else image
    if len(loaded.shape) == 4 and loaded.shape[3] == 1:
        loaded = loaded.slicer[..., 0]
    if len(loaded.shape) != 3:
        raise ValueError(f"A mosaic needs a 3-D image, not one of shape {tuple(loaded.shape)}.")
    turned = nib.as_closest_canonical(loaded)
    data = np.asanyarray(turned.dataobj)
    return Volume(data, tuple(float(zoom) for zoom in nib.affines.voxel_sizes(turned.affine)), np.asarray(turned.affine))


def bounding_box(mask: np.ndarray, zooms: Sequence[float], margin_mm: float) -> np.ndarray:
    """First and last-plus-one voxel of a mask along each axis, widened by a margin and kept inside the volume.

    An empty mask gives the whole volume.

    Parameters
    ----------
    mask : numpy.ndarray of bool, shape (x, y, z)
    zooms : sequence of float
        Millimetres per voxel.
    margin_mm : float
        Millimetres added on each side.

    Returns
    -------
    numpy.ndarray of int, shape (3, 2)

    Examples
    --------
    >>> import numpy as np
    >>> mask = np.zeros((9, 9, 9), bool)
    >>> mask[4, 3:6, 4] = True
    >>> bounding_box(mask, (1, 1, 2), 2).tolist()
    [[2, 7], [1, 8], [3, 6]]
    """
    import numpy as np

    box = np.array([[0, length] for length in mask.shape])
    for axis in range(3):
        found = np.flatnonzero(mask.any(axis=tuple(other for other in range(3) if other != axis)))
        if found.size:
            margin = int(np.ceil(margin_mm / zooms[axis]))
            box[axis] = max(0, found[0] - margin), min(mask.shape[axis], found[-1] + 1 + margin)
    return box


def plan(volume: Volume, brain: np.ndarray, margin_mm: float = 5.0, show: np.ndarray | None = None) -> Layout:
    """Choose slices through a brain and lay them out in rows, axial, coronal, sagittal.

    Parameters
    ----------
    volume : Volume
        The volume that is to be shown.
    brain : numpy.ndarray of bool, shape (x, y, z)
        The brain; cuts are spread evenly over a part of its extent (``PLANES``).
    margin_mm : float
        Millimetres shown around.
    show : numpy.ndarray of bool, shape (x, y, z), optional
        What the tiles are cropped to (the head); the brain if None.

    Returns
    -------
    Layout
    """
    import numpy as np

    box = bounding_box(brain if show is None else show, volume.zooms, margin_mm)
    extent = bounding_box(brain, volume.zooms, 0)
    size_mm = [(stop - start) * zoom for (start, stop), zoom in zip(box, volume.zooms, strict=True)]
    row_mm = max(count * size_mm[1 if axis == 0 else 0] for _, axis, count, _ in PLANES)
    pixel_mm = min(max(min(volume.zooms), row_mm / WIDTH[1]), row_mm / WIDTH[0])
    rows, top = [], 0
    for plane, axis, count, depth in PLANES:
        across, up = (1 if axis == 0 else 0), (1 if axis == 2 else 2)
        width, height = (max(1, round(size_mm[which] / pixel_mm)) for which in (across, up))
        first, last = extent[axis]
        cuts = np.linspace(first + depth[0] * (last - first), first + depth[1] * (last - first), count)
        tiles = []
        for column, cut in enumerate(np.clip(np.floor(cuts).astype(int), first, last - 1)):
            centre = [(start + stop) / 2 for start, stop in box]
            centre[axis] = cut
            position = float((volume.affine @ [*centre, 1])[axis])
            tiles.append(Tile(plane, axis, int(cut), position, column * (width + GAP), top, width, height))
        rows.append(tiles)
        top += height + GAP
    full = max(row[-1].x + row[-1].width for row in rows)
    placed = [
        Tile(t.plane, t.axis, t.index, t.position_mm, round(t.x + (full - row[-1].x - row[-1].width) / 2), t.y, t.width, t.height)
        for row in rows
        for t in row
    ]
    return Layout(tuple(placed), box, pixel_mm, volume.zooms, int(full), top - GAP)


def cut(data: np.ndarray, layout: Layout, tile: Tile) -> np.ndarray:
    """The voxels a tile shows, not resampled, the uppermost row first: shape (up, across)."""
    plane = data[tuple(tile.index if axis == tile.axis else slice(None) for axis in range(3))]
    start, stop = (layout.box[axis] for axis in range(3) if axis != tile.axis)
    return plane[start[0] : start[1], stop[0] : stop[1]].T[::-1]


def compose(data: np.ndarray, layout: Layout, smooth: bool = True) -> np.ndarray:
    """Fill the mosaic: every slice resampled to the layout's pixels (so thick slices keep their proportions).

    Parameters
    ----------
    data : numpy.ndarray, shape (x, y, z)
        On the grid of the volume the layout was planned for.
    smooth : bool
        Linear interpolation; nearest neighbour (labels) if False.

    Returns
    -------
    numpy.ndarray of float32, shape (height, width)
    """
    import numpy as np
    from PIL import Image

    canvas = np.zeros((layout.height, layout.width), np.float32)
    method = Image.Resampling.BILINEAR if smooth else Image.Resampling.NEAREST
    for tile in layout.tiles:
        picture = Image.fromarray(np.ascontiguousarray(cut(data, layout, tile), np.float32))
        x, y = int(tile.x), int(tile.y)
        canvas[y : y + tile.height, x : x + tile.width] = np.asarray(picture.resize((tile.width, tile.height), method))
    return canvas


def contours(data: np.ndarray, layout: Layout, level: float = 0.5) -> list[np.ndarray]:
    """Lines on which the data crosses a level, in pixels of the mosaic.

    Parameters
    ----------
    data : numpy.ndarray, shape (x, y, z)
        A mask, or a smooth map, on the grid the layout was planned for.
    level : float
        The value whose lines are drawn.

    Returns
    -------
    list of numpy.ndarray, shape (n, 2)
        x and y of the points of each line.
    """
    import numpy as np
    from contourpy import LineType, contour_generator

    lines = []
    for tile in layout.tiles:
        voxels = np.asarray(cut(data, layout, tile), np.float32)
        rows, columns = voxels.shape
        padded = np.pad(voxels, 1)
        generator = contour_generator(z=padded, line_type=LineType.Separate)
        scale = np.array([tile.width / columns, tile.height / rows])
        shift = np.array([tile.x, tile.y])
        lines.extend(np.clip((line - 0.5) * scale, 0, [tile.width, tile.height]) + shift for line in generator.lines(level))
    return lines


def grey_window(data: np.ndarray, mask: np.ndarray, low: float = 1.0, high: float = 99.5) -> tuple[float, float]:
    """Intensities that become black and white: percentiles inside the mask (of all values above 0 if it is empty).

    Examples
    --------
    >>> import numpy as np
    >>> values = np.arange(101.0).reshape(101, 1, 1)
    >>> grey_window(values, values >= 0, 10, 90)
    (10.0, 90.0)
    """
    import numpy as np

    values = data[mask]
    if not values.size:
        values = data[data > 0]
    values = values[np.isfinite(values)]
    if not values.size:
        return 0.0, 1.0
    bottom, top = np.percentile(values, [low, high])
    return (float(bottom), float(top)) if top > bottom else (float(bottom), float(bottom) + 1.0)


def to_grey(picture: np.ndarray, window: tuple[float, float]) -> np.ndarray:
    """Map intensities to grey values 0–255, non-finite ones to 0.

    Examples
    --------
    >>> import numpy as np
    >>> to_grey(np.array([[0.0, 5.0, 20.0, np.nan]]), (0, 10)).tolist()
    [[0, 128, 255, 0]]
    """
    import numpy as np

    share = (np.nan_to_num(picture, nan=window[0], posinf=window[1], neginf=window[0]) - window[0]) / (window[1] - window[0])
    return np.rint(np.clip(share, 0, 1) * 255).astype(np.uint8)
