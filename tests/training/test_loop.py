import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import brainage_bids
from brainage_bids.models.nets import build_net
from brainage_bids.models.network import state_arrays
from brainage_bids.records import BadConfiguration
from brainage_bids.training.cache import Cache
from brainage_bids.training.forward import Cohort, predict
from brainage_bids.training.loop import fit
from brainage_bids.training.objective import Recipe
from brainage_bids.training.transfer import hold, to_training

SHAPE = (6, 7, 8)
RECIPE = Recipe(rate=0.01, epochs=6, patience=6, batch=4, augmentation="strong", decay=1e-3)


def cohort(n=24, signal=1.0, seed=0):
    """Noise whose left half follows age."""
    generator = np.random.default_rng(seed)
    ages = generator.uniform(20, 60, n)
    volumes = generator.normal(0, 0.3, (n, *SHAPE)).astype(np.float32) + 1
    volumes += signal * ((ages - 40) / 20)[:, None, None, None] * np.ones(SHAPE, np.float32)
    volumes, scales = volumes[:, None], np.tile(np.array([[1.0, 0.0]], np.float32), (n, 1, 1))
    return Cohort(Cache(volumes.astype(np.float16), scales, volumes[..., ::3, ::3, ::3]), ages)


def network(seed=0, kind="resnet", **more):
    torch.manual_seed(seed)
    net = build_net(kind, {"shape": SHAPE, "widths": (3, 4), **more})
    net.head.start_at(40.0)
    return net


def equal(first, second):
    first, second = state_arrays(first), state_arrays(second)
    return all(np.array_equal(first[name], second[name]) for name in first)


TRAIN, VALIDATION = range(18), range(18, 24)


def test_it_learns_and_keeps_the_best_epoch():
    people, net = cohort(), network(kind="mrinet", hidden=6, dropout=0.0)
    recipe = Recipe(loss="mse", rate=0.01, epochs=25, patience=25, augmentation="none")
    fitted = fit(net, people, TRAIN, VALIDATION, recipe, seed=1)
    found = predict(net, people, list(VALIDATION))
    truth = people.ages[18:]
    assert np.abs(found - truth).mean() == pytest.approx(fitted.score, abs=1e-4)
    assert fitted.score < 0.5 * np.abs(truth - people.ages[:18].mean()).mean()
    assert fitted.score == min(line["validation_mae"] for line in fitted.history)
    assert fitted.history[fitted.best_epoch - 1]["validation_mae"] == fitted.score


def test_patience_stops():
    people = cohort(signal=0.0)
    fitted = fit(network(), people, TRAIN, VALIDATION, Recipe(rate=1e-9, epochs=30, patience=2, augmentation="none"), seed=1)
    assert len(fitted.history) == fitted.best_epoch + 2 < 30


def test_interrupted_and_resumed_gives_the_same_weights(tmp_path):
    people, whole, broken = cohort(), network(), network()
    expected = fit(whole, people, TRAIN, VALIDATION, RECIPE, seed=3)

    class Stop(Exception):
        pass

    def stop(line):
        if line["epoch"] == 3:
            raise Stop

    with pytest.raises(Stop):
        fit(broken, people, TRAIN, VALIDATION, RECIPE, seed=3, work=tmp_path, told=stop)
    again, seen = network(), []
    found = fit(again, people, TRAIN, VALIDATION, RECIPE, seed=3, work=tmp_path, told=lambda line: seen.append(line["epoch"]))
    assert seen == [4, 5, 6]
    assert equal(again, whole)
    assert [line["validation_mae"] for line in found.history] == [line["validation_mae"] for line in expected.history]
    third, seen = network(), []
    fit(third, people, TRAIN, VALIDATION, RECIPE, seed=3, work=tmp_path, told=seen.append)
    assert seen == []  # it was finished
    assert equal(third, whole)
    other = network(seed=5)
    fit(other, people, TRAIN, VALIDATION, RECIPE, seed=3, work=tmp_path, told=seen.append)
    assert len(seen) == 6  # another start is another run


