"""Bad input by the command line: one clear sentence, what can still be done is done, and the exit code says which it was."""

import csv
import os
import shutil

import numpy as np
import pytest

from brainage_bids.bids.sink import sink_text
from brainage_bids.cli.brainage import main

QUICK = ("--slow-steps", "skip")


def rows_of(path):
    with open(path, encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream, delimiter="\t"))


def rewrite(path, change):
    rows = change(rows_of(path))
    names = list(dict.fromkeys(name for row in rows for name in row))
    lines = ["\t".join(names), *("\t".join(row.get(name, "n/a") for name in names) for row in rows)]
    sink_text("\n".join(lines) + "\n", path)


def estimates(study, change, *people):
    for path in sorted(study.out.glob("sub-*/**/*_brainage.tsv")):
        if not people or path.name.split("_")[0] in people:
            rewrite(path, change)


@pytest.fixture(scope="module")
def made(study_at, make_study, tmp_path_factory):
    return make_study(study_at(tmp_path_factory.mktemp("made")), n=40, sessions=("ses-1", "ses-2"))


@pytest.fixture
def copy(made, study_at, tmp_path):
    study = study_at(tmp_path / "copy")
    shutil.copytree(made.root, study.root)
    return study


@pytest.fixture
def ran(capsys):
    def run(study, *words):
        code = main([str(study.raw), str(study.out), "group", *QUICK, *words])
        path = study.out / "group" / "problems.tsv"
        problems = " ".join(row["problem"] for row in rows_of(path)) if path.is_file() else ""
        said = capsys.readouterr().err
        assert "Traceback" not in said and "Warning:" not in said and "An error of brainage itself" not in problems
        return code, said, problems

    return run


def done(study, *names):
    return (study.out / "group.html").is_file() and all((study.out / "group" / f"{name}.tsv").is_file() for name in names)


def test_no_ages(copy, ran):
    rewrite(copy.raw / "participants.tsv", lambda rows: [{**row, "age": "n/a"} for row in rows])
    for path in copy.raw.glob("sub-*/*_sessions.tsv"):
        path.unlink()
    estimates(copy, lambda rows: [{**row, "age": "n/a", "pad": "n/a"} for row in rows])
    code, said, _ = ran(copy)
    assert code == 1 and "give ages in participants.tsv, sessions.tsv or --phenotype" in said and done(copy)


def test_one_group(copy, ran):
    rewrite(copy.raw / "participants.tsv", lambda rows: [{**row, "group": "control"} for row in rows])
    code, _, problems = ran(copy)
    assert code == 0 and "has 1 group(s) (control); two are needed" in problems and done(copy, "accuracy", "age_bias", "associations")


@pytest.mark.parametrize("n", (1, 2))
def test_one_and_two_participants(copy, ran, n):
    names = [row["participant_id"] for row in rows_of(copy.raw / "participants.tsv")]
    code, _, problems = ran(copy, "--participant-label", *names[:n])
    assert code == 0 and f"there are {n}." in problems and done(copy, "accuracy", "participants_flow")
    assert "of flair, t1: The bias correction 'linear' needs 3 reference rows" in problems  # one sentence for all models


def test_constant_columns(copy, ran):
    rewrite(copy.raw / "participants.tsv", lambda rows: [{**row, "sex": "F", "site": "a", "weight": "70"} for row in rows])
    rewrite(copy.raw / "phenotype" / "blood.tsv", lambda rows: [{**row, "nfl": "1", "noise": "2"} for row in rows])
    code, _, problems = ran(copy, "--harmonise", "both")
    assert code == 0 and "two sites" in problems and "no further column that varies" in problems and done(copy, "groups_means", "fusion")


def test_all_missing_columns(copy, ran):
    rewrite(copy.raw / "participants.tsv", lambda rows: [{**row, "sex": "n/a", "site": "n/a", "bmi": "n/a"} for row in rows])
    rewrite(copy.raw / "phenotype" / "blood.tsv", lambda rows: [{**row, "nfl": "n/a", "noise": "n/a"} for row in rows])
    code, _, problems = ran(copy)
    assert code == 0 and "no further column that varies" in problems and done(copy, "groups_means", "fusion", "pad_models")


def test_an_identifier_with_two_different_rows(copy, ran):
    rewrite(copy.raw / "participants.tsv", lambda rows: [*rows, {**rows[0], "age": "33"}])
    code, said, _ = ran(copy)
    assert code == 65 and "more than one row for sub-000" in said


