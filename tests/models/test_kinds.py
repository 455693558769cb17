"""Kinds from beside the package, the order of models that need each other, and what becomes of what they say."""

import sys
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from brainage_bids.models.cardfile import card_text
from brainage_bids.models.kinds import KINDS
from brainage_bids.models.needs import Age, ImageNeed, Map, ModelNeed, Table, TableNeed
from brainage_bids.models.order import ask
from brainage_bids.models.predict import estimate_of, load_model, predict
from brainage_bids.models.prediction import Estimate, Prediction
from brainage_bids.models.registry import list_models, open_model
from brainage_bids.records import BadConfiguration, UnusableInput

TOYS = Path(__file__).parents[1] / "toys"


@pytest.fixture
def toykinds(monkeypatch):
    """The package of toy kinds, as if it were installed."""
    monkeypatch.syspath_prepend(str(TOYS))
    KINDS.__dict__.pop("_theirs", None)
    import toykinds

    yield toykinds
    KINDS.__dict__.pop("_theirs", None)
    sys.modules.pop("toykinds", None)


@pytest.fixture
def toys(toykinds, volume_model, tmp_path):
    return toykinds.write_toys(tmp_path / "models", volume_model)


@pytest.fixture
def case(toykinds, case_of, volume_person, tmp_path):
    contract = toykinds.IMAGE.contract
    data = np.random.default_rng(0).random(contract.shape, dtype=np.float32) + 0.5
    path = tmp_path / "sub-01_space-MNI152NLin2009aSym_res-2_desc-preproc_T1w.nii.gz"
    nib.save(nib.Nifti1Image(data, np.array(contract.affine)), path)
    return case_of({contract.key: path}, {**volume_person(50.0), "brain": 1e6}, 50.0, {"nfl": 12.0})


def test_a_map_a_pair_and_a_value_of_the_phenotype(toys, case, volume_model):
    asked = {name: ask(folder, [volume_model.path.parent]) for name, folder in toys.items()}
    found = {name: predict(one, case) for name, one in asked.items()}
    assert found["toymap"].age == Estimate(40.0, 5.0)
    values = found["toymap"].maps["local"].data
    assert values.shape == (91, 109, 91) and abs(values[values != 0].mean()) < 0.1
    assert found["toyblood"].age.mean == 44.0
    members = {row["member"]: row["brain_age"] for row in found["toypair"].tables["members"]}
    volumes = predict(ask(volume_model), case).age.mean
    assert members == {"toymember": 40.0, "toyvolumes": volumes}
    row = estimate_of(asked["toypair"], found["toypair"], age=50.0)
    assert row.brain_age == pytest.approx((40 + volumes) / 2)
    assert row.sd_within == pytest.approx(abs(40 - volumes) / 2) and row.sd_between is None
    assert row.modality == "T1w" and asked["toyblood"].modality == "T1w"


def test_members_are_asked_once_and_before(toys, case, volume_model, monkeypatch):
    asked = ask(toys["toypair"], [volume_model.path.parent])
    assert [one.folder.card.name for one in asked.everyone()] == ["toymember", "toyvolumes", "toypair"]
    loaded = []

    def noted(folder, **how):
        loaded.append(folder.card.name)
        return load_model(folder)

    monkeypatch.setattr("brainage_bids.models.predict.load_model", noted)
    predict(asked, case)
    predict(ask(volume_model), case)
    assert loaded == ["toymember", "toyvolumes", "toypair"]


def test_a_value_that_is_not_there_gives_a_row_without_an_age(toys, case):
    asked = ask(toys["toyblood"])
    prediction = predict(asked, replace(case, sources={**case.sources, "phenotype": lambda: {"nfl": None}}, predictions={}, _read={}))
    assert prediction == Prediction(flags=("modality_missing",))
    assert estimate_of(asked, prediction, age=50.0).brain_age is None


def rewritten(folder, **changed):
    """A folder with another card."""
    (folder.path / "model.toml").write_text(card_text(replace(folder.card, **changed)))
    return open_model(folder.path)


