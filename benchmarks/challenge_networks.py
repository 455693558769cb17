"""The networks of challenge.py: taught on label maps, on phantoms, or on the people in training alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from brainage_bids.bids.sink import sink_json
from brainage_bids.models import load_model
from brainage_bids.models.inputs import NetInput
from brainage_bids.models.network import NetworkModel, make_network
from brainage_bids.models.segmenter import SegmentModel
from brainage_bids.training.cache import Cache
from brainage_bids.training.forward import Cohort, predict
from brainage_bids.training.images import ImageTable
from brainage_bids.training.network_train import Setup, inner_split, train_one
from brainage_bids.training.objective import Recipe
from brainage_bids.training.transfer import start_from

INPUT = "brain2affine"
KIND, WIDTHS, SLICES = "slices", (8, 16, 32, 64, 128), {"first": 20, "last": 69}
FOLDS, REPEATS, SEED = 5, 3, 1
SCRATCH = Recipe(rate=1e-3, epochs=12, patience=5, batch=4)
ALPHAS = np.logspace(0, 5, 21)
"""Of the ridge on frozen features; chosen by leaving one out among the people in training."""
PHANTOMS = {"phantoms2": "--resolution 2 --seed 1", "phantoms1": "--resolution 1 --seed 2"}
"""The second is grown from label maps of whole heads, whose sulci are a person's and not the atlas's."""
TAUGHT = {
    "slices": "--optimiser adamw --rate 0.002 --epochs 24 --patience 24 --augmentation strong",
    "encoder3d": "--optimiser adamw --rate 0.002 --epochs 12 --patience 12 --augmentation strong --batch 4",
}
"""How networks are taught on phantoms."""


@dataclass(frozen=True)
class Way:
    """Predictions of one way: of the first people by repeat (repeats, n), each without their own fold, and of the others (m,)."""

    name: str
    first: np.ndarray
    others: np.ndarray


@dataclass(frozen=True)
class Two:
    """Images of both groups of people."""

    tables: tuple[ImageTable, ImageTable]
    caches: tuple[Cache, Cache]
    place: NetInput
    assigned: np.ndarray


def taught_by_segmentation(work: Path, label_maps: Path, labels: str, paintings: int) -> SegmentModel:
    """An encoder-decoder that names tissues or structures of painted label maps."""
    from brainage_bids.cli.train import main as train

    out = work / f"segment{labels}"
    words = f"{label_maps} --task segment --labels {labels} --model slices --input {INPUT} --out {out} --paintings {paintings}".split()
    words += ["--widths", *map(str, WIDTHS), *"--epochs 14 --patience 14 --batch 4 --rate 0.004 --device cpu".split()]
    if not out.is_dir() and train(words):
        raise SystemExit("segmentation was not learned")
    return load_model(out)


def make_phantoms(work: Path, label_maps: Path, wanted: int, enough: int) -> tuple[list[Path], list[Path]]:
    """Two cohorts, from the atlas (scans of 2 mm) and from the label maps (1 mm), with tables of the brain ages of who is finished.

    Half of the brains are cut out, as those of ds002748 are; no more are made where `enough` of a cohort are finished.
    """
    from brainage_bids.cli.phantom import main as phantom

    roots, tables = [], []
    people = "--model-space T1w --ages 18 85 --sites 2 --scanners-per-site 2 --no-blood --modalities T1w --stripped 0.5 --jobs 1"
    for name, more in PHANTOMS.items():
        cohort = work / name
        anatomies = ["--anatomies", str(label_maps)] if name == "phantoms1" else []
        finished = phantom_ages(cohort)
        if len(finished) < enough and phantom([str(cohort), *people.split(), "--participants", str(wanted), *more.split(), *anatomies]):
            raise SystemExit("the phantoms were not made")
        rows = [f"{person}\t{age}\t{site}" for person, age, site in phantom_ages(cohort)]
        table = work / f"{name}.tsv"
        if not table.is_file():
            table.write_text("\n".join(["participant_id\tage\tsite", *rows]) + "\n", encoding="utf-8")
        print(f"{name}: {len(table.read_text(encoding='utf-8').splitlines()) - 1} people")
        roots.append(cohort / "derivatives" / "brainage")
        tables.append(table)
    return roots, tables


def taught_by_phantoms(work: Path, cohorts: tuple[list[Path], list[Path]], kind: str) -> NetworkModel:
    """A network that tells the brain age of phantoms as the app's affine registration brings them to the template."""
    from brainage_bids.cli.train import main as train

    out = work / f"phantom{kind}"
    words = [*map(str, cohorts[0]), *(word for table in cohorts[1] for word in ("--phenotype", str(table)))]
    words += f"--model {kind} --input {INPUT} --split-parts --out {out} --work {work / 'phantom_work'}".split()
    words += ["--widths", *map(str, WIDTHS), *TAUGHT[kind].split(), "--device", "cpu"]
    if not out.is_dir() and train(words):
        raise SystemExit("the age of phantoms was not learned")
    return load_model(out)


