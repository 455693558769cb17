"""Where images with the label of every voxel come from: packed images with truth or app's labels, or label maps that are painted."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from brainage_bids.bids.names import derivative_path, find_derivatives
from brainage_bids.bids.sink import sink_json, write_atomic
from brainage_bids.files import read_json
from brainage_bids.imaging.transforms import read_forward
from brainage_bids.models.image_contract import InputContract
from brainage_bids.models.inputs import NetInput
from brainage_bids.models.label_sets import LESION, LabelSet
from brainage_bids.models.preparation import Step, placed, prepare
from brainage_bids.records import SPACE, BadConfiguration, BadDataset, UnusableInput
from brainage_bids.training.augment import augment, preset, shifted
from brainage_bids.training.cache import Cache, Stack, pack, refuse
from brainage_bids.training.collect import reason_by_quality
from brainage_bids.training.images import ImageTable, Progress, usual_contract
from brainage_bids.training.painting import Painting, label_map_paths, paint, read_label_map


@dataclass(frozen=True)
class Reader:
    """Reads somebody's codes on the grid of a contract, from these files."""

    files: tuple[Path, ...]
    read: Callable[[InputContract], np.ndarray]


class Source(Protocol):
    """Images with labels, by number; `people` says whose each is."""

    name: str
    people: tuple[str, ...]

    def draw(self, row: int, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """A prepared image, float32, and its labels, uint8, changed or painted as the generator says."""
        ...

    def fixed(self, row: int) -> tuple[np.ndarray, np.ndarray]:
        """The same for validation: always the same for a number."""
        ...


@dataclass(frozen=True)
class PackedSource:
    """Packed images and labels.

    Attributes
    ----------
    cache : Cache
    labels : ndarray, (n, X, Y, Z) uint8
        aseg codes, memory-mapped; of the images of the cache, in their order.
    table : ndarray, (256,) uint8
        Label of every code.
    people : tuple of str
    augmentation : str
        Of ``augment.PRESETS``; turns and scales are left out, as labels would have to follow.
    """

    cache: Cache
    labels: np.ndarray
    table: np.ndarray
    people: tuple[str, ...]
    augmentation: str = "light"

    @property
    def name(self) -> str:
        """Of what is packed."""
        return f"{self.cache.name}-{self.augmentation}"

    def draw(self, row: int, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """See `Source`; labels move with the image, left and right are one label."""
        how = preset(self.augmentation)
        image, labels = (torch.from_numpy(np.ascontiguousarray(values)) for values in self.fixed(row))
        if how.shift:
            steps = [int(n) for n in generator.integers(-how.shift, how.shift + 1, 3)]
            image, labels = shifted(image, steps), shifted(labels, steps)
        if how.flip and generator.random() < how.flip:
            image, labels = image.flip(0), labels.flip(0)
        image = augment(image[None], replace(how, shift=0, flip=0.0, affine=0.0), generator)[0]
        return image.numpy(), labels.numpy()

    def fixed(self, row: int) -> tuple[np.ndarray, np.ndarray]:
        """See `Source`."""
        return self.cache.read(row)[0], self.table[self.labels[row]]


@dataclass(frozen=True)
class PaintedSource:
    """Label maps that are painted anew whenever one is drawn; number `row` is of map `row` modulo their count.

    Attributes
    ----------
    paths : tuple of Path
    place : NetInput
        Grid, and what is done to an image.
    table : ndarray, (256,) uint8
        Label of every code.
    how : Painting
    """

    paths: tuple[Path, ...]
    place: NetInput
    table: np.ndarray
    how: Painting = field(default_factory=Painting)
    progress: Progress | None = None

    def __post_init__(self) -> None:
        maps = []
        for number, path in enumerate(self.paths, start=1):
            maps.append(read_label_map(path))
            if self.progress:
                self.progress(number, len(self.paths))
        object.__setattr__(self, "_maps", maps)

    @property
    def name(self) -> str:
        """Of maps, grid and rules."""
        digest = hashlib.sha256(repr((self.place, self.how)).encode() + self.table.tobytes())
        for one in self._maps:
            digest.update(hashlib.sha256(one.codes).digest())
        return f"painted-{digest.hexdigest()[:16]}"

    @property
    def people(self) -> tuple[str, ...]:
        """Names of the maps."""
        return tuple(path.name.split(".nii")[0] for path in self.paths)

    def draw(self, row: int, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """See `Source`."""
        contract, steps = placed(self.place.contract, self.place.steps)
        image, codes = paint(self._maps[row % len(self._maps)], contract.shape, np.array(contract.affine), self.how, generator)
        prepared = prepare(image, contract, steps).data
        return prepared, self.table[labels_as_prepared(codes, steps)]

    def fixed(self, row: int) -> tuple[np.ndarray, np.ndarray]:
        """See `Source`."""
        return self.draw(row, np.random.default_rng((row, 7)))


def labels_as_prepared(codes: np.ndarray, steps: Sequence[Step]) -> np.ndarray:
    """Codes on the grid that a network sees: crops, halvings (the voxel in the middle) and flips are done to them as to the image.

    >>> labels_as_prepared(np.arange(4).reshape(4, 1, 1), [Step("crop", {"start": (1, 0, 0), "stop": (3, 1, 1)})]).ravel().tolist()
    [1, 2]
    """
    for step in steps:
        if step.name == "crop":
            codes = codes[tuple(slice(a, b) for a, b in zip(step.values["start"], step.values["stop"], strict=True))]
        elif step.name == "halve":
            codes = codes[::2, ::2, ::2]
        elif step.name == "flip":
            codes = np.flip(codes, step.values["axis"])
    return np.ascontiguousarray(codes)


def check_input(place: NetInput) -> None:
    """Refuse what labels cannot be brought to: a brain in the middle of a box (BadConfiguration)."""
    if place.contract.crop != "none":
        raise BadConfiguration(f"Labels cannot be laid on {place.contract.key}, a brain in a box; give another --input, such as packed2.")


def painted_source(folder: Path, place: NetInput, labels: LabelSet, progress: Progress | None = None) -> PaintedSource:
    """Label maps of a folder, to be painted.

    Raises
    ------
    BadDataset
        If it holds fewer than two.
    BadConfiguration
        If lesions are asked for, which label maps do not have, or an input that is no image of a head.
    """
    if labels.codes == ((LESION,),):
        raise BadConfiguration("Label maps hold no lesions; take the truth of a phantom cohort (brainage-phantom --model-space T1w).")
    if not place.contract.derivative.startswith("t1w_mni"):
        raise BadConfiguration(f"Only a T1w can be painted, not {place.contract.key}; give another --input, such as brain2zscore.")
    return PaintedSource(tuple(label_map_paths(folder)), place, labels.table(), progress=progress)


def packed_source(
    derivatives: Sequence[Path],
    place: NetInput,
    labels: LabelSet,
    work: Path,
    *,
    dtype: str = "float16",
    augmentation: str = "light",
    allow_missing: bool = False,
    exclude_flags: Sequence[str] = (),
    progress: Progress | None = None,
) -> tuple[PackedSource, InputContract, tuple[tuple[str, str], ...]]:
    """Images of derivatives with the labels that lie beside them, packed.

    Parameters
    ----------
    derivatives : sequence of Path
        Output folders of participant runs, whose own structures are the truth; or the ``derivatives/brainage`` of a
        phantom cohort on the model's grid, whose truth lies in ``derivatives/truth``.
    place : NetInput
    labels : LabelSet
    work : Path
        For packs.
    allow_missing : bool
        Leave out people whose image or labels cannot be read or do not fit, instead of stopping.
    exclude_flags : sequence of str
        Sessions with one of these flags in their table of quality figures are left out.

    Returns
    -------
    PackedSource, InputContract, tuple of (str, str)
        And the contract with the grid of the images, and who is left out with the reason.

    Raises
    ------
    BadDataset
        If no image with labels is there, or (without `allow_missing`) one cannot be used.
    """
    found, missing = _find_labelled(derivatives, place, labels, exclude_flags)
    if not found:
        raise BadDataset(f"No image {place.contract.key} with labels is in {', '.join(map(str, derivatives))}.")
    contract = replace(usual_contract([path for _, path, _ in found], place.contract), stripped=None)
    people = tuple(person for person, _, _ in found)
    nothing = (None,) * len(found)
    paths = tuple((path,) for _, path, _ in found)
    table = ImageTable(people, nothing, np.zeros(len(found)), paths, (contract,), nothing, nothing, nothing)
    kept, cache = pack(table, place.steps, work, dtype=dtype, allow_missing=allow_missing, progress=progress)
    readers = {path: reader for _, path, reader in found}
    wanted = [readers[path] for (path,) in kept.paths]
    codes, reasons = _pack_labels(wanted, replace(place, contract=contract), work, cache.name, allow_missing)
    rows = [row for row in range(len(wanted)) if row not in reasons]
    kept, cache = kept.keep(rows, reasons), cache.keep(rows)
    source = PackedSource(cache, codes, labels.table(), kept.participants, augmentation)
    return source, contract, (*missing, *kept.left_out)


def _find_labelled(
    derivatives: Sequence[Path], place: NetInput, labels: LabelSet, exclude_flags: Sequence[str]
) -> tuple[list[tuple[str, Path, Reader]], list[tuple[str, str]]]:
    """Everybody's image with what reads the labels beside it; and who has none or is not wanted, with the reason."""
    found, missing = [], []
    for number, root in enumerate(map(Path, derivatives), start=1):
        prefix = f"{number}:" if len(derivatives) > 1 else ""
        for item in find_derivatives(root, place.contract.derivative, **place.contract.name_values):
            reader = _label_reader(root, item.participant_id, item.session_id, place.contract, labels)
            who = prefix + "_".join(filter(None, (item.participant_id, item.session_id)))
            reason = reason_by_quality(root, (item.participant_id, item.session_id), exclude_flags)
            if reader is None or reason is not None:
                missing.append((who, reason or "no labels"))
            else:
                found.append((prefix + item.participant_id, item.path, reader))
    return found, missing


def _pack_labels(
    readers: Sequence[Reader], place: NetInput, work: Path, name: str, allow_missing: bool
) -> tuple[np.ndarray, dict[int, str]]:
    """Codes of people as one memory-mapped file beside the pack of their images, and why some have none; other files make another one."""
    files = [path for reader in readers for path in reader.files]
    about = [[os.fspath(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns] for path in files]
    digest = hashlib.sha256(json.dumps([name, about]).encode()).hexdigest()[:16]
    target, index = work / f"labels-{digest}.npy", work / f"labels-{digest}.json"
    if not index.is_file():
        reasons: dict[int, str] = {}
        with write_atomic(target) as partial, Stack(partial, "uint8", len(readers)) as volumes:
            for row, reader in enumerate(readers):
                try:
                    volumes.add(labels_as_prepared(reader.read(place.contract), place.steps))
                except UnusableInput as error:
                    reasons[row] = str(error)
            if len(reasons) == len(readers):
                raise BadDataset(f"No labels can be trained on; the first: {reasons[0]}")
            refuse(reasons, allow_missing, "labels")
        sink_json({"left_out": reasons}, index)
    reasons = {int(row): why for row, why in read_json(index)["left_out"].items()}
    refuse(reasons, allow_missing, "labels")
    return np.load(target, mmap_mode="r"), reasons


def _label_reader(root: Path, participant: str, session: str | None, wanted: InputContract, labels: LabelSet) -> Reader | None:
    """What reads a person's codes on the grid of a contract; None if there is nothing to read."""
    lesions = labels.codes == ((LESION,),)
    stem = "_".join(filter(None, (participant, session)))
    res = wanted.entities.get("res", f"{wanted.voxel_mm[0]:g}")
    truth = root.parent / "truth" / participant / (session or "") / "anat" / f"{stem}_space-{SPACE}_res-{res}"
    mask, dseg = (Path(f"{truth}_{name}.nii.gz") for name in ("label-lesion_desc-true_mask", "desc-true_dseg"))
    if lesions:
        return Reader((mask,), lambda contract: _on_this_grid(mask, contract) * np.uint8(LESION)) if mask.is_file() else None
    if dseg.is_file():
        return Reader((dseg,), lambda contract: _on_this_grid(dseg, contract))
    aseg, forward = (derivative_path(root, key, participant, session) for key in ("aseg", "xfm_forward"))
    if aseg.is_file() and forward.is_file():
        return Reader((aseg, forward), lambda contract: warped_labels(aseg, forward, contract))
    return None


def _on_this_grid(path: Path, contract: InputContract) -> np.ndarray:
    codes, affine = _read_codes(path)
    if codes.shape != contract.shape or not np.allclose(affine, np.array(contract.affine), atol=1e-3):
        raise UnusableInput(f"The labels {path} lie on another grid than the images ({codes.shape} and {contract.shape} voxels).")
    return codes


def warped_labels(aseg: Path, forward: Path, contract: InputContract) -> np.ndarray:
    """Labels of a person's T1w on the grid of a contract, through the affine and (for warped images) the field of their run.

    Parameters
    ----------
    aseg : Path
        aseg codes in the T1w's space.
    forward : Path
        ``B_from-T1w_to-…_mode-image_xfm.h5``.
    contract : InputContract

    Returns
    -------
    ndarray, contract.shape, uint8
        Nearest voxel; 0 outside the image.

    Raises
    ------
    UnusableInput
        If a file cannot be read.
    """
    codes, affine = _read_codes(aseg)
    try:
        person = read_forward(forward)
    except (OSError, KeyError, ValueError) as error:
        raise UnusableInput(f"The transform {forward} cannot be read ({error}).") from error
    grid, to_index = np.array(contract.affine, dtype=np.float32), np.linalg.inv(affine).astype(np.float32)
    axes = [np.arange(n, dtype=np.float32) * grid[k, k] + grid[k, 3] for k, n in enumerate(contract.shape)]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    places = person.to_person(points, warped=contract.alignment == "nonlinear")
    index = np.rint(places @ to_index[:3, :3].T + to_index[:3, 3]).astype(np.int32)
    inside = ((index >= 0) & (index < codes.shape)).all(axis=-1)
    index[~inside] = 0
    return np.where(inside, codes[index[..., 0], index[..., 1], index[..., 2]], 0).astype(np.uint8)


def _read_codes(path: Path) -> tuple[np.ndarray, np.ndarray]:
    from brainage_bids.bids.nifti import read_image

    image = read_image(path)
    return np.asarray(image.dataobj).astype(np.uint8), image.affine
