"""``brainage-train compare``: kinds of networks × where they start × seeds on one split (P2's table, R3's transfer)."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from brainage_bids.cli import train_network
from brainage_bids.cli.console import Progress, print_table, run_script
from brainage_bids.cli.parser import Parser
from brainage_bids.models.nets import NETS
from brainage_bids.records import FLAGS

if TYPE_CHECKING:
    from brainage_bids.training.compare import Cell, Outcome
    from brainage_bids.training.images import ImageTable

PROGRAM = "brainage-train compare"
BLOCKS = ("slices", "encoder3d")
"""Kinds whose levels are those of a U-Net, or residual."""
COLUMNS = {
    "model": {"Description": "Kind of network, and its blocks where they are not those of a U-Net."},
    "start": {"Description": "Where it started; none: random weights."},
    "frozen": {"Description": "What did not learn."},
    "runs": {"Description": "How many seeds."},
    "validation_mae": {
        "Description": "Mean absolute error on the validation part, which chose the epoch; mean over runs.",
        "Units": "years",
    },
    "validation_mae_sd": {"Description": "Standard deviation of that over runs.", "Units": "years"},
    "test_mae": {"Description": "Mean absolute error on the test part, which chose nothing; mean over runs.", "Units": "years"},
    "test_mae_sd": {"Description": "Standard deviation of that over runs.", "Units": "years"},
    "test_mae_low": {"Description": "Lower end of the 95 % interval of test_mae, by bootstrap over people.", "Units": "years"},
    "test_mae_high": {"Description": "Upper end of it.", "Units": "years"},
    "r": {"Description": "Correlation of age with the brain age, averaged over runs."},
    "n_test": {"Description": "People of the test part."},
    "guess_mae": {"Description": "Mean absolute error of guessing the mean age of the people in training.", "Units": "years"},
    "p_guess": {"Description": "Of the paired permutation test against the guess."},
    "difference": {"Description": "test_mae less that of the same kind from random weights.", "Units": "years"},
    "p_scratch": {"Description": "Of the paired permutation test of that difference (sign flips over people, 999)."},
    "best_epoch": {"Description": "Epoch that was kept, mean over runs."},
    "minutes": {"Description": "Training time of all runs.", "Units": "min"},
}
PREDICTION_COLUMNS = {
    "participant_id": {"Description": "Identifier of the participant; with several datasets their number stands before it."},
    "age": {"Description": "Age at the scan (or the column that was learned), mean over sessions.", "Units": "years"},
    "model": COLUMNS["model"],
    "start": COLUMNS["start"],
    "seed": {"Description": "Of the run."},
    "brain_age": {"Description": "What the network of this run said.", "Units": "years"},
}


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = Parser(
        prog=PROGRAM,
        description="Train networks of several kinds, from scratch and from other models, with several seeds on one split, "
        "and set their errors side by side.",
    )
    parser.add_argument("derivatives", nargs="+", type=Path, metavar="DERIVATIVES", help="output folders of participant runs")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="for comparison.tsv, predictions.tsv and split.tsv")
    parser.add_argument("--phenotype", type=Path, action="append", required=True, metavar="TSV", help="as for brainage-train")
    kinds = [*NETS, *(f"{kind}:residual" for kind in BLOCKS)]
    parser.add_argument("--models", nargs="+", choices=kinds, required=True, metavar="KIND", help=f"of {', '.join(kinds)}")
    parser.add_argument(
        "--start",
        nargs="+",
        action="extend",
        default=[],
        metavar="WORD=MODEL",
        help="models to start from, with a word for the table (segment=FOLDER); each goes with networks of its kind. "
        "Random weights are always tried too",
    )
    parser.add_argument("--retrain", action="store_true", help="test networks trained again on training and validation together (P2)")
    parser.add_argument("--seed", type=int, default=1, help="of the split and of the first run (default: %(default)s)")
    parser.add_argument("--group-column", help=argparse.SUPPRESS)
    parser.add_argument("--exclude-flag", action="append", choices=sorted(FLAGS), metavar="FLAG", help="as for brainage-train")
    parser.add_argument("--dataset-name", action="append", default=[], help=argparse.SUPPRESS)
    train_network.add_options(parser)
    parser.add_argument("--overwrite", action="store_true", help="replace a table that is already there")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; codes as for ``train.main``."""
    parser = make_parser()
    options = parser.parse_args(argv)
    train_network.refuse_torchrun(parser, "compare")
    if options.init is not None or options.export_features or options.block is not None:
        parser.error("--init, --export-features and --block go with one network; here there are --start and KIND:residual")
    if options.split_parts and options.split_file is not None:
        parser.error("--split-parts and --split-file exclude each other")
    if options.runs is not None and options.runs < 1:
        parser.error("--runs is one or more")
    if options.freeze != "none" and not options.start:
        parser.error("--freeze needs --start: layers that never learned anything would be held")
    options.split_parts = options.split_file is None
    return run_script(PROGRAM, lambda: compare(options))


