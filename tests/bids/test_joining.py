import pytest

from brainage_bids.bids.joining import join_keys, pair, plain_person, plain_visit


@pytest.mark.parametrize(
    ("table", "folder"),
    [("ses-1", "ses-01"), ("ses-V1", "ses-1"), ("ses-baseline", "ses-bl"), ("ses-Follow-up", "ses-fu"), ("ses-visit_2", "ses-02"),
     ("ses-1.0", "ses-1"), ("ses-BL", "ses-bl"), ("ses-2019-01-02", "ses-20190102"), ("ses-month12", "ses-m12"),
     ("ses-12 months", "ses-M12"), ("ses-year1", "ses-y01")],
)  # fmt: skip
def test_names_of_one_visit(table, folder):
    assert pair([table], [folder, "ses-99"], plain_visit) == ({table: folder}, {})


@pytest.mark.parametrize(("table", "folder"), [("ses-baseline", "ses-01"), ("ses-m06", "ses-6"), ("ses-10", "ses-1")])
def test_names_of_two_visits(table, folder):
    assert pair([table], [folder], plain_visit) == ({}, {})


@pytest.mark.parametrize(
    ("table", "folder"), [("sub-1", "sub-01"), ("sub-1", "sub-001"), ("sub-1.0", "sub-01"), ("sub-NDAR_INV01", "sub-NDARINV01")]
)
def test_names_of_one_person(table, folder):
    assert pair([table], [folder, "sub-99"], plain_person) == ({table: folder}, {})


def test_what_is_not_certain_is_not_joined():
    assert pair(["sub-1"], ["sub-01", "sub-001"], plain_person) == ({}, {"sub-1": ["sub-01", "sub-001"]})
    joined, unclear = pair(["sub-01", "sub-1"], ["sub-01"], plain_person)
    assert joined == {} and list(unclear) == ["sub-1"]


def test_all_people_on_disk_count_not_only_those_asked_for():
    keys, renamed = join_keys([("sub-1", None)], {"sub-01": []}, ["sub-01", "sub-001"])
    assert keys == [("sub-1", None)] and "may be more than one participant's" in renamed.sentences("t.tsv")[0]


def test_visits_without_partner_are_told_only_if_a_session_lacks_one_too():
    keys, renamed = join_keys([("sub-1", "ses-1"), ("sub-1", "ses-9")], {"sub-1": ["ses-1"]}, ["sub-1"])
    assert keys == [("sub-1", "ses-1"), ("sub-1", "ses-9")] and renamed.sentences("t.tsv") == []
    _, renamed = join_keys([("sub-1", "ses-a"), ("sub-1", "ses-b")], {"sub-1": ["ses-1"]}, ["sub-1"])
    assert "fit no session on disk (sub-1 has ses-a, ses-b in it, the dataset has ses-1)" in renamed.sentences("t.tsv")[0]


def test_numbers_that_may_count_from_elsewhere_are_not_joined():
    keys, renamed = join_keys([("sub-1", "ses-0"), ("sub-1", "ses-1")], {"sub-1": ["ses-01", "ses-02"]}, ["sub-1"])
    assert keys == [("sub-1", "ses-0"), ("sub-1", "ses-1")] and not renamed.visits
    assert "sub-1 has ses-0, ses-1 in it, the dataset has ses-01, ses-02" in renamed.sentences("t.tsv")[0]


def test_a_visit_in_a_dataset_without_sessions():
    keys, renamed = join_keys([("sub-1", "ses-1"), ("sub-2", "ses-1")], {"sub-1": [], "sub-2": []}, ["sub-1", "sub-2"])
    assert keys == [("sub-1", None), ("sub-2", None)] and renamed.whole == ["sub-1", "sub-2"]
    keys, renamed = join_keys([("sub-1", "ses-1"), ("sub-1", "ses-2")], {"sub-1": []}, ["sub-1"])
    assert keys[0] == ("sub-1", "ses-1") and "has no session folders" in renamed.sentences("t.tsv")[0]
