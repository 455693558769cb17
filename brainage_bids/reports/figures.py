"""Pictures of the brain for the report: the mask, the tissues, the alignment to the template.

Each function writes one SVG that holds its pictures and needs no other file. The grey pictures are resampled slices, the
outlines are lines, so they stay sharp at any size. Left of the picture is the left of the person (neurological view).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from brainage_bids.records import SPACE
from brainage_bids.reports import mosaic, svg

if TYPE_CHECKING:
    import nibabel as nib
    import numpy as np

    Image = nib.spatialimages.SpatialImage | Path | str

MASK_COLOUR = "#ff4f4f"
TISSUES: Mapping[int, tuple[str, str, str]] = {
    1: ("GM", "grey matter", "#35c9ff"),
    2: ("WM", "white matter", "#ffd23f"),
    3: ("CSF", "cerebrospinal fluid", "#d977ff"),
}
"""Label of ``dseg`` → short name, name, colour (told apart by people who see red and green alike)."""
TEMPLATE_COLOUR = "#7dff6b"
TEMPLATE_INNER_COLOUR = "#ffb03a"

CSS = (
    ".bb-edge{fill:none;stroke-width:1.2;stroke-linejoin:round;vector-effect:non-scaling-stroke}"
    ".bb-note{fill:#fff;paint-order:stroke;stroke:#000;stroke-width:3px}"
)
CSS_TISSUES = ".bb-fill{opacity:0}.bb-tissues:hover .bb-fill{opacity:.5}.bb-tissues:hover .bb-edge{opacity:0}"
CSS_FLICKER = ".bb-after{opacity:0}.bb-flicker:hover .bb-after{opacity:1}@keyframes bb-alternate{0%,49.9%{opacity:0}50%,100%{opacity:1}}"


def draw_mask(t1w: Image, mask: Image, path: Path) -> Path:
    """Draw the brain mask as an outline on the whole head.

    Parameters
    ----------
    t1w : image or path
        The T1w, any voxel size.
    mask : image or path
        Brain mask on the same grid; empty is allowed and shown as such.
    path : pathlib.Path
        The SVG to be written.

    Returns
    -------
    pathlib.Path
        ``path``.

    Raises
    ------
    ValueError
        If the two are not on the same grid.
    """
    import numpy as np

    head, brain = mosaic.load(t1w), mosaic.load(mask)
    _same_grid(head, brain)
    inside = np.asarray(brain.data) > 0.5
    window = mosaic.grey_window(head.data, inside, 0, 99.8)
    seen = np.asarray(head.data) > window[0] + 0.12 * (window[1] - window[0])
    show = _thick(seen) | inside
    layout = mosaic.plan(head, inside if inside.any() else show, 3.0, show)
    root = _canvas(layout, "Brain mask", "Slices of the T1w in three planes; a red line surrounds what was taken as brain.")
    svg.embed_grey(root, mosaic.to_grey(mosaic.compose(head.data, layout), (min(window[0], 0.0), window[1])), 0, 0)
    _line(root, mosaic.contours(inside, layout), MASK_COLOUR)
    note_places(root, layout)
    return svg.save(root, path)


def draw_tissues(t1w: Image, dseg: Image, path: Path) -> Path:
    """Draw the tissues on the T1w: outlines, and filled areas that appear under the pointer.

    The blue line is the outer border of grey and white matter together, the yellow line that of white matter; what lies
    between them is called grey matter. The red line is the border of all three.

    Parameters
    ----------
    t1w, path
        As for `draw_mask`, as are what is returned and raised.
    dseg : image or path
        Labels of ``TISSUES`` on the same grid.
    """
    import numpy as np

    head, labels = mosaic.load(t1w), mosaic.load(dseg)
    _same_grid(head, labels)
    dense = np.rint(np.nan_to_num(labels.data)).astype(np.uint8)
    brain = dense > 0
    layout = mosaic.plan(head, brain, 4.0)
    words = "Slices of the T1w in three planes with the borders of white matter, of grey matter and of the brain."
    root = _canvas(layout, "Tissues", words, CSS_TISSUES, "bb-tissues")
    window = mosaic.grey_window(head.data, brain)
    svg.embed_grey(root, mosaic.to_grey(mosaic.compose(head.data, layout), (min(window[0], 0.0), window[1])), 0, 0)
    filled = mosaic.compose(dense, layout, smooth=False).astype(np.uint8)
    svg.embed_labels(root, filled, {label: colour for label, (_, _, colour) in TISSUES.items()}, 0, 0, class_="bb-fill")
    _line(root, mosaic.contours(brain, layout), MASK_COLOUR)
    _line(root, mosaic.contours((dense == 1) | (dense == 2), layout), TISSUES[1][2])
    _line(root, mosaic.contours(dense == 2, layout), TISSUES[2][2])
    note_places(root, layout)
    return svg.save(root, path)


def draw_registration(
    moved: Image, template: Image, path: Path, *, outlines: Mapping[str, Image] | None = None, space: str = SPACE
) -> Path:
    """Draw the person's T1w in template space and the template at the same place, one under the other.

    The person is seen; under the pointer (or by the switches of the report) the template shows instead. The template's
    lines stay, so an alignment that fails is seen without moving anything.

    Parameters
    ----------
    moved : image or path
        T1w on the template's grid.
    template : image or path
        The template's T1w, with or without a skull.
    path
        As for `draw_mask`, as are what is returned and raised.
    outlines : mapping, optional
        Maps on the template's grid whose lines at half their maximum are drawn: ``"brain"`` (green) and ``"WM"``
        (orange). Without it, both are taken from the template's intensities.
    space : str
        Name of the template in words for screen readers.
    """
    import numpy as np

    person, target = mosaic.load(moved), mosaic.load(template)
    _same_grid(person, target)
    maps = {name: mosaic.load(image) for name, image in (outlines or {}).items()}
    for volume in maps.values():
        _same_grid(target, volume)
    masks = {name: np.asarray(volume.data) > 0.5 * float(np.max(volume.data)) for name, volume in maps.items()}
    if "brain" not in masks or "WM" not in masks:
        masks = _template_masks(np.asarray(target.data)) | masks
    layout = mosaic.plan(target, masks["brain"], 8.0)
    words = f"The T1w of the participant in the space {space}, with lines of the template; the template itself lies under it."
    root = _canvas(layout, "Alignment to the template", words, CSS_FLICKER, "bb-flicker")
    for volume, name in ((person, "bb-before"), (target, "bb-after")):
        window = mosaic.grey_window(volume.data, masks["brain"])
        grey = mosaic.to_grey(mosaic.compose(volume.data, layout), (min(window[0], 0.0), window[1]))
        svg.embed_grey(root, grey, 0, 0, class_=name)
    _line(root, mosaic.contours(masks["brain"], layout), TEMPLATE_COLOUR)
    _line(root, mosaic.contours(masks["WM"], layout), TEMPLATE_INNER_COLOUR)
    note_places(root, layout)
    _stamp(root, layout, "participant", "bb-before")
    _stamp(root, layout, "template", "bb-after")
    return svg.save(root, path)


def draw_coregistration(moved: Image, t1w: Image, dseg: Image, path: Path, name: str) -> Path:
    """Draw another image on the T1w's voxels, with the lines of the T1w's tissues, and the T1w under it.

    Parameters
    ----------
    moved : image or path
        The other image on the grid of the T1w, with its head.
    t1w, dseg : image or path
        The T1w and its labels of ``TISSUES``.
    path
        As for `draw_mask`, as are what is returned and raised.
    name : str
        What the image is called in the picture.
    """
    import numpy as np

    other, head, labels = mosaic.load(moved), mosaic.load(t1w), mosaic.load(dseg)
    _same_grid(head, other)
    _same_grid(head, labels)
    dense = np.rint(np.nan_to_num(labels.data)).astype(np.uint8)
    brain = dense > 0
    layout = mosaic.plan(head, brain, 8.0)
    words = f"The {name} at the place of the T1w, with lines of the T1w's brain and white matter; the T1w itself lies under it."
    root = _canvas(layout, f"Alignment of the {name} to the T1w", words, CSS_FLICKER, "bb-flicker")
    for volume, class_ in ((other, "bb-before"), (head, "bb-after")):
        window = mosaic.grey_window(volume.data, brain)
        grey = mosaic.to_grey(mosaic.compose(volume.data, layout), (min(window[0], 0.0), window[1]))
        svg.embed_grey(root, grey, 0, 0, class_=class_)
    _line(root, mosaic.contours(brain, layout), MASK_COLOUR)
    _line(root, mosaic.contours(dense == 2, layout), TISSUES[2][2])
    note_places(root, layout)
    _stamp(root, layout, name, "bb-before")
    _stamp(root, layout, "T1w", "bb-after")
    return svg.save(root, path)


def _template_masks(data: np.ndarray) -> dict[str, np.ndarray]:
    """Brain (above a fifth of the bright values) and white matter (above 80 % of them) of a skull-stripped template."""
    import numpy as np

    bright = float(np.percentile(data[data > 0], 95)) if np.any(data > 0) else 1.0
    return {"brain": data > 0.2 * bright, "WM": data > 0.8 * bright}


def _thick(seen: np.ndarray) -> np.ndarray:
    """Planes of a head that hold more than a few bright voxels: stray noise at the border does not widen the picture."""
    import numpy as np

    kept = np.ones(seen.shape, bool)
    for axis in range(3):
        share = seen.mean(axis=tuple(other for other in range(3) if other != axis))
        plane = share > 0.04 * share.max() if share.max() else share >= 0
        kept &= np.expand_dims(plane, tuple(other for other in range(3) if other != axis))
    return kept


def _same_grid(one: mosaic.Volume, other: mosaic.Volume) -> None:
    import numpy as np

    if one.data.shape != other.data.shape or not np.allclose(one.affine, other.affine, atol=1e-2):
        raise ValueError(
            f"The images of a figure must share one grid; shapes {one.data.shape} and {other.data.shape}, "
            f"affines {np.round(one.affine, 2).tolist()} and {np.round(other.affine, 2).tolist()}."
        )


def _canvas(layout: mosaic.Layout, title: str, words: str, css: str = "", name: str = "") -> ElementTree.Element:
    root = svg.document(layout.width, layout.height, title, f"{words} Left in the picture is the left of the person.", CSS + css)
    if name:
        root.set("class", name)
    svg.add(root, "rect", width=layout.width, height=layout.height, fill="#000")
    return root


def _line(root: ElementTree.Element, lines: list[np.ndarray], colour: str) -> None:
    scale = f"scale({1 / svg.PATH_UNITS})"
    svg.add(root, "path", class_="bb-edge", d=svg.outline(lines) or "M0 0", stroke=colour, transform=scale)


def note_places(root: ElementTree.Element, layout: mosaic.Layout) -> None:
    """Write where each slice lies, and the sides of the person on the first tile of every row."""
    letters = {"axial": ("L", "R"), "coronal": ("L", "R"), "sagittal": ("P", "A")}
    names = {0: "x", 1: "y", 2: "z"}
    begun = set()
    size = layout.width / 85
    for tile in layout.tiles:
        position = f"{names[tile.axis]} {round(tile.position_mm):d}".replace("-", "−")
        svg.text(root, position, tile.x + tile.width - 4, tile.y + tile.height - 6, class_="bb-note", font_size=size, text_anchor="end")
        if tile.plane in begun:
            continue
        begun.add(tile.plane)
        left, right = letters[tile.plane]
        middle = tile.y + tile.height / 2
        style = {"class_": "bb-note", "font_size": 1.15 * size, "font_weight": "bold"}
        svg.text(root, left, tile.x + 3, middle, **style)
        svg.text(root, right, tile.x + tile.width - 3, middle, text_anchor="end", **style)


def _stamp(root: ElementTree.Element, layout: mosaic.Layout, words: str, name: str) -> None:
    """Name what is seen, in the upper left corner, on a ground of its own."""
    size = layout.width / 75
    group = svg.add(root, "g", class_=name)
    ground = "#000" if name == "bb-before" else "#245c1c"
    svg.add(group, "rect", x=0, y=0, width=7.6 * size, height=1.6 * size, fill=ground)
    svg.text(group, words, 0.5 * size, 1.15 * size, fill="#fff", font_size=size)
