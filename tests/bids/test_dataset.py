import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from brainage_bids.bids import dataset, names, sink
from brainage_bids.records import BadConfiguration

VALIDATOR = shutil.which("bids-validator-deno", path=f"{Path(sys.executable).parent}") or shutil.which("bids-validator-deno")


def describe(out: Path, raw: Path, **more) -> dict:
    dataset.write_dataset_description(out, raw, "1.2.3", **more)
    return json.loads((out / "dataset_description.json").read_text())


def test_the_description_names_app_sources_and_links(make_dataset, tmp_path, monkeypatch):
    raw = make_dataset({}, folder="roh ä", description={"Name": "x", "BIDSVersion": "1.8.0", "DatasetDOI": "doi:10.1/x"})
    monkeypatch.setenv("BRAINAGE_CONTAINER_TAG", "brainage_bids:1.2.3")
    content = describe(tmp_path / "out", raw, derivatives={"fmriprep": tmp_path / "fp"})
    assert content["DatasetType"] == "derivative" and "brainage_bids" in content["HowToAcknowledge"]
    assert content["GeneratedBy"] == [
        {"Name": "brainage_bids", "Version": "1.2.3", "Container": {"Type": "docker", "Tag": "brainage_bids:1.2.3"}}
    ]
    assert content["SourceDatasets"] == [{"URL": "https://doi.org/10.1/x", "DOI": "doi:10.1/x"}, {"URL": (tmp_path / "fp").as_uri()}]
    assert content["DatasetLinks"] == {"raw": raw.as_uri(), "fmriprep": (tmp_path / "fp").as_uri()}
    assert describe(tmp_path / "out", raw)["DatasetLinks"].keys() == {"raw", "fmriprep"}


def test_a_second_run_touches_nothing_and_keeps_what_users_wrote(make_dataset, tmp_path):
    raw, out = make_dataset({}), tmp_path / "out"
    assert len(dataset.write_dataset_description(out, raw, "1")) == 4
    assert dataset.write_dataset_description(out, raw, "1") == []
    (out / "README.md").write_text("mine")
    (out / ".bidsignore").write_text("mine/\nlogs/\n")
    assert [path.name for path in dataset.write_dataset_description(out, raw, "2")] == ["dataset_description.json", ".bidsignore"]
    lines = (out / ".bidsignore").read_text().splitlines()
    assert lines[:2] == ["mine/", "logs/"] and sorted(lines) == sorted({*lines}) and set(names.io_spec()["bidsignore"]) < set(lines)
    assert (out / "README.md").read_text() == "mine"


def test_other_datasets_are_not_written_into(make_dataset, tmp_path):
    raw = make_dataset({})
    with pytest.raises(BadConfiguration, match="is the dataset itself"):
        describe(raw, raw)
    (tmp_path / "link").symlink_to(raw)
    with pytest.raises(BadConfiguration, match="is the dataset itself"):
        describe(tmp_path / "link", raw)
    for content in ({"Name": "y", "BIDSVersion": "1.8.0"}, {"GeneratedBy": [{"Name": "fMRIPrep"}]}, "{"):
        other = make_dataset({}, folder="other", description=content)
        with pytest.raises(BadConfiguration, match="another dataset"):
            describe(other, raw)


def test_an_output_that_cannot_be_written_is_named(make_dataset, tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(OSError, match="is a file, not a folder") as caught:
        describe(tmp_path / "file" / "out", make_dataset({}))
    assert str(tmp_path / "file" / "out") in caught.value.filename


def test_two_runs_at_once(make_dataset, tmp_path):
    raw, out = make_dataset({}), tmp_path / "out"
    code = f"""
from brainage_bids.bids.dataset import write_dataset_description
for turn in range(30):
    write_dataset_description({str(out)!r}, {str(raw)!r}, str(turn))
"""
    runs = [subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True) for _ in range(2)]
    assert [run.communicate()[1] for run in runs] == ["", ""]
    assert sorted(path.name for path in out.iterdir()) == [".bidsignore", "CITATION.md", "README.md", "dataset_description.json"]
    assert (out / ".bidsignore").read_text().splitlines() == names.io_spec()["bidsignore"]


@pytest.mark.skipif(VALIDATOR is None, reason="bids-validator-deno is not installed")
@pytest.mark.parametrize("people", [(), (("sub-01", None), ("sub-02", "ses-1"), ("sub-02", "ses-b"))])
def test_the_validator_finds_no_error(make_dataset, write_outputs, tmp_path, people):
    out = tmp_path / "out"
    dataset.write_dataset_description(out, make_dataset({}), "1.2.3", derivatives={"prep": tmp_path / "prep"})
    for sub, ses in people:
        write_outputs(out, sub, ses)
        sink.sink_text("<html></html>", out / f"{sub}.html")
    for name in (
        "logs/CITATION.md",
        "logs/CITATION.bib",
        "logs/failures/sub-03.json",
        "logs/20250101/config.toml",
        "logs/20250101/sub-01.log",
    ):
        sink.sink_text("x", out / name)
    result = subprocess.run([VALIDATOR, str(out), "--format", "json", "--no-color"], capture_output=True, text=True)
    issues = json.loads(result.stdout)["issues"]["issues"]
    codes = {issue["code"] for issue in issues if issue["severity"] == "error"}
    assert codes == set() and result.returncode == 0, json.dumps(issues, indent=1)[:2000]
    assert {issue["code"] for issue in issues} <= {"TOO_FEW_AUTHORS", "SUBJECT_FOLDERS"}
