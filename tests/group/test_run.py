"""`brainage BIDS OUT group` from end to end, on good and on bad input."""

import csv
import json
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest

from brainage_bids.bids.sink import sink_text
from brainage_bids.cli.brainage import main
from brainage_bids.cli.options import group_settings_of
from brainage_bids.cli.parser import build_parser
from brainage_bids.group.cohort import read_cohort
from brainage_bids.group.run import run_group
from brainage_bids.reports.group_content import SCATTERS
from brainage_bids.settings import GroupSettings

CONTROLS = ("--reference", "group == 'control'")


def run(study, *words):
    return main([str(study.raw), str(study.out), "group", *words])


def rows_of(path):
    with open(path, encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream, delimiter="\t"))


def problems(study):
    return {row["part"]: row["problem"] for row in rows_of(study.out / "group" / "problems.tsv")}


@pytest.fixture(scope="module")
def done(study_at, make_study, tmp_path_factory):
    study = make_study(study_at(tmp_path_factory.mktemp("study")), sessions=("ses-1", "ses-2"))
    assert run(study, *CONTROLS, "--random-seed", "3") == 0
    return study


def test_every_table_has_rows_method_n_and_described_columns(done):
    tables = sorted((done.out / "group").glob("*.tsv"))
    assert {"accuracy", "age_bias", "coverage", "groups_means", "associations", "regions", "reliability", "fusion"} <= {
        path.stem for path in tables
    }
    for path in tables:
        rows, described = rows_of(path), json.loads(path.with_suffix(".json").read_text())
        assert rows and described["Description"] and all(described[name]["Description"] for name in rows[0]), path.name
        if path.stem not in ("fusion", "participants_flow", "participants_missing", "problems"):
            assert {"n", "method", "assumptions", "correction"} <= set(rows[0]), path.name


def test_no_table_has_an_error_of_corrected_ages(done):
    """An error computed from corrected ages would be small for a useless model; every error must be that of the raw ages."""
    for path in (done.out / "group").glob("*.tsv"):
        rows = rows_of(path)
        assert not [name for name in rows[0] if re.search(r"(mae|rmse|r2).*correct|correct.*(mae|rmse|r2)", name)], path.name


def test_the_page_needs_no_network(done):
    text = (done.out / "group.html").read_text(encoding="utf-8")
    assert not re.findall(r"(?:src|xlink:href|action|data)\s*=\s*[\"']https?:", text) and "<script" not in text and "@import" not in text
    assert all(address.startswith("https://doi.org/") for address in re.findall(r"href\s*=\s*[\"'](https?:[^\"']+)", text))
    assert not re.search(r"url\(\s*[\"']?http", text)
    for words in ("Before you read on", "Gap by group", "Reliability", "Age bias", "References", "Not done"):
        assert words in text
    for address in re.findall(r'href="\./([^"]+)"', text):
        assert (done.out / address).is_file(), address


def test_pictures_are_svg_with_their_tables_beside(done):
    pictures = {path.stem for path in (done.out / "group").glob("*.svg")}
    assert {"accuracy", "age_bias", "coverage", "groups_means", "associations", "regions", "bland_altman"} <= pictures
    tables = {name: "associations" if name in SCATTERS else name for name in pictures}
    assert SCATTERS.keys() <= pictures and all((done.out / "group" / f"{name}.tsv").is_file() for name in tables.values())
    assert all("http" not in re.sub(r'xmlns(:\w+)?="[^"]*"', "", path.read_text()) for path in (done.out / "group").glob("*.svg"))


def test_the_same_command_gives_the_same_bytes(done):
    before = {path.name: path.read_bytes() for path in (done.out / "group").iterdir()}
    assert run(done, *CONTROLS, "--random-seed", "3") == 0
    assert {path.name: path.read_bytes() for path in (done.out / "group").iterdir()} == before


def test_the_validator_reports_no_error(done):
    validator = shutil.which("bids-validator-deno") or shutil.which("bids-validator-deno", path=str(sys.prefix) + "/bin")
    if validator is None:
        pytest.skip("bids-validator-deno is not installed")
    said = subprocess.run([validator, "--json", str(done.out)], capture_output=True, text=True, timeout=300).stdout
    issues = json.loads(said)["issues"]["issues"]
    assert [issue for issue in issues if issue["severity"] == "error"] == []


def test_a_config_file_gives_the_same_settings(done, tmp_path):
    (run_dir,) = sorted((done.out / "logs").glob("*-group"))[:1]
    words = [str(done.raw), str(done.out), "group", "--config-file", str(run_dir / "config.toml"), "--bias-correction", "spline"]
    settings = group_settings_of(build_parser().parse_args(words))
    assert settings == GroupSettings(str(done.raw), str(done.out), reference=CONTROLS[1], random_seed=3, bias_correction="spline")


