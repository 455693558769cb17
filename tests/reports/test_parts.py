import struct

import pytest

from brainage_bids.reports.parts import _places, draw_parts

NAMES = ("train", "validation", "test")
PEOPLE = ([20.0, 30.0, 41.0, 25.0], ["F", "M", None, "F"], ["1:a", "1:a", "2:", "2:"], ["train", "test", "validation", ""])


def test_the_same_input_gives_the_same_bytes_and_rows_make_it_higher(tmp_path):
    one, two = (draw_parts(*PEOPLE, NAMES, tmp_path / name).read_bytes() for name in ("a.png", "b.png"))
    assert one == two
    single = draw_parts(PEOPLE[0], PEOPLE[1], [None] * 4, PEOPLE[3], NAMES, tmp_path / "c.png").read_bytes()
    heights = [struct.unpack(">II", content[16:24])[1] for content in (one, single)]
    assert heights[0] > heights[1]
    assert draw_parts([20.0, 30.0, 50.0, 25.0], *PEOPLE[1:], NAMES, tmp_path / "d.png").read_bytes() != one


def test_every_dot_lies_in_its_row():
    rows = [("a", "train"), ("a", "test")]
    people = [(20.0 + k, "F", "a", "test" if k == 2 else "train") for k in range(9)]
    places = _places(people, rows)
    assert places[2] == pytest.approx(-1)
    assert all(abs(place) <= 0.3 for k, place in enumerate(places) if k != 2)
    assert len(set(places)) == 9
