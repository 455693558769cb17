"""The people of a cohort, drawn from its design.

Every person has random streams of their own, by the seed of the cohort, the person's number and the purpose. So a person is the
same whoever is drawn before, after or at the same time, and nobody has to be kept in memory. Only who is a patient and who goes to
which scanner is settled for all at once, by a permutation, so that the shares are exact and tell nothing.

Age is independent of everything that shows in an image but through the laws of `ageing`: sex, head size and all other standings,
scanner, motion, diabetes and hypertension do not depend on it. Patients alone are older than `PATIENT_AGE`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from brainage_bids.phantoms import blood
from brainage_bids.phantoms.ageing import LAWS, target_volumes, young
from brainage_bids.phantoms.design import Design
from brainage_bids.phantoms.people import Scanner, Visit
from brainage_bids.phantoms.scanners import make_scanners

PATIENT_AGE = 55.0
"""Patients are at least so old where the ages of the cohort allow it."""
PATTERN = (0.5, 1.0)
"""Range of the strength of the Alzheimer pattern in patients, evenly drawn."""
RISKS: Mapping[str, tuple[float, float]] = {"diabetes": (0.12, 2.0), "hypertension": (0.32, 1.0)}
"""Share of people, and years added to the gap at a gap of 4 years s.d. (in proportion at others). The share does not depend on age,
unlike in life, so that a risk does not tell it. Type 2 diabetes: 4.6 years in Franke et al. 2013, doi:10.3389/fnagi.2013.00090."""
RISKS_AT_SD = 4.0
MOTION_SHARE = 0.1
"""Share of visits with motion, whose strength is then drawn evenly from `MOTION`."""
MOTION = (0.2, 1.0)
STANDING_LIMIT = 3.0
PERSON, STANDING, BLOOD, MOVING, ANATOMY, VISIT, READING, STRIPPING = range(8)
"""Purposes of random streams; the last but one is for `simulated`."""


@dataclass(frozen=True)
class Person:
    """Somebody with all visits.

    Attributes
    ----------
    number : int
        From 0.
    visits : tuple of Visit
        In the order of time.
    risks : mapping of str to bool
        By the names of `RISKS`.
    e4 : int
        Alleles ε4 of APOE.
    blood : tuple of mapping
        One a visit, see `blood.draw_blood`; empty without blood.
    """

    number: int
    visits: tuple[Visit, ...]
    risks: Mapping[str, bool]
    e4: int
    blood: tuple[Mapping[str, float | int | None], ...] = ()

    @property
    def first(self) -> Visit:
        """The first visit."""
        return self.visits[0]


class Cohort:
    """The people of a design, each drawn when asked for.

    Parameters
    ----------
    design : Design
        What is asked for.
    """

    def __init__(self, design: Design) -> None:
        self.design = design
        self.scanners = make_scanners(design)
        rng = np.random.default_rng(np.random.SeedSequence(design.seed))
        people = design.participants
        self._patients = np.zeros(people, dtype=bool)
        self._patients[rng.permutation(people)[: design.patients]] = True
        self._scanner_of = np.arange(people) % len(self.scanners)
        for patients in (False, True):  # each kind of people is shared out evenly
            chosen = rng.permutation(np.flatnonzero(self._patients == patients))
            self._scanner_of[chosen] = np.arange(len(chosen)) % len(self.scanners)

    def __len__(self) -> int:
        """Number of people."""
        return self.design.participants

    def __iter__(self) -> Iterator[Person]:
        """People in the order of their numbers."""
        return (self.person(number) for number in range(len(self)))

    def participant_id(self, number: int) -> str:
        """``sub-`` and a number of as many digits as the largest, three at least."""
        return f"sub-{number + 1:0{max(3, len(str(len(self))))}d}"

    def scanner(self, number: int, visit: int) -> Scanner:
        """Where a visit of a person takes place."""
        return self.scanners[self.scanner_number(number, visit)]

    def scanner_number(self, number: int, visit: int) -> int:
        """Number of that scanner, from 0."""
        return int(self._scanner_of[number] + (visit if self.design.change_scanner else 0)) % len(self.scanners)

    def person(self, number: int) -> Person:
        """Draw a person.

        Parameters
        ----------
        number : int
            From 0.
        """
        design, patient = self.design, bool(self._patients[number])
        rng = stream(design, number, PERSON)
        low, high = design.ages
        start = max(low, PATIENT_AGE) if patient and high > PATIENT_AGE else low
        age = round(float(rng.uniform(start, high)), 2)
        sex = "M" if rng.random() < 0.5 else "F"
        risks = {name: bool(rng.random() < share) for name, (share, _) in RISKS.items()}
        gap = round(_gap(design, rng.standard_normal(), risks, patient), 3)
        pattern = round(float(rng.uniform(*PATTERN)), 3) if patient else 0.0
        e4 = int(rng.binomial(2, blood.E4_FREQUENCY["patient" if patient else "control"]))
        base = Visit(
            self.participant_id(number), None, age, gap, sex, "patient" if patient else "control", pattern, self.scanners[0],
            anatomy_seed=_seed(design, number, ANATOMY), visit_seed=0,
        )  # fmt: skip
        base = replace(base, standing=_standing(design, number, replace(base, age=age + design.since_first[-1])))
        visits = tuple(self._visit(base, number, k, years) for k, years in enumerate(design.since_first))
        return Person(number, visits, risks, e4, self._blood(number, visits, e4, risks))

    def _visit(self, base: Visit, number: int, k: int, years: float) -> Visit:
        rng = stream(self.design, number, MOVING, k)
        moves, strength = rng.random() < MOTION_SHARE, float(rng.uniform(*MOTION))
        return replace(
            base,
            session_id=f"ses-{k + 1}" if self.design.sessions > 1 else None,
            age=round(base.age + years, 2),
            scanner=self.scanner(number, k),
            visit_seed=_seed(self.design, number, VISIT, k),
            motion=round(strength, 3) if moves else 0.0,
        )

    def _blood(self, number: int, visits: tuple[Visit, ...], e4: int, risks: Mapping[str, bool]) -> tuple:
        if not self.design.blood:
            return ()
        first = visits[0]
        rows = blood.draw_blood(
            stream(self.design, number, BLOOD),
            [visit.age for visit in visits],
            sex=first.sex,
            e4=e4,
            gap=first.gap,
            patient=first.group == "patient",
            diabetes=risks["diabetes"],
            missing=self.design.missing,
        )
        return tuple(rows)


def stream(design: Design, number: int, purpose: int, visit: int = 0) -> np.random.Generator:
    """A random stream of a person's own."""
    return np.random.default_rng(_sequence(design, number, purpose, visit))


