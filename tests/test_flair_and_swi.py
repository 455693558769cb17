"""A small person with T1w, FLAIR and SWI from raw files to the report; what is wrong with a FLAIR never costs the T1w."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from brainage_bids.bids.tables import read_tsv
from brainage_bids.cli.phantom import main as make_people
from brainage_bids.imaging.rigid import pose, rigid_error

MNI = "space-MNI152NLin2009aSym_res-2"
MOVED = pose([6.0, -4.0, 5.0], [5.0, -3.0, 8.0], [0, -20, 10])
PER_MODALITY = ("from-{0}_to-T1w_mode-image_xfm.txt", "space-T1w_desc-preproc_{0}.nii.gz", f"{MNI}_desc-preproc_{{0}}.nii.gz")
PACKED = ("space-T1w_res-1_desc-packed_{0}.nii.gz", f"{MNI}_desc-packed_{{0}}.nii.gz")


def run(bids, out, work, *more):
    words = [sys.executable, "-m", "brainage_bids.cli.brainage", str(bids), str(out), "participant", "--sloppy", "--omp-nthreads", "1"]
    return subprocess.run([*words, "-w", str(work), *more], capture_output=True, text=True, timeout=900)


@pytest.fixture(scope="module")
def person(tmp_path_factory):
    """One person: a FLAIR of 3 mm slices, an SWI of 2 mm in a folder of its own, both in another pose."""
    bids = tmp_path_factory.mktemp("bids") / "three"
    make_people(
        [str(bids), "--participants", "2", "--sites", "2", "--resolution", "2", "--seed", "1100", "--jobs", "1", "--ages", "50", "60"]
    )
    people = {path.name: nib.load(path / "anat" / f"{path.name}_FLAIR.nii.gz") for path in bids.glob("sub-*")}
    name = next(name for name, flair in people.items() if flair.header.get_zooms()[2] == 3)  # the second site scans slices
    for folder in [bids / other for other in people if other != name] + [bids / "phenotype"]:
        shutil.rmtree(folder)
    (bids / name).rename(bids / "sub-demo01")
    for path in (bids / "sub-demo01" / "anat").iterdir():
        path.rename(path.with_name(path.name.replace(name, "sub-demo01")))
    table = (bids / "participants.tsv").read_text().splitlines()
    kept = [table[0], *(line.replace(name, "sub-demo01") for line in table if line.startswith(name))]
    (bids / "participants.tsv").write_text("\n".join(kept) + "\n")
    (bids / "derivatives" / "truth" / name).rename(bids / "derivatives" / "truth" / "sub-demo01")
    (bids / "sub-demo01" / "swi").mkdir()
    for ending in (".nii.gz", ".json"):
        (bids / f"sub-demo01/anat/sub-demo01_swi{ending}").rename(bids / f"sub-demo01/swi/sub-demo01_part-mag_swi{ending}")
    move_head(bids / "sub-demo01/anat/sub-demo01_FLAIR.nii.gz", MOVED)
    move_head(bids / "sub-demo01/swi/sub-demo01_part-mag_swi.nii.gz", MOVED)
    return bids


def move_head(path: Path, matrix: np.ndarray) -> None:
    """Let the voxels lie elsewhere."""
    image = nib.load(path)
    moved = nib.Nifti1Image(np.asanyarray(image.dataobj), matrix @ image.affine, image.header)
    moved.to_filename(path.with_name("moved.nii.gz"))
    path.with_name("moved.nii.gz").replace(path)


def truth(person: Path, modality: str) -> np.ndarray:
    """From the T1w to where the head of a modality was moved to."""
    (path,) = (person / "derivatives" / "truth" / "sub-demo01").rglob("*_parameters.json")
    known = json.loads(path.read_text())["effects"]["T1w_to_modality_mm"]
    return MOVED @ np.array(known[{"FLAIR": "FLAIR", "swi": "SWI"}[modality]])


@pytest.fixture(scope="module")
def finished(person, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "derivatives"
    done = run(person, out, tmp_path_factory.mktemp("work"))
    assert done.returncode == 0, done.stderr[-4000:]
    return out


def anat(out: Path) -> Path:
    return out / "sub-demo01" / "anat"


def metrics(out: Path, modality: str) -> dict[str, dict[str, str]]:
    return {row["metric"]: row for row in read_tsv(anat(out) / f"sub-demo01_desc-qc_{modality}.tsv").rows}


def itk_matrix(path: Path) -> np.ndarray:
    import SimpleITK as sitk

    transform = sitk.ReadTransform(str(path))
    points = np.vstack([np.zeros(3), np.eye(3)])
    flip = np.array([-1, -1, 1])
    moved = np.array([np.array(transform.TransformPoint((point * flip).tolist())) * flip for point in points])
    matrix = np.eye(4)
    matrix[:3, 3] = moved[0]
    matrix[:3, :3] = (moved[1:] - moved[0]).T
    return matrix


@pytest.mark.parametrize("modality", ["FLAIR", "swi"])
def test_the_pose_is_found_and_written_as_itk_reads_it(person, finished, modality):
    found = itk_matrix(anat(finished) / f"sub-demo01_from-{modality}_to-T1w_mode-image_xfm.txt")
    brain = nib.load(anat(finished) / "sub-demo01_desc-brain_mask.nii.gz")
    points = np.argwhere(np.asarray(brain.dataobj) > 0)[::500] @ brain.affine[:3, :3].T + brain.affine[:3, 3]
    distance, angle = rigid_error(found, truth(person, modality), points)
    assert distance < 1.0 and angle < 1.0


@pytest.mark.parametrize("modality", ["T1w", "FLAIR", "swi"])
def test_arrays_hold_white_matter_at_110_in_the_brain_alone(finished, modality):
    for name in PACKED:
        image = nib.load(anat(finished) / f"sub-demo01_{name.format(modality)}")
        assert image.get_data_dtype() == np.uint8 and image.dataobj.slope == pytest.approx(383 / 255)
        assert (np.asarray(image.dataobj)[0] == 0).all()
    wm = nib.load(anat(finished) / "sub-demo01_label-WM_probseg.nii.gz")
    points = np.argwhere(wm.get_fdata() > 0.95) @ wm.affine[:3, :3].T + wm.affine[:3, 3]
    image = nib.load(anat(finished) / f"sub-demo01_{PACKED[0].format(modality)}")
    index = np.rint((points - image.affine[:3, 3]) @ np.linalg.inv(image.affine[:3, :3]).T).astype(int)
    white = image.get_fdata()[tuple(index.T)]
    assert np.median(white) == pytest.approx(110, abs=8)


def test_outputs_are_masked_on_the_right_grids_and_flagged_by_nothing(finished):
    t1w = nib.load(anat(finished) / "sub-demo01_desc-preproc_T1w.nii.gz")
    mask = np.asarray(nib.load(anat(finished) / "sub-demo01_desc-brain_mask.nii.gz").dataobj) > 0
    for modality in ("FLAIR", "swi"):
        image = nib.load(anat(finished) / f"sub-demo01_space-T1w_desc-preproc_{modality}.nii.gz")
        assert image.shape == t1w.shape and np.allclose(image.affine, t1w.affine, atol=1e-4)
        assert not image.get_fdata()[~mask].any() and (image.get_fdata()[mask] > 0).mean() > 0.95
        assert nib.load(anat(finished) / f"sub-demo01_{MNI}_desc-preproc_{modality}.nii.gz").shape == (91, 109, 91)
        rows = metrics(finished, modality)
        assert {row["flag"] for row in rows.values()} == {"n/a"}
        assert float(rows["edge_agreement"]["value"]) > 0.8 and ("fluid_ratio" in rows) == (modality == "FLAIR")
    about = json.loads((anat(finished) / "sub-demo01_desc-qc_swi.json").read_text())
    assert about["Sources"][0] == "bids:raw:sub-demo01/swi/sub-demo01_part-mag_swi.nii.gz" and about["SourceChoice"] == "only swi (swi)"


def test_the_report_has_a_section_for_each(finished):
    page = (finished / "sub-demo01.html").read_text(encoding="utf-8")
    for words in ("FLAIR: quality", "SWI: quality", "only swi (swi)", "mutual information", "only FLAIR"):
        assert words in page
    assert not list((finished / "sub-demo01").glob("figures/*"))  # --sloppy draws none


def test_the_output_with_three_modalities_is_valid_bids(finished):
    validator = Path(sys.executable).with_name("bids-validator-deno")
    answer = subprocess.run([str(validator), str(finished), "--format", "json"], capture_output=True, text=True)
    assert [issue for issue in json.loads(answer.stdout)["issues"]["issues"] if issue["severity"] == "error"] == []


def spoilt(person: Path, finished: Path, folder: Path) -> tuple[Path, Path]:
    shutil.copytree(person, folder / "bids")
    shutil.copytree(finished, folder / "out")
    return folder / "bids", folder / "out"


def times(out: Path, word: str = "") -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in anat(out).glob("*") if word in path.name}


def test_a_flair_cut_short_fails_alone_and_all_else_stays(person, finished, tmp_path):
    bids, out = spoilt(person, finished, tmp_path)
    path = bids / "sub-demo01" / "anat" / "sub-demo01_FLAIR.nii.gz"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    before = times(out)
    done = run(bids, out, tmp_path / "work")
    assert done.returncode == 1
    failure = json.loads((out / "logs" / "failures" / "sub-demo01_FLAIR.json").read_text())
    assert failure["modality"] == "FLAIR" and "sub-demo01_FLAIR.nii.gz is cut short" in failure["message"]
    after = times(out)
    assert {name: time for name, time in before.items() if "FLAIR" not in name} == after
    page = (out / "sub-demo01.html").read_text(encoding="utf-8")
    assert "cut short" in page and "Brain age" in page
    shutil.copy(person / "sub-demo01" / "anat" / "sub-demo01_FLAIR.nii.gz", path)
    done = run(bids, out, tmp_path / "work")
    assert done.returncode == 0, done.stderr[-4000:]
    assert not (out / "logs" / "failures" / "sub-demo01_FLAIR.json").exists()
    assert set(times(out)) == set(before) and {name: time for name, time in times(out).items() if "FLAIR" not in name} == after


def test_a_flair_of_another_head_is_flagged_and_not_used(person, finished, tmp_path):
    bids, out = spoilt(person, finished, tmp_path)
    move_head(bids / "sub-demo01/anat/sub-demo01_FLAIR.nii.gz", np.diag([1.15, 0.85, 1.15, 1.0]))  # no turn or shift makes it fit
    before = times(out)
    done = run(bids, out, tmp_path / "work")
    assert done.returncode == 0, done.stderr[-4000:]
    rows = metrics(out, "FLAIR")
    assert rows["edge_agreement"]["flag"] == "poor_coregistration" and rows["snr"]["value"] == "n/a"
    assert set(times(out, "FLAIR")) == {"sub-demo01_desc-qc_FLAIR.tsv", "sub-demo01_desc-qc_FLAIR.json"}
    assert {name: time for name, time in times(out).items() if "FLAIR" not in name} == {k: v for k, v in before.items() if "FLAIR" not in k}
    assert "The FLAIR is not used" in (out / "sub-demo01.html").read_text(encoding="utf-8")


def test_a_flair_without_content_fails_alone(person, finished, tmp_path):
    bids, out = spoilt(person, finished, tmp_path)
    path = bids / "sub-demo01" / "anat" / "sub-demo01_FLAIR.nii.gz"
    image = nib.load(path)
    nib.save(nib.Nifti1Image(np.zeros(image.shape, np.int16), image.affine), path)
    done = run(bids, out, tmp_path / "work")
    assert done.returncode == 1 and "holds only zeros" in done.stderr
    assert (anat(out) / "sub-demo01_brainage.tsv").is_file() and not times(out, "FLAIR")
