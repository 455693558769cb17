"""``heads.json``: what a model folder says beside its card and its weights."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from brainage_bids.models.registry import HEADS, ModelFolder
from brainage_bids.records import BadConfiguration

if TYPE_CHECKING:
    import numpy as np


def read_heads(folder: ModelFolder, kind: str, layout: int) -> dict[str, Any]:
    """Content of ``heads.json``, its SHA-256 checked.

    Parameters
    ----------
    folder : ModelFolder
        The model.
    kind : str
        Kind of models that the caller reads.
    layout : int
        Version of the layout that the caller reads (``format``).

    Raises
    ------
    BadConfiguration
        If it is no JSON object, altered, or of another kind or layout.
    """
    data = folder.read(HEADS)
    try:
        heads = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise BadConfiguration(f"The heads.json of the model {folder.card.name} is no valid JSON ({error}).") from error
    if not isinstance(heads, dict):
        raise BadConfiguration(f"The heads.json of the model {folder.card.name} holds no object.")
    if heads.get("kind") != kind or heads.get("format") != layout:
        found = f"kind {heads.get('kind')!r}, format {heads.get('format')!r}"
        raise BadConfiguration(f"The model {folder.card.name} has {found}; this version reads kind {kind!r}, format {layout}.")
    return heads


def arrays_under(arrays: Mapping[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    """The arrays whose names start with a prefix, by the rest of their names."""
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
