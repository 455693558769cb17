import pytest
from hypothesis import given
from hypothesis import strategies as st

from brainage_bids.bids.columns import decimal_comma, name_problems, read_column, spellings


@pytest.mark.parametrize(
    ("texts", "told", "values"),
    [
        (["24,9", "25,0", "3"], None, [24.9, 25.0, 3.0]),
        (["1.234,5", "987", "2.345"], None, [1234.5, 987.0, 2345.0]),
        (["1,234.5", "1,234"], None, [1234.5, 1234.0]),
        (["1,234,567", "12"], None, [1234567.0, 12.0]),
        (["0,123", "0,456"], None, [0.123, 0.456]),
        (["1 234,5", "3"], None, [1234.5, 3.0]),
        (["1'234", "1\u202f000"], None, [1234.0, 1000.0]),
        (["42.1%", "38 %"], None, [42.1, 38.0]),
        (["12 pg/mL", "3.5 pg/mL"], None, [12.0, 3.5]),
        (["12 pg/mL", "3.5"], {"Units": "pg/mL"}, [12.0, 3.5]),
        (["70kg", "81kg"], None, [70.0, 81.0]),
        (["12,5 mg", "3,25 mg"], None, [12.5, 3.25]),
        (["−1.5", "2"], None, [-1.5, 2.0]),
        (["1e-05", "2.5"], None, [1e-5, 2.5]),
        (["1", "NaN", "n/a", "3"], None, [1.0, None, None, 3.0]),
        (["08", "12"], {"Units": "years"}, [8.0, 12.0]),
        (["0", "1", "2"], {"Levels": {"0": "none", "1": "one", "2": "two"}}, [0.0, 1.0, 2.0]),
        (["0", "1"], {"Levels": {"0": "no", "1": "yes", "-9": "missing"}}, [0.0, 1.0]),
    ],
)
def test_numbers_in_silence(texts, told, values):
    read = read_column("x", texts, told)
    assert (read.values, read.numeric, read.problems) == (values, True, [])


@pytest.mark.parametrize(
    ("texts", "numeric", "said"),
    [
        (["1,234", "4,567"], False, "not certain"),
        (["24,9", "24.9"], False, "not certain"),
        (["12 pg/mL", "3 ng/mL"], False, "units differ"),
        (["12 pg/mL", "3"], False, "units differ"),
        (["<0.5", "0.7", "1.2"], True, "1 value(s) that are bounds"),
        (["<0.5", "0.3", "1.2"], False, "numbers beyond them"),
        ([*map(str, range(11)), "x"], True, "no number ('x')"),
        (["1", "2", "none"], True, "'none', taken as missing; if they mean 0"),
        (["12,5", "13,5", "14,5", "high"], False, "'high' is none"),
        (["01", "02"], False, "holds codes such as '01'"),
        (["1234567890123456", "1234567890123457"], False, "codes"),
        (["0", "1", "2"], True, ""),
        (["1", "2", "3", "4", "-9999"], True, "-9999, which may be a code"),
        (["1", "2", "3", "999", "999"], True, "999, which may be a code"),
    ],
)
def test_what_is_doubtful_is_said_and_named(texts, numeric, said):
    read = read_column("marker", texts)
    assert read.numeric is numeric and len(read.problems) == bool(said)
    assert all(said in problem and "'marker'" in problem for problem in read.problems)


@pytest.mark.parametrize(
    "texts", [["2020-01-01"] * 3, ["10:30", "11:00"], ["1A", "2A"], ["1st", "2nd"], ["a", "b"], ["12-15", "16-20"], ["inf"], ["1_000"]]
)
def test_texts_stay_texts(texts):
    read = read_column("x", texts)
    assert (read.values, read.numeric, read.problems) == (texts, False, [])


def test_names_keep_what_is_written():
    assert read_column("group", ["1.0", "2.0"], names=True).values == ["1.0", "2.0"]
    assert read_column("group", ["1", "2", "none"], names=True).values == ["1", "2", "none"]
    assert read_column("group", ["1", "0"], {"Levels": {"0": "no", "1": "yes"}}, names=True).values == [1.0, 0.0]
    kinds = read_column("smoking", ["0", "1", "2"], {"Levels": {"0": "no", "1": "yes", "2": "former"}})
    assert kinds.values == ["0", "1", "2"] and '"Format": "number"' in kinds.problems[0]


@pytest.mark.parametrize("word", ["none", "None", "NA", "nan", "null", "-", "unknown"])
def test_a_word_is_a_name_where_names_are_and_is_told(word):
    read = read_column("group", ["AD", word, "n/a", None])
    assert read.values == ["AD", word, None, None] and len(read.problems) == 1 and f"1 value(s) {word!r}" in read.problems[0]
    assert name_problems("group", ["AD", word], {"Levels": {word: "Naples"}}) == []


def test_spellings_are_told_once():
    assert len(spellings("group", ["Control", "control", "control ", "AD"])) == 1
    assert "('01', '1')" in spellings("site", ["1", "01"])[0]
    assert spellings("group", ["AD", "MCI", "site1", "site2", "-", "?"]) == []


@given(st.lists(st.floats(-1e6, 1e6), min_size=1), st.booleans())
def test_either_decimal_sign_gives_the_same_numbers(values, comma):
    texts = [f"{value:.2f}".replace(".", "," if comma else ".") for value in values]
    assert read_column("x", texts).values == [float(f"{value:.2f}") for value in values]
    assert decimal_comma(texts) is comma
