import json
import os

import h5py
import numpy as np
import pytest
import torch
from torch import nn

from brainage_bids.models.foreign import mrinet_from_keras, read_keras, read_sfcn
from brainage_bids.models.keras_plan import KerasPlan, read_plan
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


@pytest.mark.parametrize("how", ["plain", "parallel", "nested", "of 2019"])
def test_sfcn_gives_what_theirs_gives(theirs, how, tmp_path):
    state = theirs.state_dict() if how == "plain" else nn.DataParallel(theirs).state_dict()
    content = {"state_dict": state, "epoch": 3} if how == "nested" else state
    torch.save(content, tmp_path / "w.p", _use_new_zipfile_serialization=how != "of 2019")
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
        with pytest.raises(BadConfiguration, match=sentence) as caught:
            read_sfcn(name)
        assert "weights_only" not in str(caught.value)  # torch's advice is to run what is in the file
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize(
    ("name", "change", "sentence"),
    [
        ("conv_0.0.weight", lambda _: 3.0, "is no array of numbers"),
        ("conv_0.0.weight", lambda value: value.to(torch.complex64), "is no array of numbers"),
        ("conv_0.0.weight", lambda value: value / 0, "not finite"),
        ("conv_1.1.running_var", lambda value: -value, "variances below zero"),
    ],
)
def test_numbers_that_are_no_weights(theirs, name, change, sentence, tmp_path):
    state = theirs.state_dict()
    state["feature_extractor." + name] = change(state["feature_extractor." + name])
    torch.save(state, tmp_path / "w.p")
    with pytest.raises(BadConfiguration, match=f"{name}.* {sentence}"):
        read_sfcn(tmp_path / "w.p")


FORMS = {"3d leaky": (SHAPE, 0.2), "3d": (SHAPE, 0.0), "2d leaky": ((10, 13), 0.2), "2d": ((10, 13), 0.0)}


def keras_mrinet(keras, shape, slope, **changed):
    """The network of H2 in Keras, channels last, with biases that are not zero; `changed` are arguments of its first convolution."""
    nd, wide = len(shape), keras.initializers.RandomNormal(0, 9.0)
    convolution, pool = getattr(keras.layers, f"Conv{nd}D"), getattr(keras.layers, f"MaxPooling{nd}D")
    activation = lambda: keras.layers.LeakyReLU(negative_slope=slope) if slope else keras.layers.ReLU()  # noqa: E731
    layers = [keras.layers.Input((*shape, 1))]
    for number, width in enumerate((3, 4, 5)):
        given = {"padding": "same", "bias_initializer": "random_normal", **(changed if number == 0 else {})}
        layers += [convolution(width, 1 if number == 2 else 3, **given), activation(), pool(3, 2, padding="same")]
    layers += [keras.layers.Flatten(), keras.layers.Dropout(0.5), keras.layers.Dense(6, bias_initializer="random_normal"), activation()]
    return [*layers, keras.layers.Dense(1, kernel_initializer=wide, bias_initializer=keras.initializers.Constant(50.0))]


@pytest.fixture(scope="module")
def keras():
    os.environ["KERAS_BACKEND"] = "torch"
    return pytest.importorskip("keras", reason="the oracle of the Keras import is written in Keras (extra 'test')")


@pytest.fixture(scope="module")
def keras_nets(keras):
    """Of every form: the network, images, and the ages it says."""
    found = {}
    for name, (shape, slope) in FORMS.items():
        keras.utils.set_random_seed(3)
        model = keras.Sequential(keras_mrinet(keras, shape, slope))
        model.compile(optimizer="adam", loss="mse")
        images = 3 * np.random.default_rng(0).normal(size=(3, *shape, 1)).astype(np.float32)
        model.train_on_batch(images, np.array([20.0, 50.0, 80.0]))  # so that the file carries an optimiser too
        found[name] = model, images, np.asarray(model.predict_on_batch(images))[:, 0]
    return found


