"""What the stages of the T1w ask of their graphs and write of what comes back; no graph is run."""

import json
import math
from dataclasses import replace

import pytest

from brainage_bids.bids.reuse import Reused
from brainage_bids.bids.sink import sidecar_path
from brainage_bids.bids.tables import read_tsv
from brainage_bids.reports import figures
from brainage_bids.workflows import t1w
from brainage_bids.workflows.driver import Driver
from brainage_bids.workflows.stage import in_order

TISSUES = {"GM": 600123.25, "WM": 500000.1, "CSF": 2e5 / 3, "brain": 1.1e6, "eTIV": 1.4e6}


@pytest.fixture
def drawn(monkeypatch):
    """Names of the pictures that were drawn."""
    names = []
    for name in t1w.FIGURES:
        monkeypatch.setattr(figures, f"draw_{name}", lambda *files, name=name: names.append(name) or files[-1].write_text("<svg/>"))
    return names


@pytest.fixture
def t1ws(skeleton, graphs, drawn):
    """Run all stages of the T1w and return the failures."""
    graphs.answers |= {"tissues": TISSUES, "regions": [region(1), region(2)], "quality": [quality()]}

    def run(*names):
        stages = [stage for stage in t1w.STAGES if not names or stage.name in names]
        driver = Driver(skeleton.session, skeleton.plan, in_order(stages))
        driver.go()
        return driver.failures

    return run


def region(index):
    return {"index": index, "name": f"region {index}", "hemisphere": "left", "volume_mm3": 1000.0 * index}


def quality():
    return {"metric": "snr", "value": 9.0, "unit": None, "low": None, "high": None, "flag": None, "description": "x"}


def sidecar(skeleton, key, **entities):
    return json.loads(sidecar_path(skeleton.path(key, **entities)).read_text())


def test_every_file_is_written_from_one_graph_a_stage(skeleton, graphs, t1ws, drawn):
    assert t1ws() == []
    for stage in t1w.STAGES:
        assert all(output.path(skeleton.plan.out_dir, skeleton.session).is_file() for output in stage.outputs), stage.name
    assert [name for name, _ in graphs.asked] == ["structure_wf", "template_wf", "volumes_wf", "quality_wf", "arrays_wf"]
    assert drawn == ["mask", "tissues", "registration"]
    assert t1ws() == [] and len(graphs.asked) == 5


def test_graphs_are_given_files_of_the_output_folder(skeleton, graphs, t1ws):
    t1ws()
    (_, first), *others = graphs.asked
    assert first == {"t1w": str(skeleton.session.scans["T1w"].path)}
    for name, inputs in others:
        paths = {key: value for key, value in inputs.items() if key not in ("t1w", "tissues")}
        assert all(str(value).startswith(str(skeleton.plan.out_dir)) for value in paths.values()), name
    assert dict(graphs.asked)["quality_wf"]["t1w"] == first["t1w"]


def test_what_was_found_stands_in_the_sidecar_of_the_t1w(skeleton, t1ws):
    t1ws()
    about = sidecar(skeleton, "preproc")
    assert about["SourceChoice"] == "only T1w" and about["Sources"] == ["bids:raw:T1w.nii"]
    assert about["StepsDone"][:5] == ["conform", "mask_atlas", "bias_n4", "registration_greedy", "tissues_em"]
    assert (about["Flags"], about["Notes"], about["InputSkullStripped"]) == (["header_repaired"], ["a note"], False)
    assert len(about["Fingerprint"]) == 64 and t1w.facts_of(skeleton.session, skeleton.plan.out_dir) == about
    assert "Fingerprint" not in sidecar(skeleton, "mask")


def test_a_stripped_scan_is_said_to_be_one_everywhere(skeleton, graphs, t1ws):
    graphs.answers["stripped"] = True
    t1ws()
    assert "mask_given" in sidecar(skeleton, "preproc")["StepsDone"]
    for key, entities in (("preproc", {}), ("t1w_mni", {"res": "1"}), ("t1w_mni_affine", {})):
        assert sidecar(skeleton, key, **entities)["SkullStripped"] is True


@pytest.mark.parametrize("cranium", [1.4e6, math.nan])
def test_the_quality_reads_the_volumes_as_they_were_measured(skeleton, graphs, t1ws, cranium):
    graphs.answers["tissues"] = TISSUES | {"eTIV": cranium}
    t1ws()
    read = dict(graphs.asked)["quality_wf"]["tissues"]
    assert {name: read[name] for name in ("GM", "WM", "CSF", "brain")} == {name: TISSUES[name] for name in ("GM", "WM", "CSF", "brain")}
    assert read["eTIV"] == cranium or (math.isnan(read["eTIV"]) and math.isnan(cranium))
    (row,) = read_tsv(skeleton.path("volumes")).rows
    assert (row["participant_id"], row["session_id"], float(row["GM"])) == ("sub-1", "n/a", TISSUES["GM"])
    assert [row["name"] for row in read_tsv(skeleton.path("volumes_atlas")).rows] == ["region 1", "region 2"]


