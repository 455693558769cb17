import tomllib
from dataclasses import replace

import pytest
import tomli_w
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from brainage_bids.models.card import Measure, ModelCard, describe_errors
from brainage_bids.models.cardfile import card_from_toml, card_text, card_to_toml, read_card
from brainage_bids.models.needs import ImageNeed
from brainage_bids.records import BadConfiguration

text = st.text(st.characters(exclude_categories=("Cs",)), max_size=40)
number = st.floats(-1e3, 1e3, allow_nan=False)
measures = st.none() | st.builds(Measure, number, st.none() | number, st.none() | number)


def test_text_and_back(card, tmp_path):
    (tmp_path / "model.toml").write_text(card_text(card), encoding="utf-8")
    assert read_card(tmp_path / "model.toml") == card


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(licence=text, limits=st.lists(text), mae=measures, slope=measures, p=st.none() | st.floats(0, 1))
def test_any_card_survives(card, licence, limits, mae, slope, p):
    errors = replace(card.errors, mae=mae, bias_slope=slope, p_guess=p)
    changed = replace(card, licence=licence, limits=tuple(limits), errors=errors)
    assert card_from_toml(tomllib.loads(card_text(changed))) == changed


def test_has_the_fields_that_bids_md_names(card):
    content = tomllib.loads(card_text(card))
    assert set(content["model"]) == {"name", "kind", "version", "created"}
    wanted = {"modality", "space", "alignment", "voxel_mm", "shape", "affine", "intensity", "crop", "stripped"}
    assert wanted <= set(content["input"][0])
    assert {"datasets", "n", "ages", "sites", "split", "seeds", "device"} <= set(content["training"])
    assert content["errors"]["mae"] == {"value": 6.5, "low": 5.0, "high": 8.0}
    assert content["files"]["weights.safetensors"] == "a" * 64
    assert {"licence", "citation"} <= set(content)


def places(content, path=()):
    """Where something stands in a card."""
    inside = content.items() if isinstance(content, dict) else enumerate(content[:2]) if isinstance(content, list) else ()
    for key, value in inside:
        yield (*path, key)
        yield from places(value, (*path, key))


scalars = st.one_of(
    text, st.booleans(), st.integers(), st.sampled_from([2**63, 10**400]), st.floats(), st.dates(), st.times(), st.datetimes()
)
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3), max_leaves=6)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=200, deadline=None)
@given(data=st.data(), value=values, beside=st.booleans())
def test_any_value_in_any_place_is_read_or_refused(card, tmp_path, data, value, beside):
    content = card_to_toml(replace(card, errors=replace(card.errors, mae_guess=Measure(7.2, 6.0, 8.0), p_guess=0.5)))
    place = data.draw(st.sampled_from(list(places(content))))
    put(content, value, *place[:-1], "another" if beside and isinstance(place[-1], str) else place[-1])
    (tmp_path / "model.toml").write_text(tomli_w.dumps(content), encoding="utf-8")
    try:
        found = read_card(tmp_path / "model.toml")
    except BadConfiguration:
        return
    assert card_from_toml(tomllib.loads(card_text(found))) == found
    assert describe_errors(found)


def without(content, *path):
    for key in path[:-1]:
        content = content[key]
    del content[path[-1]]


NEEDED = [("model",), ("model", "name"), ("input",), ("input", 0, "affine"), ("training", "n"), ("training", "ages", "low"), ("files",)]


@pytest.mark.parametrize("path", NEEDED)
def test_a_missing_field_is_named(card, path):
    content = card_to_toml(card)
    without(content, *path)
    with pytest.raises(BadConfiguration, match=f"lacks '{path[-1]}'"):
        card_from_toml(content)


def put(content, value, *path):
    for key in path[:-1]:
        content = content[key]
    content[path[-1]] = value


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (("model", "name"), "My-Model", "lower-case"),
        (("model", "extra"), 1, "not known: extra"),
        (("training", "n"), True, "type int"),
        (("training", "ages", "low"), "19", "type float"),
        (("training", "ages", "high"), 3.0, "wrong way"),
        (("input", 0, "alignment"), "wobbly", "none of"),
        (("input", 0, "shape"), [1, 2], "three voxel"),
        (("input", 0, "voxel_mm"), [float("nan"), 1.0, 1.0], "finite"),
        (("files", "../../passwd"), "a" * 64, "bad entry"),
        (("files", "weights.safetensors"), "abc", "bad entry"),
        (("input",), [], "no input"),
    ],
)
def test_a_wrong_field_is_refused(card, path, value, words):
    content = card_to_toml(card)
    put(content, value, *path)
    with pytest.raises(BadConfiguration, match=words):
        card_from_toml(content)


def test_same_input_twice_is_refused(card):
    with pytest.raises(BadConfiguration, match="twice"):
        replace(card, needs=(card.needs[0],) * 2)


@pytest.mark.parametrize("content", [b"[model", b"\xff\xfe"])
def test_no_toml_names_the_file(tmp_path, content):
    (tmp_path / "model.toml").write_bytes(content)
    with pytest.raises(BadConfiguration, match=r"model\.toml"):
        read_card(tmp_path / "model.toml")


def test_missing_file(tmp_path):
    with pytest.raises(BadConfiguration, match="cannot be read"):
        read_card(tmp_path / "model.toml")


def test_words_follow_the_numbers(card: ModelCard):
    guess = Measure(7.2)
    unclear = replace(card, errors=replace(card.errors, mae_guess=guess))
    assert "not shown to be better" in describe_errors(unclear)
    assert "6.5 (95 % CI 5.0 to 8.0) years" in describe_errors(unclear)
    better = replace(card, errors=replace(card.errors, mae_guess=guess, p_guess=0.001))
    assert "the model is better than that" in describe_errors(better)
    worse = replace(card, errors=replace(card.errors, mae_guess=Measure(5.0), p_guess=0.001))
    assert "the model is worse than that" in describe_errors(worse)
    assert "not known" in describe_errors(replace(card, errors=replace(card.errors, mae=None)))


def test_modality_is_joined(card):
    flair = replace(card.contracts[1], modality="FLAIR")
    assert card.modality == "T1w"
    assert replace(card, needs=(card.needs[0], ImageNeed(flair))).modality == "T1w+FLAIR"