@pytest.fixture
def keras_net(keras_nets):
    return keras_nets["3d leaky"]


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
@pytest.mark.parametrize("network", FORMS)
def test_a_keras_mrinet_gives_the_same_ages(keras_nets, network, form, tmp_path):
    (shape, slope), (model, images, expected) = FORMS[network], keras_nets[network]
    path = tmp_path / "net.weights.h5" if form == "keras3weights" else tmp_path / "net.h5"
    (model.save_weights if form == "keras3weights" else model.save)(path)
    if form == "keras2":
        as_keras_2(path, tmp_path / "two.h5")
        path = tmp_path / "two.h5"
        with h5py.File(path) as file:
            assert any("kernel:0" in group[name] for group in file["model_weights"].values() for name in group)
    plan = read_plan(path)
    assert plan is None if form != "keras3" else (plan.shape, plan.leak) == (shape, slope)
    arrays, architecture = mrinet_from_keras(read_keras(path), shape)
    assert (architecture["widths"], architecture["hidden"], architecture["channels"]) == ([3, 4, 5], 6, 1)
    ours = build_net("mrinet", architecture | {"leak": slope}).eval()
    load_state(ours, arrays)
    with torch.no_grad():
        found = ours(torch.from_numpy(images).movedim(-1, 1)).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    assert np.ptp(expected) > 0.1


def test_networks_that_are_no_mrinet_are_told_by_their_description(keras, tmp_path):
    layers = keras.layers
    usual = [keras_mrinet(keras, SHAPE, 0.2) for _ in range(3)]  # a layer can be in one network only
    others = {
        "the padding 'valid'": keras_mrinet(keras, SHAPE, 0.2, padding="valid"),
        "strides": keras_mrinet(keras, SHAPE, 0.2, strides=2),
        "the activation 'elu'": keras_mrinet(keras, SHAPE, 0.2, activation="elu"),
        "ReLUs of slopes": keras_mrinet(keras, SHAPE, 0.2, activation="relu"),
        "a layer BatchNormalization": [*usual[0][:2], layers.BatchNormalization(), *usual[0][2:]],
        "pools after": [*usual[1][:3], *usual[1][4:]],
        "a MaxPooling3D has pool_size": [*usual[2][:3], layers.MaxPooling3D(2, 2, padding="same"), *usual[2][4:]],
    }
    for words, changed in others.items():
        keras.Sequential(changed).save(tmp_path / "x.h5")
        with pytest.raises(BadConfiguration, match=f"another network than a mrinet: .*{words}"):
            read_plan(tmp_path / "x.h5")
    with h5py.File(tmp_path / "x.h5", "a") as file:
        file.attrs["model_config"] = "{"
    with pytest.raises(BadConfiguration, match="description of the layers in .* cannot be read"):
        read_plan(tmp_path / "x.h5")


def test_the_description_of_keras_2(tmp_path):
    """As tf.keras 2 writes it: shapes in the first layer or an InputLayer, alpha for the slope, activations in the layers."""
    convolution = {"padding": "same", "strides": [1, 1, 1], "dilation_rate": [1, 1, 1], "groups": 1, "data_format": "channels_last"}
    pool = {"pool_size": [3, 3, 3], "strides": [2, 2, 2], "padding": "same", "data_format": "channels_last"}
    leaky = {"class_name": "LeakyReLU", "config": {"alpha": 0.2}}
    one, two = (
        [
            {"class_name": "Conv3D", "config": {**convolution, "batch_input_shape": [None, 9, 12, 11, 1], "activation": activation}},
            *([leaky] if activation == "linear" else []),
            {"class_name": "MaxPooling3D", "config": pool},
            {"class_name": "Flatten", "config": {}},
            {"class_name": "Dense", "config": {"activation": activation}},
            *([leaky] if activation == "linear" else []),
            {"class_name": "Dense", "config": {"activation": "linear"}},
        ]
        for activation in ("linear", "relu")
    )
    nested = {"layers": [{"class_name": "Functional", "config": {"layers": one}}]}
    for number, (config, leak) in enumerate(((one, 0.2), ({"layers": two}, 0.0), (nested, 0.2))):
        with h5py.File(tmp_path / f"{number}.h5", "w") as file:
            file.attrs["model_config"] = json.dumps({"class_name": "Sequential", "config": config}).encode()
        assert read_plan(tmp_path / f"{number}.h5") == KerasPlan(SHAPE, leak)