KILLED = """
import os, signal, sys
sys.path.insert(0, {tests!r})
from test_loop import RECIPE, TRAIN, VALIDATION, cohort, network
from pathlib import Path
from brainage_bids.training import loop
whole = loop._Run._epoch
def epoch(self, number):
    if number == 2:  # dies in the middle of its third epoch, after some steps
        count = iter(range(3))
        step = self.optimiser.step
        self.optimiser.step = lambda: step() if next(count, None) != 2 else os.kill(os.getpid(), signal.SIGKILL)
    return whole(self, number)
loop._Run._epoch = epoch
loop.fit(network(), cohort(), TRAIN, VALIDATION, RECIPE, seed=3, work=Path({work!r}))
"""


def test_killed_in_an_epoch_and_resumed_gives_the_same_weights(tmp_path):
    script = KILLED.format(tests=str(Path(__file__).parent), work=str(tmp_path))
    environment = os.environ | {"PYTHONPATH": str(Path(brainage_bids.__file__).parents[1]), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert len(list(tmp_path.glob("run-*.pt"))) == 1
    people, whole, again, seen = cohort(), network(), network(), []
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        fit(whole, people, TRAIN, VALIDATION, RECIPE, seed=3)
        fit(again, people, TRAIN, VALIDATION, RECIPE, seed=3, work=tmp_path, told=lambda line: seen.append(line["epoch"]))
    finally:
        torch.set_num_threads(threads)
    assert seen == [3, 4, 5, 6]
    assert equal(again, whole)


def test_a_checkpoint_that_is_no_checkpoint(tmp_path):
    people = cohort()
    fit(network(), people, TRAIN, VALIDATION, RECIPE, seed=3, work=tmp_path)
    (path,) = tmp_path.glob("run-*.pt")
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(BadConfiguration, match="cannot be read .* remove it to start again"):
        fit(network(), people, TRAIN, VALIDATION, RECIPE, seed=3, work=tmp_path)


@pytest.mark.parametrize("freeze", ["convolutions", "all-but-last", "none"])
def test_frozen_convolutions_keep_their_bits(freeze):
    people, net = cohort(), network()
    images = torch.randn(3, 1, *SHAPE)
    to_training(net, "none")
    net(torch.randn(8, 1, *SHAPE) * 2)  # running statistics of its own
    net.eval()
    with torch.no_grad():
        convolved, features, ages = net.convolutions(images), net.features(images), net(images)
    before = {name: value.clone() for name, value in net.convolutions.state_dict().items()}
    fit(net, people, TRAIN, VALIDATION, Recipe(rate=0.01, epochs=2, augmentation="none"), seed=1, freeze=freeze)
    kept = [torch.equal(value, before[name]) for name, value in net.convolutions.state_dict().items()]
    assert all(kept) if freeze != "none" else not any(kept)
    with torch.no_grad():  # another layout in memory rounds in another way
        assert torch.allclose(net.convolutions(images), convolved, atol=1e-5) == (freeze != "none")
        assert torch.allclose(net.features(images), features, atol=1e-5) == (freeze == "all-but-last")
        assert not torch.allclose(net(images), ages, atol=1e-5)


@pytest.mark.parametrize(("people", "batch", "accumulate"), [(18, 2, 3), (18, 4, 2), (15, 5, 2)])
def test_accumulated_batches_are_one_large_batch(people, batch, accumulate):
    """In the second and third case the last step has fewer people than the others: 4 + 4, 4 + 4, 2 and 5 + 5, 5."""
    nets = [network(kind="mrinet", hidden=5, dropout=0.0) for _ in range(2)]
    first = []
    for net, size, times in zip(nets, (batch * accumulate, batch), (1, accumulate), strict=True):
        recipe = Recipe(loss="mse", rate=0.01, epochs=2, batch=size, accumulate=times, augmentation="none")
        first.append(fit(net, cohort(), range(people), VALIDATION, recipe, seed=2).history[0])
    for name, value in state_arrays(nets[0]).items():
        np.testing.assert_allclose(state_arrays(nets[1])[name], value, rtol=1e-3, atol=1e-5)
    assert first[0]["train_loss"] == pytest.approx(first[1]["train_loss"], rel=1e-3)


@pytest.mark.parametrize("more", [{"precision": "bfloat16"}, {"balance": True}, {"optimiser": "adamw"}])
def test_options_train_too(more):
    fitted = fit(network(), cohort(), TRAIN, VALIDATION, Recipe(rate=0.01, epochs=3, **more), seed=1)
    assert fitted.history[-1]["train_loss"] < fitted.history[0]["train_loss"] * 1.2


def test_slices_and_bins_train():
    people = cohort()
    fit(network(kind="slices", first=1, last=6, drawn=2), people, TRAIN, VALIDATION, Recipe(epochs=1), seed=1)
    soft = network(kind="sfcn", bins={"low": 20, "width": 2, "count": 20, "sigma": 2})
    fitted = fit(soft, people, TRAIN, VALIDATION, Recipe(loss="kl", rate=0.02, epochs=12, patience=12, augmentation="none"), seed=1)
    assert fitted.score < 0.8 * np.abs(people.ages[18:] - people.ages[:18].mean()).mean()


def test_a_loss_that_is_no_number():
    with pytest.raises(BadConfiguration, match=r"loss became (nan|inf) in epoch \d; give a smaller --rate"):
        fit(network(), cohort(), TRAIN, VALIDATION, Recipe(loss="mse", rate=1e30, epochs=5), seed=1)


def test_nobody_to_validate_with():
    with pytest.raises(BadConfiguration, match="people to validate with"):
        fit(network(), cohort(), TRAIN, [], RECIPE, seed=1)


def test_too_little_memory_on_the_gpu(monkeypatch):
    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr("brainage_bids.training.loop._Run._epoch", full)
    with pytest.raises(BadConfiguration, match="give --batch 2 --accumulate 2"):
        fit(network(), cohort(), TRAIN, VALIDATION, RECIPE, seed=1)


def test_hold_switches_off_gradients():
    net = network()
    hold(net, "convolutions")
    assert not any(parameter.requires_grad for parameter in net.convolutions.parameters())
    assert all(parameter.requires_grad for parameter in net.head.parameters())
    with pytest.raises(BadConfiguration, match="cannot be frozen"):
        hold(net, "everything")


def test_convolved_once_trains_as_convolved_each_time(monkeypatch):
    people, nets = cohort(), [network(), network()]
    recipe = Recipe(rate=0.01, epochs=3, augmentation="none")
    calls = []
    for net, once in zip(nets, (True, False), strict=True):
        if not once:
            monkeypatch.setattr("brainage_bids.training.loop.can_convolve_once", lambda *_: False)
        net.convolutions.register_forward_hook(lambda *_, once=once: calls.append(once))
        fit(net, people, TRAIN, VALIDATION, recipe, seed=1, freeze="convolutions")
    for name, value in state_arrays(nets[0]).items():
        np.testing.assert_allclose(state_arrays(nets[1])[name], value, rtol=1e-4, atol=1e-5)
    assert calls.count(True) == 6  # 24 people in batches of 4, once
    assert calls.count(False) > 15


def test_two_dimensions():
    people = cohort()
    flat = Cohort(Cache(people.cache.volumes[..., 0], people.cache.scales, people.cache.cells), people.ages)
    net = build_net("mrinet", {"shape": (6, 7), "widths": (3, 4), "hidden": 5, "leak": 0.0})
    fitted = fit(net, flat, TRAIN, VALIDATION, Recipe(loss="mse", rate=0.02, epochs=4, augmentation="none"), seed=1)
    assert fitted.history[-1]["train_loss"] < fitted.history[0]["train_loss"]
