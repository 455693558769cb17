"""What decides that finished files are still valid, on stages without a run."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brainage_bids.records import Session
from brainage_bids.settings import Settings
from brainage_bids.workflows.stage import (
    ENTRIES,
    Output,
    Stage,
    discard,
    fingerprint,
    in_order,
    is_finished,
    mark_finished,
    needed_stages,
    read_entries,
    stored_fingerprint,
    those_that_need,
    with_needs,
    write_entries,
)

SESSION = Session("sub-1", "ses-2", {})
SETTINGS = Settings("/in", "/out", "/work")
IMAGES = (Output("probseg", (("label", "GM"),)), Output("mask", optional=True), Output("preproc"))


def stage(name="toy", needs=(), outputs=IMAGES, settings_used=(), revision=1):
    return Stage(name, tuple(needs), outputs, tuple(settings_used), revision, print)


def write(of, out_dir, *, skip=()):
    for output in of.outputs:
        path = output.path(out_dir, SESSION)
        path.parent.mkdir(parents=True, exist_ok=True)
        if output.key not in skip:
            path.touch()


def names(stages):
    return [each.name for each in stages]


def test_stages_come_after_those_they_need_and_else_as_they_are_given():
    given_order = [stage("d", ["b?", "c"]), stage("a"), stage("c", ["a|b", "scan:T1w"]), stage("b")]
    assert names(in_order(given_order)) == ["b", "a", "c", "d"]
    assert names(in_order([stage("b"), stage("a")])) == ["b", "a"]


@pytest.mark.parametrize(
    ("stages", "words"),
    [
        ([stage("a"), stage("a")], "Two stages have one name"),
        ([stage("a", ["b"])], "needs b, which no stage makes"),
        ([stage("a", ["b"]), stage("b", ["a?"])], "cycle"),
        ([stage("a", ["a"])], "cycle"),
    ],
)
def test_tables_that_cannot_be_are_refused(stages, words):
    with pytest.raises(ValueError, match=words):
        in_order(stages)


def test_some_stages_go_with_all_that_they_need():
    table = [stage("a"), stage("b", ["a", "scan:T1w"]), stage("c", ["b?"]), stage("d", ["a|e"]), stage("e"), stage("f", ["c"])]
    assert names(with_needs({"c", "d"}, table)) == ["a", "b", "c", "d", "e"]
    assert with_needs((), table) == []


def test_who_needs_a_stage_directly_or_not():
    ordered = in_order([stage("a"), stage("b", ["a"]), stage("c", ["a?"]), stage("d", ["x|c"]), stage("x"), stage("e", ["d"])])
    assert names(those_that_need("a", ordered)) == ["b", "c", "d", "e"]
    assert names(those_that_need("x", ordered)) == ["d", "e"]
    assert those_that_need("e", ordered) == []
    assert needed_stages(stage(needs=["scan:T1w", "x|y", "z?"])) == ["x", "y", "z"]


@given(st.permutations(["structure", "FLAIR?", "one|two"]), st.permutations(["sloppy", "skull_strip"]))
def test_the_order_of_needs_and_settings_does_not_count(needs, used):
    digests = {"structure": "1", "one": "2"}
    first = fingerprint(stage(needs=["structure", "FLAIR?", "one|two"], settings_used=["sloppy", "skull_strip"]), SETTINGS, digests)
    assert fingerprint(stage(needs=needs, settings_used=used), SETTINGS, digests) == first


def test_everything_that_decides_is_in_the_fingerprint_and_nothing_else():
    of, digests = stage(needs=["structure", "FLAIR?"], settings_used=["sloppy"]), {"structure": "1", "FLAIR": "2"}
    first = fingerprint(of, SETTINGS, digests)
    others = [
        fingerprint(replace(of, name="other"), SETTINGS, digests),
        fingerprint(replace(of, revision=2), SETTINGS, digests),
        fingerprint(replace(of, revision="1"), SETTINGS, digests),
        fingerprint(of, replace(SETTINGS, sloppy=True), digests),
        fingerprint(of, SETTINGS, digests | {"structure": "3"}),
        fingerprint(of, SETTINGS, {"structure": "1"}),
        fingerprint(of, SETTINGS, {"structure": "2", "FLAIR": "1"}),
        fingerprint(replace(of, needs=("structure",)), SETTINGS, digests),
    ]
    assert len({first, *others}) == len(others) + 1
    assert fingerprint(of, replace(SETTINGS, skull_strip="skip", nprocs=9), digests) == first
    assert fingerprint(of, SETTINGS, digests | {"figures": "4"}) == first
    assert fingerprint(of, SETTINGS, {"structure": "1", "FLAIR": None}) == fingerprint(of, SETTINGS, {"structure": "1"})


def test_finished_is_what_is_marked_and_whole(tmp_path):
    of = stage()
    assert not is_finished(of, "x", tmp_path, SESSION) and stored_fingerprint(of, tmp_path, SESSION) is None
    write(of, tmp_path)
    assert not is_finished(of, "x", tmp_path, SESSION)
    mark_finished(of, "x", tmp_path, SESSION)
    assert is_finished(of, "x", tmp_path, SESSION) and not is_finished(of, "y", tmp_path, SESSION)
    for output in of.outputs:
        output.path(tmp_path, SESSION).unlink()
        assert not is_finished(of, "x", tmp_path, SESSION)
        output.path(tmp_path, SESSION).touch()
    assert is_finished(of, "x", tmp_path, SESSION)


def test_the_mark_leaves_the_rest_of_the_sidecar(tmp_path):
    of = stage()
    write(of, tmp_path)
    path = of.outputs[-1].path(tmp_path, SESSION).with_name("sub-1_ses-2_desc-preproc_T1w.json")
    path.write_text(json.dumps({"Sources": ["ä"], "Fingerprint": "old"}))
    mark_finished(of, "x", tmp_path, SESSION)
    assert json.loads(path.read_text()) == {"Sources": ["ä"], "Fingerprint": "x"}


def test_what_a_stage_may_leave_out_is_remembered(tmp_path):
    of = stage()
    write(of, tmp_path, skip=["mask"])
    mark_finished(of, "x", tmp_path, SESSION)
    assert is_finished(of, "x", tmp_path, SESSION)
    of.outputs[0].path(tmp_path, SESSION).unlink()
    assert not is_finished(of, "x", tmp_path, SESSION)
    write(of, tmp_path)
    mark_finished(of, "x", tmp_path, SESSION)
    of.outputs[1].path(tmp_path, SESSION).unlink()  # made this time, so it is missed
    assert not is_finished(of, "x", tmp_path, SESSION)


def test_a_stage_that_forgot_a_file_is_not_finished(tmp_path):
    of = stage()
    write(of, tmp_path, skip=["probseg"])
    with pytest.raises(FileNotFoundError, match="toy did not write .*label-GM_probseg.nii.gz"):
        mark_finished(of, "x", tmp_path, SESSION)
    assert stored_fingerprint(of, tmp_path, SESSION) is None


@pytest.mark.parametrize("text", ["", "{", "[]", "1", '{"Fingerprint": "y"}', '{"Predictions": [1]}'])
def test_a_sidecar_that_says_something_else_is_not_finished(tmp_path, text):
    of = stage()
    write(of, tmp_path)
    mark_finished(of, "x", tmp_path, SESSION)
    of.outputs[-1].path(tmp_path, SESSION).with_name("sub-1_ses-2_desc-preproc_T1w.json").write_text(text)
    assert not is_finished(of, "x", tmp_path, SESSION)
    assert not is_finished(stage(outputs=(Output("preproc", entry="one"),)), "x", tmp_path, SESSION)


def test_discarding_removes_a_stage_and_nothing_else(tmp_path):
    of, other = stage(), stage("other", outputs=(Output("qc"),))
    for each in (of, other):
        write(each, tmp_path)
        mark_finished(each, "x", tmp_path, SESSION)
    discard(of, tmp_path, SESSION)
    assert is_finished(other, "x", tmp_path, SESSION)
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == [
        "sub-1_ses-2_desc-qc_T1w.json",
        "sub-1_ses-2_desc-qc_T1w.tsv",
    ]
    discard(of, tmp_path, SESSION)  # nothing there is no error


ONE, TWO = (stage(f"model-{name}", outputs=(Output("brainage", entry=name),)) for name in ("one", "two"))
AGES = stage("ages", outputs=(Output("brainage"),))


def remember(of, out_dir):
    (output,) = of.outputs
    write_entries(output, out_dir, SESSION, read_entries(output, out_dir, SESSION) | {output.entry: {"brain_age": 41.5}})
    mark_finished(of, of.name, out_dir, SESSION)


def test_entries_of_one_sidecar_are_valid_each_by_itself(tmp_path):
    remember(ONE, tmp_path)
    remember(TWO, tmp_path)
    assert is_finished(ONE, "model-one", tmp_path, SESSION) and is_finished(TWO, "model-two", tmp_path, SESSION)
    discard(ONE, tmp_path, SESSION)
    assert not is_finished(ONE, "model-one", tmp_path, SESSION) and is_finished(TWO, "model-two", tmp_path, SESSION)
    discard(TWO, tmp_path, SESSION)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_the_table_comes_and_goes_without_the_entries_beside_it(tmp_path):
    remember(ONE, tmp_path)
    assert stored_fingerprint(AGES, tmp_path, SESSION) is None
    write(AGES, tmp_path)
    mark_finished(AGES, "x", tmp_path, SESSION)
    remember(TWO, tmp_path)
    assert is_finished(AGES, "x", tmp_path, SESSION)
    discard(AGES, tmp_path, SESSION)
    assert not is_finished(AGES, "x", tmp_path, SESSION) and is_finished(TWO, "model-two", tmp_path, SESSION)
    (path,) = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert set(json.loads(path.read_text())) == {ENTRIES}


def test_the_modality_of_a_stage_is_that_of_its_scan():
    assert stage(needs=["scan:T1w", "structure"]).modality is None
    assert stage(needs=["structure", "scan:FLAIR"]).modality == "FLAIR"
