"""Taking over the preprocessing of fMRIPrep, sMRIPrep or this app, found by the name table."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from brainage_bids.bids.names import io_spec, name_pattern, parse_name
from brainage_bids.files import real
from brainage_bids.records import BadConfiguration

REQUIRED = ("preproc", "mask")
TISSUE_MAPS = ("probseg_GM", "probseg_WM", "probseg_CSF")


@dataclass(frozen=True)
class Reused:
    """Preprocessed images of one session, all in the space of its T1w.

    Attributes
    ----------
    dataset : str
        Name of the derivatives dataset, as in BIDS URIs.
    root : Path
        Its folder.
    files : mapping
        ``preproc`` and ``mask``; where all three tissue maps exist, ``probseg_GM``, ``probseg_WM``, ``probseg_CSF`` and, if there
        is one, ``dseg``.
    """

    dataset: str
    root: Path
    files: Mapping[str, Path]


def parse_derivatives(values: Sequence[str | Path]) -> dict[str, Path]:
    """Read the values of ``--derivatives``.

    Parameters
    ----------
    values : sequence of str
        Each ``NAME=PATH``, or ``PATH`` alone, whose name is then the one of the folder.

    Returns
    -------
    dict
        Name to absolute path, in the order given.

    Raises
    ------
    BadConfiguration
        If a folder does not exist or two datasets have one name.
    """
    found: dict[str, Path] = {}
    for value in map(str, values):
        name, equals, rest = value.partition("=")
        if equals and re.fullmatch(r"[A-Za-z0-9_.+-]+", name) and not os.path.isdir(value):
            path = Path(rest).absolute()
        else:
            path = Path(value).absolute()
            name = re.sub(r"[^A-Za-z0-9_.+-]", "", real(path).name) or "derivatives"
        if not path.is_dir():
            raise BadConfiguration(f"The derivatives folder {path} does not exist; check --derivatives.")
        if name in found or name == "raw":
            raise BadConfiguration(f"The derivatives {path} need a name of their own; give them as NAME=PATH, with NAME other than {name}.")
        found[name] = path
    return found


def find_preprocessed(
    derivatives: Mapping[str, Path],
    participant_id: str,
    session_id: str | None,
    *,
    only_session: bool = False,
    scan: str = "",
) -> Reused | None:
    """Find preprocessed images of one session in the native space of its T1w.

    The first dataset that has at least the T1w and the brain mask is taken. Images may carry the entities ``acq``, ``ce``,
    ``rec`` and ``run`` of the raw file; all files of one answer carry the same. Of several such sets that is taken which carries
    those of the scan, else the one with more files, else the first by name.

    Parameters
    ----------
    derivatives : mapping
        Of `parse_derivatives`.
    participant_id, session_id : str
        The session.
    only_session : bool
        Whether the person has no other session: then images without a session are this session's as well. With several they
        are an average over sessions, which is not taken.
    scan : str
        File name of the raw scan.

    Returns
    -------
    Reused or None
    """
    parsed = parse_name(scan)
    kept = io_spec()["reuse_entities"]
    own = "".join(f"_{key}-{value}" for key, value in parsed.entities.items() if key in kept) if parsed else ""
    for name, root in derivatives.items():
        places = [(session_id, root / participant_id / session_id / "anat")] if session_id else []
        if session_id is None or only_session:
            places.append((None, root / participant_id / "anat"))
        for session, folder in places:
            groups = _groups(folder, participant_id, session)
            complete = {extra: _usable(files) for extra, files in groups.items() if all(key in files for key in REQUIRED)}
            if complete:
                extra = min(complete, key=lambda extra: (extra != own, -len(complete[extra]), extra))
                return Reused(name, root, complete[extra])
    return None


def _usable(files: Mapping[str, Path]) -> dict[str, Path]:
    """Leave tissues out unless all three maps are there."""
    whole = all(key in files for key in TISSUE_MAPS)
    return {key: path for key, path in files.items() if whole or key in REQUIRED}


def _groups(folder: Path, participant_id: str, session_id: str | None) -> dict[str, dict[str, Path]]:
    """Return the files of a folder by their further entities, then by key of ``reuse`` in the name table."""
    spec = io_spec()
    groups: dict[str, dict[str, Path]] = {}
    try:
        names = sorted(os.listdir(folder), reverse=True)  # so that of x.nii and x.nii.gz the first stays
    except (FileNotFoundError, NotADirectoryError):
        return groups
    for key, wanted in spec["reuse"].items():
        pattern = name_pattern(wanted["key"], tuple(spec["reuse_entities"]))
        for name in names:
            match = pattern.fullmatch(name)
            if match is None or (match["participant"], match["session"]) != (participant_id, session_id):
                continue
            if all(match[entity] == value for entity, value in wanted.get("entities", {}).items()) and (folder / name).is_file():
                groups.setdefault(match["extra"], {})[key] = folder / name
    return {extra: dict(sorted(found.items(), key=lambda item: list(spec["reuse"]).index(item[0]))) for extra, found in groups.items()}
