"""``brainage-train --task segment``: an encoder-decoder that names voxels, from which a network of ages starts."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from brainage_bids.cli.console import print_table
from brainage_bids.cli.train_network import refuse_torchrun
from brainage_bids.files import real
from brainage_bids.models.label_sets import LABELS
from brainage_bids.models.nets import NETS

if TYPE_CHECKING:
    from brainage_bids.training.folder import About
    from brainage_bids.training.segment_sources import Source

OF_AGES = ("target", "where", "split_file", "split_parts", "runs", "init", "bins", "loss")
"""Options of networks that have no meaning for this task; their default is None."""
OWN = ("labels", "patch", "paintings")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the task and the options that only segmentation has."""
    parser.add_argument("--task", choices=("age", "segment"), default="age", help="what is learned (default: %(default)s)")
    group = parser.add_argument_group(
        "only for --task segment",
        "DERIVATIVES are output folders, the derivatives/brainage of a phantom cohort on the model's grid, or one folder of "
        "whole-head label maps (*.nii.gz, FreeSurfer's codes), which are painted anew at every look.",
    )
    group.add_argument("--labels", choices=LABELS, help="what voxels are called (default: structures)")
    group.add_argument("--patch", type=int, metavar="N", help="a training step looks at a cube of N voxels (default: everything)")
    group.add_argument("--paintings", type=int, metavar="N", help="of label maps, in an epoch (default: 200)")


def check_options(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """End with the usage if options of one task are given for the other."""
    if options.task == "age":
        given = [name for name in OWN if getattr(options, name) is not None]
        if given:
            parser.error(f"--{given[0]} goes with --task segment")
        return
    refuse_torchrun(parser, "--task segment")
    if options.model not in NETS:
        parser.error(f"--task segment goes with networks ({', '.join(NETS)})")
    given = [name for name in OF_AGES if getattr(options, name) is not None]
    given += [name for name in ("balance", "export_features") if getattr(options, name)]
    given += ["phenotype"] * bool(options.phenotype) + ["freeze"] * (options.freeze != "none")
    given += [name for name in ("group_column", "cv_out") if getattr(options, name)]
    if given:
        parser.error(f"--{given[0].replace('_', '-')} goes with --task age")
    if len(options.input or ()) > 1:
        parser.error("--task segment looks at one image; give one --input")
    if (options.patch is not None and options.patch < 8) or (options.paintings is not None and options.paintings < 1):
        parser.error("--patch is 8 or more, --paintings one or more")


def train(options: argparse.Namespace, about: About, progress) -> int:
    """Find, pack or read, train and write; see ``train.main`` for the codes."""
    from dataclasses import replace

    from brainage_bids.cli.train_network import _device, given_architecture
    from brainage_bids.models.inputs import net_input
    from brainage_bids.models.label_sets import label_set
    from brainage_bids.training.folder import check_place
    from brainage_bids.training.segment_sources import check_input
    from brainage_bids.training.segment_train import (
        PAINTINGS,
        SegmentSetup,
        mean_dice,
        recipe_for_segments,
        train_segmenter,
        write_segmenter,
    )

    start = time.monotonic()
    check_place(options.out, options.overwrite)
    place, labels = net_input(options.model, *(options.input or ())), label_set(options.labels or "structures")
    check_input(place)
    names = ("optimiser", "rate", "epochs", "patience", "batch", "accumulate", "precision", "augmentation")
    recipe = recipe_for_segments(options.model, **{name: getattr(options, name) for name in names})
    out = Path(os.path.abspath(options.out))
    work = options.work or out.with_name(f"{out.name}_work")
    architecture = given_architecture(options)
    setup = SegmentSetup(
        options.model, place, labels, recipe, architecture, options.patch or 0, options.paintings or PAINTINGS, _device(options), work
    )
    _try_network(setup)
    source, contract = _source(options, setup, progress)
    setup = replace(setup, place=replace(place, contract=contract))
    print(f"{len(set(source.people))} people with labels; {', '.join(labels.names)}")
    trained = train_segmenter(setup, source, seed=options.seed, told=_print_epoch)
    minutes = (time.monotonic() - start) / 60
    datasets = options.dataset_name or [real(root).name for root in options.derivatives]
    folder = write_segmenter(options.out, trained, setup, about, datasets, minutes=minutes, overwrite=options.overwrite)
    print(f"\nmean Dice {mean_dice(trained.dice):.3f} on {', '.join(trained.validation_people)} (epoch {trained.fitted.best_epoch})")
    print_table([line.split("\t") for line in (folder.path / "dice.tsv").read_text(encoding="utf-8").splitlines()])
    print(folder.path)
    return 0


def _try_network(setup) -> None:
    """Make the network once, without memory, so that what does not fit is said before hours of packing."""
    import torch

    from brainage_bids.models.nets.segment import build_segmenter
    from brainage_bids.models.network import make_network

    with torch.device("meta"):
        _, architecture = make_network(setup.kind, [setup.place.contract], setup.place.steps, setup.architecture)
        build_segmenter(setup.kind, architecture, setup.labels.count)


def _source(options: argparse.Namespace, setup, progress) -> tuple[Source, object]:
    """Label maps to be painted, or packed images with labels; and the contract of the images."""
    from brainage_bids.training.segment_sources import packed_source, painted_source

    roots = options.derivatives
    if len(roots) == 1 and _holds_label_maps(roots[0]):
        if options.augmentation or options.cache_type:
            print("augmentation and cache type do not matter: label maps are painted, not packed", file=sys.stderr)
        return painted_source(roots[0], setup.place, setup.labels, progress("reading label maps")), setup.place.contract
    how = {"dtype": options.cache_type or "float16", "augmentation": setup.recipe.augmentation, "allow_missing": options.allow_missing}
    how["exclude_flags"] = tuple(options.exclude_flag or ("poor_registration",))
    source, contract, left_out = packed_source(roots, setup.place, setup.labels, setup.work, progress=progress("packing images"), **how)
    for reason, count in Counter(reason for _, reason in left_out).most_common():
        print(f"left out, {reason}: {count} ({', '.join(who for who, why in left_out if why == reason)})")
    return source, contract


def _holds_label_maps(root: Path) -> bool:
    return root.is_dir() and not any(root.glob("sub-*/")) and any(root.glob("*.nii*"))


def _print_epoch(line: Mapping[str, float]) -> None:
    numbers = f"loss {line['train_loss']:.4g}, validation Dice {line['validation_dice']:.3f}, {line['volumes_per_s']:.3g} volumes/s"
    print(f"epoch {line['epoch']:.0f}: {numbers}", file=sys.stderr)
