import json
from dataclasses import replace

import pytest

from brainage_bids.models.selftest import run_self_test
from brainage_bids.models.weights import sha256_of_bytes
from brainage_bids.records import BadConfiguration


def edited(folder, change):
    content = json.loads((folder.path / "example.json").read_bytes())
    change(content)
    text = json.dumps(content).encode()
    (folder.path / "example.json").write_bytes(text)
    return replace(folder, card=replace(folder.card, files={**folder.card.files, "example.json": sha256_of_bytes(text)}))


def test_passes_on_a_sound_model(folder):
    found = run_self_test(folder)
    assert found.passed
    assert found.found_age == pytest.approx(found.expected_age, abs=1e-6)


def test_example_is_nobody(folder, data):
    """It is older than the mean, as it is made of the oldest people, and no person's own maps."""
    assert run_self_test(folder).expected_age > data.ages.mean()


@pytest.mark.parametrize("change", [{"brain_age": 39.0}, {"sd": 99.0}])
def test_another_expectation_fails(folder, change):
    found = run_self_test(edited(folder, lambda content: content.update(change)))
    assert not found.passed


def test_another_volume_is_noticed(folder):
    found = run_self_test(edited(folder, lambda content: content["volumes"].update(GM=5e5)))
    assert not found.passed


@pytest.mark.parametrize(
    "change", [lambda content: content.pop("sd"), lambda content: content.update(volumes=3), lambda content: content["volumes"].pop("GM")]
)
def test_broken_examples_are_refused(folder, change):
    with pytest.raises(BadConfiguration, match="example"):
        run_self_test(edited(folder, change))


def test_altered_example_is_refused(folder):
    path = folder.path / "example.safetensors"
    path.write_bytes(path.read_bytes()[:-2] + b"xx")
    with pytest.raises(BadConfiguration, match="SHA-256"):
        run_self_test(folder)
