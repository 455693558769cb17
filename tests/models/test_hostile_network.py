"""Model folders of a network that were damaged, or made to do harm, with check sums that fit."""

import contextlib
import json
import pickle
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
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


def header(offsets, length):
    """A safetensors file of arrays of two numbers at these places in `length` bytes."""
    text = json.dumps({name: {"dtype": "F32", "shape": [2], "data_offsets": place} for name, place in offsets.items()}).encode()
    return len(text).to_bytes(8, "little") + text + bytes(length)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda _: pickle.dumps(Evil()), "is no safetensors file"),
        (lambda content: content[:200], "is no safetensors file"),
        (lambda content: b"", "is no safetensors file"),
        (lambda content: header({"a": [0, 8], "b": [4, 12]}, 12), "is no safetensors file"),
        (lambda content: header({"a": [0, 2**62]}, 8), "is no safetensors file"),
        (lambda content: header({"a": [8, 0]}, 8), "is no safetensors file"),
        (lambda content: (100_000).to_bytes(8, "little") + b"[" * 100_000, "is no safetensors file"),
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
        (lambda heads: heads["architecture"].update(widths=""), "cannot be made of"),
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


odd = (
    st.none()
    | st.booleans()
    | st.sampled_from([-1, 0, 2**62, 10**30, 10**400, 1e400, float("nan"), "", "x", "\0", 0.5])
    | st.text(max_size=3)
)
values = st.recursive(
    odd, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3), max_leaves=5
)


def places(content, path=()):
    """Where something stands in a JSON file."""
    inside = content.items() if isinstance(content, dict) else enumerate(content[:2]) if isinstance(content, list) else ()
    for key, value in inside:
        yield (*path, key)
        yield from places(value, (*path, key))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=60, deadline=None)
@given(data=st.data(), value=values)
def test_any_value_in_any_place_of_the_heads_is_read_or_refused(folder, data, value):
    text = folder.path / "whole.json"
    if not text.exists():
        text.write_bytes((folder.path / "heads.json").read_bytes())
    heads = json.loads(text.read_bytes())
    *above, last = data.draw(st.sampled_from(list(places(heads))))
    inner = heads
    for key in above:
        inner = inner[key]
    inner[last] = value
    changed = with_file(folder, "heads.json", json.dumps(heads).encode())
    for look in (load_model, describe_network):
        with contextlib.suppress(BadConfiguration):
            look(changed)


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
