"""Model folders: card, registry, weights, input contract and inference of an age."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from brainage_bids.models.reading import AgeModel
    from brainage_bids.models.registry import ModelFolder


def load_model(folder: ModelFolder | Path | str, *, device: str = "cpu", precision: str = "float32") -> AgeModel:
    """Load a model folder; networks then give the age of an array by ``predict_array`` (other kinds refuse).

    Parameters
    ----------
    folder : ModelFolder or Path
    device, precision : str
        Of networks: ``cpu``, ``cuda`` or ``auto``, and ``float32`` or ``bfloat16`` (of the convolutions; the age is float32 always).

    Raises
    ------
    BadConfiguration
        If there is no model or it cannot be used.
    """
    from brainage_bids.models.inference import load_model as load
    from brainage_bids.models.registry import ModelFolder, open_model

    return load(folder if isinstance(folder, ModelFolder) else open_model(folder), device=device, precision=precision)
