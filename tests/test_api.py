"""The Python door: lazy, the same numbers as the app, sentences for what is wrong, nothing left behind."""

import ast
import inspect
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

import brainage_bids as bb
from brainage_bids.bids.sidecars import table_columns
from brainage_bids.bids.sink import sink_table
from brainage_bids.bids.tables import read_tsv
from brainage_bids.modalities import MODALITIES
from brainage_bids.workflows import table as app_stages

PACKAGE = Path(bb.__file__).parent
PAGE = PACKAGE.parent / "docs" / "python.md"
HEAVY = ("numpy", "torch", "nibabel", "nipype", "pandas", "scipy", "brainage_bids.api", "brainage_bids.records")


def test_importing_the_package_imports_nothing_else():
    code = f"import sys, brainage_bids as bb; dir(bb); print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_all_names_are_there_typed_and_documented():
    stub = {alias.asname or alias.name for node in ast.walk(ast.parse((PACKAGE / "__init__.pyi").read_text())) for alias in names(node)}
    assert stub | {"__version__"} == set(bb.__all__) and (PACKAGE / "py.typed").is_file()
    for name in bb.__all__:
        assert getattr(bb, name) is not None and name in dir(bb)
        assert name.startswith("__") or f"bb.{name}" in PAGE.read_text()
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = bb.nothing


def names(node):
    return node.names if isinstance(node, ast.ImportFrom) else ()


@pytest.fixture
def scan(tmp_path):
    """A file that may be a T1w; only its bytes are looked at by the stand-ins."""
    path = tmp_path / "raw" / "sub-07_ses-b_T1w.nii.gz"
    path.parent.mkdir()
    nib.save(nib.Nifti1Image(np.ones((20, 20, 20), np.float32), np.eye(4)), path)
    return path


@pytest.fixture
def stand_ins(monkeypatch, volume_person, tmp_path):
    """Stages of the T1w that write tables of a person of 40 and empty images; models are asked in earnest. Returns who was asked."""
    volumes, made = volume_person(40.0), []

    def write(stage, session, plan):
        made.append((stage.name, session, plan))
        tables = {
            "volumes": [{name: volumes.get(name, 5e5) for name in ("GM", "WM", "CSF", "brain", "eTIV")}],
            "volumes_atlas": [{"index": 1, "name": name, "hemisphere": None, "volume_mm3": value} for name, value in volumes.items()],
            "qc": [],
        }
        for output in stage.outputs:
            path = output.path(plan.out_dir, session)
            path.parent.mkdir(parents=True, exist_ok=True)
            if output.key in tables:
                names = {"participant_id": session.participant_id, "session_id": session.session_id}
                rows = [{name: (names | row).get(name) for name in table_columns(output.key)} for row in tables[output.key]]
                sink_table(rows, path, table_columns(output.key))
            else:
                path.touch()

    def stages_of(plan):
        ours = ("structure", "template", "volumes", "quality", "arrays", "figures", "FLAIR", "swi")
        return tuple(
            replace(stage, run=lambda *who, stage=stage: write(stage, *who)) if stage.name in ours else stage for stage in real(plan)
        )

    real = app_stages.stages_of
    monkeypatch.setattr(app_stages, "stages_of", stages_of)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "scratch"))
    (tmp_path / "scratch").mkdir()
    return made


def test_predict_says_what_the_model_says_and_leaves_nothing(stand_ins, scan, volume_model, tmp_path):
    found = bb.predict(scan, model=volume_model.path, age=40, sex="F")
    assert found.model == "toyvolumes" and abs(found.brain_age - 40) < 12 and found.low < found.brain_age < found.high
    assert found.level == 0.95 and found.flags == {} and found.card.training.n > 100
    assert found.volumes["Left-Hippocampus"] > 3000 and found.tables["structures"].columns[0] == "structure"
    assert {name for name, *_ in stand_ins} == {"structure", "volumes", "quality"}  # no more than the model needs
    assert list((tmp_path / "scratch").iterdir()) == [] and list(scan.parent.iterdir()) == [scan]
    without = bb.predict(scan, model=volume_model.path)
    assert without.brain_age == found.brain_age and without.flags == {"age_missing": bb.FLAGS["age_missing"]}


