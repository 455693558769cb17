"""``brainage-train --model resnet`` and the other networks: from derivatives to a model folder."""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from brainage_bids.cli.console import print_table
from brainage_bids.models.card import describe_errors
from brainage_bids.models.nets import NETS

if TYPE_CHECKING:
    from brainage_bids.models.inputs import NetInput
    from brainage_bids.models.network import NetworkModel
    from brainage_bids.models.segmenter import SegmentModel
    from brainage_bids.training.folder import About
    from brainage_bids.training.images import ImageTable
    from brainage_bids.training.network_train import HeldOut, Setup
    from brainage_bids.training.objective import Recipe
    from brainage_bids.training.processes import Team

ONLY = (
    "input", "target", "where", "split_file", "split_parts", "runs", "init", "bins", "loss", "optimiser", "rate", "epochs", "patience",
    "batch", "accumulate", "precision", "augmentation", "device", "work", "cache_type", "widths", "block",
)  # fmt: skip
"""Options that have no meaning for other kinds; their default is None."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that only networks have."""
    group = parser.add_argument_group(f"only for networks (--model {', '.join(NETS)})")
    add = group.add_argument
    add(
        "--input",
        nargs="+",
        metavar="NAME",
        help="image and intensity rule (docs/networks.md; default: the published one of the kind); several images of one kind are the "
        "channels of one network, such as packed2 packed2flair",
    )
    add("--target", metavar="COLUMN", help="column of the phenotype table that is learned (default: the age)")
    add("--where", metavar="CONDITION", help="who is trained on, such as \"group == 'control' and age >= 20\"")
    add("--split-parts", action="store_true", default=None, help="8:1:1 by age decile and site instead of folds")
    add("--split-file", type=Path, metavar="TSV", help="participant_id and split (train, validation, test) instead of folds")
    add("--runs", type=int, metavar="N", help="networks of different seeds with --split-parts or --split-file (default: 1)")
    add("--init", metavar="MODEL", help="name or folder of a model of this kind to start from")
    add("--freeze", choices=("none", "convolutions", "all-but-last"), default="none", help="what does not learn (default: %(default)s)")
    add("--widths", nargs="+", type=int, metavar="N", help="channels of the levels (default: the published ones)")
    add("--block", choices=("unet", "residual"), help="what levels of slices and encoder3d are made of (default: unet)")
    add("--bins", nargs=3, type=float, metavar=("LOW", "WIDTH", "COUNT"), help="a distribution over bins of age instead of a number")
    add("--loss", choices=("mae", "mse", "kl"), help="what is minimised")
    add("--optimiser", choices=("adam", "adamw"), help="adam as in the papers, or adamw with warm-up and cosine")
    add("--rate", type=float, help="step of the optimiser")
    add("--epochs", type=int, metavar="N", help="at most")
    add("--patience", type=int, metavar="N", help="stop after N epochs without a better validation error")
    add("--batch", type=int, metavar="N", help="images at once")
    add("--accumulate", type=int, metavar="N", help="batches a step")
    add("--precision", choices=("float32", "bfloat16"), help="of the convolutions; the age is computed in float32 always")
    add("--balance", action="store_true", help="draw people so that all ages count alike")
    add("--augmentation", choices=("none", "light", "strong"), help="how training images are changed")
    add("--device", help="cpu or cuda (default: cuda where there is one)")
    add("--work", type=Path, metavar="FOLDER", help="for packed images and checkpoints (default: FOLDER of --out with _work added)")
    add("--cache-type", choices=("float16", "uint8"), help="of packed images; uint8 takes half the place")
    add("--allow-missing", action="store_true", help="leave out images that cannot be read or do not fit, instead of stopping")
    add("--export-features", action="store_true", help="write what the last layer reads of the people held out (R4) beside the predictions")