def phantom_ages(cohort: Path) -> list[tuple[str, float, str]]:
    """Person, brain age and scanner of every phantom that is finished."""
    found = []
    for path in sorted((cohort / "derivatives" / "truth").glob("sub-*/anat/*_parameters.json")):
        visit = json.loads(path.read_text(encoding="utf-8"))["visit"]
        found.append((visit["participant_id"], round(visit["age"] + visit["gap"], 3), visit["scanner"]["name"]))
    return found


def from_scratch(work: Path, two: Two, repeats: int) -> Way:
    """The same network from random weights on the people in training alone; the others get the mean of all networks.

    Repeats that are not gone through are NaN and do not count.
    """
    table, cohort = two.tables[0], Cohort(two.caches[0], two.tables[0].ages)
    beyond = Cohort(two.caches[1], two.tables[1].ages)
    setup = Setup(KIND, (two.place.contract,), two.place.steps, SCRATCH, {"widths": WIDTHS, **SLICES}, work=work / "scratch")
    first, others = np.full(two.assigned.shape, np.nan), []
    for repeat, folds in enumerate(two.assigned[:repeats]):
        for fold in range(FOLDS):
            path = work / "scratch" / f"fold-{repeat}-{fold}.json"
            test = np.flatnonzero(folds == fold)
            if not path.is_file():
                train, validation = inner_split(table, np.flatnonzero(folds != fold), (SEED, repeat, fold))
                net = train_one(setup, cohort, train, validation, SEED + repeat * FOLDS + fold).model.net
                found = [predict(net, one, range(len(one.ages))).tolist() for one in (cohort, beyond)]
                sink_json({"first": found[0], "others": found[1]}, path)
            content = json.loads(path.read_text(encoding="utf-8"))
            first[repeat, test] = np.array(content["first"])[test]
            others.append(content["others"])
    return Way("network from scratch", first, np.mean(others, axis=0))


def cached_features(path: Path, model: NetworkModel | SegmentModel, two: Two) -> tuple[np.ndarray, np.ndarray]:
    """What the frozen convolutions make of everybody (mean over slices or space), (n, d) and (m, d)."""
    import torch

    if not path.is_file():
        looked_at = {name: model.architecture[name] for name in SLICES if name in model.architecture}
        net, architecture = make_network(model.kind, [two.place.contract], two.place.steps, {"widths": WIDTHS, **looked_at})
        start_from(net, model, NetworkModel(model.kind, architecture, net, (two.place.contract,), two.place.steps))
        net.eval()
        with torch.inference_mode():
            rows = [
                [net.features(torch.from_numpy(cache.read(row))[None])[0].numpy() for row in range(len(cache.volumes))]
                for cache in two.caches
            ]
        np.savez(path, first=np.array(rows[0]), others=np.array(rows[1]))
    content = np.load(path)
    return content["first"], content["others"]


def folded(name: str, two: Two, fit: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]) -> Way:
    """A way from what fits it: rows in training to predictions of all first people and of the others."""
    first = np.empty(two.assigned.shape)
    for repeat, folds in enumerate(two.assigned):
        for fold in range(FOLDS):
            test = folds == fold
            first[repeat, test] = fit(np.flatnonzero(~test))[0][test]
    return Way(name, first, fit(np.arange(two.assigned.shape[1]))[1])


def ridge_way(name: str, first: np.ndarray, others: np.ndarray, two: Two) -> Way:
    """A ridge from frozen features to the age; scaling and penalty come from the people in training."""
    from sklearn.linear_model import RidgeCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    ages = two.tables[0].ages

    def fit(train: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        model = make_pipeline(StandardScaler(), RidgeCV(ALPHAS)).fit(first[train], ages[train])
        return model.predict(first), model.predict(others)

    return folded(name, two, fit)


def phantom_ways(words: str, model: NetworkModel, features: tuple[np.ndarray, np.ndarray], two: Two) -> list[Way]:
    """What phantoms taught: as it is, with an offset, with offset and slope, and a ridge on the frozen features."""
    import torch

    ages = two.tables[0].ages
    with torch.inference_mode():
        plain, beyond = (model.net.head(torch.from_numpy(values)).numpy().astype(float) for values in features)

    def shifted(train: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        offset = ages[train].mean() - plain[train].mean()
        return plain + offset, beyond + offset

    def with_line(train: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        slope, offset = np.polyfit(plain[train], ages[train], 1)
        return slope * plain + offset, slope * beyond + offset

    return [
        folded(f"phantom pre-training{words}, no real scan seen", two, lambda train: (plain, beyond)),
        folded(f"phantom pre-training{words}, offset", two, shifted),
        folded(f"phantom pre-training{words}, offset and slope", two, with_line),
        ridge_way(f"phantom pre-training{words}, frozen, ridge", *features, two),
    ]
