import pytest

from brainage_bids.bids.phenotype import load_phenotype
from brainage_bids.records import BadConfiguration, BadDataset


def table(*lines: str) -> str:
    return "".join(line.replace(" ", "\t") + "\n" for line in lines)


def test_people_are_joined_by_identifier_never_by_order(make_dataset):
    root = make_dataset({"participants.tsv": table("participant_id age sex site", "sub-02 22 F b", "01 11 M a")})
    phenotype = load_phenotype(root, {"sub-01": [], "sub-02": [], "sub-03": []})
    assert [(r.age, r.sex, r.site, r.flags) for r in (phenotype.record(f"sub-0{i}", None) for i in (1, 2, 3))] == [
        (11.0, "M", "a", ()),
        (22.0, "F", "b", ()),
        (None, None, None, ("age_missing",)),
    ]
    assert phenotype.problems() == ["participants.tsv has no row for 1 participant(s) (sub-03)."]


def test_units_come_from_the_json_file(make_dataset):
    root = make_dataset({"participants.tsv": table("participant_id Age", "sub-1 540"), "participants.json": {"Age": {"Units": "months"}}})
    assert load_phenotype(root, {"sub-1": []}).record("sub-1", None).age == pytest.approx(45)


def test_ages_in_unknown_units_are_left_out(make_dataset):
    root = make_dataset({"participants.tsv": table("participant_id age", "sub-1 30"), "participants.json": {"age": {"Units": "moons"}}})
    phenotype = load_phenotype(root, {"sub-1": []})
    assert phenotype.record("sub-1", None).flags == ("age_missing",) and "unit" in phenotype.problems()[0]


@pytest.mark.parametrize("name", ["age_months", "Age(years)", "ScanAge", "interview_age", "AGE_Y"])
def test_ages_under_another_name_are_told(make_dataset, name):
    root = make_dataset({"participants.tsv": table(f"participant_id {name} stage agent", "sub-1 540 2 x")})
    phenotype = load_phenotype(root, {"sub-1": []})
    assert phenotype.record("sub-1", None).flags == ("age_missing",)
    said = f"participants.tsv has no column 'age', and '{name}' is not taken for it; call it age, and say its Units in the JSON file."
    assert phenotype.problems() == [said]


def test_odd_ages_are_missing_and_told_together(make_dataset):
    rows = [f"sub-{i} {age}" for i, age in enumerate(["12-15", "89+", "n/a", "200", "x", "30"])]
    phenotype = load_phenotype(make_dataset({"participants.tsv": table("participant_id age", *rows)}), {f"sub-{i}": [] for i in range(6)})
    records = [phenotype.record(f"sub-{i}", None) for i in range(6)]
    assert [record.age for record in records] == [None, 89.0, None, None, None, 30.0]
    assert [record.flags for record in records] == [
        ("age_missing",),
        ("age_censored",),
        ("age_missing",),
        ("age_missing",),
        ("age_missing",),
        (),
    ]
    assert len(phenotype.problems()) == 2 and "2 value(s)" in phenotype.problems()[0] and "'12-15' of sub-0" in phenotype.problems()[0]


SESSIONS = {"sub-1": ["ses-1", "ses-2", "ses-10"]}


def flags_and_ages(phenotype, person="sub-1"):
    return {session: (phenotype.record(person, session).age, phenotype.record(person, session).flags) for session in SESSIONS[person]}


def test_each_session_has_its_age(make_dataset):
    root = make_dataset(
        {
            "participants.tsv": table("participant_id age", "sub-1 30"),
            "sub-1/sub-1_sessions.tsv": table("session_id age", "ses-1 30.1", "2 31.5", "ses-10 n/a"),
        }
    )
    assert flags_and_ages(load_phenotype(root, SESSIONS)) == {
        "ses-1": (30.1, ()),
        "ses-2": (31.5, ()),
        "ses-10": (30.0, ("age_not_per_session",)),
    }


def test_the_first_session_is_the_one_with_the_lowest_number(make_dataset):
    root = make_dataset({"participants.tsv": table("participant_id age", "sub-1 89+")})
    found = flags_and_ages(load_phenotype(root, {"sub-1": sorted(SESSIONS["sub-1"])}))
    assert {session: flags for session, (_, flags) in found.items()} == {
        "ses-1": ("age_censored",),
        "ses-2": ("age_censored", "age_not_per_session"),
        "ses-10": ("age_censored", "age_not_per_session"),
    }


