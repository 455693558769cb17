"""Kinds of models as a package beside brainage_bids would bring them: one gives a map, one asks two models, one reads the phenotype."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean, pvariance

import numpy as np

from brainage_bids.models.card import Ages, Errors, ModelCard, Training
from brainage_bids.models.cardfile import CARD, card_text
from brainage_bids.models.inputs import INPUTS
from brainage_bids.models.kinds import Kind
from brainage_bids.models.needs import PHENOTYPE, VOLUMES, Age, ImageNeed, Map, ModelNeed, Table, TableNeed
from brainage_bids.models.prediction import Estimate, Prediction, Volume
from brainage_bids.models.registry import WEIGHTS, ModelFolder, open_model
from brainage_bids.models.weights import sha256_of_bytes

IMAGE = ImageNeed(replace(INPUTS["mni2"].contract, stripped=None))
AN_AGE = Age()
LOCAL = Map("local", IMAGE.contract.space, "2", "years", "toyage", "How bright each voxel is against the mean, called years.", True)
MEMBERS = Table(
    "members",
    {"member": {"Description": "Name of the model."}, "brain_age": {"Description": "Its age.", "Units": "years"}},
    "What the members said.",
)


@dataclass(frozen=True)
class ToyMap:
    """An age that is 40 for everybody, and a map of the image."""

    need: ImageNeed

    def predict(self, case):
        image = case.image(self.need)
        inside = image > 0
        data = np.where(inside, 10 * (image / image[inside].mean() - 1), 0)
        return Prediction(Estimate(40.0, 5.0), maps={"local": Volume(data, np.array(self.need.contract.affine))})


@dataclass(frozen=True)
class ToyPair:
    """The mean of what others say, with their variance."""

    needs: tuple[ModelNeed, ...]

    def predict(self, case):
        found = {need.model: estimate.mean for need in self.needs if (estimate := case.product(need)) is not None}
        rows = [{"member": name, "brain_age": age} for name, age in found.items()]
        estimate = Estimate(fmean(found.values()), 6.0, {"within": pvariance(found.values())})
        return Prediction(estimate, tables={"members": rows})


@dataclass(frozen=True)
class ToyBlood:
    """20 years and two for every unit of NfL."""

    needs: tuple[TableNeed, ...]

    def predict(self, case):
        volumes, blood = (case.table(need) for need in self.needs)
        assert volumes["brain"] > 0
        return Prediction(Estimate(20 + 2 * blood["nfl"]))


def load_map(folder):
    return ToyMap(folder.card.needs[0])


def load_pair(folder):
    return ToyPair(folder.card.members)


def load_blood(folder):
    return ToyBlood(folder.card.tables)


TOYMAP, TOYPAIR, TOYBLOOD = (Kind(f"toykinds:load_{name}") for name in ("map", "pair", "blood"))


def write_folder(path: Path, kind: str, needs, outputs=(AN_AGE,)) -> ModelFolder:
    """A model folder whose weights are its name."""
    path.mkdir(parents=True)
    (path / WEIGHTS).write_bytes(json.dumps(path.name).encode())
    training = Training(("nobody",), 1, 1, Ages(20.0, 80.0), "none", (), "cpu", "by hand")
    files = {WEIGHTS: sha256_of_bytes((path / WEIGHTS).read_bytes())}
    about = path.name, kind, "1", "2026-01-01", tuple(needs), training, Errors("nobody", 0)
    card = ModelCard(*about, files, "CC0-1.0", "", (), tuple(outputs))
    (path / CARD).write_text(card_text(card), encoding="utf-8")
    return open_model(path)


def write_toys(folder: Path, other: ModelFolder) -> dict[str, ModelFolder]:
    """The three toys in a folder; the pair asks the map in its own folder and `other`, which is looked for by name."""
    maps = write_folder(folder / "toymap", "toymap", [IMAGE], (Age(), LOCAL))
    own = write_folder(folder / "toypair" / "members" / "toymember", "toymap", [IMAGE], (Age(), LOCAL))
    asked = [ModelNeed(one.card.name, one.sha256) for one in (own, other)]
    (folder / "toypair").rename(folder / "half")
    pair = write_folder(folder / "toypair", "toypair", asked, (Age(), MEMBERS))
    (folder / "half" / "members").rename(folder / "toypair" / "members")
    (folder / "half").rmdir()
    blood = write_folder(folder / "toyblood", "toyblood", [TableNeed(VOLUMES, ("brain",)), TableNeed(PHENOTYPE, ("nfl",), "flag")])
    return {"toymap": maps, "toypair": pair, "toyblood": blood}


