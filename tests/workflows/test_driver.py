"""The driver: what it leaves, makes, skips and records, on toy stages and with the helper process."""

import pytest

from brainage_bids.records import BadConfiguration, UnusableInput
from brainage_bids.workflows.driver import LOST, Driver, make
from brainage_bids.workflows.engine import NO_MEMORY, GraphFailed
from brainage_bids.workflows.helper_process import Lost
from brainage_bids.workflows.stage import Output, Stage, in_order


def writes(*outputs):
    def run(session, plan):
        for output in outputs:
            output.path(plan.out_dir, session).parent.mkdir(parents=True, exist_ok=True)
            output.path(plan.out_dir, session).touch()

    return run


def stage(name, *needs, run=None, revision=1):
    output = Output("figures", (("desc", name),))
    return Stage(name, needs, (output,), (), revision, run or writes(output))


def fails(error):
    def run(session, plan):
        raise error

    return run


def drive(skeleton, *stages, helper=None):
    driver = Driver(skeleton.session, skeleton.plan, in_order(stages))
    driver.go(helper)
    return driver


def done(driver):
    return [name for name, digest in driver.settled.items() if digest is not None]


def test_what_fails_is_a_record_and_what_needs_it_is_not_run(skeleton):
    broken = stage("broken", run=fails(UnusableInput("The scan is bad.")))
    after = [stage("after", "broken"), stage("later", "after"), stage("soft", "broken?"), stage("either", "broken|fine")]
    driver = drive(skeleton, broken, *after, stage("fine"), stage("neither", "broken|after"))
    assert sorted(done(driver)) == ["either", "fine", "soft"]
    assert [(failure.stage, failure.message) for failure in driver.failures] == [("read", "The scan is bad.")]


def test_what_follows_from_something_that_now_fails_is_removed(skeleton):
    before = [stage("first"), stage("second", "first"), stage("other")]
    drive(skeleton, *before)
    failing = stage("first", revision=2, run=fails(OSError(28, "No space left on device", "x")))
    driver = drive(skeleton, failing, *before[1:])
    assert done(driver) == ["other"]
    assert [path.exists() for path in (skeleton.path("figures", desc=name) for name in ("first", "second", "other"))] == [
        False,
        False,
        True,
    ]


@pytest.mark.parametrize(
    ("error", "step", "words"),
    [
        (GraphFailed("brain mask", "There is no brain.", "trace"), "brain mask", "There is no brain."),
        (UnusableInput("Cut short."), "read", "Cut short."),
        (MemoryError(), "memory", NO_MEMORY),
        (OSError(28, "The file cannot be written: the disk is full.", "x"), "files", "The file cannot be written: the disk is full."),
        (OSError(5, "Input/output error", "x"), "files", "A file could not be read or written"),
        (ZeroDivisionError("x"), "processing", "an error that was not foreseen (ZeroDivisionError: x)"),
    ],
)
def test_every_error_is_one_sentence(skeleton, error, step, words):
    (failure,) = drive(skeleton, stage("toy", run=fails(error))).failures
    assert failure.stage == step and words in failure.message and failure.modality is None
    (failure,) = drive(skeleton, stage("flair", "scan:FLAIR", run=fails(error))).failures
    assert failure.stage == f"FLAIR: {step}" and failure.modality == "FLAIR"


def test_a_wrong_setting_is_nobodys_failure(skeleton):
    with pytest.raises(BadConfiguration, match="damaged"):
        drive(skeleton, stage("toy", run=fails(BadConfiguration("The model is damaged."))))


def test_a_stage_that_forgets_a_file_fails(skeleton):
    (failure,) = drive(skeleton, stage("toy", run=lambda session, plan: None)).failures
    assert "did not write" in failure.message


def test_a_stage_that_was_interrupted_starts_over(skeleton):
    both = (Output("figures", (("desc", "one"),)), Output("figures", (("desc", "two"),)))

    def killed(session, plan):
        writes(both[1])(session, plan)
        raise KeyboardInterrupt

    toy = Stage("toy", (), both, (), 1, killed)
    with pytest.raises(KeyboardInterrupt):
        drive(skeleton, toy)
    calls = []

    def whole(session, plan):
        calls.append(both[1].path(plan.out_dir, session).exists())
        writes(*both)(session, plan)

    again = Stage("toy", (), both, (), 1, whole)
    assert done(drive(skeleton, again)) == ["toy"] and calls == [False]  # emptied first
    assert done(drive(skeleton, again)) == ["toy"] and len(calls) == 1


