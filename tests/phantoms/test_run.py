"""A cohort on disk: the same bytes, going on after an interruption, refusing another design, valid BIDS."""

import hashlib
import json
import subprocess
import sys
import tracemalloc
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from brainage_bids.bids.names import find_derivatives
from brainage_bids.bids.query import collect
from brainage_bids.bids.sink import sidecar_path
from brainage_bids.bids.tables import read_tsv
from brainage_bids.imaging.grids import GRIDS
from brainage_bids.models.contract import check_image
from brainage_bids.models.inputs import INPUTS
from brainage_bids.phantoms import run
from brainage_bids.phantoms.ageing import lesion_volume, target_volumes
from brainage_bids.phantoms.cohort import Cohort
from brainage_bids.phantoms.design import Design
from brainage_bids.phantoms.render import Rendering
from brainage_bids.phantoms.write import TABLES, TRUTH
from brainage_bids.records import BadConfiguration

SMALL = Design(participants=3, sessions=2, years_between=(1.0,), sites=3, patients=1, seed=5)
TABULAR = Design(participants=300, tables_only=True, patients=30, sites=2, sessions=2)


def paint(visit, modalities, *, anatomies=None, threads=1):
    """A head of a few voxels in the place of the renderer, made of the visit's own seeds."""
    rng, affine = np.random.default_rng(visit.visit_seed), np.diag([2.0, 2.0, 2.0, 1.0])
    images = {modality: (rng.random((6, 5, 4), dtype=np.float32) * 1000, affine) for modality in modalities}
    volumes = {**target_volumes(visit), "lesions": lesion_volume(visit), "microbleeds": 0.0}
    empty = np.zeros((6, 5, 4))
    maps = (np.full((6, 5, 4), 3, np.uint8), affine, empty.astype(np.uint8), empty.astype(np.float32), empty.astype(np.float32))
    return Rendering(images, *maps, volumes, {"painted": True})


@pytest.fixture
def painted(monkeypatch):
    """Count the heads that are painted instead of rendered."""
    made = []
    monkeypatch.setattr(run.rendering, "render", lambda visit, *rest, **how: made.append(visit.stem) or paint(visit, *rest, **how))
    return made


def digest(root):
    return {path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in root.rglob("*") if path.is_file()}


def errors_of(dataset):
    validator = Path(sys.executable).with_name("bids-validator-deno")
    if not validator.exists():
        pytest.skip("bids-validator-deno is not installed")
    done = subprocess.run([validator, "--json", str(dataset)], capture_output=True, text=True, timeout=120)
    return [issue for issue in json.loads(done.stdout)["issues"]["issues"] if issue["severity"] == "error"]


def test_the_query_of_the_app_finds_everybody(tmp_path, painted):
    make = run.make_cohort(tmp_path / "cohort", SMALL)
    assert make == 6 == len(painted)
    found = collect(tmp_path / "cohort")
    assert [participant.participant_id for participant in found.participants] == ["sub-001", "sub-002", "sub-003"]
    for person, participant in zip(Cohort(SMALL), found.participants):
        for visit, session in zip(person.visits, participant.sessions):
            assert (session.session_id, session.age, session.sex, session.site) == (
                visit.session_id, visit.age, visit.sex, visit.scanner.site,
            )  # fmt: skip
            assert session.flags == ()
            assert session.scans["T1w"].metadata["MagneticFieldStrength"] == visit.scanner.field_t
    assert not [problem for problem in found.problems if "sessions" in problem or "participants" in problem]
    assert errors_of(tmp_path / "cohort") == [] and errors_of(tmp_path / "cohort" / TRUTH) == []


