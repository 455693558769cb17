"""Prepared images packed into one memory-mapped file, so that an epoch unpacks nothing and memory does not grow with the cohort."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from brainage_bids.models.contract import check_image
from brainage_bids.models.features import block_means
from brainage_bids.models.gpr import correlation
from brainage_bids.models.preparation import Step, prepare, steps_to_json
from brainage_bids.records import BadDataset, UnusableInput
from brainage_bids.training.images import ImageTable, Progress

DTYPES = ("float16", "uint8")
_VOLUMES, _CELLS, _SCALES, _INDEX = "volumes.npy", "cells.npy", "scales.npy", "index.json"


@dataclass(frozen=True)
class Cache:
    """Packed images.

    Attributes
    ----------
    volumes : ndarray, shape (n, X, Y, Z)
        float16 or uint8, memory-mapped; prepared as the network wants them.
    scales : ndarray, shape (n, 2), float32
        Value = packed × scale + offset, of each image.
    cells : ndarray, shape (n, cells…), float32
        Cell means of the images before preparation, memory-mapped.
    name : str
        Of the pack; other images, or images prepared in another way, have another one.
    """

    volumes: np.ndarray
    scales: np.ndarray
    cells: np.ndarray
    name: str = ""

    def read(self, row: int) -> np.ndarray:
        """One prepared image, float32."""
        scale, offset = self.scales[row]
        values = self.volumes[row].astype(np.float32)
        if self.volumes.dtype == np.uint8:
            values = values * scale + offset
        return values

    def mean_cells(self, rows: Sequence[int]) -> np.ndarray:
        """Mean over some images, float32."""
        total = np.zeros(self.cells.shape[1:])
        for row in rows:
            total += self.cells[row]
        return (total / len(rows)).astype(np.float32)

    def similarity_limit(self, rows: Sequence[int]) -> float:
        """1 − 2 max(1 − r), r the correlations of the images with their mean."""
        mean = self.mean_cells(rows).ravel()
        lowest = min(correlation(self.cells[row].ravel(), mean) for row in rows)
        return 1.0 - 2.0 * (1.0 - lowest)


def pack(
    table: ImageTable,
    steps: Sequence[Step],
    folder: Path,
    *,
    dtype: str = "float16",
    allow_missing: bool = False,
    progress: Progress | None = None,
) -> tuple[ImageTable, Cache]:
    """Read, check, prepare and pack every image; what was packed before from the same files is opened again.

    Parameters
    ----------
    table : ImageTable
    steps : sequence of Step
    folder : Path
        Where packs lie; each has a name that its files, settings and type decide.
    dtype : {"float16", "uint8"}
        uint8 takes half the place: 256 levels between the least and largest value of each image.
    allow_missing : bool
        Leave out images that cannot be read or do not fit, instead of stopping.
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
    if not (target / _INDEX).is_file():
        _write(table, steps, target, dtype, allow_missing, progress)
    index = json.loads((target / _INDEX).read_text(encoding="utf-8"))
    reasons = {int(row): why for row, why in index["left_out"].items()}
    _refuse(reasons, allow_missing)
    arrays = [np.load(target / name, mmap_mode="r") for name in (_VOLUMES, _CELLS)]
    rows = [row for row in range(len(table.ages)) if row not in reasons]
    return table.keep(rows, reasons), Cache(arrays[0], np.load(target / _SCALES), arrays[1], target.name)


def _refuse(reasons: dict[int, str], allow_missing: bool) -> None:
    if reasons and not allow_missing:
        listed = " ".join(list(reasons.values())[:5])
        more = f" And {len(reasons) - 5} more." if len(reasons) > 5 else ""
        raise BadDataset(f"{len(reasons)} images cannot be trained on: {listed}{more} Give --allow-missing to leave them out.")


def _digest(table: ImageTable, steps: Sequence[Step], dtype: str) -> str:
    """What the packed values depend on."""
    content = []
    for path in table.paths:
        status = path.stat()
        content.append([os.fspath(path.resolve()), status.st_size, status.st_mtime_ns])
    what = [content, repr(table.contract), steps_to_json(steps), dtype, 1]
    return hashlib.sha256(json.dumps(what).encode()).hexdigest()


def _write(table: ImageTable, steps: Sequence[Step], target: Path, dtype: str, allow_missing: bool, progress: Progress | None) -> None:
    """Fill a folder beside `target` and rename it: what is there is whole."""
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.{secrets.token_hex(4)}.partial")
    partial.mkdir()
    try:
        reasons: dict[int, str] = {}
        scales: list[tuple[float, float]] = []
        volumes = cells = None
        for row, path in enumerate(table.paths):
            try:
                raw = check_image(table.contract, path, "the images of the other people")
                values, _ = prepare(raw, table.contract, steps)
                packed, scale = _packed(values, dtype, path)
            except UnusableInput as error:
                reasons[row] = str(error)
                continue
            means = block_means(raw, table.contract.voxel_mm)
            if volumes is None or cells is None:
                count = len(table.paths)
                volumes = np.lib.format.open_memmap(partial / _VOLUMES, "w+", np.dtype(dtype), (count, *packed.shape))
                cells = np.lib.format.open_memmap(partial / _CELLS, "w+", np.float32, (count, *means.shape))
            volumes[len(scales)], cells[len(scales)] = packed, means
            scales.append(scale)
            if progress:
                progress(row + 1, len(table.paths))
        if volumes is None or cells is None:
            raise BadDataset(f"No image can be trained on; the first: {next(iter(reasons.values()))}")
        _refuse(reasons, allow_missing)
        volumes.flush()
        cells.flush()
        np.save(partial / _SCALES, np.array(scales, dtype=np.float32))
        (partial / _INDEX).write_text(json.dumps({"left_out": reasons}), encoding="utf-8")
        os.rename(partial, target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


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