def test_a_scan_that_is_not_there_fails_alone_and_throws_nothing_away(skeleton):
    stages = [stage("structure", "scan:T1w"), stage("flair", "scan:FLAIR", "structure"), stage("swi", "scan:swi", "structure")]
    drive(skeleton, *stages)
    skeleton.session.scans["FLAIR"].path.write_bytes(b"")
    driver = drive(skeleton, *stages)
    (failure,) = driver.failures
    assert (failure.stage, failure.modality) == ("FLAIR: read", "FLAIR") and "0 bytes" in failure.message
    assert done(driver) == ["structure", "swi"] and skeleton.path("figures", desc="flair").exists()


def test_a_stage_whose_scan_a_session_lacks_is_no_failure(skeleton):
    driver = drive(skeleton, stage("cbv", "scan:cbv"), stage("after", "cbv"), stage("soft", "cbv?"))
    assert driver.failures == [] and done(driver) == ["soft"]


def test_messages_tell_what_is_there_what_runs_and_what_is_stale(skeleton, caplog):
    caplog.set_level("INFO", "brainage")
    drive(skeleton, stage("toy"))
    assert [record.getMessage() for record in caplog.records][0] == "sub-1: toy" and "sub-1: toy done in" in caplog.text
    assert "made from another" not in caplog.text
    drive(skeleton, stage("toy"))
    assert "sub-1: toy is there already" in caplog.text
    drive(skeleton, stage("toy", revision=2))
    assert "sub-1: toy was made from other data, with other settings or by another version" in caplog.text


def test_what_is_to_be_made_is_known_beforehand(skeleton):
    stages = in_order([stage("a", "scan:T1w"), stage("b", "a"), stage("c", "scan:FLAIR", "a"), stage("d"), stage("e", "scan:cbv")])
    assert [each.name for each in Driver(skeleton.session, skeleton.plan, stages).to_make()] == ["a", "b", "c", "d"]
    drive(skeleton, *stages)
    assert Driver(skeleton.session, skeleton.plan, stages).to_make() == []
    skeleton.session.scans["FLAIR"].path.write_text("other bytes")
    assert [each.name for each in Driver(skeleton.session, skeleton.plan, stages).to_make()] == ["c"]
    skeleton.session.scans["FLAIR"].path.unlink()  # said when it is taken
    assert Driver(skeleton.session, skeleton.plan, stages).to_make() == []


class Clerk:
    """Stands in for the helper process: does what it was asked for when it is heard."""

    def __init__(self):
        self.calls = []

    def ask(self, function, *arguments):
        self.calls.append((function, arguments))


def test_the_helper_is_asked_for_other_scans_and_what_needs_them_waits(skeleton):
    clerk = Clerk()
    stages = [stage("structure", "scan:T1w"), stage("flair", "scan:FLAIR", "structure"), stage("t1w", "structure")]
    stages += [stage("model", "t1w", "flair?"), stage("ages", "model")]
    driver = drive(skeleton, *stages, helper=clerk)
    assert done(driver) == ["structure", "t1w"] and list(driver.asked) == ["flair"]
    ((function, arguments),) = clerk.calls
    assert function is make
    driver.hear("flair", function(*arguments))
    driver.go()
    assert sorted(done(driver)) == ["ages", "flair", "model", "structure", "t1w"] and driver.asked == {}
    again = drive(skeleton, *stages, helper=clerk)
    assert len(clerk.calls) == 1 and len(done(again)) == 5  # nobody is asked for what is there


def test_a_helper_that_died_is_a_failure_of_that_image(skeleton):
    clerk = Clerk()
    driver = drive(skeleton, stage("flair", "scan:FLAIR"), stage("model", "flair"), stage("other", "flair?"), helper=clerk)
    driver.hear("flair", Lost(-9))
    driver.go()
    (failure,) = driver.failures
    assert (failure.stage, failure.modality, failure.message) == ("FLAIR: process", "FLAIR", LOST) and "-9" in failure.detail
    assert done(driver) == ["other"]
