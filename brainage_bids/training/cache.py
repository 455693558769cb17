"""Prepared images packed into one memory-mapped file, so that an epoch unpacks nothing and memory does not grow with the cohort."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

import numpy as np

from brainage_bids.bids.sink import sink_json, sweep_stale, write_atomic
from brainage_bids.files import read_json
from brainage_bids.models.contract import check_image
from brainage_bids.models.features import block_means
from brainage_bids.models.gpr import correlation
from brainage_bids.models.image_contract import InputContract
from brainage_bids.models.preparation import Step, prepare, steps_to_json
from brainage_bids.records import BadDataset, UnusableInput
from brainage_bids.training.images import ImageTable, Progress

_VOLUMES, _CELLS, _SCALES, _INDEX = "volumes.npy", "cells.npy", "scales.npy", "index.json"


@dataclass(frozen=True)
class Cache:
    """Packed images.

    Attributes
    ----------
    volumes : ndarray, shape (n, channels, X, Y, Z)
        float16 or uint8, memory-mapped; prepared as the network wants them.
    scales : ndarray, shape (n, channels, 2), float32
        Value = packed × scale + offset, of each image.
    cells : ndarray, shape (n, channels, cells…), float32
        Cell means of the images before preparation, memory-mapped.
    name : str
        Of the pack; other images, or images prepared in another way, have another one.
    rows : tuple of int or None
        Which of the packed images are meant, in their order; None for all. Everybody who asks counts among these.
    """

    volumes: np.ndarray
    scales: np.ndarray
    cells: np.ndarray
    name: str = ""
    rows: tuple[int, ...] | None = None

    def keep(self, rows: Sequence[int]) -> Cache:
        """The same pack with some of its images only; nothing is copied."""
        kept = tuple(int(self._place(row)) for row in rows)
        if self.rows is None and kept == tuple(range(len(self.scales))):
            return self
        return replace(self, rows=kept, name=f"{self.name}-{hashlib.sha256(repr(kept).encode()).hexdigest()[:8]}")

    def _place(self, row: int) -> int:
        return row if self.rows is None else self.rows[row]

    def read(self, row: int) -> np.ndarray:
        """The prepared images of one session, (channels, X, Y, Z) float32."""
        row = self._place(row)
        values = self.volumes[row].astype(np.float32)
        if self.volumes.dtype == np.uint8:
            scale, offset = (column.reshape(-1, *(1,) * (values.ndim - 1)) for column in self.scales[row].T)
            values = values * scale + offset
        return values

    def mean_cells(self, rows: Sequence[int]) -> np.ndarray:
        """Mean over some sessions, (channels, cells…) float32."""
        total = np.zeros(self.cells.shape[1:])
        for row in rows:
            total += self.cells[self._place(row)]
        return (total / len(rows)).astype(np.float32)

    def similarity_limits(self, rows: Sequence[int]) -> list[float]:
        """1 − 2 max(1 − r) of each channel, r the correlations of its images with their mean."""
        limits = []
        for channel, mean in enumerate(self.mean_cells(rows)):
            lowest = min(correlation(self.cells[self._place(row), channel].ravel(), mean.ravel()) for row in rows)
            limits.append(1.0 - 2.0 * (1.0 - lowest))
        return limits


def pack(
    table: ImageTable,
    steps: Sequence[Step],
    folder: Path,
    *,
    dtype: str = "float16",
    allow_missing: bool = False,
    progress: Progress | None = None,
) -> tuple[ImageTable, Cache]:
    """Read, check, prepare and pack every image, those of a session together; what was packed before from the same files is opened again.

    Parameters
    ----------
    table : ImageTable
    steps : sequence of Step
    folder : Path
        Where packs lie; each has a name that its files, settings and type decide. What killed runs left of them goes.
    dtype : {"float16", "uint8"}
        uint8 takes half the place: 256 levels between the least and largest value of each image.
    allow_missing : bool
        Leave out sessions with an image that cannot be read or does not fit, instead of stopping.
    progress : callable, optional

    Returns
    -------
    ImageTable, Cache
        The rows that were packed.

    Raises
    ------
    BadDataset
        If an image cannot be used (the sentence names up to five) and `allow_missing` is not given, or none can.
    OSError
        If the disk is full.
    """
    target = folder / f"pack-{_digest(table, steps, dtype)[:16]}"
    sweep_stale(folder)
    if not (target / _INDEX).is_file():
        _write(table, steps, target, dtype, allow_missing, progress)
    index = read_json(target / _INDEX)
    reasons = {int(row): why for row, why in index["left_out"].items()}
    refuse(reasons, allow_missing)
    arrays = [np.load(target / name, mmap_mode="r") for name in (_VOLUMES, _CELLS)]
    rows = [row for row in range(len(table.ages)) if row not in reasons]
    return table.keep(rows, reasons), Cache(arrays[0], np.load(target / _SCALES), arrays[1], target.name)


def refuse(reasons: Mapping[int, str], allow_missing: bool, what: str = "images") -> None:
    """Raise BadDataset with up to five of the reasons, unless these may be left out."""
    if reasons and not allow_missing:
        listed = " ".join(list(reasons.values())[:5])
        more = f" And {len(reasons) - 5} more." if len(reasons) > 5 else ""
        raise BadDataset(f"{len(reasons)} {what} cannot be trained on: {listed}{more} Give --allow-missing to leave them out.")


def _digest(table: ImageTable, steps: Sequence[Step], dtype: str) -> str:
    """What the packed values depend on."""
    content = []
    for path in chain.from_iterable(table.paths):
        status = path.stat()
        content.append([os.fspath(path.resolve()), status.st_size, status.st_mtime_ns])
    what = [content, repr(table.contracts), steps_to_json(steps), dtype, 2]
    return hashlib.sha256(json.dumps(what).encode()).hexdigest()


def _write(table: ImageTable, steps: Sequence[Step], target: Path, dtype: str, allow_missing: bool, progress: Progress | None) -> None:
    """Fill a folder; its index comes last and says that all is there."""
    reasons: dict[int, str] = {}
    scales: list[np.ndarray] = []
    count = len(table.paths)
    with write_atomic(target / _VOLUMES) as first, write_atomic(target / _CELLS) as second, write_atomic(target / _SCALES) as third:
        with Stack(first, dtype, count) as volumes, Stack(second, "float32", count) as cells:
            for row, paths in enumerate(table.paths):
                try:
                    channels = [_channel(path, contract, steps, dtype) for path, contract in zip(paths, table.contracts, strict=True)]
                except UnusableInput as error:
                    reasons[row] = str(error)
                    continue
                packed, means, scale = (np.stack(parts) for parts in zip(*channels, strict=True))
                volumes.add(packed)
                cells.add(means)
                scales.append(scale)
                if progress:
                    progress(row + 1, count)
            if not scales:
                raise BadDataset(f"No image can be trained on; the first: {next(iter(reasons.values()))}")
            refuse(reasons, allow_missing)
        np.save(third, np.array(scales, dtype=np.float32))
    sink_json({"left_out": reasons}, target / _INDEX)


class Stack:
    """A ``.npy`` file that grows row by row. Written, not mapped: on a full disk a map ends the process by a signal."""

    def __init__(self, path: Path, dtype: str, count: int):
        self._file, self._dtype, self._count, self._end = open(path, "wb"), np.dtype(dtype), count, 0

    def __enter__(self) -> Stack:
        return self

    def __exit__(self, *_) -> None:
        with self._file:
            self._file.truncate(self._end)  # all the rows that were announced; zeros that are not written take no room

    def add(self, row: np.ndarray) -> None:
        """Append an array; the first gives the shape of all."""
        if not self._end:
            header = {"descr": np.lib.format.dtype_to_descr(self._dtype), "fortran_order": False, "shape": (self._count, *row.shape)}
            np.lib.format.write_array_header_1_0(self._file, header)
            self._end = self._file.tell() + self._count * row.size * self._dtype.itemsize
        self._file.write(np.ascontiguousarray(row, dtype=self._dtype).data)


def _channel(path: Path, contract: InputContract, steps: Sequence[Step], dtype: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One image of a session: packed, its cell means, its scale and offset."""
    raw = check_image(contract, path, "the images of the other people")
    packed, scale = _packed(prepare(raw, contract, steps).data, dtype, path)
    return packed, block_means(raw, contract.voxel_mm), np.array(scale)


def _packed(values: np.ndarray, dtype: str, path: Path) -> tuple[np.ndarray, tuple[float, float]]:
    """Values in the type of the pack, and their scale and offset."""
    if dtype == "uint8":
        low, high = float(values.min()), float(values.max())
        scale = (high - low) / 255 or 1.0
        return np.rint((values - np.float32(low)) / np.float32(scale)).astype(np.uint8), (scale, low)
    with np.errstate(over="ignore"):
        half = values.astype(np.float16)
    if not np.isfinite(half).all():
        raise UnusableInput(f"{path} has values above 65,504, too many for half precision; use --cache-type uint8.")
    return half, (1.0, 0.0)