def test_truth_of_a_visit(tmp_path, painted):
    out = tmp_path / "cohort"
    run.make_cohort(out, SMALL)
    visit = Cohort(SMALL).person(1).visits[1]
    folder = out / TRUTH / "sub-002" / "ses-2" / "anat"
    record = json.loads((folder / "sub-002_ses-2_desc-true_parameters.json").read_text())
    assert record["visit"]["visit_seed"] == visit.visit_seed and record["effects"] == {"painted": True}
    labels = nib.load(folder / "sub-002_ses-2_desc-true_dseg.nii.gz")
    assert labels.get_data_dtype() == np.uint8 and (np.asarray(labels.dataobj) == 3).all()
    image = nib.load(out / "sub-002" / "ses-2" / "anat" / "sub-002_ses-2_swi.nii.gz")
    wanted = np.rint(paint(visit, SMALL.modalities).images["SWI"][0])
    assert np.array_equal(np.asarray(image.dataobj), wanted) and image.get_data_dtype() == np.int16
    rows = {(row["participant_id"], row["session_id"]): row for row in read_tsv(out / TRUTH / "participants.tsv").rows}
    row = rows["sub-002", "ses-2"]
    assert float(row["brain_age"]) == pytest.approx(visit.brain_age, abs=1e-3)
    assert float(row["white_ml"]) == pytest.approx(target_volumes(visit)["white"], abs=1e-3)
    assert row["pattern"] == str(visit.pattern) and len(rows) == 6


def test_an_interrupted_cohort_goes_on_and_ends_the_same(tmp_path, painted, monkeypatch):
    run.make_cohort(tmp_path / "whole", SMALL)
    painter = run.rendering.render

    def stops(visit, *rest, **how):
        if visit.stem == "sub-002_ses-2":
            raise KeyboardInterrupt
        return painter(visit, *rest, **how)

    monkeypatch.setattr(run.rendering, "render", stops)
    with pytest.raises(KeyboardInterrupt):
        run.make_cohort(tmp_path / "broken", SMALL)
    assert not (tmp_path / "broken" / "dataset_description.json").exists()
    monkeypatch.setattr(run.rendering, "render", painter)
    painted.clear()
    assert run.make_cohort(tmp_path / "broken", SMALL) == 3 == len(painted)
    assert digest(tmp_path / "broken") == digest(tmp_path / "whole")
    assert run.make_cohort(tmp_path / "whole", SMALL) == 0


def test_a_visit_with_a_missing_or_short_file_is_made_anew(tmp_path, painted):
    out = tmp_path / "cohort"
    run.make_cohort(out, SMALL)
    whole = digest(out)
    (out / "sub-001" / "ses-1" / "anat" / "sub-001_ses-1_T1w.nii.gz").unlink()
    (out / TRUTH / "sub-003" / "ses-2" / "anat" / "sub-003_ses-2_desc-true_dseg.nii.gz").write_bytes(b"short")
    painted.clear()
    run.make_cohort(out, SMALL)
    assert painted == ["sub-001_ses-1", "sub-003_ses-2"] and digest(out) == whole


def test_another_design_and_a_foreign_folder_are_refused(tmp_path, painted):
    run.make_cohort(tmp_path / "cohort", SMALL)
    with pytest.raises(BadConfiguration, match="participants: 3 there, 4 here"):
        run.make_cohort(tmp_path / "cohort", Design(participants=4, sessions=2, years_between=(1.0,), sites=3, patients=1, seed=5))
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("mine")
    with pytest.raises(BadConfiguration, match="not empty"):
        run.make_cohort(tmp_path / "other", SMALL)
    assert [path.name for path in (tmp_path / "other").iterdir()] == ["thesis.txt"]
    with pytest.raises(BadConfiguration, match="no label maps"):
        run.fingerprint_of(tmp_path / "nowhere")


def test_tables_are_the_same_bytes_in_one_and_in_two_processes(tmp_path):
    for jobs in (1, 2):
        assert run.make_cohort(tmp_path / str(jobs), TABULAR, jobs=jobs) == 600
    assert digest(tmp_path / "1") == digest(tmp_path / "2")
    assert run.make_cohort(tmp_path / "1", TABULAR) == 0


