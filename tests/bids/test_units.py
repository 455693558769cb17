import pytest
from hypothesis import given
from hypothesis import strategies as st

from brainage_bids.bids.units import Age, age_unit, is_code, parse_age, parse_sex


@pytest.mark.parametrize(
    ("text", "unit", "expected"),
    [
        ("34.2", "years", Age(34.2)),
        (" 20 ", "years", Age(20.0)),
        ("0", "years", Age(0.0)),
        ("89+", "years", Age(89.0, True)),
        (">89", "years", Age(89.0, True)),
        (">= 89", "years", Age(89.0, True)),
        ("89 or older", "years", Age(89.0, True)),
        ("540", "months", Age(45.0)),
        ("18 months", "years", Age(1.5)),
        ("034Y", "months", Age(34.0)),
        ("n/a", "years", None),
        ("", "years", None),
        ("NaN", "years", None),
        ("none", "years", None),
        ("P30Y", "months", Age(30.0)),
        ("P360M", "years", Age(30.0)),
        ("p2y6m", "years", Age(2.5)),
        ("2 years 6 months", "years", Age(2.5)),
        ("34y6m", "years", Age(34.5)),
        (None, "years", None),
    ],
)
def test_ages_that_can_be_read(text, unit, expected):
    assert parse_age(text, unit) == expected


@pytest.mark.parametrize(
    "text",
    ["12-15", "thirty", "-3", "38,5", "inf", "999", "5 apples", "<script>", "1e2", "20; 30", "--", "2020-01-01", "P", "6 months 2 years"],
)
def test_ages_that_cannot(text):
    with pytest.raises(ValueError, match="is no"):
        parse_age(text)


@given(years=st.floats(0, 120))
def test_units_agree_on_the_length_of_a_life(years):
    """A year has 12 months, 365.25 days and 365.25 / 7 weeks."""
    for unit, count in (("months", 12), ("weeks", 365.25 / 7), ("days", 365.25)):
        assert parse_age(f"{years * count:.9f}", unit).years == pytest.approx(years, abs=1e-6)


@pytest.mark.parametrize(
    ("description", "unit"),
    [
        (None, "years"),
        ("years", "years"),
        ({"Description": "age of the participant"}, "years"),
        ({"Units": "year"}, "years"),
        ({"Units": "Years old"}, "years"),
        ({"Units": "months"}, "months"),
        ({"units": "weeks"}, "weeks"),
        ({"Units": "Days"}, "days"),
        ({"Units": 3}, "years"),
        ({"Units": "gestational weeks"}, None),
        ({"Units": "parsec"}, None),
        ({"Units": "years and months"}, None),
        ({"Units": "mo"}, "months"),
        ({"Units": "yr"}, "years"),
        ({"UNITS ": "months"}, "months"),
        ({"Units": ["months"]}, "months"),
        ({"Units": ["years", "months"]}, None),
        ({"Units": "P1M"}, "months"),
        ({"Units": "weeks of gestation"}, None),
        ({"Units": "weeks", "Description": "Postmenstrual age"}, None),
        ({"Units": "years", "Description": "age in months"}, None),
        ({"Units": "years", "Description": "Age in years (months for infants)"}, None),
        ({"Units": "years", "Description": "Age; gestational age stands in column ga"}, "years"),
        ({"Units": "n/a", "Description": "months"}, "months"),
        ({"Description": "age of the child in months"}, "months"),
        ({"Description": "Age (in months)"}, "months"),
        ({"Description": "Number of days since birth"}, "days"),
        ({"Description": "Age in weeks"}, "weeks"),
        ({"Description": "Alter in Monaten"}, "months"),
        ({"LongName": "Age (months)"}, "months"),
        ({"LongName": "age_in_months"}, "months"),
        ({"Description": "postmenstrual age at scan in weeks"}, None),
        ({"Description": "Age in years (months for infants)"}, None),
        ({"Description": "age at MRI; scans were 12 months apart"}, None),
        ({"Description": "age in years at the day of the scan"}, "years"),
        ({"Description": "Age in years at the first scan (6 months after injury)"}, "years"),
        ("in months", "months"),
    ],
)
def test_units_of_ages(description, unit):
    assert age_unit(description) == unit


@pytest.mark.parametrize(
    ("text", "levels", "expected"),
    [
        ("M", None, "M"),
        ("f", None, "F"),
        ("F ", None, "F"),
        ("Male", None, "M"),
        ("FEMALE", None, "F"),
        ("1", {"1": "male", "2": "female"}, "M"),
        ("2.0", {"1": "male", "2": "female"}, "F"),
        ("0", {"0": {"Description": "Female participant"}}, "F"),
        ("1", {1: "Man"}, "M"),
        ("M", {"F": "female", "M": "male"}, "M"),
        ("n/a", None, None),
        ("o", None, None),
        ("Other", None, None),
        ("9", {"9": "n/a"}, None),
        ("9", {"9": "Missing"}, None),
        ("1", ["0 = female", "1 = male"], "M"),
        ("none", None, None),
    ],
)
def test_sexes_that_can_be_read(text, levels, expected):
    assert parse_sex(text, levels) == expected


@pytest.mark.parametrize(
    ("text", "levels"), [("1", None), ("0", "male"), ("3", {"1": "male"}), ("f/m", None), ("<b>", None), ("1", {"1": "group A"})]
)
def test_sexes_that_cannot(text, levels):
    with pytest.raises(ValueError, match="not understood"):
        parse_sex(text, levels)


def test_codes_are_numbers():
    assert [is_code(text) for text in ("1", " 2.0", "-1", "m", "1a")] == [True, True, True, False, False]
