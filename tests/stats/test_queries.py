import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from brainage_bids.records import BadConfiguration
from brainage_bids.stats.queries import rows_where

TABLE = {
    "age": [20.0, 40.0, None, 60.0],
    "group": ["control", "patient", "control", None],
    "1st site": ["a", "b", "c", "a"],
    "code": [1.0, 2.0, 1.0, None],
    "site": ["02", "01", "x", None],
}


@pytest.mark.parametrize(
    ("query", "expected"),
    (
        ("group == 'control'", [1, 0, 1, 0]),
        ("group != 'control'", [0, 1, 0, 0]),
        ("age >= 40", [0, 1, 0, 1]),
        ("not age >= 40", [1, 0, 1, 0]),
        ("30 < age < 50", [0, 1, 0, 0]),
        ("group in ['control', 'x'] and age < 50", [1, 0, 0, 0]),
        ("group not in ('control',)", [0, 1, 0, 0]),
        ("`1st site` == 'a' or code == 2", [1, 1, 0, 1]),
        ("(age == 20) | ~(age > -5)", [1, 0, 1, 0]),
        ("code == '1'", [1, 0, 1, 0]),
        ("age == age", [1, 1, 0, 1]),
        ("site == '02'", [1, 0, 0, 0]),
        ("site != '02'", [0, 1, 1, 0]),
        ("site == 2 or site == '01'", [1, 1, 0, 0]),
        ("site in ['02', 1]", [1, 1, 0, 0]),
        ("site not in ['02']", [0, 1, 1, 0]),
        ("site > 1", [1, 0, 0, 0]),
        ("code == '01'", [1, 0, 1, 0]),
        ("code != 'x'", [1, 1, 1, 0]),
        ("`1st site` == 'a`b`c'", [0, 0, 0, 0]),
    ),
)
def test_rows_are_found(query, expected):
    assert rows_where(query, TABLE, 4).astype(int).tolist() == expected


@pytest.mark.parametrize(
    "query",
    (
        "__import__('os').system('true')", "age.__class__ == 1", "group", "age + 1 > 2", "(lambda: 1)() == 1", "age[0] == 1", "True",
        "nobody == 1", "age ==", "", "group is 'control'", "group in 'control'", "f'{age}' == '20'", "'a' if age else 'b' == 'a'",
        "age == True", "group == -'a'", "age == 1e999", "age == " + "1" * 4000, "age == " + "1" * 5000, "not " * 20_000 + "age == 1",
        "age == " + "-" * 20_000 + "1", " & ".join(["(age == 1)"] * 5000), "group == '" + "x" * 4_000_001 + "'", "age" + ".x" * 20_000,
        "[x for x in age] == 1", "9**9**9 == 1", "`no such` == 1", "(" * 300 + "age" + ")" * 300 + " == 1",
    ),
)  # fmt: skip
def test_nothing_but_comparisons_is_read(query):
    with pytest.raises(BadConfiguration, match="The query --where") as error:
        rows_where(query, TABLE, 4)
    assert len(str(error.value)) < 600


def test_an_unknown_column_is_named_with_those_there_are():
    with pytest.raises(BadConfiguration, match=r"--reference .*'grp', which is no column; there are age, group, 1st site, code, site"):
        rows_where("grp == 'control'", TABLE, 4, "--reference")


@given(st.lists(st.one_of(st.none(), st.floats(-100, 100)), min_size=1, max_size=20), st.floats(-100, 100))
def test_it_agrees_with_numpy_and_splits_the_known(values, bound):
    there = np.array([value is not None for value in values])
    numbers = np.array([0.0 if value is None else value for value in values])
    above = rows_where(f"x > {bound!r}", {"x": values}, len(values))
    below = rows_where(f"x <= {bound!r}", {"x": values}, len(values))
    assert (above == (numbers > bound) & there).all() and ((above | below) == there).all() and not (above & below).any()


def test_a_code_that_the_column_writes_otherwise_is_refused():
    with pytest.raises(BadConfiguration, match="asks for '2', which the column writes '02'"):
        rows_where("site != '2'", TABLE, 4)


def test_long_choices_are_looked_up():
    numbers = ",".join(map(str, range(100_000)))
    assert rows_where(f"age in [{numbers}]", TABLE, 4).tolist() == [True, True, False, True]
    assert rows_where(" or ".join(["age == 20"] * 2000), TABLE, 4).tolist() == [True, False, False, False]
