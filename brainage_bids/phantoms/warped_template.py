"""A dataset of two synthetic people for the demonstration: the template's brain, smoothly deformed, with bias and noise.

``python -m brainage_bids.phantoms.warped_template BIDS_DIR`` writes it. It needs no download: the template comes with nilearn.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
from scipy import ndimage

PEOPLE = (
    {"participant_id": "sub-demo01", "age": 31, "sex": "F"},
    {"participant_id": "sub-demo02", "age": 64, "sex": "M"},
)
"""Rows of participants.tsv; ages and sexes are invented, the images know nothing of them."""

README = """Two synthetic people
====================

Nobody was scanned for this dataset. Each image is the skull-stripped MNI152NLin2009aSym template (2 mm) after a smooth
random deformation of its own, with a smooth intensity bias and Gaussian noise. Age and sex are invented; a brain age of
these images means nothing. The dataset shows that the app runs from end to end.
"""


def smooth_field(shape: tuple[int, ...], scale: float, rng: np.random.Generator) -> np.ndarray:
    """Gaussian noise smoothed to a correlation length and set to a standard deviation of one.

    Parameters
    ----------
    shape : tuple of int
        Shape of the field, in voxels.
    scale : float
        Standard deviation of the smoothing Gaussian, in voxels.
    rng : numpy.random.Generator
        Source of the noise.

    Returns
    -------
    numpy.ndarray
        Field of that shape, float64, standard deviation 1.

    Examples
    --------
    >>> field = smooth_field((20, 20, 20), 3, np.random.default_rng(0))
    >>> round(float(field.std()), 6)
    1.0
    """
    field = ndimage.gaussian_filter(rng.standard_normal(shape), scale, mode="wrap")
    return field / field.std()


def exponential(velocity: np.ndarray, steps: int = 6) -> np.ndarray:
    """Displacement reached by flowing along a stationary velocity field for unit time (scaling and squaring).

    Parameters
    ----------
    velocity : numpy.ndarray
        (3, X, Y, Z), voxels per unit time.
    steps : int
        Number of squarings; the flow starts from ``velocity / 2**steps``.

    Returns
    -------
    numpy.ndarray
        (3, X, Y, Z) displacement u in voxels; x → x + u(x) is invertible where the velocity is smooth.

    Notes
    -----
    Arsigny et al. 2006, "A log-Euclidean framework for statistics on diffeomorphisms": φ ← φ ∘ φ, ``steps`` times.

    Examples
    --------
    A uniform velocity moves every point by itself:

    >>> uniform = np.full((3, 4, 4, 4), 0.5)
    >>> round(float(exponential(uniform)[0, 1, 1, 1]), 6)
    0.5
    """
    grid = np.indices(velocity.shape[1:], dtype=float)
    displacement = velocity / 2**steps
    for _ in range(steps):
        there = grid + displacement
        displacement = displacement + np.stack([ndimage.map_coordinates(part, there, order=1, mode="nearest") for part in displacement])
    return displacement


def jacobian_determinant(displacement: np.ndarray) -> np.ndarray:
    """Determinant of the derivative of x → x + u(x), by central differences; below 0 the map folds.

    Parameters
    ----------
    displacement : numpy.ndarray
        (3, X, Y, Z), voxels.

    Returns
    -------
    numpy.ndarray
        (X, Y, Z), without unit.

    Examples
    --------
    >>> x = np.indices((5, 5, 5), dtype=float)
    >>> round(float(jacobian_determinant(0.1 * x)[2, 2, 2]), 6)  # every axis stretched by 1.1
    1.331
    """
    derivative = np.stack([np.stack(np.gradient(part)) for part in displacement]) + np.eye(3)[:, :, None, None, None]
    return np.linalg.det(np.moveaxis(derivative, (0, 1), (-2, -1)))


def warped_person(template: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Deform the template by up to some millimetres, then add a bias field and noise.

    Parameters
    ----------
    template : numpy.ndarray
        (X, Y, Z) at 2 mm, 0 outside the brain, 1 at its brightest.
    rng : numpy.random.Generator
        Source of deformation, bias and noise.

    Returns
    -------
    numpy.ndarray
        (X, Y, Z) int16, 0 outside the brain, about 1000 in white matter.
    """
    velocity = np.stack([1.2 * smooth_field(template.shape, 8, rng) for _ in range(3)])
    there = np.indices(template.shape, dtype=float) + exponential(velocity)
    warped = ndimage.map_coordinates(template, there, order=1, mode="constant")
    bias = np.exp(0.1 * smooth_field(template.shape, 20, rng))
    noisy = warped * bias + rng.normal(scale=0.02, size=template.shape)
    brain = ndimage.map_coordinates((template > 0.05).astype(float), there, order=1, mode="constant") > 0.5
    return np.where(brain, np.clip(1200 * noisy, 1, None), 0).astype(np.int16)


def write_dataset(bids_dir: Path, seed: int = 1) -> None:
    """Write the dataset: raw BIDS, two people, one T1w each, valid by the BIDS validator.

    Parameters
    ----------
    bids_dir : Path
        Folder to make; files of the same name are replaced.
    seed : int
        The same seed gives the same images.
    """
    import nibabel as nib
    from nilearn.datasets import load_mni152_template

    image = load_mni152_template(resolution=2)
    template = image.get_fdata()
    template /= template.max()
    for number, person in enumerate(PEOPLE):
        data = warped_person(template, np.random.default_rng([seed, number]))
        scan = bids_dir / person["participant_id"] / "anat" / f"{person['participant_id']}_T1w.nii.gz"
        scan.parent.mkdir(parents=True, exist_ok=True)
        nifti = nib.Nifti1Image(data, image.affine)
        nifti.header.set_xyzt_units("mm")
        nib.save(nifti, scan)
        sidecar = {"Modality": "MR", "SkullStripped": True, "SeriesDescription": "synthetic: deformed MNI152NLin2009aSym template"}
        scan.with_name(f"{person['participant_id']}_T1w.json").write_text(json.dumps(sidecar, indent=2) + "\n", encoding="utf-8")
    _write_texts(bids_dir)


def _write_texts(bids_dir: Path) -> None:
    rows = ["participant_id\tage\tsex"] + [f"{p['participant_id']}\t{p['age']}\t{p['sex']}" for p in PEOPLE]
    (bids_dir / "participants.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    columns = {
        "age": {"Description": "Invented age", "Units": "year"},
        "sex": {"Description": "Invented sex", "Levels": {"F": "female", "M": "male"}},
    }
    (bids_dir / "participants.json").write_text(json.dumps(columns, indent=2) + "\n", encoding="utf-8")
    (bids_dir / "README").write_text(README, encoding="utf-8")
    description = {
        "Name": "Two synthetic people (deformed template)",
        "BIDSVersion": "1.10.0",
        "DatasetType": "raw",
        "License": "CC0",
        "Authors": ["The brainage_bids developers"],
        "GeneratedBy": [{"Name": "brainage_bids.phantoms.warped_template"}],
    }
    # Last: whoever finds this file finds a complete dataset.
    (bids_dir / "dataset_description.json").write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")


def main(argv: list[str] | None = None) -> int:
    """Write the dataset into the folder named on the command line."""
    parser = argparse.ArgumentParser(prog="python -m brainage_bids.phantoms.warped_template", description=__doc__.splitlines()[0])
    parser.add_argument("bids_dir", type=Path)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(argv)
    write_dataset(options.bids_dir, options.seed)
    print(f"Two synthetic people: {options.bids_dir}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
