"""``brainage-models``: the models there are, their cards, whether they work, calibrating one, taking in those of others."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from brainage_bids import __version__
from brainage_bids.cli.calibrate import add_command, calibrate
from brainage_bids.cli.console import FAILED, NOTHING, print_table, run_script, say
from brainage_bids.cli.foreign import add_commands, fetch, import_weights
from brainage_bids.cli.parser import Parser

if TYPE_CHECKING:
    from brainage_bids.models.registry import ModelFolder

PROGRAM = "brainage-models"


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = Parser(prog=PROGRAM, description="Look at the models that brainage can use, and check them.")
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {__version__}")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--model-dir",
        action="append",
        default=[],
        type=Path,
        metavar="FOLDER",
        help="a further folder of models, or a model; may be repeated (also: the variable BRAINAGE_MODEL_DIR)",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("list", parents=[common], help="print a table of all models")
    show = commands.add_parser("show", parents=[common], help="print the card of a model")
    show.add_argument("name", metavar="NAME", help="name of a model, or path of its folder")
    for command, words in (
        ("verify", "check every file of a model against its card"),
        ("self-test", "predict the example that a model carries and compare with the age it had when it was made"),
    ):
        sub = commands.add_parser(command, parents=[common], help=words, description=f"{words[0].upper()}{words[1:]}.")
        sub.add_argument("name", nargs="?", metavar="NAME", help="name or path of a model; all models if left out")
    add_command(commands, common)
    add_commands(commands, common)
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the command line.

    Returns
    -------
    int
        0; 1 if a self-test found another age or a card cannot be used; 64, 65 (controls that cannot be used), 66 (no model
        there) or 78 (a model is damaged or not there).
    """
    options = make_parser().parse_args(argv)
    commands: dict[str, Callable[[argparse.Namespace], int]] = {
        "list": _list,
        "show": _show,
        "verify": _verify,
        "self-test": _self_test,
        "calibrate": calibrate,
        "import": import_weights,
        "fetch": fetch,
    }
    return run_script(PROGRAM, lambda: commands[options.command](options))


def _list(options: argparse.Namespace) -> int:
    from brainage_bids.models.registry import list_models

    models, problems = list_models(options.model_dir)
    rows = [("name", "kind", "modality", "people", "ages", "error (guess)", "folder")]
    for model in models:
        card = model.card
        errors = [f"{measure.value:.1f} y" if measure else "n/a" for measure in (card.errors.mae, card.errors.mae_guess)]
        ages = f"{card.training.ages.low:.0f}–{card.training.ages.high:.0f}"
        rows.append((card.name, card.kind, card.modality, str(card.training.n), ages, f"{errors[0]} ({errors[1]})", str(model.path)))
    if models:
        print_table(rows)
    if not models and not problems:
        return _none()
    for problem in problems:
        say(PROGRAM, problem, FAILED)
    return FAILED if problems else 0


def _show(options: argparse.Namespace) -> int:
    from brainage_bids.models.card import describe_errors
    from brainage_bids.models.cardfile import card_text
    from brainage_bids.models.kinds import kind_of
    from brainage_bids.models.registry import find_model

    model = find_model(options.name, options.model_dir)
    print(f"# {model.path}\n#")
    for sentence in (describe_errors(model.card), *kind_of(model).describe(model), *model.card.limits):
        print(f"# {sentence}")
    print(f"\n{card_text(model.card)}", end="")
    return 0


def _verify(options: argparse.Namespace) -> int:
    from brainage_bids.models.predict import load_model
    from brainage_bids.models.registry import find_model

    models = _chosen(options, find_model)
    for model in models:
        for file in model.card.files:
            model.read(file)
        load_model(model)
        print(f"{model.card.name}: {len(model.card.files)} files are those of the card, and the weights fit.")
    return 0 if models else _none()


def _self_test(options: argparse.Namespace) -> int:
    from brainage_bids.models.registry import find_model
    from brainage_bids.models.selftest import run_self_test

    models = _chosen(options, find_model)
    code = 0
    for model in models:
        found = run_self_test(model)
        ages = f"{found.found_age:.3f} ± {found.found_sd:.3f} years, expected {found.expected_age:.3f} ± {found.expected_sd:.3f}"
        print(f"{model.card.name}: {'passed' if found.passed else 'FAILED'} ({ages})")
        code = code if found.passed else FAILED
    return code if models else _none()


def _chosen(options: argparse.Namespace, find_model: Callable[..., ModelFolder]) -> list[ModelFolder]:
    """The model that was named, or all; a card that cannot be used is an error."""
    from brainage_bids.models.registry import list_models
    from brainage_bids.records import BadConfiguration

    if options.name is not None:
        return [find_model(options.name, options.model_dir)]
    models, problems = list_models(options.model_dir)
    if problems:
        raise BadConfiguration(" ".join(problems))
    return models


def _none() -> int:
    return say(PROGRAM, "There is no model; train one by brainage-train, or give --model-dir.", NOTHING)


if __name__ == "__main__":
    sys.exit(main())
