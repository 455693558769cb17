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

MISSING = frozenset({"", "n/a"})
"""How a cell says that its value is not known, in lower case; BIDS has no other way."""
MISSING_WORDS = frozenset({"na", "n.a.", "nan", "<na>", "null", "none", "unknown", "unk", "nd", "-", "?", "."})
"""What else says so where no such word can be a value (ages, sexes, numbers); in a column of names each of them may be one."""
MOST_QUOTED = 10_000
"""Signs; a longer text between quotes is a quote that nobody closed."""


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

    >>> is_missing(" N/A"), is_missing("0"), is_missing("none")
    (True, False, False)
    """
    return text is None or text.strip().lower() in MISSING


def is_no_value(text: str | None) -> bool:
    """Tell whether a cell, in a column where words are no values, says that its value is not known.

    >>> is_no_value("NaN"), is_no_value("n/a"), is_no_value("F")
    (True, True, False)
    """
    return is_missing(text) or str(text).strip().lower() in MISSING_WORDS


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
    """Read text as UTF-8 (with or without mark), UTF-16 (with or without), UTF-32 with mark, else as Windows-1252 or Latin-1.

    Returns
    -------
    str, list of str
        The text, and a sentence for each oddity.

    Raises
    ------
    OSError
        If the file cannot be read.
    """
    return decoded(read_bytes(path, limit), path.name)


def decoded(data: bytes, name: str) -> tuple[str, list[str]]:
    """Bytes of a text file as text, and a sentence for each oddity; see `read_text`.

    >>> decoded("a".encode("utf-16-le"), "t.tsv")
    ('a', ['t.tsv is not UTF-8 but UTF-16.'])
    """
    if data.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        return data.decode("utf-32", "replace"), [f"{name} is not UTF-8 but UTF-32."]
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16", "replace"), [f"{name} is not UTF-8 but UTF-16."]
    for place, encoding in ((1, "utf-16-le"), (0, "utf-16-be")):  # without mark: every second byte of plain letters is 0
        zeros, others = data[place:1000:2], data[1 - place : 1000 : 2]
        if zeros.count(0) > 0.5 * len(zeros) > 0 and others.count(0) == 0:
            return data.decode(encoding, "replace"), [f"{name} is not UTF-8 but UTF-16."]
    try:
        return data.decode("utf-8-sig"), []
    except UnicodeDecodeError:
        pass
    said = [f"{name} is not UTF-8 and is read as Latin-1 (Windows-1252)."]
    try:
        return data.decode("cp1252"), said
    except UnicodeDecodeError:
        return data.decode("latin-1"), said


def read_tsv(path: Path) -> Table:
    """Read a tab-separated table; every cell stays the text it is.

    Blank lines are dropped, short rows filled with ``n/a``, cells beyond the header dropped (said in ``problems``). Between quotes a
    cell may hold tabs and line breaks. A table whose cells are all separated by semicolons or commas is read by these, and said to be.

    Raises
    ------
    OSError
        If the file cannot be read.
    """
    text, problems = read_text(path)
    separator, records = _records(text)
    if not records:
        return Table(path, (), (), (*problems, f"{path.name} is empty."))
    if separator != "\t" and path.suffix != ".csv":
        problems.append(f"{path.name} is read by {separator!r} between its columns; in BIDS they must be separated by tabs.")
    columns = tuple(records[0])
    while len(columns) > 1 and not columns[-1] and all(len(cells) < len(columns) or not cells[len(columns) - 1] for cells in records):
        columns = columns[:-1]  # lines that end with a tab
    rows, ragged = [], 0
    for cells in records[1:]:
        ragged += len(cells) != len(columns) and any(cells[len(columns) :] or ["short"])
        cells = cells + ["n/a"] * (len(columns) - len(cells))
        rows.append(dict(zip(reversed(columns), reversed(cells[: len(columns)]), strict=True)))  # of two columns of one name the first
    if len(set(columns)) < len(columns):
        problems.append(f"{path.name} has more than one column of the same name; the first is read.")
    if ragged:
        problems.append(f"{path.name} has {ragged} row(s) with another number of cells than the header.")
    return Table(path, columns, tuple(rows), tuple(problems))


def _records(text: str) -> tuple[str, list[list[str]]]:
    """The separator, and the cells of each line that has any; tabs, unless there are none and every line is split alike by another."""
    records = _split(text, "\t")
    if records and len(records[0]) == 1:
        for separator in (";", ","):
            others = _split(text, separator)
            if len(others[0]) > 1 and {len(cells) for cells in others} == {len(others[0])}:
                return separator, others
    return "\t", records


def _split(text: str, separator: str) -> list[list[str]]:
    if '"' not in text:
        lines = ([_stripped(cell) for cell in line.split(separator)] for line in re.split(r"\r\n|\n|\r", text) if line.strip())
        return [cells for cells in lines if any(cells)]
    quoted = re.compile(rf'[ ]*"((?:[^"]|""){{0,{MOST_QUOTED}}})"[ ]*(?={re.escape(separator)}|[\r\n]|$)')
    bare = re.compile(rf"[^{re.escape(separator)}\r\n]*")
    records: list[list[str]] = []
    place = 0
    while place < len(text):
        cells, end = _line(text, place, separator, quoted, bare)
        broken = "\n" in text[place:end] or "\r" in text[place:end]
        if broken and records and len(cells) != len(records[0]):
            cells, end = _line(text, place, separator, None, bare)  # the quote is none that holds a line break
        place = end + 2 if text.startswith("\r\n", end) else end + 1
        if any(cells):
            records.append(cells)
    return records


def _line(text: str, place: int, separator: str, quoted: re.Pattern | None, bare: re.Pattern) -> tuple[list[str], int]:
    """Cells of the line that starts at a place, and where it ends; without `quoted` nothing reaches over its end."""
    cells = []
    while True:
        match = quoted.match(text, place) if quoted else None
        if match:
            cells.append(_stripped(match[1].replace('""', '"')))
        else:
            match = bare.match(text, place)
            cell = _stripped(match[0])
            cells.append(cell[1:-1] if len(cell) > 1 and cell[0] == cell[-1] == '"' else cell)
        place = match.end()
        if not text.startswith(separator, place):
            return cells, place
        place += 1


def _stripped(cell: str) -> str:
    """Without spaces and invisible marks at its ends."""
    return cell.strip().strip("\ufeff\u200b\u200e\u200f").strip()


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
