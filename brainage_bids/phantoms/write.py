"""A phantom cohort on disk: names, sidecars, and the files at the root of the raw dataset and of its truth.

Everything is written by `bids.sink`, so that no file is ever partial. Of a visit ``B_desc-true_parameters.json`` comes last and
lists the others: where it lies, with the fingerprint of the design, the visit is finished.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from brainage_bids import __version__
from brainage_bids.bids.dataset import BIDS_VERSION
from brainage_bids.bids.names import derivative_path, io_spec
from brainage_bids.bids.sidecars import image_sidecar, table_columns
from brainage_bids.bids.sink import sidecar_path, sink_image, sink_json, sink_table
from brainage_bids.files import read_json
from brainage_bids.imaging.volumes import read_regions
from brainage_bids.modalities import MODALITIES, by_words
from brainage_bids.phantoms import blood, cohort, scanners, simulated
from brainage_bids.phantoms.design import Design, differences
from brainage_bids.phantoms.people import Visit
from brainage_bids.phantoms.tables import write_text
from brainage_bids.records import SPACE, BadConfiguration

if TYPE_CHECKING:
    from brainage_bids.phantoms.render import Rendering

TRUTH, TABLES = Path("derivatives") / "truth", Path("derivatives") / "brainage"
PARAMETERS = "desc-true_parameters.json"
RAW_README = """# A phantom cohort

Nobody was scanned for this dataset: people, images, blood and diagnoses are simulated by brainage-phantom of brainage_bids {version}.
What is true of every person - brain age, volumes, lesions, iron - lies in `derivatives/truth/`; every effect that was planted, with its
size, is written in `derivatives/truth/effects.json`, and the design in `derivatives/truth/design.json`.
"""
TRUTH_README = """# The truth of a phantom cohort

