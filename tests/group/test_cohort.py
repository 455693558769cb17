import csv
import json

import pytest

from brainage_bids.bids.sink import sink_json, sink_text
from brainage_bids.cli.failures import write_failures
from brainage_bids.group.cohort import read_cohort
from brainage_bids.group.described import described
from brainage_bids.group.run import run_group
from brainage_bids.records import BadConfiguration, BadDataset, Failure


def rows_of(path):
    with open(path, encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream, delimiter="\t"))


def test_estimates_are_joined_by_identifier_not_by_order(study):
    for number in (3, 1, 2):
        study.add(f"sub-{number}", (20.0 * number, {"m": 20.0 * number + number}), bmi=10 * number)
    study.people.reverse()
    study.finish(blood=[{"participant_id": "sub-2", "nfl": 2.5}, {"participant_id": "3", "nfl": 3.5}])
    table = read_cohort(study.settings()).table
    assert table["participant_id"].tolist() == ["sub-1", "sub-2", "sub-3"]
    assert table["pad"].tolist() == [1.0, 2.0, 3.0] and table["bmi"].tolist() == [10, 20, 30]
    assert [value for value in table["nfl"] if value == value] == [2.5, 3.5]


def test_who_is_missing_is_told_with_the_reason(study):
    study.add("sub-1", (30.0, {"m": 31.0}))
    study.add("sub-2", (30.0, {}))
    study.add("sub-3", (30.0, {}))
    study.people.append({"participant_id": "sub-4", "age": 50})
    study.path("brainage", "sub-3").parent.mkdir(parents=True)
    failure = {"participant_id": "sub-2", "session_id": None, "stage": "read", "message": "The file is cut.", "detail": ""}
    sink_json(failure, study.out / "logs" / "failures" / "sub-2.json")
    study.finish()
    cohort = read_cohort(study.settings())
    reasons = {row["participant_id"]: row["reason"] for row in cohort.missing}
    assert reasons["sub-2"] == "failed at read: The file is cut."
    assert "without a table" in reasons["sub-3"] and reasons["sub-4"] == "listed in participants.tsv only" and len(reasons) == 3
    assert cohort.flow[0]["participants"] == 4 and cohort.flow[1]["participants"] == 1


def test_of_several_failures_of_one_person_the_first_is_the_reason(study):
    study.add("sub-1", (30.0, {"m": 31.0}))
    study.add("sub-2", (30.0, {}))
    study.finish()
    write_failures(study.out, [Failure("sub-2", None, "read", f"The {name} is cut.") for name in ("T1w", "map")])
    write_failures(study.out, [Failure("sub-2", None, "FLAIR: read", "The FLAIR is cut.", modality="FLAIR")])
    cohort = read_cohort(study.settings())
    assert {row["participant_id"]: row["reason"] for row in cohort.missing} == {"sub-2": "failed at read: The T1w is cut."}
    assert not any("cannot be read" in said for said in cohort.warnings)


def test_the_age_of_the_tables_goes_before_that_of_the_outputs(study):
    study.add("sub-1", (30.0, {"m": 35.0}), listed_age=33.0)
    study.finish()
    cohort = read_cohort(study.settings())
    assert cohort.table["pad"].tolist() == [2.0] and any("another age" in said for said in cohort.warnings)


def test_other_weights_of_one_model_are_left_out(study):
    for number in range(5):
        study.add(f"sub-{number}", (30.0 + number, {"m": 35.0}), sha=("b" if number == 4 else "a") * 64)
    study.finish()
    cohort = read_cohort(study.settings())
    assert len(cohort.table) == 4 and cohort.everyone.loc[cohort.everyone["participant_id"] == "sub-4", "excluded"].item() == "model_sha256"
    assert any("2 different weights" in said for said in cohort.warnings)


def test_repeated_rows_count_once(study):
    study.add("sub-1", (30.0, {"m": 35.0}))
    study.finish()
    path = study.path("brainage", "sub-1")
    lines = path.read_text().splitlines()
    sink_text("\n".join([*lines, lines[1]]) + "\n", path)
    cohort = read_cohort(study.settings())
    assert len(cohort.table) == 1 and any("repeat a participant" in said for said in cohort.warnings)


