"""Whether files are what a model was trained on; checked before every use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from brainage_bids.bids.names import derivative_path, parse_name
from brainage_bids.bids.sink import sidecar_path
from brainage_bids.bids.tables import read_json_object
from brainage_bids.modalities import MODALITIES, SYNTHESISED
from brainage_bids.models.card import ModelCard
from brainage_bids.models.image_contract import InputContract
from brainage_bids.records import UnusableInput, Withheld

if TYPE_CHECKING:
    import numpy as np

AFFINE_TOLERANCE_MM = 1e-3
SCANNED = (*MODALITIES, *SYNTHESISED)
"""Suffixes that name what was scanned; those of maps (``probseg``) do not."""


def input_paths(card: ModelCard, out_dir: Path | str, participant_id: str, session_id: str | None) -> dict[str, Path]:
    """Where the inputs of a model lie among the outputs of a session: ``InputContract.key`` → file."""
    found = {}
    for contract in card.contracts:
        found[contract.key] = derivative_path(out_dir, contract.derivative, participant_id, session_id, **contract.entities)
    return found


@dataclass(frozen=True)
class BoxedImage:
    """An image that fulfils a contract, and its place on the grid of its file.

    Attributes
    ----------
    data : ndarray, shape of the contract, float32
    affine : ndarray, (4, 4)
        Of the file.
    shape : tuple of int
        Of the file.
    source, target : tuple of slice
        Which part of the file lies in which part of `data`; empty where they are the same.
    """

    data: np.ndarray
    affine: np.ndarray
    shape: tuple[int, ...]
    source: tuple[slice, ...] = ()
    target: tuple[slice, ...] = ()

    def to_file_grid(self, values: np.ndarray) -> np.ndarray:
        """Bring values on the contract's grid to that of the file; 0 outside the box."""
        import numpy as np

        if not self.source:
            return values
        out = np.zeros(self.shape, values.dtype)
        out[self.source] = values[self.target]
        return out


def check_image(contract: InputContract, path: Path | str, asker: str) -> np.ndarray:
    """Values of an image that fulfils a contract, float32; parameters and errors as in `read_image`."""
    return read_image(contract, path, asker).data


def read_image(contract: InputContract, path: Path | str, asker: str) -> BoxedImage:
    """Check an image against a contract and read it.

    Parameters
    ----------
    contract : InputContract
    path : Path
    asker : str
        What it is for; messages say that it does not fit that.

    Raises
    ------
    UnusableInput
        If a file cannot be read or differs from its contract in modality, space, alignment, voxel size, shape, affine,
        intensity rule or skull, or holds values that are not finite, or nothing but zeros; `Withheld` if the contract has a box and
        the brain is larger.
    """
    import numpy as np

    path = Path(path)
    differences = _name_differences(contract, path) + _sidecar_differences(contract, path)
    if differences:
        raise UnusableInput(_sentence(path, asker, differences))
    image = load_image(path)
    differences = _grid_differences(contract, image.shape, image.affine)
    if differences:
        raise UnusableInput(_sentence(path, asker, differences))
    data = _values(image, path)
    if not np.isfinite(data).all():
        raise UnusableInput(f"{path} holds values that are not finite, so no age can be estimated; run the preprocessing again.")
    if not data.any():
        raise UnusableInput(f"{path} holds nothing but zeros, so no age can be estimated; look at the brain mask and the tissues.")
    return _boxed(data, image.affine, contract, path, asker) if contract.crop == "brain" else BoxedImage(data, image.affine, data.shape)


def _boxed(data: np.ndarray, affine: np.ndarray, contract: InputContract, path: Path, asker: str) -> BoxedImage:
    """The brain in the middle of the contract's box."""
    from brainage_bids.imaging.packing import extent, in_box

    brain = data > 0
    found = in_box(data, brain, contract.shape)
    if found.data is None:
        sizes = f"{_times(extent(brain))} voxels, the box {_times(contract.shape)}"
        words = f"The brain of {path} is larger than the box of {asker} ({sizes}), and a brain is never cut; use another model."
        raise Withheld(words, "brain_beyond_box")
    return BoxedImage(found.data, affine, data.shape, found.source, found.target)


def load_image(path: Path):
    """Read a NIfTI image to its end, so that a check sum that does not fit is noticed, and no further than its header promises.

    Raises
    ------
    UnusableInput
        If that is not possible.
    """
    from brainage_bids.bids.nifti import read_image

    try:
        return read_image(path)
    except UnusableInput as error:
        reason = str(error).rstrip(".")
        raise UnusableInput(f"{path} cannot be read as a model's input ({reason}): run the preprocessing of this person again.") from error


