"""``heads.json``: what a model folder says beside its card and its weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from brainage_bids.files import parse_json
from brainage_bids.models.registry import HEADS, ModelFolder
from brainage_bids.records import BadConfiguration

if TYPE_CHECKING:
    import numpy as np

NETWORK_FORMAT = 1
"""Version of the layout of ``heads.json`` and the weights of a network."""


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
        heads = parse_json(data)
    except ValueError as error:
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


def describe_network(folder: ModelFolder) -> list[str]:
    """What is done to an image before a network sees it, and what the network is made of, one sentence each.

    Parameters and errors as in `read_heads`.
    """
    heads = read_heads(folder, folder.card.kind, NETWORK_FORMAT)
    try:
        steps = [_call(item["step"], {name: value for name, value in item.items() if name != "step"}) for item in heads["steps"]]
        made = _call(folder.card.kind, heads["architecture"])
    except (KeyError, TypeError, AttributeError) as error:
        raise BadConfiguration(f"The heads.json of the model {folder.card.name} is not as it should be ({error!r}).") from error
    said = [f"Before the network sees an image: {', '.join(steps) or 'nothing is done'}.", f"The network is {made}."]
    if any(item["step"] == "part" for item in heads["steps"]):
        from brainage_bids.imaging.brain_parts import parts_words

        said.append(parts_words())
    return said


def _call(name: str, values: Mapping[str, Any]) -> str:
    """A name and its arguments.

    >>> _call("crop", {"start": [7, 8, 0]}), _call("brain", {})
    ('crop (start=[7, 8, 0])', 'brain')
    """
    return f"{name} ({', '.join(f'{key}={value}' for key, value in values.items())})" if values else name
