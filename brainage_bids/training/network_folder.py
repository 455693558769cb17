"""Writing a network as a model folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from brainage_bids.models.card import ModelCard
from brainage_bids.models.cardfile import CARD, card_text
from brainage_bids.models.features import block_means
from brainage_bids.models.image_contract import InputContract
from brainage_bids.models.network import NetworkModel, network_to_files
from brainage_bids.models.registry import HEADS, WEIGHTS, ModelFolder
from brainage_bids.models.selftest import EXAMPLE, EXAMPLE_ARRAYS, example_to_files, predict_example
from brainage_bids.models.weights import pack_arrays
from brainage_bids.training.folder import check_place, json_bytes, place_folder, write_bytes

LARGEST_EXAMPLE = 1000.0
"""Examples are stored in half precision, which ends at 65,504; brighter ones are scaled to this."""


def write_network(
    out: Path | str,
    model: NetworkModel,
    make_card: Callable[[Mapping[str, str]], ModelCard],
    *,
    example: Mapping[str, np.ndarray] | None = None,
    kept: Mapping[str, bytes] | None = None,
    overwrite: bool = False,
) -> ModelFolder:
    """Write a model folder; it appears as a whole or not at all.

    Parameters
    ----------
    out : Path
        The folder to be; see ``folder.check_place``.
    model : NetworkModel
    make_card : callable
        From the names and sums of the files to the card.
    example : mapping of str to ndarray, optional
        Cell means of each input for the self-test; by default a painted one.
    kept : mapping of str to bytes, optional
        Further files (``history.tsv``).
    overwrite : bool

    Raises
    ------
    BadConfiguration
        If the place is taken.
    """
    check_place(out, overwrite)
    cells = {contract.key: _in_range((example or {}).get(contract.key, painted(contract))) for contract in model.inputs}

    def write(folder: Path) -> ModelCard:
        arrays, heads = network_to_files(model)
        example_arrays, content = example_to_files(cells, {})
        files = {
            WEIGHTS: write_bytes(folder / WEIGHTS, pack_arrays(arrays)),
            HEADS: write_bytes(folder / HEADS, json_bytes(heads)),
            EXAMPLE_ARRAYS: write_bytes(folder / EXAMPLE_ARRAYS, pack_arrays(example_arrays)),
            **{name: write_bytes(folder / name, data) for name, data in (kept or {}).items()},
        }
        card = make_card(files)
        expected = predict_example(ModelFolder(folder, card), example_arrays, {})
        content.update(brain_age=expected.mean, sd=expected.sd or 0.0)
        card = replace(card, files={**files, EXAMPLE: write_bytes(folder / EXAMPLE, json_bytes(content))})
        write_bytes(folder / CARD, card_text(card).encode())
        return card

    return place_folder(out, write)


def painted(contract: InputContract) -> np.ndarray:
    """Cell means of a ball that fills the grid, brighter inside: an example where no person's mean is at hand."""
    axes = [np.linspace(-1.0, 1.0, n) for n in contract.shape]
    distance = np.sqrt(sum(axis**2 for axis in np.meshgrid(*axes, indexing="ij", sparse=True)))
    return block_means(np.clip(1.2 - distance, 0, None).astype(np.float32), contract.voxel_mm)


def _in_range(cells: np.ndarray) -> np.ndarray:
    top = float(np.abs(cells).max())
    return cells if top <= 6e4 else cells * (LARGEST_EXAMPLE / top)
