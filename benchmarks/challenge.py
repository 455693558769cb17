"""The default model, challenged: small networks taught on phantoms or painted label maps, against what ships, on real scans.

    python benchmarks/challenge.py WORK --cohort OUT36 TSV --other OUT5 TSV --label-maps DIR [--phantoms 200]

OUT36 and OUT5 are output folders of ``brainage … participant`` with their phenotype tables: people to learn from (cross-validated,
5 folds × 3), and people of another scanner, to whom everything is applied that was fitted on the first. What is done lies in WORK,
so that the same command goes on where it was stopped. Printed is a table for docs/benchmarks.md. Networks read the affinely
registered T1w, on which phantoms and the app agree. Everything is chosen and fitted inside the folds; convolutions that were taught
before are frozen, their outputs kept, and a ridge on them is the last layer.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from challenge_networks import (
    FOLDS,
    INPUT,
    REPEATS,
    SEED,
    Two,
    Way,
    cached_features,
    folded,
    from_scratch,
    make_phantoms,
    phantom_ways,
    ridge_way,
    taught_by_phantoms,
    taught_by_segmentation,
)

from brainage_bids.bids.sink import sink_json
from brainage_bids.cli.console import print_table
from brainage_bids.models.inputs import net_input
from brainage_bids.models.registry import find_model
from brainage_bids.models.volumes_folder import load_volumes
from brainage_bids.stats.folds import repeated_folds
from brainage_bids.stats.metrics import bootstrap_intervals, error_metrics
from brainage_bids.stats.permutation import sign_flip_test
from brainage_bids.training.cache import pack
from brainage_bids.training.collect import collect
from brainage_bids.training.evaluate import cross_validate, train_model
from brainage_bids.training.images import ImageTable, find_images
from brainage_bids.training.volumes_calibrate import People, brain_ages, calibrate, read_people

LABELS = ("tissues", "structures")
SEGMENTED = "segmentation pre-training ({}), frozen, ridge"
AGED = {"slices": "", "encoder3d": " of a 3-D network"}
"""Kinds of networks taught on phantoms, and what their rows are called."""


def main() -> None:
    """Do what is not done yet and print the table."""
    import torch

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("work", type=Path)
    parser.add_argument("--cohort", nargs=2, type=Path, required=True, metavar=("OUT", "TSV"))
    parser.add_argument("--other", nargs=2, type=Path, required=True, metavar=("OUT", "TSV"))
    parser.add_argument("--label-maps", type=Path, required=True)
    parser.add_argument("--phantoms", type=int, default=200, help="of each of two cohorts")
    parser.add_argument("--enough", type=int, help="make no more phantoms where so many of a cohort are finished")
    parser.add_argument("--scratch-repeats", type=int, default=REPEATS, help="how often the folds are gone through from scratch")
    parser.add_argument("--kinds", nargs="+", choices=tuple(AGED), default=["slices"], help="networks that are taught on phantoms")
    parser.add_argument("--paintings", type=int, default=100)
    options = parser.parse_args()
    torch.set_num_threads(1)
    work, maps = options.work, options.label_maps
    two = images(options)
    ways = embedded(options, two)
    ways.append(timed("scratch", lambda: from_scratch(work, two, options.scratch_repeats)))
    for labels in LABELS:
        model = timed(f"segmentation of {labels}", partial(taught_by_segmentation, work, maps, labels, options.paintings))
        ways.append(ridge_way(SEGMENTED.format(labels), *cached_features(work / f"features-{labels}.npz", model, two), two))
    cohorts = timed("phantoms", lambda: make_phantoms(work, maps, options.phantoms, options.enough or options.phantoms))
    for kind in options.kinds:
        model = timed(f"ages of phantoms, {kind}", partial(taught_by_phantoms, work, cohorts, kind))
        ways += phantom_ways(AGED[kind], model, cached_features(work / f"features-{kind}.npz", model, two), two)
    show([*ways, *averages(ways)], two)


def timed(name: str, work: Callable):
    """Do something and say how long it took."""
    start = time.monotonic()
    found = work()
    print(f"{name}: {(time.monotonic() - start) / 60:.1f} minutes", flush=True)
    return found


def images(options) -> Two:
    """Packed images of both groups, and the folds."""
    place, tables, caches = net_input("slices", INPUT), [], []
    for out, phenotype in (options.cohort, options.other):
        table = find_images([out], [phenotype], [place])
        table, cache = pack(table, place.steps, options.work / "packs")
        tables.append(table)
        caches.append(cache)
    assigned = repeated_folds(tables[0].participants, FOLDS, REPEATS, seed=SEED, ages=tables[0].ages)
    return Two(tuple(tables), tuple(caches), replace(place, contract=tables[0].contracts[0]), np.asarray(assigned))


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
            person: model.age({key: values[row][model.mask] for key, values in others.cells.items()}, others.volumes[row])[0]
            for row, person in enumerate(others.participants)
        }
        by_person = {person: found.by_repeat[:, row].tolist() for row, person in enumerate(found.participants)}
        sink_json({"first": by_person, "others": beyond}, path)
    content = json.loads(path.read_text(encoding="utf-8"))
    first = np.array([content["first"][person] for person in two.tables[0].participants]).T
    return Way("`gpr36`, trained anew in the folds", first, np.array([content["others"][person] for person in two.tables[1].participants]))


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
