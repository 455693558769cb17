"""Who is simulated: a visit of a participant to a scanner, and everything that decides its images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Sequence:
    """One pulse sequence: seconds and degrees.

    Attributes
    ----------
    tr, te : float
        Repetition and echo time, s.
    ti : float
        Inversion time, s; 0 where nothing is inverted.
    flip : float
        Degrees.
    voxel_mm : tuple of float
        Edges of a voxel along R, A, S.
    """

    tr: float
    te: float
    ti: float
    flip: float
    voxel_mm: tuple[float, float, float]


@dataclass(frozen=True)
class Scanner:
    """A machine: what makes its images differ from another's.

    Attributes
    ----------
    name, site : str
        Of the machine and of the place where it stands.
    field_t : float
        Tesla.
    noise : float
        Standard deviation of each channel of the Rician noise, as a share of the signal of white matter.
    bias : float
        Standard deviation of the logarithm of the bias field in the head.
    gain : float
        Factor on all intensities.
    sequences : mapping of str to Sequence
        By modality, as `design.MODALITIES` calls it.
    """

    name: str
    site: str
    field_t: float
    noise: float
    bias: float
    gain: float
    sequences: Mapping[str, Sequence]


@dataclass(frozen=True)
class Visit:
    """A participant at one session.

    Attributes
    ----------
    participant_id : str
        With ``sub-``.
    session_id : str or None
        With ``ses-``; None where the cohort has one session.
    age : float
        Years at this visit.
    gap : float
        Years by which the brain is older than that: the latent truth of the person.
    sex : {"F", "M"}
        Decides head size and norms.
    group : {"control", "patient"}
        Patients carry `pattern` beyond their gap.
    pattern : float
        Strength of the Alzheimer pattern, 0 (none) to 1 (the published shift at 75 years).
    scanner : Scanner
        Where the visit took place.
    anatomy_seed, visit_seed : int
        Of all that stays with the person, and of what is new at each visit (noise, position, motion).
    standing : mapping of str to float
        Where the person stands among people of the same age and sex, in standard deviations, by the name of a law of `ageing`.
    motion : float
        0 (none) to 1 (strong).
    """

    participant_id: str
    session_id: str | None
    age: float
    gap: float
    sex: str
    group: str
    pattern: float
    scanner: Scanner
    anatomy_seed: int
    visit_seed: int
    standing: Mapping[str, float] = field(default_factory=dict)
    motion: float = 0.0

    @property
    def brain_age(self) -> float:
        """Years: what a perfect method finds."""
        return self.age + self.gap

    @property
    def stem(self) -> str:
        """BIDS prefix of the visit's files."""
        return self.participant_id if self.session_id is None else f"{self.participant_id}_{self.session_id}"
