"""A person of two sessions with a stand-in for the helper process: who does what, in which order, and what becomes of it."""

from dataclasses import replace

import pytest

from brainage_bids.records import BadConfiguration, UnusableInput
from brainage_bids.workflows import participant
from brainage_bids.workflows.driver import LOST
from brainage_bids.workflows.helper_process import Lost

T1W = ["structure", "template", "volumes", "quality", "arrays", "figures"]
OTHERS = ["FLAIR", "swi"]
MODEL = ["model-volumes", "ages"]


class StandIn:
    """Does what it was asked for when its answers are wanted, like a process that is slow.

    Attributes
    ----------
    dies : bool
        In the middle of the first call.
    """

    made: list["StandIn"] = []
    dies = False

    def __init__(self, threads, folder, prepare):
        self.threads, self.folder, self.prepare, self.calls, self.ended = threads, folder, prepare, [], False
        StandIn.made.append(self)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.ended = True

    def ask(self, function, *arguments):
        self.calls.append((function, arguments))

    def answers(self):
        return [Lost(-9) if StandIn.dies and number == 0 else call[0](*call[1]) for number, call in enumerate(self.calls)]


@pytest.fixture
def person(skeleton, monkeypatch):
    """Two sessions, two threads."""
    monkeypatch.setattr(participant, "HelperProcess", StandIn)
    monkeypatch.setattr(StandIn, "made", [])
    monkeypatch.setattr(StandIn, "dies", False)
    second = {modality: skeleton.scan(modality, f"{modality}2") for modality in ("T1w", "FLAIR", "swi")}
    skeleton.sessions = (replace(skeleton.session, session_id="ses-1"), replace(skeleton.session, session_id="ses-2", scans=second))
    skeleton.plan = replace(skeleton.plan, settings=replace(skeleton.plan.settings, omp_nthreads=2))
    return skeleton


def test_the_helper_has_the_other_scans_while_this_process_goes_on(person):
    assert person.run() == [*T1W, *MODEL, *T1W, *MODEL, *OTHERS, *OTHERS] and person.failures == []
    (helper,) = StandIn.made
    assert helper.ended and helper.threads == 1 and len(helper.calls) == 4
    assert helper.folder == person.plan.work_dir and helper.folder.is_dir() and helper.prepare is participant.get_ready
    assert person.run() == [] and len(StandIn.made) == 1


def test_one_process_alone_takes_them_as_early_as_it_can(person):
    one = [T1W[0], *OTHERS, *T1W[1:], *MODEL]
    assert person.run(omp_nthreads=1) == [*one, *one] and StandIn.made == []


def test_both_ways_leave_the_same(person, tmp_path):
    def content():
        out = person.plan.out_dir
        return {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*") if path.is_file()}

    person.run()
    helped = content()
    person.run(omp_nthreads=1, out_dir=str(tmp_path / "alone"))
    assert content() == helped and len(helped) > 60


def test_what_needs_the_other_scans_waits_for_the_answers(person):
    person.changes["model-volumes"] = {"needs": ("volumes", "FLAIR?")}
    made = person.run()
    assert made == [*T1W, *T1W, *OTHERS, *OTHERS, "model-volumes", "ages", "model-volumes", "ages"]


@pytest.mark.parametrize("threads", [1, 2])
def test_a_failure_says_which_session_and_modality_it_is(person, threads):
    person.failing |= {"swi": UnusableInput("odd"), "arrays": UnusableInput("odd too")}
    person.run(omp_nthreads=threads)
    found = {(failure.session_id, failure.modality, failure.message) for failure in person.failures}
    assert found == {(session, *what) for session in ("ses-1", "ses-2") for what in (("swi", "odd"), (None, "odd too"))}
    assert person.path("brainage").is_file()


def test_a_helper_that_dies_costs_the_image_it_was_at(person):
    StandIn.dies = True
    person.run()
    (failure,) = person.failures
    assert (failure.session_id, failure.modality, failure.message) == ("ses-1", "FLAIR", LOST)
    StandIn.dies = False
    assert person.run() == ["FLAIR"] and person.failures == []


def test_a_structure_that_fails_is_asked_for_nothing(person):
    person.failing["structure"] = UnusableInput("no brain")
    assert person.run() == ["structure", "structure"]
    assert [failure.message for failure in person.failures] == ["no brain"] * 2 and StandIn.made[0].calls == []


def test_the_helper_ends_with_a_wrong_setting_too(person):
    person.failing["model-volumes"] = BadConfiguration("The model is damaged.")
    with pytest.raises(BadConfiguration, match="damaged"):
        person.run()
    assert StandIn.made[0].ended


def test_a_session_that_is_there_is_left_while_another_is_made(person):
    person.run()
    person.sessions[1].scans["T1w"].path.write_text("another head")
    assert person.run() == [*T1W, *MODEL, *OTHERS]
    person.sessions[1].scans["FLAIR"].path.write_text("another FLAIR")
    assert person.run() == ["FLAIR"] and len(StandIn.made) == 2  # for one image there is no time to start it
