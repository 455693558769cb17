"""Model folders of a network that were damaged, or made to do harm, with check sums that fit."""

import json
import pickle
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import load

from brainage_bids.models import load_model
from brainage_bids.models.cardfile import card_text
from brainage_bids.models.heads import describe_network
from brainage_bids.models.network import NetworkModel, make_network
from brainage_bids.models.registry import open_model
from brainage_bids.models.weights import pack_arrays, sha256_of_bytes
from brainage_bids.records import BadConfiguration
from brainage_bids.training.network_folder import write_network


@pytest.fixture
def folder(tmp_path, card):
    net, architecture = make_network("mrinet", card.contracts[:1], (), {"widths": (2, 3), "hidden": 5})
    model = NetworkModel("mrinet", architecture, net.eval(), card.contracts[:1], (), 4.0)
    return write_network(tmp_path / "m", model, lambda files: replace(card, kind="mrinet", needs=card.needs[:1], files=dict(files)))


def with_file(folder, name, content):
    """The folder with another file and its sum on the card."""
    (folder.path / name).write_bytes(content)
    card = replace(folder.card, files={**folder.card.files, name: sha256_of_bytes(content)})
    (folder.path / "model.toml").write_text(card_text(card))
    return open_model(folder.path)


class Evil:
    def __reduce__(self):
        return open, ("evil", "w")


def poisoned(content):
    arrays = load(content)
    name = sorted(arrays)[0]
    arrays[name] = arrays[name] * np.nan
    return pack_arrays(arrays)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda _: pickle.dumps(Evil()), "is no safetensors file"),
        (lambda content: content[:200], "is no safetensors file"),
        (lambda content: b"", "is no safetensors file"),
        (lambda content: (2**62).to_bytes(8, "little") + b"{}", "is no safetensors file"),
        (poisoned, "hold numbers that cannot be used"),
    ],
)
def test_weights(folder, change, sentence, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    content = change((folder.path / "weights.safetensors").read_bytes())
    with pytest.raises(BadConfiguration, match=sentence):
        load_model(with_file(folder, "weights.safetensors", content))
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda heads: heads["architecture"].update(hidden=10**12), "cannot be made of"),
        (lambda heads: heads["architecture"].update(hidden=-1), "cannot be made of"),
        (lambda heads: heads["architecture"].update(hidden=6), "belong to another grid or network"),
        (lambda heads: heads["architecture"].update(widths="ab"), "cannot be made of"),
        (lambda heads: heads["architecture"].update(code="x"), "cannot be made of"),
        (lambda heads: heads["architecture"].update(shape=[16, 18, 17]), "do not fit each other"),
        (lambda heads: heads.update(steps=[{"step": "evil"}]), "no step 'evil'"),
        (lambda heads: heads.update(steps=[{"step": "crop"}]), "other arguments"),
        (lambda heads: heads.update(steps=[{"step": "scale", "to": 3}]), "other arguments"),
        (lambda heads: heads.update(residual_sd="x"), "not as it should be"),
        (lambda heads: heads.update(residual_sd=-1.0), "cannot be used"),
        (lambda heads: heads.update(inputs=["other"]), "not as it should be"),
        (lambda heads: heads.update(kind="resnet"), "this version reads kind 'mrinet'"),
        (lambda heads: heads.pop("arrays"), "not as it should be"),
    ],
)
def test_heads(folder, change, sentence):
    heads = json.loads((folder.path / "heads.json").read_bytes())
    change(heads)
    with pytest.raises(BadConfiguration, match=sentence):
        load_model(with_file(folder, "heads.json", json.dumps(heads).encode()))


@pytest.mark.parametrize("content", [b"{", b"[1]", b"[" * 100_000, b"\xff"])
def test_heads_that_are_no_object(folder, content):
    with pytest.raises(BadConfiguration, match=r"The heads\.json of the model toy (is no valid JSON|holds no object)"):
        load_model(with_file(folder, "heads.json", content))


def test_what_a_network_is_in_words(folder):
    heads = json.loads((folder.path / "heads.json").read_bytes())
    heads["steps"] = [{"step": "crop", "start": [1, 0, 0], "stop": [9, 9, 9]}, {"step": "brain"}]
    found = describe_network(with_file(folder, "heads.json", json.dumps(heads).encode()))
    assert found[0] == "Before the network sees an image: crop (start=[1, 0, 0], stop=[9, 9, 9]), brain."
    assert found[1].startswith("The network is mrinet (widths=[2, 3], hidden=5, ")
    with pytest.raises(BadConfiguration, match="not as it should be"):
        describe_network(with_file(folder, "heads.json", json.dumps(heads | {"steps": [1]}).encode()))


def test_a_card_that_names_no_heads(folder):
    card = replace(folder.card, files={name: digest for name, digest in folder.card.files.items() if name != "heads.json"})
    with pytest.raises(BadConfiguration, match=r"^The card of the model toy .* names no file heads\.json"):
        load_model(replace(folder, card=card))
