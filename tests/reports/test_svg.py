import base64
import io
import re
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from brainage_bids.reports import svg


def trace(d):
    """Points of path data made of M, relative l and z."""
    lines = []
    for part in filter(None, d.split("M")):
        start, *moves = part.rstrip("z").split("l")
        point = np.array([int(n) for n in start.split()])
        points = [point]
        for move in moves:
            point = point + np.array([int(n) for n in re.findall(r"-?\d+", move)])
            points.append(point)
        lines.append((np.array(points), part.endswith("z")))
    return lines


def area(points):
    x, y = np.asarray(points, float).T
    return 0.5 * np.sum(x * np.roll(y, -1) - y * np.roll(x, -1))


@given(st.lists(st.tuples(st.integers(-400, 400), st.integers(-400, 400)), min_size=3, max_size=30))
def test_outline_keeps_the_shape_of_a_closed_line(points):
    closed = np.array([*points, points[0]], float) / svg.PATH_UNITS
    total = sum(area(found) for found, _ in trace(svg.outline([closed])))
    assert total == pytest.approx(area(points))


@given(st.lists(st.tuples(st.integers(-50, 50), st.integers(-50, 50)), min_size=3, max_size=30, unique=True))
def test_outline_of_an_open_line_ends_where_the_line_ends(points):
    found = trace(svg.outline([np.array(points, float) / svg.PATH_UNITS]))
    (line, closed) = found[0]
    assert not closed
    assert line[0].tolist() == list(points[0])
    assert line[-1].tolist() == list(points[-1])


def test_outline_leaves_out_points_on_a_straight_line():
    line = np.array([[0, 0], [1, 1], [2, 2], [2, 0], [0, 0]], float)
    assert len(trace(svg.outline([line]))[0][0]) == 3


def test_text_is_escaped(tmp_path):
    root = svg.document(10, 10, "<b>&", "d")
    svg.text(root, "<script>x</script>", 0, 0)
    path = svg.save(root, tmp_path / "a.svg")
    assert b"<script" not in path.read_bytes()
    read = ElementTree.parse(path).getroot()
    assert read.find(f"{{{svg.NAMESPACE}}}title").text == "<b>&"
    assert read.find(f"{{{svg.NAMESPACE}}}text").text == "<script>x</script>"


def test_first_line_does_not_begin_with_svg(tmp_path):
    first = svg.save(svg.document(3, 3, "t", "d"), tmp_path / "a.svg").read_text().splitlines()[0]
    assert first.startswith("<?xml") and "<svg" in first


def decode(node):
    kind, data = node.get("href").removeprefix("data:image/").split(";base64,")
    return kind, Image.open(io.BytesIO(base64.b64decode(data)))


def test_grey_pictures_come_back():
    pixels = np.tile(np.linspace(0, 255, 64).astype(np.uint8), (32, 1))
    kind, picture = decode(svg.embed_grey(svg.document(64, 32, "t", "d"), pixels, 0, 0))
    assert kind == "jpeg" and picture.size == (64, 32)
    assert np.abs(np.asarray(picture).astype(int) - pixels).max() <= 6


def test_labels_come_back_in_their_colours_and_others_are_transparent():
    labels = np.array([[0, 1, 2, 7]], np.uint8)
    kind, picture = decode(svg.embed_labels(svg.document(4, 1, "t", "d"), labels, {1: "#ff0000", 2: "#00ff10"}, 0, 0))
    assert kind == "png"
    assert np.asarray(picture.convert("RGBA"))[0].tolist() == [[0, 0, 0, 0], [255, 0, 0, 255], [0, 255, 16, 255], [0, 0, 0, 0]]
