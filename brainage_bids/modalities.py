"""What is scanned, declared once: a row a modality, from which names, filters, scales, limits, inputs, sections and phantoms follow.

A further modality is a row of `MODALITIES` (and a section of ``docs/modalities.md``). Only magnitude images are taken, whatever the row.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Source:
    """Raw files that can be a modality.

    Attributes
    ----------
    suffixes : tuple of str
        Of the file; those of one source share a place.
    acquisition : str
        What the ``acq-`` of the file must hold, in lower case; any if empty.
    warning : str
        What is said where such a file is taken.
    """

    suffixes: tuple[str, ...]
    acquisition: str = ""
    warning: str = ""


@dataclass(frozen=True)
class Fluid:
    """How bright fluid of the ventricles is over white matter, and the flag of an image in which it is not.

    Attributes
    ----------
    low, high : float or None
        Bounds of the ratio.
    flag, meaning : str
        Code of the flag, and its meaning in words.
    reason : str
        Why the bounds lie where they lie.
    """

    low: float | None
    high: float | None
    flag: str
    meaning: str
    reason: str


@dataclass(frozen=True)
class Times:
    """Repetition, echo and inversion time in seconds and flip angle in degrees; without `ti` fluid is nulled, 0 inverts nothing."""

    tr: float
    te: float
    ti: float | None
    flip: float


@dataclass(frozen=True)
class Simulated:
    """How phantoms have a modality.

    Attributes
    ----------
    number : int
        Of its random streams; it never changes.
    equation : str
        A key of ``phantoms.contrast.EQUATIONS``.
    strong, weak : Times
        At 3 and at 1.5 tesla.
    sliced : bool
        Whether some scanners have slices thicker than their voxels are wide.
    by_default : bool
        Whether a cohort has it unless it is asked for others.
    slope, person_sd, visit_sd : float
        Of the simulated model that reads age from it (``phantoms.simulated``).
    """

    number: int
    equation: str
    strong: Times
    weak: Times
    sliced: bool
    by_default: bool
    slope: float
    person_sd: float
    visit_sd: float


@dataclass(frozen=True)
class Modality:
    """What is known of a modality before any image is seen.

    Attributes
    ----------
    suffix : str
        Of its outputs; its name in tables and cards.
    words : str
        What people are told, and what phantoms call it.
    sources : tuple of Source
        Raw files that can be it, the best first.
    folders : tuple of str
        Datatype folders that hold them, as patterns.
    in_bids : bool
        Whether BIDS knows the suffix.
    registered : bool
        Whether it is registered rigidly to the T1w, by whose masks and way to the template it is processed.
    scale : {"mode", "median"}
        Which figure of its white matter becomes `white` in packed arrays.
    white : float
        Of the 383 at which packed arrays are clipped; fluid must fit below them.
    fluid : Fluid or None
        What tells it from other images; None where nothing is asked.
    simulated : Simulated
        How phantoms have it.
    """

    suffix: str
    words: str
    sources: tuple[Source, ...]
    folders: tuple[str, ...]
    in_bids: bool
    registered: bool
    scale: Literal["mode", "median"]
    white: float
    fluid: Fluid | None
    simulated: Simulated

    @property
    def key(self) -> str:
        """Its name in filter files, inputs of networks and pieces of the report.

        >>> MODALITIES["FLAIR"].key
        'flair'
        """
        return self.suffix.lower()

    @property
    def query(self) -> Mapping[str, Any]:
        """Entities by which its raw files are found.

        >>> MODALITIES["FLAIR"].query
        {'datatype': 'anat', 'suffix': ['FLAIR'], 'extension': ['.nii', '.nii.gz']}
        """
        suffixes = list(dict.fromkeys(suffix for source in self.sources for suffix in source.suffixes))
        place = {"datatype": self.folders[0]} if len(self.folders) == 1 else {}
        return {**place, "suffix": suffixes, "extension": [".nii", ".nii.gz"]}


_ROWS = (
    Modality(
        suffix="T1w",
        words="T1w",
        sources=(Source(("T1w",)),),
        folders=("anat",),
        in_bids=True,
        registered=False,
        scale="mode",
        white=110.0,
        fluid=None,
        simulated=Simulated(1, "mprage", Times(2.3, 0.003, 0.9, 9.0), Times(2.4, 0.0035, 1.0, 8.0), False, True, 0.85, 3.5, 1.0),
    ),
    Modality(
        suffix="FLAIR",
        words="FLAIR",
        sources=(Source(("FLAIR",)),),
        folders=("anat",),
        in_bids=True,
        registered=True,
        scale="median",
        white=110.0,
        fluid=Fluid(
            None,
            0.8,
            "fluid_not_suppressed",
            "Fluid is about as bright as white matter, which it is not in a FLAIR; is it one?",
            "A FLAIR nulls fluid: four real ones reach 0.20 to 0.32; in T2w and SWI fluid is brighter than white matter.",
        ),
        simulated=Simulated(
            2, "inversion recovery", Times(5.0, 0.120, None, 90.0), Times(9.0, 0.110, None, 90.0), True, True, 0.75, 4.5, 1.5
        ),
    ),
    Modality(
        suffix="swi",
        words="SWI",
        sources=(
            Source(("swi",)),
            Source(("SWI",)),
            Source(("T2starw",), acquisition="swi"),
            Source(("T2starw",)),
            Source(("GRE", "MEGRE"), warning="a plain gradient echo stands in for SWI"),
        ),
        folders=("anat", "swi*"),
        in_bids=False,
        registered=True,
        scale="median",
        white=110.0,
        fluid=None,
        simulated=Simulated(
            3, "susceptibility", Times(0.028, 0.020, 0.0, 15.0), Times(0.049, 0.040, 0.0, 15.0), False, True, 0.70, 5.0, 2.0
        ),
    ),
    Modality(
        suffix="T2w",
        words="T2w",
        sources=(Source(("T2w",)),),
        folders=("anat",),
        in_bids=True,
        registered=True,
        scale="median",
        white=55.0,
        fluid=Fluid(
            1.5,
            None,
            "fluid_not_bright",
            "Fluid is hardly brighter than white matter, which it is in a T2w; is it one?",
            "The spin-echo equation gives 2.7 to 5.8 at ordinary times; a T1w and a FLAIR stay below 0.5. No real T2w was seen.",
        ),
        simulated=Simulated(4, "spin echo", Times(3.2, 0.100, 0.0, 90.0), Times(5.0, 0.100, 0.0, 90.0), True, False, 0.75, 4.5, 1.5),
    ),
)
"""The modalities, the T1w first."""

MODALITIES: Mapping[str, Modality] = {row.suffix: row for row in _ROWS}
"""By suffix."""
COREGISTERED: tuple[str, ...] = tuple(row.suffix for row in _ROWS if row.registered)
"""Suffixes of what is processed beside the T1w."""
SYNTHESISED = ("cbv",)
"""Suffixes of what no scanner makes but a model does."""


def words_of(suffixes: tuple[str, ...] = COREGISTERED, last: str = " and ") -> str:
    """Modalities as a list for people.

    >>> words_of(("FLAIR", "swi")), words_of(("swi",)), words_of(("T1w", "FLAIR", "swi"), " or ")
    ('FLAIR and SWI', 'SWI', 'T1w, FLAIR or SWI')
    """
    *first, final = [MODALITIES[suffix].words for suffix in suffixes]
    return f"{', '.join(first)}{last}{final}" if first else final


def by_words() -> Mapping[str, Modality]:
    """The modalities by what phantoms call them.

    >>> by_words()["SWI"].suffix
    'swi'
    """
    return {row.words: row for row in _ROWS}
