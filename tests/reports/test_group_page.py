"""The page of a group from results that are made up: what is shown, what is escaped, what is left out."""

import re

import numpy as np
import pytest
from matplotlib.figure import Figure

from brainage_bids.reports.group_content import GroupView, ResultView
from brainage_bids.reports.group_figures import (
    MOST_CELLS,
    MOST_POINTS,
    coverage,
    draw,
    gap_by_group,
    heat_map,
    predicted_against_age,
    scatters,
)
from brainage_bids.reports.group_methods import methods_of
from brainage_bids.reports.group_page import write_group_page
from brainage_bids.reports.group_parts import MOST_ROWS, table_part

HOSTILE = "<script>alert(1)</script><img src=http://evil.example/x.png>&\"'{{7*7}}"


def view(n=20, *, group="a", results=(), **more):
    random = np.random.default_rng(1)
    ages = random.uniform(20, 80, n)
    people = {"age": ages.tolist(), "brain_age": (ages + random.normal(0, 4, n)).tolist(), "pad": random.normal(0, 4, n).tolist()}
    people["group"] = [group if number % 2 else "b" for number in range(n)]
    tables = {name: ResultView(name, f"Title of {name}", "About.", rows) for name, rows in results}
    return GroupView(("m",), people, [], tables, [("Participants", str(n))], **more)


def means(name):
    row = {"model": "m", "variable": "pad", "first": name, "second": "b", "difference": 1.5, "p": 1e-9, "p_corrected": None, "n": 20}
    return [{**row, "method": "Welch", "assumptions": "x", "correction": "none", "note": ""}]


def test_text_of_data_is_escaped_everywhere(tmp_path):
    results = [("groups_means", means(HOSTILE)), ("problems", [{"part": HOSTILE, "problem": HOSTILE}])]
    shown = view(group=HOSTILE, results=results, warnings=[HOSTILE], problems=[(HOSTILE, HOSTILE)], settings={"reference": HOSTILE})
    text = write_group_page(shown, tmp_path, version="1", run_settings=f'reference = "{HOSTILE}"').read_text(encoding="utf-8")
    assert "<script" not in text and "<img" not in text and "alert(1)" in text and "{{7*7}}" in text


@pytest.mark.parametrize(("alternative", "told"), (("two-sided", False), ("greater", True), ("less", True)))
def test_the_methods_say_which_tests_are_one_sided(alternative, told):
    shown = view(results=[("groups_means", means("a"))], settings={"alternative": alternative})
    text = methods_of(shown, "1").markdown
    assert (f"one-sided ({alternative})" in text) == told and text.count("one-sided") == told


def test_sections_without_content_are_left_out(tmp_path):
    text = write_group_page(view(results=[("groups_means", means("a"))]), tmp_path, version="1").read_text(encoding="utf-8")
    headings = re.findall(r"<h2>([^<]*)</h2>", text)
    assert headings == ["Accuracy", "Groups", "Methods", "This run"] and "Mediation" not in text


def test_a_cohort_without_ages_still_gets_a_page(tmp_path):
    shown = GroupView(("m",), {"age": [], "brain_age": [], "pad": []}, [], {}, [("Participants", "0")], warnings=["No ages."])
    text = write_group_page(shown, tmp_path, version="1").read_text(encoding="utf-8")
    assert "No ages." in text and "<svg" not in text


@pytest.mark.parametrize("n", (MOST_ROWS, 5000))
def test_long_tables_are_cut_to_the_smallest_p_and_say_so(n):
    rows = [{"second": f"x{number}", "p": 1 - number / n, "note": "", "correction": "none"} for number in range(n)]
    (part,) = table_part(view(results=[("associations", rows)]), "associations", by="p")
    assert len(part["rows"]) == MOST_ROWS and part["total"] == n
    assert part["rows"][0][0] == ("x0" if n == MOST_ROWS else f"x{n - 1}") and part["heads"] == ["second", "p"]


def test_many_points_become_a_picture_so_that_the_page_stays_small(tmp_path):
    few, many = (draw("x", "t", lambda figure, n=n: predicted_against_age(view(n), figure)) for n in (200, MOST_POINTS + 3000))
    assert "data:image/png;base64" in many and "data:image/png" not in few and len(many) < 600_000


