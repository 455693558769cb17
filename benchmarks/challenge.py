"""The default model, challenged: small networks taught on phantoms or painted label maps, against what ships, on real scans.

    python benchmarks/challenge.py WORK --cohort OUT36 TSV --other OUT5 TSV --label-maps DIR [--phantoms 300]

OUT36 and OUT5 are output folders of ``brainage … participant`` with their phenotype tables: people to learn from (cross-validated,
5 folds × 3), and people of another scanner, to whom everything is applied that was fitted on the first. What is done lies in WORK,
so that the same command goes on where it was stopped. Printed is a table for docs/benchmarks.md. Everything is chosen and fitted
inside the folds; convolutions that were taught before are frozen, their outputs kept, and a ridge on them is the last layer.
"""

from __future__ import annotations

import argparse
import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from brainage_bids.bids.sink import sink_json
from brainage_bids.cli.console import print_table
from brainage_bids.models import load_model
from brainage_bids.models.inputs import NetInput, net_input
from brainage_bids.models.network import NetworkModel, make_network
from brainage_bids.models.registry import find_model
from brainage_bids.models.segmenter import SegmentModel
from brainage_bids.models.volumes_folder import load_volumes
from brainage_bids.stats.folds import repeated_folds
from brainage_bids.stats.metrics import bootstrap_intervals, error_metrics
from brainage_bids.stats.permutation import sign_flip_test
from brainage_bids.training.cache import Cache, pack
from brainage_bids.training.collect import collect
from brainage_bids.training.evaluate import cross_validate, train_model
from brainage_bids.training.images import ImageTable, find_images
from brainage_bids.training.loop import Cohort, predict
from brainage_bids.training.network_train import Setup, inner_split, train_one
from brainage_bids.training.objective import Recipe
from brainage_bids.training.transfer import start_from
from brainage_bids.training.volumes_calibrate import People, brain_ages, calibrate, read_people

LABELS = ("tissues", "structures")
PHANTOMS = {"": False, " (every second one without outer fluid)": True}
"""The second was added after the first had been seen: the brains of ds002748 come without their outer fluid, phantoms have it."""
SEGMENTED = "segmentation pre-training ({}), frozen, ridge"
KIND, WIDTHS, SLICES = "slices", (8, 16, 32, 64, 128), {"first": 20, "last": 69}
FOLDS, REPEATS, SEED = 5, 3, 1
SCRATCH = Recipe(rate=1e-3, epochs=12, patience=5, batch=4)
OUTER_FLUID = 24
ALPHAS = np.logspace(0, 5, 21)
"""Of the ridge on frozen features; chosen by leaving one out among the people in training."""


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


def main() -> None:
    """Do what is not done yet and print the table."""
    import torch

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("work", type=Path)
    parser.add_argument("--cohort", nargs=2, type=Path, required=True, metavar=("OUT", "TSV"))
    parser.add_argument("--other", nargs=2, type=Path, required=True, metavar=("OUT", "TSV"))
    parser.add_argument("--label-maps", type=Path, required=True)
    parser.add_argument("--phantoms", type=int, default=300)
    parser.add_argument("--enough", type=int, help="make no more phantoms where so many are finished")
    parser.add_argument("--scratch-repeats", type=int, default=REPEATS, help="how often the folds are gone through from scratch")
    parser.add_argument("--half-dry", action="store_true", help="also phantoms of which every second one has lost its outer fluid")
    parser.add_argument("--paintings", type=int, default=100)
    options = parser.parse_args()
    torch.set_num_threads(1)
    two = images(options)
    ways = [*embedded(options, two)]
    segmented = {labels: timed(f"segmentation of {labels}", partial(taught_by_segmentation, options, labels)) for labels in LABELS}
    scratch = timed("scratch", lambda: from_scratch(options.work, two, options.scratch_repeats))
    aged = {
        words: timed(f"phantoms{words}", partial(taught_by_phantoms, options, dry))
        for words, dry in PHANTOMS.items()
        if options.half_dry or not dry
    }
    features = {name: cached_features(options.work, name, model, two) for name, model in {**segmented, **aged}.items()}
    ways += [scratch, *(ridge_way(SEGMENTED.format(labels), *features[labels], two) for labels in LABELS)]
    for words, model in aged.items():
        ways += phantom_ways(words, model, features[words], two)
    show([*ways, *averages(ways)], two)


def timed(name: str, work: Callable):
    """Do something and say how long it took."""
    start = time.monotonic()
    found = work()
    print(f"{name}: {(time.monotonic() - start) / 60:.1f} minutes", flush=True)
    return found


def images(options) -> Two:
    """Packed images of both groups, and the folds."""
    place, tables, caches = net_input(KIND), [], []
    for out, phenotype in (options.cohort, options.other):
        table = find_images([out], [phenotype], place)
        table, cache = pack(table, place.steps, options.work / "packs")
        tables.append(table)
        caches.append(cache)
    assigned = repeated_folds(tables[0].participants, FOLDS, REPEATS, seed=SEED, ages=tables[0].ages)
    return Two(tuple(tables), tuple(caches), replace(place, contract=tables[0].contract), np.asarray(assigned))


