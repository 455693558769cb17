import os

import numpy as np
import pytest

from brainage_bids.bids.sink import partial_folder
from brainage_bids.models.cardfile import read_card
from brainage_bids.models.gpr import load_gpr
from brainage_bids.models.registry import open_model
from brainage_bids.models.selftest import run_self_test
from brainage_bids.records import BadConfiguration
from brainage_bids.training.evaluate import cross_validate, train_model
from brainage_bids.training.folder import About, check_place, example, write_model
from brainage_bids.training.gpr import Grid

GRID = Grid(n_components=(3,), kernels=(("linear", 1.0), ("rbf", 1.0)), alphas=(1.0,), inner_folds=4, inner_repeats=1)
ABOUT = About("toy", "1.0", "2026-01-01", "CC0-1.0", "Somebody 2026", ("Only a toy.",))


@pytest.fixture
def parts(make_cohort):
    data = make_cohort(20)
    model, choice = train_model(data, grid=GRID)
    return model, data, cross_validate(data, folds=4, repeats=2, seed=3, grid=GRID), choice, ABOUT


def test_card_says_what_was_done(tmp_path, parts):
    folder = write_model(tmp_path / "toy", *parts)
    model, data, validation, *_ = parts
    card = read_card(folder.path / "model.toml")
    assert card == folder.card
    assert (card.training.n, card.training.sessions, card.training.seeds) == (20, 20, (3,))
    assert (card.training.ages.low, card.training.ages.high) == (data.ages.min(), data.ages.max())
    assert sum(card.training.ages.counts) == 20
    assert card.training.sites == ("a", "b")
    assert card.training.sexes == {"F": 10}
    assert (card.errors.mae.value, card.errors.mae.low) == (validation.metrics.mae, validation.intervals["mae"][0])
    assert (card.errors.p_guess, card.errors.permutations) == (validation.test.p, 999)
    assert card.limits == ("Only a toy.",)
    assert "4-fold" in card.errors.by
    assert set(card.files) == {"weights.safetensors", "heads.json", "example.safetensors", "example.json"}


def test_folder_is_whole_and_works(tmp_path, parts):
    folder = write_model(tmp_path / "toy", *parts)
    assert sorted(os.listdir(tmp_path)) == ["toy"]
    assert sorted(os.listdir(folder.path)) == ["example.json", "example.safetensors", "heads.json", "model.toml", "weights.safetensors"]
    assert run_self_test(open_model(folder.path)).passed
    data = parts[1]
    model = load_gpr(folder)
    cells = {key: values[0][model.mask] for key, values in data.cells.items()}
    assert model.age(cells, data.volumes[0]) == parts[0].age(cells, data.volumes[0])


def test_same_data_same_bytes(tmp_path, parts):
    one, two = (write_model(tmp_path / name, *parts) for name in ("one", "two"))
    assert one.card == two.card


def test_a_failure_leaves_nothing(tmp_path, parts, monkeypatch):
    monkeypatch.setattr("brainage_bids.training.folder.card_text", lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_model(tmp_path / "toy", *parts)
    assert os.listdir(tmp_path) == []


def test_an_older_model_stays_unless_told(tmp_path, parts, monkeypatch):
    folder = write_model(tmp_path / "toy", *parts)
    with pytest.raises(BadConfiguration, match="--overwrite"):
        write_model(tmp_path / "toy", *parts)
    with monkeypatch.context() as patch:
        patch.setattr("brainage_bids.training.folder.card_text", lambda _: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            write_model(tmp_path / "toy", *parts, overwrite=True)
    assert open_model(tmp_path / "toy") == folder
    write_model(tmp_path / "toy", *parts, overwrite=True)
    assert sorted(os.listdir(tmp_path)) == ["toy"]


def test_what_killed_runs_left_goes(tmp_path, parts):
    """A process of a number that is never given is dead; this one lives, and another model is another's affair."""
    ours = partial_folder(tmp_path / "toy").name
    dead = ours.replace(f"-{os.getpid()}-", "-4194305-")
    for name in (dead, f"{dead}.old", ours, dead.replace("toy", "toy2")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "weights.safetensors").write_text("half")
    write_model(tmp_path / "toy", *parts)
    assert sorted(os.listdir(tmp_path)) == sorted([ours, dead.replace("toy", "toy2"), "toy"])


def test_a_place_that_cannot_be_written_is_said_before_training(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BadConfiguration, match="nothing can be written to .*file; choose another place"):
        check_place(tmp_path / "file" / "toy", overwrite=False)


def test_a_place_that_is_no_model_is_left_alone(tmp_path, parts):
    (tmp_path / "toy").mkdir()
    (tmp_path / "toy" / "thesis.txt").write_text("")
    with pytest.raises(BadConfiguration, match="no model folder"):
        write_model(tmp_path / "toy", *parts, overwrite=True)
    (tmp_path / "file").write_text("")
    with pytest.raises(BadConfiguration, match="no model folder"):
        write_model(tmp_path / "file", *parts)


def test_example_is_the_mean_of_the_oldest(make_cohort):
    data = make_cohort(30)
    cells, volumes = example(data)
    oldest = np.argsort(data.ages)[-10:]
    np.testing.assert_allclose(cells["modulated_smooth_GM"], data.cells["modulated_smooth_GM"][oldest].mean(axis=0), rtol=1e-6)
    assert volumes["GM"] == pytest.approx(np.mean([data.volumes[row]["GM"] for row in oldest]))
    assert set(volumes) == {"GM", "brain"}
