import numpy as np
import pytest

from brainage_bids.reports.scatter import scatter_cv, summary_lines


def test_the_same_input_gives_the_same_bytes(tmp_path):
    ages, predictions = [20.0, 30.0, 41.0], [25.0, 30.0, 35.0]
    for kind in ("png", "svg"):
        one = scatter_cv(ages, predictions, tmp_path / f"1.{kind}", groups=["a", "b", "a"], p_value=0.2).read_bytes()
        assert one == scatter_cv(ages, predictions, tmp_path / f"2.{kind}", groups=["a", "b", "a"], p_value=0.2).read_bytes()
        assert one != scatter_cv(ages, predictions[::-1], tmp_path / f"3.{kind}", groups=["a", "b", "a"], p_value=0.2).read_bytes()


def test_errors_are_those_of_the_points():
    """|5| + |0| + |−5| over 3; ages and predictions on one line have r = 1."""
    lines = summary_lines([20.0, 30.0, 40.0], [25.0, 30.0, 35.0], (1.0, 5.0), (0.9, 1.0), 6.6667, 0.04)
    assert lines == [
        "MAE 3.33 years (95 % CI 1.00 to 5.00)",
        "r 1.00 (95 % CI 0.90 to 1.00)",
        "guessing the mean age: MAE 6.67 years",
        "model against guess: p = 0.04",
        "n = 3",
    ]


def test_the_line_of_the_guess_is_the_guess(tmp_path):
    """The people held out are 30 on average, those in training were 50."""
    ages, predictions = [20.0, 30.0, 40.0], [25.0, 45.0, 35.0]
    pictures = [scatter_cv(ages, predictions, tmp_path / "a.png", guess=guess).read_bytes() for guess in (None, 30.0, 50.0)]
    assert pictures[0] == pictures[1] != pictures[2]


def test_constant_predictions_have_no_correlation():
    assert not [line for line in summary_lines([20.0, 30.0], [25.0, 25.0]) if line.startswith("r ")]


@pytest.mark.parametrize(
    ("ages", "predictions", "groups"),
    [([1.0, 2.0], [1.0], None), ([1.0], [1.0], None), ([1.0, np.nan], [1.0, 2.0], None), ([1.0, 2.0], [1.0, 2.0], ["a"])],
)
def test_input_that_does_not_fit_is_refused(tmp_path, ages, predictions, groups):
    with pytest.raises(ValueError, match="A scatter needs"):
        scatter_cv(ages, predictions, tmp_path / "a.png", groups=groups)
    assert not list(tmp_path.iterdir())
