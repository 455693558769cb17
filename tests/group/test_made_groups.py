import pytest

from brainage_bids.group.cohort import read_cohort
from brainage_bids.group.groups import compared_groups
from brainage_bids.group.made_groups import made_groups
from brainage_bids.records import BadConfiguration

TABLE = {"participant_id": list("aabbccddee"), "session_id": ["1", "2"] * 5, "age": [60, 64] * 5}


def test_the_first_query_that_holds_counts_and_overlap_is_told():
    groups, said = made_groups(["a=age < 50", "b=age < 70"], {"age": [40, 60, 80, None]}, 4)
    assert groups == ["a", "b", None, None] and "1 row(s) fulfil the queries of two groups" in said[0]


@pytest.mark.parametrize("wanted", (["age > 3"], ["a"], ["=age > 3"], ["a="], ["a=nope > 1"], ["a=age > 1000"], ["age == 3"]))
def test_what_is_no_group_is_refused(wanted):
    with pytest.raises(BadConfiguration, match="--groups"):
        made_groups(wanted, {"age": [40, 60]}, 2)


def test_courses_of_the_dementia_rating_give_the_four_groups():
    table = {**TABLE, "CDR": [0, 0, 0.5, 0.5, 0.5, 1, 1, 2, 0, 0.5]}
    groups, said = made_groups(["cdr"], table, 10)
    assert groups == ["HC", "HC", "sMCI", "sMCI", "pMCI", "pMCI", "AD", "AD", None, None] and said[0].startswith("1 participant(s)")


def test_one_rating_tells_dementia_only():
    table = {"participant_id": ["a", "b"], "session_id": [None, None], "age": [60, 70], "cdr": [0, 1]}
    assert made_groups(["cdr"], table, 2)[0] == [None, "AD"]


def test_without_a_rating_the_columns_are_named():
    with pytest.raises(BadConfiguration, match="Clinical Dementia Rating"):
        made_groups(["cdr"], TABLE, 10)


def test_made_groups_are_compared(study):
    for number in range(20):
        study.add(f"sub-{number:02d}", (20.0 + 3 * number, {"m": 25.0 + 3 * number + number % 3}))
    study.finish()
    cohort = read_cohort(study.settings(groups=("old=age > 60", "young=age < 40")))
    (row,) = [row for row in next(r for r in compared_groups(cohort) if r.name == "groups_means").rows if row["variable"] == "pad"]
    assert (row["first"], row["second"], row["n_first"], row["n_second"]) == ("old", "young", 6, 7)


def test_ratings_that_are_no_numbers_are_refused():
    table = {"participant_id": ["a", "b"], "session_id": [None, None], "age": [60, 70], "cdr": ["0", "mild"]}
    with pytest.raises(BadConfiguration, match="needs ratings that are numbers.*'cdr'"):
        made_groups(["cdr"], table, 2)
