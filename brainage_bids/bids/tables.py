"""Reading the text files of a dataset as they are found in the wild: tsv and JSON of any encoding and line end."""

from __future__ import annotations

import codecs
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from brainage_bids.bids.names import BIDSName, parse_name
from brainage_bids.files import JSON, TABLE, Limit, parse_json, read_bytes

MISSING = frozenset({"", "n/a", "na", "nan", "null", "none", "unknown", "unk", "nd", "-", "?"})
"""Ways to say that a value is not known, in lower case."""


@dataclass(frozen=True)
class Table:
    """A tsv as text.

    Attributes
    ----------
    path : Path
        Where it was read.
    columns : tuple of str
        Column names, stripped.
    rows : tuple of mappings
        Column name to text, stripped; never interpreted.
    problems : tuple of str
        What was odd about the file, one sentence each.
    """

    path: Path
    columns: tuple[str, ...]
    rows: tuple[Mapping[str, str], ...]
    problems: tuple[str, ...] = ()

    def column(self, *names: str) -> str | None:
        """Return the first column with one of these names, whatever its case; None if there is none."""
        for name in names:
            if name in self.columns:
                return name
            for column in self.columns:
                if column.lower() == name:
                    return column
        return None


def is_missing(text: str | None) -> bool:
    """Tell whether a cell says that its value is not known.

    >>> is_missing(" N/A"), is_missing("0")
    (True, False)
    """
    return text is None or text.strip().lower() in MISSING


def read_values(path: Path | str, texts: Collection[str]) -> list[dict[str, str | float | None]]:
    """Rows of a table that we wrote: numbers but in the columns `texts`, None where a value is missing.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If a cell that must be a number is none.
    """
    rows = []
    for row in read_tsv(Path(path)).rows:
        cells = {name: None if is_missing(text) else text for name, text in row.items()}
        rows.append({name: text if name in texts or text is None else float(text) for name, text in cells.items()})
    return rows


def read_text(path: Path, limit: Limit = TABLE) -> tuple[str, list[str]]:
    """Read text as UTF-8 (with or without mark), UTF-16 with mark, else as Latin-1.

    Returns
    -------
    str, list of str
        The text, and a sentence for each oddity.

    Raises
    ------
    OSError
        If the file cannot be read.
    """
    data = read_bytes(path, limit)
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16", "replace"), [f"{path.name} is not UTF-8 but UTF-16."]
    try:
        return data.decode("utf-8-sig"), []
    except UnicodeDecodeError:
        return data.decode("latin-1"), [f"{path.name} is not UTF-8 and is read as Latin-1."]


def read_tsv(path: Path) -> Table:
    """Read a tab-separated table; every cell stays the text it is.

    Blank lines are dropped, short rows filled with ``n/a``, cells beyond the header dropped (said in ``problems``).

    Raises
    ------
    OSError
        If the file cannot be read.
    """
    text, problems = read_text(path)
    lines = [line for line in re.split(r"\r\n|\n|\r", text) if line.strip()]
    if not lines:
        return Table(path, (), (), (*problems, f"{path.name} is empty."))
    columns = tuple(cell.strip().strip('"') for cell in lines[0].split("\t"))
    rows, ragged = [], 0
    for line in lines[1:]:
        cells = [cell.strip() for cell in line.split("\t")]
        cells = [cell[1:-1] if len(cell) > 1 and cell[0] == cell[-1] == '"' else cell for cell in cells]
        ragged += len(cells) != len(columns)
        cells += ["n/a"] * (len(columns) - len(cells))
        rows.append(dict(zip(reversed(columns), reversed(cells[: len(columns)]), strict=True)))  # of two columns of one name the first
    if len(set(columns)) < len(columns):
        problems.append(f"{path.name} has more than one column of the same name; the first is read.")
    if ragged:
        problems.append(f"{path.name} has {ragged} row(s) with another number of cells than the header.")
    return Table(path, columns, tuple(rows), tuple(problems))


def read_json_object(path: Path) -> tuple[dict[str, Any], list[str]]:
    """Read a JSON object; a file that is missing, unreadable or no object gives an empty one.

    Returns
    -------
    dict, list of str
        The content, and a sentence for what was wrong (none if the file does not exist).
    """
    try:
        text, problems = read_text(path, JSON)
        content = parse_json(text)
    except (FileNotFoundError, NotADirectoryError):
        return {}, []
    except (OSError, ValueError) as error:
        return {}, [f"{path.name} cannot be read as JSON and is left out ({error})."]
    if not isinstance(content, dict):
        return {}, [f"{path.name} holds no JSON object and is left out."]
    return content, problems


class Inheritance:
    """Sidecar metadata by the inheritance principle, with every folder listed and every file read once.

    A JSON file above or beside an image applies to it if the suffix is the same and each of its entities is in the name of
    the image with the same value; the nearer file wins, in one folder the one with more entities.

    Parameters
    ----------
    root : Path
        The dataset; files above it do not apply.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.problems: list[str] = []
        self._folders: dict[Path, list[tuple[Path, BIDSName]]] = {}
        self._contents: dict[Path, dict[str, Any]] = {}

    def metadata(self, image: Path) -> dict[str, Any]:
        """Return the merged metadata of an image; empty if there is none."""
        name = parse_name(image.name)
        if name is None:
            return {}
        folders = [self.root]
        for part in image.parent.relative_to(self.root).parts:
            folders.append(folders[-1] / part)
        merged: dict[str, Any] = {}
        for folder in folders:
            for path, sidecar in self._sidecars(folder):
                if sidecar.suffix == name.suffix and sidecar.entities.items() <= name.entities.items():
                    merged.update(self._content(path))
        return merged

    def _sidecars(self, folder: Path) -> list[tuple[Path, BIDSName]]:
        if folder not in self._folders:
            paths = sorted(path for path in folder.iterdir() if path.name.endswith(".json") and not path.name.startswith("."))
            named = [(path, name) for path in paths if (name := parse_name(path.name)) and name.extension == ".json"]
            self._folders[folder] = sorted(named, key=lambda item: len(item[1].entities))
        return self._folders[folder]

    def _content(self, path: Path) -> dict[str, Any]:
        if path not in self._contents:
            self._contents[path], problems = read_json_object(path)
            self.problems += problems
        return self._contents[path]