def test_tables_of_another_version_or_person_are_told(study):
    for number in (1, 2, 3):
        study.add(f"sub-{number}", (30.0, {"m": 35.0}))
    study.finish()
    lines = study.path("brainage", "sub-1").read_text().splitlines()
    sink_text("\n".join(line.rsplit("\t", 1)[0] for line in lines) + "\n", study.path("brainage", "sub-1"))
    sink_text(study.path("brainage", "sub-1").read_text().replace("sub-1", "sub-9"), study.path("brainage", "sub-2"))
    sink_text("participant_id\tage\nsub-3\told\n", study.path("brainage", "sub-3"))
    cohort = read_cohort(study.settings())
    said = " ".join(cohort.problems)
    assert "other columns than this version" in said and "somebody else" in said and "cannot be read" in said
    assert cohort.table["participant_id"].tolist() == ["sub-1"]


def test_versions_in_sidecars_are_compared(study):
    for number, version in ((1, "0.1"), (2, "0.2")):
        study.add(f"sub-{number}", (30.0, {"m": 35.0}))
        path = study.path("preproc", f"sub-{number}")
        path.write_bytes(b"")
        sink_json({"ProgramVersion": version}, path.with_name(path.name.replace(".nii.gz", ".json")))
    study.finish()
    assert any("2 versions of this program" in said for said in read_cohort(study.settings()).warnings)


def test_exclusions_are_counted_by_reason(study):
    study.add("sub-1", (17.0, {"m": 20.0}), site="a")
    study.add("sub-2", (30.0, {"m": 20.0, "other": 30.0}), site="a")
    study.add("sub-3", (40.0, {"m": 20.0}), site="b")
    study.add("sub-4", (None, {"m": 20.0}), in_table=False)
    study.finish()
    cohort = read_cohort(study.settings(where="age >= 18 or site != 'a'", models=("m",)))
    assert cohort.table["participant_id"].tolist() == ["sub-2", "sub-3"]
    assert [row["participants"] for row in cohort.flow] == [4, 4, 2, 2, 2]
    excluded = cohort.everyone.set_index(["participant_id", "model"])["excluded"].to_dict()
    assert excluded["sub-1", "m"] == "where" and excluded["sub-2", "other"] == "other model" and excluded["sub-4", "m"] == "where"


@pytest.mark.parametrize("option", ({"where": "nope == 1"}, {"reference": "nope == 1"}, {"models": ("nope",)}, {"group_column": "nope"}))
def test_unknown_names_are_refused_with_those_there_are(study, option):
    study.add("sub-1", (30.0, {"m": 35.0}))
    study.finish()
    with pytest.raises(BadConfiguration, match="nope.*there are .*m"):
        read_cohort(study.settings(**option))


def test_a_query_that_holds_for_nobody_is_refused(study):
    study.add("sub-1", (30.0, {"m": 35.0}))
    study.finish()
    with pytest.raises(BadConfiguration, match="holds for nobody"):
        read_cohort(study.settings(where="age > 90"))


def test_a_folder_that_is_none_is_refused(study):
    with pytest.raises(BadDataset, match="is no folder"):
        read_cohort(study.settings())


def test_codes_with_levels_are_kinds(study):
    for number in range(4):
        study.add(f"sub-{number}", (30.0 + number, {"m": 35.0}), smoking=number % 3, weight=60 + number)
    study.finish()
    sink_json({"smoking": {"Description": "Smoking", "Levels": {"0": "no", "1": "yes", "2": "former"}}}, study.raw / "participants.json")
    cohort = read_cohort(study.settings())
    assert cohort.numeric() == ["weight"] and cohort.categories() == ["smoking"]


def test_columns_of_one_name_in_two_tables_stay_apart(study):
    study.add("sub-1", (30.0, {"m": 35.0}))
    study.add("sub-2", (40.0, {"m": 35.0}))
    study.finish(one=[{"participant_id": "sub-1", "score": 1}], two=[{"participant_id": "sub-1", "score": 2}])
    table = read_cohort(study.settings()).table
    assert table.loc[0, "score"] == 1 and table.loc[0, "two_score"] == 2