@pytest.mark.parametrize(
    ("rows", "first"),
    [
        (None, None),
        (("session_id acq_time", "ses-post 2020-05-01", "ses-pre 2019-01-01"), "ses-pre"),
        (("session_id pain", "ses-pre 3", "ses-post 1"), "ses-pre"),
        (("session_id pain", "ses-pre 3"), None),
    ],
)
def test_sessions_without_numbers_are_ordered_by_their_table(make_dataset, rows, first):
    content = {"participants.tsv": table("participant_id age", "sub-1 30")}
    if rows:
        content["sub-1/sub-1_sessions.tsv"] = table(*rows)
    phenotype = load_phenotype(make_dataset(content), {"sub-1": ["ses-post", "ses-pre"]})
    unflagged = [session for session in ("ses-post", "ses-pre") if not phenotype.record("sub-1", session).flags]
    assert unflagged == ([first] if first else [])


def test_a_single_session_takes_the_age_of_the_person(make_dataset):
    root = make_dataset({"participants.tsv": table("participant_id age", "sub-1 30")})
    assert load_phenotype(root, {"sub-1": ["ses-x"]}).record("sub-1", "ses-x").flags == ()


def test_participants_may_be_listed_per_session(make_dataset):
    root = make_dataset({"participants.tsv": table("participant_id session_id age sex", "sub-1 ses-1 30 m", "sub-1 ses-2 32 m")})
    phenotype = load_phenotype(root, {"sub-1": ["ses-1", "ses-2"]})
    assert [(r.age, r.sex, r.flags) for r in (phenotype.record("sub-1", s) for s in ("ses-1", "ses-2"))] == [(30, "M", ()), (32, "M", ())]


def test_tables_of_the_user_come_first_and_instruments_last(make_dataset):
    root = make_dataset(
        {
            "participants.tsv": table("participant_id age", "sub-1 30", "sub-2 40", "sub-3 n/a"),
            "phenotype/demo.tsv": table("participant_id age sex", "sub-1 1 F", "sub-2 2 M", "sub-3 25 M"),
            "phenotype/long.tsv": table("participant_id item", "sub-1 a", "sub-1 b"),
            "phenotype/other.tsv": table("subject item", "1 a"),
            "extra table.tsv": table("participant_id age", "sub-2 41"),
        }
    )
    phenotype = load_phenotype(root, {f"sub-{i}": [] for i in (1, 2, 3)}, [root / "extra table.tsv"])
    records = [phenotype.record(f"sub-{i}", None) for i in (1, 2, 3)]
    assert [(r.age, r.sex) for r in records] == [(30.0, "F"), (41.0, "M"), (25.0, "M")]
    assert [problem.split()[0] for problem in phenotype.problems()] == ["phenotype/long.tsv", "phenotype/other.tsv"]


def test_rows_that_contradict_each_other_are_an_error(make_dataset):
    root = make_dataset({"participants.tsv": table("participant_id age", "sub-1 30", "1 31", "sub-2 1", "sub-2 1")})
    with pytest.raises(BadDataset, match="participants.tsv has more than one row for sub-1; keep one"):
        load_phenotype(root, {"sub-1": [], "sub-2": []})
    assert load_phenotype(root, {"sub-3": []}).record("sub-3", None).age is None


def test_codes_of_sex_without_levels_are_named(make_dataset):
    content = {"participants.tsv": table("participant_id sex", "sub-1 1", "sub-2 2", "sub-3 n/a")}
    people = {f"sub-{i}": [] for i in (1, 2, 3)}
    with pytest.raises(BadDataset, match="codes 'sex' as 1, 2 "):
        load_phenotype(make_dataset(content, folder="a"), people)
    content["participants.json"] = {"sex": {"Levels": {"1": "male", "2": "female"}}}
    phenotype = load_phenotype(make_dataset(content, folder="b"), people)
    assert [phenotype.record(person, None).sex for person in people] == ["M", "F", None]
    content["participants.json"] = {"sex": {"Levels": {"1": "male"}}}
    with pytest.raises(BadDataset, match="as 2 "):
        load_phenotype(make_dataset(content, folder="c"), people)


def test_words_for_sex_that_are_not_known_are_missing(make_dataset):
    root = make_dataset({"participants.tsv": table("participant_id gender", "sub-1 ♀", "sub-2 other")})
    phenotype = load_phenotype(root, {"sub-1": [], "sub-2": []})
    assert [phenotype.record(f"sub-{i}", None).sex for i in (1, 2)] == [None, None]
    assert len(phenotype.problems()) == 1 and "'♀' of sub-1" in phenotype.problems()[0]


def test_datasets_without_tables_have_no_ages(make_dataset):
    phenotype = load_phenotype(make_dataset({}), {"sub-1": ["ses-1"]})
    assert phenotype.record("sub-1", "ses-1").flags == ("age_missing",) and "no participants.tsv" in phenotype.problems()[0]


