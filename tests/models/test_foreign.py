import os

import h5py
import numpy as np
import pytest
import torch
from torch import nn

from brainage_bids.models.foreign import mrinet_from_keras, read_keras, read_sfcn
from brainage_bids.models.nets import build_net
from brainage_bids.models.network import load_state
from brainage_bids.records import BadConfiguration

SHAPE = (9, 12, 11)


class TheirSfcn(nn.Module):
    """SFCN as Peng 2021 describes it, written by itself: names as in the authors' files."""

    def __init__(self, widths, outputs):
        super().__init__()
        self.feature_extractor, self.classifier = nn.Sequential(), nn.Sequential()
        before = 1
        for number, width in enumerate(widths):
            last = number == len(widths) - 1
            layers = [nn.Conv3d(before, width, 1 if last else 3, padding=0 if last else 1), nn.BatchNorm3d(width)]
            layers += [nn.ReLU()] if last else [nn.MaxPool3d(2, 2), nn.ReLU()]
            self.feature_extractor.add_module(f"conv_{number}", nn.Sequential(*layers))
            before = width
        self.classifier.add_module("average_pool", nn.AvgPool3d([2, 3, 2]))
        self.classifier.add_module("dropout", nn.Dropout(0.5))
        self.classifier.add_module("conv_6", nn.Conv3d(before, outputs, 1))

    def forward(self, values):
        return nn.functional.log_softmax(self.classifier(self.feature_extractor(values)), dim=1).flatten(1)


@pytest.fixture
def theirs():
    torch.manual_seed(0)
    net = TheirSfcn((2, 3, 4), 40)
    net.train()
    for _ in range(3):
        net(torch.randn(2, 1, 8, 12, 8) * 3 + 1)  # running statistics that are not those of the start
    return net.eval()


@pytest.mark.parametrize("how", ["plain", "parallel", "nested"])
def test_sfcn_gives_what_theirs_gives(theirs, how, tmp_path):
    state = theirs.state_dict() if how == "plain" else nn.DataParallel(theirs).state_dict()
    torch.save({"state_dict": state, "epoch": 3} if how == "nested" else state, tmp_path / "w.p")
    arrays, count = read_sfcn(tmp_path / "w.p")
    assert count == 40
    bins = {"low": 42.0, "width": 1.0, "count": 40, "sigma": 1.0}
    ours = build_net("sfcn", {"shape": (8, 12, 8), "widths": (2, 3, 4), "bins": bins}).eval()
    load_state(ours, arrays)
    images = torch.randn(2, 1, 8, 12, 8)
    with torch.no_grad():
        output = theirs(images)
        torch.testing.assert_close(ours(images), output, rtol=1e-5, atol=1e-5)
        expected = np.exp(output.numpy().astype(float)) @ (42 + np.arange(40) + 0.5)
        np.testing.assert_allclose(ours.head.age(ours(images))[0], expected, rtol=1e-5)


class Evil:
    def __reduce__(self):
        return os.mkdir, ("evil",)


def test_files_that_are_no_sfcn(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"a": Evil()}, "evil.p")
    torch.save({"fc.weight": torch.zeros(2)}, "other.p")
    torch.save({"feature_extractor.conv_0.0.weight": torch.zeros(2)}, "half.p")
    (tmp_path / "text.p").write_text("hello")
    sentences = {
        "evil.p": "never run",
        "other.p": "has 'fc.weight'",
        "half.p": "is missing",
        "text.p": "never run",
        "none.p": "cannot be read",
    }
    for name, sentence in sentences.items():
        with pytest.raises(BadConfiguration, match=sentence):
            read_sfcn(name)
    assert not (tmp_path / "evil").exists()