def test_values_of_the_visit_go_before_those_of_the_person(study):
    for session in ("ses-1", "ses-2"):
        study.add("sub-1", (30.0, {"m": 35.0}), session=session, scanner="old")
    study.table(
        study.raw / "sub-1" / "sub-1_sessions.tsv",
        [{"session_id": "ses-1", "age": 30}, {"session_id": "ses-2", "age": 32, "scanner": "new"}],
    )
    study.finish()
    table = read_cohort(study.settings()).table
    assert table["scanner"].tolist() == ["old", "new"] and table["age"].tolist() == [30.0, 32.0]


def test_group_brainage_describes_every_column(finished, with_reference):
    cohort = read_cohort(with_reference(finished.settings()))
    run_group(cohort, finished.out)
    rows = rows_of(finished.out / "group_brainage.tsv")
    described = json.loads((finished.out / "group_brainage.json").read_text())
    assert len(rows) == 60 * 2 * 3 and all(described[name]["Description"] for name in rows[0])
    controls = [row for row in rows if row["reference"] == "true" and row["session_id"] == "ses-1" and row["model"] == "t1"]
    assert abs(sum(float(row["pad_corrected"]) for row in controls)) / len(controls) < 1e-3  # the reference people's mean is 0
    assert {row["bias_method"] for row in rows} == {"linear"} and len(
        {(row["participant_id"], row["session_id"], row["model"]) for row in rows}
    ) == 360


def coded(study, **columns):
    """Twelve people with further columns, whose cells are functions of their number."""
    for number in range(12):
        study.add(f"sub-{number:02d}", (30.0 + number, {"m": 35.0}), **{name: cell(number) for name, cell in columns.items()})
    return study.finish()


def test_codes_keep_their_text_and_compare_as_numbers(study):
    coded(study, site=lambda i: f"0{i % 3}", group=lambda i: f"{i % 2}.0", batch=lambda i: f"00{i % 3}")
    cohort = read_cohort(study.settings(where="site != '02' and group == '1.0' and batch == 1", reference="site == 1"))
    assert cohort.table["participant_id"].tolist() == ["sub-01", "sub-07"] and cohort.table["reference"].all()
    assert set(cohort.everyone["group"]) == {"0.0", "1.0"} and set(cohort.everyone["batch"]) == {"000", "001", "002"}


def test_a_group_called_none_takes_part_and_is_told(study):
    coded(study, group=lambda i: ["none", "MCI", "AD"][i % 3])
    cohort = read_cohort(study.settings(where="group == 'none'"))
    assert len(cohort.table) == 4 and any("4 value(s) 'none'" in said for said in cohort.problems)


def test_numbers_are_read_as_they_are_written_and_declared(study):
    coded(study, marker=lambda i: f"{i},5", bmi=lambda i: -9999 if i < 2 else i, ApoE=lambda i: i % 3, dose=lambda i: f"{i} mg")
    levels = {"bmi": {"Levels": {"-9999": "missing"}}, "ApoE": {"Levels": {"0": "none", "1": "one", "2": "two"}}}
    sink_json(levels, study.raw / "participants.json")
    cohort = read_cohort(study.settings())
    assert cohort.numeric() == ["marker", "bmi", "ApoE", "dose"] and cohort.table["bmi"].notna().sum() == 10
    assert cohort.table["marker"].tolist() == [number + 0.5 for number in range(12)] and cohort.problems == []


def test_the_number_of_alleles_gives_the_carriers(study):
    for number in range(40):
        person = {"group": "AD" if number % 2 else "control", "ApoE": number // 2 % 3, "iron": (number * 7) % 11}
        study.add(f"sub-{number:02d}", (30.0 + number, {"m": 35.0 + number}), **person)
    study.finish()
    sink_json({"ApoE": {"Levels": {"0": "none", "1": "one", "2": "two"}}}, study.raw / "participants.json")
    tables = {result.name: result.rows for result in described(read_cohort(study.settings()))}
    assert {row["covariates"] for row in tables["groups_phenotype"] if row["column"] == "iron"} == {"carrier", "carrier, age"}


def test_people_whose_zeros_were_lost_are_nobody_new(study):
    study.add("sub-01", (30.0, {"m": 35.0}))
    study.people[0]["participant_id"] = "1"
    study.finish(blood=[{"participant_id": "9", "nfl": 2}])
    cohort = read_cohort(study.settings())
    assert cohort.missing == [] and cohort.table["pad"].tolist() == [5.0]
    assert any(said.startswith("phenotype/blood.tsv has a row for none of the 1") for said in cohort.problems)