def test_several_models_answer_in_their_order(stand_ins, scan, volume_model):
    first, second = bb.predict(scan, model=["volumes", volume_model.path], age=40.0)
    assert (first.model, second.model) == ("volumes", "toyvolumes")
    (only,) = bb.predict(scan, model=[volume_model.path], age=40.0)
    assert only.brain_age == second.brain_age


def test_outputs_that_are_kept_are_read_as_a_cohort(stand_ins, scan, volume_model, tmp_path):
    found = bb.predict(scan, model=[volume_model.path, "volumes"], age=33.0, out=tmp_path / "out")
    assert {"figures", "template", "arrays"} <= {name for name, *_ in stand_ins}
    count = len(stand_ins)
    again = bb.predict(scan, model=[volume_model.path, "volumes"], age=33.0, out=tmp_path / "out")
    assert len(stand_ins) == count and again[0].brain_age == found[0].brain_age
    table = bb.read_cohort(tmp_path / "out")
    assert list(table["participant_id"]) == ["sub-07"] * 2 and set(table["session_id"]) == {"ses-b"}
    row = table[table["model"] == "toyvolumes"].iloc[0]
    assert row["brain_age"] == found[0].brain_age and row["age"] == 33.0 and row["pad"] == round(row["brain_age"] - 33.0, 3)
    assert list(bb.read_cohort(tmp_path / "out", models=["volumes"])["model"]) == ["volumes"]
    (scan.parent / "participants.tsv").write_text("participant_id\tage\tbmi\nsub-07\t34\t22.5\n")
    joined = bb.read_cohort(tmp_path / "out", scan.parent)
    assert list(joined["bmi"]) == [22.5, 22.5] and list(joined["age"]) == [34.0, 34.0]


def test_images_in_memory_and_settings_reach_the_stages(stand_ins, scan, volume_model, tmp_path):
    image = nib.load(scan)
    how = {"threads": 2, "sloppy": True, "seed": 5, "skull_strip": "skip"}
    bb.predict(image, model=volume_model.path, flair=image, swi=scan, t2w=scan, phenotype={"nfl": 3}, **how)
    _, session, plan = stand_ins[0]
    settings = plan.settings
    assert (settings.omp_nthreads, settings.sloppy, settings.random_seed, settings.skull_strip) == (2, True, 5, "skip")
    assert not plan.helped and set(session.scans) == set(MODALITIES) and session.phenotype == {"nfl": 3.0}
    assert (session.participant_id, session.session_id) == ("sub-07", "ses-b")  # by the file that is named
    assert list((tmp_path / "scratch").iterdir()) == []


def test_images_in_memory_are_kept_with_the_outputs(stand_ins, scan, volume_model, tmp_path):
    out = tmp_path / "out"
    first = bb.predict(nib.load(scan), model=volume_model.path, age=50.0, out=out)
    count = len(stand_ins)
    again = bb.predict(nib.load(scan), model=volume_model.path, age=50.0, out=out)
    assert again.brain_age == first.brain_age and len(stand_ins) == count
    assert [path.name for path in (out / "sourcedata").rglob("*.nii")] == ["sub-01_T1w.nii"]
    assert list(bb.read_cohort(out)["participant_id"]) == ["sub-01"]


