"""``brainage-train``: from preprocessed participants to a model folder with its card and its cross-validated errors."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from brainage_bids import __version__
from brainage_bids.cli import train_network, train_segment
from brainage_bids.cli.console import Progress, print_table, run_script
from brainage_bids.cli.parser import Parser
from brainage_bids.cli.train_options import parse_options, settings_of
from brainage_bids.cli.train_volumes import add_options, check_options
from brainage_bids.cli.train_volumes import train as train_volumes
from brainage_bids.files import real
from brainage_bids.models.nets import NETS
from brainage_bids.records import FLAGS

if TYPE_CHECKING:
    from brainage_bids.training.collect import TrainingData
    from brainage_bids.training.evaluate import CrossValidation
    from brainage_bids.training.folder import About
    from brainage_bids.training.gpr import Choice

PROGRAM = "brainage-train"
MEASURES = {
    "mae": ("mean absolute error", "years", 2),
    "rmse": ("root mean squared error", "years", 2),
    "r": ("correlation with age", "", 3),
    "r2": ("R² (1 − SSE/SST)", "", 3),
    "bias_slope": ("slope of prediction − age on age", "", 3),
    "mae_guess": ("error of guessing the mean age", "years", 2),
}


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = Parser(
        prog=PROGRAM,
        description="Train a brain-age model on the outputs of 'brainage BIDS OUT participant' and measure its errors on people held out. "
        "'brainage-train compare --help' sets several networks side by side.",
    )
    parser.add_argument("derivatives", nargs="*", type=Path, metavar="DERIVATIVES", help="output folders of participant runs")
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {__version__}")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="the model folder to be written")
    parser.add_argument(
        "--config-file",
        type=Path,
        metavar="TOML",
        help="options from a file, such as the settings.toml of a model; the command line wins",
    )
    parser.add_argument(
        "--phenotype",
        type=Path,
        action="append",
        default=[],
        metavar="TSV",
        help="table with participant_id and age (participants.tsv); once for all DERIVATIVES, or once for each in their order; "
        "needed unless --model volumes",
    )
    parser.add_argument("--model", choices=["gpr", "volumes", *NETS], default="gpr", help="kind of model (default: %(default)s)")
    parser.add_argument("--name", help="name of the model, lower-case letters and digits (default: that of FOLDER)")
    split = parser.add_argument_group("cross-validation")
    split.add_argument("--folds", type=_at_least(2), default=10, help="outer folds, by participant (default: %(default)s)")
    split.add_argument("--repeats", type=_at_least(1), default=5, help="how often they are dealt anew (default: %(default)s)")
    split.add_argument("--seed", type=_at_least(0), default=1, help="of all that is drawn (default: %(default)s)")
    split.add_argument("--cv-out", type=Path, metavar="FOLDER", help="for predictions and figure (default: FOLDER with _cv added)")
    people = parser.add_argument_group("people")
    people.add_argument("--group-column", metavar="COLUMN", help="column of the phenotype table whose groups are counted on the card")
    people.add_argument(
        "--exclude-flag",
        action="append",
        choices=sorted(FLAGS),
        metavar="FLAG",
        help="leave out sessions whose quality table raises this flag; may be repeated (default: poor_registration)",
    )
    people.add_argument("--dataset-name", action="append", default=[], metavar="NAME", help="what to call each of the DERIVATIVES")
    card = parser.add_argument_group("card")
    card.add_argument("--model-version", default="1.0", help="version of the model (default: %(default)s)")
    card.add_argument("--licence", default="not stated", help="under which the model may be used")
    card.add_argument("--citation", default="not stated", help="what to cite for the data it was trained on")
    card.add_argument("--limits", action="append", default=[], metavar="SENTENCE", help="what readers must know; may be repeated")
    add_options(parser)
    train_network.add_options(parser)
    train_segment.add_options(parser)
    parser.add_argument("--overwrite", action="store_true", help="replace a model that is already there")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns 0, 64, 65 (nobody to train on) or 78 (a table, name or place that cannot be used)."""
    given = sys.argv[1:] if argv is None else argv
    if given[:1] == ["compare"]:
        from brainage_bids.cli.train_compare import main as compare

        return compare(given[1:])
    return run_script(PROGRAM, lambda: _run(given))


def _run(given: list[str]) -> int:
    parser = make_parser()
    options = parse_options(parser, given)
    if not options.derivatives:
        parser.error("the following arguments are required: DERIVATIVES")
    check_options(parser, options)
    train_network.check_options(parser, options)
    train_segment.check_options(parser, options)
    if options.task == "segment":
        return train_segment.train(options, _about(options), Progress)
    if options.model in NETS:
        return train_network.train(options, _about(options), Progress)
    return _train(options) if options.model == "gpr" else _train_volumes(options)


def _train_volumes(options: argparse.Namespace) -> int:
    return train_volumes(options, _about(options), Progress("cross-validation"))


def _train(options: argparse.Namespace) -> int:
    from brainage_bids.training.collect import collect
    from brainage_bids.training.evaluate import cross_validate, train_model
    from brainage_bids.training.folder import check_place, write_model

    about = _about(options)
    check_place(options.out, options.overwrite)
    data = collect(
        options.derivatives,
        options.phenotype,
        group_column=options.group_column,
        exclude_flags=tuple(options.exclude_flag or ("poor_registration",)),
        dataset_names=options.dataset_name,
        progress=Progress("reading maps"),
    )
    _print_people(data)
    told = Progress("cross-validation")
    validation = cross_validate(data, folds=options.folds, repeats=options.repeats, seed=options.seed, progress=told)
    _print_errors(validation)
    model, choice = train_model(data, seed=options.seed)
    _print_choice(choice)
    folder = write_model(options.out, model, data, validation, choice, about, overwrite=options.overwrite)
    for path in (folder.path, *write_validation(options.cv_out or folder.path.with_name(f"{folder.path.name}_cv"), data, validation)):
        print(path)
    return 0


