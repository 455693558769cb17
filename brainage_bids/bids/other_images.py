"""Which images of a session can be a modality, and in which order.

SWI is not in BIDS yet (BEP004), so files of several names hold it, in the order of its `sources`; of a gradient echo the first echo is
taken, and of one kind, files in ``anat/`` come first.
Projections, phase, real and imaginary parts and susceptibility maps are never taken.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from brainage_bids.bids.names import BIDSName, parse_name
from brainage_bids.modalities import Modality, Source

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


def source_rank(path: Path, modality: Modality) -> tuple[int, int, int]:
    """Place of an image among those that can be a modality: source, folder, echo; the smallest is taken.

    >>> from brainage_bids.modalities import MODALITIES
    >>> [source_rank(Path(name), MODALITIES["swi"]) for name in ("anat/sub-1_acq-swi_T2starw.nii", "swi/sub-1_echo-2_GRE.nii")]
    [(2, 0, 1), (4, 1, 2)]
    """
    name = parse_name(path.name) or BIDSName({}, "", "")
    echo = name.entities.get("echo", "1")
    place = next((place for place, source in enumerate(modality.sources) if _is_of(name, source)), len(modality.sources))
    return place, int(path.parent.name != modality.folders[0]), int(echo) if echo.isascii() and echo.isdigit() else 1


def kind_words(path: Path, modality: Modality) -> str:
    """The kind of an image in words, with a warning where it only stands in for the modality.

    >>> from brainage_bids.modalities import MODALITIES
    >>> kind_words(Path("anat/sub-1_echo-1_MEGRE.nii"), MODALITIES["swi"])
    'MEGRE; a plain gradient echo stands in for SWI'
    """
    name = parse_name(path.name)
    suffix = name.suffix if name else path.name
    source = next((source for source in modality.sources if name and _is_of(name, source)), Source((suffix,)))
    named = f"{suffix} with acq-{source.acquisition}" if source.acquisition else suffix
    return f"{named}; {source.warning}" if source.warning else named


def _is_of(name: BIDSName, source: Source) -> bool:
    return name.suffix in source.suffixes and source.acquisition in name.entities.get("acq", "").lower()


def _is_word(label: str, found: re.Match) -> bool:
    """Whether a word stands by itself in a label: ``acq-swiMIP`` and ``acq-phase`` count, ``acq-realistic`` and ``acq-compip`` do not."""
    before, after = label[: found.start()], label[found.end() :]
    starts = not before or found[0][0].isupper() or not before[-1].isalpha()
    return starts and (not after or not after[0].islower())
