import pytest
from hypothesis import given
from hypothesis import strategies as st

from brainage_bids.bids.names import derivative_path
from brainage_bids.records import FLAGS
from brainage_bids.reports.content import flag_words, number, read_participant


def test_all_sessions_are_read_in_order(tmp_path, drawn, tools):
    for session_id in ("ses-b", "ses-a"):
        tools.session(tmp_path, drawn, "sub-1", session_id, brain_age=40.0)
    view = read_participant(tmp_path, "sub-1")
    assert [session.session_id for session in view.sessions] == ["ses-a", "ses-b"]
    first = view.sessions[0]
    assert first.estimates[0]["brain_age"] == "40.0" and first.estimates[0]["pad_corrected"] is None
    assert list(first.figures) == ["mask", "tissues", "registration"]
    assert first.sidecar["SourceChoice"] == "only T1w" and first.volumes["GM"] == "700000.0"
    assert first.complete and not view.unread


def test_a_dataset_without_sessions_has_one_visit(tmp_path, drawn, tools):
    tools.session(tmp_path, drawn, "sub-1")
    assert [session.session_id for session in read_participant(tmp_path, "sub-1").sessions] == [None]


def test_failures_belong_to_their_person_and_session(tmp_path, drawn, tools):
    tools.failure(tmp_path, "sub-1", "ses-2", stage="tissues")
    tools.failure(tmp_path, "sub-1", stage="read")
    tools.failure(tmp_path, "sub-10", "ses-1", stage="wrong")
    tools.failure(tmp_path, "sub-10", stage="wrong")
    tools.session(tmp_path, drawn, "sub-1", "ses-1")
    view = read_participant(tmp_path, "sub-1")
    assert [(s.session_id, [f.stage for f in s.faults]) for s in view.sessions] == [("ses-1", []), ("ses-2", ["tissues"])]
    assert [fault.stage for fault in view.faults] == ["read"]
    assert not view.sessions[1].complete


def test_a_failure_of_a_session_without_a_proper_name_stays_with_the_person(tmp_path, tools):
    tools.failure(tmp_path, "sub-1", "ses-1", session_id="ses-a <b>/..")
    view = read_participant(tmp_path, "sub-1")
    assert view.sessions == () and [fault.session_id for fault in view.faults] == ["ses-a <b>/.."]


def test_nothing_there_is_no_error(tmp_path):
    view = read_participant(tmp_path, "sub-1")
    assert view.sessions == () and view.faults == () and view.unread == ()


def test_a_file_that_cannot_be_read_is_named(tmp_path, drawn, tools):
    tools.session(tmp_path, drawn, "sub-1")
    derivative_path(tmp_path, "brainage", "sub-1").write_bytes(b"brain_age\n\xff\xfe\n")
    (tmp_path / "sub-1" / "anat" / "sub-1_desc-preproc_T1w.json").write_text("{")
    view = read_participant(tmp_path, "sub-1")
    assert view.sessions[0].estimates == () and view.sessions[0].sidecar == {}
    assert [sentence.split()[0] for sentence in view.unread] == ["sub-1_desc-preproc_T1w.json", "sub-1_brainage.tsv"]


def test_cells_with_quotes_are_plain_text(tmp_path, drawn, tools):
    tools.session(tmp_path, drawn, "sub-1", model='a "quoted" name', flags='"')
    row = read_participant(tmp_path, "sub-1").sessions[0].estimates[0]
    assert row["model"] == 'a "quoted" name' and row["flags"] == '"' and row["model_sha256"] == "ab" * 32


@given(st.lists(st.sampled_from(sorted(FLAGS))))
def test_flags_keep_their_order_and_get_their_words(codes):
    assert flag_words(";".join(codes)) == tuple((code, FLAGS[code]) for code in codes)


@pytest.mark.parametrize("text", ["n/a", "", "inf", "abc", None])
def test_what_is_no_number_is_none(text):
    assert number(text) is None


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_come_back(value):
    assert number(repr(value)) == value
