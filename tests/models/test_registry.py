import shutil
from dataclasses import replace

import pytest

from brainage_bids.models.cardfile import card_text
from brainage_bids.models.registry import MODEL_DIR_VARIABLE, find_model, list_models, open_model
from brainage_bids.models.weights import sha256_of_bytes
from brainage_bids.records import BadConfiguration


@pytest.fixture(autouse=True)
def only_mine(monkeypatch, tmp_path):
    """No model ships with the package here, and the environment names none."""
    monkeypatch.setattr("brainage_bids.models.registry.embedded_dir", lambda: tmp_path / "embedded")
    monkeypatch.delenv(MODEL_DIR_VARIABLE, raising=False)


@pytest.fixture
def models(card, tmp_path):
    """A folder of two models."""
    for name in ("toy", "other"):
        folder = tmp_path / "models" / name
        folder.mkdir(parents=True)
        (folder / "model.toml").write_text(card_text(replace(card, name=name)))
    return tmp_path / "models"


def test_by_name_and_by_path(models):
    assert find_model("toy", [models]).path == models / "toy"
    assert find_model(str(models / "other")).card.name == "other"
    assert find_model(models / "other").card.name == "other"
    assert find_model("toy", [models / "toy"]).card.name == "toy"


def test_list(models):
    found, problems = list_models([models])
    assert [model.card.name for model in found] == ["other", "toy"]
    assert problems == []
    assert list_models() == ([], [])


def test_environment_and_order(models, card, monkeypatch, tmp_path):
    first = tmp_path / "first"
    shutil.copytree(models, first)
    monkeypatch.setenv(MODEL_DIR_VARIABLE, str(models))
    assert find_model("toy").path == models / "toy"
    assert find_model("toy", [first]).path == first / "toy"
    shutil.copytree(models, tmp_path / "embedded")
    assert find_model("toy").path == models / "toy"


def test_unknown_name_says_what_there_is(models):
    with pytest.raises(BadConfiguration, match=r"no model 'nope'; known are: other, toy\."):
        find_model("nope", [models])
    with pytest.raises(BadConfiguration, match="known are: none"):
        find_model("nope")


def test_a_broken_card_does_not_hide_the_others(models):
    (models / "other" / "model.toml").write_text("[model]\n")
    found, problems = list_models([models])
    assert [model.card.name for model in found] == ["toy"]
    assert len(problems) == 1
    assert "other" in problems[0]
    with pytest.raises(BadConfiguration, match="lacks"):
        find_model("other", [models])


def test_folders_that_are_none(tmp_path):
    with pytest.raises(BadConfiguration, match="no model folder"):
        open_model(tmp_path)
    with pytest.raises(BadConfiguration, match="does not exist"):
        find_model("toy", [tmp_path / "nowhere"])


def test_read_checks_the_sum(models, card):
    content = b"{}"
    (models / "toy" / "heads.json").write_bytes(content)
    files = {**card.files, "heads.json": sha256_of_bytes(content)}
    (models / "toy" / "model.toml").write_text(card_text(replace(card, files=files)))
    model = open_model(models / "toy")
    assert model.read("heads.json") == content
    assert model.sha256 == "a" * 64
    (models / "toy" / "heads.json").write_bytes(b"{} ")
    with pytest.raises(BadConfiguration, match="SHA-256"):
        model.read("heads.json")
    with pytest.raises(BadConfiguration, match="names no file"):
        model.read("more.json")