def compare(options: argparse.Namespace) -> int:
    """Find, pack, train and write."""
    from brainage_bids.bids.sink import sink_table
    from brainage_bids.records import BadConfiguration
    from brainage_bids.training.compare import rows_of, run_cell
    from brainage_bids.training.network_train import check_ages

    out = Path(os.path.abspath(options.out))
    if (out / "comparison.tsv").exists() and not options.overwrite:
        raise BadConfiguration(f"{out} holds a comparison already; give --overwrite or another --out.")
    cells = _cells(options, out)
    table = cells[0].table
    check_ages(table.ages)
    parts, words = train_network._parts(options, table)
    print(f"{table.n_people} people, {table.ages.min():.1f} to {table.ages.max():.1f} years; {words}")
    seeds = range(options.seed, options.seed + (options.runs or 1))
    outcomes = [run_cell(cell, parts, seeds, retrain=options.retrain, told=_print_epoch) for cell in cells]
    rows = rows_of(outcomes, seed=options.seed)
    written = [sink_table(rows, out / "comparison.tsv", COLUMNS)]
    written.append(sink_table(_predictions(outcomes, seeds), out / "predictions.tsv", PREDICTION_COLUMNS))
    written += train_network.write_split(out, table, [parts[person] for person in table.participants])
    _print_rows(rows, options)
    for path in written:
        print(path)
    return 0


def _starts(options: argparse.Namespace) -> list[tuple[str, object]]:
    """Words and models of ``--start``."""
    from brainage_bids.records import BadConfiguration
    from brainage_bids.training.compare import SCRATCH

    found = []
    for text in options.start:
        word, equals, name = text.partition("=")
        if not equals or not word or not name or word == SCRATCH:
            raise BadConfiguration(f"--start {text} cannot be read; write WORD=MODEL, such as segment=FOLDER.")
        model = train_network.open_start(name)
        if _token(model) not in options.models:
            raise BadConfiguration(f"The model of --start {text} is of kind {_token(model)}, which --models does not name.")
        found.append((word, model))
    return found


def _token(model) -> str:
    """What ``--models`` calls the kind of a model."""
    return f"{model.kind}:residual" if model.architecture.get("block") == "residual" else model.kind


