from types import SimpleNamespace

import pytest

from brainage_bids.bids.model_files import read_model_table
from brainage_bids.bids.names import derivative_path, find_derivatives
from brainage_bids.bids.sidecars import table_columns
from brainage_bids.bids.sink import sink_table
from brainage_bids.bids.tables import read_tsv
from brainage_bids.models.inputs import INPUTS
from brainage_bids.records import OTHER_MODALITIES, Session, UnusableInput
from brainage_bids.workflows.estimate import estimate_session, input_files, quality_flags, write_structures
from brainage_bids.workflows.other_session import other_outputs

OF_TOY = {"model": "toyvolumes", "desc": "structures"}
SESSION = Session("sub-01", None, {}, age=50.0)


@pytest.fixture
def plan(tmp_path, volume_model, volume_person):
    """Outputs of one person, as far as the estimate needs them."""
    names = {"participant_id": "sub-01", "session_id": None}
    tissues = names | {"GM": 6e5, "WM": 5e5, "CSF": 2e5, "brain": 1.1e6}
    rows = [names | {"name": name, "volume_mm3": value} for name, value in volume_person(50.0).items()]
    for key, table in (("volumes", [tissues]), ("volumes_atlas", rows), ("qc", [{"metric": "snr", "value": 9.0, "flag": None}])):
        sink_table(table, derivative_path(tmp_path, key, "sub-01"), table_columns(key))
    return SimpleNamespace(out_dir=tmp_path, models=(str(volume_model.path),), model_dirs=(), device="auto", precision="float32")


def test_age_and_structures_agree(plan, volume_model):
    assert estimate_session(SESSION, plan)
    (row,) = read_tsv(derivative_path(plan.out_dir, "brainage", "sub-01")).rows
    assert (row["model"], row["modality"]) == ("toyvolumes", "T1w")
    structures = read_model_table(derivative_path(plan.out_dir, "model_table", "sub-01", **OF_TOY)).rows
    whole = volume_model.card.training.ages.mean + sum(item["contribution_years"] for item in structures)
    assert float(row["brain_age"]) == pytest.approx(whole, abs=0.02)
    assert structures[-1]["structure"] == "brain"
    assert all(item["norm_p50"] for item in structures[:-1])


def test_a_rerun_writes_nothing(plan):
    estimate_session(SESSION, plan)
    table = derivative_path(plan.out_dir, "model_table", "sub-01", **OF_TOY)
    before = table.stat().st_mtime_ns
    assert estimate_session(SESSION, plan) is False
    assert table.stat().st_mtime_ns == before
    table.unlink()
    assert estimate_session(SESSION, plan) is True
    assert table.is_file()


def test_structures_of_models_that_are_gone_go(plan):
    estimate_session(SESSION, plan)
    table = derivative_path(plan.out_dir, "model_table", "sub-01", **OF_TOY)
    assert write_structures(SESSION, plan.out_dir, {"gpr36": ()}) is True
    assert not table.exists()
    assert not table.with_suffix(".json").exists()
    assert write_structures(SESSION, plan.out_dir, {"gpr36": ()}) is False


def test_a_table_under_its_former_name_is_replaced(plan):
    estimate_session(SESSION, plan)
    table = derivative_path(plan.out_dir, "model_table", "sub-01", **OF_TOY)
    former = table.with_name(table.name.replace("_stats", "_brainage"))
    for path in (table, table.with_suffix(".json")):
        path.rename(path.with_name(path.name.replace("_stats", "_brainage")))
    assert [item.path for item in find_derivatives(plan.out_dir, "model_table")] == [former]
    assert estimate_session(SESSION, plan) is True
    assert table.is_file() and not former.exists() and not former.with_suffix(".json").exists()


def test_an_unknown_age_has_no_norms(plan):
    estimate_session(Session("sub-01", None, {}), plan)
    structures = read_model_table(derivative_path(plan.out_dir, "model_table", "sub-01", **OF_TOY)).rows
    assert {item["norm_p5"] for item in structures} == {None}


@pytest.mark.parametrize("name", INPUTS)
def test_the_app_makes_the_image_of_every_published_input(name, tmp_path):
    contract = INPUTS[name].contract
    both = Session("sub-01", None, dict.fromkeys(OTHER_MODALITIES))
    assert input_files(both, tmp_path)[contract.key] == derivative_path(tmp_path, contract.derivative, "sub-01", **contract.name_values)
    assert (contract.key in input_files(SESSION, tmp_path)) is (contract.modality == "T1w")


def test_flags_of_a_flair_go_with_models_that_look_at_it(plan):
    both = Session("sub-01", None, dict.fromkeys(OTHER_MODALITIES), flags=("age_censored",))
    rows = [{"metric": "slice", "value": 6.0, "flag": "thick_slices"}, {"metric": "snr", "value": 9.0, "flag": None}]
    sink_table(rows, other_outputs("FLAIR")["quality"].path(plan.out_dir, both), table_columns("qc"))
    assert quality_flags(both, plan.out_dir) == quality_flags(both, plan.out_dir, {"T1w", "swi"}) == ("age_censored",)
    assert quality_flags(both, plan.out_dir, {"FLAIR"}) == ("age_censored", "thick_slices")
    assert quality_flags(SESSION, plan.out_dir, {"FLAIR"}) == ()


def test_a_table_without_a_structure(plan):
    path = derivative_path(plan.out_dir, "volumes_atlas", "sub-01")
    path.write_text("\n".join(line for line in path.read_text().splitlines() if "Thalamus" not in line) + "\n")
    with pytest.raises(UnusableInput, match="not there: Left-Thalamus"):
        estimate_session(SESSION, plan)
