"""Painted heads for benchmarks: the given painter, other contrasts, thick slices, and deformed anatomies."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy import ndimage

CONTRASTS = {
    "flair": {"GM": 0.80, "caudate": 0.78, "putamen": 0.74, "thalamus": 0.72, "pallidum": 0.60, "WM": 0.62, "stem": 0.66, "fluid": 0.12},
    "t2star": {"GM": 0.72, "caudate": 0.64, "putamen": 0.58, "thalamus": 0.62, "pallidum": 0.38, "WM": 0.60, "stem": 0.60, "fluid": 0.95},
}
"""Intensities of tissues where they are not those of a T1w, on the painter's scale."""

LATERAL_VENTRICLES, CORTEX, OUTER_FLUID = (4, 43), (3, 42), 24
REACH_MM = 20.0


@dataclass(frozen=True)
class Variant:
    """How a head is painted: noise and bias as shares, edges of voxels and slices in mm, contrast, deformation."""

    noise: float = 0.04
    bias: float = 0.3
    voxel: float = 1.0
    slices: float = 0.0
    contrast: str = "t1"
    deform: str = "none"

    @property
    def name(self) -> str:
        """Name of a folder."""
        return f"{self.contrast}_noise{self.noise}_bias{self.bias}_voxel{self.voxel}_slices{self.slices}_{self.deform}"


def load_painter(path: Path):
    """The painting script as a module."""
    spec = importlib.util.spec_from_file_location("painter", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def paint(painter, label_file: Path, folder: Path, variant: Variant, seed: int = 0) -> None:
    """Write T1w.nii.gz (of any contrast), dseg.nii.gz and aseg.nii.gz to a folder, unless they are there."""
    if (folder / "aseg.nii.gz").exists():
        return
    source = nib.as_closest_canonical(nib.load(label_file))
    labels, affine = np.asarray(source.dataobj).astype("i2"), source.affine
    labels = {"none": lambda x: x, "ventricles": with_large_ventricles, "atrophy": with_thin_cortex}[variant.deform](labels)
    means = painter.T1_MEAN
    painter.T1_MEAN = means if variant.contrast == "t1" else _means(painter, CONTRASTS[variant.contrast])
    image, tissues = painter.paint(labels, variant.bias, seed), painter.tissues(labels)
    painter.T1_MEAN = means
    if variant.voxel != 1.0:
        zoom = np.array(source.header.get_zooms()[:3]) / variant.voxel
        image = ndimage.zoom(ndimage.gaussian_filter(image, 0.4 / zoom), zoom, order=1)
        labels, tissues = (ndimage.zoom(volume, zoom, order=0) for volume in (labels, tissues))
        affine = affine @ np.diag([*(1 / zoom), 1.0])
    if variant.slices:
        image, labels, tissues, affine = _thick(image, labels, tissues, affine, round(variant.slices))
    image = painter.add_rician_noise(image, variant.noise, seed) * 1000
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in (("T1w", image.astype("i2")), ("dseg", tissues), ("aseg", labels)):
        nib.save(nib.Nifti1Image(data, affine), folder / f"{name}.nii.gz")


def with_large_ventricles(labels: np.ndarray, push: float = 6.0) -> np.ndarray:
    """Labels pushed away from the lateral ventricles by up to `push` voxels, less further off."""
    ventricles = np.isin(labels, LATERAL_VENTRICLES)
    distance = ndimage.distance_transform_edt(~ventricles)
    slope = np.gradient(ndimage.gaussian_filter(distance, 2))
    length = np.sqrt(sum(part**2 for part in slope)) + 1e-3
    amount = np.where(ventricles, 0, push * np.exp(-distance / REACH_MM)) / length
    where = [index - amount * part for index, part in zip(np.indices(labels.shape, dtype="f4"), slope)]
    return ndimage.map_coordinates(labels, where, order=0, mode="nearest")


def with_thin_cortex(labels: np.ndarray) -> np.ndarray:
    """Labels whose outermost voxels of cortex are fluid."""
    rim = np.isin(labels, CORTEX) & ndimage.binary_dilation(labels == OUTER_FLUID)
    return np.where(rim, OUTER_FLUID, labels).astype(labels.dtype)


def _means(painter, levels: dict[str, float]) -> list:
    names = (
        ("GM", painter.CORTEX + painter.OTHER_GREY + painter.CEREBELLAR_CORTEX), ("caudate", painter.CAUDATE), ("putamen", painter.PUTAMEN),
        ("thalamus", painter.THALAMUS), ("pallidum", painter.PALLIDUM), ("WM", painter.WHITE + painter.CEREBELLAR_WHITE),
        ("stem", painter.STEM), ("fluid", painter.FLUID),
    )  # fmt: skip
    return [(codes, levels[name]) for name, codes in names]


def _thick(image, labels, tissues, affine, count: int):
    """Slices of `count` voxels along z: their mean intensity, and the label that most of the voxel has (the lower of equals)."""
    number = image.shape[2] // count

    def slabs(volume: np.ndarray) -> np.ndarray:
        return volume[:, :, : number * count].reshape(*volume.shape[:2], number, count)

    inside = slabs(labels)
    alike = np.stack([(inside == inside[..., [k]]).sum(axis=-1) for k in range(count)], axis=-1)
    most = alike.argmax(axis=-1)[..., None]
    step = np.eye(4)
    step[2, 2], step[2, 3] = count, (count - 1) / 2
    labels, tissues = (np.take_along_axis(slabs(volume), most, axis=-1)[..., 0] for volume in (labels, tissues))
    return slabs(image).mean(axis=-1), labels, tissues, affine @ step
