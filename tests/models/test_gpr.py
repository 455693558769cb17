import json
from dataclasses import replace

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.linear_model import Ridge

from brainage_bids.models.cardfile import card_text
from brainage_bids.models.gpr import FORMAT, KIND, load_gpr
from brainage_bids.models.heads import read_heads
from brainage_bids.models.registry import open_model
from brainage_bids.models.weights import sha256_of_bytes
from brainage_bids.records import BadConfiguration
from brainage_bids.training.gpr import Candidate, Choice, fit_model


def test_whole_model_is_pca_and_ridge(data):
    """The shipped form, with float64 components, against scikit-learn's parts put together."""
    model = fit_model(data, Choice(Candidate("both", 5, "linear", 1.0, 0.7), "process", 5.0, 6.0), dtype=np.float64)
    maps = np.concatenate([cells[:, model.mask] for cells in data.cells.values()], axis=1).astype(np.float64)
    pca = PCA(5, svd_solver="full").fit(maps)
    scale = np.sqrt(((maps - maps.mean(axis=0)) ** 2).sum(axis=1).mean())
    ratios = data.ratio_values()
    standard = (ratios - ratios.mean(axis=0)) / ratios.std(axis=0) / np.sqrt(ratios.shape[1])
    ridge = Ridge(alpha=0.7).fit(np.hstack([pca.transform(maps) / scale, standard]), data.ages)
    new = np.hstack([pca.transform(maps[:3] * 1.1) / scale, standard[:3]])
    for row in range(3):
        cells = {key: values[row][model.mask] * np.float32(1.1) for key, values in data.cells.items()}
        assert model.age(cells, data.volumes[row])[0] == pytest.approx(ridge.predict(new)[row], abs=1e-4)


def test_files_and_back(folder, trained, data):
    model = trained[0]
    again = load_gpr(folder)
    for row in range(4):
        cells = {key: values[row][model.mask] for key, values in data.cells.items()}
        assert again.age(cells, data.volumes[row]) == model.age(cells, data.volumes[row])
    assert again.components.dtype == np.float16
    assert again.similarity == model.similarity


def test_half_precision_costs_little(data):
    choice = Choice(Candidate("both", 10, "linear", 1.0, 0.3), "process", 5.0, 6.0)
    half, full = fit_model(data, choice), fit_model(data, choice, dtype=np.float64)
    for row in range(len(data.ages)):
        cells = {key: values[row][half.mask] for key, values in data.cells.items()}
        assert half.age(cells, data.volumes[row])[0] == pytest.approx(full.age(cells, data.volumes[row])[0], abs=0.02)


def test_maps_of_another_kind_are_noticed(trained, data):
    model = trained[0]
    cells = {key: values[0][model.mask] for key, values in data.cells.items()}
    assert not model.unlike_training(cells)
    key = next(iter(cells))
    assert model.unlike_training({**cells, key: np.roll(cells[key], 40)})
    assert model.unlike_training({**cells, key: np.full_like(cells[key], 0.3)})


def rewritten(folder, change):
    """Change heads.json and put its new SHA-256 on the card, as somebody who edits a model would."""
    heads = read_heads(folder, KIND, FORMAT)
    change(heads)
    content = json.dumps(heads).encode()
    (folder.path / "heads.json").write_bytes(content)
    card = replace(folder.card, files={**folder.card.files, "heads.json": sha256_of_bytes(content)})
    (folder.path / "model.toml").write_text(card_text(card))
    return open_model(folder.path)


@pytest.mark.parametrize(
    "change",
    [
        lambda heads: heads.update(kind="cnn"),
        lambda heads: heads.update(format=99),
        lambda heads: heads.pop("maps"),
        lambda heads: heads.update(maps=["modulated_smooth_GM"]),
        lambda heads: heads.update(ratios=heads["ratios"] + heads["ratios"][:1]),
        lambda heads: heads.update(cell_mm=3.0),
        lambda heads: heads.update(similarity={}),
        lambda heads: heads.update(score_scale=0.0),
        lambda heads: heads["arrays"].pop("mean"),
        lambda heads: heads["arrays"]["mean"].update(shape=[3]),
        lambda heads: heads["regressor"].pop("alpha"),
    ],
)
def test_parts_that_do_not_fit_are_fatal(folder, change):
    with pytest.raises(BadConfiguration):
        load_gpr(rewritten(folder, change))


def test_heads_that_are_no_json(folder):
    (folder.path / "heads.json").write_bytes(b"{")
    card = replace(folder.card, files={**folder.card.files, "heads.json": sha256_of_bytes(b"{")})
    with pytest.raises(BadConfiguration, match="JSON"):
        load_gpr(replace(folder, card=card))
