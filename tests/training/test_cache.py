import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

import brainage_bids
from brainage_bids.bids.names import derivative_path
from brainage_bids.imaging.intensity import by_mean
from brainage_bids.models.features import block_means
from brainage_bids.models.preparation import Step
from brainage_bids.records import BadDataset
from brainage_bids.training import cache as cache_module
from brainage_bids.training.cache import pack
from brainage_bids.training.images import find_images, net_inputs

AFFINE = np.diag([1.5, 1.5, 1.5, 1.0])
SHAPE = (6, 7, 8)


def write(root, name, values, session=None):
    path = derivative_path(root, "modulated", name, session, label="GM")
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(values.astype(np.float32), AFFINE), path)
    return path


@pytest.fixture
def people(tmp_path):
    generator = np.random.default_rng(0)
    values = generator.gamma(2, 1, (5, *SHAPE)).astype(np.float32)
    for row in range(5):
        write(tmp_path / "out", f"sub-{row}", values[row])
    lines = [f"sub-{row}\t{20 + row}\t{'FM'[row % 2]}\ta" for row in range(5)]
    (tmp_path / "p.tsv").write_text("\n".join(["participant_id\tage\tsex\tsite", *lines]) + "\n")
    return tmp_path, values


def table_of(root):
    return find_images([root / "out"], [root / "p.tsv"], net_inputs("resnet"))


@pytest.mark.parametrize(("dtype", "tolerance"), [("float16", 1e-3), ("uint8", 1 / 255)])
def test_packed_values_are_the_prepared_ones(people, dtype, tolerance):
    root, values = people
    steps = (Step("mean"), Step("crop", {"start": (0, 1, 2), "stop": (6, 7, 8)}))
    table, cache = pack(table_of(root), steps, root / "work", dtype=dtype)
    assert cache.volumes.dtype == np.dtype(dtype)
    assert isinstance(cache.volumes, np.memmap)
    for row in range(5):
        expected = by_mean(values[row])[:, 1:, 2:]
        np.testing.assert_allclose(cache.read(row)[0], expected, atol=tolerance * expected.max())
        np.testing.assert_allclose(cache.cells[row, 0], block_means(values[row], (1.5,) * 3), rtol=1e-6)
    np.testing.assert_allclose(cache.mean_cells([1, 3]), (cache.cells[1] + cache.cells[3]) / 2, rtol=1e-6)
    assert table.participants == tuple(f"sub-{row}" for row in range(5))


def test_packed_once_and_again_when_a_file_changes(people, monkeypatch):
    root, values = people
    calls = []
    real = cache_module.check_image
    monkeypatch.setattr(cache_module, "check_image", lambda *args: calls.append(args) or real(*args))
    for _ in range(2):
        pack(table_of(root), (), root / "work")
    assert len(calls) == 5
    pack(table_of(root), (Step("mean"),), root / "work")
    assert len(calls) == 10
    write(root / "out", "sub-2", values[2] * 2)
    _, cache = pack(table_of(root), (), root / "work")
    assert len(calls) == 15
    np.testing.assert_allclose(cache.read(2)[0], values[2] * 2, rtol=1e-3)


def test_a_pack_that_was_broken_off_leaves_nothing(people, monkeypatch):
    root, _ = people

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(OSError, match="the disk is full; free some space"):
        pack(table_of(root), (), root / "work")
    assert [path for path in (root / "work").rglob("*") if path.is_file()] == []


KILLED = """
import os, signal, sys
sys.path.insert(0, {tests!r})
from pathlib import Path
from test_cache import pack, table_of
root = Path({root!r})
pack(table_of(root), (), root / "work", progress=lambda done, _: done < 3 or os.kill(os.getpid(), signal.SIGKILL))
"""


