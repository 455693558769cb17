"""What comes from outside of the output folder: bytes of scans, values of the phenotype."""

from dataclasses import replace
from pathlib import Path

import pytest

from brainage_bids.bids.reuse import Reused
from brainage_bids.records import Scan, Session, UnusableInput
from brainage_bids.settings import Settings
from brainage_bids.workflows.plan import Plan
from brainage_bids.workflows.roots import Roots

SETTINGS = Settings("/in", "/out", "/work")
PLAN = Plan(SETTINGS, Path("/work/sub-1"))


def session(path: Path, modality: str = "T1w", **phenotype) -> Session:
    return Session("sub-1", None, {modality: Scan(path, modality, {}, "only one")}, **phenotype)


def digest(path, **precomputed):
    reused = {"sub-1": Reused("theirs", path.parent, precomputed)} if precomputed else {}
    return Roots(session(path), replace(PLAN, precomputed=reused)).digest("scan:T1w")


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


def test_the_name_of_a_file_does_not_count(files, tmp_path):
    (tmp_path / "moved.nii").write_text("raw")
    assert digest(tmp_path / "moved.nii") == digest(files["raw"])


def test_the_raw_scan_need_not_be_there_if_precomputed_files_are(files, tmp_path):
    used = {"preproc": files["one"], "mask": files["two"]}
    assert digest(tmp_path / "gone.nii", **used) == digest(files["raw"], **used)


def test_a_scan_that_is_not_there_is_said(files, tmp_path):
    link, empty = tmp_path / "link.nii", tmp_path / "empty.nii"
    link.symlink_to("../.git/annex/objects/x")
    empty.write_bytes(b"")
    for path, words in ((link, "datalad get"), (empty, "0 bytes"), (tmp_path / "none.nii", "does not exist")):
        with pytest.raises(UnusableInput, match=words):
            digest(path)
        with pytest.raises(UnusableInput, match=words):
            Roots(session(path, "FLAIR"), PLAN).digest("scan:FLAIR")


def test_values_of_the_phenotype_count_known_or_not(files):
    def of(name, **phenotype):
        return Roots(session(files["raw"], **phenotype), PLAN).digest(name)

    ages = [of("phenotype:age", age=age) for age in (None, 50.0, 50.1)]
    assert len(set(ages)) == 3 and of("phenotype:age", age=50.0, sex="M") == ages[1]
    assert of("phenotype:sex") != of("phenotype:sex", sex="M")
    assert of("phenotype:flags") != of("phenotype:flags", flags=("age_censored",))


def test_what_a_session_has(files):
    roots = Roots(session(files["raw"]), PLAN)
    assert roots.has("scan:T1w") and not roots.has("scan:FLAIR") and roots.has("phenotype:age") and roots.has("run:pictures")
    assert not Roots(session(files["raw"]), replace(PLAN, settings=replace(SETTINGS, sloppy=True))).has("run:pictures")
    for name in ("phenotype:height", "run:away", "scanner:x"):
        with pytest.raises(ValueError, match="Nothing outside"):
            roots.has(name)
