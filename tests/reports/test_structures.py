from types import SimpleNamespace
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from brainage_bids.reports import structures, svg
from brainage_bids.reports.ages import BARS, ESTIMATE
from brainage_bids.reports.structures import Structure, caption, describe, draw_structure, place_words, read_structures, ticks


def curve(low=1.0, middle=2.0, high=3.0, ages=(20.0, 50.0, 80.0)):
    """A norm curve that rises by 1 % from the first age to the last."""
    rise = np.linspace(0, 1, len(ages))
    return SimpleNamespace(name="a", label="A", ages=np.array(ages), p5=low + rise, p50=middle + rise, p95=high + rise)


def nodes(root, name):
    return [node.attrib for node in root.iter(name)]


def points(text):
    return np.array([[float(value) for value in pair.split(",")] for pair in text.split()])


def row(structure="a", share=2.0, years=1.0, **changed):
    values = {"structure": structure, "label": structure.upper(), "share_percent": share, "contribution_years": years}
    return {key: None if value is None else str(value) for key, value in (values | changed).items()}


def test_the_strongest_come_first_and_what_adds_no_years_is_left_out():
    rows = [row("a", years=0.5), row("b", years=-3.0), row("c", years=None), row("brain", share=None, years=1.0)]
    found = read_structures(rows)
    assert [structure.name for structure in found] == ["b", "brain", "a"] and found[1].share is None
    assert read_structures([]) == ()


def test_labels_begin_with_a_capital_and_fall_back_on_the_name():
    assert [structure.label for structure in read_structures([row("a", label=None), row("b", label="third ventricle")])] == [
        "A",
        "Third ventricle",
    ]


def test_dot_band_and_median_lie_at_their_values():
    root = draw_structure(Structure("a", "A", 2.5, 1.0), curve(), 50.0)
    dot = nodes(root, "circle")[0]
    band, median = points(nodes(root, "polygon")[0]["points"]), points(nodes(root, "polyline")[0]["points"])
    assert nodes(root, "polygon")[0]["fill"] == BARS and dot["fill"] == ESTIMATE
    assert float(dot["cx"]) == pytest.approx((structures.LEFT + structures.RIGHT) / 2)
    assert median[1] == pytest.approx([float(dot["cx"]), float(dot["cy"])], abs=0.02)  # the median at 50 years is 2.5
    assert band[:3, 0] == pytest.approx(median[:, 0]) and band[3:, 0] == pytest.approx(median[::-1, 0])
    assert (band[:3, 1] > median[:, 1]).all() and (band[3:, 1] < median[::-1, 1]).all()


def test_an_unknown_age_is_a_line_at_the_share():
    root = draw_structure(Structure("a", "A", 2.5, 1.0), curve(), None)
    lines = [line for line in nodes(root, "line") if line.get("stroke") == ESTIMATE]
    assert not nodes(root, "circle") and len(lines) == 1 and lines[0]["y1"] == lines[0]["y2"]
    known = draw_structure(Structure("a", "A", 2.5, 1.0), curve(), 50.0)
    assert float(lines[0]["y1"]) == pytest.approx(float(nodes(known, "circle")[0]["cy"]))
    assert "age of the person is not known" in root.find("desc").text
    assert "whose age is not known" in caption(5, 513, None, None)[0] and "dot" in caption(5, 513, 40.0, None)[0]


def test_without_a_curve_the_person_is_still_drawn():
    root = draw_structure(Structure("a", "A", 2.5, 1.0), None, 40.0)
    assert len(nodes(root, "circle")) == 1 and not nodes(root, "polygon")


def test_gaps_in_a_curve_are_left_out():
    gap = curve()
    gap.p5[0] = np.nan
    root = draw_structure(Structure("a", "A", 2.5, 1.0), gap, 40.0)
    assert len(points(nodes(root, "polygon")[0]["points"])) == 5


@given(
    st.floats(0, 100), st.one_of(st.none(), st.floats(0, 110)), st.floats(0, 50), st.one_of(st.none(), st.floats(-50, 50))
)  # fmt: skip
def test_everything_stays_inside_the_picture(share, age, low, years):
    root = draw_structure(Structure("a", "A", share, years or 0.0), curve(low, low + 1, low + 2) if years is not None else None, age)
    for kind, keys, size in (("circle", ("cx",), structures.WIDTH), ("line", ("x1", "x2"), structures.WIDTH)):
        assert all(0 <= float(node[key]) <= size for node in nodes(root, kind) for key in keys)
    for kind, keys in (("circle", ("cy",)), ("line", ("y1", "y2")), ("text", ("y",))):
        assert all(0 <= float(node[key]) <= structures.HEIGHT for node in nodes(root, kind) for key in keys)


def test_names_are_escaped(tools):
    root = draw_structure(Structure(tools.hostile, tools.hostile, 2.5, 1.0), curve(), 40.0)
    text = svg.markup(root)
    assert "<script" not in text and "<img" not in text
    assert ElementTree.fromstring(text).find(f"{{{svg.NAMESPACE}}}title").text == tools.hostile


@pytest.mark.parametrize(("share", "side"), [(0.5, "below"), (2.0, "within"), (4.0, "above")])
def test_the_place_among_others_is_told(share, side):
    structure = Structure("a", "A", share, -1.25, 1.0, 2.0, 3.0)
    assert side in place_words(structure) and side in describe(structure, curve(), 40.0)
    assert "−1.2 years" in describe(structure, curve(), 40.0) and "40.0 years old" in describe(structure, curve(), 40.0)


@given(st.floats(0, 99), st.floats(0.01, 100))
def test_ticks_are_few_and_inside(low, width):
    found = ticks(low, low + width)
    assert 1 <= len(found) <= 4
    assert all(low - 1e-6 <= value <= low + width + 1e-6 for value in found)
