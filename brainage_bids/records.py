"""The typed things that pass between the rooms of the package."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from brainage_bids.modalities import COREGISTERED, MODALITIES

SPACE = "MNI152NLin2009aSym"

FLAGS: Mapping[str, str] = {
    # about the phenotype
    "age_missing": "The age of this participant is not known, so the brain-age gap is not computed.",
    "age_censored": "The age was given as a bound such as '89+' and is read as that bound.",
    "age_not_per_session": "The age is the one of the participant; no age is recorded for this session under its name.",
    "age_out_of_range": "The age lies outside the ages on which the model was trained.",
    "prediction_out_of_range": "The brain age lies outside the ages on which the model was trained.",
    # about the image
    "poor_resolution": "The voxels are larger than 1.7 mm in one direction; fine structures are not resolved.",
    "poor_snr": "The signal-to-noise ratio is low.",
    "poor_contrast": "Grey and white matter are hardly told apart (contrast-to-noise or joint variation).",
    "motion_suspected": "Ghosting or blurring is likely (entropy focus criterion or foreground-background energy).",
    "strong_bias_field": "The intensity bias field is unusually strong.",
    "cropped_brain": "The brain touches the border of the image; part of it may be missing.",
    "implausible_brain_volume": "The volume of the brain mask lies outside what human brains measure.",
    "poor_brain_mask": "The brain mask lies too deep in the head or too near to its outside: brain may be left out, or skull taken in.",
    "implausible_tissue_ratio": "The share of grey matter in grey plus white matter is implausible.",
    "implausible_structures": (
        "Structures of the brain are missing, torn, on the wrong side, or of a size hardly seen in people; "
        "this is a failed segmentation or an unusual brain, so look at the pictures."
    ),
    "poor_segmentation": "The labelled structures do not follow the brightness of the scan; volumes and age may be wrong.",
    "poor_registration": "The alignment to the template is poor; maps and age may be wrong.",
    "folded_warp": "The non-linear warp folds space in places.",
    "header_repaired": "The image header was invalid and was repaired; left and right may be uncertain.",
    # about an image that is registered to the T1w; these stand in its own quality table
    "poor_coregistration": "The image could not be aligned to the T1w of the session, so it is not used; is it of the same head?",
    **{row.fluid.flag: row.fluid.meaning for row in MODALITIES.values() if row.fluid},
    "thick_slices": "The slices are thicker than 5.5 mm; small lesions and structures are missed.",
    "intensities_clipped": "More than 0.001 % of the brain is brighter than the packed arrays can hold and was clipped.",
    # about the model
    "input_mismatch": "The preprocessing differs from the one the model was trained on.",
    "modality_missing": (
        f"A {', '.join(MODALITIES[suffix].words for suffix in COREGISTERED)} or value of a table that the model looks at is not there, "
        "or could not be used, so this model gives no age."
    ),
    "brain_beyond_box": "The brain is larger than the box of the model's training brains and is not cut, so this model gives no age.",
}
"""Closed list of flag codes with their meaning in words (the ``flags`` column of every table of ours)."""


class UnusableInput(ValueError):
    """An input cannot be processed; the message is one sentence: what, which file, what to do."""


class Withheld(UnusableInput):
    """A model gives no age for a session that is no failure; the flag `code` says why in the row that it leaves."""

    def __init__(self, message: str, code: str):
        super().__init__(message)
        self.code = code


class BadDataset(ValueError):
    """The dataset as a whole is unusable (exit code 65)."""


class BadConfiguration(ValueError):
    """A setting, model or configuration file is wrong (exit code 78)."""


@dataclass(frozen=True)
class Scan:
    """One image file chosen for a modality of one session.

    Attributes
    ----------
    path : Path
        Absolute path of the image.
    modality : str
        A suffix of ``modalities.MODALITIES``.
    entities : Mapping[str, str]
        BIDS entities of the name, by long name (``subject``, ``session``, ``acquisition``…).
    reason : str
        Why this file was chosen, in words (``"only T1w"``, ``"highest resolution of 2 T1w"``).
    metadata : Mapping[str, object]
        Sidecar metadata after BIDS inheritance; empty if there is none.
    """

    path: Path
    modality: str
    entities: Mapping[str, str]
    reason: str
    metadata: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Session:
    """One visit of one participant; the unit that is processed."""

    participant_id: str  # "sub-01"
    session_id: str | None  # "ses-1", or None in a dataset without sessions
    scans: Mapping[str, Scan]  # modality -> the scan that was chosen
    age: float | None = None  # years
    sex: Literal["F", "M"] | None = None
    site: str | None = None
    flags: tuple[str, ...] = ()
    phenotype: Mapping[str, float | str | None] = field(default_factory=dict)  # columns that models of the run read

    @property
    def stem(self) -> str:
        """``sub-X[_ses-Y]``, the B of every output name."""
        return self.participant_id + (f"_{self.session_id}" if self.session_id else "")


@dataclass(frozen=True)
class Participant:
    """One person with all sessions that are to be processed."""

    participant_id: str
    sessions: tuple[Session, ...]


@dataclass(frozen=True)
class AgeEstimate:
    """One estimate of brain age by one model; a row of ``B_brainage.tsv``.

    Ages in years; ``brain_age`` is None where the model does not fit the session, and a flag says why. ``sd`` is the predictive
    standard deviation, ``sd_within`` and ``sd_between`` its parts over base models and sub-ensembles (None where the model has no
    ensemble), ``low``/``high`` the bounds of the interval of level ``interval_level``.
    """

    model: str
    modality: str
    brain_age: float | None
    sd: float | None
    sd_within: float | None
    sd_between: float | None
    low: float | None
    high: float | None
    interval_level: float
    interval_method: Literal["gaussian", "conformal", "ensemble"] | None
    flags: tuple[str, ...]
    model_sha256: str


@dataclass(frozen=True)
class Failure:
    """Why one session (or a whole participant, ``session_id=None``) could not be finished."""

    participant_id: str
    session_id: str | None
    stage: str  # "read", "conform", "brain mask", "FLAIR: rigid", …
    message: str  # one sentence: what, which file, what to do
    detail: str = ""  # traceback, for the log
    modality: str | None = None  # "FLAIR", "swi" … where that alone is missing; the T1w and its brain age are complete
