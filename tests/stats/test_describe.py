import numpy as np
import pytest
from scipy import stats

from brainage_bids.stats.describe import describe_groups


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
