"""Objects of this room as JSON files, so that a fit can be looked at, kept beside a model and used again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar

from brainage_bids.bids.sink import sink_text
from brainage_bids.files import read_json
from brainage_bids.records import BadConfiguration

LAYOUT = 1
Fitted = TypeVar("Fitted")


def save(fitted: Any, path: Path | str) -> Path:
    """Write a fitted object: its kind, the version of the layout, and every field.

    Raises
    ------
    BadConfiguration
        If a number is not finite.
    OSError
        If the file cannot be written.
    """
    content = {"kind": type(fitted).__name__, "format": LAYOUT, **{field.name: getattr(fitted, field.name) for field in fields(fitted)}}
    try:
        text = json.dumps(content, indent=1, allow_nan=False, default=_plain)
    except ValueError as error:
        raise BadConfiguration(f"{type(fitted).__name__} holds a number that is not finite and is not saved ({error}).") from error
    return sink_text(text + "\n", path)


def load(kind: type[Fitted], path: Path | str) -> Fitted:
    """Read an object of a kind that was saved.

    Raises
    ------
    BadConfiguration
        If the file is missing, no JSON, of another kind or layout, or lacks a field that has no default (a field that a later version
        added has one).
    """
    path = Path(path)
    try:
        content = read_json(path)
    except (OSError, ValueError) as error:
        raise BadConfiguration(f"{path} cannot be read as JSON ({error}).") from error
    if not isinstance(content, dict) or content.get("kind") != kind.__name__:
        found = content.get("kind") if isinstance(content, dict) else type(content).__name__
        raise BadConfiguration(f"{path} holds {found!r}, not a {kind.__name__}; give the file that was written by one.")
    if content.get("format") != LAYOUT:
        raise BadConfiguration(f"{path} has the layout {content.get('format')!r}; this version reads {LAYOUT}.")
    names = {field.name for field in fields(kind)}
    lacking = {field.name for field in fields(kind) if field.default is MISSING} - content.keys()
    if lacking:
        raise BadConfiguration(f"{path} lacks {', '.join(sorted(lacking))}.")
    return kind(**{name: _frozen(content[name]) for name in names & content.keys()})


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return value.tolist()
    if is_dataclass(value):
        return {field.name: getattr(value, field.name) for field in fields(value)}
    raise TypeError(f"{type(value).__name__} cannot be saved")


def _frozen(value: Any) -> Any:
    """Lists as tuples at every depth, as the frozen objects hold them."""
    if isinstance(value, list):
        return tuple(_frozen(item) for item in value)
    return {key: _frozen(item) for key, item in value.items()} if isinstance(value, Mapping) else value
