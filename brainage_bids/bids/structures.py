"""The table of what each structure says to a model, ``B_model-M_desc-structures_stats.tsv``: a row a structure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from brainage_bids.bids.sidecars import table_columns
from brainage_bids.bids.tables import read_values

COLUMNS = table_columns("structures")
"""Columns of the table, in their order, with their descriptions."""
_TEXTS = frozenset({"structure", "label"})
_DECIMALS = {"volume_mm3": 1, "mapped_mm3": 1, "contribution_years": 3}
"""Decimals that are written; shares and their norms have five."""


def structure_rows(readings: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows of the table.

    Parameters
    ----------
    readings : iterable of mapping
        Every column of `COLUMNS`; None where nothing is known.

    Examples
    --------
    >>> reading = dict.fromkeys(COLUMNS) | {"structure": "brain", "label": "brain size", "volume_mm3": 1047123.456}
    >>> structure_rows([reading])[0]["volume_mm3"]
    1047123.5
    """
    return [{name: _rounded(name, reading[name]) for name in COLUMNS} for reading in readings]


def read_structure_rows(path: Path | str) -> list[dict[str, Any]]:
    """Read a table back in the form of `structure_rows`.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If a cell that must be a number is none.
    """
    return read_values(path, _TEXTS)


def _rounded(name: str, value: Any) -> Any:
    return value if value is None or name in _TEXTS else round(float(value), _DECIMALS.get(name, 5))
