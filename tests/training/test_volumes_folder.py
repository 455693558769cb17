import pytest

from brainage_bids.models.card import describe_errors
from brainage_bids.models.cardfile import read_card
from brainage_bids.records import BadConfiguration
from brainage_bids.training.folder import About
from brainage_bids.training.volumes_folder import write_volume_model

ABOUT = About("toyvolumes", "1", "2026-01-01", "CC0-1.0", "nobody", ("Made of noise.",))


def test_card(volume_model, trained_volumes):
    card = read_card(volume_model.path / "model.toml")
    trained, held_out = trained_volumes
    assert (card.kind, card.modality, card.contracts) == ("volumes", "T1w", ())
    assert (card.training.n, card.training.sites, card.training.datasets) == (117, ("a", "b", "c"), ("synthetic",))
    assert card.errors.mae.value == held_out[2].metrics.mae, "the hardest way is told first"
    assert [errors.mae.value for errors in card.further_errors] == [item.metrics.mae for item in held_out[:2]]
    assert card.errors.groups == held_out[2].groups
    assert describe_errors(card).endswith("the model is better than that.")
    text = " ".join(card.limits)
    for words in ("amygdala (the transfer errs", "8 label maps", "sub-005, sub-006", "judge the app on them: sub-010", "Made of noise."):
        assert words in text or ("sub-006, sub-005" in text and words == "sub-005, sub-006")


def test_same_table_same_bytes(tmp_path, volume_model, trained_volumes, volume_files):
    again = write_volume_model(tmp_path / "again", *trained_volumes, ABOUT, dataset="synthetic", label_maps=volume_files[1].read_bytes())
    assert again.card == volume_model.card


def test_an_older_model_stays_unless_told(tmp_path, trained_volumes):
    write_volume_model(tmp_path / "toy", *trained_volumes, ABOUT, dataset="synthetic")
    with pytest.raises(BadConfiguration, match="--overwrite"):
        write_volume_model(tmp_path / "toy", *trained_volumes, ABOUT, dataset="synthetic")
    write_volume_model(tmp_path / "toy", *trained_volumes, ABOUT, dataset="synthetic", overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["toy"]
