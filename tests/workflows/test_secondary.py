"""FLAIR and SWI: which files there are, what makes them invalid, and who makes them; nothing is computed."""

import json
from dataclasses import replace

import numpy as np
import pytest

from brainage_bids.bids.sink import sidecar_path
from brainage_bids.modalities import COREGISTERED
from brainage_bids.records import Failure, Participant, UnusableInput
from brainage_bids.workflows import participant, secondary
from brainage_bids.workflows.participant import process_participant
from brainage_bids.workflows.secondary import outputs_of
from brainage_bids.workflows.stage import Output, Stage

NOT_USED = ("other_xfm", "other_preproc", "other_mni", "packed", "packed_mni")


def writes(modality, *left_out, calls=None):
    def run(session, plan):
        if calls is not None:
            calls.append(modality)
        for key, output in outputs_of(modality).items():
            if key not in left_out:
                output.path(plan.out_dir, session).parent.mkdir(parents=True, exist_ok=True)
                output.path(plan.out_dir, session).touch()

    return run


def structure_alone():
    """A structure stage that leaves nothing but its last file."""

    def run(session, plan):
        for key in ("preproc", "mask"):
            Output(key).path(plan.out_dir, session).parent.mkdir(parents=True, exist_ok=True)
            Output(key).path(plan.out_dir, session).touch()

    return Stage("structure", ("scan:T1w",), (Output("mask"), Output("preproc")), ("random_seed",), 1, run)


def process(skeleton, *stages):
    return process_participant(Participant("sub-1", skeleton.sessions), skeleton.plan, [structure_alone(), *stages])


def stage_of(modality, **fields):
    return replace(next(stage for stage in secondary.STAGES if stage.name == modality), **fields)


@pytest.mark.parametrize("left_out", [(), ("figure",), NOT_USED])
def test_what_is_there_is_not_made_again_be_it_used_or_not(skeleton, left_out):
    calls = []
    flair = stage_of("FLAIR", run=writes("FLAIR", *left_out, calls=calls))
    assert process(skeleton, flair) == process(skeleton, flair) == []
    assert calls == ["FLAIR"]


@pytest.mark.parametrize("change", ["scan", "T1w", "seed", "missing", "table"])
def test_what_changed_or_is_missing_is_made_again(skeleton, change):
    process(skeleton, stage_of("FLAIR", run=writes("FLAIR")))
    outputs = outputs_of("FLAIR")
    if change in ("scan", "T1w"):
        skeleton.session.scans["FLAIR" if change == "scan" else "T1w"].path.write_text("another")
    elif change == "seed":
        skeleton.plan = replace(skeleton.plan, settings=replace(skeleton.plan.settings, random_seed=2))
    else:
        outputs["packed" if change == "missing" else "quality"].path(skeleton.plan.out_dir, skeleton.session).unlink()

    def stop(session, plan):
        raise UnusableInput("stopped here")

    (failure,) = process(skeleton, stage_of("FLAIR", run=stop))
    assert failure.message == "stopped here"
    assert not any(output.path(skeleton.plan.out_dir, skeleton.session).exists() for output in outputs.values())


def test_a_failed_flair_leaves_the_swi_and_names_itself(skeleton):
    def stop(session, plan):
        raise UnusableInput("stopped here")

    calls = []
    (failure,) = process(skeleton, stage_of("FLAIR", run=stop), stage_of("swi", run=writes("swi", calls=calls)))
    assert (failure.stage, failure.modality, failure.message) == ("FLAIR: read", "FLAIR", "stopped here")
    assert calls == ["swi"]


def test_without_its_t1w_nothing_of_a_session_is_tried(skeleton):
    skeleton.failing["structure"] = UnusableInput("no T1w")
    assert skeleton.run() == ["structure"]
    assert [(failure.message, failure.modality) for failure in skeleton.failures] == [("no T1w", None)]


def test_a_second_process_says_what_one_alone_says(skeleton):
    said = []
    for threads in (1, 2):
        skeleton.plan = replace(skeleton.plan, settings=replace(skeleton.plan.settings, omp_nthreads=threads))
        assert skeleton.plan.helped is (threads == 2)
        failures = process(skeleton, *secondary.STAGES)
        said.append([(failure.stage, failure.modality, failure.message) for failure in failures])
        Output("preproc").path(skeleton.plan.out_dir, skeleton.session).unlink()
    assert said[0] == said[1]
    assert [(stage, modality) for stage, modality, _ in said[0]] == [("FLAIR: conform", "FLAIR"), ("swi: conform", "swi")]
    assert "FLAIR.nii" in said[0][0][2]


class NoHelper(Exception):
    """A second process was asked for."""


def helped(skeleton, monkeypatch, **settings) -> bool:
    def refuse(*_):
        raise NoHelper

    monkeypatch.setattr(participant, "HelperProcess", refuse)
    try:
        skeleton.run(**settings)
    except NoHelper:
        return True
    return False


def test_a_second_process_is_started_only_where_it_has_time_to_get_ready(skeleton, monkeypatch):
    assert not helped(skeleton, monkeypatch, omp_nthreads=1)
    assert not helped(skeleton, monkeypatch, omp_nthreads=2)  # all is there
    skeleton.session.scans["FLAIR"].path.write_text("other bytes")
    assert not helped(skeleton, monkeypatch)  # the structure is there, so it would be late
    skeleton.session.scans["T1w"].path.write_text("other bytes")
    assert helped(skeleton, monkeypatch)
    assert not helped(skeleton, monkeypatch, mem_mb=4000)
    skeleton.session.scans["T1w"].path.write_text("still other bytes")
    skeleton.change(scans={"T1w": skeleton.session.scans["T1w"]})
    assert not helped(skeleton, monkeypatch, mem_mb=0)  # nothing for it to do


