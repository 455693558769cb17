import os

import pytest

from brainage_bids.bids.query import collect
from brainage_bids.records import BadConfiguration, BadDataset

PEOPLE = "participant_id\tage\tsex\nsub-1\t30\tF\nsub-2\t40\tM\n"


def chosen(inventory) -> dict[str, str]:
    return {session.stem: session.scans["T1w"].path.name for person in inventory.participants for session in person.sessions}


def left_out(inventory) -> list[tuple]:
    return [(item.participant_id, item.session_id, item.file and item.file.name, item.named) for item in inventory.skipped]


def test_sessions_of_some_people(make_dataset):
    root = make_dataset(
        {
            "participants.tsv": PEOPLE,
            "T1w.json": {"MagneticFieldStrength": 3},
            "sub-1/ses-a/anat/sub-1_ses-a_acq-mprage_T1w.nii": 1.0,
            "sub-1/ses-b/anat/sub-1_ses-b_T1w.nii.gz": 1.0,
            "sub-2/anat/sub-2_T1w.nii.gz": 1.0,
            "sub-2/anat/sub-2_T1w.json": {"MagneticFieldStrength": 7},
            "derivatives/x/sub-3/anat/sub-3_T1w.nii.gz": 1.0,
        }
    )
    inventory = collect(root)
    first, second = inventory.participants
    assert [session.session_id for session in first.sessions] == ["ses-a", "ses-b"] and second.sessions[0].session_id is None
    scan = first.sessions[0].scans["T1w"]
    assert scan.path == root / "sub-1/ses-a/anat/sub-1_ses-a_acq-mprage_T1w.nii" and scan.reason == "only T1w"
    assert scan.entities == {"subject": "1", "session": "a", "acquisition": "mprage"} and scan.metadata == {"MagneticFieldStrength": 3}
    assert second.sessions[0].scans["T1w"].metadata == {"MagneticFieldStrength": 7}
    assert (second.sessions[0].age, second.sessions[0].sex, second.sessions[0].flags) == (40.0, "M", ())
    assert inventory.problems == () and inventory.skipped == () and inventory.failures == ()


@pytest.mark.parametrize("labels", [["1"], ["sub-1"], ["1", "sub-1"]])
def test_labels_with_and_without_prefix(make_dataset, labels):
    root = make_dataset({f"sub-{i}/ses-{s}/anat/sub-{i}_ses-{s}_T1w.nii": None for i in ("1", "11") for s in ("1", "2")})
    assert set(chosen(collect(root, participant_labels=labels))) == {"sub-1_ses-1", "sub-1_ses-2"}
    for session in ("2", "ses-2"):
        assert set(chosen(collect(root, participant_labels=labels, session_labels=[session]))) == {"sub-1_ses-2"}


def test_one_of_several_is_chosen_and_the_others_are_told(make_dataset):
    root = make_dataset({f"sub-1/anat/sub-1_run-{i}_T1w.nii.gz": 1.0 for i in (1, 2)})
    inventory = collect(root)
    assert chosen(inventory) == {"sub-1": "sub-1_run-2_T1w.nii.gz"}
    assert left_out(inventory) == [("sub-1", None, "sub-1_run-1_T1w.nii.gz", False)]
    assert "sub-1_run-2_T1w.nii.gz was chosen (last run of 2 T1w)" in inventory.skipped[0].reason
    assert chosen(collect(root, bids_filters={"t1w": {"run": 1}})) == {"sub-1": "sub-1_run-1_T1w.nii.gz"}


@pytest.mark.parametrize("modality", ["T1w", "FLAIR"])
def test_magnitudes_by_every_spelling_and_nothing_else(make_dataset, modality):
    parts = ("magnitude", "phase", "real", "imag", "Phase")
    files = {f"sub-1/anat/sub-1_part-{part}_{modality}.nii.gz": 1.0 for part in parts}
    inventory = collect(make_dataset({"sub-1/anat/sub-1_run-1_T1w.nii.gz": 3.0, **files}))
    assert inventory.participants[0].sessions[0].scans[modality].path.name == f"sub-1_part-magnitude_{modality}.nii.gz"
    told = {item.file.name.split("_")[1]: item.reason for item in inventory.skipped}
    assert all(told[f"part-{part}"] == f"it is no magnitude image (part-{part})" for part in parts[1:])
    inventory = collect(make_dataset({f"sub-1/anat/sub-1_part-{part}_T1w.nii": 1.0 for part in parts[1:]}, folder="phases"))
    assert chosen(inventory) == {} and "no T1w image to be used" in {item.reason.partition(" in any")[0] for item in inventory.skipped}


