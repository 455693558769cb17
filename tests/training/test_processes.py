import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import brainage_bids
from brainage_bids.records import BadConfiguration
from brainage_bids.training.batches import Batches
from brainage_bids.training.forward import Cohort
from brainage_bids.training.processes import ALONE, Team, join

TRAINING = """
import sys
sys.path.insert(0, {tests!r})
import numpy as np, torch
from test_loop import TRAIN, VALIDATION, cohort, network
from brainage_bids.models.network import state_arrays
from brainage_bids.training.forward import predict
from brainage_bids.training.loop import fit
from brainage_bids.training.objective import Recipe
from brainage_bids.training.processes import join

torch.set_num_threads(1)
with join("cpu") as (team, device):
    nets = {{
        "resnet": (network(), Recipe(rate=0.003, epochs=3, batch=4, accumulate=2, augmentation="strong")),
        "sfcn": (network(kind="sfcn", dropout=0.0), Recipe(loss="mse", rate=0.003, epochs=3, batch=5, balance=True)),
        "slices": (network(kind="slices", first=1, last=6, drawn=6), Recipe(rate=0.003, epochs=2, batch=4)),
    }}
    for name, (net, recipe) in nets.items():
        # double: a bias before batch norm has no gradient but for rounding, which Adam would blow up to full steps
        net.convolutions.double().register_forward_pre_hook(lambda _, given: (given[0].double(),))
        net.dense.double()
        start = state_arrays(net)
        fitted = fit(net, cohort(), TRAIN, VALIDATION, recipe, seed=3, team=team)
        predicted = predict(net, cohort(), [3, 1, 2], team=team)
        found = {{"mae": fitted.score, "loss": fitted.history[-1]["train_loss"], "predicted": predicted}}
        moved = {{key: np.abs(value - start[key]).max() for key, value in state_arrays(net).items()}}
        assert min(value for key, value in moved.items() if key.endswith("weight")) > 1e-3, moved
        np.savez({out!r} + f"/{{team.size}}_{{team.rank}}_{{name}}.npz", **state_arrays(net), **found)
"""


def torchrun(count, *words):
    """Start a script as one process, or as several that talk by gloo."""
    start = [sys.executable]
    if count > 1:
        start += ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(count)]
    environment = os.environ | {"PYTHONPATH": str(Path(brainage_bids.__file__).parents[1]), "OMP_NUM_THREADS": "1"}
    return subprocess.run([*start, *map(str, words)], env=environment, capture_output=True, text=True, check=False, timeout=300)


@pytest.mark.slow
def test_two_processes_train_as_one_does(tmp_path):
    script = tmp_path / "training.py"
    script.write_text(TRAINING.format(tests=str(Path(__file__).parent), out=str(tmp_path)))
    for count in (1, 2):
        done = torchrun(count, script)
        assert done.returncode == 0, done.stderr
    for name in ("resnet", "sfcn", "slices"):
        one, first, second = (dict(np.load(tmp_path / f"{who}_{name}.npz")) for who in ("1_0", "2_0", "2_1"))
        assert set(one) == set(first)
        for key, value in one.items():
            np.testing.assert_array_equal(first[key], second[key], err_msg=f"{name} {key}")
            np.testing.assert_allclose(first[key], value, rtol=1e-5, atol=1e-5, err_msg=f"{name} {key}")


def batches(size, team, n=10):
    return Batches(Cohort(None, np.linspace(20, 60, n)), np.arange(n), size, 1, team=team)


@pytest.mark.parametrize(("size", "processes"), [(4, 2), (3, 3), (4, 4), (1, 1), (10, 3)])
def test_every_process_has_somebody_in_every_batch_and_nobody_is_lost(size, processes):
    parts = batches(size, Team(0, processes)).parts(2)
    assert sorted(np.concatenate(parts).tolist()) == list(range(10))
    assert all(len(part) >= processes for part in parts)
    shares = [[part[Team(rank, processes).share(len(part))] for rank in range(processes)] for part in parts]
    assert all(sorted(np.concatenate(share).tolist()) == sorted(part.tolist()) for share, part in zip(shares, parts, strict=True))


def test_batches_smaller_than_the_team_are_refused():
    with pytest.raises(BadConfiguration, match="2 people cannot be shared by 4 processes; give --batch 4 or more"):
        batches(2, Team(0, 4)).parts(0)


def test_more_processes_than_gpus(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "3")
    monkeypatch.setenv("LOCAL_RANK", "2")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(BadConfiguration, match=r"more processes than the 2 GPUs .* --nproc-per-node 2"), join("cuda"):
        pass


def test_one_process_is_alone(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with join("cpu") as (team, device):
        assert (team, device) == (ALONE, "cpu")
    values = torch.ones(2)
    assert team.total(values) is values
