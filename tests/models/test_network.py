from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
import torch

from brainage_bids.models import load_model
from brainage_bids.models.contract import input_paths
from brainage_bids.models.nets import NETS
from brainage_bids.models.network import NetworkModel, load_state, make_network, middle_slices
from brainage_bids.models.preparation import Step
from brainage_bids.models.registry import open_model
from brainage_bids.models.selftest import run_self_test
from brainage_bids.records import BadConfiguration, UnusableInput
from brainage_bids.training.network_folder import write_network

SMALL = {
    "resnet": {"widths": (2, 3), "hidden": 5},
    "vgg8": {"widths": (2, 3), "hidden": (6, 5)},
    "mrinet": {"widths": (2, 3), "hidden": 5},
    "sfcn": {"widths": (2, 3, 4), "bins": {"low": 20.0, "width": 2.0, "count": 20, "sigma": 1.5}},
    "slices": {"widths": (2, 3)},
    "encoder3d": {"widths": (2, 3), "block": "residual"},
}
STEPS = (Step("crop", {"start": (1, 0, 2), "stop": (14, 18, 16)}), Step("top_mean"))


@pytest.fixture
def write(tmp_path, card):
    """A function from a kind to the folder of a small network of that kind."""

    def make(kind, residual_sd=4.0, **more):
        torch.manual_seed(1)
        inputs = card.contracts[:1]
        net, architecture = make_network(kind, inputs, STEPS, SMALL[kind])
        net.head.start_at(40.0)
        model = NetworkModel(kind, architecture, net.eval(), inputs, STEPS, residual_sd, **more)
        make_card = lambda files: replace(card, kind=kind, name=kind, needs=card.needs[:1], files=dict(files))  # noqa: E731
        return write_network(tmp_path / kind, model, make_card), model

    return make


@pytest.fixture
def image(card, tmp_path):
    """A file that fulfils the contract, and its array."""
    path = input_paths(card, tmp_path / "out", "sub-01", None)["modulated_smooth_GM"]
    path.parent.mkdir(parents=True)
    data = np.random.default_rng(0).random(card.contracts[0].shape, dtype=np.float32)
    nib.save(nib.Nifti1Image(data, np.array(card.contracts[0].affine)), path)
    return {"modulated_smooth_GM": path}, data


@pytest.mark.parametrize("kind", NETS)
def test_the_app_and_an_array_give_one_age(kind, write, image, estimate):
    folder, model = write(kind)
    files, data = image
    found = estimate(folder.path, files, {}, age=40.0)
    reading = load_model(folder.path).predict_array(data).age
    assert (reading.mean, reading.sd) == (found.brain_age, found.sd)
    assert found.low < found.brain_age < found.high
    top = np.sort(data[1:14, :, 2:16].ravel())[-round(0.01 * 13 * 18 * 14) :].mean()
    with torch.no_grad():
        age, _ = model.net.head.age(model.net(torch.from_numpy(data[1:14, :, 2:16] / top)[None, None]))
    assert found.brain_age == pytest.approx(float(age), abs=1e-4)
    assert run_self_test(open_model(folder.path)).passed


def test_features_are_what_the_head_reads(write, image):
    folder, _ = write("resnet")
    model = load_model(folder)
    features = model.features(image[1])
    assert features.shape == (5,)
    with torch.no_grad():
        age = model.net.head(torch.from_numpy(features)[None])
    assert float(age) == pytest.approx(model.predict_array(image[1]).age.mean, abs=1e-5)


def test_spread_of_the_bins_or_none(write, image, estimate):
    soft = load_model(write("sfcn", residual_sd=None)[0]).predict_array(image[1]).age
    assert 1 < soft.sd < 12
    folder, _ = write("resnet", residual_sd=None)
    found = estimate(folder, image[0], {}, age=40.0)
    assert (found.sd, found.low, found.high, found.interval_method) == (None, None, None, None)
    assert run_self_test(folder).passed