def folded(name: str, two: Two, fit: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]) -> Way:
    """A way from what fits it: rows in training to predictions of all first people and of the others."""
    first = np.empty(two.assigned.shape)
    for repeat, folds in enumerate(two.assigned):
        for fold in range(FOLDS):
            test = folds == fold
            first[repeat, test] = fit(np.flatnonzero(~test))[0][test]
    return Way(name, first, fit(np.arange(two.assigned.shape[1]))[1])


def embedded(options, two: Two) -> list[Way]:
    """The guess, the embedded models as they are, calibrated inside the folds, and trained anew inside the folds."""
    ages = two.tables[0].ages
    people, others = (in_order(read_people(*pair), table) for pair, table in zip(_pairs(options), two.tables, strict=True))
    model = load_volumes(find_model("volumes"))
    plain, beyond = brain_ages(model, people), brain_ages(model, others)

    def with_line(train: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        slope, offset = np.polyfit(plain[train], ages[train], 1)
        return slope * plain + offset, slope * beyond + offset

    def with_scales(train: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        fitted, _ = calibrate(model, people.rows(train), scales=True)
        return brain_ages(fitted, people), brain_ages(fitted, others)

    def with_offset(train: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        fitted, _ = calibrate(model, people.rows(train))
        return brain_ages(fitted, people), brain_ages(fitted, others)

    return [
        folded("mean-age guess", two, lambda train: (np.full(len(ages), ages[train].mean()), np.full(len(beyond), ages[train].mean()))),
        folded("`volumes` as it is (the default)", two, lambda train: (plain, beyond)),
        folded("`volumes`, offset from the training folds", two, with_offset),
        folded("`volumes`, offset and slope", two, with_line),
        folded("`volumes`, scales and offset", two, with_scales),
        gpr_way(options, two),
    ]


def _pairs(options) -> list[tuple[Path, list[Path]]]:
    return [(out, [phenotype]) for out, phenotype in (options.cohort, options.other)]


def in_order(people: People, table: ImageTable) -> People:
    """People in the order of a table."""
    rows = {name: row for row, name in enumerate(people.participants)}
    return people.rows([rows[name] for name in table.participants])


def gpr_way(options, two: Two) -> Way:
    """The recipe of `gpr36`, trained anew inside the same folds."""
    path = options.work / "gpr.json"
    if not path.is_file():
        data, others = (collect([out], phenotype) for out, phenotype in _pairs(options))
        found = cross_validate(data, folds=FOLDS, repeats=REPEATS, seed=SEED)
        model, _ = train_model(data, seed=SEED)
        beyond = {
            person: model.predict({key: values[row][model.mask] for key, values in others.cells.items()}, others.volumes[row])[0]
            for row, person in enumerate(others.participants)
        }
        by_person = {person: found.by_repeat[:, row].tolist() for row, person in enumerate(found.participants)}
        sink_json({"first": by_person, "others": beyond}, path)
    content = json.loads(path.read_text(encoding="utf-8"))
    first = np.array([content["first"][person] for person in two.tables[0].participants]).T
    return Way("`gpr36`, trained anew in the folds", first, np.array([content["others"][person] for person in two.tables[1].participants]))


def taught_by_segmentation(options, labels: str) -> SegmentModel:
    """An encoder-decoder that names tissues or structures of painted label maps."""
    from brainage_bids.cli.train import main as train

    out = options.work / f"segment{labels}"
    words = [
        str(options.label_maps),
        "--task",
        "segment",
        "--labels",
        labels,
        "--model",
        KIND,
        "--out",
        str(out),
        "--widths",
        *map(str, WIDTHS),
    ]
    words += [
        "--paintings",
        str(options.paintings),
        "--epochs",
        "14",
        "--patience",
        "14",
        "--batch",
        "4",
        "--rate",
        "0.004",
        "--device",
        "cpu",
    ]
    if not out.is_dir() and train(words):
        raise SystemExit("segmentation was not learned")
    return load_model(out)


def taught_by_phantoms(options, dry: bool) -> NetworkModel:
    """A network that tells the brain age of phantoms on the model's grid; `dry`: of which every second has lost its outer fluid."""
    from brainage_bids.cli.phantom import main as phantom
    from brainage_bids.cli.train import main as train

    cohort, out = options.work / "phantoms", options.work / ("phantomdry" if dry else "phantom")
    people = ["--participants", str(options.phantoms), "--ages", "18", "85", "--sites", "2", "--scanners-per-site", "2", "--no-blood"]
    finished = len(phantom_ages(cohort))
    if finished < (options.enough or options.phantoms) and phantom([str(cohort), "--model-space", "T1w", *people, "--jobs", "1"]):
        raise SystemExit("the phantoms were not made")
    truth = options.work / "phantoms.tsv"
    if not truth.is_file():
        rows = [f"{name}\t{age}\t{site}" for name, age, site in phantom_ages(cohort)]
        truth.write_text("\n".join(["participant_id\tage\tsite", *rows]) + "\n", encoding="utf-8")
    print(f"{len(truth.read_text(encoding='utf-8').splitlines()) - 1} phantoms")
    images_of = half_dry(cohort, options.work / "phantoms_dry") if dry else cohort / "derivatives" / "brainage"
    words = [str(images_of), "--phenotype", str(truth), "--model", KIND, "--split-parts"]
    words += [
        "--out",
        str(out),
        "--widths",
        *map(str, WIDTHS),
        "--optimiser",
        "adamw",
        "--rate",
        "0.002",
        "--epochs",
        "15",
        "--patience",
        "6",
    ]
    if not out.is_dir() and train([*words, "--device", "cpu"]):
        raise SystemExit("the age of phantoms was not learned")
    return load_model(out)


def half_dry(cohort: Path, out: Path) -> Path:
    """A copy of the images of a cohort in which every second person's outer fluid is zero, as where a brain was cut out closely."""
    import nibabel as nib

    truth = cohort / "derivatives" / "truth"
    for number, path in enumerate(sorted((cohort / "derivatives" / "brainage").glob("sub-*/anat/*_T1w.nii.gz"))):
        target = out / path.relative_to(cohort / "derivatives" / "brainage")
        labels = next((truth / path.parents[1].name / "anat").glob("*_desc-true_dseg.nii.gz"), None)
        if target.is_file() or labels is None:
            continue
        image = nib.load(path)
        values = np.asarray(image.dataobj, dtype=np.float32)
        if number % 2:
            values = np.where(np.asarray(nib.load(labels).dataobj) == OUTER_FLUID, 0, values)
        target.parent.mkdir(parents=True, exist_ok=True)
        nib.save(nib.Nifti1Image(values.astype(np.float32), image.affine), target)
    return out


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
    setup = Setup(KIND, two.place, SCRATCH, {"widths": WIDTHS, **SLICES}, work=work / "scratch")
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


def cached_features(work: Path, name: str, model: NetworkModel | SegmentModel, two: Two) -> tuple[np.ndarray, np.ndarray]:
    """What the frozen convolutions make of everybody: mean over slices, (n, d) and (m, d)."""
    import torch

    path = work / f"features-{re.sub('[^a-z]', '', name) or 'phantom'}.npz"
    if not path.is_file():
        net, architecture = make_network(KIND, [two.place.contract], two.place.steps, {"widths": WIDTHS, **SLICES})
        start_from(net, model, NetworkModel(KIND, architecture, net, (two.place.contract,), two.place.steps))
        net.eval()
        with torch.inference_mode():
            rows = [
                [net.features(torch.from_numpy(cache.read(row))[None, None])[0].numpy() for row in range(len(cache.volumes))]
                for cache in two.caches
            ]
        np.savez(path, first=np.array(rows[0]), others=np.array(rows[1]))
    content = np.load(path)
    return content["first"], content["others"]


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


def averages(ways: list[Way]) -> list[Way]:
    """Means of ways that were fixed before any was looked at."""
    named = {way.name: way for way in ways}
    volumes, gpr = named["`volumes`, offset and slope"], named["`gpr36`, trained anew in the folds"]
    segment, phantom = named[SEGMENTED.format("tissues")], named["phantom pre-training, frozen, ridge"]
    picked = {
        "mean of segmentation and phantom": (segment, phantom),
        "mean of `volumes` (offset and slope) and phantom": (volumes, phantom),
        "mean of `volumes`, `gpr36`, segmentation, phantom": (volumes, gpr, segment, phantom),
    }
    return [
        Way(name, np.mean([way.first for way in these], 0), np.mean([way.others for way in these], 0)) for name, these in picked.items()
    ]


def show(ways: list[Way], two: Two) -> None:
    """Print the table: predictions are averaged over repeats before they are judged."""
    ages, beyond = (table.ages for table in two.tables)
    mean = {way.name: np.nanmean(way.first, axis=0) for way in ways}
    guess, default = mean["mean-age guess"], mean["`volumes`, offset from the training folds"]
    rows = [
        (
            "way",
            "MAE",
            "95 % CI",
            "r",
            "95 % CI",
            "p against guess",
            "p against default with offset",
            f"MAE of {len(beyond)} others",
            "bias of these",
        )
    ]
    for way in ways:
        found = mean[way.name]
        metrics, intervals = error_metrics(ages, found), bootstrap_intervals(ages, found)
        tests = ["" if other is found else f"{sign_flip_test(found - ages, other - ages).p:.3f}" for other in (guess, default)]
        with_r = way.name != "mean-age guess"
        r = (f"{metrics.r:.2f}", "{:.2f} to {:.2f}".format(*intervals["r"])) if with_r else ("", "")
        rows.append((way.name, f"{metrics.mae:.2f}", "{:.2f} to {:.2f}".format(*intervals["mae"]), *r, *tests,
                     f"{np.abs(way.others - beyond).mean():.2f}", f"{(way.others - beyond).mean():+.1f}"))  # fmt: skip
    print_table(rows)
    print("\n".join("| " + " | ".join(row) + " |" for row in rows))


if __name__ == "__main__":
    main()
