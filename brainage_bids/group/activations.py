"""What follows the layers of the cohort's networks, read from the folders of models that are at hand."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from brainage_bids.group.cohort import Cohort
from brainage_bids.group.fitted import weights_of
from brainage_bids.models.registry import HEADS, WEIGHTS, ModelFolder, list_models
from brainage_bids.records import BadConfiguration

_OF_KIND = {"resnet": "ELU", "vgg8": "ReLU", "sfcn": "ReLU", "slices": "ReLU", "encoder3d": "ReLU"}
_LEAK = 0.2
"""Slope of an `mrinet` whose file does not tell it, as in ``models.nets.mrinet``."""


def activations_of(cohort: Cohort) -> dict[str, str]:
    """Activation of each model whose folder is found by the SHA-256 of its weights, in ``--model-dir``, the environment's, or the package.

    A model that is no network, or whose folder is not here, is not in it.
    """
    folders, _ = list_models(cohort.settings.model_dirs)
    by_weights = {folder.card.files.get(WEIGHTS): folder for folder in folders if WEIGHTS in folder.card.files}
    found = {}
    for name, sha in weights_of(cohort).items():
        try:
            words = _activation(by_weights[sha]) if sha in by_weights else ""
        except BadConfiguration as error:
            cohort.warnings.append(f"What follows the layers of the model {name} is not told: {error}")
            continue
        if words:
            found[name] = words
    return found


def _activation(folder: ModelFolder) -> str:
    return activation_words(folder.card.kind, json.loads(folder.read(HEADS)).get("architecture") or {})


def activation_words(kind: str, architecture: Mapping[str, Any]) -> str:
    """The activation of a kind of network; empty for a kind without.

    >>> activation_words("mrinet", {"leak": 0.0}), activation_words("mrinet", {}), activation_words("gpr", {})
    ('ReLU', 'leaky ReLU 0.2', '')
    """
    if kind != "mrinet":
        return _OF_KIND.get(kind, "")
    leak = float(architecture.get("leak", _LEAK))
    return f"leaky ReLU {leak:g}" if leak > 0 else "ReLU"