def test_tables_alone_are_valid_bids(tmp_path):
    for name, sessions in (("one", 1), ("two", 2)):
        out = tmp_path / name
        run.make_cohort(out, Design(participants=12, tables_only=True, sessions=sessions))
        for dataset in (out, out / TRUTH, out / TABLES):
            assert errors_of(dataset) == []


@pytest.mark.parametrize("kind", ["tissues", "T1w"])
def test_maps_on_a_model_s_grid_lie_where_models_look(tmp_path, monkeypatch, kind):
    def maps(visit, kind, *, anatomies=None, stripped=False):
        one = np.zeros(GRIDS["1" if kind == "T1w" else "1p5"].shape, np.float32)
        one[40:50, 50:60, 40:50] = 0.5
        labels = np.where(one > 0, 41, 0).astype(np.uint8)
        scan = {"T1w": 600 * one, "labels": labels, "lesions": labels // 41, "matrix": np.eye(4)}
        return scan if kind == "T1w" else {"GM": one, "WM": one}

    monkeypatch.setattr(run.normalised, "model_space", maps)
    design, out = Design(participants=2, model_space=kind, stripped=float(kind == "T1w")), tmp_path / "cohort"
    assert run.make_cohort(out, design) == 2
    if kind == "T1w":
        (found,) = find_derivatives(out / TABLES, "t1w_mni_affine", "sub-001")
        image = check_image(INPUTS["brain2affine"].contract, found.path, "the test")
        assert set(np.unique(image)) == {0, 300}
        (path,) = (out / TRUTH / "sub-001" / "anat").glob("*_res-1_desc-true_dseg.nii.gz")
        assert np.unique(nib.load(path).get_fdata()).tolist() == [0, 41]
        assert len(list(path.parent.glob("*_res-1_label-lesion_desc-true_mask.nii.gz"))) == 1
        assert json.loads(sidecar_path(found.path).read_text())["SkullStripped"] is True
        record = json.loads(next(path.parent.glob("*_parameters.json")).read_text())
        assert record["effects"] == {"template_to_scanner_mm": np.eye(4).tolist(), "stripped": True}
    else:
        sharp, smooth = (find_derivatives(out / TABLES, key, "sub-001", label="GM")[0].path for key in ("modulated", "modulated_smooth"))
        assert (
            nib.load(sharp).get_fdata().sum() == pytest.approx(500, rel=1e-5) == pytest.approx(nib.load(smooth).get_fdata().sum(), rel=1e-3)
        )
        assert np.allclose(nib.load(sharp).affine, GRIDS["1p5"].affine)
    assert errors_of(out / TABLES) == [] and errors_of(out) == []
    assert run.make_cohort(out, design) == 0


def test_more_people_need_no_more_memory(tmp_path, monkeypatch):
    def large(visit, modalities, **how):
        small, array = paint(visit, modalities), np.zeros((32, 32, 32), np.float32)  # half a MiB a visit
        return replace(small, images=dict.fromkeys(small.images, (array, small.affine)), atrophy=array.copy(), iron=array.copy())

    monkeypatch.setattr(run.rendering, "render", large)
    peaks = []
    for people in (4, 40):
        tracemalloc.start()
        run.make_cohort(tmp_path / str(people), Design(participants=people))
        peaks.append(tracemalloc.get_traced_memory()[1] / 2**20)
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 2  # kept images would add 18 MiB


def test_nothing_partial_and_no_word_of_the_place_is_left(tmp_path, painted):
    out = tmp_path / "cohort"
    run.make_cohort(out, SMALL)
    assert not [path for path in out.rglob(".*") if path.is_file() and path.name != ".bidsignore"]
    for path in out.rglob("*"):
        if path.suffix in (".json", ".tsv", ".md"):
            assert str(tmp_path) not in path.read_text()
