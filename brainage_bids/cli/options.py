"""From parsed options to settings."""

from __future__ import annotations

import argparse
import hashlib
import os
import tempfile
from pathlib import Path
from typing import Any

from brainage_bids.bids.reuse import parse_derivatives
from brainage_bids.files import real
from brainage_bids.records import BadConfiguration
from brainage_bids.settings import GroupSettings, Settings, read_toml

NAMES = {"participant_label": "participant_labels", "session_label": "session_labels", "model_dir": "model_dirs", "output_dir": "out_dir"}
"""Options whose setting has another name."""
FOLDERS = ("bids_dir", "out_dir", "work_dir", "bids_filter_file", "bids_database_dir", "phenotype", "model_dirs", "fitted", "comparison")


def settings_of(options: argparse.Namespace) -> Settings:
    """Settings of a run: what the command line says, then the settings file, then the defaults.

    Raises
    ------
    BadConfiguration
        If the settings file or a value is wrong.
    """
    values = _values(options, Settings)
    if options.derivatives is not None:
        values["derivatives"] = [f"{label}={path}" for label, path in parse_derivatives(options.derivatives).items()]
    values.setdefault("work_dir", str(default_work_dir(Path(values["out_dir"]))))
    return Settings.from_mapping(values, str(options.config_file or "The command line"))


def group_settings_of(options: argparse.Namespace) -> GroupSettings:
    """Settings of a group run, in the same order of trust as `settings_of`.

    Raises
    ------
    BadConfiguration
        If the settings file or a value is wrong.
    """
    return GroupSettings.from_mapping(_values(options, GroupSettings), str(options.config_file or "The command line"))


def _values(options: argparse.Namespace, kind: type) -> dict[str, Any]:
    """What the settings file and then the command line say of the fields of a kind of settings."""
    values = read_toml(options.config_file) if options.config_file else {}
    for option, value in vars(options).items():
        name = NAMES.get(option, option)
        if name in kind.__dataclass_fields__ and value is not None:
            values[name] = _absolute(value) if name in FOLDERS else value
    return values


def default_work_dir(out_dir: Path) -> Path:
    """A scratch folder in the system's temporary folder, another one for every output folder and user.

    Outside the output folder, so that nothing unfinished is ever in there; the same for the same output, so that what a
    killed run left is found and emptied by the next.
    """
    return Path(tempfile.gettempdir()) / f"brainage_work_{os.getuid()}_{_digest(out_dir)}"


def scratch_of(settings: Settings, participant_id: str) -> Path:
    """Where the unfinished files of a participant lie, a folder in the scratch folder that is emptied and removed.

    Its name is one that nobody else uses: the scratch folder may hold other things, a ``sub-01`` even, and serve runs with
    other output folders.
    """
    return Path(settings.work_dir) / f"brainage_{_digest(Path(settings.out_dir))}_{participant_id}"


def _digest(out_dir: Path) -> str:
    return hashlib.sha256(os.fsencode(out_dir.absolute())).hexdigest()[:12]


def check_folders(settings: Settings) -> None:
    """Make the output folder and see that it can be written; refuse one that is the input.

    Raises
    ------
    BadConfiguration
        With what is wrong and what to do.
    """
    bids_dir, out_dir = Path(settings.bids_dir), Path(settings.out_dir)
    if not bids_dir.is_dir():
        raise BadConfiguration(f"The BIDS folder {bids_dir} does not exist; give the root of a dataset.")
    place, source, scratch = real(out_dir), real(bids_dir), real(settings.work_dir)
    if place == source:
        raise BadConfiguration("The output folder is the BIDS folder itself; give another one, for example BIDS/derivatives/brainage.")
    if place in (scratch, *scratch.parents):
        raise BadConfiguration("The scratch folder lies in the output folder; give --work-dir another place.")
    if source in (scratch, *scratch.parents):
        raise BadConfiguration("The scratch folder lies in the BIDS folder, which is only read; give --work-dir another place.")
    for path in parse_derivatives(settings.derivatives).values():
        if real(path) == place:
            raise BadConfiguration(f"The derivatives {path} are the output folder itself, whose files are kept anyhow; leave them out.")
    if any(folder.parent == source and folder.name.startswith("sub-") for folder in (place, *place.parents)):
        raise BadConfiguration(f"The output folder {out_dir} lies among the raw data; give another, for example BIDS/derivatives/brainage.")
    for folder, option in ((out_dir, "the output folder"), (Path(settings.work_dir), "--work-dir")):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as error:
            raise BadConfiguration(f"Nothing can be written in {folder} ({error.strerror}); give {option} another place.") from error


def _absolute(value):
    if isinstance(value, list):
        return [str(Path(item).absolute()) for item in value]
    return str(Path(value).absolute())
