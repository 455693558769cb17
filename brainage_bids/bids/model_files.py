"""Tables and maps that models write beside their ages: one pattern of names for each, whatever the model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from brainage_bids.bids.names import Derivative, derivative_path, find_derivatives
from brainage_bids.bids.sink import sidecar_path, sink_table
from brainage_bids.bids.tables import read_json_object, read_values

TABLE = "model_table"
MAPS = ("model_map", "model_map_native")
"""Keys of the name table: maps in the space of a template, and in that of the T1w."""


@dataclass(frozen=True)
class ModelTable:
    """A table of a model as it was written.

    Attributes
    ----------
    model, key : str
        Whose, and which of its tables.
    columns : mapping
        Name to its description, in their order; the first names the rows.
    rows : tuple of mapping
        Numbers where the description has units, texts otherwise; None where there is none.
    description : str
    """

    model: str
    key: str
    columns: Mapping[str, Mapping[str, Any]]
    rows: tuple[Mapping[str, Any], ...]
    description: str = ""

    def numbers(self) -> Iterator[tuple[str, str, float]]:
        """Name of the row, column, value of all that are numbers."""
        first, *rest = self.columns
        for row in self.rows:
            for column in rest:
                if isinstance(row.get(column), float):
                    yield str(row[first]), column, row[column]


def is_number(description: Mapping[str, Any]) -> bool:
    """Tell whether a column holds numbers: it has units.

    >>> is_number({"Description": "Volume.", "Units": "mm^3"}), is_number({"Description": "Name."})
    (True, False)
    """
    return "Units" in description


def write_model_table(
    rows: Sequence[Mapping[str, Any]], columns: Mapping[str, Mapping[str, Any]], path: Path, about: Mapping[str, Any]
) -> Path:
    """Write the rows of a table of a model with the JSON file that describes its columns.

    Parameters
    ----------
    rows : sequence of mapping
        Every column; None where nothing is known.
    columns : mapping
        Name to its description.
    path : Path
        Of the key `TABLE`.
    about : mapping
        Further fields of the JSON file.

    Raises
    ------
    ValueError
        If a row has other columns.
    OSError
        If a file cannot be written.
    """
    ordered = [{name: row[name] for name in columns} for row in rows if set(row) == set(columns)]
    if len(ordered) < len(rows) or not rows:
        raise ValueError(f"The rows of {path.name} have other columns than {', '.join(columns)}.")
    return sink_table(ordered, path, columns, sidecar=about)


def read_model_table(path: Path | str) -> ModelTable:
    """Read a table that `write_model_table` wrote.

    Raises
    ------
    OSError
        If a file cannot be read.
    ValueError
        If its JSON file does not describe its columns, or a cell that must be a number is none.
    """
    path = Path(path)
    described, odd = read_json_object(sidecar_path(path))
    columns = {name: words for name, words in described.items() if isinstance(words, dict) and "Description" in words}
    if odd or not columns:
        raise ValueError(f"{sidecar_path(path).name} does not describe the columns of {path.name}")
    rows = read_values(path, frozenset(name for name, words in columns.items() if not is_number(words)))
    if any(set(row) != set(columns) for row in rows):
        raise ValueError(f"{path.name} has other columns than its JSON file describes")
    entities = dict(part.split("-", 1) for part in path.name.split("_")[:-1])
    return ModelTable(entities["model"], entities["desc"], columns, tuple(rows), str(described.get("Description", "")))


def find_model_files(out_dir: Path, participant_id: str | None = None) -> list[Derivative]:
    """Every table and map of models, of one person or of all."""
    return [found for key in (TABLE, *MAPS) for found in find_derivatives(out_dir, key, participant_id)]


def table_path(out_dir: Path, model: str, key: str, participant_id: str, session_id: str | None) -> Path:
    """Where a table of a model lies."""
    return derivative_path(out_dir, TABLE, participant_id, session_id, model=model, desc=key)


def map_path(
    out_dir: Path, model: str, key: str, space: str, resolution: str, suffix: str, participant_id: str, session_id: str | None
) -> Path:
    """Where a map of a model lies; `resolution` is empty in the space of the T1w."""
    where = {"space": space, "res": resolution} if resolution else {}
    which = {"model": model, "desc": key, "suffix": suffix}
    return derivative_path(out_dir, MAPS[0 if resolution else 1], participant_id, session_id, **where, **which)