def test_an_identifier_with_the_same_row_twice(copy, ran):
    rewrite(copy.raw / "participants.tsv", lambda rows: [*rows, rows[0]])
    code, said, problems = ran(copy)
    assert code == 0 and "the same row twice for sub-000; it counts once" in said and "it counts once" in problems


def test_repeated_estimates_and_mixed_hashes(copy, ran):
    estimates(copy, lambda rows: [*rows, *rows], "sub-001")
    estimates(copy, lambda rows: [{**row, "model_sha256": "c" * 64} for row in rows], "sub-002", "sub-003")
    code, said, _ = ran(copy)
    assert code == 0 and "4 row(s) repeat a participant" in said and "2 different weights: 76 rows have aaaaaaaa" in said
    left_out = {row["excluded"] for row in rows_of(copy.out / "group_brainage.tsv") if row["participant_id"] == "sub-002"}
    assert left_out == {"model_sha256"} and done(copy, "accuracy")


def test_outputs_of_different_versions(copy, ran):
    estimates(copy, lambda rows: [{name: row[name] for name in row if name != "sd_within"} for row in rows], "sub-001")
    code, said, problems = ran(copy)
    assert code == 0 and "2 table(s) of brain age have other columns than this version writes" in problems and problems.split()[0] in said


def test_formulas_that_cannot_be_used_are_all_told_and_the_others_fitted(copy, ran):
    code, said, problems = ran(copy, "--formula", "pad ~ age + nope", "pad ~ nfl*1e400", "pad ~ nfl")
    assert code == 78 and "names 'nope', which is no column" in said and "'pad ~ nfl*1e400' cannot be read" in problems
    assert {row["formula"] for row in rows_of(copy.out / "group" / "pad_models.tsv")} == {"pad ~ nfl"} and done(copy, "accuracy")


def test_sessions_without_dates(copy, ran):
    for path in copy.raw.glob("sub-*/*_sessions.tsv"):
        path.unlink()
    estimates(copy, lambda rows: [{**row, "flags": "age_not_per_session"} for row in rows])
    code, said, problems = ran(copy)
    assert code == 0 and "no age of their own" in said and "no change per year" in problems
    assert {row["pairs"] for row in rows_of(copy.out / "group" / "reliability.tsv")} >= {"visits without an age of their own"}


def test_a_model_without_any_number_is_left_to_the_side(copy, ran):
    estimates(copy, lambda rows: [{**row, "brain_age": "n/a"} if row["model"] == "flair" else row for row in rows])
    code, said, _ = ran(copy)
    assert code == 0 and "No estimate of flair takes part" in said
    assert {row["model"] for row in rows_of(copy.out / "group" / "accuracy.tsv")} == {"t1"} and done(copy, "groups_means")


@pytest.mark.parametrize("value", ("1e9", "inf", "-4000"))
def test_numbers_that_are_no_ages_take_no_part(copy, ran, value):
    estimates(copy, lambda rows: [{**row, "brain_age": value} for row in rows], "sub-001", "sub-002")
    code, said, _ = ran(copy)
    assert code == 0 and "8 estimate(s) have" in said and "take no part (sub-001, sub-002)" in said
    errors = [float(row["mae"]) for row in rows_of(copy.out / "group" / "accuracy.tsv") if row["by"] == "all"]
    assert max(errors) < 20


def test_tables_that_are_cut_or_hold_text(copy, ran):
    path = copy.path("brainage", "sub-001", "ses-1")
    sink_text(path.read_text(encoding="utf-8")[:40], path)
    estimates(copy, lambda rows: [{**row, "brain_age": "old"} for row in rows], "sub-002")
    code, said, problems = ran(copy)
    assert code == 0 and "1 table(s) of brain age have no row (sub-001_ses-1_brainage.tsv)" in problems and "cannot be read" in said


def test_a_slip_of_typing_in_a_column_of_numbers(copy, ran):
    rewrite(copy.raw / "phenotype" / "blood.tsv", lambda rows: [{**row, "nfl": "1O.5" if row is rows[0] else row["nfl"]} for row in rows])
    code, said, _ = ran(copy)
    assert code == 0 and "The column 'nfl' has 2 value(s) that are no number ('1O.5')" in said
    assert "nfl" in {row["second"] for row in rows_of(copy.out / "group" / "associations.tsv")}


