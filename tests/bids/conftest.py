import json
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest


def write_image(path: Path, zoom: float = 1.0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(np.zeros((2, 2, 2), np.uint8), np.diag([zoom, zoom, zoom, 1.0])), path)
    return path


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
