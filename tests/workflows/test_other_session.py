"""Files of FLAIR and SWI: which there are, and what makes them invalid; all on skeletons, nothing is computed."""

import json
from types import SimpleNamespace

import pytest

from brainage_bids.bids.sink import sidecar_path
from brainage_bids.records import OTHER_MODALITIES, Failure, Participant, Scan, Session, UnusableInput
from brainage_bids.workflows import other_session, participant
from brainage_bids.workflows.session import Plan
from brainage_bids.workflows.stages import Output


@pytest.fixture
def place(tmp_path):
    """A session with a T1w and a FLAIR, and a plan."""
    scans = {}
    for modality in ("T1w", "FLAIR", "swi"):
        path = tmp_path / "raw" / f"{modality}.nii"
        path.parent.mkdir(exist_ok=True)
        path.write_text(modality)
        scans[modality] = Scan(path, modality, {}, f"only {modality}")
    preproc = sidecar_path(Output("preproc").path(tmp_path / "out", Session("sub-1", None, {})))
    preproc.parent.mkdir(parents=True)
    preproc.write_text(json.dumps({"Fingerprint": "first"}))
    plan = SimpleNamespace(
        out_dir=tmp_path / "out",
        bids_dir=tmp_path / "raw",
        work_dir=tmp_path / "work",
        sloppy=False,
        seed=1,
        beside=False,
        models=(),
        model_dirs=(),
    )
    return Session("sub-1", None, scans), plan, preproc


def write_all(session, plan, modality, *, used=True, skip=()):
    outputs = other_session.other_outputs(modality)
    for key, output in outputs.items():
        if key not in skip:
            output.path(plan.out_dir, session).parent.mkdir(parents=True, exist_ok=True)
            output.path(plan.out_dir, session).write_text(key)
    facts = {"Fingerprint": other_session._fingerprint(session, modality, plan), "Used": used}
    sidecar_path(outputs["quality"].path(plan.out_dir, session)).write_text(json.dumps(facts))


@pytest.fixture
def started(monkeypatch):
    """Names of the graphs that were started; each ends there."""
    names = []

    def stop(workflow, inputs, work_dir):
        names.append(workflow.name)
        raise UnusableInput("stopped here")

    monkeypatch.setattr(other_session, "run_graph", stop)
    return names


def test_what_is_there_is_not_made_again(place, started):
    session, plan, _ = place
    write_all(session, plan, "FLAIR")
    write_all(session, plan, "swi", used=False, skip=("other_xfm", "other_preproc", "other_mni", "packed", "packed_mni"))
    for modality in OTHER_MODALITIES:
        other_session.process_other(session, modality, plan)
    assert started == []


@pytest.mark.parametrize("change", ["scan", "T1w", "seed", "missing", "table"])
def test_what_changed_or_is_missing_is_made_again(place, started, change):
    session, plan, preproc = place
    write_all(session, plan, "FLAIR")
    outputs = other_session.other_outputs("FLAIR")
    if change == "scan":
        session.scans["FLAIR"].path.write_text("another")
    elif change == "T1w":
        preproc.write_text(json.dumps({"Fingerprint": "second"}))
    elif change == "seed":
        plan.seed = 2
    else:
        outputs["packed" if change == "missing" else "quality"].path(plan.out_dir, session).unlink()
    with pytest.raises(UnusableInput, match="stopped here"):
        other_session.process_other(session, "FLAIR", plan)
    assert started == ["align_wf"]
    assert not any(output.path(plan.out_dir, session).exists() for output in outputs.values())


def test_a_failed_flair_leaves_the_swi_and_names_itself(place, started, monkeypatch):
    session, plan, _ = place
    write_all(session, plan, "swi")
    monkeypatch.setattr(participant, "process_session", lambda session, plan, structured: structured())
    monkeypatch.setattr(participant, "estimate_session", lambda session, plan: False)
    (failure,) = participant.process_participant(SimpleNamespace(sessions=(session,)), plan)
    assert (failure.stage, failure.modality, failure.message) == ("FLAIR: read", "FLAIR", "stopped here")


def test_without_its_t1w_nothing_of_a_session_is_tried(place, started, monkeypatch):
    session, plan, _ = place

    def fail(session, plan, structured):
        raise UnusableInput("no T1w")

    monkeypatch.setattr(participant, "process_session", fail)
    failures = participant.process_participant(SimpleNamespace(sessions=(session,)), plan)
    assert [(failure.message, failure.modality) for failure in failures] == [("no T1w", None)] and started == []


@pytest.mark.parametrize("waits", [False, True])
def test_the_estimate_waits_for_a_flair_that_a_model_looks_at(place, monkeypatch, waits):
    session, plan, _ = place
    order = []
    monkeypatch.setattr(participant, "process_session", lambda session, plan, structured: (order.append("T1w"), structured()))
    monkeypatch.setattr(participant, "process_other", lambda session, modality, plan: order.append(modality))
    monkeypatch.setattr(participant, "estimate_session", lambda session, plan: order.append("estimate"))
    monkeypatch.setattr(participant, "waits_for_others", lambda plan: waits)
    assert participant.process_participant(SimpleNamespace(sessions=(session, session)), plan) == []
    each = ["T1w", "FLAIR", "swi"]
    assert order == ([*each, *each, "estimate", "estimate"] if waits else [*each, "estimate", *each, "estimate"])


def test_an_estimate_that_waits_needs_its_t1w(place, started, monkeypatch):
    session, plan, _ = place

    def fail(session, plan, structured):
        raise UnusableInput("no T1w")

    monkeypatch.setattr(participant, "process_session", fail)
    monkeypatch.setattr(participant, "waits_for_others", lambda plan: True)
    monkeypatch.setattr(participant, "estimate_session", lambda session, plan: pytest.fail("there is no T1w"))
    (failure,) = participant.process_participant(SimpleNamespace(sessions=(session,)), plan)
    assert failure.message == "no T1w"


def test_a_second_process_says_what_one_alone_says(place, monkeypatch):
    session, plan, _ = place
    monkeypatch.setattr(participant, "process_session", lambda session, plan, structured: structured())
    monkeypatch.setattr(participant, "estimate_session", lambda session, plan: False)
    for key in ("preproc", "mask"):
        Output(key).path(plan.out_dir, session).touch()
    said = []
    for beside in (False, True):
        whole = Plan(plan.bids_dir, plan.out_dir, plan.work_dir, threads=2, beside=beside)
        failures = participant.process_participant(Participant("sub-1", (session,)), whole)
        said.append([(failure.stage, failure.modality, failure.message) for failure in failures])
    assert said[0] == said[1]
    assert [(stage, modality) for stage, modality, _ in said[0]] == [("FLAIR: conform", "FLAIR"), ("swi: conform", "swi")]
    assert "FLAIR.nii" in said[0][0][2]


def test_records_of_modalities_stand_beside_each_other_and_are_forgotten(tmp_path):
    from brainage_bids.cli.failures import forget_failures, read_messages, write_failures

    lost = [Failure("sub-1", None, f"{modality}: read", f"{modality} is lost", modality=modality) for modality in OTHER_MODALITIES]
    write_failures(tmp_path, lost)
    assert read_messages(tmp_path, "sub-1", [None]) == ["FLAIR is lost", "swi is lost"]
    forget_failures(tmp_path, "sub-1", [None])
    assert read_messages(tmp_path, "sub-1", [None]) == []
