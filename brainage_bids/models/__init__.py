"""Model folders: card, registry, what a model needs and gives, kinds, predictions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from brainage_bids.models.protocols import Model
    from brainage_bids.models.registry import ModelFolder


def load_model(folder: ModelFolder | Path | str, *, device: str = "cpu", precision: str = "float32") -> Model:
    """Load a model by its name or folder; networks then give the age of an array by ``predict_array``.

    Parameters
    ----------
    folder : ModelFolder, Path or str
        A name is looked for among the models that ship with the package and those of the variable ``BRAINAGE_MODEL_DIR``.
    device, precision : str
        Of networks: ``cpu``, ``cuda`` or ``auto``, and ``float32`` or ``bfloat16`` (of the convolutions; the age is float32 always).

    Raises
    ------
    BadConfiguration
        If there is no model or it cannot be used.
    """
    from brainage_bids.models.predict import load_model as load
    from brainage_bids.models.registry import ModelFolder, find_model

    return load(folder if isinstance(folder, ModelFolder) else find_model(folder), device=device, precision=precision)
