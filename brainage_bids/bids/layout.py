"""The pybids rim: asks a raw dataset for files, looking only where an answer can be."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Collection, Mapping, Sequence
from fnmatch import fnmatchcase
from importlib.resources import files
from pathlib import Path
from typing import Any

from brainage_bids.bids.names import LONG_ENTITIES, io_spec, participant_folders, with_prefix
from brainage_bids.files import INDEX, JSON, open_file, read_json
from brainage_bids.records import BadConfiguration, BadDataset

Filters = Mapping[str, Mapping[str, Any]]
"""Modality to entity filters, as pybids takes them."""


_SETTINGS = "pybids_config.json"
"""What pybids reads when it is imported, in the home folder and in the current one."""


class FolderGate:
    """Keeps pybids out of all folders but those of some participants that can hold images of interest.

    pybids asks each pattern of ``ignore`` by ``search(path)`` before it descends into a folder; this stands in for such a
    pattern, in constant time however many participants there are.

    Parameters
    ----------
    participants : collection of str
        The ``sub-X`` folders to enter.
    folders : collection of str
        Patterns of the datatype folders to enter (``anat``, ``swi*``).
    """

    def __init__(self, participants: Collection[str], folders: Collection[str]) -> None:
        self.participants = frozenset(participants)
        self.folders = tuple(folders)

    def search(self, path: str) -> bool:
        """Tell whether a path, as seen from the root of the dataset, is to be ignored.

        >>> gate = FolderGate({"sub-01"}, ("anat", "swi*"))
        >>> [gate.search(p) for p in ("/sub-01/ses-1/anat/x.nii", "/sub-02", "/sub-01/func", "/sub-01/anat/a/b")]
        [False, True, True, True]
        """
        participant, *inner = path.strip("/").split("/")
        if participant not in self.participants:
            return True
        if inner and inner[0].startswith("ses-") and not inner[0].endswith(".tsv"):
            inner = inner[1:]
        return bool(inner) and (len(inner) > 2 or not any(fnmatchcase(inner[0], folder) for folder in self.folders))


def find_images(
    bids_dir: Path,
    participants: Collection[str],
    modalities: Sequence[str],
    filters: Filters | None = None,
    database_dir: Path | None = None,
) -> dict[str, list[Path]]:
    """Ask pybids for the images of some modalities.

    Parameters
    ----------
    bids_dir : Path
        The raw dataset, absolute.
    participants : collection of str
        Whose folders to look into.
    modalities : sequence of str
        Keys of ``queries`` in the name table (``T1w``).
    filters : mapping, optional
        Of `read_filters`; an entity in it replaces the one of the query.
    database_dir : Path, optional
        Where pybids keeps its index between runs. It then holds the whole dataset, whoever is asked for.

    Returns
    -------
    dict of str to list of Path
        By modality, sorted.

    Raises
    ------
    BadDataset
        If pybids cannot index the dataset.
    BadConfiguration
        If the database belongs to another dataset or cannot be used, or a filter is not one that pybids knows.
    """
    from sqlalchemy.exc import SQLAlchemyError

    layout = _layout(bids_dir, participants, database_dir)
    found = {}
    try:
        for modality in modalities:
            query = {**io_spec()["queries"][modality], **(filters or {}).get(modality, {})}
            found[modality] = layout.get(return_type="filename", **{key: _pybids_value(value) for key, value in query.items()})
    except SQLAlchemyError as error:  # such as a regular expression that is none
        raise BadConfiguration(f"The filters for {modality} cannot be used ({type(error).__name__}); check --bids-filter-file.") from error
    finally:
        layout.connection_manager.session.close()
        layout.connection_manager.engine.dispose()
    wanted = set(participants)

    def ours(paths: Sequence[str]) -> list[Path]:
        inside = [bids_dir / Path(path).relative_to(layout.root) for path in paths]  # an index may know the folder by another name
        return sorted(path for path in inside if path.relative_to(bids_dir).parts[0] in wanted and os.path.lexists(path))

    return {modality: ours(paths) for modality, paths in found.items()}


def read_filters(path: Path | str) -> dict[str, dict[str, Any]]:
    """Read a filter file (``--bids-filter-file``).

    Keys are modalities in lower case (``t1w``), values objects of entity and value: a scalar, a list, null or
    ``"Query.NONE"`` (the entity must be absent), ``"*"`` or ``"Query.ANY"`` (any value), ``"Query.OPTIONAL"``. Entities may
    be called by long name (``acquisition``) or as in file names (``acq``). Keys for modalities that are not used here
    (``bold``, …) are left out, so that a file made for fMRIPrep works.

    Returns
    -------
    dict
        Modality (``T1w``) to filters by long name, null for "must be absent".

    Raises
    ------
    BadConfiguration
        If the file cannot be read, or a key, entity or value is not known.
    """
    path = Path(path)
    try:
        content = read_json(path)
    except (OSError, ValueError) as error:
        raise BadConfiguration(f"The filter file {path} cannot be read as JSON ({error}); check --bids-filter-file.") from error
    return check_filters(content, path.name)


def check_filters(content: Any, where: str = "the filters") -> dict[str, dict[str, Any]]:
    """Check filters and bring them to one form; see `read_filters`."""
    spec = io_spec()
    if not isinstance(content, Mapping) or not all(isinstance(value, Mapping) for value in content.values()):
        raise BadConfiguration(f"In {where}, each modality must have an object of entities and values, such as {{'t1w': {{'run': 1}}}}.")
    known = _known_entities()
    filters: dict[str, dict[str, Any]] = {}
    for key, entities in content.items():
        modality = spec["filter_keys"].get(key.lower())
        if modality is None:
            if key.lower() in spec["filter_keys_without_use"]:
                continue
            raise BadConfiguration(f"In {where}, {key!r} is no modality; known are {', '.join(spec['filter_keys'])}.")
        chosen = filters.setdefault(modality, {})
        for entity, value in entities.items():
            name = LONG_ENTITIES.get(entity, entity) if entity != "desc" else entity
            if name not in known:
                raise BadConfiguration(f"In {where}, {entity!r} is no entity of a {modality} image; known are {', '.join(sorted(known))}.")
            chosen[name] = _checked_value(name, value, where)
    return filters


def _known_entities() -> set[str]:
    spec = json.loads(files("brainage_bids").joinpath("data", "bids_entities.json").read_text(encoding="utf-8"))
    return {entity["name"] for entity in spec["entities"]} | {"regex_search"}


def _checked_value(name: str, value: Any, where: str) -> Any:
    if name == "regex_search":
        if not isinstance(value, bool):
            raise BadConfiguration(f"In {where}, regex_search must be true or false.")
        return value
    values = value if isinstance(value, list) else [value]
    if not values or any(isinstance(item, bool) or not (item is None or isinstance(item, str | int)) for item in values):
        raise BadConfiguration(f"In {where}, {name} must be a text, a number, null or a list of these.")
    prefix = {"subject": "sub-", "session": "ses-"}.get(name)
    if prefix is not None:
        values = [
            with_prefix(item, prefix).removeprefix(prefix) if isinstance(item, str) and _query(item) is None else item for item in values
        ]
    return values if isinstance(value, list) else values[0]


def _query(value: Any) -> str | None:
    """Return the name of pybids' query that a value stands for."""
    if value is None:
        return "NONE"
    if value == "*":
        return "ANY"
    match = re.fullmatch(r"<?Query\.(NONE|ANY|REQUIRED|OPTIONAL)(?::\s*\d+>)?", value) if isinstance(value, str) else None
    return match[1] if match else None