@pytest.mark.parametrize("content", ["", "participant\tage\nsub-1\t3\n", "participant_id age\nsub-1 3\n", "\x00\x01\n"])
def test_tables_that_make_no_sense_are_problems(make_dataset, content):
    root = make_dataset({"participants.tsv": content})
    phenotype = load_phenotype(root, {"sub-1": []})
    assert phenotype.record("sub-1", None).age is None and "participant_id" in phenotype.problems()[-1]
    with pytest.raises(BadConfiguration, match=r"participants\.tsv cannot be used"):
        load_phenotype(None, {"sub-1": []}, [root / "participants.tsv"])


def test_a_table_that_is_a_folder_is_a_problem(make_dataset):
    root = make_dataset({"participants.tsv/x": None})
    assert "cannot be read" in load_phenotype(root, {"sub-1": []}).problems()[0]
    with pytest.raises(BadConfiguration, match="nothing.tsv cannot be read"):
        load_phenotype(None, {"sub-1": []}, [root / "nothing.tsv"])


def test_a_table_alone_is_enough(make_dataset):
    root = make_dataset({"people.tsv": table("participant_id session_id age sex", "1 1 30 M", "1 n/a 20 M")})
    phenotype = load_phenotype(None, {"sub-1": ["ses-1", "ses-2"]}, [root / "people.tsv"])
    assert phenotype.record("sub-1", "ses-1").age == 30
    assert (phenotype.record("sub-1", "ses-2").age, phenotype.record("sub-1", "ses-2").flags) == (20, ("age_not_per_session",))
    assert phenotype.problems() == []


def told(root, name="participants"):
    return [problem for problem in load_phenotype(root, {"sub-01": ["ses-01", "ses-02"]}).problems() if problem.startswith((name, "sub-X"))]


def test_visits_named_otherwise_are_joined_and_told(make_dataset):
    people = {"sub-01": ["ses-01", "ses-02"]}
    rows = table("session_id age", "1 30", "V2 35")
    root = make_dataset({"participants.tsv": table("participant_id age", "1 30"), "sub-01/sub-01_sessions.tsv": rows})
    phenotype = load_phenotype(root, people)
    assert [(r.age, r.flags) for r in (phenotype.record("sub-01", visit) for visit in people["sub-01"])] == [(30, ()), (35, ())]
    assert len(told(root)) == 2 and "(sub-1 for sub-01)" in told(root)[0] and "(ses-1 for ses-01, ses-V2 for ses-02)" in told(root)[1]


def test_visits_of_another_name_are_told_and_not_guessed(make_dataset):
    root = make_dataset({"participants.tsv": table("participant_id session_id age", "sub-01 baseline 30", "sub-01 later 35")})
    phenotype = load_phenotype(root, {"sub-01": ["ses-01", "ses-02"]})
    assert phenotype.record("sub-01", "ses-01").flags == ("age_missing",)
    assert "fit no session on disk (sub-01 has ses-baseline, ses-later in it, the dataset has ses-01, ses-02)" in told(root)[0]


def test_a_table_of_nobody_is_named(make_dataset):
    content = {"participants.tsv": table("participant_id age", "sub-01 30"), "phenotype/blood.tsv": table("participant_id x", "A7 1")}
    (sentence,) = told(make_dataset(content), "phenotype")
    assert sentence == "phenotype/blood.tsv has a row for none of the 1 participant(s) (it has sub-A7; the dataset sub-01)."


@pytest.mark.parametrize("words", [{"Levels": {"99": "missing"}}, {"MissingValues": [99]}, {"Description": "Years (99 = not known)"}])
def test_codes_that_the_json_declares_missing_are(make_dataset, words):
    root = make_dataset({"participants.tsv": table("participant_id age", "sub-1 99.0", "sub-2 30"), "participants.json": {"age": words}})
    phenotype = load_phenotype(root, {"sub-1": [], "sub-2": []})
    assert [phenotype.record(f"sub-{i}", None).age for i in (1, 2)] == [None, 30] and phenotype.problems() == []


def test_ages_with_a_decimal_comma(make_dataset):
    root = make_dataset({"participants.tsv": table("participant_id age", "sub-1 38,5", "sub-2 40")})
    phenotype = load_phenotype(root, {"sub-1": [], "sub-2": []})
    assert [phenotype.record(f"sub-{i}", None).age for i in (1, 2)] == [38.5, 40] and phenotype.problems() == []


def test_a_site_may_be_called_na(make_dataset):
    root = make_dataset({"participants.tsv": table("participant_id age site", "sub-1 30 NA", "sub-2 31 MI", "sub-3 32 n/a")})
    phenotype = load_phenotype(root, {f"sub-{i}": [] for i in (1, 2, 3)})
    assert [phenotype.record(f"sub-{i}", None).site for i in (1, 2, 3)] == ["NA", "MI", None]
    assert "1 value(s) 'NA'" in phenotype.problems()[0]
