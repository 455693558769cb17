"""What models say is kept, and the tables that are made of it; the model is a real one on a skeleton."""

import subprocess
import sys
from dataclasses import replace

import pytest

from brainage_bids.bids.estimates import read_rows
from brainage_bids.bids.model_files import read_model_table, table_path
from brainage_bids.bids.names import derivative_path
from brainage_bids.bids.sidecars import table_columns
from brainage_bids.bids.sink import sink_table
from brainage_bids.modalities import COREGISTERED
from brainage_bids.models import predict as models_predict
from brainage_bids.models.inputs import INPUTS
from brainage_bids.models.order import ask
from brainage_bids.records import Participant, Session, UnusableInput
from brainage_bids.settings import Settings
from brainage_bids.workflows import t1w
from brainage_bids.workflows.model_outputs import discard_outputs
from brainage_bids.workflows.participant import process_participant
from brainage_bids.workflows.plan import Plan
from brainage_bids.workflows.predict import model_inputs, model_stages, predict, quality_flags
from brainage_bids.workflows.secondary import outputs_of
from brainage_bids.workflows.stage import Stage

SESSION = Session("sub-01", None, {}, age=50.0)


@pytest.fixture
def plan(tmp_path, volume_model, volume_person):
    """Outputs of one person, as far as the estimate needs them."""
    names = {"participant_id": "sub-01", "session_id": None}
    tissues = names | {"GM": 6e5, "WM": 5e5, "CSF": 2e5, "brain": 1.1e6}
    rows = [names | {"name": name, "volume_mm3": value} for name, value in volume_person(50.0).items()]
    for key, table in (("volumes", [tissues]), ("volumes_atlas", rows), ("qc", [{"metric": "snr", "value": 9.0, "flag": None}])):
        sink_table(table, derivative_path(tmp_path, key, "sub-01"), table_columns(key))
    settings = Settings(str(tmp_path), str(tmp_path), str(tmp_path / "work"), models=(str(volume_model.path),), omp_nthreads=1)
    return Plan(settings, tmp_path / "work")


@pytest.fixture
def asked(monkeypatch):
    """How often a model was asked."""
    calls = []

    def counted(one, *arguments, predict=models_predict.predict, **more):
        calls.append(one.folder.card.name)
        return predict(one, *arguments, **more)

    monkeypatch.setattr(models_predict, "predict", counted)
    return calls


def process(plan, session=SESSION, quality=1):
    """Process the models alone, after stages that put back the files that are there."""
    t1w_path = t1w.STRUCTURE[-1].path(plan.out_dir, session)
    if not t1w_path.exists():
        t1w_path.touch()

    def there(name, outputs, needs=(), revision=1):
        kept = {path: path.read_bytes() for path in (output.path(plan.out_dir, session) for output in outputs)}
        return Stage(name, needs, outputs, (), revision, lambda session, plan: [path.write_bytes(text) for path, text in kept.items()])

    before = [
        there("structure", t1w.STRUCTURE[-1:]),
        there("volumes", t1w.VOLUMES),
        there("quality", t1w.QUALITY, ("volumes",), quality),
    ]
    return process_participant(Participant("sub-01", (session,)), plan, [*before, *model_stages(plan)])


def row_of(plan):
    (row,) = read_rows(derivative_path(plan.out_dir, "brainage", "sub-01"))
    return row


def structures_of(plan):
    return table_path(plan.out_dir, "toyvolumes", "structures", "sub-01", None)


def test_age_and_structures_agree(plan, volume_model):
    assert process(plan) == []
    row = row_of(plan)
    assert (row["model"], row["modality"]) == ("toyvolumes", "T1w")
    structures = read_model_table(structures_of(plan)).rows
    whole = volume_model.card.training.ages.mean + sum(item["contribution_years"] for item in structures)
    assert row["brain_age"] == pytest.approx(whole, abs=0.02)
    assert structures[-1]["structure"] == "brain"
    assert all(item["norm_p50"] for item in structures[:-1])


def test_the_row_is_what_the_model_says_at_once(plan, volume_model, estimate):
    from brainage_bids.bids.estimates import estimate_rows
    from brainage_bids.models.features import read_volumes

    tables = [derivative_path(plan.out_dir, key, "sub-01") for key in ("volumes", "volumes_atlas")]
    for age in (50.0, None, 3.0):
        session = replace(SESSION, age=age, flags=("age_censored",))
        process(plan, session)
        found = estimate(volume_model, {}, read_volumes(*tables), age=age, quality_flags=("age_censored",))
        assert [row_of(plan)] == estimate_rows(session, [found])


def test_a_rerun_asks_no_model_and_writes_nothing(plan, asked):
    process(plan)
    before = {path: path.stat().st_mtime_ns for path in plan.out_dir.rglob("*") if path.is_file()}
    assert process(plan) == [] and asked == ["toyvolumes"]
    assert {path: path.stat().st_mtime_ns for path in plan.out_dir.rglob("*") if path.is_file()} == before
    structures_of(plan).unlink()
    process(plan)
    assert structures_of(plan).is_file() and asked == ["toyvolumes"] * 2