def test_a_row_more_in_the_quality_table_runs_its_graph_alone(skeleton, graphs, t1ws, monkeypatch):
    t1ws()
    files = skeleton.files()
    graphs.asked.clear()
    graphs.answers["quality"] = [quality(), quality() | {"metric": "cnr"}]
    newer = [replace(stage, revision=stage.revision + 1) if stage.name == "quality" else stage for stage in t1w.STAGES]
    monkeypatch.setattr(t1w, "STAGES", tuple(newer))
    assert t1ws() == [] and [name for name, _ in graphs.asked] == ["quality_wf"]
    assert [row["metric"] for row in read_tsv(skeleton.path("qc")).rows] == ["snr", "cnr"]
    changed = {path for path, time in skeleton.files().items() if files.get(path) != time}
    assert changed == {str(skeleton.path("qc")), str(sidecar_path(skeleton.path("qc")))}


def theirs(skeleton, name, *maps):
    """Precomputed files of an app of that name."""
    folder = skeleton.plan.bids_dir.parent / "theirs"
    folder.mkdir(exist_ok=True)
    about = {"Name": "x", "BIDSVersion": "1.8.0", "DatasetType": "derivative", "GeneratedBy": [{"Name": name}]}
    (folder / "dataset_description.json").write_text(json.dumps(about))
    files = {key: folder / f"{key}.nii.gz" for key in ("preproc", "mask", *maps)}
    for key, path in files.items():
        path.write_text(key)
    skeleton.plan = replace(skeleton.plan, precomputed={"sub-1": Reused("theirs", folder, files)})
    return files


MAPS = tuple(f"probseg_{tissue}" for tissue in t1w.TISSUES)


@pytest.mark.parametrize(
    ("app", "maps", "flagged", "segmented"),
    [("fMRIPrep", MAPS, True, False), ("brainage_bids", MAPS, False, False), ("fMRIPrep", (), False, True)],
)
def test_precomputed_files_take_the_place_of_the_scan(skeleton, graphs, t1ws, app, maps, flagged, segmented):
    files = theirs(skeleton, app, *maps)
    assert t1ws() == []
    (first, inputs), *_ = graphs.asked
    assert first == "precomputed_wf" and inputs == {"t1w" if key == "preproc" else key: str(path) for key, path in files.items()}
    about = sidecar(skeleton, "preproc")
    assert ("input_mismatch" in about["Flags"]) is flagged and ("tissues_em" in about["StepsDone"]) is segmented
    assert about["Sources"][0] == "bids:raw:T1w.nii" and "bids:theirs:mask.nii.gz" in about["Sources"]
    assert dict(graphs.asked)["quality_wf"]["t1w"] == str(files["preproc"])


def test_a_clipped_brain_is_said_in_the_log(skeleton, graphs, t1ws, caplog):
    t1ws()
    assert "clipped" not in caplog.text and sidecar(skeleton, "packed", image="T1w")["ClippedShare"] == 0.0
    graphs.answers["clipped_share"] = 0.02
    skeleton.path("packed", image="T1w").unlink()
    t1ws()
    assert "sub-1: 2 % of the brain was clipped in the packed T1w" in caplog.text
    assert sidecar(skeleton, "packed_mni", image="T1w")["ScaleFactor"] == 2.5


def test_labels_have_their_meaning_beside_them(skeleton, t1ws):
    t1ws("structure")
    assert [row["abbreviation"] for row in read_tsv(skeleton.path("dseg_lookup")).rows] == ["GM", "WM", "CSF"]
    assert len(read_tsv(skeleton.path("aseg_lookup")).rows) > 20


def test_a_picture_is_drawn_again_when_its_images_are_made_anew(skeleton, t1ws, drawn):
    t1ws()
    skeleton.session.scans["T1w"].path.write_text("another head")
    t1ws()
    assert drawn == [*t1w.FIGURES] * 2
    assert len(sidecar(skeleton, "figures", desc="registration")["Fingerprint"]) == 64


def test_threads_are_shared_with_the_helper_only_if_it_has_something_to_do(skeleton, graphs, t1ws, monkeypatch):
    from brainage_bids.workflows import template

    threads = []
    monkeypatch.setattr(template, "init_template_wf", lambda threads, init=template.init_template_wf, **_: counted(threads, init))

    def counted(number, init):
        threads.append(number)
        return init(threads=number)

    for count, scans in ((4, dict(skeleton.session.scans)), (4, {"T1w": skeleton.session.scans["T1w"]}), (1, dict(skeleton.session.scans))):
        skeleton.plan = replace(skeleton.plan, settings=replace(skeleton.plan.settings, omp_nthreads=count))
        skeleton.change(scans=scans)
        t1ws()
        skeleton.path("t1w_mni_affine").unlink()
    assert threads == [2, 4, 1]