def write_validation(out: Path, data: TrainingData, validation: CrossValidation) -> list[Path]:
    """Write ``cv_predictions.tsv`` with its JSON and ``cv_scatter.png``; return the table and the figure."""
    from brainage_bids.bids.sink import sink_table, write_atomic
    from brainage_bids.reports.scatter import scatter_cv

    group_of = dict(zip(data.participants, data.groups, strict=True))
    groups = [group_of[person] for person in validation.participants]
    rows = []
    for index, person in enumerate(validation.participants):
        row = {
            "participant_id": person,
            "group": groups[index],
            "age": float(validation.ages[index]),
            "brain_age": float(validation.predictions[index]),
            "brain_age_sd": float(validation.sds[index]),
            "guess": float(validation.guesses[index]),
        }
        repeats = {f"brain_age_{number}": float(values[index]) for number, values in enumerate(validation.by_repeat, 1)}
        rows.append({name: round(value, 4) if isinstance(value, float) else value for name, value in {**row, **repeats}.items()})
    table = sink_table(rows, out / "cv_predictions.tsv", _columns(validation))
    with write_atomic(out / "cv_scatter.png") as partial:
        scatter_cv(
            validation.ages,
            validation.predictions,
            partial,
            mae_ci=validation.intervals["mae"],
            r_ci=validation.intervals["r"] if validation.intervals["r"][0] == validation.intervals["r"][0] else None,
            guess=float(validation.guesses.mean()),
            mae_guess=validation.metrics.mae_guess,
            p_value=validation.test.p,
            groups=[group or "not known" for group in groups] if any(groups) else None,
        )
    return [table, out / "cv_scatter.png"]


def _columns(validation: CrossValidation) -> dict[str, dict[str, str]]:
    held_out = "without this person in training"
    columns = {
        "participant_id": {"Description": "Identifier of the participant; with several datasets their number stands before it."},
        "group": {"Description": "Group of the participant; n/a if none was asked for."},
        "age": {"Description": "Age at the scan, mean over sessions.", "Units": "years"},
        "brain_age": {"Description": f"Age that was predicted {held_out}, mean over {validation.repeats} repeats.", "Units": "years"},
        "brain_age_sd": {"Description": "Predictive standard deviation of one such prediction.", "Units": "years"},
        "guess": {"Description": f"Mean age of the people in training, {held_out}.", "Units": "years"},
    }
    for number in range(1, validation.repeats + 1):
        columns[f"brain_age_{number}"] = {"Description": f"The prediction of repeat {number}.", "Units": "years"}
    return columns


def _about(options: argparse.Namespace) -> About:
    import datetime

    from brainage_bids.models.card import check_name
    from brainage_bids.training.folder import About

    return About(
        name=check_name(options.name or real(options.out).name),
        version=options.model_version,
        created=datetime.date.today().isoformat(),
        licence=options.licence,
        citation=options.citation,
        limits=tuple(options.limits),
        settings=settings_of(options).to_toml(),
    )


def _print_people(data: TrainingData) -> None:
    ages = data.ages
    print(f"{data.n_people} people, {len(ages)} sessions, {ages.min():.1f} to {ages.max():.1f} years (mean {ages.mean():.1f})")
    for words, counts in (("sex", data.people_by(data.sexes)), ("group", data.people_by(data.groups))):
        if counts:
            print(f"{words}: " + ", ".join(f"{count} {name}" for name, count in counts.items()))
    for reason, count in data.reasons().most_common():
        who = ", ".join(name for name, why in data.left_out if why == reason)
        print(f"left out, {reason}: {count} ({who})")
    for problem in data.problems:
        print(problem)


def _print_errors(validation: CrossValidation) -> None:
    print(f"\n{validation.by[0].upper()}{validation.by[1:]} (seed {validation.seed}):")
    rows = [("measure", "value", "95 % interval", "unit")]
    for name, (words, unit, digits) in MEASURES.items():
        low, high = validation.intervals[name]
        rows.append((words, f"{getattr(validation.metrics, name):.{digits}f}", f"{low:.{digits}f} to {high:.{digits}f}", unit))
    print_table(rows)
    test = validation.test
    print(f"model − guess: {test.difference:+.2f} years, p = {test.p:.3g} (paired sign flips, {test.n_permutations} permutations)")
    print(f"ages within the 95 % interval of the prediction: {100 * validation.coverage:.0f} %")
    counts = Counter((choice.candidate.features, choice.candidate.kernel, choice.spread) for choice in validation.choices)
    chosen = "; ".join(f"{count} × {features}, {kernel}, spread {spread}" for (features, kernel, spread), count in counts.most_common())
    print(f"chosen in the folds: {chosen}")


def _print_choice(choice: Choice) -> None:
    candidate = choice.candidate
    parts = [f"features {candidate.features}"]
    if candidate.features != "volumes":
        parts.append(f"up to {candidate.n_components} components")
    parts += [f"kernel {candidate.kernel}", f"alpha {candidate.alpha:g}", f"spread {choice.spread}"]
    print(f"final model: {', '.join(parts)}\n")


def _at_least(least: int):
    def whole_number(text: str) -> int:
        value = int(text)
        if value < least:
            raise argparse.ArgumentTypeError(f"must be {least} or more")
        return value

    return whole_number


if __name__ == "__main__":
    sys.exit(main())
