"""``brainage-train --model volumes``: from a table of FreeSurfer's volumes and a mapping to a model folder."""

from __future__ import annotations

import argparse
import math
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from brainage_bids.cli.console import print_table
from brainage_bids.files import TABLE, read_bytes
from brainage_bids.models.card import describe_errors

if TYPE_CHECKING:
    from brainage_bids.training.folder import About
    from brainage_bids.training.volumes_evaluate import HeldOut
    from brainage_bids.training.volumes_folder import TrainedVolumes
    from brainage_bids.training.volumes_table import VolumeTable


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that only this kind of model has."""
    group = parser.add_argument_group("only for --model volumes", "DERIVATIVES is then one table of FreeSurfer's volumes")
    group.add_argument("--mapping", metavar="TSV", help="table with map, structure, ours_mm3, theirs_mm3 (needed)")
    group.add_argument(
        "--paired",
        type=Path,
        metavar="OUT",
        help="output folder of a participant run on people of the table: structures that their scans contradict are not used, "
        "and they are not trained on",
    )
    group.add_argument("--leave-out", nargs="+", action="extend", default=[], metavar="ID", help="people who are not trained on")


def check_options(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """End with the usage if options do not fit the kind of model."""
    if options.model == "volumes":
        if options.mapping is None or len(options.derivatives) != 1:
            parser.error("--model volumes needs one table and --mapping")
    elif not options.phenotype and options.task == "age":
        parser.error("the following arguments are required: --phenotype")
    elif options.mapping is not None or options.paired is not None or options.leave_out:
        parser.error("--mapping, --paired and --leave-out go with --model volumes")


def train(options: argparse.Namespace, about: About, progress) -> int:
    """Read, map, cross-validate, fit and write; see ``train.main`` for the codes."""
    from brainage_bids.training.folder import check_place
    from brainage_bids.training.volumes_evaluate import evaluate
    from brainage_bids.training.volumes_folder import map_table, train_volumes, write_volume_model
    from brainage_bids.training.volumes_mapping import read_mapping
    from brainage_bids.training.volumes_paired import read_paired
    from brainage_bids.training.volumes_table import read_volume_table

    check_place(options.out, options.overwrite)
    paired = read_paired(options.paired, options.derivatives[0]) if options.paired else {}
    table = read_volume_table(options.derivatives[0], leave_out={*options.leave_out, *paired})
    _print_people(table)
    mapping = map_table(table, read_mapping(options.mapping), paired=list(paired.values()), seed=options.seed)
    label_maps = read_bytes(options.mapping, TABLE)
    trained = train_volumes(table, mapping, seed=options.seed)
    _print_mapping(trained)
    held_out = evaluate(
        table, trained.features, mapping.errors, folds=options.folds, repeats=options.repeats, seed=options.seed, progress=progress
    )
    _print_errors(held_out)
    dataset = (options.dataset_name or [options.derivatives[0].name])[0]
    folder = write_volume_model(
        options.out, trained, held_out, about, dataset=dataset, label_maps=label_maps, seed=options.seed, overwrite=options.overwrite
    )
    print(f"\n{describe_errors(folder.card)}\n{folder.path}")
    return 0


def _print_people(table: VolumeTable) -> None:
    ages = table.ages
    print(f"{len(ages)} people, {ages.min():.1f} to {ages.max():.1f} years (mean {ages.mean():.1f})")
    for words, values in (("sex", table.sexes), ("site", table.sites)):
        print(f"{words}: " + ", ".join(f"{count} {name}" for name, count in table.counts(values).items()))
    for reason, people in table.reasons().items():
        print(f"left out, {reason}: {', '.join(people)}")


def _print_mapping(trained: TrainedVolumes) -> None:
    print()
    titles = ("structure", "maps", "theirs/ours", "95 % interval", "table/maps", "error of share", "s.d. of people", "reliability")
    rows = [(*titles, "real/expected", "use")]
    for row in trained.mapping.rows:
        shown = (
            f"{row.scale:.3f}",
            f"{row.low:.3f} to {row.high:.3f}",
            f"{math.exp(row.convention):.3f} ± {row.convention_se:.3f}",
            f"{row.share_error:.3f}",
            f"{row.people_sd:.3f}",
            f"{row.reliability:.2f}",
            "" if row.gap is None else f"{math.exp(row.gap):.2f}",
        )
        rows.append((row.structure, str(row.maps), *shown, row.reason or "used"))
    print_table(rows)
    candidate = trained.choice.candidate
    parts = [f"kernel {candidate.kernel}", f"alpha {candidate.alpha:g}", f"error weight {candidate.error_weight:g}"]
    print(f"chosen: {', '.join(parts)}, length factor {candidate.length_factor:g} (inner error {trained.choice.inner_mae:.2f} years)")


def _print_errors(held_out: tuple[HeldOut, ...]) -> None:
    for item in held_out:
        metrics, intervals = item.metrics, item.intervals
        print(f"\n{item.by[0].upper()}{item.by[1:]}:")
        rows = [("measure", "value", "95 % interval")]
        for name, digits in (("mae", 2), ("rmse", 2), ("r", 3), ("r2", 3), ("bias_slope", 3), ("mae_guess", 2)):
            low, high = intervals[name]
            rows.append((name, f"{getattr(metrics, name):.{digits}f}", f"{low:.{digits}f} to {high:.{digits}f}"))
        print_table(rows)
        print(f"model − guess: {item.test.difference:+.2f} years, p = {item.test.p:.3g} (paired sign flips)")
        print(f"ages within the 95 % interval of the prediction: {100 * item.coverage:.0f} %")
        print_table(
            [("by", "part", "people", "MAE", "bias"), *((g.by, g.name, str(g.n), f"{g.mae:.2f}", f"{g.bias:+.2f}") for g in item.groups)]
        )
        counts = Counter((choice.candidate.kernel, choice.candidate.error_weight) for choice in item.choices)
        print("chosen: " + "; ".join(f"{count} × {kernel}, error weight {weight:g}" for (kernel, weight), count in counts.most_common()))