@pytest.mark.parametrize(
    "changes, error, words",
    [
        ({"t1w": "nowhere_T1w.nii.gz"}, bb.UnusableInput, "nowhere_T1w.nii.gz"),
        ({"t1w": 3}, bb.BadConfiguration, "given as int"),
        ({"model": "nobody"}, bb.BadConfiguration, "There is no model 'nobody'"),
        ({"model": []}, bb.BadConfiguration, "No model is named"),
        ({"age": "old"}, bb.UnusableInput, "'old' of age is no number"),
        ({"age": float("nan")}, bb.UnusableInput, "nan of age"),
        ({"age": True}, bb.UnusableInput, "True of age"),
        ({"sex": "x"}, bb.UnusableInput, "The sex is 'x'"),
        ({"phenotype": {"nfl": [1]}}, bb.UnusableInput, "of nfl"),
        ({"skull_strip": "maybe"}, bb.BadConfiguration, "skull_strip"),
        ({"threads": 0.5}, bb.BadConfiguration, "omp_nthreads"),
        ({"seed": 0}, bb.BadConfiguration, "random_seed"),
        ({"device": "tpu"}, bb.BadConfiguration, "device"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(stand_ins, scan, changes, error, words):
    with pytest.raises(error, match=re.escape(words)):
        bb.predict(**{"t1w": scan, "age": 40.0, **changes})


def test_a_scan_that_is_none_is_refused_in_memory():
    with pytest.raises(bb.UnusableInput, match="^The T1w holds the same value"):
        bb.segment(nib.Nifti1Image(np.ones((32, 32, 32), np.float32), np.diag([6.0, 6.0, 6.0, 1.0])))
    with pytest.raises(bb.BadConfiguration, match="given as ndarray"):
        bb.segment(np.ones((32, 32, 32)))
    with pytest.raises(bb.BadConfiguration, match="skull_strip"):
        bb.segment("anything.nii", skull_strip="maybe")


def test_a_failure_in_the_stages_is_raised_with_its_sentence(scan, monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "scratch"))
    (tmp_path / "scratch").mkdir()
    with pytest.raises(bb.UnusableInput, match=f"^{re.escape(str(scan))} covers 20 × 20 × 20 mm"):
        bb.predict(scan)
    with pytest.raises(bb.UnusableInput, match="^The T1w in memory covers 20 × 20 × 20 mm"):
        bb.predict(nib.load(scan))
    assert list((tmp_path / "scratch").iterdir()) == []


def test_a_flair_that_fails_is_a_note(stand_ins, scan, volume_model):
    found = bb.predict(scan, model=volume_model.path, flair="nowhere_FLAIR.nii.gz", out=scan.parents[1] / "out")
    assert found.brain_age is not None and len(found.notes) == 1 and "nowhere_FLAIR.nii.gz" in found.notes[0]


def test_options_of_types_are_those_of_the_function():
    tree = ast.parse((PACKAGE / "api.py").read_text())
    (options,) = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef) and node.name == "Options"]
    named = {node.target.id for node in options.body if isinstance(node, ast.AnnAssign)}
    assert named == {name for name, about in inspect.signature(bb.predict).parameters.items() if about.kind is about.KEYWORD_ONLY}


def test_every_modality_has_an_argument():
    assert {suffix.lower() for suffix in MODALITIES} <= set(inspect.signature(bb.predict).parameters)


def test_a_cohort_of_no_folder_is_refused(tmp_path):
    with pytest.raises(bb.BadDataset, match="is no folder"):
        bb.read_cohort(tmp_path / "nothing")


def examples():
    """Blocks of Python of the page."""
    return re.findall(r"```python\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)


def test_examples_of_the_page_are_python():
    assert len(examples()) >= 4
    for example in examples():
        ast.parse(example)


@pytest.mark.slow
def test_a_phantom_gets_the_numbers_of_the_app(tmp_path, monkeypatch):
    from brainage_bids.cli.brainage import main
    from brainage_bids.cli.phantom import main as make_people

    who = ["--participants", "1", "--resolution", "2", "--modalities", "T1w", "--seed", "1100", "--jobs", "1"]
    make_people([str(tmp_path / "bids"), *who])
    (scan,) = (tmp_path / "bids").rglob("sub-*_T1w.nii.gz")
    out = tmp_path / "derivatives"
    assert main([str(tmp_path / "bids"), str(out), "participant", "--omp-nthreads", "1", "-w", str(tmp_path / "work")]) == 0
    (path,) = out.rglob("*_brainage.tsv")
    (row,) = read_tsv(path).rows
    found = bb.predict(scan, age=float(row["age"]))
    assert found.brain_age == pytest.approx(float(row["brain_age"]), abs=1e-3)
    assert ";".join(found.flags) == ("" if row["flags"] == "n/a" else row["flags"])
    segmented = bb.segment(nib.load(scan))
    assert segmented.volumes == pytest.approx(found.volumes, rel=1e-12)
    (labels,) = out.rglob("*_seg-BrainageAseg_dseg.nii.gz")
    np.testing.assert_array_equal(np.asarray(segmented.labels.dataobj), np.asarray(nib.load(labels).dataobj))
    monkeypatch.chdir(tmp_path)
    shutil.copy(scan, "sub-01_T1w.nii.gz")
    scope: dict = {}
    for example in examples():
        exec(compile(example, str(PAGE), "exec"), scope)
    assert {"found", "brain", "model", "table"} <= set(scope)