def test_neither_torch_nor_nipype_nor_pybids_is_imported(done):
    code = (
        "import sys; from brainage_bids.cli.brainage import main; "
        f"code = main([{str(done.raw)!r}, {str(done.out)!r}, 'group', '--slow-steps', 'skip']); "
        "print(code, [name for name in ('torch', 'nipype', 'niworkflows', 'bids', 'nireports') if name in sys.modules])"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert said.stdout.split("\n")[0] == "0 []", said.stderr


def test_a_dry_run_prints_the_flow_and_writes_nothing(done, capsys):
    before = sorted(path.name for path in (done.out / "logs").iterdir())
    assert run(done, "--dry-run", "--where", "age < 50") == 0
    assert "chosen by --where" in capsys.readouterr().out and sorted(path.name for path in (done.out / "logs").iterdir()) == before


@pytest.mark.parametrize(
    ("words", "code", "said"),
    (
        (("--where", "nope == 1"), 78, "'nope', which is no column"),
        (("--where", "__import__('os')"), 78, "no comparison"),
        (("--models", "nope"), 78, "no estimate of the model nope"),
        (("--reports-only",), 78, "leave --reports-only out"),
    ),
)
def test_wrong_settings_end_with_one_sentence(done, words, code, said, capsys):
    assert run(done, *words) == code
    assert said in capsys.readouterr().err


def test_a_formula_with_an_unknown_column_is_told_and_the_rest_done(study, capsys, make_study):
    make_study(study, n=12, models=("t1",))
    assert run(study, "--formula", "pad ~ age + nope") == 78
    assert "names 'nope', which is no column" in capsys.readouterr().err
    assert (study.out / "group" / "accuracy.tsv").is_file() and "nope" in (study.out / "group.html").read_text()


def test_without_any_estimate_there_is_nothing_to_do(study, capsys):
    study.add("sub-1", (30.0, {}))
    study.finish()
    assert run(study) == 66 and "run the participant level first" in capsys.readouterr().err


def test_without_ages_the_table_and_the_page_are_still_written(study, capsys):
    for number in range(4):
        study.add(f"sub-{number}", (None, {"m": 40.0 + number}), in_table=False)
    study.finish()
    assert run(study) == 1
    assert "give ages in participants.tsv" in capsys.readouterr().err
    assert {row["excluded"] for row in rows_of(study.out / "group_brainage.tsv")} == {"no age"} and (study.out / "group.html").is_file()


def test_two_people_one_group_and_empty_columns_are_sentences(study):
    for number in range(2):
        study.add(f"sub-{number}", (40.0 + number, {"m": 45.0}), group="control", empty="n/a", same=3)
    study.finish()
    assert run(study) == 0
    said = problems(study)
    assert "1 group(s) (control)" in said["groups"] and "further column that varies" in said["associations"]
    assert "Nobody has more than one visit" in said["reliability"] and (study.out / "group" / "accuracy.tsv").is_file()


@pytest.mark.parametrize("brain_age", (50.0, None))
def test_predictions_that_do_not_vary_stop_nothing(study, brain_age):
    random = np.random.default_rng(1)
    for number in range(30):
        age = 50.0 if brain_age is None else round(float(random.uniform(20, 80)), 1)
        value = 50.0 if brain_age is not None else round(float(random.normal(50, 5)), 1)
        study.add(f"sub-{number:02d}", (age, {"m": value}), group="ab"[number % 2], nfl=number)
    study.finish()
    assert run(study) == 0
    assert "An error of brainage itself" not in " ".join(problems(study).values())


def test_duplicate_identifiers_in_participants_tsv_are_fatal(study, capsys):
    study.add("sub-1", (40.0, {"m": 45.0}))
    study.finish()
    sink_text("participant_id\tage\nsub-1\t40\nsub-1\t50\n", study.raw / "participants.tsv")
    assert run(study) == 65 and "more than one row for sub-1" in capsys.readouterr().err


def test_tables_of_an_earlier_run_go_and_other_files_stay(study, make_study):
    make_study(study, n=12, models=("t1",))
    assert run(study) == 0 and (study.out / "group" / "groups_means.tsv").is_file()
    sink_text("mine\n", study.out / "group" / "mine.tsv")
    assert run(study, "--where", "group == 'control'") == 0
    assert not (study.out / "group" / "groups_means.tsv").exists() and (study.out / "group" / "mine.tsv").is_file()


def test_who_lacks_sex_is_named_and_stays_in_what_needs_none(make_study, study):
    """One of 60 lacks sex: a warning names the person, rows with covariates say how many they leave out, plain correlations keep all."""
    make_study(study, n=60, models=("t1",))
    next(person for person in study.people if person["participant_id"] == "sub-004")["sex"] = "n/a"
    study.finish()
    outcome = run_group(read_cohort(study.settings(reference="group == 'control'")), study.out)
    (said,) = [said for said in outcome.report.warnings if "have no sex" in said]
    assert "1 participant(s) have no sex (sub-004)" in said
    for name in ("associations", "regions", "groups_anova", "groups_adjusted", "mediation"):
        with_sex = [row for row in outcome.report.rows(name) if "sex" in (row.get("covariates") or "sex") and row["n"]]
        assert with_sex and all("1 row(s) without sex left out where covariates are" in row["assumptions"] for row in with_sex), name
    row = outcome.report.rows("associations")[0]
    assert (row["n"], row["n_partial"]) == (60, 59)