def _cells(options: argparse.Namespace, out: Path) -> list[Cell]:
    """Every kind from scratch and from the models of its kind, with packed images of the people whom all kinds have."""
    import torch

    from brainage_bids.models.inputs import net_input
    from brainage_bids.models.network import NetworkModel, make_network
    from brainage_bids.records import BadDataset
    from brainage_bids.training.cache import pack
    from brainage_bids.training.compare import SCRATCH, Cell
    from brainage_bids.training.network_train import Setup, check_bins
    from brainage_bids.training.transfer import start_from

    starts, work, device = _starts(options), options.work or out.with_name(f"{out.name}_work"), train_network._device(options)
    packed = {}
    for token in dict.fromkeys(options.models):
        place = net_input(token.partition(":")[0], options.input)
        table = _find(options, place)
        how = {"dtype": options.cache_type or "float16", "allow_missing": options.allow_missing}
        packed[token] = place, *pack(table, place.steps, work, progress=Progress(f"packing images of {token}"), **how)
    shared = set.intersection(*(set(zip(table.participants, table.sessions, strict=True)) for _, table, _ in packed.values()))
    if not shared:
        raise BadDataset("There is nobody of whom all these networks have an image.")
    cells = []
    for token, (place, table, cache) in packed.items():
        kind, _, block = token.partition(":")
        rows = [row for row, key in enumerate(zip(table.participants, table.sessions, strict=True)) if key in shared]
        table, cache = table.keep(rows, {}), cache.keep(rows)
        one = argparse.Namespace(**{**vars(options), "model": kind, "block": block or None})
        recipe, architecture = train_network._recipe(one)
        check_bins(table.ages, architecture)
        setup = Setup(kind, replace(place, contract=table.contract), recipe, architecture, device=device, work=work)
        cells.append(Cell(token, SCRATCH, setup, table, cache))
        for word, model in starts:
            if _token(model) != token:
                continue
            own = {name: value for name, value in model.architecture.items() if name not in ("shape", "channels", "bins")}
            setup = replace(setup, architecture={**own, **architecture}, init=model, freeze=options.freeze)
            with torch.device("meta"):
                net, full = make_network(kind, [table.contract], place.steps, setup.architecture)
            start_from(net.to_empty(device="cpu"), model, NetworkModel(kind, full, net, (table.contract,), place.steps))
            cells.append(Cell(token, word, setup, table, cache))
    return cells


def _find(options: argparse.Namespace, place) -> ImageTable:
    from brainage_bids.training.images import find_images

    return find_images(
        options.derivatives,
        options.phenotype,
        place,
        target=options.target,
        where=options.where,
        exclude_flags=tuple(options.exclude_flag or ("poor_registration",)),
    )


def _predictions(outcomes: Sequence[Outcome], seeds: Sequence[int]) -> list[dict[str, object]]:
    return [
        {
            "participant_id": person,
            "age": round(float(one.ages[row]), 4),
            "model": one.cell.model,
            "start": one.cell.start,
            "seed": seed,
            "brain_age": round(float(one.predictions[run, row]), 4),
        }
        for one in outcomes
        for run, seed in enumerate(seeds)
        for row, person in enumerate(one.participants)
    ]


def _print_rows(rows: Sequence[Mapping[str, object]], options: argparse.Namespace) -> None:
    def number(value: object, digits: int = 2) -> str:
        return "" if value is None else f"{value:.{digits}f}"

    shown = [
        ("model", "start", "frozen", "runs", "validation MAE (σ)", "test MAE (σ)", "95 % CI", "r", "− scratch", "p", "p against guess")
    ]
    for row in rows:
        validation, test = (f"{number(row[f'{part}_mae'])} ({number(row[f'{part}_mae_sd']) or 'n/a'})" for part in ("validation", "test"))
        interval = f"{number(row['test_mae_low'])} to {number(row['test_mae_high'])}"
        more = (number(row["r"]), number(row["difference"]), number(row["p_scratch"], 3), number(row["p_guess"], 3))
        shown.append((str(row["model"]), str(row["start"]), str(row["frozen"]), str(row["runs"]), validation, test, interval, *more))
    print()
    print_table(shown)
    tested = "training and validation together" if options.retrain else "the training part"
    print(f"guess of the mean age: {number(rows[0]['guess_mae'])} years on {rows[0]['n_test']} people; tested are networks of {tested}")
    if not any(text.startswith("imagenet") for text in options.start):
        print("Cells of ImageNet are absent: they need weights of yours, as --start imagenet=MODEL.")


def _print_epoch(name: str, line: Mapping[str, float]) -> None:
    print(f"{name}: epoch {line['epoch']:.0f}: loss {line['train_loss']:.4g}, validation MAE {line['validation_mae']:.2f}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
