import json

import h5py
import numpy as np
import pytest
import torch

from brainage_bids.cli.models import main
from brainage_bids.models import fetch, load_model
from brainage_bids.models.image_contract import InputContract
from brainage_bids.models.inputs import NetInput
from brainage_bids.models.nets import build_net
from brainage_bids.models.preparation import Step
from brainage_bids.models.registry import open_model
from brainage_bids.records import BadConfiguration

AFFINE = ((1.5, 0.0, 0.0, 0.0), (0.0, 1.5, 0.0, 0.0), (0.0, 0.0, 1.5, 0.0), (0.0, 0.0, 0.0, 1.0))


@pytest.fixture(autouse=True)
def toy_input(monkeypatch):
    """A small grid in place of the published ones."""
    contract = InputContract("t1w_mni", {"res": "2"}, "T1w", "MNI152NLin2009aSym", "nonlinear", (1.5,) * 3, (9, 12, 8), AFFINE, "preproc")
    small = NetInput(contract, (Step("mean"),))
    monkeypatch.setattr("brainage_bids.models.inputs.INPUTS", {"toy": small, "sfcnukb": small, "packed2": small})


@pytest.fixture
def sfcn_file(tmp_path):
    net = build_net("sfcn", {"shape": (9, 12, 8), "widths": (2, 3), "bins": {"low": 42, "width": 1, "count": 40, "sigma": 1}})
    names = (("convolutions.", "module.feature_extractor."), ("head.layer.conv.", "module.classifier.conv_6."))
    state = {}
    for name, value in net.state_dict().items():
        for ours, theirs in names:
            if name.startswith(ours):
                state[theirs + name.removeprefix(ours)] = value
    torch.save(state, tmp_path / "sfcn.p")
    return tmp_path / "sfcn.p", net.eval()


def test_import_sfcn(sfcn_file, tmp_path, capsys):
    path, net = sfcn_file
    words = ["--train-ages", "44", "80", "--train-n", "100", "--mae", "2.1", "--licence", "MIT"]
    assert main(["import", str(path), "--kind", "sfcn", *words, "--to", str(tmp_path / "theirs")]) == 0
    card = open_model(tmp_path / "theirs").card
    assert (card.kind, card.licence, card.training.n, card.errors.mae.value) == ("sfcn", "MIT", 100, 2.1)
    assert (card.training.ages.low, card.training.ages.mean) == (44.0, None)
    image = np.random.default_rng(0).random((9, 12, 8), dtype=np.float32)
    with torch.no_grad():
        age, sd = net.head.age(net(torch.from_numpy(image / image.mean())[None, None]))
    reading = load_model(tmp_path / "theirs").predict_array(image).age
    assert (reading.mean, reading.sd) == (pytest.approx(float(age), abs=1e-4), pytest.approx(float(sd), abs=1e-4))
    assert main(["verify", str(tmp_path / "theirs")]) == 0
    assert main(["self-test", str(tmp_path / "theirs")]) == 0
    assert main(["show", str(tmp_path / "theirs")]) == 0
    printed = capsys.readouterr().out
    assert "passed" in printed and "# Before the network sees an image: mean.\n# The network is sfcn (widths=[2, 3], bins=" in printed
    again = ["import", str(path), "--kind", "sfcn", *words, "--to", str(tmp_path / "theirs")]
    assert main(again) == 78
    assert "already holds a model" in capsys.readouterr().err
    assert main([*again, "--overwrite", "--first-bin", "20"]) == 0
    assert load_model(tmp_path / "theirs").predict_array(image).age.mean == pytest.approx(float(age) - 22, abs=1e-4)


def test_import_of_a_keras_file(tmp_path, capsys):
    path, generator = tmp_path / "x.weights.h5", np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        shapes = {"conv3d": (3, 3, 3, 1, 2), "conv3d_1": (1, 1, 1, 2, 3), "dense": (3 * 3 * 2 * 3, 4), "dense_1": (4, 1)}
        for name, shape in shapes.items():
            group = file.create_group(f"layers/{name}/vars")
            group["0"], group["1"] = generator.normal(size=shape), generator.normal(size=shape[-1])
    words = ["--train-ages", "18", "82", "--train-n", "9", "--rmse", "5", "--to", str(tmp_path / "theirs")]
    assert main(["import", str(path), "--kind", "mrinet", *words]) == 0
    reading = load_model(tmp_path / "theirs").predict_array(generator.random((9, 12, 8), dtype=np.float32)).age
    assert np.isfinite(reading.mean)
    assert reading.sd == 5.0
    assert main(["import", str(path), "--kind", "sfcn", *words, "--overwrite"]) == 78
    assert "plain weights" in capsys.readouterr().err