def test_weights_of_other_layers_are_not_left_out(keras, tmp_path):
    usual = keras_mrinet(keras, SHAPE, 0.2)
    for name, changed in {
        "gamma": [*usual[:2], keras.layers.BatchNormalization(), *usual[2:]],
        "kernel": keras_mrinet(keras, SHAPE, 0.2, use_bias=False),
    }.items():
        model = keras.Sequential(changed)
        for file, sought in (("x.h5", name), ("x.weights.h5", "vars/0")):
            (model.save if file == "x.h5" else model.save_weights)(tmp_path / file)
            with pytest.raises(BadConfiguration, match=f"layers that a mrinet has not: .*{sought}"):
                read_keras(tmp_path / file)


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
    with h5py.File(tmp_path / "nan.h5", "w") as file:
        file["conv3d/kernel:0"], file["conv3d/bias:0"] = np.full((1, 1, 1, 1, 1), np.nan), np.zeros(1)
    with h5py.File(tmp_path / "words.h5", "w") as file:
        file["conv3d/kernel:0"], file["conv3d/bias:0"] = np.array([[b"a"]]), np.zeros(1)
    with h5py.File(tmp_path / "flat.h5", "w") as file:
        file["conv3d"] = np.zeros(3)
        file.attrs["layer_names"] = ["conv3d"]
    sentences = {"text.h5": "cannot be read as HDF5", "empty.h5": "holds no layers", "none.h5": "cannot be read", "nan.h5": "not finite"}
    for name, sentence in (sentences | dict.fromkeys(("words.h5", "flat.h5"), "cannot be read as HDF5")).items():
        with pytest.raises(BadConfiguration, match=sentence):
            read_keras(tmp_path / name)
    keras_net[0].save(tmp_path / "net.h5")
    layers = read_keras(tmp_path / "net.h5")
    with pytest.raises(BadConfiguration, match="a grid of \\(20, 12, 11\\) gives"):
        mrinet_from_keras(layers, (20, 12, 11))
    with pytest.raises(BadConfiguration, match="not the layers of a mrinet"):
        mrinet_from_keras(layers[:-1], SHAPE)


def links(file, place):
    file["conv3d/kernel:0"] = h5py.ExternalLink(str(place), "/x")


def a_circle(file, _):
    file.create_group("a")["b"] = file["/"]


def elsewhere(file, place):
    file.create_dataset("conv3d/kernel:0", (1, 1, 1, 1), "f4", external=[(str(place), 0, 4)])


def virtual(file, place):
    layout = h5py.VirtualLayout((4,), "f4")
    layout[:] = h5py.VirtualSource(str(place), "x", (4,))
    file.create_virtual_dataset("conv3d/kernel:0", layout)


def terabytes(file, _):
    file.create_dataset("dense/kernel:0", (10**6, 10**6), "f4", chunks=(1000, 1000))
    file.create_dataset("dense/bias:0", (10**6,), "f4")


@pytest.mark.parametrize("make", [links, a_circle, elsewhere, virtual, terabytes])
def test_nothing_outside_of_a_keras_file_is_opened_and_nothing_endless_read(tmp_path, make):
    os.mkfifo(tmp_path / "pipe")
    with h5py.File(tmp_path / "x.h5", "w") as file:
        make(file, tmp_path / "pipe")
    with pytest.raises(BadConfiguration, match="cannot be read as HDF5 of Keras"):
        read_keras(tmp_path / "x.h5")