def test_records_of_modalities_stand_beside_each_other_and_are_forgotten(tmp_path):
    from brainage_bids.cli.failures import forget_failures, read_messages, write_failures

    lost = [Failure("sub-1", None, f"{modality}: read", f"{modality} is lost", modality=modality) for modality in COREGISTERED]
    write_failures(tmp_path, lost)
    assert read_messages(tmp_path, "sub-1", [None]) == ["FLAIR is lost", "swi is lost", "T2w is lost"]
    forget_failures(tmp_path, "sub-1", [None])
    assert read_messages(tmp_path, "sub-1", [None]) == []


def test_of_several_failures_of_a_session_none_is_lost(tmp_path):
    from brainage_bids.cli.failures import failure_path, forget_failures, read_messages, write_failures
    from brainage_bids.reports.content import read_participant

    lost = [Failure("sub-1", "ses-1", "read", f"{name} is lost") for name in ("one", "two")]
    write_failures(tmp_path, [*lost, Failure("sub-1", "ses-2", "read", "three is lost")])
    assert read_messages(tmp_path, "sub-1", ["ses-1", "ses-2"]) == ["one is lost", "two is lost", "three is lost"]
    assert [fault.message for fault in read_participant(tmp_path, "sub-1").all_faults] == ["one is lost", "two is lost", "three is lost"]
    forget_failures(tmp_path, "sub-1", ["ses-1", "ses-2"])
    assert not failure_path(tmp_path, "sub-1", "ses-1").exists()


@pytest.fixture
def coregistered(skeleton, graphs, monkeypatch):
    """Process the FLAIR with graphs that answer, and return its files."""
    from brainage_bids.reports import figures

    matrix = skeleton.plan.bids_dir.parent / "matrix.txt"
    np.savetxt(matrix, np.eye(4))
    row = {"metric": "snr", "value": 9.0, "unit": None, "low": None, "high": None, "flag": None, "description": "x"}
    graphs.answers |= {"matrix": str(matrix), "quality": [row]}
    monkeypatch.setattr(figures, "draw_coregistration", lambda head, t1w, dseg, path, shown: path.write_text(f"<svg>{shown}</svg>"))
    monkeypatch.setattr(secondary, "on_t1w", lambda image, matrix, t1w: image)

    def run(**settings):
        skeleton.plan = replace(skeleton.plan, settings=replace(skeleton.plan.settings, **settings))
        assert process(skeleton, stage_of("FLAIR")) == []
        outputs = {key: output.path(skeleton.plan.out_dir, skeleton.session) for key, output in outputs_of("FLAIR").items()}
        return {key for key, path in outputs.items() if path.is_file()}, json.loads(sidecar_path(outputs["quality"]).read_text())

    return run


def test_an_image_that_fits_leaves_all_files(skeleton, graphs, coregistered):
    files, about = coregistered()
    assert files == set(outputs_of("FLAIR")) and [name for name, _ in graphs.asked] == ["align_wf", "coregister_wf"]
    assert about["Used"] is True and "NotMade" not in about and len(about["StepsDone"]) == 4
    assert about["Sources"] == ["bids:raw:FLAIR.nii", "bids::sub-1/anat/sub-1_desc-preproc_T1w.nii.gz"]
    packed = json.loads(sidecar_path(outputs_of("FLAIR")["packed"].path(skeleton.plan.out_dir, skeleton.session)).read_text())
    assert packed["ScaleFactor"] == 2.5 and "Fingerprint" not in packed
    coregistered()
    assert len(graphs.asked) == 2  # it is there


def test_an_image_that_does_not_fit_leaves_its_quality_and_its_picture(skeleton, graphs, coregistered, caplog):
    coregistered()
    graphs.answers["agreement"] = 0.4
    skeleton.session.scans["FLAIR"].path.write_text("another head")
    files, about = coregistered()
    assert files == {"figure", "quality"} and [name for name, _ in graphs.asked[2:]] == ["align_wf", "rejected_wf"]
    assert about["Used"] is False and len(about["NotMade"]) == 5 and about["StepsDone"] == ["other_rigid"]
    assert "sub-1: the FLAIR could not be aligned to the T1w and is not used" in caplog.text
    coregistered()
    assert len(graphs.asked) == 4


def test_a_sloppy_run_draws_no_picture_and_removes_one_of_another_run(graphs, coregistered):
    assert "figure" in coregistered()[0]
    files, about = coregistered(sloppy=True)
    assert files == set(outputs_of("FLAIR")) - {"figure"} and about["NotMade"] == ["sub-1_desc-coregistration_FLAIR.svg"]
    coregistered()
    assert len(graphs.asked) == 4


def test_a_file_that_was_made_and_is_gone_is_made_again(skeleton, graphs, coregistered):
    coregistered()
    for key in outputs_of("FLAIR"):
        outputs_of("FLAIR")[key].path(skeleton.plan.out_dir, skeleton.session).unlink()
        assert coregistered()[0] == set(outputs_of("FLAIR"))
    assert len(graphs.asked) == 2 * (len(outputs_of("FLAIR")) + 1)
