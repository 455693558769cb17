"""Weights of a model as safetensors, loaded only if every byte, name, type and shape is what the model folder says."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from brainage_bids.files import WEIGHTS, read_bytes
from brainage_bids.records import BadConfiguration

if TYPE_CHECKING:
    import numpy as np


def sha256_of_bytes(data: bytes) -> str:
    """SHA-256 as 64 hexadecimal digits.

    >>> sha256_of_bytes(b"")[:8]
    'e3b0c442'
    """
    return hashlib.sha256(data).hexdigest()


def pack_arrays(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Return arrays in the form of a safetensors file; the same arrays give the same bytes."""
    import numpy as np
    from safetensors.numpy import save

    return save({name: np.ascontiguousarray(arrays[name]) for name in sorted(arrays)})


def describe_arrays(arrays: Mapping[str, np.ndarray]) -> dict[str, dict[str, Any]]:
    """Return type and shape of every array, as `load_arrays` wants them.

    >>> import numpy as np
    >>> describe_arrays({"mean": np.zeros((2, 3), np.float16)})
    {'mean': {'dtype': 'float16', 'shape': [2, 3]}}
    """
    return {name: {"dtype": str(array.dtype), "shape": list(array.shape)} for name, array in sorted(arrays.items())}


def read_checked(path: Path | str, sha256: str) -> bytes:
    """Read a file of a model folder and compare its SHA-256 with the one on the card.

    Raises
    ------
    BadConfiguration
        If the file cannot be read or is another one.
    """
    path = Path(path)
    try:
        data = read_bytes(path, WEIGHTS)
    except OSError as error:
        raise BadConfiguration(f"The model file {path} cannot be read ({error.strerror}); get the model again.") from error
    found = sha256_of_bytes(data)
    if found != sha256:
        digests = f"SHA-256 {found[:12]}… instead of {sha256[:12]}…"
        raise BadConfiguration(f"The model file {path} is not the one its card describes ({digests}); get the model again.")
    return data


def load_arrays(path: Path | str, sha256: str, expected: Mapping[str, Mapping[str, Any]]) -> dict[str, np.ndarray]:
    """Load the arrays of a safetensors file.

    Parameters
    ----------
    path : Path
        The file.
    sha256 : str
        What its SHA-256 must be.
    expected : mapping
        Name to ``{"dtype": …, "shape": …}`` of every array it must hold, and no other.

    Returns
    -------
    dict
        Name to array.

    Raises
    ------
    BadConfiguration
        If the file cannot be read, is another one, or holds arrays of other names, types or shapes. Nothing is ever
        filled in or left out: a model with a part of its weights predicts nonsense without a word.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    data = read_checked(path, sha256)
    try:
        arrays = load(data)
    except (SafetensorError, KeyError, ValueError) as error:
        raise BadConfiguration(f"The model file {path} is no safetensors file ({error}); get the model again.") from error
    missing, extra = sorted(set(expected) - set(arrays)), sorted(set(arrays) - set(expected))
    if missing or extra:
        parts = [f"lacks {', '.join(missing)}"] * bool(missing) + [f"has {', '.join(extra)} too many"] * bool(extra)
        raise BadConfiguration(f"The model file {path} does not fit its heads.json: it {' and '.join(parts)}.")
    found = describe_arrays(arrays)
    for name, wanted in expected.items():
        if found[name] != {"dtype": wanted["dtype"], "shape": list(wanted["shape"])}:
            have = f"{found[name]['dtype']} {found[name]['shape']}"
            raise BadConfiguration(f"{name} in the model file {path} is {have} instead of {wanted['dtype']} {list(wanted['shape'])}.")
    return arrays
