"""Writing files that are never partial.

Every file is written under a temporary name beside its place, flushed to disk and then renamed, so that a reader (or a
rerun after a crash) sees the old file, the new file or none, never half of one. A sidecar is written before its image.
"""

from __future__ import annotations

import contextlib
import errno
import gzip
import json
import math
import os
import re
import secrets
import shutil
import socket
import time
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

PARTIAL = re.compile(r"\.(?P<stem>[^/]+?)\.(?P<host>[0-9a-f]{8})-(?P<pid>\d+)-(?P<token>[0-9a-f]{8})\.partial(\.[^/]*)?")
STALE_SECONDS = 3600.0
OUT_OF_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
LONGEST_NAME = 255  # bytes, on all common file systems


@contextlib.contextmanager
def write_atomic(path: Path | str, *, flush: bool = True) -> Iterator[Path]:
    """Give a temporary path to write to and put the file in its place at the end.

    Parameters
    ----------
    path : Path
        Where the file is to lie; missing folders are made.
    flush : bool
        Whether the file is flushed to disk before it is put in its place. Who writes thousands of small files passes False,
        calls ``os.sync`` once, and only then writes the file that says that all are there.

    Yields
    ------
    Path
        A name beside it that starts with a dot and has the same extension; the body writes this file.

    Raises
    ------
    OSError
        If the file cannot be written (full disk, no permission, a file in the place of a folder…): one sentence, with
        the path in ``filename``. The temporary file is gone and what was in place before is untouched.
    """
    path = Path(path)
    partial = path.parent / _partial_name(path.name)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        if flush:
            _flush(partial)
        os.replace(partial, path)
        if flush:
            _sync_folder(path.parent)
    except OSError as error:
        _discard(partial)
        if _concerns(error, partial, path):
            raise _cannot_write(error, path) from error
        raise
    except BaseException:
        _discard(partial)
        raise


def sink_text(text: str, dest: Path | str, *, flush: bool = True) -> Path:
    """Write a text file (UTF-8, line ends as given) and return its path; see `write_atomic` for ``flush`` and errors."""
    with write_atomic(dest, flush=flush) as partial:
        partial.write_bytes(text.encode("utf-8", "surrogateescape"))
    return Path(dest)


def sink_json(content: Mapping[str, Any], dest: Path | str) -> Path:
    """Write a JSON object and return its path.

    Numbers of numpy become plain ones, a number that is not finite becomes null, paths become text.
    """
    return sink_text(json.dumps(_plain(content), indent=2, ensure_ascii=False, allow_nan=False) + "\n", dest)


def sink_file(src: Path | str, dest: Path | str, sidecar: Mapping[str, Any] | None = None) -> Path:
    """Copy a file byte by byte to its place, after its sidecar if there is one; return the path."""
    if sidecar is not None:
        sink_json(sidecar, sidecar_path(dest))
    with write_atomic(dest) as partial:
        shutil.copyfile(src, partial)
    return Path(dest)


def sink_image(image: Any, dest: Path | str, sidecar: Mapping[str, Any]) -> Path:
    """Write a compressed NIfTI image after its sidecar.

    Parameters
    ----------
    image : nibabel image or Path
        An image in memory, or a ``.nii`` or ``.nii.gz`` file, which is copied voxel by voxel.
    dest : Path
        Ends with ``.nii.gz``. The bytes depend on the image alone: gzip level 1, no time, no file name.
    sidecar : mapping
        Content of the JSON file of the same stem.

    Raises
    ------
    ValueError
        If ``dest`` does not end with ``.nii.gz``.
    OSError
        If a file cannot be written or the source not be read.
    """
    dest = Path(dest)
    if not dest.name.endswith(".nii.gz"):
        raise ValueError(f"Images are written as .nii.gz, not as {dest.name}.")
    sink_json(sidecar, sidecar_path(dest))
    with (
        write_atomic(dest) as partial,
        open(partial, "wb") as raw,
        gzip.GzipFile(filename="", mode="wb", compresslevel=1, fileobj=raw, mtime=0) as packed,
    ):
        if isinstance(image, str | os.PathLike):
            _copy_unpacked(Path(image), packed)
        else:
            packed.write(image.to_bytes())
    return dest