def is_stripped(design: Design, number: int) -> bool:
    """Whether the brain of a person is cut out of the T1w, at every visit.

    >>> [is_stripped(Design(model_space="T1w", stripped=share), 0) for share in (0.0, 1.0)]
    [False, True]
    """
    return bool(stream(design, number, STRIPPING).random() < design.stripped)


def risk_years(design: Design) -> dict[str, float]:
    """Years that each risk adds to the gap.

    >>> risk_years(Design(gap_sd=2.0))
    {'diabetes': 1.0, 'hypertension': 0.5}
    """
    return {name: years * design.gap_sd / RISKS_AT_SD for name, (_, years) in RISKS.items()}


def residual_sd(design: Design) -> float:
    """Standard deviation of the part of the gap that no risk explains, years: with the risks it makes that of the design.

    >>> round(residual_sd(Design()), 3)
    3.919
    """
    explained = sum(share * (1 - share) * risk_years(design)[name] ** 2 for name, (share, _) in RISKS.items())
    return max(design.gap_sd**2 - explained, 0.0) ** 0.5


def describe(design: Design) -> dict[str, Any]:
    """What is planted in the people, for ``effects.json``."""
    content: dict[str, Any] = {
        "gap": {
            "Description": "Latent gap, years: brain age = age + gap. It stays with a person. Mean 0 and this s.d. among controls.",
            "sd": design.gap_sd,
            "residual_sd": residual_sd(design),
            "patients": design.patient_gap,
            "risks": {name: {"share_of_people": share, "years": risk_years(design)[name]} for name, (share, _) in RISKS.items()},
            "law": "gap = residual + sum over risks of years * ((1 if the person has it else 0) - share) + patients * (1 if a patient)",
        },
        "ages": {
            "law": "uniform at the first visit",
            "range": list(design.ages),
            "patients_from": max(PATIENT_AGE, design.ages[0]) if design.ages[1] > PATIENT_AGE else design.ages[0],
            "years_since_first_visit": list(design.since_first),
        },
        "patients": {"number": design.patients, "alzheimer_pattern": {"law": "uniform", "range": list(PATTERN)}},
        "motion": {"share_of_visits": MOTION_SHARE, "law": "uniform", "range": list(MOTION)},
        "standings": {"laws": list(LAWS), "law": f"independent standard normal, drawn anew beyond {STANDING_LIMIT:g}"},
    }
    if design.stripped:
        content["stripped"] = {"share_of_people": design.stripped, "law": "independent of everything"}
    return content


def _gap(design: Design, normal: float, risks: Mapping[str, bool], patient: bool) -> float:
    years = risk_years(design)
    raised = sum(years[name] * (risks[name] - share) for name, (share, _) in RISKS.items())
    return float(residual_sd(design) * normal + raised + design.patient_gap * patient)


def _standing(design: Design, number: int, visit: Visit) -> dict[str, float]:
    """Standings that a head can have: drawn anew where one is beyond the limit, or all where the brain would not fit its skull."""
    rng = stream(design, number, STANDING)
    while True:
        values = rng.standard_normal(len(LAWS))
        while (beyond := np.abs(values) > STANDING_LIMIT).any():
            values[beyond] = rng.standard_normal(int(beyond.sum()))
        standing = {name: round(float(value), 4) for name, value in zip(LAWS, values, strict=True)}
        try:
            for when in (young(replace(visit, standing=standing)), replace(visit, standing=standing)):
                target_volumes(when)
        except ValueError:  # a large brain in a small skull
            continue
        return standing


def _sequence(design: Design, number: int, purpose: int, visit: int) -> np.random.SeedSequence:
    return np.random.SeedSequence(design.seed, spawn_key=(number, purpose, visit))


def _seed(design: Design, number: int, purpose: int, visit: int = 0) -> int:
    return int(_sequence(design, number, purpose, visit).generate_state(1)[0])
