"""What stands in the JSON file beside every output (the fixed parts are in ``data/sidecars.json``)."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Mapping
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import quote

from brainage_bids.bids.names import derivative_path, io_spec
from brainage_bids.modalities import MODALITIES
from brainage_bids.records import FLAGS


@lru_cache(maxsize=1)
def _table() -> dict:
    return json.loads(files("brainage_bids").joinpath("data", "sidecars.json").read_text(encoding="utf-8"))


def bids_uri(path: Path | str, roots: Mapping[str, Path]) -> str:
    """Return the BIDS URI of a file.

    Parameters
    ----------
    path : Path
        A file in one of the datasets.
    roots : mapping
        Name of a dataset, as in ``DatasetLinks`` (``raw``), to its folder; the empty name is the dataset being written.

    Raises
    ------
    ValueError
        If the file is in none of them.

    >>> bids_uri("/data/ds/sub-01/anat/sub-01_T1w.nii.gz", {"raw": Path("/data/ds")})
    'bids:raw:sub-01/anat/sub-01_T1w.nii.gz'
    """
    path = Path(path)
    inside = [(len(root.parts), name, root) for name, root in roots.items() if path.is_relative_to(root)]
    if not inside:
        raise ValueError(f"{path} is in none of the datasets {', '.join(map(str, roots.values()))}.")
    _, name, root = max(inside)
    return f"bids:{name}:{quote(path.relative_to(root).as_posix(), safe='/+')}"


def image_sidecar(
    key: str,
    participant_id: str,
    session_id: str | None = None,
    *,
    sources: Iterable[str],
    skull_stripped: bool | None = None,
    extra: Mapping[str, Any] | None = None,
    **entities: str,
) -> dict[str, Any]:
    """Return the sidecar of an image or transform.

    Parameters
    ----------
    key : str
        A key of the name table (``preproc``, ``probseg``…).
    participant_id, session_id : str
        Whose it is.
    sources : iterable of str
        BIDS URIs of the files it was made from; see `bids_uri`.
    skull_stripped : bool, optional
        Whether the image shows the brain alone; needed for what is scanned, where BIDS requires it.
    extra : mapping, optional
        Further fields.
    **entities : str
        As for the name (``label="GM"``, ``res="1"``).

    Returns
    -------
    dict
        A ``dseg`` carries the description of the columns of its lookup table too, with which it shares the JSON file.

    Raises
    ------
    ValueError
        If the key has no sidecar, or ``skull_stripped`` is missing.
    """
    table = _table()
    if key not in table["files"]:
        raise ValueError(f"There is no sidecar for {key!r}; known are {', '.join(table['files'])}.")
    path = derivative_path(Path(), key, participant_id, session_id, **entities)
    fixed = table["files"][key]
    tissue = table["tissues"].get(entities.get("label", ""), "")
    white = f"{MODALITIES[entities['image']].white:g}" if "image" in entities else ""
    content = {
        "Description": fixed["Description"].format_map({"tissue": tissue, "white": white} | entities),
        "Sources": list(sources),
        "Type": fixed.get("Type"),
    }
    if path.name.endswith(tuple(f"_{suffix}.nii.gz" for suffix in MODALITIES)):
        if skull_stripped is None:
            raise ValueError(f"The sidecar of {key!r} must say whether the skull is stripped.")
        content["SkullStripped"] = skull_stripped
    space = entities.get("space", io_spec()["defaults"]["space"])
    if not fixed.get("native"):
        content["SpatialReference"] = table["spatial_reference"].get(space)
    elif key != "preproc":
        content["SpatialReference"] = f"bids::{derivative_path(Path(), 'preproc', participant_id, session_id).as_posix()}"
    resolution = path.name.partition("_res-")[2].partition("_")[0]
    if resolution:
        content["Resolution"] = fixed.get("Resolution", table["resolution"][resolution])
    if "columns" in fixed:
        content.update(table_columns(fixed["columns"]))
    return {**{name: value for name, value in content.items() if value is not None}, **(extra or {})}


def table_columns(key: str) -> dict[str, dict[str, Any]]:
    """Return the descriptions of the columns of a table.

    Parameters
    ----------
    key : str
        ``lookup``, ``volumes``, ``volumes_atlas``, ``qc``, ``brainage`` or ``structures``.

    Returns
    -------
    dict
        Column to its description. Columns of flags list every code with its meaning.

    Raises
    ------
    ValueError
        If there is no such table.
    """
    columns = _table()["columns"]
    if key not in columns:
        raise ValueError(f"There are no columns for {key!r}; known are {', '.join(columns)}.")
    described = copy.deepcopy(columns[key])
    for name in ("flag", "flags"):
        if name in described:
            described[name]["Levels"] = dict(FLAGS)
    return described
