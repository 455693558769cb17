import pytest

from brainage_bids.models.card import Errors, GroupError, Measure
from brainage_bids.reports.words import decade_words, gap_words, model_words, quality_limits, quality_value, significant, training_ages


def told(card):
    return " ".join(model_words(card))


def test_a_model_that_does_not_beat_the_guess_says_so(tools):
    text = told(tools.card(training={"groups": {"patients": 25, "controls": 11}}))
    assert "36 people of 19 to 52 years (patients 25, controls 11), from set." in text
    assert "6.4 (95 % CI 5.2 to 7.7) years" in text and "0.38 (95 % CI -0.06 to 0.63)" in text
    assert "mean age errs by 7.2 years" in text and "p = 0.21" in text and "not shown to be better" in text
    assert "not as a measurement of the person" in text


@pytest.mark.parametrize(("p", "mae", "better"), [(0.01, 5.0, True), (0.049, 5.0, True), (0.05, 5.0, False), (0.01, 8.0, False)])
def test_better_means_smaller_error_and_small_p(tools, p, mae, better):
    text = told(tools.card(errors={"p_guess": p, "mae": Measure(mae)}))
    assert ("an error of that size is usual" in text) is better
    assert ("not as a measurement" in text) is not better


def test_a_card_without_errors_is_called_so(tools):
    text = told(tools.card(errors={"mae": None}))
    assert "are not known" in text and "Nothing can be said" in text and "p = " not in text


def test_a_test_that_was_not_made_is_called_so(tools):
    assert "was not tested" in told(tools.card(errors={"p_guess": None}))


def test_what_the_interval_held_is_told(tools):
    assert "The 95 % interval held the age of 92 % of" in told(tools.card(errors={"coverage": 0.9167}))
    assert "interval held" not in told(tools.card())


@pytest.mark.parametrize(("age", "words"), [(20.0, "7.6 years too high"), (39.9, "1.5 years too low"), (40.0, ""), (None, "")])
def test_errors_of_people_of_that_age_are_told(tools, age, words):
    groups = (
        GroupError("site", "20–29", 9, 1.0, 1.0),
        GroupError("decade", "20–29", 9, 8.2, 7.6),
        GroupError("decade", "30–39", 8, 6.0, -1.5),
    )
    text = decade_words(tools.card(errors={"groups": groups}), age)
    assert words in text and bool(text) is bool(words)
    assert text in " ".join(model_words(tools.card(errors={"groups": groups}), age))


def test_other_ways_of_holding_people_out_are_told(tools):
    text = told(tools.card(further_errors=(Errors("leaving one site out", 36, mae=Measure(9.1)),)))
    assert "(leaving one site out) the model's mean absolute error was 9.1 years" in text


def test_limits_of_the_card_are_passed_on(tools):
    assert model_words(tools.card(limits=("Only adults.",)))[-1] == "Only adults."


def test_ages_of_the_card_are_those_of_the_picture(tools):
    ages = training_ages(tools.card())
    assert (ages.low, ages.high, ages.edges, ages.counts, ages.number) == (19, 52, (19, 35, 52), (20, 16), 36)


def row(**changed):
    return {"brain_age": "41.3", "brain_age_low": "30", "brain_age_high": "52", "age": "38.8", "pad": "2.5"} | changed


def test_the_gap_has_a_side_and_is_set_against_the_interval():
    text = " ".join(gap_words(row()))
    assert "2.5 years older" in text and "inside the interval" in text and "not corrected for age" in text
    assert "4.0 years younger" in " ".join(gap_words(row(pad="-4.0")))
    assert "outside the interval" in " ".join(gap_words(row(age="53", pad="-11.7")))


def test_a_gap_of_nothing_has_no_side():
    assert "as old as the person" in gap_words(row(pad="0.04"))[0]


def test_a_corrected_gap_carries_no_warning_about_correction():
    assert not [sentence for sentence in gap_words(row(pad_corrected="1.0")) if "corrected" in sentence]


def test_an_unknown_age_leaves_one_sentence():
    assert len(gap_words(row(age=None, pad=None))) == 1


def test_no_estimate_is_said():
    assert gap_words({"brain_age": None}) == ["No brain age was estimated."]


@pytest.mark.parametrize(
    ("value", "text"), [(0.00012, "0.00012"), (1234.5, "1234"), (-3.14159, "−3.14"), (9.999, "10"), (1e8, "1e+08"), (99.96, "100")]
)
def test_three_digits_are_shown(value, text):
    assert significant(value) == text


def test_units_and_limits():
    assert quality_value({"value": "14.25", "unit": "1"}) == "14.2" and quality_value({"value": "5", "unit": "mm"}) == "5 mm"
    assert quality_limits({"low": "7", "high": None}) == "from 7"
