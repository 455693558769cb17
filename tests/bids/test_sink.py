import errno
import gzip
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from brainage_bids.bids import sink

DESCRIBED = {"a": {"Description": "first"}, "b": {"Description": "second"}}


def image(value: float = 1.0, shape=(4, 5, 6)) -> nib.Nifti1Image:
    return nib.Nifti1Image(np.full(shape, value, np.float32), np.diag([2.0, 2.0, 2.0, 1.0]))


def listing(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*"))


def test_a_file_appears_at_the_end_only(tmp_path):
    dest = tmp_path / "ordner mit ä" / "x.tsv"
    with sink.write_atomic(dest) as partial:
        partial.write_text("new")
        assert partial.parent == dest.parent and partial.name.startswith(".") and partial.suffix == ".tsv"
        assert not dest.exists()
    assert dest.read_text() == "new" and listing(tmp_path) == ["ordner mit ä", "x.tsv"]


def test_an_error_leaves_the_old_file(tmp_path):
    dest = sink.sink_text("old", tmp_path / "x.txt")
    with pytest.raises(KeyboardInterrupt), sink.write_atomic(dest) as partial:
        partial.write_text("half")
        raise KeyboardInterrupt
    assert dest.read_text() == "old" and listing(tmp_path) == ["x.txt"]


def test_a_body_that_writes_nothing_is_an_error(tmp_path):
    with pytest.raises(OSError, match="cannot be written"), sink.write_atomic(tmp_path / "x.txt"):
        pass


def test_the_old_file_stays_until_it_is_replaced(tmp_path, monkeypatch):
    dest = sink.sink_text("old", tmp_path / "x.txt")
    seen = []
    replace = os.replace
    monkeypatch.setattr(os, "replace", lambda src, dst: (seen.append(Path(dst).read_text()), replace(src, dst)))
    sink.sink_text("new", dest)
    assert seen == ["old"] and dest.read_text() == "new"


def test_image_bytes_depend_on_the_image_alone(tmp_path, monkeypatch):
    first = sink.sink_image(image(), tmp_path / "a" / "one_T1w.nii.gz", {"k": 1}).read_bytes()
    monkeypatch.setattr(time, "time", lambda: 4e9)
    second = sink.sink_image(image(), tmp_path / "b" / "two_T1w.nii.gz", {"k": 1}).read_bytes()
    assert first == second
    assert first[3] & 0x08 == 0 and first[4:8] == b"\0\0\0\0"  # RFC 1952: no file name, no time
    assert sink.sink_image(image(2), tmp_path / "a" / "one_T1w.nii.gz", {}).read_bytes() != first


@pytest.mark.parametrize("extension", [".nii", ".nii.gz"])
def test_an_image_file_is_copied_voxel_by_voxel(tmp_path, extension):
    source = tmp_path / f"source{extension}"
    nib.save(image(3), source)
    dest = sink.sink_image(source, tmp_path / "sub-01_T1w.nii.gz", {"Sources": ["bids:raw:x"], "n": np.int64(2), "bad": np.nan})
    assert gzip.decompress(dest.read_bytes()) == image(3).to_bytes()
    assert json.loads((tmp_path / "sub-01_T1w.json").read_text()) == {"Sources": ["bids:raw:x"], "n": 2, "bad": None}


def test_the_sidecar_comes_first(tmp_path):
    source = tmp_path / "broken.nii.gz"
    source.write_bytes(gzip.compress(image().to_bytes())[:-20])
    with pytest.raises(EOFError):
        sink.sink_image(source, tmp_path / "out" / "x_T1w.nii.gz", {})
    assert listing(tmp_path / "out") == ["x_T1w.json"]
    with pytest.raises(ValueError, match="x.img"):
        sink.sink_image(image(), tmp_path / "x.img", {})


def test_a_missing_source_is_named(tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        sink.sink_file(tmp_path / "nothing.txt", tmp_path / "x.txt")
    assert caught.value.filename == str(tmp_path / "nothing.txt") and listing(tmp_path) == []


def test_tables_are_written_for_reading_back(tmp_path):
    frame = pd.DataFrame({"a": [0.1, np.nan, 1e-300], "b": ["<b>\tx\ny", None, ""]})
    dest = sink.sink_table(frame, tmp_path / "t.tsv", {**DESCRIBED, "c": {"Description": "absent"}}, sidecar={"Extra": 1})
    assert dest.read_text() == "a\tb\n0.1\t<b> x y\nn/a\tn/a\n1e-300\tn/a\n"
    assert json.loads((tmp_path / "t.json").read_text()) == {"Extra": 1, **DESCRIBED}
    rows = [{"a": np.float64(2), "b": np.bool_(True)}, {"b": pd.NA, "a": np.int16(3)}]
    assert sink.sink_table(rows, tmp_path / "u.tsv", DESCRIBED, sidecar=False).read_text() == "a\tb\n2.0\ttrue\n3\tn/a\n"
    assert not (tmp_path / "u.json").exists()


def test_tables_without_a_description_are_refused(tmp_path):
    with pytest.raises(ValueError, match="b of t.tsv"):
        sink.sink_table([{"a": 1, "b": 2}], tmp_path / "t.tsv", {"a": {}})
    with pytest.raises(ValueError, match="columns"):
        sink.sink_table([{"a": 1}, {"b": 2}], tmp_path / "t.tsv", DESCRIBED)
    assert listing(tmp_path) == []


def test_a_file_in_the_place_of_a_folder_is_named(tmp_path):
    (tmp_path / "OUT").write_text("a file")
    dest = tmp_path / "OUT" / "sub-01" / "x.txt"
    with pytest.raises(OSError, match="is a file, not a folder") as caught:
        sink.sink_text("x", dest)
    assert caught.value.filename == str(dest)


def limited(limit: int, code: str) -> subprocess.CompletedProcess:
    """Run code in a process that may write files of ``limit`` bytes at most."""
    return subprocess.run(
        [sys.executable, "-c", code],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("way", ["image", "file"])
def test_a_file_too_large_is_one_sentence_and_leaves_nothing(tmp_path, way):
    rng = np.random.default_rng(1)
    nib.save(nib.Nifti1Image(rng.normal(size=(40, 40, 40)).astype("f4"), np.eye(4)), tmp_path / "big.nii.gz")
    dest = tmp_path / "out" / "sub-01_T1w.nii.gz"
    result = limited(
        50_000,
        f"""
from brainage_bids.bids import sink
try:
    sink.sink_{way}({str(tmp_path / "big.nii.gz")!r}, {str(dest)!r}, {{}})
except OSError as error:
    print(error.errno, error.filename, error.strerror, sep="|")
""",
    )
    number, filename, sentence = result.stdout.strip().split("|")
    assert (int(number), filename) == (errno.EFBIG, str(dest)) and "larger than the system allows" in sentence
    assert listing(tmp_path / "out") == ["sub-01_T1w.json"]


def test_killed_writers_leave_nothing_after_a_sweep(tmp_path):
    code = f"""
import os, signal
from brainage_bids.bids.sink import write_atomic
held = []
for name in ("sub-1/anat/sub-1_T1w.nii.gz", "sub-1.html", "sub-12.html", "logs/failures/sub-1_ses-2.json", "README"):
    held.append(write_atomic({str(tmp_path)!r} + "/" + name))
    held[-1].__enter__().write_text("half")
os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", code]).returncode == -9
    live = sink.write_atomic(tmp_path / "CITATION.cff")
    live.__enter__().write_text("being written now")
    before = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(before) == 6 and all(path.name.startswith(".") for path in before)
    removed = sink.sweep_partial(tmp_path, "sub-1")
    left = [path.name for path in tmp_path.rglob("*") if path.is_file()]
    assert len(removed) == 4 and sorted(name.split(".")[1] for name in left) == ["CITATION", "sub-12"]
    with pytest.raises(RuntimeError):
        live.gen.throw(RuntimeError())


def test_stale_files_go_wherever_they_lie(tmp_path):
    code = f"""
import os, signal
from brainage_bids.bids.sink import write_atomic
held = write_atomic({str(tmp_path)!r} + "/sub-1/anat/sub-1_T1w.nii.gz")
held.__enter__().write_text("half")
os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", code]).returncode == -9
    sink.sink_text("whole", tmp_path / "sub-1" / "kept.txt", flush=False)
    with sink.write_atomic(tmp_path / "sub-2" / "x.txt") as live:
        live.write_text("being written now")
        assert len(sink.sweep_stale(tmp_path)) == 1 and live.exists()
    assert listing(tmp_path) == ["anat", "kept.txt", "sub-1", "sub-2", "x.txt"]


def test_long_names_keep_within_the_limit(tmp_path):
    dest = tmp_path / ("ä" * 120 + ".tsv")
    assert sink.sink_text("x", dest).read_text() == "x"


def test_many_writers_of_one_file_all_succeed(tmp_path):
    code = f"""
from brainage_bids.bids.sink import sink_text
for turn in range(50):
    sink_text("whole\\n" * 1000, {str(tmp_path / "one.txt")!r})
"""
    writers = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(3)]
    while any(writer.poll() is None for writer in writers):
        if (tmp_path / "one.txt").exists():
            assert (tmp_path / "one.txt").read_text() == "whole\n" * 1000
    assert [writer.returncode for writer in writers] == [0, 0, 0] and listing(tmp_path) == ["one.txt"]
