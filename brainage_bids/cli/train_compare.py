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
    from brainage_bids.models.inputs import NetInput
    from brainage_bids.training.compare import Cell, Outcome
    from brainage_bids.training.images import ImageTable

PROGRAM = "brainage-train compare"
TRANSFER = "transfer"
"""What a start from `--pretrain` is called."""
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
    "retrained_mae": {
        "Description": "Mean absolute error on the test part of networks trained again on training and validation together, for as "
        "many epochs; mean over runs.",
        "Units": "years",
    },
    "retrained_mae_sd": {"Description": "Standard deviation of that over runs.", "Units": "years"},
    "retrained_mae_low": {"Description": "Lower end of the 95 % interval of retrained_mae, by bootstrap over people.", "Units": "years"},
    "retrained_mae_high": {"Description": "Upper end of it.", "Units": "years"},
    "difference_retrained": {"Description": "retrained_mae less that of the same kind from random weights.", "Units": "years"},
    "p_scratch_retrained": {"Description": "Of the paired permutation test of that difference."},
    "best_epoch": {"Description": "Epoch that was kept, mean over runs and folds."},
    "minutes": {"Description": "Training time of all runs.", "Units": "min"},
}
PREDICTION_COLUMNS = {
    "participant_id": {"Description": "Identifier of the participant; with several datasets their number stands before it."},
    "age": {"Description": "Age at the scan (or the column that was learned), mean over sessions.", "Units": "years"},
    "model": COLUMNS["model"],
    "start": COLUMNS["start"],
    "seed": {"Description": "Of the run."},
    "part": {
        "Description": "Part of the split, and which network of the run it was.",
        "Levels": {
            "validation": "picked the epoch",
            "test": "held out",
            "test after training and validation": "held out, by the network trained again on training and validation together",
        },
    },
    "counted": {"Description": "Whether the person counts in errors: yes, or no for those of --also-predict."},
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
    parser.add_argument("--retrain", action="store_true", help="test networks trained again on training and validation together too (P2)")
    parser.add_argument("--folds", type=int, metavar="N", help="hold everybody out once, in N folds, instead of one split")
    parser.add_argument(
        "--pretrain",
        nargs="+",
        type=Path,
        default=[],
        metavar="DERIVATIVES",
        help="a large cohort on which each kind is trained first (60/20/20), to start from (the word in the table: transfer; R3)",
    )
    parser.add_argument("--pretrain-phenotype", type=Path, action="append", default=[], metavar="TSV", help="ages of that cohort")
    parser.add_argument(
        "--also-predict",
        metavar="CONDITION",
        help="people whose ages are predicted too, never trained on nor counted in errors, such as \"group != 'control'\" (P4)",
    )
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
    if options.freeze != "none" and not options.start and not options.pretrain:
        parser.error("--freeze needs --start or --pretrain: layers that never learned anything would be held")
    if options.folds is not None and (options.folds < 2 or options.split_parts or options.split_file is not None):
        parser.error("--folds is two or more and goes without --split-parts and --split-file")
    if bool(options.pretrain) != bool(options.pretrain_phenotype):
        parser.error("--pretrain and --pretrain-phenotype go together")
    if options.also_predict and not options.where:
        parser.error("--also-predict needs --where: everybody is trained on without it")
    options.split_parts = options.folds is None and options.split_file is None
    return run_script(PROGRAM, lambda: compare(options))


def compare(options: argparse.Namespace) -> int:
    """Find, pack, train and write."""
    import numpy as np

    from brainage_bids.bids.sink import sink_table
    from brainage_bids.records import BadConfiguration
    from brainage_bids.training.compare import rows_of, run_cell
    from brainage_bids.training.network_train import check_ages

    out = Path(os.path.abspath(options.out))
    if (out / "comparison.tsv").exists() and not options.overwrite:
        raise BadConfiguration(f"{out} holds a comparison already; give --overwrite or another --out.")
    kept = _trained_on(options)
    cells = _cells(options, out, kept)
    table = cells[0].table
    counted = np.array([kept is None or key in kept for key in zip(table.participants, table.sessions, strict=True)])
    trained_on = table.keep(np.flatnonzero(counted).tolist(), {})
    check_ages(trained_on.ages)
    rounds, parts, words = _rounds(options, table, counted)
    ages = trained_on.ages
    print(f"{trained_on.n_people} people, {ages.min():.1f} to {ages.max():.1f} years; {words}")
    seeds = range(options.seed, options.seed + (options.runs or 1))
    outcomes = [run_cell(cell, rounds, seeds, retrain=options.retrain, told=_print_epoch) for cell in cells]
    rows = rows_of(outcomes, seed=options.seed)
    written = [sink_table(rows, out / "comparison.tsv", {name: COLUMNS[name] for name in COLUMNS if name in rows[0]})]
    written.append(sink_table(_predictions(outcomes, seeds), out / "predictions.tsv", PREDICTION_COLUMNS))
    if parts is not None:
        written += train_network.write_split(out, table, [parts.get(person, "") for person in table.participants])
    _print_rows(rows, options)
    for path in written:
        print(path)
    return 0


def _trained_on(options: argparse.Namespace) -> set | None:
    """Person and session of everybody for whom ``--where`` holds, if others are predicted too; None where all are trained on."""
    if not options.also_predict:
        return None
    narrow = _find(options, _places(options, options.models[0]), options.where)
    return set(zip(narrow.participants, narrow.sessions, strict=True))


def _rounds(options: argparse.Namespace, table: ImageTable, counted):
    """Who is trained on and held out when; the part of each person, None with folds; and what to say of it.

    Somebody of ``--also-predict`` is in the part that ``--split-file`` says, else in validation or test by lot.
    """
    from brainage_bids.stats.folds import participant_folds
    from brainage_bids.training.compare import TEST, VALIDATION, rounds_of_folds, rounds_of_parts
    from brainage_bids.training.network_train import check_folds
    from brainage_bids.training.split_file import read_split

    ours, beside = table.keep(counted.nonzero()[0].tolist(), {}), (~counted).nonzero()[0].tolist()
    others = [table.participants[row] for row in beside]
    said = f"; {len(set(others))} more are predicted" if others else ""
    if options.folds is not None:
        check_folds(ours.n_people, options.folds, 1)
        return rounds_of_folds(table, options.folds, options.seed, counted), None, f"{options.folds} folds{said}"
    found, words = train_network._parts(options, ours)
    parts = dict(found or {})
    if options.split_file is not None:
        in_file, _ = read_split(options.split_file, table.participants)
        parts |= {table.participants[row]: str(in_file[row]) for row in beside}
    elif len(set(others)) > 1:
        halves = participant_folds(others, 2, seed=options.seed, ages=table.ages[beside])
        parts |= {person: (VALIDATION, TEST)[half] for person, half in zip(others, halves, strict=True)}
    else:
        parts |= dict.fromkeys(others, TEST)
    return rounds_of_parts(table, parts, counted), parts, f"{words}{said}"


def _starts(options: argparse.Namespace, out: Path) -> list[tuple[str, object]]:
    """Words and models of ``--start``, and of ``--pretrain``."""
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
    if any(word == TRANSFER for word, _ in found) and options.pretrain:
        raise BadConfiguration(f"The word {TRANSFER} of --start is that of --pretrain; take another one.")
    return found + ([(TRANSFER, _pretrained(options, token, out)) for token in dict.fromkeys(options.models)] if options.pretrain else [])


def _pretrained(options: argparse.Namespace, token: str, out: Path):
    """The network of a kind that was trained on the large cohort, 60/20/20, best on validation; its folder lies beside the table."""
    import datetime

    from brainage_bids.training.folder import About

    kind, _, block = token.partition(":")
    place = out / "pretrained" / token.replace(":", "-")
    given = vars(options) | {
        "derivatives": options.pretrain,
        "phenotype": options.pretrain_phenotype,
        "model": kind,
        "block": block or None,
    }
    given |= {"out": place, "cv_out": None, "work": None, "split_parts": True, "n_parts": 5, "split_file": None, "folds": None}
    given |= {"runs": 1, "init": None, "freeze": "none", "overwrite": True}
    print(f"\n{token}: first trained on {', '.join(map(str, options.pretrain))}")
    about = About(f"pretrained{kind}{block}", "1.0", datetime.date.today().isoformat(), "not stated", "not stated", ())
    train_network.train(argparse.Namespace(**given), about, Progress)
    print()
    return train_network.open_start(str(place))


def _token(model) -> str:
    """What ``--models`` calls the kind of a model."""
    return f"{model.kind}:residual" if model.architecture.get("block") == "residual" else model.kind


def _cells(options: argparse.Namespace, out: Path, kept: set | None) -> list[Cell]:
    """Every kind from scratch and from the models of its kind, with packed images of the people whom all kinds have.

    Visits that do not count go where another visit of the person does: people, not scans, are held out.
    """
    from brainage_bids.records import BadDataset
    from brainage_bids.training.cache import pack
    from brainage_bids.training.compare import SCRATCH, Cell
    from brainage_bids.training.network_train import Setup, check_bins

    starts, work, device = _starts(options, out), options.work or out.with_name(f"{out.name}_work"), train_network._device(options)
    packed = {}
    for token in dict.fromkeys(options.models):
        places = _places(options, token)
        table = _find(options, places, f"({options.where}) or ({options.also_predict})" if options.also_predict else options.where)
        how = {"dtype": options.cache_type or "float16", "allow_missing": options.allow_missing}
        steps = places[0].steps
        packed[token] = steps, *pack(table, steps, work, progress=Progress(f"packing images of {token}"), **how)
    shared = set.intersection(*(set(zip(table.participants, table.sessions, strict=True)) for _, table, _ in packed.values()))
    if kept is not None:
        ours = {person for person, _ in kept & shared}
        shared = {key for key in shared if key in kept or key[0] not in ours}
    if not shared:
        raise BadDataset("There is nobody of whom all these networks have an image.")
    cells = []
    for token, (steps, table, cache) in packed.items():
        kind, _, block = token.partition(":")
        rows = [row for row, key in enumerate(zip(table.participants, table.sessions, strict=True)) if key in shared]
        table, cache = table.keep(rows, {}), cache.keep(rows)
        one = argparse.Namespace(**{**vars(options), "model": kind, "block": block or None})
        recipe, architecture = train_network._recipe(one)
        check_bins(table.ages, architecture)
        setup = Setup(kind, table.contracts, steps, recipe, architecture, device=device, work=work)
        cells.append(Cell(token, SCRATCH, setup, table, cache))
        for word, model in starts:
            if _token(model) != token:
                continue
            own = {name: value for name, value in model.architecture.items() if name not in ("shape", "channels", "bins")}
            setup = replace(setup, architecture={**own, **architecture}, init=model, freeze=options.freeze)
            setup.try_network()
            cells.append(Cell(token, word, setup, table, cache))
    return cells


def _places(options: argparse.Namespace, token: str) -> tuple[NetInput, ...]:
    from brainage_bids.training.images import net_inputs

    return net_inputs(token.partition(":")[0], options.input)


def _find(options: argparse.Namespace, places: Sequence[NetInput], where: str | None) -> ImageTable:
    from brainage_bids.training.images import find_images

    return find_images(
        options.derivatives,
        options.phenotype,
        places,
        target=options.target,
        where=where,
        exclude_flags=tuple(options.exclude_flag or ("poor_registration",)),
    )


def _predictions(outcomes: Sequence[Outcome], seeds: Sequence[int]) -> list[dict[str, object]]:
    return [
        {
            "participant_id": person,
            "age": round(float(scored.ages[row]), 4),
            "model": one.cell.model,
            "start": one.cell.start,
            "seed": seed,
            "part": part,
            "counted": counts,
            "brain_age": round(float(scored.predictions[run, row]), 4),
        }
        for one in outcomes
        for counts, parts in (("yes", one.parts), ("no", one.beside))
        for part, scored in parts.items()
        for run, seed in enumerate(seeds)
        for row, person in enumerate(scored.participants)
    ]


def _print_rows(rows: Sequence[Mapping[str, object]], options: argparse.Namespace) -> None:
    def number(value: object, digits: int = 2) -> str:
        return "" if value is None else f"{value:.{digits}f}"

    heads = ("model", "start", "frozen", "runs", "validation MAE (σ)", "test MAE (σ)", "95 % CI", "r", "− scratch", "p", "p against guess")
    again = "retrained_mae" in rows[0]
    shown = [(*heads, "test MAE (σ) after training + validation", "− scratch", "p") if again else heads]
    for row in rows:
        parts = ("validation", "test", *(("retrained",) if again else ()))
        validation, test, *retrained = (f"{number(row[f'{part}_mae'])} ({number(row[f'{part}_mae_sd']) or 'n/a'})" for part in parts)
        interval = f"{number(row['test_mae_low'])} to {number(row['test_mae_high'])}"
        more = (number(row["r"]), number(row["difference"]), number(row["p_scratch"], 3), number(row["p_guess"], 3), *retrained)
        more += (number(row["difference_retrained"]), number(row["p_scratch_retrained"], 3)) if again else ()
        shown.append((str(row["model"]), str(row["start"]), str(row["frozen"]), str(row["runs"]), validation, test, interval, *more))
    print()
    print_table(shown)
    print(f"guess of the mean age: {number(rows[0]['guess_mae'])} years on {rows[0]['n_test']} people held out")
    if not any(text.startswith("imagenet") for text in options.start):
        print("Cells of ImageNet are absent: they need weights of yours, as --start imagenet=MODEL.")


def _print_epoch(name: str, line: Mapping[str, float]) -> None:
    print(f"{name}: epoch {line['epoch']:.0f}: loss {line['train_loss']:.4g}, validation MAE {line['validation_mae']:.2f}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
