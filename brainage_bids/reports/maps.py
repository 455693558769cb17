"""Pictures of maps that models give: colours over the person's own scan, on slices through their extremes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from brainage_bids.reports import mosaic, svg
from brainage_bids.reports.figures import CSS, note_places

if TYPE_CHECKING:
    import numpy as np

WARM = ("#5c1a00", "#9c3000", "#d9570a", "#ff9a3d", "#ffe08a")
COOL = ("#08245c", "#0d459c", "#1f77d9", "#5fb4ff", "#c2e6ff")
"""Colours from weak to strong, told apart by people who see red and green alike."""
FAINT = 0.1
"""Share of the largest value below which nothing is coloured."""


@dataclass(frozen=True)
class Scale:
    """What the colours of a map mean.

    Attributes
    ----------
    low, high : float
        Values of the first and the last step; of a signed map −`high` to `high`.
    signed : bool
    """

    low: float
    high: float
    signed: bool

    def words(self, units: str) -> list[tuple[str, str]]:
        """Colour and meaning of each end."""
        unit = f" {units}" if units else ""
        if self.signed:
            return [(WARM[-1], f"+{self.high:.3g}{unit}"), (COOL[-1], f"−{self.high:.3g}{unit}")]
        return [(WARM[0], f"{self.low:.3g}{unit}"), (WARM[-1], f"{self.high:.3g}{unit}")]


def scale_of(values: np.ndarray, signed: bool) -> Scale:
    """The scale of a map: symmetric to the 99.5th percentile of the size, or from the 2nd to the 98th percentile where it is not 0.

    Parameters
    ----------
    values : ndarray, (X, Y, Z)
    signed : bool

    Examples
    --------
    >>> import numpy as np
    >>> scale_of(np.array([[[-2.0, 0.0, 1.0]]]), True).high
    2.0
    """
    import numpy as np

    found = values[np.isfinite(values) & (values != 0)]
    if not found.size:
        return Scale(0.0, 1.0, signed)
    if signed:
        return Scale(0.0, float(np.percentile(np.abs(found), 99.5, method="higher")), True)
    low, high = (float(value) for value in np.percentile(found, (2, 98)))
    return Scale(low, high if high > low else low + 1.0, False)


def to_steps(values: np.ndarray, scale: Scale) -> np.ndarray:
    """The step of colour of every value, uint8: 0 none, 1 to 5 warm, 6 to 10 cool.

    >>> import numpy as np
    >>> to_steps(np.array([0.0, 0.05, 1.0, -1.0]), Scale(0.0, 1.0, True)).tolist()
    [0, 0, 5, 10]
    """
    import numpy as np

    filled = np.nan_to_num(np.asarray(values, dtype=np.float64))
    if scale.signed:
        size = np.abs(filled) / scale.high
        step = np.clip(np.ceil(size * len(WARM)), 1, len(WARM))
        return np.where(size < FAINT, 0, np.where(filled > 0, step, step + len(WARM))).astype(np.uint8)
    size = (filled - scale.low) / (scale.high - scale.low)
    return np.where(filled == 0, 0, np.clip(np.ceil(size * len(WARM)), 1, len(WARM))).astype(np.uint8)


def draw_map(values: Path, background: Path, path: Path, *, title: str, signed: bool) -> Scale:
    """Draw a map over the person's scan in the same space.

    Parameters
    ----------
    values, background : Path
        NIfTI images; the background is resampled to the grid of the map.
    path : Path
        The SVG to be written.
    title : str
        For screen readers.
    signed : bool
        Whether values below zero mean the opposite.

    Returns
    -------
    Scale
        What the colours mean.

    Raises
    ------
    ValueError, OSError
        If an image cannot be read or is not three-dimensional.
    """
    import numpy as np

    from brainage_bids.bids.nifti import read_image
    from brainage_bids.imaging.grids import resample

    found, scan = mosaic.load(read_image(values)), mosaic.load(read_image(background))
    data = np.asarray(found.data, dtype=np.float32)
    grey = np.asarray(scan.data, dtype=np.float32)
    if grey.shape != data.shape or not np.allclose(scan.affine, found.affine, atol=1e-3):
        grey = resample(grey, scan.affine, data.shape, found.affine)
    brain = (data != 0) & np.isfinite(data)
    inside = brain if brain.any() else grey > 0
    layout = mosaic.plan(mosaic.Volume(grey, found.zooms, found.affine), inside, 6.0)
    scale = scale_of(data, signed)
    root = svg.document(layout.width, layout.height, title, f"{title}. Left in the picture is the left of the person.", CSS)
    svg.add(root, "rect", width=layout.width, height=layout.height, fill="#000")
    window = mosaic.grey_window(grey, inside)
    svg.embed_grey(root, mosaic.to_grey(mosaic.compose(grey, layout), (min(window[0], 0.0), window[1])), 0, 0)
    steps = mosaic.compose(to_steps(data, scale), layout, smooth=False).astype(np.uint8)
    svg.embed_labels(root, steps, dict(enumerate([*WARM, *COOL], start=1)), 0, 0, opacity=0.75)
    note_places(root, layout)
    svg.save(root, path)
    return scale