def _pybids_value(value: Any) -> Any:
    from bids.layout import Query

    if isinstance(value, list):
        return [_pybids_value(item) for item in value]
    query = _query(value)
    return value if query is None else Query[query]


def _check_readable(bids_dir: Path, database_dir: Path | None) -> None:
    """Refuse what pybids would stumble over or wait for without end: it opens these files whatever they are.

    Raises
    ------
    BadDataset, BadConfiguration
        If a file is there that is none to be read.
    """
    try:
        with open_file(bids_dir / "dataset_description.json", JSON):
            pass
    except FileNotFoundError:
        pass
    except OSError as error:
        raise BadDataset(f"dataset_description.json of {bids_dir} cannot be read ({error.strerror}); replace it.") from error
    for settings in (Path.home() / _SETTINGS, Path(_SETTINGS), *map(Path, filter(None, [os.environ.get("PYBIDS_CONFIG")]))):
        try:
            if not isinstance(read_json(settings), dict):
                raise ValueError("it holds no object")
        except (FileNotFoundError, NotADirectoryError):
            pass
        except (OSError, ValueError) as error:
            raise BadConfiguration(f"The settings of pybids in {settings} cannot be used ({error}); correct or remove them.") from error
    try:
        for path in database_dir.glob("layout_*") if database_dir is not None else ():
            with open_file(path, INDEX):
                pass
    except OSError as error:
        raise BadConfiguration(
            f"The index in {database_dir} cannot be used ({error.strerror}); delete it or leave --bids-database-dir out."
        ) from error


def _layout(bids_dir: Path, participants: Collection[str], database_dir: Path | None) -> Any:
    folders: Sequence[str] = io_spec()["folders"]
    _check_readable(bids_dir, database_dir)
    from bids.layout import BIDSLayout, BIDSLayoutIndexer
    from sqlalchemy.exc import SQLAlchemyError

    if database_dir is not None:
        participants = participant_folders(bids_dir)
    indexer = BIDSLayoutIndexer(validate=False, index_metadata=False, ignore=[FolderGate(participants, folders)])
    config = Path(str(files("brainage_bids").joinpath("data", "bids_entities.json")))
    try:
        layout = BIDSLayout(
            bids_dir, validate=False, config=[config], indexer=indexer, database_path=None if database_dir is None else str(database_dir)
        )
    except UnicodeEncodeError as error:
        raise BadDataset(f"A file name in {bids_dir} is not UTF-8 ({error.object!r}); rename that file.") from error
    except (AttributeError, TypeError, ValueError, RecursionError) as error:  # what pybids raises for fields that it does not expect
        raise BadDataset(f"dataset_description.json of {bids_dir} is malformed ({error}); correct it.") from error
    except SQLAlchemyError as error:
        raise BadConfiguration(
            f"The index in {database_dir} cannot be used ({type(error).__name__}); delete it or leave --bids-database-dir out."
        ) from error
    if Path(layout.root).resolve() != bids_dir.resolve():
        raise BadConfiguration(
            f"The index in {database_dir} belongs to {layout.root}, not to {bids_dir}; give another --bids-database-dir."
        )
    return layout
