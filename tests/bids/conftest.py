import gzip
import itertools
import json
import re
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from brainage_bids.bids import names, sidecars, sink


def write_image(path: Path, zoom: float = 1.0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(np.zeros((2, 2, 2), np.uint8), np.diag([zoom, zoom, zoom, 1.0])), path)
    return path


@pytest.fixture
def write_header() -> Callable[..., Path]:
    """Write the header of an image alone: what is chosen by it must not look at voxels."""

    def write(path: Path, shape: tuple[int, ...], voxel: tuple[float, ...], *, units: str = "mm", kind: str = "int16") -> Path:
        header = nib.Nifti1Header()
        header.set_data_shape(shape)
        header.set_data_dtype(kind if kind != "RGB" else np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")]))
        header["pixdim"][1:4] = voxel
        header.set_xyzt_units(units)
        header["vox_offset"] = 352
        path.parent.mkdir(parents=True, exist_ok=True)
        content = header.binaryblock + bytes(4)
        path.write_bytes(gzip.compress(content) if path.name.endswith(".gz") else content)
        return path

    return write


@pytest.fixture
def make_dataset(tmp_path: Path) -> Callable[..., Path]:
    """Write a dataset of empty files: name -> None (empty), text, a dict (JSON) or a float (image of that voxel size)."""

    def make(content: dict, *, folder: str = "raw", description: object = True) -> Path:
        root = tmp_path / folder
        root.mkdir(parents=True, exist_ok=True)
        if description is not None:
            content = {"dataset_description.json": {"Name": "x", "BIDSVersion": "1.8.0"} if description is True else description, **content}
        for name, value in content.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(value, float):
                write_image(path, value)
            elif isinstance(value, bytes):
                path.write_bytes(value)
            elif isinstance(value, str | None):
                path.write_text(value or "", encoding="utf-8")
            else:
                path.write_text(json.dumps(value), encoding="utf-8")
        return root

    return make


VARIANTS = {
    "label": ["GM", "WM", "CSF"],
    "res": ["1", "2"],
    "desc": ["structures"],
    "model": ["gpr36"],
    "modality": ["FLAIR", "swi"],
    "image": ["T1w", "FLAIR"],
}
"""Values of the entities that have no default."""


@pytest.fixture
def output_names():
    """Every name that the name table can make, as key and entities."""
    found = []
    for key, output in names.io_spec()["outputs"].items():
        free = [entity for entity in re.findall(r"{(\w+)}", output["name"]) if entity in VARIANTS]
        found += [(key, dict(zip(free, values, strict=True))) for values in itertools.product(*(VARIANTS[entity] for entity in free))]
    return found


@pytest.fixture
def write_outputs(output_names):
    """Write a small file under every name, with its sidecar."""

    def write(out: Path, sub: str, ses: str | None) -> list[Path]:
        return [_write_output(out, key, sub, ses, entities) for key, entities in output_names]

    return write


def _write_output(out: Path, key: str, sub: str, ses: str | None, entities: dict) -> Path:
    path = names.derivative_path(out, key, sub, ses, **entities)
    if path.name.endswith(".nii.gz"):
        image = nib.Nifti1Image(np.ones((3, 3, 3), np.uint8), np.eye(4))
        image.header.set_xyzt_units("mm")
        sidecar = sidecars.image_sidecar(key, sub, ses, sources=["bids:raw:x.nii.gz"], skull_stripped=False, **entities)
        sink.sink_image(image, path, sidecar)
    elif path.suffix == ".tsv":
        lookup = key.endswith("_lookup")
        columns = sidecars.table_columns(table_of(key, entities))
        row = {"index": 1, "name": "Grey matter", "hemisphere": "L"} if lookup else dict.fromkeys(columns)
        sink.sink_table([row], path, columns, sidecar=not lookup)
    else:
        sink.sink_text("x", path)
        if key.split("_")[-1] == "xfm" or key.startswith("xfm"):
            sink.sink_json(sidecars.image_sidecar(key, sub, ses, sources=[], **entities), sink.sidecar_path(path))
    return path


def table_of(key: str, entities: dict) -> str:
    """What the columns of a table are called in data/sidecars.json."""
    return "lookup" if key.endswith("_lookup") else entities["desc"] if key == "model_table" else key.removeprefix("other_")
