"""Columns of the user that are called like columns of ours, oddly or twice; tables that cannot be written."""

import csv
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brainage_bids.cli.brainage import main
from brainage_bids.group import run as group_run
from brainage_bids.group.cohort import read_cohort
from brainage_bids.group.own_columns import CORRECTION, ESTIMATE, HARMONISED, MADE_GROUP, is_own, names_apart
from brainage_bids.group.results import table
from brainage_bids.records import BadConfiguration

READ = ("participant_id", "session_id", "age", "sex", "site")
"""Of the tables, and so no further columns."""
OURS = [name for name in (*ESTIMATE, *CORRECTION, HARMONISED, MADE_GROUP, "phenotype_flags") if name not in READ]
OURS += ["vol_Brain-Stem", "qc_snr", "contrib_t1_x", "vol_mine"]
ODD = (
    "Model", "MODEL", "phenotype_model", "phenotype_pad", "brain_age_first", "brain_age_second", "dated", "carrier", "age2", "fused", "t1",
    "participants", "participants_of_rows", "self", "values", "name", "table", "Description", "scanner", "weight", "session", "C", "np",
    "<script>alert(1)</script>", "a b", "é", "100%", "{x}", "$x$", "a\\b", "a'b", "=1+1", "",
)  # fmt: skip


def rows_of(path):
    with open(path, encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream, delimiter="\t"))


def group(study, *words):
    return main([str(study.raw), str(study.out), "group", "--slow-steps", "skip", *words])


def with_columns(study, names, value):
    """The same participants.tsv with further columns."""
    people = [{**person, **{name: value(number, name) for name in names}} for number, person in enumerate(study.people)]
    study.table(study.raw / "participants.tsv", people)


@pytest.mark.parametrize("text", (False, True))
def test_columns_called_like_ours_are_kept_beside_them(study, make_study, capsys, text):
    make_study(study, n=40)
    names = [*OURS, *ODD]
    with_columns(study, names, lambda number, name: f"{'uv'[number % 2]}" if text else (number * 7 + len(name)) % 11)
    words = ("pad ~ age + C(sex) + phenotype_model", 'pad ~ Q("phenotype_qc_snr")', "pad ~ C + age", "pad ~ Q('a b') + Q('$x$')")
    assert group(study, "--formula", *words) == 0
    said = capsys.readouterr().err
    assert f"{len(OURS) + 2} column(s) of the tables have a name that this program gives" in said and "Traceback" not in said
    assert "'model' is phenotype_model_2" in (study.out / "group" / "problems.tsv").read_text()
    rows = rows_of(study.out / "group_brainage.tsv")
    assert {row["model"] for row in rows} == {"t1", "flair", "fused"} and {row["excluded"] for row in rows} == {"n/a"}
    called = names_apart(names)
    described = json.loads((study.out / "group_brainage.json").read_text())
    for number, person in enumerate(study.people):
        (row,) = [row for row in rows if row["participant_id"] == person["participant_id"] and row["model"] == "t1"]
        for name in names:
            value = row[called[name]] if text else float(row[called[name]])
            assert value == ("uv"[number % 2] if text else (number * 7 + len(name)) % 11), name
        assert float(row["pad"]) == pytest.approx(float(row["brain_age"]) - float(row["age"]), abs=2e-3)
    assert all(described[told]["Description"] == "Column of participants." for told in called.values())
    assert described["pad"]["Description"] != "Column of participants."
    assert "<script>alert" not in (study.out / "group.html").read_text()
    terms = {row["term"] for row in rows_of(study.out / "group" / "pad_models.tsv")}
    assert ("phenotype_model[T.v]" if text else "phenotype_model") in terms


def test_the_list_of_our_columns_is_whole(study, make_study):
    make_study(study, n=40)
    settings = study.settings(harmonise="both", groups=("young=age < 50", "old=age >= 50"), slow_steps="skip")
    cohort = read_cohort(settings)
    theirs = set(cohort.phenotype) - {MADE_GROUP}
    outcome = group_run.run_group(cohort, study.out)
    written = set(rows_of(study.out / "group_brainage.tsv")[0])
    columns = {*outcome.cohort.table, *outcome.cohort.everyone, *written}
    assert {*CORRECTION, HARMONISED, MADE_GROUP} <= columns
    assert [name for name in columns - theirs if not is_own(name)] == []


def test_groups_are_not_taken_from_a_column_of_ours_by_mistake(study, make_study):
    make_study(study, n=12)
    with_columns(study, ["reference"], lambda number, name: "uv"[number % 2])
    with pytest.raises(BadConfiguration, match="'reference' of the tables is called phenotype_reference here"):
        read_cohort(study.settings(group_column="reference"))
    cohort = read_cohort(study.settings(group_column="phenotype_reference"))
    assert set(cohort.table["phenotype_reference"]) == {"u", "v"} and set(cohort.table["reference"]) == {True}


NAMES = ("model", "phenotype_model", "phenotype_model_2", "pad", "", "phenotype_unnamed", "x", "Pad")


@given(st.lists(st.sampled_from(NAMES), unique=True))
def test_every_column_has_a_name_of_its_own(names):
    called = names_apart(names)
    assert list(called) == names and len(set(called.values())) == len(names)
    assert not [told for told in called.values() if is_own(told)]
    assert all(called[name] == name for name in names if not is_own(name))


@pytest.mark.parametrize("name", ("age", "reference", "session_id", "fused"))
def test_a_model_called_like_a_column_of_the_fusion_is_told(study, make_study, name):
    make_study(study, n=40, models=("t1", name))
    assert group(study) == 78
    problems = {row["part"]: row["problem"] for row in rows_of(study.out / "group" / "problems.tsv")}
    assert f"A model is called '{name}'" in problems["fusion"] and (study.out / "group.html").is_file()
    assert {row["model"] for row in rows_of(study.out / "group" / "accuracy.tsv")} == {"t1", name}


@pytest.mark.parametrize("name", ("accuracy", "no_such_table"))
def test_a_table_that_cannot_be_written_stops_no_other(study, make_study, monkeypatch, name):
    make_study(study, n=12, models=("t1",))
    monkeypatch.setitem(group_run.STEPS, "accuracy", lambda cohort: [table(name, "X", "About x.", [{"nobody_described_it": 1}])])
    assert group(study) == 70
    problems = {row["part"]: row["problem"] for row in rows_of(study.out / "group" / "problems.tsv")}
    assert "An error of brainage itself (ValueError" in problems[f"{name}.tsv"]
    assert not (study.out / "group" / f"{name}.tsv").exists()
    assert (study.out / "group" / "groups_means.tsv").is_file() and f"{name}.tsv" in (study.out / "group.html").read_text()


def test_a_table_of_everyone_that_cannot_be_written_stops_no_other(study, make_study, monkeypatch):
    make_study(study, n=12, models=("t1",))
    assert group(study) == 0

    def broken(*_):
        raise ValueError("no description")

    monkeypatch.setattr(group_run, "table_columns", broken)
    assert group(study) == 70
    assert not (study.out / "group_brainage.tsv").exists()  # that of the run before would be taken for this one's
    assert (study.out / "group.html").is_file() and (study.out / "group" / "accuracy.tsv").is_file()