def sink_table(
    table: Any,
    dest: Path | str,
    columns: Mapping[str, Mapping[str, Any]],
    *,
    sidecar: Mapping[str, Any] | bool = True,
    flush: bool = True,
) -> Path:
    """Write a tsv after the JSON file that describes its columns.

    Parameters
    ----------
    table : pandas.DataFrame or iterable of mappings
        The rows. Rows that are mappings give the order of columns by the first of them.
    dest : Path
        Ends with ``.tsv``.
    columns : mapping
        Column name to its JSON description (``Description``, ``Units``, …). Every column of the table must be in it;
        descriptions of columns that the table lacks are left out.
    sidecar : mapping or bool
        Further fields of the JSON file; False writes none (a lookup table shares the sidecar of its image).
    flush : bool
        See `write_atomic`; of the table alone, not of its JSON file.

    Raises
    ------
    ValueError
        If a column has no description, or a row has other columns than the first.
    OSError
        If a file cannot be written.
    """
    dest = Path(dest)
    names, rows = _rows(table)
    undescribed = [name for name in names if name not in columns]
    if undescribed:
        raise ValueError(f"The columns {', '.join(undescribed)} of {dest.name} have no description.")
    lines = ["\t".join(_cell(name) for name in names)]
    lines += ["\t".join(_cell(value) for value in row) for row in rows]
    if sidecar is not False:
        extra = {} if sidecar is True else dict(sidecar)
        sink_json({**extra, **{name: columns[name] for name in names}}, sidecar_path(dest))
    return sink_text("\n".join(lines) + "\n", dest, flush=flush)


def sidecar_path(dest: Path | str) -> Path:
    """Return the JSON file of a data file: all extensions replaced.

    >>> sidecar_path("anat/sub-01_label-GM_probseg.nii.gz").name
    'sub-01_label-GM_probseg.json'
    """
    dest = Path(dest)
    return dest.with_name(dest.name.split(".")[0] + ".json")


def sweep_partial(out_dir: Path | str, participant_id: str) -> list[Path]:
    """Remove what killed runs left behind under temporary names.

    Those of one participant go (nobody else writes them); those of the dataset go if their process is dead or they are
    older than an hour, so that a run beside this one is not disturbed.

    Parameters
    ----------
    out_dir : Path
        Root of the derivatives dataset.
    participant_id : str
        ``sub-X``.

    Returns
    -------
    list of Path
        The files removed, sorted.
    """
    out_dir = Path(out_dir)
    removed = []
    for folder, recursive in ((out_dir, False), (out_dir / participant_id, True), (out_dir / "logs", True)):
        for path in _files(folder, recursive):
            match = PARTIAL.fullmatch(path.name)
            if match is None:
                continue
            owner = re.match(r"sub-[A-Za-z0-9+]+(?=[_.]|$)", match["stem"])
            stale = owner[0] == participant_id if owner else _is_stale(path, match)
            if stale or folder == out_dir / participant_id:
                path.unlink(missing_ok=True)
                removed.append(path)
    return sorted(removed)


def sweep_stale(root: Path | str) -> list[Path]:
    """Remove what killed runs left anywhere below a folder: temporary files whose process is dead, or older than an hour.

    Returns
    -------
    list of Path
        The files removed, sorted.
    """
    removed = []
    for path in _files(Path(root), recursive=True):
        match = PARTIAL.fullmatch(path.name)
        if match is not None and _is_stale(path, match):
            path.unlink(missing_ok=True)
            removed.append(path)
    return sorted(removed)


def partial_folder(path: Path | str) -> Path:
    """A name beside a folder to be, under which it is filled; `sweep_folders` knows it."""
    path = Path(path)
    return path.with_name(f".{path.name}{_mark()}")


def sweep_folders(path: Path | str) -> None:
    """Remove what killed runs left of this folder: those of `partial_folder`, also with an ending, whose process is dead."""
    path = Path(path)
    for other in path.parent.iterdir():
        match = PARTIAL.fullmatch(other.name)
        if match is not None and match["stem"] == path.name and other.is_dir() and _is_stale(other, match):
            shutil.rmtree(other, ignore_errors=True)


def _mark() -> str:
    return f".{_host()}-{os.getpid()}-{secrets.token_hex(4)}.partial"