def test_members_with_other_weights_or_outputs_are_refused(toys, volume_model):
    pair, dirs = toys["toypair"], [volume_model.path.parent]
    own, other = pair.card.members
    with pytest.raises(BadConfiguration, match=r"needs toyvolumes with the weights aaaaaaaa…, and found toyvolumes with the weights"):
        ask(rewritten(pair, needs=(own, replace(other, sha256="a" * 64))), dirs)
    with pytest.raises(BadConfiguration, match="needs lrp of toymember, which gives age, local"):
        ask(rewritten(pair, needs=(replace(own, output="lrp"), other)), dirs)
    with pytest.raises(BadConfiguration, match="There is no model 'nobody'"):
        ask(rewritten(pair, needs=(replace(own, model="nobody"),)), dirs)


def test_a_circle_is_refused(toys, volume_model):
    pair = toys["toypair"]
    circle = rewritten(pair, needs=(ModelNeed("toypair", pair.sha256),))
    with pytest.raises(BadConfiguration, match="toypair needs toypair, which needs it in turn"):
        ask(circle, [pair.path.parent])


def test_other_outputs_than_announced_are_refused(toys, case):
    folder = rewritten(toys["toymap"], outputs=(Age(),))
    with pytest.raises(BadConfiguration, match="toymap gave other outputs than its card says"):
        predict(ask(folder), case)


def test_no_number_is_refused(toys, case, monkeypatch):
    monkeypatch.setattr("toykinds.ToyBlood.predict", lambda *_: Prediction(Estimate(float("nan"))))
    with pytest.raises(UnusableInput, match="toyblood gave no number"):
        predict(ask(toys["toyblood"]), case)


def test_an_entry_that_cannot_be_loaded_is_a_sentence_and_the_others_are_listed(toys):
    rewritten(toys["toymap"], kind="toybroken")
    models, problems = list_models([toys["toymap"].path.parent])
    assert {"toypair", "toyblood"} <= {model.card.name for model in models}
    with pytest.raises(BadConfiguration, match=r"kind toybroken of the package entry 'toykinds:NOT_THERE' cannot be loaded"):
        ask(open_model(toys["toymap"].path))
    assert problems == []


def test_an_unknown_kind_is_a_sentence(toys):
    with pytest.raises(BadConfiguration, match="of kind 'magic'; this version knows gpr, volumes"):
        ask(rewritten(toys["toymap"], kind="magic"))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: TableNeed("phenotype", ("nfl", "Age")), "the age itself"),
        (lambda: TableNeed("elsewhere", ("a",)), "none of volumes, phenotype"),
        (lambda: TableNeed("phenotype", ()), "names no column"),
        (lambda: TableNeed("phenotype", ("a",), "guess"), "missing='guess'"),
        (lambda: ModelNeed("A b", "a" * 64), "a name, a SHA-256 and an output"),
        (lambda: Map("local", "S", "2", "years", "brainage", "", True), "cannot have the key"),
        (lambda: Map("local", "T1w", "2", "years", "age", "", True), "cannot have the resolution '2'"),
        (lambda: Table("a b", {"x": {"Description": ""}}), "cannot have the key 'a b'"),
        (lambda: Table("a", {"x": {}}), "needs a Description of x"),
    ],
)
def test_needs_and_outputs_that_cannot_be(make, words):
    with pytest.raises(BadConfiguration, match=words):
        make()


def test_the_trace_gives_the_age_and_the_way_back(folder_of_network, case_of):
    """The age of the trace is that of the prediction, its gradient is there, and voxels go back where they came from."""
    model, files, contract = folder_of_network
    case = case_of(files, {})
    traced = model.traced(case)
    age = traced.age()
    assert float(age.detach()) == pytest.approx(model.predict(case).age.mean, abs=1e-5)
    age.backward()
    (key,) = traced.tensors
    assert np.abs(traced.tensors[key].grad.numpy()).max() > 0
    image = case.image(ImageNeed(contract))
    spot = tuple(n // 2 for n in image.shape)
    back = traced.to_grid[key](traced.tensors[key].detach().numpy())
    assert back.shape == image.shape
    assert back[spot] / image[spot] == pytest.approx(back[spot[0] + 1, *spot[1:]] / image[spot[0] + 1, *spot[1:]], rel=1e-4)
    assert not back[0].any()  # cut off before the network