def check_options(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """End with the usage if options of networks are given for another kind, or contradict each other."""
    if options.model not in NETS:
        refuse_torchrun(parser, options.model)
        given = [name for name in ONLY if getattr(options, name) is not None]
        given += [name for name in ("balance", "allow_missing", "export_features") if getattr(options, name)]
        if given or options.freeze != "none":
            parser.error(f"--{(given or ['freeze'])[0].replace('_', '-')} goes with networks ({', '.join(NETS)})")
        return
    parts = options.split_parts or options.split_file is not None
    if options.split_parts and options.split_file is not None:
        parser.error("--split-parts and --split-file exclude each other")
    if options.runs is not None and (options.runs < 1 or not parts):
        parser.error("--runs goes with --split-parts or --split-file, and is one or more")
    if options.freeze != "none" and options.init is None:
        parser.error("--freeze needs --init: layers that never learned anything would be held")


def refuse_torchrun(parser: argparse.ArgumentParser, what: str) -> None:
    """End with the usage if several processes were started for what one process does."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        parser.error(f"torchrun goes with networks ({', '.join(NETS)}) that learn ages; start {what} without it")


def train(options: argparse.Namespace, about: About, progress) -> int:
    """Find, pack, train, score and write; see ``train.main`` for the codes. Processes of ``torchrun`` share the training."""
    from brainage_bids.training.processes import join

    with join(_device(options)) as (team, device), open(os.devnull, "w") as nowhere:
        if team.leads:
            return _train(options, about, progress, team, device)
        with contextlib.redirect_stdout(nowhere):
            return _train(options, about, lambda _: None, team, device)


def _train(options: argparse.Namespace, about: About, progress, team: Team, device: str) -> int:
    import numpy as np

    from brainage_bids.training.folder import check_place
    from brainage_bids.training.images import net_inputs
    from brainage_bids.training.network_train import Setup, check_ages, check_bins, train_folds, train_parts
    from brainage_bids.training.transfer import in_box_of

    start = time.monotonic()
    check_place(options.out, options.overwrite)
    init = _init(options)
    places = net_inputs(options.model, options.input)
    table = in_box_of(_images(options, places), init)
    check_ages(table.ages)
    recipe, architecture = _recipe(options)
    check_bins(table.ages, architecture)
    work = options.work or beside(options.out, "_work")
    setup = Setup(options.model, table.contracts, places[0].steps, recipe, architecture, init, options.freeze, device, work, team)
    setup.try_network()
    parts, words = _parts(options, table)
    table, cache = _pack(options, table, setup, progress)
    _print_people(table, words)
    told = _print_epoch if team.leads else None
    if parts is not None:
        parts = np.array([parts[person] for person in table.participants])
        runs = options.runs or 1
        trained, held_out = train_parts(setup, table, cache, parts, seed=options.seed, runs=runs, told=told)
        used, seeds = np.flatnonzero((parts == "train") | (parts == "validation")), tuple(range(options.seed, options.seed + runs))
    else:
        folds, repeats = options.folds, options.repeats
        trained, held_out = train_folds(setup, table, cache, folds=folds, repeats=repeats, seed=options.seed, told=told)
        used, seeds = np.arange(len(table.ages)), (options.seed,)
    _print_errors(held_out)
    if team.leads:
        minutes = (time.monotonic() - start) / 60
        facts = {"used": used, "seeds": seeds, "minutes": minutes, "start": options.init or "", "overwrite": options.overwrite}
        _write(options, trained, held_out, setup, table, cache, about, parts, facts)
    team.wait()
    return 0


def _images(options: argparse.Namespace, places: Sequence[NetInput]) -> ImageTable:
    from brainage_bids.training.images import find_images

    return find_images(
        options.derivatives,
        options.phenotype,
        places,
        target=options.target,
        where=options.where,
        group_column=options.group_column,
        exclude_flags=tuple(options.exclude_flag or ("poor_registration",)),
        dataset_names=options.dataset_name,
    )


def _pack(options: argparse.Namespace, table: ImageTable, setup: Setup, progress):
    """Packed images; the first process makes them while the others wait."""
    from brainage_bids.training.cache import pack

    how = {"dtype": options.cache_type or "float16", "allow_missing": options.allow_missing}
    if setup.team.leads:
        found = pack(table, setup.steps, setup.work, progress=progress("packing images"), **how)
        setup.team.wait()
        return found
    setup.team.wait()
    return pack(table, setup.steps, setup.work, **how)


def _write(options: argparse.Namespace, trained, held_out: HeldOut, setup: Setup, table: ImageTable, cache, about: About, parts, facts):
    """Write the model folder and what goes beside it, and say where they are."""
    from dataclasses import replace

    from brainage_bids.training.network_card import write_trained

    written = write_held_out(options.cv_out or beside(options.out, "_cv"), held_out, trained.fitted.history, parts, table, options)
    if options.target:
        limit = f"It learned the column {options.target} instead of the age, and what it gives is that."
        about = replace(about, limits=(limit, *about.limits))
    folder = write_trained(options.out, trained, held_out, setup, table, cache, about, **facts)  # last: a model that is there is all there
    print(f"\n{describe_errors(folder.card)}")
    for path in (folder.path, *written):
        print(path)


def beside(out: Path, ending: str) -> Path:
    """The folder beside the model's.

    >>> beside(Path("/models/toy"), "_cv").as_posix()
    '/models/toy_cv'
    """
    out = Path(os.path.abspath(out))
    return out.with_name(out.name + ending)


def _init(options: argparse.Namespace) -> NetworkModel | SegmentModel | None:
    return None if options.init is None else open_start(options.init)


def open_start(name: str) -> NetworkModel | SegmentModel:
    """The network from which another one starts, by name or folder; BadConfiguration if there is none."""
    from brainage_bids.models.network import NetworkModel
    from brainage_bids.models.predict import load_model
    from brainage_bids.models.registry import find_model
    from brainage_bids.models.segmenter import SegmentModel
    from brainage_bids.records import BadConfiguration

    model = load_model(find_model(name))
    if not isinstance(model, NetworkModel | SegmentModel):
        raise BadConfiguration(f"The model {name} is no network, so nothing can start from it.")
    return model


def _recipe(options: argparse.Namespace) -> tuple[Recipe, dict]:
    """The recipe, and the arguments of the network that are not its defaults."""
    from brainage_bids.records import BadConfiguration
    from brainage_bids.training.objective import recipe_for

    names = ("loss", "optimiser", "rate", "epochs", "patience", "batch", "accumulate", "precision", "augmentation")
    given = {name: getattr(options, name) for name in names}
    bins = options.bins
    if bins is None and options.model == "sfcn" and options.loss in (None, "kl"):
        bins = (10.0, 2.0, 40.0)  # 10 to 90 years: a cohort of any age
    architecture = given_architecture(options)
    if bins is None:
        return recipe_for(options.model, soft=False, balance=options.balance, **given), architecture
    if bins[2] != int(bins[2]):
        raise BadConfiguration(f"The count of bins must be a whole number, not {bins[2]:g}.")
    content = {"low": bins[0], "width": bins[1], "count": int(bins[2]), "sigma": bins[1]}
    return recipe_for(options.model, soft=True, balance=options.balance, **given), {**architecture, "bins": content}


def given_architecture(options: argparse.Namespace) -> dict:
    """Arguments of the network that stand on the command line."""
    return {name: getattr(options, name) for name in ("widths", "block") if getattr(options, name) is not None}


def _device(options: argparse.Namespace) -> str:
    from brainage_bids.models.network import usable_device

    return usable_device(options.device or "auto")


def _parts(options: argparse.Namespace, table: ImageTable) -> tuple[Mapping[str, str] | None, str]:
    """The part of each person, None for folds; and what to say of it."""
    from brainage_bids.stats.folds import stratified_parts
    from brainage_bids.training.network_train import check_folds, check_parts
    from brainage_bids.training.split_file import read_split

    if options.split_file is not None:
        parts, strangers = read_split(options.split_file, table.participants)
        words = f"parts of {options.split_file}{_who_is_not(table.participants, parts, strangers)}"
    elif options.split_parts:
        n_parts = getattr(options, "n_parts", 10)
        parts, (first, second) = stratified_parts(table.participants, table.ages, table.projects, seed=options.seed, n_parts=n_parts)
        words = f"{n_parts - 2}:1:1 by age decile and site (divergence from all: validation {first:.3f}, test {second:.3f})"
    else:
        check_folds(table.n_people, options.folds, options.repeats)
        return None, f"{options.folds} folds, {options.repeats} times"
    check_parts(table.participants, parts)
    return dict(zip(table.participants, map(str, parts), strict=True)), words


def _who_is_not(participants: Sequence[str], parts: Sequence[str], strangers: Sequence[str]) -> str:
    """In words, who of the cohort is not in a split file and the other way round.

    >>> _who_is_not(["sub-1", "sub-2"], ["train", ""], ["sub-9"])
    '; not in it and not used: 1 (sub-2); in it, but not among these people: 1 (sub-9)'
    """
    unused = sorted({name for name, part in zip(participants, parts, strict=True) if not part})
    said = (("not in it and not used", unused), ("in it, but not among these people", strangers))
    return "".join(f"; {words}: {len(names)} ({', '.join(names)})" for words, names in said if names)


def write_held_out(out: Path, held_out: HeldOut, history, parts, table: ImageTable, options: argparse.Namespace) -> list[Path]:
    """Write predictions, figures, the split that was used, and features if they were asked for."""
    from brainage_bids.bids.sink import sink_table, write_atomic
    from brainage_bids.reports.curves import draw_history
    from brainage_bids.reports.scatter import scatter_cv

    rows = []
    for index, person in enumerate(held_out.participants):
        values = {"age": held_out.ages, "brain_age": held_out.predictions, "brain_age_sd": held_out.sds, "guess": held_out.guesses}
        rows.append({"participant_id": person, **{name: round(float(array[index]), 4) for name, array in values.items()}})
    written = [sink_table(rows, out / "cv_predictions.tsv", COLUMNS)]
    if parts is not None:
        written += write_split(out, table, parts)
    if options.export_features and held_out.features is not None:
        names = [f"feature_{number:03d}" for number in range(1, held_out.features.shape[1] + 1)]
        described = {
            name: {"Description": "What the last layer reads, from a network that did not train on this person."} for name in names
        }
        table_rows = [
            {"participant_id": person, **{name: round(float(value), 6) for name, value in zip(names, values, strict=True)}}
            for person, values in zip(held_out.participants, held_out.features, strict=True)
        ]
        written.append(sink_table(table_rows, out / "features.tsv", {"participant_id": COLUMNS["participant_id"], **described}))
    low, high = held_out.intervals["r"]
    with write_atomic(out / "cv_scatter.png") as partial:
        scatter_cv(
            held_out.ages,
            held_out.predictions,
            partial,
            mae_ci=held_out.intervals["mae"],
            r_ci=(low, high) if low == low else None,
            guess=float(held_out.guesses.mean()),
            mae_guess=held_out.metrics.mae_guess,
            p_value=held_out.test.p,
            title="Brain age of people held out",
        )
    with write_atomic(out / "history.png") as partial:
        draw_history(history, partial)
    return [*written, out / "cv_scatter.png", out / "history.png"]


def write_split(out: Path, table: ImageTable, parts: Sequence[str]) -> list[Path]:
    """Write who is in which part as ``split.tsv`` and as a picture."""
    from brainage_bids.bids.sink import sink_table, write_atomic
    from brainage_bids.reports.parts import draw_parts
    from brainage_bids.stats.folds import PARTS
    from brainage_bids.training.split_file import split_rows

    rows = [table.participants.index(person) for person in sorted(set(table.participants))]
    columns = [[values[row] for row in rows] for values in (table.ages, table.sexes, table.projects, parts)]
    with write_atomic(out / "split.png") as partial:
        draw_parts(*columns, PARTS, partial)
    return [sink_table(split_rows(table.participants, parts), out / "split.tsv", SPLIT_COLUMNS), out / "split.png"]


COLUMNS = {
    "participant_id": {"Description": "Identifier of the participant; with several datasets their number stands before it."},
    "age": {"Description": "Age at the scan (or the column that was learned), mean over sessions.", "Units": "years"},
    "brain_age": {"Description": "Age that was predicted without this person in training, mean over repeats.", "Units": "years"},
    "brain_age_sd": {"Description": "Root mean squared error on the people that picked the epoch.", "Units": "years"},
    "guess": {"Description": "Mean age of the people in training, without this person.", "Units": "years"},
}
SPLIT_COLUMNS = {
    "participant_id": COLUMNS["participant_id"],
    "split": {
        "Description": "Part of the participant.",
        "Levels": {"train": "trained on", "validation": "picked the epoch", "test": "scored"},
    },
}


def _print_people(table: ImageTable, words: str) -> None:
    ages = table.ages
    print(f"{table.n_people} people, {len(ages)} sessions, {ages.min():.1f} to {ages.max():.1f} years (mean {ages.mean():.1f}); {words}")
    for name, counts in (
        ("sex", table.people_by(table.sexes)),
        ("site", table.people_by(table.sites)),
        ("group", table.people_by(table.groups)),
    ):
        if counts:
            print(f"{name}: " + ", ".join(f"{count} {value}" for value, count in counts.items()))
    for reason, count in Counter(reason for _, reason in table.left_out).most_common():
        print(f"left out, {reason}: {count} ({', '.join(name for name, why in table.left_out if why == reason)})")
    for problem in table.problems:
        print(problem)


def _print_epoch(name: str, line: Mapping[str, float]) -> None:
    numbers = f"loss {line['train_loss']:.3f}, validation {line['validation_mae']:.2f} years, {line['volumes_per_s']:.1f} volumes/s"
    numbers += f", {100 * line['waiting']:.0f} % of the time waiting for images" * (line["waiting"] > 0.1)
    print(f"{name}, epoch {line['epoch']:.0f}: {numbers}", file=sys.stderr, flush=True)


def _print_errors(held_out: HeldOut) -> None:
    print(f"\n{held_out.by[0].upper()}{held_out.by[1:]}:")
    rows = [("measure", "value", "95 % interval")]
    for name, digits in (("mae", 2), ("rmse", 2), ("r", 3), ("r2", 3), ("bias_slope", 3), ("mae_guess", 2)):
        low, high = held_out.intervals[name]
        rows.append((name, f"{getattr(held_out.metrics, name):.{digits}f}", f"{low:.{digits}f} to {high:.{digits}f}"))
    print_table(rows)
    if len(held_out.by_run) > 1:
        mean, spread = statistics.mean(held_out.by_run), statistics.stdev(held_out.by_run)
        print(f"mean absolute error of {len(held_out.by_run)} runs: {mean:.2f} ({spread:.2f})")
    print(f"model − guess: {held_out.test.difference:+.2f} years, p = {held_out.test.p:.3g} (paired sign flips)")
    print(f"ages within the 95 % interval of the prediction: {100 * held_out.coverage:.0f} %")
