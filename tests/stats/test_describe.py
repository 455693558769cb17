import numpy as np
import pytest
from scipy import stats

from brainage_bids.records import UnusableInput
from brainage_bids.stats.describe import describe_groups
from brainage_bids.stats.partitions import balanced_parts


def test_groups_described():
    table = {"age": [20.0, 30.0, 40.0, 50.0, None], "sex": ["F", "M", "F", "F", None], "none": [None] * 5}
    rows = describe_groups(table, ["a", "a", "b", "b", "b"], variables=["age", "none"], counts=["sex"])
    age = {row["group"]: row for row in rows if row["variable"] == "age"}
    assert (age["all"]["median"], age["all"]["n"], age["all"]["missing"]) == (35.0, 4, 1)
    assert (age["b"]["minimum"], age["b"]["maximum"], age["b"]["sd"]) == (40, 50, pytest.approx(np.std([40, 50], ddof=1)))
    assert age["test"]["f"] == pytest.approx(stats.f_oneway([20, 30], [40, 50]).statistic)
    women = [row for row in rows if row.get("category") == "F"]
    assert [(row["group"], row["count"], row["percent"]) for row in women] == [("all", 3, 75.0), ("a", 1, 50.0), ("b", 2, 100.0)]
    empty = [row for row in rows if row["variable"] == "none"]
    assert all(row["note"] for row in empty)
    assert len(describe_groups(table, variables=["age"])) == 1


def cohort(n=300, seed=0):
    generator = np.random.default_rng(seed)
    project = generator.choice(["x", "y"], n, p=[0.8, 0.2])
    return np.where(project == "x", generator.uniform(20, 60, n), generator.uniform(50, 90, n)), project, [f"p{i:03d}" for i in range(n)]


def test_parts_hold_whole_people_and_are_even():
    ages, project, people = cohort()
    doubled, rows = balanced_parts(np.tile(ages, 2), np.tile(project, 2), people * 2)
    np.testing.assert_array_equal(doubled[:300], doubled[300:])
    assert np.bincount(doubled[:300]).tolist() == [30] * 10
    assert sorted(row["use"] for row in rows) == ["test"] + ["train"] * 8 + ["validation"]
    order = sorted(rows, key=lambda row: row["divergence"])
    assert [order[0]["use"], order[1]["use"]] == ["validation", "test"]


def test_divergence_by_another_way_and_dealing_beats_chance():
    ages, project, people = cohort()
    part, rows = balanced_parts(ages, project, people)
    cell = np.char.add(project.astype(str), np.digitize(ages, np.quantile(ages, np.arange(0.1, 1, 0.1))).astype(str))
    cells = [f"{name}{decile}" for name in "xy" for decile in range(10)]

    def histogram(chosen):
        return np.array([np.sum(cell[chosen] == name) for name in cells]) + 0.5

    everybody = np.ones(300, dtype=bool)
    for row in rows:
        assert row["divergence"] == pytest.approx(stats.entropy(histogram(part == row["part"]), histogram(everybody)))
    random = np.random.default_rng(3).permutation(300) % 10
    chance = np.mean([stats.entropy(histogram(random == number), histogram(everybody)) for number in range(10)])
    assert np.mean([row["divergence"] for row in rows]) < 0.7 * chance


def test_refuses_what_cannot_be_divided():
    with pytest.raises(UnusableInput, match="2 people cannot"):
        balanced_parts([20, 30], ["x", "x"], ["a", "b"])
    with pytest.raises(UnusableInput, match="needs an age"):
        balanced_parts([None] * 20, ["x"] * 20, [str(i) for i in range(20)])
