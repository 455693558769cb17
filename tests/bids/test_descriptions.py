import pytest

from brainage_bids.bids.descriptions import entry, is_absent, is_ordered, levels_of, meaning, missing_codes, table_codes


@pytest.mark.parametrize(
    ("told", "codes"),
    [
        ({"Levels": {"-9999": "missing"}}, {"-9999"}),
        ({"levels": {"-9": None, "NA": "Naples", "0": "none"}}, {"-9"}),
        ({"Levels": {"9": {"Description": "Missing (not assessed)"}, "1": {"Description": "yes"}}}, {"9"}),
        ({"Levels": {"3": "not applicable", "4": "n.a.", "5": "unknown", "6": "data not available", "7": "don't know"}}, set("34567")),
        ({"Levels": ["1: yes", "2: no", "9: missing"]}, {"9"}),
        ({"Levels": [{"value": -1, "label": "no data"}, {"value": 1, "label": "one"}]}, {"-1"}),
        ({"Levels": "1=yes, 2=no, 9=Missing"}, {"9"}),
        ({"MissingValues": [-1, "x"]}, {"-1", "x"}),
        ({"missing_value": "-9, -99"}, {"-9", "-99"}),
        ({"Description": "Body mass index (-9999 = missing)"}, {"-9999"}),
        ({"Description": "Missing values are coded as 999."}, {"999"}),
        ({"Description": "0 = no tooth missing; 1 = missing tooth"}, set()),
        ({"Levels": ["control", "patient"]}, set()),
        ({"Levels": {"NA": "NA"}}, {"NA"}),
        (None, set()),
        ("in months", set()),
    ],
)  # fmt: skip
def test_codes_that_are_declared_missing(told, codes):
    assert missing_codes(told) == codes


def test_codes_of_a_whole_table():
    assert table_codes({"MissingValues": [-9999], "bmi": {"Description": "x", "MissingValues": [-1]}}) == {"-9999"}
    assert table_codes({"na": {"Description": "Sodium", "Units": "mmol/L"}}) == frozenset()


def test_meanings_of_absence():
    assert [is_absent(said) for said in ("missing", "n/a", "", "?", "not done.")] == [True] * 5
    assert [is_absent(said) for said in ("none", "no", "normal", "missing teeth", "control")] == [False] * 5


def test_levels_of_any_form():
    assert levels_of({"LEVELS": [0, 1]}) == {"0": "0", "1": "1"}
    assert meaning("1.0", {"1": {"LongName": "male"}}) == "male" and meaning("2", {"1": "male"}) is None
    assert entry({"Age ": 1, "AGE": 2}, "age") == 1 and entry({"x": 1}, None) is None


@pytest.mark.parametrize(
    ("name", "told", "ordered"),
    [
        ("ApoE", {"Description": "Number of epsilon 4 alleles of the APOE gene", "Levels": {"0": "none", "1": "one", "2": "two"}}, True),
        ("apoe", {"Levels": {"0": "no e4", "1": "one e4 allele", "2": "two", "-9": "missing"}}, True),
        ("cdr", {"Levels": {"0": "none", "0.5": "very mild", "1": "mild", "2": "moderate", "3": "severe"}}, True),
        ("school", {"Levels": {"1": "primary school", "2": "secondary", "3": "tertiary"}}, True),
        ("x", {"Levels": {"1": "a", "2": "b", "3": "c"}, "Format": "integer"}, True),
        ("pain", {"Levels": {"1": "a", "2": "b", "3": "c"}, "Units": "points"}, True),
        ("fazekas", {"Description": "Fazekas grade", "Levels": {"0": "a", "1": "b", "2": "c"}}, True),
        ("smoking", {"Levels": {"0": "no", "1": "yes", "2": "former"}}, False),
        ("dx", {"Levels": {"0": "control", "1": "MCI", "2": "AD"}}, False),
        ("scanner", {"Levels": {"1": "scanner 1", "2": "scanner 2", "3": "scanner 3"}}, False),
        ("x", {"Levels": {"a": "one", "b": "two", "c": "three"}}, False),
    ],
)
def test_codes_that_are_an_order(name, told, ordered):
    assert is_ordered(name, told) is ordered