def test_people_without_t1w_are_skipped_unless_named(make_dataset):
    root = make_dataset({"sub-1/anat/sub-1_T1w.nii": None, "sub-2/meg/sub-2_meg.fif": None, "sub-3/anat/sub-3_PDw.nii": None})
    inventory = collect(root)
    assert left_out(inventory) == [("sub-2", None, None, False), ("sub-3", None, None, False)] and inventory.failures == ()
    inventory = collect(root, participant_labels=["3", "1", "9"])
    assert left_out(inventory) == [("sub-3", None, None, True), ("sub-9", None, None, True)]
    assert [(failure.participant_id, failure.stage) for failure in inventory.failures] == [("sub-3", "find"), ("sub-9", "find")]
    assert "no folder sub-9" in inventory.failures[1].message and set(chosen(inventory)) == {"sub-1"}


def test_sessions_without_t1w(make_dataset):
    root = make_dataset(
        {"sub-1/ses-1/anat/sub-1_ses-1_T1w.nii": None, "sub-1/ses-2/func/x.nii": None, "sub-2/ses-1/anat/sub-2_ses-1_T1w.nii": None}
    )
    assert left_out(collect(root, participant_labels=["1"])) == [("sub-1", "ses-2", None, False)]
    inventory = collect(root, session_labels=["2"])
    assert chosen(inventory) == {} and left_out(inventory) == [("sub-1", None, None, False), ("sub-2", None, None, False)]
    assert collect(root, participant_labels=["2"], session_labels=["2"]).failures[0].message.endswith("no session ses-2")


def test_ages_of_sessions(make_dataset):
    root = make_dataset(
        {
            "participants.tsv": PEOPLE,
            "sub-1/ses-1/func/x": None,
            "sub-1/ses-2/anat/sub-1_ses-2_T1w.nii": None,
            "sub-2/ses-9/anat/sub-2_ses-9_T1w.nii": None,
        }
    )
    flags = {session.stem: session.flags for person in collect(root).participants for session in person.sessions}
    assert flags == {"sub-1_ses-2": ("age_not_per_session",), "sub-2_ses-9": ()}


def test_names_and_places_that_disagree(make_dataset):
    root = make_dataset(
        {
            "sub-1/anat/sub-2_T1w.nii": None,
            "sub-1/anat/sub-1_ses-1_T1w.nii": None,
            "sub-1/ses-1/anat/sub-1_T1w.nii": None,
            "sub-1/ses-1/anat/sub-1_ses-1_space-MNI_desc-preproc_T1w.nii": None,
            "sub-1/ses-1/anat/sub-1_ses-1_odd name_T1w.nii": None,
        }
    )
    inventory = collect(root)
    assert chosen(inventory) == {} and len(inventory.skipped) == 6
    assert {item.reason.split()[-1] for item in inventory.skipped} == {"sessions", "(space-)", "BIDS", "folder"}


@pytest.mark.parametrize("description", [None, "{", [], {"Name": 3}, {"DatasetType": "derivative"}])
def test_datasets_without_a_good_description(make_dataset, description):
    root = make_dataset({"sub-1/anat/sub-1_T1w.nii": None, "participants.tsv": PEOPLE}, description=None)
    if description is not None:
        make_dataset({"dataset_description.json": description}, description=None)
    inventory = collect(root)
    assert set(chosen(inventory)) == {"sub-1"} and len(inventory.problems) == (0 if description == {"Name": 3} else 1)


def test_folders_that_are_no_datasets(make_dataset, tmp_path):
    with pytest.raises(BadDataset, match="is not a folder"):
        collect(tmp_path / "nothing")
    with pytest.raises(BadDataset, match="neither"):
        collect(make_dataset({"x": None}, description=None, folder="a"))
    assert collect(make_dataset({}, folder="b")).participants == ()


