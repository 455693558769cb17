"""What a cohort is asked to be: a frozen record, its checks, and the fingerprint by which a later run knows it again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from brainage_bids import __version__
from brainage_bids.modalities import by_words
from brainage_bids.records import BadConfiguration

MODALITIES = tuple(by_words())
USUAL = tuple(name for name, row in by_words().items() if row.simulated.by_default)
"""What is scanned unless something else is asked for."""
KINDS = ("head", "torus")
MODEL_SPACES = ("tissues", "T1w")
REVISION = 2
"""Counts up whenever the same design gives other bytes within a version of the package."""


@dataclass(frozen=True)
class Design:
    """A cohort as it is asked for.

    Attributes
    ----------
    participants : int
        People, patients among them.
    ages : tuple of float
        Youngest and oldest at the first visit, years; drawn evenly between them.
    modalities : tuple of str
        Of `MODALITIES`, in that order.
    resolution : float
        Edge of a voxel of the reference scanner, mm.
    sites, scanners_per_site : int
        People are shared out evenly and by chance.
    sessions : int
        Visits of each person.
    years_between : tuple of float
        From each visit to the next, one for all steps or one a step; 0 makes a retest.
    change_scanner : bool
        Whether each visit takes place on the next scanner instead of the same.
    patients : int
        How many of the people are patients.
    gap_sd : float
        Standard deviation of the latent gap of controls, years.
    patient_gap : float
        Years by which the mean gap of patients lies above that of controls.
    blood : bool
        Whether blood is taken at each visit.
    missing : float
        Share of single blood values that are missing.
    seed : int
        The same seed gives the same bytes.
    kind : {"head", "torus"}
        Three-dimensional heads, or the two-dimensional rings of `torus`.
    tables_only : bool
        Tables without images.
    model_space : {"", "tissues", "T1w"}
        What is written straight on a model's grid instead of raw images; "" for raw images.
    stripped : float
        Share of people whose brain is cut out of the T1w on a model's grid.
    anatomies : str
        SHA-256 over the label maps the heads are grown from; "" for the atlas of the package.
    """

    participants: int = 40
    ages: tuple[float, float] = (20.0, 85.0)
    modalities: tuple[str, ...] = USUAL
    resolution: float = 1.0
    sites: int = 1
    scanners_per_site: int = 1
    sessions: int = 1
    years_between: tuple[float, ...] = (0.0,)
    change_scanner: bool = False
    patients: int = 0
    gap_sd: float = 4.0
    patient_gap: float = 6.0
    blood: bool = True
    missing: float = 0.03
    seed: int = 1
    kind: str = "head"
    tables_only: bool = False
    model_space: str = ""
    stripped: float = 0.0
    anatomies: str = ""

    def __post_init__(self) -> None:
        """Refuse what cannot be simulated.

        Raises
        ------
        BadConfiguration
            One sentence: the option, its value, and what it may be.
        """
        object.__setattr__(self, "ages", tuple(float(age) for age in self.ages))
        object.__setattr__(self, "years_between", tuple(float(years) for years in self.years_between))
        low, high = self.ages
        checks = (
            (1 <= self.participants <= 999_999, f"--participants is {self.participants}; give 1 to 999999."),
            (5 <= low < high <= 100, f"--ages is {low:g} {high:g}; give two ages between 5 and 100, the lower first."),
            (0.5 <= self.resolution <= 8, f"--resolution is {self.resolution:g}; give 0.5 to 8 mm."),
            (self.sites >= 1 and self.scanners_per_site >= 1, "There is no site or no scanner; give one or more of each."),
            (1 <= self.sessions <= 99, f"--sessions is {self.sessions}; give 1 to 99."),
            (
                len(self.years_between) in (1, self.sessions - 1) and all(0 <= years <= 50 for years in self.years_between),
                f"--years-between has {len(self.years_between)} value(s) for {self.sessions} session(s); "
                "give one for all, or one for each step from a session to the next, 0 to 50 years.",
            ),
            (0 <= self.patients <= self.participants, f"--patients is {self.patients}; give 0 to the number of participants."),
            (0 <= self.gap_sd <= 20, f"--gap-sd is {self.gap_sd:g}; give 0 to 20 years."),
            (-20 <= self.patient_gap <= 20, f"--patient-gap is {self.patient_gap:g}; give -20 to 20 years."),
            (0 <= self.missing <= 0.9, f"--missing is {self.missing:g}; give a share between 0 and 0.9."),
            (self.seed >= 0, f"--seed is {self.seed}; give a whole number of 0 or more."),
            (bool(self.modalities) and set(self.modalities) <= set(MODALITIES), f"The modalities are {', '.join(MODALITIES)}."),
            (self.kind in KINDS, f"--kind is {self.kind!r}; choose one of {', '.join(KINDS)}."),
            (self.model_space in ("", *MODEL_SPACES), f"--model-space is {self.model_space!r}; choose one of {', '.join(MODEL_SPACES)}."),
            (
                0 <= self.stripped <= 1 and (self.stripped == 0 or self.model_space == "T1w"),
                f"--stripped is {self.stripped:g}; give a share between 0 and 1, with --model-space T1w.",
            ),
            (self.model_space != "T1w" or "T1w" in self.modalities, "--model-space T1w needs the T1w among --modalities."),
            (not (self.tables_only and self.model_space), "--tables-only writes no images and --model-space does; choose one."),
        )
        for fine, sentence in checks:
            if not fine:
                raise BadConfiguration(sentence)
        object.__setattr__(self, "modalities", tuple(name for name in MODALITIES if name in self.modalities))

    @property
    def since_first(self) -> tuple[float, ...]:
        """Years from the first visit to each.

        >>> Design(sessions=3, years_between=(0.0, 2.0)).since_first
        (0.0, 0.0, 2.0)
        """
        steps = self.years_between * (self.sessions - 1) if len(self.years_between) == 1 else self.years_between
        years = [0.0]
        for step in steps[: self.sessions - 1]:
            years.append(years[-1] + step)
        return tuple(years)

    def record(self) -> dict[str, Any]:
        """The design with its fingerprint, as it is written beside the cohort."""
        return {"fingerprint": self.fingerprint, **self._content()}

    @property
    def fingerprint(self) -> str:
        """SHA-256 over everything that decides a byte of the cohort, and nothing else."""
        return hashlib.sha256(json.dumps(self._content(), sort_keys=True).encode()).hexdigest()

    def _content(self) -> dict[str, Any]:
        return {"version": __version__, "revision": REVISION, **asdict(self)}


def differences(design: Design, record: Mapping[str, Any]) -> list[str]:
    """Name what a recorded design has otherwise, as ``name: theirs instead of ours``.

    >>> differences(Design(seed=2), Design().record())
    ['seed: 1 there, 2 here']
    """
    mine = json.loads(json.dumps(design.record()))
    theirs = json.loads(json.dumps(dict(record)))
    names = [name for name in mine if name != "fingerprint" and mine[name] != theirs.get(name)]
    return [f"{name}: {theirs.get(name)} there, {mine[name]} here" for name in names]
