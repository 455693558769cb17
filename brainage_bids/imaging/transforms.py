"""Spatial maps as ITK composite transforms in HDF5, readable by ITK, ANTs and SimpleITK."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path

import numpy as np

from brainage_bids.files import WEIGHTS, open_file
from brainage_bids.imaging.warps import WARP_GRID, SpatialMap

_LPS = np.array([-1.0, -1.0, 1.0])


def write_transforms(spatial_map: SpatialMap, forward: str | Path, inverse: str | Path) -> None:
    """Write a spatial map and its inverse.

    Parameters
    ----------
    spatial_map : SpatialMap
        Template to person and back.
    forward : path
        Resamples the person's images into the template's space: carries points of the template to the person
        (field first, affine after).
    inverse : path
        Resamples images of the template into the person's space (inverse affine first, inverse field after).

    Notes
    -----
    An ITK composite applies its last member first. Fields are stored as float32, rounded to 2⁻¹⁰ mm (a micrometre, far
    below their error), which lets gzip halve the file; ITK converts while it reads.
    """
    _write(forward, [_affine(spatial_map.affine), _field(spatial_map.displacement)])
    _write(inverse, [_field(spatial_map.inverse), _affine(np.linalg.inv(spatial_map.affine))])


def write_rigid(matrix: np.ndarray, path: str | Path) -> None:
    """Write a rigid or affine map as an ITK text file, readable by ITK, ANTs and SimpleITK.

    Parameters
    ----------
    matrix : ndarray, (4, 4)
        From the millimetres of the image that is resampled to, RAS, to those of the image that is read.
    path : path
        Ends with ``.txt``.
    """
    _, centre, parameters = _affine(matrix)
    numbers = " ".join(f"{value:.17g}" for value in parameters)
    fixed = " ".join(f"{value:.17g}" for value in centre)
    lines = ["#Insight Transform File V1.0", "#Transform 0", "Transform: AffineTransform_double_3_3"]
    Path(path).write_text("\n".join([*lines, f"Parameters: {numbers}", f"FixedParameters: {fixed}", ""]), encoding="ascii")


def read_transforms(forward: str | Path, inverse: str | Path) -> SpatialMap:
    """Read what `write_transforms` wrote; the last pair is remembered as long as its files do not change.

    Raises
    ------
    ValueError
        If a file is not such a pair on our grid.
    """
    return _pair(_version(forward), _version(inverse))


def _version(path: str | Path) -> tuple[str, int, int]:
    """A file as it is now: path, size, and time of change."""
    found = os.stat(path)
    return str(path), found.st_size, found.st_mtime_ns


@lru_cache(maxsize=1)
def _pair(forward: tuple[str, int, int], inverse: tuple[str, int, int]) -> SpatialMap:
    affine, displacement = _read(forward[0], ("AffineTransform", "DisplacementFieldTransform"))
    back, _ = _read(inverse[0], ("DisplacementFieldTransform", "AffineTransform"))
    return SpatialMap(_matrix(affine), _vectors(displacement, forward[0]), _vectors(back, inverse[0]))


def read_forward(forward: str | Path) -> SpatialMap:
    """The map of a forward transform alone; its inverse is found when it is first needed.

    Raises
    ------
    ValueError
        If the file was not written by `write_transforms`.
    """
    affine, displacement = _read(forward, ("AffineTransform", "DisplacementFieldTransform"))
    return SpatialMap(_matrix(affine), _vectors(displacement, forward))


def _affine(matrix: np.ndarray) -> tuple[str, np.ndarray, np.ndarray]:
    flip = np.diag([*_LPS, 1.0])
    lps = flip @ matrix @ flip
    return "AffineTransform", np.zeros(3), np.concatenate([lps[:3, :3].ravel(), lps[:3, 3]])


def rounded_field(vectors: np.ndarray) -> np.ndarray:
    """A displacement field rounded to 2⁻¹⁰ mm, float32, as it is written.

    Examples
    --------
    >>> rounded_field(np.array([0.3], dtype=np.float32))[0] == 307 / 1024
    np.True_
    """
    return np.rint(vectors * np.float32(1024)) / np.float32(1024)


def _field(vectors: np.ndarray) -> tuple[str, np.ndarray, np.ndarray]:
    shape = np.array(WARP_GRID.shape, dtype=float)
    origin = _LPS * np.array(WARP_GRID.origin_mm)
    fixed = np.concatenate([shape, origin, [WARP_GRID.voxel_mm] * 3, np.diag(_LPS).ravel()])
    parameters = np.transpose(rounded_field(vectors) * _LPS.astype(np.float32), (2, 1, 0, 3)).ravel()
    return "DisplacementFieldTransform", fixed, parameters.astype(np.float32)


def _write(path: str | Path, members: list[tuple[str, np.ndarray, np.ndarray]]) -> None:
    import h5py

    text = h5py.string_dtype("ascii")
    with h5py.File(path, "w") as file:
        for name, value in (("ITKVersion", "5.4.0"), ("HDFVersion", h5py.version.hdf5_version), ("OSName", "n/a"), ("OSVersion", "n/a")):
            file.create_dataset(name, data=[value], dtype=text)
        group = file.create_group("TransformGroup")
        group.create_group("0").create_dataset("TransformType", data=["CompositeTransform_double_3_3"], dtype=text)
        for number, (kind, fixed, parameters) in enumerate(members, start=1):
            member = group.create_group(str(number))
            member.create_dataset("TransformType", data=[f"{kind}_double_3_3"], dtype=text)
            member.create_dataset("TransformFixedParameters", data=fixed)
            packed = {"compression": "gzip", "compression_opts": 1, "shuffle": True} if parameters.size > 100 else {}
            member.create_dataset("TransformParameters", data=parameters, **packed)


def _read(path: str | Path, kinds: tuple[str, str]) -> list[np.ndarray]:
    import h5py

    with open_file(path, WEIGHTS) as opened, h5py.File(opened, "r") as file:
        members = [file[f"TransformGroup/{number}"] for number in (1, 2)]
        found = tuple(member["TransformType"][0].decode().split("_")[0] for member in members)
        if found != kinds:
            raise ValueError(f"{path} holds {found}, not {kinds}; it was not written by this app")
        return [member["TransformParameters"][()] for member in members]


def _matrix(parameters: np.ndarray) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3] = parameters[:9].reshape(3, 3)
    matrix[:3, 3] = parameters[9:]
    flip = np.diag([*_LPS, 1.0])
    return flip @ matrix @ flip


def _vectors(parameters: np.ndarray, path: str | Path) -> np.ndarray:
    shape = (*WARP_GRID.shape[::-1], 3)
    if parameters.size != np.prod(shape):
        raise ValueError(f"{path} holds a field of {parameters.size} numbers, not one on the grid {WARP_GRID.shape}")
    return np.ascontiguousarray(np.transpose(parameters.reshape(shape), (2, 1, 0, 3)) * _LPS.astype(np.float32), dtype=np.float32)