def test_a_wild_dataset_is_walked(make_dataset, tmp_path):
    """Everything seen in public datasets that once broke some tool."""
    root = make_dataset(
        {
            ".bidsignore": "sub-4\n",
            "participants.tsv": b"\xef\xbb\xbfparticipant_id\tage\tsex\tage\r\nsub-1\t12-15\tO\t3\r\nsub-2\tn/a\tF \r\n",
            "participants.json": "not json",
            "phenotype/x.tsv": "participant_id\tsub-1\n",
            "code/sub-7/anat/sub-7_T1w.nii": None,
            "sub-1/anat/sub-1_T1w.nii.gz": b"\x1f\x8b",
            "sub-1/anat/sub-1_T1w.json": "[]",
            "sub-1/anat/.sub-1_T1w.nii.gz": None,
            "sub-1/sub-1_sessions.tsv": "nonsense",
            "sub-2/micr/sub-2_sample-A_SPIM.ome.zarr/0/.zarray": "{}",
            "sub-2/meg/sub-2_task-x_meg.ds/hz.ds/x": None,
            "sub-2/anat/sub-2_T1w.ome.zarr/0/x": None,
            "sub-3_old/anat/sub-3_T1w.nii": None,
            "sub-4/ses-1/eeg/x": None,
            "sub-4/ses-/anat/x_T1w.nii": None,
            "sub-5": "a file",
            "sub-6/anat": "a file",
            "sub-é/anat/x": None,
        }
    )
    os.symlink(tmp_path / "nowhere", root / "sub-2" / "anat" / "sub-2_T1w.nii.gz")
    os.symlink(root / "sub-1", root / "sub-8")
    os.symlink(root, root / "sub-4" / "ses-1" / "anat")
    os.symlink(tmp_path / "nowhere", root / "sub-9")
    inventory = collect(root)
    assert set(chosen(inventory)) == {"sub-1", "sub-2"}
    assert {(item.participant_id, item.named) for item in inventory.skipped} == {("sub-4", False), ("sub-6", False), ("sub-8", False)}
    assert [session.flags for person in inventory.participants for session in person.sessions] == [("age_missing",)] * 2
    assert any("'sub-3_old', 'sub-é'" in problem for problem in inventory.problems)
    assert any("participants.json" in problem for problem in inventory.problems)


def test_wrong_settings(make_dataset, tmp_path):
    root = make_dataset({"sub-1/anat/sub-1_T1w.nii": None})
    with pytest.raises(BadConfiguration, match="none.json"):
        collect(root, bids_filters=tmp_path / "none.json")
    with pytest.raises(BadConfiguration, match=r"none\.tsv"):
        collect(root, phenotype_files=[tmp_path / "none.tsv"])


def test_the_input_is_not_written_to(make_dataset):
    root = make_dataset({"sub-1/anat/sub-1_T1w.nii.gz": 1.0, "participants.tsv": PEOPLE})
    before = {path: path.stat().st_mtime_ns for path in [root, *root.rglob("*")]}
    collect(root)
    assert {path: path.stat().st_mtime_ns for path in [root, *root.rglob("*")]} == before


@pytest.mark.slow
def test_one_of_five_thousand_people_is_found_without_looking_at_the_others(make_dataset, monkeypatch):
    import time

    root = make_dataset({"participants.tsv": "participant_id\tage\n" + "".join(f"sub-{i:04d}\t{20 + i % 50}\n" for i in range(5000))})
    for i in range(5000):
        (root / f"sub-{i:04d}" / "anat").mkdir(parents=True)
        (root / f"sub-{i:04d}" / "anat" / f"sub-{i:04d}_T1w.nii.gz").touch()
    start = time.monotonic()
    inventory = collect(root, participant_labels=["4321"])
    assert set(chosen(inventory)) == {"sub-4321"} and inventory.participants[0].sessions[0].age == 41
    assert time.monotonic() - start < 10


@pytest.mark.real
@pytest.mark.parametrize(("name", "sessions", "age"), [("ds002748", 36, (19, 52)), ("ixi2mm", 5, (23.35, 38.78)), ("openms", 4, (19, 20))])
def test_real_datasets(name, sessions, age):
    from pathlib import Path

    here = Path(__file__).resolve().parents[2]
    root = Path(os.environ.get("BRAINAGE_TEST_DATA", here.parent / "shared" / "data")) / name
    if not root.is_dir():
        pytest.skip(f"the real scans are not at {root}")
    inventory = collect(root)
    ages = [session.age for person in inventory.participants for session in person.sessions]
    assert len(ages) == sessions and (min(ages), max(ages)) == age and inventory.problems == ()
    assert all(session.sex in ("F", "M") for person in inventory.participants for session in person.sessions)


def test_of_whom_nothing_can_be_taken_over_is_said(make_dataset):
    raw = make_dataset({f"sub-{label}/anat/sub-{label}_T1w.nii.gz": 1.0 for label in ("1", "2")})
    names = [f"sub-1/anat/sub-1_{name}.nii.gz" for name in ("desc-preproc_T1w", "desc-brain_mask")]
    standard = "sub-2/anat/sub-2_space-MNI152NLin2009cAsym_desc-preproc_T1w.nii.gz"
    other = make_dataset(dict.fromkeys([*names, standard]), folder="other")
    found = collect(raw, derivatives={"prep": other})
    assert list(found.reused) == ["sub-1"]
    assert [problem for problem in found.problems if "prep" in problem and "sub-2" in problem and "sub-1" not in problem]
    assert not [problem for problem in collect(raw).problems if "take over" in problem]
