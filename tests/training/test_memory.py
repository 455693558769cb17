import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from brainage_bids.bids.names import derivative_path
from brainage_bids.models.nets import build_net
from brainage_bids.training.cache import Cache, pack
from brainage_bids.training.forward import Cohort
from brainage_bids.training.images import find_images, net_inputs
from brainage_bids.training.loop import fit
from brainage_bids.training.objective import Recipe

SHAPE = (40, 48, 40)
AFFINE = np.diag([1.5, 1.5, 1.5, 1.0])
MEGABYTES_OF_AN_IMAGE = 4 * np.prod(SHAPE) / 2**20


def own_megabytes() -> float:
    """Memory of this process that is no file's."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) / 1024


def write_people(root, count):
    generator = np.random.default_rng(0)
    lines = ["participant_id\tage"]
    for row in range(count):
        path = derivative_path(root / "out", "modulated", f"sub-{row:03d}", label="GM")
        path.parent.mkdir(parents=True, exist_ok=True)
        values = np.zeros(SHAPE, np.float32)
        values[:, :, :4] = generator.uniform(0, 1, (*SHAPE[:2], 4))
        nib.save(nib.Nifti1Image(values, AFFINE), path)
        lines.append(f"sub-{row:03d}\t{20 + row % 50}")
    (root / "p.tsv").write_text("\n".join(lines) + "\n")


def peak(root, count, freeze, monkeypatch):
    """Megabytes at most, looked at whenever an image is read and after the epoch; packing is part of it."""
    write_people(root, count)
    found = []
    read = Cache.read
    monkeypatch.setattr(Cache, "read", lambda self, row: (found.append(own_megabytes()), read(self, row))[1])
    before = own_megabytes()
    table, cache = pack(find_images([root / "out"], [root / "p.tsv"], net_inputs("resnet")), (), root / "work")
    found.append(own_megabytes())
    torch.manual_seed(0)
    net = build_net("mrinet", {"shape": SHAPE, "widths": (8,), "hidden": 4})
    recipe = Recipe(epochs=1, batch=4, augmentation="light" if freeze == "none" else "none")
    rows = np.arange(count)
    how = {"seed": 1, "freeze": freeze, "work": root / "work", "told": lambda _: found.append(own_megabytes())}
    fit(net, Cohort(cache, table.ages), rows[4:], rows[:4], recipe, **how)
    monkeypatch.setattr(Cache, "read", read)
    return max(found) - before


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process's own memory from that of mapped files")
@pytest.mark.parametrize("freeze", ["none", "convolutions"])
def test_memory_does_not_grow_with_the_cohort(tmp_path, monkeypatch, freeze):
    peak(tmp_path / "first", 8, freeze, monkeypatch)  # libraries take what they take once
    few, many = (peak(tmp_path / str(count), count, freeze, monkeypatch) for count in (20, 420))
    assert many - few < 0.4 * 400 * MEGABYTES_OF_AN_IMAGE