def _partial_name(name: str) -> str:
    stem, dot, extension = name.partition(".") if not name.startswith(".") else (name.strip("."), "", "")
    mark = _mark()
    room = LONGEST_NAME - len(os.fsencode(f".{mark}{dot}{extension}"))
    while len(os.fsencode(stem)) > room:
        stem = stem[:-1]
    return f".{stem}{mark}{dot}{extension}"


def _host() -> str:
    return f"{zlib.crc32(socket.gethostname().encode()):08x}"


def _is_stale(path: Path, match: re.Match) -> bool:
    try:
        age = time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return False
    if age > STALE_SECONDS:
        return True
    if match["host"] != _host() or int(match["pid"]) == os.getpid():
        return False
    try:
        os.kill(int(match["pid"]), 0)
    except ProcessLookupError:
        return True
    except OSError:  # alive, of another user
        return False
    return False


def _files(folder: Path, recursive: bool) -> list[Path]:
    if recursive:
        return [Path(parent) / name for parent, _, names in os.walk(folder) for name in names]
    return [Path(entry.path) for entry in os.scandir(folder) if entry.is_file(follow_symlinks=False)] if folder.is_dir() else []


def _discard(partial: Path) -> None:
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        partial.unlink()


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_folder(folder: Path) -> None:
    """Make a rename survive a power cut, where the file system can."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):
            raise
    finally:
        os.close(descriptor)


def _concerns(error: OSError, partial: Path, path: Path) -> bool:
    """Tell an error of writing this file from one of reading its source."""
    if error.filename is None or error.errno in OUT_OF_ROOM:  # shutil names the source when the target has no room
        return error.errno is not None
    name = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes | os.PathLike) else ""
    return bool(name) and (name == str(partial) or Path(name) in (path, *path.parents))


def _cannot_write(error: OSError, path: Path) -> OSError:
    advice = {
        errno.ENOSPC: "the disk is full; free some space and run again",
        errno.EDQUOT: "the disk quota is used up; free some space and run again",
        errno.EFBIG: "the file would be larger than the system allows; raise the limit (ulimit -f) and run again",
        errno.EACCES: "there is no permission; choose another output folder or change its permissions",
        errno.EROFS: "the file system is read-only; choose another output folder",
        errno.ENOTDIR: "a part of its path is a file, not a folder; choose another output folder",
        errno.EEXIST: "a part of its path is a file, not a folder; choose another output folder",
    }.get(error.errno or 0, error.strerror or "unknown reason")
    return OSError(error.errno, f"The file cannot be written: {advice}", str(path))


def _copy_unpacked(source: Path, packed: gzip.GzipFile) -> None:
    opener = gzip.open if source.name.endswith(".gz") else open
    with opener(source, "rb") as stream:
        shutil.copyfileobj(stream, packed, 1 << 20)


def _rows(table: Any) -> tuple[list[str], Iterable[Iterable[Any]]]:
    if hasattr(table, "itertuples"):
        return [str(name) for name in table.columns], table.itertuples(index=False, name=None)
    records = list(table)
    names = list(records[0]) if records else []
    for record in records:
        if set(record) != set(names):
            raise ValueError(f"A row has the columns {', '.join(record)} instead of {', '.join(names)}.")
    return names, [[record[name] for name in names] for record in records]


def _cell(value: Any) -> str:
    """Write one value: ``n/a`` for missing, the shortest exact form of a number, text without tabs and line breaks."""
    value = _plain_scalar(value)
    if value is None or value != value or value == "":
        return "n/a"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return repr(float(value))
    return re.sub(r"[\t\r\n\x00\x0b\x0c\x1c-\x1e\x85\u2028\u2029]+", " ", str(value))


def _plain_scalar(value: Any) -> Any:
    """Turn numpy and pandas scalars into Python's; pandas' missing values into None."""
    if type(value).__name__ in ("NAType", "NaTType"):
        return None
    item = getattr(value, "item", None)
    return item() if callable(item) and getattr(value, "ndim", None) == 0 else value


def _plain(value: Any) -> Any:
    """Turn nested content into what JSON knows."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, str | bool | int) or value is None:
        return value
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if hasattr(value, "tolist") and getattr(value, "ndim", 0) > 0:
        return _plain(value.tolist())
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in (sorted(value) if isinstance(value, set | frozenset) else value)]
    value = _plain_scalar(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value
