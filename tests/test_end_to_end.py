"""The whole way on two small synthetic people: from raw T1w to reports, reruns, kills and broken scans.

Processes are real ones, as a user starts them; in all of them connecting to anything but this machine's own sockets fails.
"""

from __future__ import annotations

import gzip
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

import brainage_bids
from brainage_bids.bids.names import derivative_path
from brainage_bids.bids.tables import read_tsv
from brainage_bids.cli.phantom import main as make_people
from brainage_bids.models.kinds import KINDS

TOYS = Path(__file__).parent / "toys"

NO_NETWORK = """
import socket
def _refuse(self, address):
    if self.family != getattr(socket, "AF_UNIX", None):
        raise AssertionError(f"a network connection was tried: {address}")
    return _connect(self, address)
_connect = socket.socket.connect
socket.socket.connect = _refuse
socket.socket.connect_ex = _refuse
"""
OPTIONS = ("participant", "--sloppy", "--omp-nthreads", "1", "--nprocs", "2")


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    (folder / "sitecustomize.py").write_text(NO_NETWORK)
    places = [str(folder), str(Path(brainage_bids.__file__).parents[1])]  # the code under test
    return os.environ | {"PYTHONPATH": os.pathsep.join(places), "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    """Two synthetic people; spaces and letters beyond ASCII in the path."""
    folder = tmp_path_factory.mktemp("bids") / "Größe und Alter"
    make_people([str(folder), "--participants", "2", "--resolution", "2", "--modalities", "T1w", "--seed", "1100", "--jobs", "1"])
    return folder


def command(bids, out, work, *more):
    return [sys.executable, "-m", "brainage_bids.cli.brainage", str(bids), str(out), *OPTIONS, "-w", str(work), *more]


def run(bids, out, work, environment, *more):
    return subprocess.run(command(bids, out, work, *more), env=environment, capture_output=True, text=True, timeout=900)


@pytest.fixture(scope="module")
def finished(people, tmp_path_factory, environment):
    """An undisturbed run."""
    out = tmp_path_factory.mktemp("out") / "derivatives ü"
    done = run(people, out, tmp_path_factory.mktemp("work"), environment)
    assert done.returncode == 0, done.stderr[-4000:]
    return out


def content(out: Path) -> dict[str, object]:
    """Values of all images and tables of the participants."""
    values: dict[str, object] = {}
    for path in sorted(out.glob("sub-*/**/*")):
        name = str(path.relative_to(out))
        if name.endswith(".nii.gz"):
            values[name] = np.asarray(nib.load(path).dataobj).tobytes()
        elif name.endswith(".tsv"):
            values[name] = path.read_text()
    return values


def labels(people: Path) -> list[str]:
    return sorted(path.name for path in people.glob("sub-*"))


def test_everybody_gets_an_age_a_report_and_all_files(people, finished):
    for label in labels(people):
        (row,) = read_tsv(finished / label / "anat" / f"{label}_brainage.tsv").rows
        low, age, high = (float(row[key]) for key in ("brain_age_low", "brain_age", "brain_age_high"))
        assert low < age < high and 0 < age < 120
        assert float(row["pad"]) == pytest.approx(age - float(row["age"]), abs=1e-6)
        assert f"{age:.1f}" in (finished / f"{label}.html").read_text(encoding="utf-8")


def test_nothing_partial_is_left(finished):
    assert not [path for path in finished.rglob(".*") if path.is_file() and path.name != ".bidsignore"]


def bids_errors(out: Path) -> list[dict]:
    validator = Path(sys.executable).with_name("bids-validator-deno")
    answer = subprocess.run([str(validator), str(out), "--format", "json"], capture_output=True, text=True)
    return [issue for issue in json.loads(answer.stdout)["issues"]["issues"] if issue["severity"] == "error"]


def test_the_output_is_valid_bids(finished):
    assert bids_errors(finished) == []


def apply_with_simpleitk(moving: Path, reference: Path, transform: Path) -> np.ndarray:
    sitk = pytest.importorskip("SimpleITK")
    read = [sitk.ReadImage(str(path), sitk.sitkFloat32) for path in (moving, reference)]
    return sitk.GetArrayFromImage(sitk.Resample(*read, sitk.ReadTransform(str(transform)))).T


def apply_with_nitransforms(moving: Path, reference: Path, transform: Path) -> np.ndarray:
    pytest.importorskip("nitransforms")
    from nitransforms.manip import TransformChain
    from nitransforms.resampling import apply

    chain = TransformChain.from_filename(transform, fmt="itk", moving=moving, reference=reference)
    return np.asarray(apply(chain, moving, reference=reference, order=1).dataobj)


def apply_with_ants(moving: Path, reference: Path, transform: Path) -> np.ndarray:
    ants = pytest.importorskip("ants")
    images = {"fixed": ants.image_read(str(reference)), "moving": ants.image_read(str(moving))}
    return ants.apply_transforms(**images, transformlist=[str(transform)]).numpy()


@pytest.mark.parametrize("apply", [apply_with_simpleitk, apply_with_nitransforms, apply_with_ants])
def test_others_apply_the_transforms(people, finished, apply):
    person = labels(people)[0]
    native, forward = (derivative_path(finished, key, person) for key in ("preproc", "xfm_forward"))
    standard = derivative_path(finished, "t1w_mni", person, res="2")
    moved, ours = apply(native, standard, forward), np.asarray(nib.load(standard).dataobj)
    assert np.corrcoef(moved.ravel(), ours.ravel())[0, 1] > 0.99


@pytest.mark.parametrize("key", ["dseg", "aseg"])
def test_others_name_regions_by_the_lookup_table(people, finished, key):
    from nilearn.maskers import NiftiLabelsMasker

    person = labels(people)[0]
    image, table, t1w = (derivative_path(finished, name, person) for name in (key, f"{key}_lookup", "preproc"))
    masker = NiftiLabelsMasker(image, lut=table)
    means = masker.fit_transform(t1w).ravel()
    codes = np.asarray(nib.load(image).dataobj)
    wanted = {row["name"]: code for row in read_tsv(table).rows if (code := int(row["index"])) and (codes == code).any()}
    assert dict(zip(masker.region_names_.values(), means)) == pytest.approx(
        {name: np.asarray(nib.load(t1w).dataobj)[codes == code].mean() for name, code in wanted.items()}, rel=1e-4
    )


def test_modulated_maps_hold_the_native_volume(people, finished):
    for label in labels(people):
        folder = finished / label / "anat"
        (volumes,) = read_tsv(folder / f"{label}_desc-volumes_morph.tsv").rows
        for tissue in ("GM", "WM"):
            path = folder / f"{label}_space-MNI152NLin2009aSym_res-1p5_label-{tissue}_desc-modulated_probseg.nii.gz"
            assert nib.load(path).get_fdata().sum() * 1.5**3 == pytest.approx(float(volumes[tissue]), rel=0.01)


def test_a_rerun_does_only_what_is_missing(people, finished, tmp_path, environment):
    out = tmp_path / "out"
    shutil.copytree(finished, out)
    label = labels(people)[0]
    images = sorted(out.rglob("*.nii.gz"))
    before = {path: path.stat().st_mtime_ns for path in images}
    gone = out / label / "anat" / f"{label}_desc-qc_T1w.tsv"
    wanted = gone.read_text()
    gone.unlink()
    done = run(people, out, tmp_path / "work", environment)
    assert done.returncode == 0, done.stderr[-4000:]
    assert gone.read_text() == wanted
    assert {path: path.stat().st_mtime_ns for path in images} == before


def test_killed_at_any_moment_a_rerun_ends_the_same(people, finished, tmp_path, environment):
    label = labels(people)[0]
    reference = {name: value for name, value in content(finished).items() if name.startswith(label + "/")}
    out = tmp_path / "out"
    signs = (f"{label}_dseg.tsv", f"{label}_desc-preproc_T1w.nii.gz", f"{label}_space-MNI152NLin2009aSym_res-2_desc-preproc_T1w.nii.gz")
    for sign in signs:
        process = subprocess.Popen(
            command(people, out, tmp_path / "work", "--participant-label", label),
            env=environment, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        until = time.monotonic() + 300
        while process.poll() is None and not (out / label / "anat" / sign).exists():
            assert time.monotonic() < until
            time.sleep(0.02)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        for path in out.rglob("*.nii.gz"):
            if not path.name.startswith("."):
                np.asarray(nib.load(path).dataobj)  # whole, or reading it raises
    done = run(people, out, tmp_path / "work", environment, "--participant-label", label)
    assert done.returncode == 0, done.stderr[-4000:]
    ended = {name: value for name, value in content(out).items() if name.startswith(label + "/")}
    assert ended.keys() == reference.keys()
    assert [name for name in reference if ended[name] != reference[name]] == []


def test_preprocessing_of_another_app_is_taken_over(people, finished, tmp_path, environment):
    label = labels(people)[0]
    theirs, ours, out = tmp_path / "fmriprep" / label / "anat", finished / label / "anat", tmp_path / "out"
    theirs.mkdir(parents=True)
    about = {"Name": "x", "BIDSVersion": "1.8.0", "DatasetType": "derivative", "GeneratedBy": [{"Name": "fMRIPrep"}]}
    (theirs.parents[1] / "dataset_description.json").write_text(json.dumps(about))
    maps = [f"label-{tissue}_probseg" for tissue in ("GM", "WM", "CSF")]
    for name in ("desc-preproc_T1w", "desc-brain_mask", *maps):
        shutil.copy(ours / f"{label}_{name}.nii.gz", theirs / f"{label}_run-1_{name}.nii.gz")
    image = nib.load(ours / f"{label}_dseg.nii.gz")
    labelled = np.asarray(image.dataobj)
    nib.save(nib.Nifti1Image(np.array([0, 2, 3, 1], np.uint8)[labelled], image.affine), theirs / f"{label}_run-1_dseg.nii.gz")
    done = run(people, out, tmp_path / "work", environment, "--participant-label", label, "-d", str(tmp_path / "fmriprep"))
    assert done.returncode == 0, done.stderr[-4000:]
    assert np.array_equal(np.asarray(nib.load(out / label / "anat" / f"{label}_dseg.nii.gz").dataobj), labelled)
    (row,) = read_tsv(out / label / "anat" / f"{label}_brainage.tsv").rows
    assert "input_mismatch" in row["flags"]
    sources = json.loads((out / label / "anat" / f"{label}_desc-preproc_T1w.json").read_text())["Sources"]
    assert f"bids:fmriprep:{label}/anat/{label}_run-1_desc-preproc_T1w.nii.gz" in sources
    assert bids_errors(out) == []


def test_two_threads_change_next_to_nothing(people, finished, tmp_path, environment):
    label = labels(people)[0]
    done = run(people, tmp_path / "out", tmp_path / "work", environment, "--participant-label", label, "--omp-nthreads", "2")
    assert done.returncode == 0, done.stderr[-4000:]
    ages = [float(read_tsv(out / label / "anat" / f"{label}_brainage.tsv").rows[0]["brain_age"]) for out in (finished, tmp_path / "out")]
    assert ages[0] == pytest.approx(ages[1], abs=0.2)
    name = f"{label}/anat/{label}_space-MNI152NLin2009aSym_res-1p5_label-GM_desc-modulatedSmooth4_probseg.nii.gz"
    one, two = (nib.load(out / name).get_fdata().ravel() for out in (finished, tmp_path / "out"))
    assert np.corrcoef(one, two)[0, 1] >= 0.998


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def zero(path: Path) -> None:
    image = nib.load(path)
    nib.save(nib.Nifti1Image(np.zeros(image.shape, np.int16), image.affine), path)


def not_a_number(path: Path) -> None:
    image = nib.load(path)
    nib.save(nib.Nifti1Image(np.full(image.shape, np.nan, np.float32), image.affine), path)


def flat(path: Path) -> None:
    image = nib.load(path)
    nib.save(nib.Nifti1Image(np.asarray(image.dataobj)[..., :3], image.affine), path)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def test_broken_scans_fail_alone_and_say_why(people, finished, tmp_path, environment):
    bids, out = tmp_path / "bids", tmp_path / "out"
    shutil.copytree(people, bids)
    good = labels(people)[0]
    source = next((bids / good / "anat").glob("*_T1w.nii.gz"))
    faults = {"truncated": truncate, "zeros": zero, "nans": not_a_number, "flat": flat, "empty": empty}
    for name, spoil in faults.items():
        path = bids / f"sub-{name}" / "anat" / f"sub-{name}_T1w.nii.gz"
        path.parent.mkdir(parents=True)
        shutil.copy(source, path)
        spoil(path)
    shutil.copytree(finished / good, out / good)
    table = bids / "participants.tsv"
    rows = table.read_text().splitlines()
    width = len(rows[0].split("\t"))
    hostile = "<script>alert(1)</script>"
    table.write_text("\n".join([*rows, *("\t".join([f"sub-{name}", *[hostile] * (width - 1)]) for name in faults)]) + "\n")
    done = run(bids, out, tmp_path / "work", environment, "--participant-label", good, *faults)
    assert done.returncode == 1, done.stderr[-4000:]
    assert (out / f"{good}.html").is_file()
    for name in faults:
        failure = json.loads((out / "logs" / "failures" / f"sub-{name}.json").read_text())
        assert f"sub-{name}_T1w.nii.gz" in failure["message"] and len(failure["message"]) < 400
        page = (out / f"sub-{name}.html").read_text(encoding="utf-8")
        assert hostile not in page
        assert not list(out.glob(f"sub-{name}/anat/*.nii.gz"))


def test_gzip_of_an_output_is_plain_gzip(people, finished):
    path = next(finished.rglob("*_dseg.nii.gz"))
    with gzip.open(path) as file:
        assert file.read(4) == (348).to_bytes(4, "little")


def test_models_of_another_package_at_both_levels(people, finished, tmp_path, environment, volume_model, monkeypatch):
    """A map, a model of two models and one that reads the phenotype, from outside of the package, through both levels."""
    monkeypatch.syspath_prepend(str(TOYS))
    KINDS.__dict__.pop("_theirs", None)
    import toykinds

    models, out, (first, second) = tmp_path / "models", tmp_path / "out", labels(people)
    toykinds.write_toys(models, volume_model)
    shutil.copytree(volume_model.path, models / "toyvolumes")
    KINDS.__dict__.pop("_theirs", None)
    shutil.copytree(finished, out)
    (tmp_path / "blood.tsv").write_text(f"participant_id\tnfl\n{first}\t12,5\n{second}\tn/a\n")
    with_toys = environment | {"PYTHONPATH": os.pathsep.join([environment["PYTHONPATH"], str(TOYS)])}
    words = ("--models", "volumes", "toymap", "toypair", "toyblood", "--model-dir", str(models), "--phenotype", str(tmp_path / "blood.tsv"))
    done = run(people, out, tmp_path / "work", with_toys, *words)
    assert done.returncode == 0, done.stderr[-4000:]
    ages = {}
    for label in (first, second):
        ages[label] = {row["model"]: row for row in read_tsv(out / label / "anat" / f"{label}_brainage.tsv").rows}
        assert list(ages[label]) == ["volumes", "toymap", "toypair", "toyblood"] and ages[label]["toymap"]["brain_age"] == "40.0"
        page = (out / f"{label}.html").read_text(encoding="utf-8")
        assert "toymap: local" in page and "How bright each voxel is" in page and "toypair: members" in page
    assert ages[first]["toyblood"]["brain_age"] == "45.0"
    assert (ages[second]["toyblood"]["brain_age"], ages[second]["toyblood"]["flags"].split(";")[-1]) == ("n/a", "modality_missing")
    assert float(ages[first]["toypair"]["sd_within"]) > 0
    image = nib.load(out / first / "anat" / f"{first}_space-MNI152NLin2009aSym_res-2_model-toymap_desc-local_toyage.nii.gz")
    assert image.shape == (91, 109, 91)
    before = {path: path.stat().st_mtime_ns for path in out.glob("sub-*/anat/*")}
    assert run(people, out, tmp_path / "work", with_toys, *words).returncode == 0
    assert {path: path.stat().st_mtime_ns for path in out.glob("sub-*/anat/*")} == before
    group = [sys.executable, "-m", "brainage_bids.cli.brainage", str(people), str(out), "group", "--slow-steps", "skip"]
    assert subprocess.run(group, env=with_toys, capture_output=True, text=True, timeout=600).returncode == 0
    (members,) = [row for row in read_tsv(out / "group" / "model_tables.tsv").rows if row["row"] == "toymember"]
    assert (members["model"], members["key"], members["n"], float(members["mean"])) == ("toypair", "members", "2", 40.0)
    assert read_tsv(out / "group" / "model_maps.tsv").rows[0]["key"] == "local"
    assert "Maps of models" in (out / "group.html").read_text(encoding="utf-8")
    assert not bids_errors(out)
