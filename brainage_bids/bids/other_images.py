"""Which images of a session can stand for its FLAIR or its SWI, and in which order.

SWI is not in BIDS yet (BEP004), so files of several names hold it. The order: ``swi``, ``SWI``, ``T2starw`` whose ``acq-`` names it,
any other ``T2starw``, and the first echo of a gradient echo (``GRE``, ``MEGRE``); of one kind, files in ``anat/`` come first.
Projections, phase, real and imaginary parts and susceptibility maps are never taken.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from brainage_bids.bids.names import BIDSName, parse_name

KINDS = ("swi", "SWI", "T2starw with acq-swi", "T2starw", "GRE", "MEGRE")
"""What can stand for the SWI of a session, the best first; the last two share a place."""
STAND_IN = KINDS.index("GRE")
"""From this kind on a warning is due."""
WARNING = "a plain gradient echo stands in for SWI"

_MAGNITUDE = ("mag", "magnitude")
_NEVER = re.compile(r"min_?ip|mip|phase|pha|real|imag|imaginary|chi_?map|qsm|swim", re.IGNORECASE)
_LABELS = ("acq", "rec", "desc", "proc", "part", "mod")
_TYPES = {"P", "PHASE", "R", "REAL", "I", "IMAGINARY", "MNIP", "MINIP", "MIP", "MIN IP", "MINIMUM", "PROJECTION IMAGE"}


def why_never(path: Path, metadata: Mapping[str, object]) -> str:
    """Why an image is never taken; the empty text if it may be.

    Parameters
    ----------
    path : Path
    metadata : mapping
        Its sidecar; ``ImageType`` tells a phase image or a projection whose name does not.

    Examples
    --------
    >>> why_never(Path("sub-1_acq-minIP_swi.nii.gz"), {}), why_never(Path("sub-1_part-mag_swi.nii.gz"), {})
    ('it is no magnitude image (acq-minIP)', '')
    """
    name = parse_name(path.name) or BIDSName({}, "", "")
    part = name.entities.get("part")
    if part is not None and part.lower() not in _MAGNITUDE:
        return f"it is no magnitude image (part-{part})"
    for key in _LABELS:
        label = name.entities.get(key, "")
        if key != "part" and (found := _NEVER.search(label)) and _is_word(label, found):
            return f"it is no magnitude image ({key}-{label})"
    types = metadata.get("ImageType")
    told = {str(item).upper() for item in types} & _TYPES if isinstance(types, list) else set()
    return f"it is no magnitude image (ImageType {', '.join(sorted(told))})" if told else ""


def swi_rank(path: Path) -> tuple[int, int, int]:
    """Place of an image among those that can stand for the SWI: kind, folder, echo; the smallest is taken.

    >>> swi_rank(Path("anat/sub-1_acq-swi_T2starw.nii")), swi_rank(Path("swi/sub-1_echo-2_GRE.nii"))
    ((2, 0, 1), (4, 1, 2))
    """
    name = parse_name(path.name) or BIDSName({}, "", "")
    kind = {"swi": 0, "SWI": 1, "T2starw": 3, "GRE": STAND_IN, "MEGRE": STAND_IN}.get(name.suffix, len(KINDS))
    if name.suffix == "T2starw" and "swi" in name.entities.get("acq", "").lower():
        kind = 2
    echo = name.entities.get("echo", "1")
    return kind, int(path.parent.name != "anat"), int(echo) if echo.isascii() and echo.isdigit() else 1


def kind_words(path: Path) -> str:
    """The kind of an image in words, with a warning where it only stands in for SWI.

    >>> kind_words(Path("anat/sub-1_echo-1_MEGRE.nii"))
    'MEGRE; a plain gradient echo stands in for SWI'
    """
    rank = swi_rank(path)[0]
    name = parse_name(path.name)
    suffix = name.suffix if name else path.name
    return f"{suffix}; {WARNING}" if rank >= STAND_IN else KINDS[rank]


def _is_word(label: str, found: re.Match) -> bool:
    """Whether a word stands by itself in a label: ``acq-swiMIP`` and ``acq-phase`` count, ``acq-realistic`` and ``acq-compip`` do not."""
    before, after = label[: found.start()], label[found.end() :]
    starts = not before or found[0][0].isupper() or not before[-1].isalpha()
    return starts and (not after or not after[0].islower())