def test_a_model_is_loaded_once_and_again_when_it_changed(write, monkeypatch):
    folder, _ = write("resnet")
    assert load_model(folder) is load_model(folder.path)
    path = folder.path / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(BadConfiguration, match="SHA-256"):
        load_model(folder)


@pytest.mark.parametrize("kind", NETS)
def test_bfloat16_is_of_the_convolutions_and_not_of_the_age(kind, write, image, estimate):
    folder, _ = write(kind)
    plain, quick = load_model(folder), load_model(folder, precision="bfloat16")
    assert quick.net is plain.net  # loaded once
    ages = [model.predict_array(image[1]).age.mean for model in (plain, quick)]
    assert ages[0] != ages[1]
    assert ages[0] == pytest.approx(ages[1], abs=0.1)
    assert load_model(folder).predict_array(image[1]).age.mean == ages[0]
    assert float(torch.tensor(ages[1]).bfloat16()) != ages[1]  # steps of 0.25 years
    assert estimate(folder, image[0], {}, age=40.0, precision="bfloat16").brain_age == ages[1]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_no_gpu(write, image, estimate):
    folder, _ = write("resnet")
    assert load_model(folder, device="auto").device == "cpu"
    with pytest.raises(BadConfiguration, match="'cuda' is not there; give --device cpu"):
        estimate(folder, image[0], {}, age=40.0, device="cuda")


def test_too_little_memory_on_the_gpu(write, image, monkeypatch):
    folder, _ = write("resnet")

    def full(*_):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr("brainage_bids.models.nets.base.AgeNet.features", full)
    with pytest.raises(BadConfiguration, match="too little memory for the network resnet; give --precision bfloat16 or --device cpu"):
        load_model(folder).predict_array(image[1])


def test_images_unlike_training_are_flagged(write, image, card, estimate):
    mean = np.random.default_rng(5).random((7, 8, 7)).astype(np.float16)
    key = card.contracts[0].key
    folder, _ = write("resnet", mean_cells={key: mean}, similarity={key: 0.5})
    assert "input_mismatch" in estimate(folder, image[0], {}, age=40.0).flags
    assert load_model(folder).predict_array(image[1]).flags == ("input_mismatch",)


def test_arrays_that_do_not_fit(write):
    model = load_model(write("resnet")[0])
    for wrong in (np.ones((3, 3, 3)), np.zeros((16, 18, 16)), np.full((16, 18, 16), np.nan), np.ones((2, 16, 18, 16))):
        with pytest.raises(UnusableInput):
            model.predict_array(wrong)


def test_weights_of_another_network_are_refused(card):
    inputs = card.contracts[:1]
    small, _ = make_network("resnet", inputs, (), SMALL["resnet"])
    large, _ = make_network("resnet", inputs, (), {"widths": (2, 3), "hidden": 6})
    arrays = {name: value.numpy() for name, value in small.state_dict().items() if "num_batches" not in name}
    with pytest.raises(BadConfiguration, match="belong to another grid or network"):
        load_state(large, arrays)
    del arrays["head.linear.bias"]
    with pytest.raises(BadConfiguration, match="missing head.linear.bias"):
        load_state(small, arrays)


def test_two_inputs_are_two_channels(card):
    net, architecture = make_network("resnet", card.contracts, (), SMALL["resnet"])
    assert architecture["channels"] == 2
    model = NetworkModel("resnet", architecture, net.eval(), card.contracts, ())
    assert np.isfinite(model.predict_array(np.ones((2, 16, 18, 16), np.float32)).age.mean)
    other = replace(card.contracts[1], shape=(16, 18, 17))
    with pytest.raises(BadConfiguration, match="inputs on one grid"):
        make_network("resnet", (card.contracts[0], other), ())


def test_default_range_of_slices():
    assert middle_slices(10) == {"first": 2, "last": 7}
