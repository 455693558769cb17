"""Options of ``brainage-train`` from a settings file and the command line, and back to settings."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from brainage_bids.settings import TrainSettings, read_toml

FILES = ("derivatives", "phenotype", "split_file", "mapping", "paired")
REPEATED = ("phenotype", "exclude_flag", "dataset_name", "limits")
"""Options that are given once for each of their values; other lists follow their option."""


def parse_options(parser: argparse.ArgumentParser, argv: Sequence[str]) -> argparse.Namespace:
    """Options of a training: what the command line says, then the settings file, then the defaults.

    The file's settings are read as if they stood on the command line, so that choices and ranges are checked in one place.

    Raises
    ------
    BadConfiguration
        If the settings file cannot be read, or has a setting that is not known or of another type.
    """
    given = _given(parser, argv)
    if given.config_file is None:
        return parser.parse_args(argv)
    settings = TrainSettings.from_mapping(read_toml(given.config_file), str(given.config_file))
    words = _words({name: value for name, value in asdict(settings).items() if getattr(given, name) in (None, [])})
    places = [] if given.derivatives else list(settings.derivatives)
    return parser.parse_args([*places, *argv, *words])


def settings_of(options: argparse.Namespace) -> TrainSettings:
    """What was asked for as settings, with absolute paths."""
    values = {name: value for name, value in vars(options).items() if name in TrainSettings.__dataclass_fields__}
    values |= {name: _absolute(values[name]) for name in FILES if values.get(name)}
    if options.init is not None and Path(options.init).is_dir():
        values["init"] = _absolute(options.init)
    return TrainSettings.from_mapping({name: value for name, value in values.items() if value is not None}, "The command line")


def _given(parser: argparse.ArgumentParser, argv: Sequence[str]) -> argparse.Namespace:
    """What stands on the command line; None or nothing for what does not."""
    names = vars(parser.parse_args(argv))
    return parser.parse_args(argv, argparse.Namespace(**dict.fromkeys(names)))


def _words(settings: Mapping[str, Any]) -> list[str]:
    """Settings as words of a command line.

    >>> _words({"seed": 3, "input": ("packed2", "packed2flair"), "limits": ("a", "b"), "balance": True, "rate": None, "runs": 0})
    ['--seed=3', '--input', 'packed2', 'packed2flair', '--limits=a', '--limits=b', '--balance', '--runs=0']
    """
    words = []
    for name, value in settings.items():
        option = f"--{name.replace('_', '-')}"
        if name == "derivatives" or value is None or value is False or value == ():
            continue
        if value is True:
            words.append(option)
        elif name in REPEATED:
            words += [f"{option}={item}" for item in value]
        elif isinstance(value, tuple):
            words += [option, *map(str, value)]
        else:
            words.append(f"{option}={value}")
    return words


def _absolute(value: Any) -> Any:
    return [str(Path(item).absolute()) for item in value] if isinstance(value, list) else str(Path(value).absolute())