def test_what_a_killed_run_packed_goes_and_all_is_packed_again(people):
    root, values = people
    script = KILLED.format(tests=str(Path(__file__).parent), root=str(root))
    environment = os.environ | {"PYTHONPATH": str(Path(brainage_bids.__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    left = [path for path in (root / "work").rglob("*") if path.is_file()]
    assert left
    _, cache = pack(table_of(root), (), root / "work")
    assert not any(path.exists() for path in left)
    np.testing.assert_allclose(cache.read(4)[0], values[4], rtol=1e-3)


def test_odd_images_are_named_or_left_out(people):
    root, values = people
    write(root / "out", "sub-1", np.full(SHAPE, np.nan))
    write(root / "out", "sub-3", values[3] * 1e9)
    with pytest.raises(BadDataset, match=r"2 images cannot be trained on: .*sub-1.*not finite.*sub-3.*too many for half precision"):
        pack(table_of(root), (), root / "work")
    told = []
    table, cache = pack(table_of(root), (), root / "work", allow_missing=True, progress=lambda *now: told.append(now))
    assert table.participants == ("sub-0", "sub-2", "sub-4")
    assert table.ages.tolist() == [20, 22, 24]
    assert table.sexes == ("F", "F", "F")
    assert [name for name, _ in table.left_out] == ["sub-1", "sub-3"]
    np.testing.assert_allclose(cache.read(1)[0], values[2], rtol=1e-3)
    with pytest.raises(BadDataset, match="Give --allow-missing"):
        pack(table_of(root), (), root / "work")  # the pack is there, and still says what is missing


def test_the_first_image_may_be_broken(people):
    root, _ = people
    derivative_path(root / "out", "modulated", "sub-0", label="GM").write_bytes(b"x")
    table, _ = pack(table_of(root), (), root / "work", allow_missing=True)
    assert table.participants[0] == "sub-1"


def test_the_grid_of_most_is_the_grid(people):
    """The first person has an odd one: that person is left out, not the four others."""
    root, values = people
    write(root / "out", "sub-0", values[0][:-1])
    with pytest.raises(BadDataset, match=r"1 images cannot be trained on: .*sub-0.* does not fit"):
        pack(table_of(root), (), root / "work")
    table, cache = pack(table_of(root), (), root / "work", allow_missing=True)
    assert table.participants == ("sub-1", "sub-2", "sub-3", "sub-4")
    np.testing.assert_allclose(cache.read(0)[0], values[1], rtol=1e-3)


def test_some_rows_of_a_pack_are_not_copied(people):
    root, values = people
    _, cache = pack(table_of(root), (), root / "work")
    some = cache.keep([4, 1, 2]).keep([0, 2])
    assert some.volumes is cache.volumes and some.cells is cache.cells
    for place, row in enumerate((4, 2)):
        np.testing.assert_array_equal(some.read(place), cache.read(row))
    np.testing.assert_array_equal(some.mean_cells([1]), cache.mean_cells([2]))
    assert some.similarity_limits([0, 1]) == cache.similarity_limits([4, 2])
    assert some.name not in (cache.name, cache.keep([4, 1]).name) and cache.keep(range(5)) is cache


def test_tables_are_read_as_they_were_meant(people):
    root, _ = people
    lines = [f"{row}\t{240 + 12 * row}\t0{row % 2}\t{row},5\tnone" for row in range(4)] + ["sub-4\t-9\t01\t4,5\tAD"]
    (root / "p.tsv").write_text("\n".join(["participant_id\tage\tcode\tscore\tgroup", *lines]) + "\n")
    words = {"Description": "age in months", "Levels": {"-9": "not known"}}
    (root / "p.json").write_text(json.dumps({"age": words}))
    found = find_images([root / "out"], [root / "p.tsv"], net_inputs("resnet"), group_column="group", where="age >= 21 and code != '00'")
    assert (found.participants, found.ages.tolist(), found.groups) == (("sub-1", "sub-3"), [21.0, 23.0], ("none", "none"))
    assert any("'none'" in said for said in found.problems)
    query = "20 < age < 24 and (`group` == 'none') & ~(code == 0)"
    grouped = find_images([root / "out"], [root / "p.tsv"], net_inputs("resnet"), where=query)
    assert grouped.participants == ("sub-1", "sub-3")
    scores = find_images([root / "out"], [root / "p.tsv"], net_inputs("resnet"), target="score", where="code == 1")
    assert (scores.participants, scores.ages.tolist()) == (("sub-1", "sub-3", "sub-4"), [1.5, 3.5, 4.5])


def test_similarity_limit(people):
    _, cache = pack(table_of(people[0]), (), people[0] / "work")
    mean = cache.cells.mean(axis=0).ravel()
    lowest = min(np.corrcoef(cells.ravel(), mean)[0, 1] for cells in cache.cells)
    assert cache.similarity_limits(range(5)) == pytest.approx([1 - 2 * (1 - lowest)], abs=1e-6)


def test_sessions_datasets_and_conditions(people):
    root, values = people
    for visit in ("ses-1", "ses-2"):
        write(root / "two", "sub-0", values[0], visit)
    write(root / "two", "sub-9", values[0], "ses-1")
    (root / "q.tsv").write_text("participant_id\tsession_id\tage\tgroup\nsub-0\tses-1\t50\tx\nsub-0\tses-2\t52\ty\nsub-9\tses-1\tn/a\tx\n")
    phenotype = [root / "p.tsv", root / "q.tsv"]
    both = find_images([root / "out", root / "two"], phenotype, net_inputs("resnet"))
    assert both.participants[-2:] == ("2:sub-0", "2:sub-0")
    assert both.ages[-2:].tolist() == [50, 52]
    assert (both.n_people, both.left_out) == (6, (("2:sub-9_ses-1", "no age"),))
    one = find_images([root / "two"], [root / "q.tsv"], net_inputs("resnet"), where="group == 'y'", group_column="group")
    assert (one.sessions, one.groups) == (("ses-2",), ("y",))