def test_everybody_of_one_age(copy, ran):
    rewrite(copy.raw / "participants.tsv", lambda rows: [{**row, "age": "50"} for row in rows])
    for path in copy.raw.glob("sub-*/*_sessions.tsv"):
        rewrite(path, lambda rows: [{**row, "age": "50"} for row in rows])
    code, said, problems = ran(copy, "--harmonise", "both", "--slow-steps", "run")
    assert code == 0 and "All reference rows are 50 years old" in problems and "another age than the outputs" in said
    assert done(copy, "accuracy", "groups_means", "description")


@pytest.mark.parametrize("method", ("linear", "linear-predicted", "spline"))
def test_one_brain_age_for_all(copy, ran, method):
    estimates(copy, lambda rows: [{**row, "brain_age": "50"} for row in rows])
    code, _, problems = ran(copy, "--bias-correction", method)
    assert code == 0 and "is constant in the reference rows, so no head can be fitted" in problems and done(copy, "accuracy")
    assert ("cannot be divided by" in problems) == (method == "linear-predicted")


def test_a_link_to_itself_holds_nothing_that_was_fitted(copy, ran, tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    code, said, _ = ran(copy, "--fitted", str(tmp_path / "loop"))
    assert code == 78 and "has no fitted.json that can be read" in said


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    (
        (("--reference", "age > 300"), 78, "holds for nobody"),
        (("--fitted", "/nowhere"), 78, "has no fitted.json that can be read"),
        (("--group-column", "noise"), 78, "different values; groups are compared up to 12"),
    ),
)
def test_settings_that_stop_a_part_leave_the_rest(copy, ran, words, code, sentence):
    found, said, _ = ran(copy, *words)
    assert found == code and sentence in said and done(copy, "accuracy", "associations", "regions")


@pytest.mark.parametrize(
    ("words", "sentence"),
    (
        (("--where", "age > 300"), "holds for nobody"),
        (("--groups", "a=age > 300"), "holds for nobody"),
        (("--groups", "cdr"), "Clinical Dementia Rating"),
        (("--groups", "a=age > 3", "--group-column", "group"), "groups come from one of them"),
        (("--age-bins", "40", "30"), "two growing ages"),
        (("--phenotype", "/nowhere.tsv"), "cannot be read"),
    ),
)
def test_settings_that_cannot_be_meant_stop_the_run(made, ran, words, sentence):
    code, said, _ = ran(made, *words)
    assert code == 78 and sentence in said and len(said.strip().splitlines()) == 1


def test_a_person_asked_for_who_is_not_there(made, ran):
    code, said, _ = ran(made, "--participant-label", "nobody")
    assert code == 66 and "sub-nobody asked for by --participant-label" in said


def test_random_garbage_in_tables_never_ends_in_an_error_of_ours(copy, ran):
    random = np.random.default_rng(1)
    words = ["", "n/a", "nan", "1e400", "-1", "0", "x", "NaN", "é", "1,5", "2020-01-01"]

    def spoil(rows):
        keep = ("participant_id", "session_id", "model")

        def one(name, value):
            return value if name in keep or random.random() > 0.3 else str(random.choice(words))

        return [{name: one(name, value) for name, value in row.items()} for row in rows]

    rewrite(copy.raw / "phenotype" / "blood.tsv", spoil)
    estimates(copy, spoil, *(f"sub-{number:03d}" for number in range(0, 40, 3)))
    for path in sorted(copy.out.glob("sub-00*/**/*_morph.tsv")) + sorted(copy.out.glob("sub-00*/**/*_desc-qc_T1w.tsv")):
        rewrite(path, spoil)
    code, _, _ = ran(copy)
    assert code == 0 and done(copy, "accuracy")


@pytest.mark.parametrize("content", [None, "[" * 100_000, '{"a": "\\ud800", "b": ' + "9" * 5000 + "}"])
def test_outputs_that_cannot_be_read_to_the_end(copy, ran, content):
    tables = sorted(copy.out.glob("sub-*/**/*_brainage.tsv"))[:2]
    others = [copy.raw / "participants.json", copy.out / "logs" / "failures" / "sub-000.json", *copy.out.glob("sub-*/**/*_T1w.json")]
    for path in [*tables, *others]:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        if content is None:
            os.mkfifo(path)  # whoever opens it as a file waits for ever
        else:
            path.write_text(content)
    code, _, problems = ran(copy)
    assert code == 0 and done(copy)
    assert "sub-000.json" in problems and "participants.json" in problems
    assert content is not None or all(path.name in problems for path in tables)
