"""Opening the files of users: regular ones of a bounded size only, so that no pipe, socket or device makes a run wait for ever.

Every reader of text, JSON, TOML or weights that a user may have put there begins here. JSON and TOML are read into plain values that
no later step stumbles over: not nested without end, no numbers that fit nowhere, no halves of letters.
"""

from __future__ import annotations

import errno
import json
import os
import re
import stat
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

_CHUNK = 2**20
_DEEPEST = 64
"""Levels of lists and objects; what BIDS, dcm2niix and our own files nest is below ten."""
_PART = r"""(?:[\w-]{1,256}+|"(?:[^"\\\n]|\\.){0,256}+"|'[^'\n]{0,256}+')[ \t]*+"""
_ENDLESS_KEY = re.compile(rf"(?<![\w-])(?:{_PART}\.[ \t]*+){{{_DEEPEST}}}")
"""tomllib takes the square of the number of parts of a key, ``a.b.c``; hours for a file of one megabyte."""


@dataclass(frozen=True)
class Limit:
    """How large a kind of file may be.

    Attributes
    ----------
    noun : str
        What the file is, with its article.
    mib : int
        At most so many MiB.
    """

    noun: str
    mib: int


SETTINGS = Limit("a settings file", 1)
"""A config.toml has 2 KiB; with thousands of participant labels it stays below a tenth of this."""
CARD = Limit("a model card", 1)
"""The largest that we write, with errors of many groups, has 20 KiB."""
JSON = Limit("a JSON file", 32)
"""Sidecars with the whole DICOM header (dcmmeta) have some MiB, a heads.json some hundred KiB."""
TABLE = Limit("a table", 512)
"""Half a million people (UK Biobank) with a hundred columns make 300 MiB; the rows take some GiB of memory."""
WEIGHTS = Limit("a file of weights", 4096)
"""A billion float32 numbers; the largest published network of brain age has 0.4 GiB."""
IMAGE = Limit("an image", 6200)
"""400 million voxels of 16 bytes and a header: more do not fit the memory of a participant, so what is larger is not read at all."""
INDEX = Limit("an index", 65536)
"""That of pybids has some KiB a file; a million files make some GiB."""


def real(path: Path | str) -> Path:
    """Where a path leads to at last; a link that leads to itself, or nowhere, stays as it is (`Path.resolve` ends in an error).

    >>> real("/usr/../usr").name
    'usr'
    """
    return Path(os.path.realpath(path))


class Refused(OSError):
    """A file that is not read, because it is no regular file or too large; `strerror` says so, the text names the file too."""

    def __init__(self, path: Path | str, why: str) -> None:
        super().__init__(errno.EINVAL, why, str(path))

    def __str__(self) -> str:
        return f"{self.filename}: {self.strerror}"


@contextmanager
def open_file(path: Path | str, limit: Limit) -> Iterator[BinaryIO]:
    """Open a file of a user for reading.

    Parameters
    ----------
    path : Path
        Links are followed.
    limit : Limit
        What it is, and how large it may be.

    Yields
    ------
    file object
        Of bytes.

    Raises
    ------
    Refused
        If it is a folder, pipe, socket or device, or larger than it may be. A pipe is never waited for and a device not opened.
    OSError
        If it cannot be opened.
    """
    _check(path, os.stat(path), limit)  # a device is not even opened: a tape would be wound back
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    with open(descriptor, "rb") as file:
        _check(path, os.fstat(descriptor), limit)  # it may have been exchanged between both
        yield file


def read_bytes(path: Path | str, limit: Limit) -> bytes:
    """Content of a file of a user; errors as in `open_file`."""
    with open_file(path, limit) as file:
        parts = [file.read(os.fstat(file.fileno()).st_size + 1)]
        length = len(parts[0])
        while parts[-1]:  # one that grows, or one of the system's, which all say that they are empty
            if length > limit.mib * 2**20:
                raise Refused(path, _too_large(length, limit))
            parts.append(file.read(_CHUNK))
            length += len(parts[-1])
    return b"".join(parts)


def read_utf8(path: Path | str, limit: Limit) -> str:
    """Text of a file of a user, UTF-8 with or without a mark; errors as in `open_file`, and UnicodeDecodeError (a ValueError)."""
    return read_bytes(path, limit).decode("utf-8-sig")


def read_json(path: Path | str, limit: Limit = JSON) -> Any:
    """Content of a JSON file; errors as in `open_file`, and ValueError as in `parse_json`."""
    return parse_json(read_utf8(path, limit))


def parse_json(text: str | bytes) -> Any:
    """Read JSON as `json.loads`, integers that no 64 bits hold as floats.

    Raises
    ------
    ValueError
        If it is no JSON, or nested without end, or holds half a letter; the message says what.

    Examples
    --------
    >>> parse_json('{"a": [1, 1' + 20 * "0" + "]}")
    {'a': [1, 1e+20]}
    """
    try:
        content = json.loads(text, parse_int=_integer)
    except RecursionError:
        raise ValueError(_NESTED) from None
    _check_values(content)
    return content


def parse_toml(text: str) -> dict[str, Any]:
    """Read TOML as `tomllib.loads`.

    Raises
    ------
    ValueError
        If it is no TOML, or nested without end, or holds an integer of more than 64 bits; the message says what.

    Examples
    --------
    >>> parse_toml("a.b = 1")
    {'a': {'b': 1}}
    """
    if _ENDLESS_KEY.search(text):
        raise ValueError(_NESTED)
    try:
        content = tomllib.loads(text)
    except RecursionError:
        raise ValueError(_NESTED) from None
    except tomllib.TOMLDecodeError:
        raise
    except ValueError as error:  # a number of thousands of digits; Python's words say how to allow it
        raise ValueError(_HUGE) from error
    _check_values(content)
    return content


_NESTED = f"it is nested deeper than {_DEEPEST} levels"
_HUGE = "it holds an integer of more than 64 bits"


def _integer(digits: str) -> int | float:
    return value if len(digits) < 21 and _fits(value := int(digits)) else float(digits)


def _fits(value: int) -> bool:
    return -(2**63) <= value < 2**63


def _check_values(content: Any) -> None:
    level = [content]
    for _ in range(_DEEPEST):
        below: list[Any] = []
        for value in level:
            if isinstance(value, dict):
                below += value.keys()
                below += value.values()
            elif isinstance(value, list):
                below += value
            elif isinstance(value, str) and not value.isascii() and any("\ud800" <= letter <= "\udfff" for letter in value):
                raise ValueError("it holds half of a letter (a lone surrogate)")
            elif isinstance(value, int) and not _fits(value):
                raise ValueError(_HUGE)
        if not below:
            return
        level = below
    raise ValueError(_NESTED)


def _check(path: Path | str, status: os.stat_result, limit: Limit) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise Refused(path, f"it is {what_is(status.st_mode)} and no regular file")
    if status.st_size > limit.mib * 2**20:
        raise Refused(path, _too_large(status.st_size, limit))


def _too_large(size: int, limit: Limit) -> str:
    return f"it has more than {(size - 1) // 2**20} MiB, and {limit.noun} has {limit.mib} at most"


def what_is(mode: int) -> str:
    """What a file that is no regular one is, by its ``st_mode``, in words.

    >>> what_is(stat.S_IFIFO)
    'a named pipe'
    """
    kinds = ((stat.S_ISDIR, "a folder"), (stat.S_ISFIFO, "a named pipe"), (stat.S_ISSOCK, "a socket"))
    return next((words for test, words in kinds if test(mode)), "a device")
