"""Datasets as they are found in the wild: ``--dry-run`` lists every one, without a traceback, and ends with 0, 65 or 66."""

import json
import os

import nibabel as nib
import numpy as np
import pytest

from brainage_bids.cli.brainage import main

IMAGE = nib.Nifti1Image(np.zeros((2, 2, 2), np.uint8), np.eye(4)).to_bytes()
SOUND = {"dataset_description.json": {"Name": "x", "BIDSVersion": "1.8.0"}}
PEOPLE = "participants.tsv"
T1W = "sub-01/anat/sub-01_T1w.nii.gz"
ONE = {**SOUND, T1W: IMAGE}


class Link(str):
    """Where a link leads."""


def tsv(*lines):
    return "".join(line.replace(" ", "\t") + "\n" for line in lines)


def images(*names):
    return {**SOUND, **dict.fromkeys(names, IMAGE)}


CASES = {
    # what is in the dataset, exit code, actions of its rows, words on stderr
    "nothing": ({}, 65, [], "is no BIDS dataset"),
    "only a description": (SOUND, 66, [], "no folders sub-*"),
    "only derivatives": (images("derivatives/p/sub-01/anat/sub-01_desc-preproc_T1w.nii.gz"), 66, [], "no folders sub-*"),
    "only sourcedata": (images("sourcedata/raw/sub-09/anat/sub-09_T1w.nii.gz", "code/sub-1/anat/sub-1_T1w.nii"), 66, [], "sourcedata/raw"),
    "eeg": ({**SOUND, "sub-01/eeg/sub-01_task-rest_eeg.edf": "", "sub-02/eeg/x.vhdr": ""}, 66, ["skip", "skip"], "Nothing was found"),
    "meg": ({**ONE, "sub-01/meg/x_meg.ds/x.meg4": "", "sub-emptyroom/ses-2010/meg/x_meg.fif": ""}, 0, ["process", "skip"], ""),
    "pet": ({**SOUND, "sub-01/ses-b/pet/x_pet.nii.gz": "", "sub-01/ses-b/anat/sub-01_ses-b_T1w.nii": ""}, 0, ["process"], ""),
    "microscopy": ({**SOUND, "samples.tsv": "sample_id\n", "sub-01/micr/sub-01_sample-A_SEM.png": ""}, 66, ["skip"], ""),
    "no bytes": ({**SOUND, T1W: "", "sub-02/anat/sub-02_T1w.nii": ""}, 0, ["process", "process"], ""),
    "junk": ({**SOUND, T1W: b"\x1f\x8b\0"}, 0, ["process"], ""),
    "both extensions": (images(T1W, T1W[:-3]), 0, ["process", "leave"], ""),
    "sessions for some": (
        images(T1W, "sub-02/ses-a/anat/sub-02_ses-a_T1w.nii.gz", "sub-02/ses-b/func/x.nii", "sub-03/ses-a/anat/sub-03_T1w.nii.gz"),
        0, ["process", "process", "skip", "skip", "leave"], "",
    ),
    "inherited": ({**ONE, "T1w.json": {"EchoTime": 1}, "sub-01/sub-01_T1w.json": [1], "acq-x_T1w.json": "{"}, 0, ["process"], "no JSON"),
    "mp2rage": (images("sub-01/anat/sub-01_inv-1_MP2RAGE.nii.gz", "sub-01/anat/sub-01_UNIT1.nii.gz"), 66, ["skip"], ""),
    "parts": (images(*(f"sub-01/anat/sub-01_part-{x}_T1w.nii" for x in ("mag", "phase", "real"))), 0, ["process", "leave", "leave"], ""),
    "deface mask": (images(T1W, "sub-01/anat/sub-01_mod-T1w_defacemask.nii.gz"), 0, ["process"], ""),
    "annex": ({**SOUND, T1W: Link("../../.git/annex/x"), PEOPLE: Link(".git/annex/p")}, 0, ["process"], "participants.tsv cannot"),
    "links in circles": ({**ONE, "sub-02/anat": Link("."), "sub-03": Link("sub-03")}, 0, ["process", "skip"], ""),
    "labels": (images(T1W, "sub-a_b/anat/x_T1w.nii", "sub-/anat/x_T1w.nii", "sub-é/anat/x_T1w.nii"), 0, ["process"], "3 folder(s)"),
    "only odd labels": (images("sub-a_b/anat/sub-a_b_T1w.nii.gz"), 66, [], "'sub-a_b'"),
    "files for folders": ({**ONE, "sub-02": "x", "sub-03/anat": "x", f"sub-04/anat/{T1W[12:]}/x": "x"}, 0, ["process", "skip", "skip"], ""),
    "names": (images("sub-01/anat/sub-02_T1w.nii.gz", "sub-01/anat/sub-01_acq-a-b_T1w.nii"), 66, ["skip", "leave", "leave"], ""),
    "hidden": ({**ONE, ".bidsignore": "*\n", "sub-01/anat/._sub-01_T1w.nii.gz": b"x", ".DS_Store": b"x"}, 0, ["process"], ""),
    "no description": ({T1W: IMAGE}, 0, ["process"], "no dataset_description.json"),
    "broken description": ({**ONE, "dataset_description.json": "{"}, 0, ["process"], "cannot be read as JSON"),
    "listed description": ({**ONE, "dataset_description.json": [1]}, 65, [], "malformed"),
    "derivative": (
        {"dataset_description.json": {"DatasetType": "derivative"}, "sub-01/anat/sub-01_desc-preproc_T1w.nii.gz": IMAGE},
        66, ["skip", "leave"], "describes itself as a derivative",
    ),
    "table of 0 bytes": ({**ONE, PEOPLE: ""}, 0, ["process"], "participants.tsv is empty"),
    "table with BOM": ({**ONE, PEOPLE: "\ufeffparticipant_id\tage\r\nsub-01\t30\r\n"}, 0, ["process"], None),
    "table without prefix": ({**ONE, PEOPLE: tsv("participant_id age", "01 30")}, 0, ["process"], None),
    "table with a row twice": ({**ONE, PEOPLE: tsv("participant_id age", "sub-01 30", "sub-01 30")}, 0, ["process"], "the same row twice"),
    "table with two rows": ({**ONE, PEOPLE: tsv("participant_id age", "sub-01 30", "sub-01 9")}, 65, [], "more than one row"),
    "table without names": ({**ONE, PEOPLE: tsv("subject age", "sub-01 30")}, 0, ["process"], "no column participant_id"),
    "table with commas": ({**ONE, PEOPLE: "participant_id,age\nsub-01,30\n"}, 0, ["process"], "separated by tabs"),
    "table with a broken JSON": (
        {**ONE, PEOPLE: tsv("participant_id age", "sub-01 30"), "participants.json": "{"}, 0, ["process"], "participants.json cannot",
    ),
    "phenotype": ({**ONE, "phenotype/a.tsv": tsv("a b", "1 2"), "phenotype/b.tsv/x": ""}, 0, ["process"], "phenotype/b.tsv cannot be read"),
}  # fmt: skip


def write(root, content):
    root.mkdir()
    for name, value in content.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(value, Link):
            os.symlink(value, path)
        elif isinstance(value, bytes):
            path.write_bytes(value)
        else:
            path.write_bytes((value if isinstance(value, str) else json.dumps(value)).encode())
    return root


@pytest.mark.parametrize(("content", "code", "actions", "words"), CASES.values(), ids=CASES)
def test_dry_run(content, code, actions, words, tmp_path, capsys):
    root = write(tmp_path / "ds", content)
    assert main([str(root), str(tmp_path / "out"), "participant", "--dry-run"]) == code
    said = capsys.readouterr()
    assert [line.split("\t")[4] for line in said.out.splitlines()[1:]] == actions
    assert said.err == "" if words is None else words in said.err
    assert "Traceback" not in said.err and not (tmp_path / "out").exists()
