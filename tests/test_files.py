import os
import threading

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from brainage_bids.files import Limit, Refused, open_file, parse_json, parse_toml, read_bytes, read_utf8

SMALL = Limit("a toy", 1)


def test_what_is_there_is_read_through_links(tmp_path):
    (tmp_path / "file").write_bytes(b"\xef\xbb\xbfabc")
    (tmp_path / "link").symlink_to("file")
    assert read_bytes(tmp_path / "link", SMALL) == b"\xef\xbb\xbfabc"
    assert read_utf8(tmp_path / "link", SMALL) == "abc"


def test_the_bound_is_what_it_says(tmp_path):
    (tmp_path / "file").write_bytes(bytes(2**20))
    assert len(read_bytes(tmp_path / "file", SMALL)) == 2**20
    (tmp_path / "file").write_bytes(bytes(2**20 + 1))
    with pytest.raises(Refused, match="file: it has more than 1 MiB, and a toy has 1 at most"):
        read_bytes(tmp_path / "file", SMALL)


def test_a_file_that_grows_is_read_no_further(tmp_path, monkeypatch):
    (tmp_path / "file").write_bytes(bytes(2**21))
    whole = os.stat(tmp_path / "file")
    empty = os.stat_result([*whole[:6], 0, *whole[7:]])  # as files of /proc say
    monkeypatch.setattr(os, "stat", lambda _: empty)
    monkeypatch.setattr(os, "fstat", lambda _: empty)
    with pytest.raises(Refused, match="more than 1 MiB"):
        read_bytes(tmp_path / "file", SMALL)


def test_a_pipe_that_takes_the_place_of_a_file_is_not_waited_for(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    seen = os.stat(tmp_path / "file")
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.setattr(os, "stat", lambda _: seen)
    ends = []

    def attempt():
        try:
            read_bytes(tmp_path / "pipe", SMALL)
        except Refused as error:
            ends.append(str(error))

    thread = threading.Thread(target=attempt, daemon=True)
    thread.start()
    thread.join(30)
    assert ends == [f"{tmp_path / 'pipe'}: it is a named pipe and no regular file"]


def test_nothing_stays_open(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    before = len(os.listdir("/proc/self/fd"))
    for name in ("pipe", "."):
        with pytest.raises(Refused), open_file(tmp_path / name, SMALL):
            pass
    assert len(os.listdir("/proc/self/fd")) == before


plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=("Cs",))),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(exclude_categories=("Cs",))), inner, max_size=4),
)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(plain)
def test_json_is_read_as_it_was_written(value):
    import json

    assert parse_json(json.dumps(value)) == value


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[" * 10**5, "nested"),
        ('{"a":' * 65 + "1" + "}" * 65, "nested"),
        ('["\\udc80"]', "half of a letter"),
        ('{"\\ud800": 1}', "half of a letter"),
    ],
)
def test_json_that_no_later_step_could_bear(text, words):
    with pytest.raises(ValueError, match=words):
        parse_json(text)


def test_numbers_of_json_that_fit_nowhere():
    assert parse_json("[9223372036854775807, 9223372036854775808, -" + "9" * 5000 + "]") == [2**63 - 1, 2.0**63, float("-inf")]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a = " + "[" * 10**4, "nested"),
        ("a = " + "[" * 70 + "]" * 70, "nested"),
        ("a = 1\nb = " + "{c = " * 10**4, "nested"),
        ("a." * 10**5 + "a = 1", "nested"),
        ("'a' . \"b\" . " * 10**5 + "a = 1", "nested"),
        ("[" + "a." * 10**5 + "a]", "nested"),
        ("a = " + "9" * 5000, "64 bits"),
        ("a = 9223372036854775808", "64 bits"),
        ("a = 0x" + "f" * 5000, "64 bits"),
        ("a = 1\na = 1", "overwrite"),
    ],
)
def test_toml_that_no_later_step_could_bear(text, words):
    with pytest.raises(ValueError, match=words):
        parse_toml(text)


def test_toml_with_many_dots_that_are_no_key():
    numbers = ", ".join(f"{n}.5" for n in range(500))
    assert len(parse_toml(f"a.b = [{numbers}]\nc = '{'.' * 500}'\nd = 'See p. 3. Or p. 4.'")["a"]["b"]) == 500
