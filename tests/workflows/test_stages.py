"""What decides that finished files are still valid."""

from pathlib import Path

import pytest

from brainage_bids.records import Scan, Session, UnusableInput
from brainage_bids.workflows.stages import fingerprint


def session(path: Path) -> Session:
    return Session("sub-1", None, {"T1w": Scan(path, "T1w", {}, "only T1w")})


def digest(path, **reused):
    return fingerprint(session(path), skull_strip="auto", sloppy=False, seed=1, reused=reused)


@pytest.fixture
def files(tmp_path):
    for name in ("raw", "one", "two"):
        (tmp_path / f"{name}.nii").write_text(name)
    return {name: tmp_path / f"{name}.nii" for name in ("raw", "one", "two")}


def test_bytes_and_roles_of_what_is_used_decide(files):
    digests = [
        digest(files["raw"]),
        digest(files["one"]),
        digest(files["raw"], preproc=files["one"], mask=files["two"]),
        digest(files["raw"], preproc=files["two"], mask=files["one"]),
        digest(files["raw"], preproc=files["one"], dseg=files["two"]),
    ]
    assert len(set(digests)) == len(digests)


def test_the_raw_scan_need_not_be_there_if_preprocessing_is_reused(files, tmp_path):
    used = {"preproc": files["one"], "mask": files["two"]}
    assert digest(tmp_path / "gone.nii", **used) == digest(files["raw"], **used)


def test_a_scan_that_is_not_there_is_said_before_anything_is_thrown_away(files, tmp_path):
    link, empty = tmp_path / "link.nii", tmp_path / "empty.nii"
    link.symlink_to("../.git/annex/objects/x")
    empty.write_bytes(b"")
    for path, words in ((link, "datalad get"), (empty, "0 bytes"), (tmp_path / "none.nii", "does not exist")):
        with pytest.raises(UnusableInput, match=words):
            digest(path)
