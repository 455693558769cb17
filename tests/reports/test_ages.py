from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brainage_bids.reports import ages, svg
from brainage_bids.reports.ages import TrainingAges, draw_age


def parts(path):
    root = ElementTree.parse(path).getroot()
    return {name: [node.attrib for node in root.iter(f"{{{svg.NAMESPACE}}}{name}")] for name in ("circle", "line", "rect", "text")}, root


def words(root):
    return [node.text for node in root.iter(f"{{{svg.NAMESPACE}}}text")]


def test_estimate_interval_age_and_histogram_lie_at_their_years(tmp_path):
    training = TrainingAges(20, 40, (20, 30, 40), (2, 4), 6)
    found, root = parts(draw_age(tmp_path / "a.svg", brain_age=30, low=22, high=38, age=25, training=training))

    def at(years):  # the axis runs from 20 to 40
        return ages.LEFT + (years - 20) / 20 * (ages.RIGHT - ages.LEFT)

    assert float(found["circle"][0]["cx"]) == pytest.approx(at(30))
    thick = [line for line in found["line"] if line.get("stroke") == ages.ESTIMATE and line["y1"] == line["y2"]]
    assert [float(thick[0][key]) for key in ("x1", "x2")] == pytest.approx([at(22), at(38)], abs=0.01)
    dashed = [line for line in found["line"] if "stroke-dasharray" in line]
    assert float(dashed[0]["x1"]) == pytest.approx(at(25))
    bars = [rect for rect in found["rect"] if rect["fill"] == ages.BARS]
    assert [float(bar["x"]) for bar in bars] == pytest.approx([at(20) + 0.5, at(30) + 0.5])
    assert float(bars[1]["height"]) == pytest.approx(2 * float(bars[0]["height"]))
    assert "age 25.0" in words(root) and "brain age 30.0 (95 % interval)" in words(root)


def test_an_unknown_age_is_not_drawn(tmp_path):
    found, root = parts(draw_age(tmp_path / "a.svg", brain_age=30))
    assert not [line for line in found["line"] if "stroke-dasharray" in line]
    assert "age unknown" in root.find(f"{{{svg.NAMESPACE}}}desc").text
    assert words(root) == ["Age in years", "20", "30", "40", "brain age 30.0"]


@given(st.floats(0, 110), st.floats(0, 40), st.one_of(st.none(), st.floats(0, 110)))
def test_everything_stays_inside_the_picture(tmp_path_factory, brain_age, half, age):
    path = tmp_path_factory.mktemp("ages") / "a.svg"
    found, root = parts(
        draw_age(path, brain_age=brain_age, low=brain_age - half, high=brain_age + half, age=age, training=TrainingAges(19, 52))
    )
    for kind, keys in (("circle", ("cx",)), ("line", ("x1", "x2")), ("text", ("x",))):
        for node in found[kind]:
            assert all(0 <= float(node[key]) <= ages.WIDTH for key in keys)
    for node in root.iter(f"{{{svg.NAMESPACE}}}text"):
        width = 0.57 * float(node.attrib["font-size"]) * len(node.text)  # of the digits of Arial
        start = float(node.attrib["x"]) - {"end": 1.0, "middle": 0.5}.get(node.attrib.get("text-anchor"), 0.0) * width
        assert start >= -1 and start + width <= ages.WIDTH + 1, node.text


def test_a_histogram_needs_one_edge_more_than_counts():
    with pytest.raises(ValueError, match="needs 3 edges"):
        TrainingAges(20, 40, (20, 40), (1, 2))