def keras_file(path, slope, rows=9):
    """A mrinet of the toy grid as Keras 2 writes it, with the description of its layers."""
    generator = np.random.default_rng(1)
    same = {"padding": "same", "data_format": "channels_last"}
    shapes = {"conv3d": (1, 1, 1, 1, 2), "dense": (5 * 6 * 4 * 2, 4), "dense_1": (4, 1)}
    leaky = {"class_name": "LeakyReLU", "config": {"alpha": slope}}
    layers = [
        {"class_name": "InputLayer", "config": {"batch_input_shape": [None, rows, 12, 8, 1]}},
        {"class_name": "Conv3D", "config": {"strides": [1, 1, 1], **same}},
        leaky,
        {"class_name": "MaxPooling3D", "config": {"pool_size": [3, 3, 3], "strides": [2, 2, 2], **same}},
        {"class_name": "Dense", "config": {"activation": "linear"}},
        leaky,
        {"class_name": "Dense", "config": {"activation": "linear"}},
    ]
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = json.dumps({"class_name": "Sequential", "config": {"layers": layers}})
        for name, shape in shapes.items():
            group = file.create_group(f"model_weights/{name}/{name}")
            group["kernel:0"], group["bias:0"] = generator.normal(size=shape), generator.normal(size=shape[-1])
    return path


def test_the_file_says_slope_and_grid(tmp_path, capsys):
    words = ["--kind", "mrinet", "--train-ages", "18", "82", "--train-n", "9", "--to", str(tmp_path / "theirs")]
    path = keras_file(tmp_path / "leaky.h5", 0.1)
    assert main(["import", str(path), *words]) == 0
    assert load_model(tmp_path / "theirs").architecture["leak"] == 0.1
    for given, sentence in (
        ([str(path), *words, "--overwrite", "--leak", "0.2"], "has the slope 0.1 below zero, not 0.2"),
        ([str(keras_file(tmp_path / "wide.h5", 0.1, rows=10)), *words, "--overwrite"], "images of 10×12×8; the input has 9×12×8"),
    ):
        assert main(["import", *given]) == 78
        assert sentence in capsys.readouterr().err
    with h5py.File(path, "a") as file:
        del file.attrs["model_config"]
    assert main(["import", str(path), *words, "--overwrite"]) == 0
    assert load_model(tmp_path / "theirs").architecture["leak"] == 0.2
    assert main(["import", str(path), *words, "--overwrite", "--leak", "0"]) == 0
    assert load_model(tmp_path / "theirs").architecture["leak"] == 0.0


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (["--leak", "0.1"], "--leak does not go with a network sfcn"),
        (["--first-bin", "nan"], "Bins of age need"),
        (["--train-n", "0"], "people in training must be above zero, not 0"),
        (["--mae", "nan"], "error must be of zero or more, not nan"),
        (["--errors-n", "-1"], "people of the error must be of zero or more"),
        (["--rmse", "0"], "root mean squared error must be above zero, not 0.0"),
    ],
)
def test_options_that_make_no_card(sfcn_file, tmp_path, capsys, given, sentence):
    words = ["--kind", "sfcn", "--train-ages", "44", "80", "--train-n", "10", "--to", str(tmp_path / "theirs")]
    assert main(["import", str(sfcn_file[0]), *words, *given]) == 78
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "theirs").exists()


def test_one_output_is_no_distribution(sfcn_file, tmp_path, capsys):
    state = torch.load(sfcn_file[0])
    for name in ("module.classifier.conv_6.weight", "module.classifier.conv_6.bias"):
        state[name] = state[name][:1]
    torch.save(state, tmp_path / "one.p")
    words = ["--kind", "sfcn", "--train-ages", "44", "80", "--train-n", "10", "--to", str(tmp_path / "theirs")]
    assert main(["import", str(tmp_path / "one.p"), *words]) == 78
    assert "has one output" in capsys.readouterr().err


def test_fetch(sfcn_file, tmp_path, monkeypatch, capsys):
    known = fetch.PUBLISHED["sfcnukb"]
    got = []

    def download(address, to, *, sha256, progress):
        got.append(address)
        to.write_bytes(sfcn_file[0].read_bytes())
        progress(10, 10)
        return "a" * 64

    monkeypatch.setattr("brainage_bids.models.fetch.download", download)
    assert main(["fetch", "sfcnukb", "--to", str(tmp_path / "ukb")]) == 0
    card = open_model(tmp_path / "ukb").card
    assert got == [known.address]
    assert (card.licence, card.training.n, card.errors.n) == ("MIT", 12949, 1036)
    printed = capsys.readouterr()
    assert "licence MIT" in printed.out
    assert "publish none to compare with" in printed.out
    assert " of 0.0 MB, " in printed.err
    assert main(["fetch", "secret", "--to", str(tmp_path / "x")]) == 78
    assert "may be fetched" in capsys.readouterr().err


def test_a_bar_that_breaks_off_leaves_its_line(tmp_path, monkeypatch, capsys):
    def download(address, to, *, sha256, progress):
        progress(5_000_000, 10_000_000)
        raise BadConfiguration("It broke off.")

    monkeypatch.setattr("brainage_bids.models.fetch.download", download)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    assert main(["fetch", "sfcnukb", "--to", str(tmp_path / "ukb")]) == 78
    bar, said = capsys.readouterr().err.splitlines()[-2:]
    assert "[###############...............]" in bar and "5.0 of 10.0 MB" in bar
    assert said == "brainage-models: It broke off."
