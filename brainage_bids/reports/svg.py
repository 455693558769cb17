"""A small builder of SVG documents that need nothing but themselves: pictures embedded, text escaped, bytes repeatable."""

from __future__ import annotations

import base64
import io
import math
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree

if TYPE_CHECKING:
    import numpy as np

NAMESPACE = "http://www.w3.org/2000/svg"
FONT = "system-ui, 'Segoe UI', 'Noto Sans', 'Liberation Sans', 'DejaVu Sans', sans-serif"
PATH_UNITS = 4
"""Outlines are stored in whole steps of 1/PATH_UNITS pixel."""


def document(width: float, height: float, title: str, description: str, css: str = "") -> ElementTree.Element:
    """Start a drawing that scales with its container.

    Parameters
    ----------
    width, height : float
        Size of the drawing in its own pixels (the ``viewBox``).
    title, description : str
        What a screen reader says; plain text, escaped on writing.
    css : str
        Rules of the drawing. They also apply to a page that the drawing is put into, so every class begins with ``bb-``.

    Returns
    -------
    xml.etree.ElementTree.Element
        The root; add children with :func:`add`.
    """
    root = ElementTree.Element(
        "svg",
        {"xmlns": NAMESPACE, "viewBox": f"0 0 {number(width)} {number(height)}", "role": "img", "font-family": FONT},
    )
    add(root, "title").text = title
    add(root, "desc").text = description
    if css:
        add(root, "style").text = css
    return root


def add(parent: ElementTree.Element, tag: str, **attributes: object) -> ElementTree.Element:
    """Append a child; ``_`` in a keyword stands for ``-`` and floats are rounded to hundredths.

    Examples
    --------
    >>> root = document(10, 10, "t", "d")
    >>> add(root, "rect", x=1.23456, stroke_width=2).attrib
    {'x': '1.23', 'stroke-width': '2'}
    """
    values = {
        key.rstrip("_").replace("_", "-"): number(value) if isinstance(value, float) else str(value) for key, value in attributes.items()
    }
    return ElementTree.SubElement(parent, tag, values)


def text(parent: ElementTree.Element, words: str, x: float, y: float, **attributes: object) -> ElementTree.Element:
    """Append a line of text at (``x``, ``y``), the base line's start unless ``text_anchor`` says otherwise."""
    node = add(parent, "text", x=float(x), y=float(y), **attributes)
    node.text = words
    return node


def number(value: float) -> str:
    """Shortest text of a number at a resolution of one hundredth.

    Examples
    --------
    >>> number(2.0), number(-0.001), number(3.14159)
    ('2', '0', '3.14')
    """
    rounded = round(float(value), 2)
    return f"{rounded:g}" if rounded else "0"


def embed_grey(parent: ElementTree.Element, pixels: np.ndarray, x: float, y: float, **attributes: object) -> ElementTree.Element:
    """Embed a picture of grey values as JPEG.

    Parameters
    ----------
    pixels : numpy.ndarray of uint8, shape (height, width)
        Grey values, row 0 on top.
    """
    return _embed(parent, pixels, "L", "JPEG", x, y, attributes, quality=88, optimize=True)


def embed_labels(
    parent: ElementTree.Element, labels: np.ndarray, colours: dict[int, str], x: float, y: float, **attributes: object
) -> ElementTree.Element:
    """Embed a picture of labels as PNG with one colour a label; labels without a colour are transparent.

    Parameters
    ----------
    labels : numpy.ndarray of uint8, shape (height, width)
        Labels, row 0 on top.
    colours : dict
        Label (1–255) → ``#rrggbb``.
    """
    import numpy as np

    palette = np.zeros((max(colours) + 1, 3), np.uint8)
    for label, colour in colours.items():
        palette[label] = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    known = np.where(np.isin(labels, list(colours)), labels, 0).astype(np.uint8)
    return _embed(parent, known, "P", "PNG", x, y, attributes, palette=palette.tobytes(), optimize=True, transparency=0)


def _embed(parent, pixels, mode, kind, x, y, attributes, palette=None, **options):
    import numpy as np
    from PIL import Image

    picture = Image.fromarray(np.ascontiguousarray(pixels))
    if palette is not None:
        picture.putpalette(palette)
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    href = f"data:image/{kind.lower()};base64,{base64.b64encode(buffer.getvalue()).decode()}"
    height, width = pixels.shape
    return add(parent, "image", x=float(x), y=float(y), width=width, height=height, href=href, **attributes)


def outline(lines: list[np.ndarray]) -> str:
    """Write closed or open lines as compact path data in whole steps of 1/``PATH_UNITS`` pixel.

    Points that do not change the direction are left out.

    Parameters
    ----------
    lines : list of numpy.ndarray, shape (n, 2)
        x and y of the points, in pixels.

    Returns
    -------
    str
        The ``d`` attribute of a path that is to be drawn with ``scale(1 / PATH_UNITS)``.

    Examples
    --------
    >>> import numpy as np
    >>> outline([np.array([[0, 0], [1, 0], [2, 0], [2, 1], [0, 0]], float)])
    'M0 0l8 0l0 4z'
    """
    import numpy as np

    pieces = []
    for line in lines:
        points = np.rint(np.asarray(line) * PATH_UNITS).astype(int)
        steps = np.diff(points, axis=0)
        steps = steps[np.any(steps != 0, axis=1)]
        if len(steps) < 2:
            continue
        closed = not steps.sum(axis=0).any()
        moves = _merge_steps(steps.tolist())
        body = "".join(f"l{dx}{' ' if dy >= 0 else ''}{dy}" for dx, dy in (moves[:-1] if closed else moves))
        pieces.append(f"M{points[0][0]} {points[0][1]}{body}{'z' if closed else ''}")
    return "".join(pieces)


def _merge_steps(steps: list[list[int]]) -> list[list[int]]:
    """Join neighbouring steps of one direction (the same reduced vector)."""
    merged: list[list[int]] = []
    last = None
    for dx, dy in steps:
        divisor = math.gcd(dx, dy)
        direction = (dx // divisor, dy // divisor)
        if direction == last:
            merged[-1][0] += dx
            merged[-1][1] += dy
        else:
            merged.append([dx, dy])
        last = direction
    return merged


def markup(root: ElementTree.Element) -> str:
    """The drawing as part of a page, its text escaped."""
    return ElementTree.tostring(root, encoding="unicode")


def save(root: ElementTree.Element, path: Path) -> Path:
    """Write the drawing as UTF-8; the same drawing gives the same bytes.

    The declaration and the root stand on one line: nireports rewrites files whose first lines begin with ``<svg``.
    """
    Path(path).write_bytes(f'<?xml version="1.0" encoding="UTF-8"?>{markup(root)}\n'.encode())
    return Path(path)