def test_a_corrected_age_changes_the_gap_and_asks_those_alone_whose_tables_have_norms(plan, asked):
    process(plan)
    before, norms = row_of(plan), read_model_table(structures_of(plan)).rows
    process(plan, replace(SESSION, age=60.0))
    after = row_of(plan)
    assert asked == ["toyvolumes"] * 2 and after["brain_age"] == before["brain_age"]
    assert after["pad"] == pytest.approx(before["pad"] - 10.0) and after["age"] == 60.0
    assert [item["norm_p50"] for item in read_model_table(structures_of(plan)).rows] != [item["norm_p50"] for item in norms]
    process(plan, replace(SESSION, age=None))
    assert (row_of(plan)["pad"], row_of(plan)["flags"]) == (None, "age_missing") and asked == ["toyvolumes"] * 3


def test_new_flags_of_the_quality_ask_no_model(plan, asked):
    process(plan)
    path = derivative_path(plan.out_dir, "qc", "sub-01")
    sink_table([{"metric": "snr", "value": 2.0, "flag": "poor_snr"}], path, table_columns("qc"))
    process(plan, quality=2)
    assert row_of(plan)["flags"] == "poor_snr" and asked == ["toyvolumes"]


def test_what_a_model_flags_by_itself_stays(plan, volume_person):
    path = derivative_path(plan.out_dir, "volumes_atlas", "sub-01")
    rows = [{"name": name, "volume_mm3": value * (3 if "Vent" in name else 1)} for name, value in volume_person(50.0).items()]
    sink_table([{"participant_id": "sub-01", "session_id": None} | row for row in rows], path, table_columns("volumes_atlas"))
    for age in (50.0, 51.0):
        process(plan, replace(SESSION, age=age))
        assert "input_mismatch" in row_of(plan)["flags"]


def test_tables_and_maps_of_models_that_are_gone_go(plan):
    process(plan)
    table = structures_of(plan)
    assert not discard_outputs(SESSION, plan.out_dir, {"toyvolumes"}) and table.exists()
    assert discard_outputs(SESSION, plan.out_dir, {"gpr36"})
    assert not table.exists() and not table.with_suffix(".json").exists()


def test_an_unknown_age_has_no_norms(plan):
    process(plan, Session("sub-01", None, {}))
    assert {item["norm_p5"] for item in read_model_table(structures_of(plan)).rows} == {None}


@pytest.mark.parametrize("name", INPUTS)
def test_the_app_makes_the_image_of_every_published_input(name, tmp_path):
    contract = INPUTS[name].contract
    made = model_inputs()[contract.key].path(tmp_path, SESSION)
    assert made == derivative_path(tmp_path, contract.derivative, "sub-01", **contract.name_values)
    assert (contract.key in model_inputs(())) is (contract.modality == "T1w")


def test_flags_of_a_flair_go_with_models_that_look_at_it(plan):
    both = Session("sub-01", None, dict.fromkeys(COREGISTERED), flags=("age_censored",))
    rows = [{"metric": "slice", "value": 6.0, "flag": "thick_slices"}, {"metric": "snr", "value": 9.0, "flag": None}]
    sink_table(rows, outputs_of("FLAIR")["quality"].path(plan.out_dir, both), table_columns("qc"))
    assert quality_flags(both, plan.out_dir) == quality_flags(both, plan.out_dir, {"T1w", "swi"}) == ("age_censored",)
    assert quality_flags(both, plan.out_dir, {"FLAIR"}) == ("age_censored", "thick_slices")
    assert quality_flags(SESSION, plan.out_dir, {"FLAIR"}) == ()


def test_a_table_without_a_structure(plan, volume_model):
    path = derivative_path(plan.out_dir, "volumes_atlas", "sub-01")
    path.write_text("\n".join(line for line in path.read_text().splitlines() if "Thalamus" not in line) + "\n")
    with pytest.raises(UnusableInput, match="needs Left-Thalamus, Right-Thalamus of sub-01"):
        predict(ask(volume_model), SESSION, plan)
    assert {failure.message for failure in process(plan)} == {
        "The model toyvolumes needs Left-Thalamus, Right-Thalamus of sub-01, which the tables of volumes do not hold; "
        "run the preprocessing again."
    }
    assert not derivative_path(plan.out_dir, "brainage", "sub-01").exists()


def test_the_stages_of_a_run_are_known_without_torch_and_nipype():
    code = (
        "import sys; from pathlib import Path; from brainage_bids.settings import Settings\n"
        "from brainage_bids.workflows.participant import process_participant\n"
        "from brainage_bids.workflows.plan import Plan; from brainage_bids.workflows.table import stages_of\n"
        "assert len(stages_of(Plan(Settings('/in', '/out', '/work'), Path('/work')))) > 8\n"
        "print(sorted({'torch', 'nipype'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"