def test_the_same_picture_is_the_same_text_and_identifiers_differ_between_pictures():
    one, again, other = (draw(name, "t", lambda figure: gap_by_group(view(), figure)) for name in ("one", "one", "other"))
    identifiers = [set(re.findall(r'clipPath id="([^"]+)"', text)) for text in (one, other)]
    assert one == again and identifiers[0] and not identifiers[0] & identifiers[1]
    assert one.startswith("<svg") and "<metadata" not in one and 'role="img"' in one and "<title>t</title>" in one


def test_the_heat_map_marks_what_is_left_after_correction():
    pairs = [("a", "b", 0.9, 0.001), ("a", "c", 0.5, 0.2), ("b", "c", 0.3, None)]
    rows = [{"first": one, "second": other, "r": r, "p": 0.01, "p_corrected": p} for one, other, r, p in pairs]
    text = draw("x", "t", lambda figure: heat_map(rows, figure, ["a", "b", "c"]))
    assert text.count(">0.9<") == 2 and ">0.5<" not in text and text.count(">0.3<") == 2  # without a correction the p itself counts


@pytest.mark.parametrize("size", (2, 3, 25, 60))
def test_the_heat_map_marks_only_what_is_below_5_percent_at_any_size(size):
    """Cells of pairs that are not below .05 stay blank, whatever the number of columns; the others are coloured."""
    names = [f"x{number}" for number in range(size)]
    rows = [
        {"first": one, "second": other, "r": 0.9, "p": 0.001, "p_corrected": 0.01 if (place + after) % 2 else 0.2}
        for place, one in enumerate(names)
        for after, other in enumerate(names[place + 1 :], start=place + 1)
    ]
    figure = Figure()
    heat_map(rows, figure, names)
    shown = figure.axes[0].images[0].get_array()
    marked = np.isfinite(np.ma.filled(shown, np.nan))
    expected = np.add.outer(np.arange(size), np.arange(size)) % 2 == 1
    assert (marked == expected).all() and (len(figure.axes[0].texts) > 0) == (size <= 20)


def test_a_heat_map_of_more_columns_than_are_drawn_says_so(tmp_path):
    names = [f"x{number}" for number in range(MOST_CELLS + 5)]
    rows = [{"first": "x0", "second": name, "r": 0.5, "p": 0.01, "p_corrected": 0.02, "covariates": "group"} for name in names[1:]]
    text = write_group_page(view(results=[("correlations", rows)]), tmp_path, version="1").read_text(encoding="utf-8")
    assert f"beyond group; blank where the corrected p is .05 or more; the first {MOST_CELLS} of {MOST_CELLS + 5} columns." in text


def test_outliers_are_hollow_in_the_scatter_and_the_correlations_of_both_stand_above():
    shown = view(measures={"nfl": [*np.linspace(1, 2, 18), 90.0, None]})
    row = {"first": "pad", "second": "nfl", "r": 0.5, "outliers": 1, "r_without_outliers": 0.1}
    figure = Figure()
    scatters(shown, [row], figure)
    (axes,) = figure.axes
    hollow = [line for line in axes.lines if line.get_markerfacecolor() == "none"]
    assert sum(line.get_xdata().size for line in hollow) == 1 and max(line.get_xdata().max(initial=0) for line in hollow) == 90
    assert sum(line.get_xdata().size for line in axes.lines) == 19
    assert axes.get_title() == "nfl\nr 0.50, 0.10 without 1 outlier(s)"


def test_the_coverage_is_drawn_by_true_age_and_hollow_outside_its_band():
    about = {"model": "m", "expected_low": 0.9, "expected_high": 1.0, "level": 0.95}
    rows = [
        {**about, "interval": kind, "by": by, "stratum": stratum, "coverage": share, "within_band": share >= 0.9}
        for kind in ("across ages, held out", "conformal, held out")
        for by, stratum, share in (
            ("all", "all", 0.95),
            ("age", "[20, 30)", 0.8),
            ("age", "[30, 40)", 0.96),
            ("predicted", "[20, 30)", 0.1),
        )
    ]
    figure = Figure()
    coverage(view(results=[("coverage", rows)]), figure)
    (axes,) = figure.axes
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["all", "[20, 30)", "[30, 40)"]
    points = [line for line in axes.lines if line.get_marker() == "o" and len(line.get_ydata())]
    assert sorted(line.get_ydata()[0] for line in points if line.get_markerfacecolor() == "white") == [0.8, 0.8] and len(points) == 6
