"""A cohort of rendered heads, coarse: from the command line to the query of the app, in one and in two processes."""

import json

import nibabel as nib
import numpy as np
import pytest

from brainage_bids.bids.query import collect
from brainage_bids.bids.tables import read_tsv
from brainage_bids.cli.phantom import main
from brainage_bids.phantoms.write import TABLES, TRUTH
from tests.phantoms.test_run import digest, errors_of

OPTIONS = ("--participants", "2", "--ages", "30", "80", "--resolution", "4", "--sessions", "2", "--sites", "2")


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    out = tmp_path_factory.mktemp("heads") / "cohort"
    assert main([str(out), *OPTIONS, "--jobs", "1"]) == 0
    return out


@pytest.mark.slow
def test_two_processes_write_the_same_bytes(cohort, tmp_path):
    assert main([str(tmp_path / "two"), *OPTIONS, "--jobs", "2"]) == 0
    assert digest(tmp_path / "two") == digest(cohort)


def test_it_is_valid_and_the_app_finds_all_visits(cohort):
    assert errors_of(cohort) == [] and errors_of(cohort / TRUTH) == []
    found = collect(cohort)
    assert [len(participant.sessions) for participant in found.participants] == [2, 2] and not found.skipped
    for participant in found.participants:
        for session in participant.sessions:
            folder = session.scans["T1w"].path.parent
            assert {path.name.split("_")[-1] for path in folder.glob("*.nii.gz")} == {"T1w.nii.gz", "FLAIR.nii.gz", "swi.nii.gz"}


def test_the_table_of_the_truth_counts_the_labels(cohort):
    for row in read_tsv(cohort / TRUTH / "participants.tsv").rows:
        stem = f"{row['participant_id']}_{row['session_id']}"
        folder = cohort / TRUTH / row["participant_id"] / row["session_id"] / "anat"
        labels = nib.load(folder / f"{stem}_desc-true_dseg.nii.gz")
        voxel_ml = abs(np.linalg.det(labels.affine[:3, :3])) / 1000
        white = np.isin(np.asarray(labels.dataobj), (2, 41)).sum() * voxel_ml
        assert float(row["white_ml"]) == pytest.approx(white, rel=0.05)
        lookup = {int(line["index"]) for line in read_tsv(cohort / TRUTH / "desc-true_dseg.tsv").rows}
        assert set(np.unique(np.asarray(labels.dataobj))) <= lookup | {0}
        record = json.loads((folder / f"{stem}_desc-true_parameters.json").read_text())
        assert record["effects"]["seeds"]["visit"] == record["visit"]["visit_seed"]


def test_a_retest_changes_noise_and_position_alone(cohort):
    rows = {(row["participant_id"], row["session_id"]): row for row in read_tsv(cohort / TRUTH / "participants.tsv").rows}
    for person in ("sub-001", "sub-002"):
        first, second = rows[person, "ses-1"], rows[person, "ses-2"]
        assert first["brain_age"] == second["brain_age"]
        assert float(first["ventricles_ml"]) == pytest.approx(float(second["ventricles_ml"]), rel=1e-6)
        images = [nib.load(cohort / person / visit / "anat" / f"{person}_{visit}_T1w.nii.gz").get_fdata() for visit in ("ses-1", "ses-2")]
        assert not np.array_equal(*images)


def test_maps_on_the_model_s_grid_sum_to_the_true_volumes(tmp_path):
    assert main([str(tmp_path / "maps"), "--participants", "1", "--model-space", "tissues", "--jobs", "1"]) == 0
    (row,) = read_tsv(tmp_path / "maps" / TRUTH / "participants.tsv").rows
    path = (
        tmp_path / "maps" / TABLES / "sub-001" / "anat" / "sub-001_space-MNI152NLin2009aSym_res-1p5_label-{}_desc-modulated_probseg.nii.gz"
    )
    grey, white = (nib.load(str(path).format(tissue)).get_fdata().sum() * 1.5**3 / 1000 for tissue in ("GM", "WM"))
    grey_parts = ("cortical_grey", "cerebellar_grey", "thalamus", "caudate", "putamen", "pallidum", "hippocampus", "amygdala", "accumbens")
    assert grey == pytest.approx(sum(float(row[f"{name}_ml"]) for name in grey_parts), rel=0.03)
    assert white == pytest.approx(
        sum(float(row[f"{name}_ml"]) for name in ("white", "cerebellar_white", "brain_stem", "ventral_dc")), rel=0.03
    )
