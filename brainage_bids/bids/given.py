"""Scans that a program gives by path or as images in memory, and what it says of the person, as a session."""

from __future__ import annotations

import math
import numbers
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from brainage_bids.bids.names import parse_name
from brainage_bids.records import BadConfiguration, Scan, Session, UnusableInput

if TYPE_CHECKING:
    from nibabel.spatialimages import SpatialImage

    Image = str | os.PathLike[str] | SpatialImage

SOMEBODY = "sub-01"
"""Who it is if no file name says it."""


def path_of(image: Image) -> Path | None:
    """Where an image lies; None for one in memory."""
    if isinstance(image, str | os.PathLike):
        return Path(os.path.abspath(image))
    if not hasattr(image, "dataobj"):
        raise BadConfiguration(f"A scan is given as {type(image).__name__}; give the path of a NIfTI file, or an image of nibabel.")
    return None


def scans_of(images: Mapping[str, Image | None], folder: Path) -> dict[str, Scan]:
    """Images as scans; those in memory are written."""
    import nibabel as nib

    given = {modality: image for modality, image in images.items() if image is not None}
    paths = {modality: path_of(image) for modality, image in given.items()}
    who = _who([path for path in paths.values() if path])
    for modality in (modality for modality, path in paths.items() if path is None):
        visit = [f"{who[1]}_"] if who[1] else []
        path = folder.joinpath(*filter(None, who), "anat", f"{who[0]}_{''.join(visit)}{modality}.nii")
        path.parent.mkdir(parents=True, exist_ok=True)
        nib.save(given[modality], path)
        paths[modality] = path
    entities = {"subject": who[0].removeprefix("sub-")} | ({"session": who[1].removeprefix("ses-")} if who[1] else {})
    return {modality: Scan(path, modality, entities, f"the {modality} that was given") for modality, path in paths.items()}


def _who(paths: Sequence[Path]) -> tuple[str, str | None]:
    """Participant and session by the name of the first file, if it is one of BIDS."""
    name = parse_name(paths[0].name) if paths else None
    if name is None or "sub" not in name.entities:
        return SOMEBODY, None
    return f"sub-{name.entities['sub']}", f"ses-{name.entities['ses']}" if "ses" in name.entities else None


def root_of(scans: Mapping[str, Scan], out_dir: Path) -> Path:
    """The dataset of the scans, or the folder that they share; never the outputs, among which images from memory may lie."""
    shared = Path(os.path.commonpath([scan.path.parent for scan in scans.values()]))
    datasets = (folder for folder in (shared, *shared.parents) if folder != out_dir and (folder / "dataset_description.json").is_file())
    return next(datasets, shared)


def session_of(scans: Mapping[str, Scan], age: object, sex: object, phenotype: Mapping[str, object]) -> Session:
    """The session of the scans; UnusableInput for an age that is no number, another sex than F and M, a value that no table holds."""
    values = {"age": age, **phenotype}
    for name, value in values.items():
        number = isinstance(value, numbers.Real) and not isinstance(value, bool)
        if not (value is None or (number and math.isfinite(value)) or (isinstance(value, str) and name != "age")):
            raise UnusableInput(f"The value {value!r} of {name} is no number; give None where it is not known.")
    if sex not in ("F", "M", None):
        raise UnusableInput(f"The sex is {sex!r}; give 'F', 'M' or None.")
    plain = {name: float(value) if isinstance(value, numbers.Real) else value for name, value in values.items()}
    years = plain.pop("age")
    visit = scans["T1w"].entities.get("session")
    return Session(f"sub-{scans['T1w'].entities['subject']}", f"ses-{visit}" if visit else None, scans, years, sex, phenotype=plain)