`participants.tsv` has a row a visit: age, latent gap, brain age, where the person stands in every law, true volumes and iron.
`effects.json` says what was planted, `design.json` what was asked for. Each visit has the true labels (aseg codes), the mask of
white-matter lesions, the atrophy map (logarithm of the local volume over that in the person's own head at 20 years), the iron map
(mg/kg), the true volumes, and `*_parameters.json` with everything else, seeds included.
"""
TABLES_README = """# Simulated outputs

No image was processed for these files. They were drawn by brainage-phantom to try analyses of groups; the laws are written in
`../truth/effects.json` under `simulated`.
"""
TRUE_MAPS: Mapping[str, tuple[str, str, dict[str, Any]]] = {
    "labels": ("desc-true_dseg", "True labels, aseg codes; 0 outside the brain and its fluid.", {}),
    "lesions": ("label-lesion_desc-true_mask", "True white-matter lesions.", {"Type": "Lesion"}),
}
"""Ends of names, descriptions and further fields of what is true on the template's grid."""
TRUTH_IGNORED = ["participants.*", "effects.json", "design.json", "*_atrophy.*", "*_iron.*", "*_morph.*", "*_parameters.json"]
RAW_IGNORED = [f"*_{row.suffix}{ending}" for row in MODALITIES.values() if not row.in_bids for ending in (".nii.gz", ".json")]
"""Names that the validator does not know; besides, it takes a person in two rows of a phenotype table, one a session, for an error."""


def visit_folder(root: Path, visit: Visit) -> Path:
    """The ``anat`` folder of a visit below a dataset."""
    return root / visit.participant_id / (visit.session_id or "") / "anat"


def check_place(out: Path, design: Design, place: Path = TRUTH / "design.json") -> bool:
    """See that a folder is empty or holds the same cohort, and write its design there, at `place`; tell whether it was there.

    Raises
    ------
    BadConfiguration
        If it holds something else, or a cohort of another design.
    """
    path = out / place
    if path.exists():
        try:
            record = read_json(path)
            different = differences(design, record)
        except (ValueError, TypeError) as error:
            raise BadConfiguration(f"The design of the cohort in {out} cannot be read ({error}); give another folder.") from error
        if record.get("fingerprint") != design.fingerprint:
            raise BadConfiguration(
                f"{out} holds a cohort of another design ({'; '.join(different) or 'another version'}); give another folder or remove it."
            )
        return True
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise BadConfiguration(f"{out} is not empty and holds no phantom cohort; give a new or empty folder.")
    sink_json(design.record(), path)
    return False


def write_effects(out: Path, design: Design) -> None:
    """Write every planted effect with its size."""
    content = {
        **cohort.describe(design),
        "laws_of_ageing": "functions of brain age, sex and standings with their sources: brainage_bids/phantoms/ageing.py",
        "scanners": scanners.describe(scanners.make_scanners(design)),
        "blood": blood.describe(design.missing) if design.blood else None,
        "simulated": simulated.describe(design) if design.tables_only else None,
    }
    sink_json(content, out / TRUTH / "effects.json")


def write_roots(out: Path, design: Design) -> None:
    """Write what makes the folders datasets; the description of the raw one, which comes last, says that all is there."""
    made_by = {"Name": "brainage_bids", "Version": __version__, "Description": "brainage-phantom"}
    derivative = {
        "BIDSVersion": BIDS_VERSION,
        "DatasetType": "derivative",
        "GeneratedBy": [made_by],
        "DatasetLinks": {"raw": "../.."},
    }
    write_text(out / TRUTH / "README.md", TRUTH_README)
    if not design.tables_only and design.model_space != "tissues":
        rows = [{"index": region.index, "name": region.name, "hemisphere": region.hemisphere} for region in read_regions()]
        sink_table(rows, out / TRUTH / "desc-true_dseg.tsv", table_columns("lookup"))
    write_text(out / TRUTH / ".bidsignore", "\n".join(TRUTH_IGNORED) + "\n")
    sink_json({"Name": "Truth of a phantom cohort", **derivative}, out / TRUTH / "dataset_description.json")
    if design.tables_only or design.model_space:
        write_text(out / TABLES / "README.md", TABLES_README)
        write_text(out / TABLES / ".bidsignore", "\n".join(io_spec()["bidsignore"] + ["brainage.json"]) + "\n")
        linked = derivative | {"DatasetLinks": {"raw": "../..", "truth": "../truth"}}
        sink_json({"Name": "Simulated outputs of brainage_bids", **linked}, out / TABLES / "dataset_description.json")
    write_text(out / "README.md", RAW_README.format(version=__version__))
    write_text(out / ".bidsignore", "\n".join(RAW_IGNORED + ["phenotype/blood.*"] * (design.sessions > 1)) + "\n")
    raw = {
        "Name": "A phantom cohort",
        "BIDSVersion": BIDS_VERSION,
        "DatasetType": "raw",
        "License": "CC0",
        "Authors": ["brainage-phantom"],
        "GeneratedBy": [made_by],
    }
    sink_json(raw, out / "dataset_description.json")


def is_complete(out: Path) -> bool:
    """Whether a cohort whose design was checked is there as a whole."""
    return (out / "dataset_description.json").exists()


def read_parameters(out: Path, design: Design, visit: Visit) -> dict[str, Any] | None:
    """What is recorded of a finished visit; None if it has to be made."""
    path = visit_folder(out / TRUTH, visit) / f"{visit.stem}_{PARAMETERS}"
    try:
        content = read_json(path)
    except (FileNotFoundError, ValueError):
        return None
    finished = content.get("fingerprint") == design.fingerprint and all(
        (out / name).is_file() and (out / name).stat().st_size == size for name, size in content["files"].items()
    )
    return content if finished else None


def write_visit(out: Path, design: Design, visit: Visit, rendering: Rendering) -> None:
    """Write the images of a visit and its truth."""
    files = []
    for modality, (array, affine) in rendering.images.items():
        path = visit_folder(out, visit) / f"{visit.stem}_{by_words()[modality].suffix}.nii.gz"
        described = {**scanners.sidecar(visit.scanner, modality), "SeriesDescription": f"simulated {modality}"}
        files.append(sink_image(_nifti(_as_integers(array), affine), path, described))
    folder, stem = visit_folder(out / TRUTH, visit), visit.stem
    source: dict[str, Any] = {"Sources": [f"bids:raw:{path.relative_to(out).as_posix()}" for path in files]}
    if "T1w" in rendering.images:
        source["SpatialReference"] = f"bids:raw:{(visit_folder(Path(), visit) / f'{visit.stem}_T1w.nii.gz').as_posix()}"
    maps = {
        "desc-true_dseg": (rendering.labels, "True labels, aseg codes; 0 outside the brain and its fluid.", {}),
        "label-lesion_desc-true_mask": (rendering.lesions, "True white-matter lesions.", {"Type": "Lesion"}),
        "desc-true_atrophy": (rendering.atrophy, "Logarithm of the local volume over that in the same head at 20 years.", {}),
        "desc-true_iron": (rendering.iron, "Iron in fresh tissue.", {"Units": "mg/kg"}),
    }
    for name, (array, words, extra) in maps.items():
        sidecar = {"Description": words, **source, **extra}
        files.append(sink_image(_nifti(array, rendering.affine), folder / f"{stem}_{name}.nii.gz", sidecar))
    rows = [{"name": name, "value": round(float(value), 4)} for name, value in rendering.volumes.items()]
    columns = {
        "name": {"Description": "Structure, or microbleeds (their number)"},
        "value": {"Description": "True volume, counted in the labels", "Units": "mL"},
    }
    files.append(sink_table(rows, folder / f"{stem}_desc-true_morph.tsv", columns))
    _write_parameters(out, design, visit, rendering.volumes, rendering.effects, files)


def write_model_space(
    out: Path, design: Design, visit: Visit, maps: Mapping[str, np.ndarray], volumes: Mapping[str, float], *, stripped: bool = False
) -> None:
    """Write maps on a model's grid under the names by which models find them, and the parameters of the visit.

    Parameters
    ----------
    maps : mapping
        Modulated ``GM``, ``WM``, ``CSF`` on the grid of 1.5 mm, or ``T1w`` on that of 1 mm; ``labels`` and ``lesions`` with it go to the
        truth, ``matrix`` to the parameters.
    volumes : mapping
        mL, what is true.
    stripped : bool
        The brain was cut out of the T1w.
    """
    from brainage_bids.imaging.smooth import smooth

    files, effects = [], {}
    for name, array in maps.items():
        if name == "matrix":
            effects = {"template_to_scanner_mm": array.round(6).tolist(), "stripped": stripped}
            continue
        if name in TRUE_MAPS:
            files.append(_sink_true_map(out, visit, name, array))
            continue
        if name == "T1w":
            files.append(_sink_on_grid(out, visit, "t1w_mni_affine", "1", _as_integers(array), stripped=stripped))
            continue
        array = np.asarray(array, np.float32)
        files.append(_sink_on_grid(out, visit, "modulated", "1p5", array, label=name))
        files.append(_sink_on_grid(out, visit, "modulated_smooth", "1p5", smooth(array, 4.0, (1.5, 1.5, 1.5)), label=name))
    _write_parameters(out, design, visit, volumes, effects, files)


def _sink_true_map(out: Path, visit: Visit, name: str, array: np.ndarray) -> Path:
    from brainage_bids.imaging.grids import GRIDS

    ending, words, extra = TRUE_MAPS[name]
    sidecar = {"Description": words, "Resolution": "The grid of 1 mm of the template", **extra}
    path = visit_folder(out / TRUTH, visit) / f"{visit.stem}_space-{SPACE}_res-1_{ending}.nii.gz"
    return sink_image(_nifti(array, GRIDS["1"].affine, code="mni"), path, sidecar)


def _sink_on_grid(out: Path, visit: Visit, key: str, grid: str, array: np.ndarray, *, stripped: bool = True, **entities: str) -> Path:
    from brainage_bids.imaging.grids import GRIDS

    ids = (visit.participant_id, visit.session_id)
    truth = visit_folder(Path(), visit) / f"{visit.stem}_{PARAMETERS}"
    sidecar = image_sidecar(
        key,
        *ids,
        sources=[f"bids:truth:{truth.as_posix()}"],
        skull_stripped=stripped,
        extra={"SeriesDescription": "simulated for this grid; no raw image was kept"},
        **entities,
    )
    image = _nifti(array, GRIDS[grid].affine, code="mni")
    return sink_image(image, derivative_path(out / TABLES, key, *ids, **entities), sidecar)


def _write_parameters(
    out: Path, design: Design, visit: Visit, volumes: Mapping[str, float], effects: Mapping[str, object], files: list[Path]
) -> None:
    every = [*files, *(sidecar_path(path) for path in files)]
    content = {
        "fingerprint": design.fingerprint,
        "visit": asdict(visit),
        "volumes": dict(volumes),
        "effects": dict(effects),
        "files": {path.relative_to(out).as_posix(): path.stat().st_size for path in sorted(every)},
    }
    sink_json(content, visit_folder(out / TRUTH, visit) / f"{visit.stem}_{PARAMETERS}")


def _as_integers(array: np.ndarray) -> np.ndarray:
    """Intensities as a scanner writes them: whole numbers from 0 on."""
    return np.clip(np.rint(array), 0, np.iinfo(np.int16).max).astype(np.int16)


def _nifti(array: np.ndarray, affine: np.ndarray, code: str = "scanner"):
    import nibabel as nib

    image = nib.Nifti1Image(array, affine)
    image.set_sform(affine, code=code)
    image.set_qform(affine, code=code)
    image.header.set_xyzt_units("mm")
    return image
