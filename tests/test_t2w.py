"""A person with a T2w from the phantom through the app and the group level: what one row of `modalities.MODALITIES` gives."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from brainage_bids.bids.tables import read_tsv
from brainage_bids.cli.phantom import main as make_people

pytestmark = pytest.mark.slow

MNI = "space-MNI152NLin2009aSym_res-2"


def run(*words):
    command = [sys.executable, "-m", "brainage_bids.cli.brainage", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=900)


@pytest.fixture(scope="module")
def person(tmp_path_factory):
    bids = tmp_path_factory.mktemp("bids") / "two"
    make_people([str(bids), "--participants", "1", "--resolution", "2", "--modalities", "T1w", "T2w", "--seed", "4", "--jobs", "1"])
    return bids


@pytest.fixture(scope="module")
def finished(person, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "derivatives"
    done = run(person, out, "participant", "--sloppy", "--omp-nthreads", "1", "-w", tmp_path_factory.mktemp("work"))
    assert done.returncode == 0, done.stderr[-4000:]
    return out


def anat(out: Path, ending: str) -> Path:
    return out / "sub-001" / "anat" / f"sub-001_{ending}"


def test_it_lies_on_the_t1w(person, finished):
    (path,) = (person / "derivatives" / "truth" / "sub-001").rglob("*_parameters.json")
    known = np.array(json.loads(path.read_text())["effects"]["T1w_to_modality_mm"]["T2w"])
    mask = nib.load(anat(finished, "desc-brain_mask.nii.gz"))
    points = np.argwhere(np.asarray(mask.dataobj) > 0)[::500] @ mask.affine[:3, :3].T + mask.affine[:3, 3]
    transform, to_itk = sitk.ReadTransform(str(anat(finished, "from-T2w_to-T1w_mode-image_xfm.txt"))), np.array([-1, -1, 1])
    moved = np.array([transform.TransformPoint((point * to_itk).tolist()) for point in points]) * to_itk
    assert np.linalg.norm(moved - (points @ known[:3, :3].T + known[:3, 3]), axis=1).mean() < 1.0  # mm
    assert nib.load(anat(finished, f"{MNI}_desc-preproc_T2w.nii.gz")).shape == (91, 109, 91)


def test_its_arrays_keep_fluid_below_the_clip(finished):
    white = nib.load(anat(finished, "label-WM_probseg.nii.gz")).get_fdata() > 0.95
    image = nib.load(anat(finished, "space-T1w_desc-preproc_T2w.nii.gz")).get_fdata()
    about = json.loads(anat(finished, "space-T1w_res-1_desc-packed_T2w.json").read_text())
    assert np.median(image[white]) * about["ScaleFactor"] == pytest.approx(55, rel=0.02) and "white matter is 55," in about["Description"]
    packed = nib.load(anat(finished, "space-T1w_res-1_desc-packed_T2w.nii.gz"))
    assert packed.get_data_dtype() == np.uint8 and 150 < packed.get_fdata().max() < 383


def test_its_quality_is_in_a_table_and_in_the_group(person, finished):
    rows = {row["metric"]: row for row in read_tsv(anat(finished, "desc-qc_T2w.tsv")).rows}
    assert {row["flag"] for row in rows.values()} == {"n/a"}
    assert 2.5 < float(rows["fluid_ratio"]["value"]) < 3.6 and rows["fluid_ratio"]["low"] == "1.5"
    done = run(person, finished, "group")
    assert done.returncode == 0, done.stderr[-4000:]
    (row,) = read_tsv(finished / "group_brainage.tsv").rows
    assert float(row["qc_T2w_fluid_ratio"]) == pytest.approx(float(rows["fluid_ratio"]["value"]))


def test_it_has_a_section(finished):
    page = (finished / "sub-001.html").read_text(encoding="utf-8")
    for words in ("T2w: quality", "only T2w", "T2w images were registered to the T1w", "white matter was set to 55"):
        assert words in page
    assert "FLAIR: quality" not in page and "SWI: quality" not in page


@pytest.mark.parametrize("folder", ["person", "finished"])
def test_raw_data_and_outputs_are_valid_bids(folder, request):
    validator = Path(sys.executable).with_name("bids-validator-deno")
    answer = subprocess.run([str(validator), str(request.getfixturevalue(folder)), "--format", "json"], capture_output=True, text=True)
    assert [issue for issue in json.loads(answer.stdout)["issues"]["issues"] if issue["severity"] == "error"] == []