@pytest.fixture(scope="module")
def keras_net():
    """The network of H2 in Keras, channels last, with biases that are not zero."""
    os.environ["KERAS_BACKEND"] = "torch"
    keras = pytest.importorskip("keras", reason="the oracle of the Keras import is written in Keras (extra 'test')")
    keras.utils.set_random_seed(3)
    wide = keras.initializers.RandomNormal(0, 9.0)
    layers = [keras.layers.Input((*SHAPE, 1))]
    for number, width in enumerate((3, 4, 5)):
        layers += [keras.layers.Conv3D(width, 1 if number == 2 else 3, padding="same", bias_initializer="random_normal")]
        layers += [keras.layers.LeakyReLU(negative_slope=0.2), keras.layers.MaxPooling3D(3, 2, padding="same")]
    layers += [keras.layers.Flatten(), keras.layers.Dropout(0.5), keras.layers.Dense(6, bias_initializer="random_normal")]
    layers += [keras.layers.LeakyReLU(negative_slope=0.2)]
    layers += [keras.layers.Dense(1, kernel_initializer=wide, bias_initializer=keras.initializers.Constant(50.0))]
    model = keras.Sequential(layers)
    model.compile(optimizer="adam", loss="mse")
    images = 3 * np.random.default_rng(0).normal(size=(3, *SHAPE, 1)).astype(np.float32)
    model.train_on_batch(images, np.array([20.0, 50.0, 80.0]))  # so that the file carries an optimiser too
    return model, images, np.asarray(model.predict_on_batch(images))[:, 0]


def as_keras_2(source, target):
    """The same file with the names of Keras 2: ``kernel:0`` under the layer's name twice."""
    with h5py.File(source) as old, h5py.File(target, "w") as new:
        root = new.create_group("model_weights")
        root.attrs["layer_names"] = old["model_weights"].attrs["layer_names"]
        for name in map(str, (n.decode() if isinstance(n, bytes) else n for n in root.attrs["layer_names"])):
            found = []
            old["model_weights"][name].visititems(
                lambda key, item, found=found: found.append((key, item)) if isinstance(item, h5py.Dataset) else None
            )
            group = root.create_group(name)
            group.attrs["weight_names"] = [f"{name}/{key.split('/')[-1]}:0".encode() for key, _ in found]
            for key, item in found:
                group[f"{name}/{key.split('/')[-1]}:0"] = np.asarray(item)


@pytest.mark.parametrize("form", ["keras3", "keras3weights", "keras2"])
def test_a_keras_mrinet_gives_the_same_ages(keras_net, form, tmp_path):
    model, images, expected = keras_net
    path = tmp_path / "net.weights.h5" if form == "keras3weights" else tmp_path / "net.h5"
    (model.save_weights if form == "keras3weights" else model.save)(path)
    if form == "keras2":
        as_keras_2(path, tmp_path / "two.h5")
        path = tmp_path / "two.h5"
        with h5py.File(path) as file:
            assert any("kernel:0" in group[name] for group in file["model_weights"].values() for name in group)
    arrays, architecture = mrinet_from_keras(read_keras(path), SHAPE)
    assert (architecture["widths"], architecture["hidden"], architecture["channels"]) == ([3, 4, 5], 6, 1)
    ours = build_net("mrinet", architecture | {"leak": 0.2}).eval()
    load_state(ours, arrays)
    with torch.no_grad():
        found = ours(torch.from_numpy(images).movedim(-1, 1)).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    assert np.ptp(expected) > 0.1


def test_eleven_layers_keep_their_order(tmp_path):
    with h5py.File(tmp_path / "x.weights.h5", "w") as file:
        for number in range(12):
            group = file.create_group(f"layers/conv3d{f'_{number}' if number else ''}/vars")
            group["0"], group["1"] = np.zeros((1, 1, 1, 1, 1)), np.array([float(number)])
    assert [bias[0] for _, bias in read_keras(tmp_path / "x.weights.h5")] == list(range(12))


def test_files_that_are_no_mrinet(tmp_path, keras_net):
    (tmp_path / "text.h5").write_text("hello")
    with h5py.File(tmp_path / "empty.h5", "w") as file:
        file["numbers"] = np.zeros(3)
    for name, sentence in {"text.h5": "cannot be read as HDF5", "empty.h5": "holds no layers", "none.h5": "cannot be read"}.items():
        with pytest.raises(BadConfiguration, match=sentence):
            read_keras(tmp_path / name)
    keras_net[0].save(tmp_path / "net.h5")
    layers = read_keras(tmp_path / "net.h5")
    with pytest.raises(BadConfiguration, match="a grid of \\(20, 12, 11\\) gives"):
        mrinet_from_keras(layers, (20, 12, 11))
    with pytest.raises(BadConfiguration, match="not the layers of a mrinet"):
        mrinet_from_keras(layers[:-1], SHAPE)