def load_header(path: Path):
    """The header of a three-dimensional NIfTI image; nothing behind it is read.

    Raises
    ------
    UnusableInput
        If that is not possible.
    """
    from brainage_bids.bids.nifti import read_header

    header = read_header(path)
    if len(header.get_data_shape()) != 3:
        raise UnusableInput(f"{path} is no three-dimensional image; run the preprocessing of this person again.")
    return header


def contract_of_image(path: Path, derivative: str, entities: Mapping[str, str], modality: str, alignment: str) -> InputContract:
    """Write down what an image is, so that later ones can be compared with it.

    Parameters
    ----------
    path : Path
        An image that was trained on; ``space-`` and ``desc-`` of its name become space and intensity rule.
    derivative, entities, modality, alignment
        As in `InputContract`.

    Raises
    ------
    UnusableInput
        If it cannot be read, its name has no space or its grid is not straight (axes along x, y, z, in RAS).
    """
    import numpy as np

    header = load_header(path)
    name = parse_name(path.name)
    named = name.entities if name is not None else {}
    affine = np.round(np.asarray(header.get_best_affine(), dtype=float), 6)
    straight = np.count_nonzero(affine[:3, :3]) == 3 and np.all(np.diag(affine)[:3] > 0)
    if named.get("space") == "T1w":  # a brain in a box: where the scanner lay, and how the head in it, does not count
        edges, straight = np.sqrt((affine[:3, :3] ** 2).sum(axis=0)), True
        affine = np.diag([*np.round(edges, 3), 1.0])
    if not straight or "space" not in named or "desc" not in named:
        raise UnusableInput(f"{path} cannot be trained on: a 3-D image in RAS axes whose name has space- and desc- is needed.")
    stripped, _ = read_json_object(sidecar_path(path))
    return InputContract(
        derivative=derivative,
        entities=dict(entities),
        modality=modality,
        space=named["space"],
        alignment=alignment,
        voxel_mm=tuple(float(edge) for edge in np.diag(affine)[:3]),
        shape=tuple(int(n) for n in header.get_data_shape()),
        affine=tuple(tuple(float(value) for value in row) for row in affine),
        intensity=named["desc"],
        crop="brain" if named["space"] == "T1w" else "none",
        stripped=bool(stripped.get("SkullStripped", True)),
    )


def _name_differences(contract: InputContract, path: Path) -> list[str]:
    """What the file's name says that the contract does not."""
    name = parse_name(path.name)
    if name is None:
        return ["its name is no BIDS name"]
    wanted = {"space": contract.space, "desc": contract.intensity}
    if "label" in contract.entities:
        wanted["label"] = contract.entities["label"]
    differences = []
    for entity, value in wanted.items():
        found = name.entities.get(entity)
        if found != value:
            differences.append(f"{entity}-{value} is needed and its name has {f'{entity}-{found}' if found else f'no {entity}-'}")
    if name.suffix in SCANNED and name.suffix != contract.modality:
        differences.append(f"a {contract.modality} is needed and it is a {name.suffix}")
    return differences


def _sidecar_differences(contract: InputContract, path: Path) -> list[str]:
    content, _ = read_json_object(sidecar_path(path))
    stripped = content.get("SkullStripped")
    if isinstance(stripped, bool) and contract.stripped not in (None, stripped):
        return [f"the skull must be {'off' if contract.stripped else 'on'} and its sidecar says the opposite"]
    return []


def _grid_differences(contract: InputContract, shape: tuple[int, ...], affine: np.ndarray) -> list[str]:
    import numpy as np

    differences, boxed = [], contract.crop == "brain"
    if len(shape) != 3 or (tuple(shape) != contract.shape and not boxed):
        differences.append(f"the shape {_times(contract.shape)} is needed and it has {_times(shape)}")
    affine = np.asarray(affine, dtype=float)
    voxel = np.sqrt((affine[:3, :3] ** 2).sum(axis=0))
    if not np.allclose(voxel, contract.voxel_mm, rtol=0, atol=AFFINE_TOLERANCE_MM):
        differences.append(f"voxels of {_times(contract.voxel_mm)} mm are needed and its are {_times(voxel)} mm")
    elif not boxed and not np.allclose(affine, np.asarray(contract.affine), rtol=0, atol=AFFINE_TOLERANCE_MM):
        differences.append("its affine is another one, so the same voxel is another place")
    return differences


def _values(image, path: Path) -> np.ndarray:
    import numpy as np

    try:
        return np.asarray(image.dataobj, dtype=np.float32)
    except (OSError, EOFError, ValueError) as error:
        raise UnusableInput(f"{path} is shorter than its header says ({error}); run the preprocessing of this person again.") from error


def _sentence(path: Path, asker: str, differences: list[str]) -> str:
    what = "; ".join(differences)
    return f"{path} does not fit {asker}: {what}. Preprocess the scan again or choose another model."


def _times(values) -> str:
    return "×".join(f"{float(value):g}" for value in values)
