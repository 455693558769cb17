"""Names of files, written and found by one table (``data/io_spec.json``)."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, lru_cache
from importlib.resources import files
from pathlib import Path

from brainage_bids.modalities import COREGISTERED, MODALITIES

LABEL = re.compile(r"[A-Za-z0-9+]+")
LONG_ENTITIES: Mapping[str, str] = {
    "sub": "subject", "ses": "session", "acq": "acquisition", "ce": "ceagent", "rec": "reconstruction", "dir": "direction",
    "res": "resolution", "desc": "description", "seg": "segmentation", "mod": "modality",
}  # fmt: skip
"""Entities whose long name differs from the key in the file name; all others are called alike."""


@dataclass(frozen=True)
class BIDSName:
    """A file name taken apart: ``sub-01_run-2_T1w.nii.gz`` has entities, a suffix and an extension."""

    entities: Mapping[str, str]  # by the key of the file name: {"sub": "01", "run": "2"}
    suffix: str
    extension: str

    def long_entities(self) -> dict[str, str]:
        """Return the entities by long name (``subject``, ``acquisition``…)."""
        return {LONG_ENTITIES.get(key, key): value for key, value in self.entities.items()}


@dataclass(frozen=True)
class Derivative:
    """A file found by `find_derivatives`."""

    path: Path
    participant_id: str
    session_id: str | None
    entities: Mapping[str, str] = field(default_factory=dict)  # those that vary in the name: {"label": "GM"}


@lru_cache(maxsize=1)
def io_spec() -> dict:
    """Return the name table: ``data/io_spec.json``, with what follows from `modalities.MODALITIES`.

    ``queries`` and ``filter_keys`` find raw files in ``folders``; the entities ``modality`` (registered to the T1w) and ``image`` have
    the suffixes as ``values``; ``bidsignore`` has a line for each suffix beyond BIDS.
    """
    spec = json.loads(files("brainage_bids").joinpath("data", "io_spec.json").read_text(encoding="utf-8"))
    rows = MODALITIES.values()
    spec["queries"] = {row.suffix: row.query for row in rows}
    spec["filter_keys"] = {row.key: row.suffix for row in rows}
    spec["folders"] = list(dict.fromkeys(folder for row in rows for folder in row.folders))
    spec["values"] |= {"modality": list(COREGISTERED), "image": list(MODALITIES)}
    beyond = [row.suffix for row in rows if not row.in_bids]
    lines = [[line.format(beyond_bids=suffix) for suffix in beyond] if "{" in line else [line] for line in spec["bidsignore"]]
    spec["bidsignore"] = [line for group in lines for line in group]
    return spec


def with_prefix(label: str, prefix: str) -> str:
    """Return an identifier with its prefix, whether it was given with it or without.

    >>> with_prefix("01", "sub-"), with_prefix(" sub-01", "sub-")
    ('sub-01', 'sub-01')
    """
    label = label.strip()
    return label if label.startswith(prefix) else prefix + label


def parse_name(name: str) -> BIDSName | None:
    """Take a BIDS file name apart.

    Parameters
    ----------
    name : str
        A file name without folders.

    Returns
    -------
    BIDSName or None
        None if the name does not consist of ``key-value`` pairs, a suffix and an extension, or repeats a key.

    >>> parse_name("sub-01_acq-mprage_T1w.nii.gz").entities
    {'sub': '01', 'acq': 'mprage'}
    """
    stem, dot, extension = name.partition(".")
    *pairs, suffix = stem.split("_")
    if not dot or not re.fullmatch("[A-Za-z0-9]+", suffix):
        return None
    entities: dict[str, str] = {}
    for pair in pairs:
        key, dash, value = pair.partition("-")
        if not dash or not key or key in entities or not LABEL.fullmatch(value):
            return None
        entities[key] = value
    return BIDSName(entities, suffix, dot + extension)


def derivative_path(out_dir: Path | str, key: str, participant_id: str, session_id: str | None = None, **entities: str) -> Path:
    """Return where an output of a session lies.

    Parameters
    ----------
    out_dir : Path
        Root of the derivatives dataset.
    key : str
        A key of ``outputs`` in the name table (``preproc``, ``probseg``, ``figures``…).
    participant_id, session_id : str
        ``sub-X`` and ``ses-Y`` (None in a dataset without sessions).
    **entities : str
        Values of the entities in the name (``label="GM"``, ``res="1"``); those with a default may be left out.

    Raises
    ------
    ValueError
        For a key, identifier, entity or value that is not in the table, and for an entity without a value.

    >>> derivative_path("out", "probseg", "sub-01", "ses-1", label="GM").as_posix()
    'out/sub-01/ses-1/anat/sub-01_ses-1_label-GM_probseg.nii.gz'
    """
    output = _output(key)
    _check_identifiers(participant_id, session_id)
    values = _entity_values(key, output["name"], entities)
    folder = Path(out_dir) / participant_id
    if session_id and output["folder"] != "figures":
        folder /= session_id
    base = participant_id + (f"_{session_id}" if session_id else "")
    return folder / output["folder"] / output["name"].format(base=base, **values)


def find_derivatives(
    root: Path | str, key: str, participant_id: str | None = None, session_id: str | None = None, **entities: str
) -> list[Derivative]:
    """Find the outputs of one key by a plain walk over the folders that can hold them.

    Parameters
    ----------
    root : Path
        A derivatives dataset, ours or one whose names follow the same table.
    key : str
        A key of ``outputs`` in the name table.
    participant_id, session_id : str, optional
        Only this person, only this visit; all of them if left out.
    **entities : str
        Only files with these values.

    Returns
    -------
    list of Derivative
        Sorted by person, visit and name. A file under the name that an earlier version gave it counts where its own is not there.
    """
    output = _output(key)
    patterns = [name_pattern(key), *([_pattern(output["former"])] if "former" in output else [])]
    found: dict[tuple, Derivative] = {}
    for participant, session, folder in _folders(Path(root), output["folder"], participant_id):
        matches = [(name, match) for pattern in patterns for name in _names(folder) if (match := pattern.fullmatch(name))]
        for name, match in matches:
            values = match.groupdict()
            file_session = values.pop("session")
            if values.pop("participant") != participant or (session and file_session != session):
                continue
            if session_id is not None and file_session != session_id:
                continue
            if any(values.get(entity) != value for entity, value in entities.items()):
                continue
            found.setdefault((folder, file_session, *values.items()), Derivative(folder / name, participant, file_session, values))
    return sorted(found.values(), key=lambda item: (item.participant_id, item.session_id or "", item.path.name))


def session_folders(root: Path, participant_id: str) -> list[str]:
    """Return the ``ses-Y`` folders of a person, sorted; empty without sessions.

    Names that are not valid BIDS labels are left out.
    """
    return [name for name in directories(root / participant_id) if re.fullmatch("ses-" + LABEL.pattern, name)]


def participant_folders(root: Path) -> list[str]:
    """Return the ``sub-X`` folders of a dataset, sorted; one listing, nothing below is touched.

    Names that are not valid BIDS labels are left out.
    """
    return [name for name in directories(root) if re.fullmatch("sub-" + LABEL.pattern, name)]


def _output(key: str) -> dict:
    outputs = io_spec()["outputs"]
    if key not in outputs:
        raise ValueError(f"There is no output called {key!r}; known are {', '.join(outputs)}.")
    return outputs[key]


def _check_identifiers(participant_id: str, session_id: str | None) -> None:
    for prefix, value in (("sub-", participant_id), ("ses-", session_id)):
        if value is not None and not re.fullmatch(prefix + LABEL.pattern, value):
            raise ValueError(f"{value!r} is not a BIDS identifier of the form {prefix}<letters and digits>.")


def _entity_values(key: str, name: str, entities: Mapping[str, str]) -> dict[str, str]:
    """Fill defaults and check values against the table."""
    wanted = [entity for entity in re.findall(r"{(\w+)}", name) if entity != "base"]
    unknown = set(entities) - set(wanted)
    if unknown:
        raise ValueError(f"The name of {key!r} has no entity {', '.join(sorted(unknown))}.")
    values = {}
    for entity in wanted:
        value = entities.get(entity, io_spec()["defaults"].get(entity))
        if value is None:
            raise ValueError(f"The name of {key!r} needs a value for {entity!r}.")
        allowed = io_spec()["values"].get(entity)
        if allowed is not None and value not in allowed:
            raise ValueError(f"{value!r} is no value of {entity!r} in the name of {key!r}; known are {', '.join(allowed)}.")
        if not (re.fullmatch(r"(\.[a-z0-9]+)+", value) if entity == "extension" else LABEL.fullmatch(value)):
            raise ValueError(f"{value!r} cannot be the value of {entity!r} in a file name: letters and digits only.")
        values[entity] = value
    return values


def name_pattern(key: str, extra: tuple[str, ...] = ()) -> re.Pattern:
    """Turn a name of the table into a pattern; ``extra`` entities may follow the base (names of other apps).

    With ``extra`` an uncompressed image counts as well.
    """
    return _pattern(_output(key)["name"], extra)


@cache
def _pattern(name: str, extra: tuple[str, ...] = ()) -> re.Pattern:
    parts = re.split(r"({\w+})", name)
    pattern = ""
    for part in parts:
        entity = part[1:-1]
        if part == "{base}":
            pattern += f"(?P<participant>sub-{LABEL.pattern})(?:_(?P<session>ses-{LABEL.pattern}))?"
            if extra:
                pattern += f"(?P<extra>(?:_(?:{'|'.join(extra)})-{LABEL.pattern})*)"
        elif part.startswith("{"):
            value = r"(?:\.[a-z0-9]+)+" if entity == "extension" else "|".join(io_spec()["values"].get(entity, [LABEL.pattern]))
            pattern += f"(?P<{entity}>{value})"
        else:
            pattern += re.escape(part)
    if extra and pattern.endswith(re.escape(".nii.gz")):
        pattern = pattern.removesuffix(re.escape(".gz")) + r"(?:\.gz)?"
    return re.compile(pattern)


def _folders(root: Path, folder: str, participant_id: str | None) -> Iterator[tuple[str, str | None, Path]]:
    """Yield (person, visit of the folder, folder) for every folder that can hold such files."""
    participants = participant_folders(root) if participant_id is None else [participant_id]
    for participant in participants:
        yield participant, None, root / participant / folder
        if folder != "figures":
            for session in session_folders(root, participant):
                yield participant, session, root / participant / session / folder


def directories(folder: Path) -> list[str]:
    """Return the names of the folders in a folder, sorted; empty if it is none. A link that leads nowhere is no folder."""
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.name for entry in entries if os.path.isdir(entry.path))
    except (FileNotFoundError, NotADirectoryError):
        return []


def _names(folder: Path) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return []
