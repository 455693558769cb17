"""Blood of simulated people: the fourteen parameters of Ren et al. 2021, with effects that are known.

A value is the median of its age times exp(e + s·ε). The effects e are sums of fixed amounts for sex, ε4 alleles, years of gap,
disease and diabetes; ε is standard normal, correlated between parameters, and s is another below and above the median, since most
of these distributions have a long tail. Three parameters that Ren et al. found to be normally distributed (Aβ40, Aβ42, T-tau) are
the median times 1 + e + s·ε instead.

Medians and spreads of glucose, triglycerides, cholesterol, ApoB, homocysteine and NfL are least-squares fits, piecewise linear in
age, to the medians and the 10th and 90th percentiles of US adults in NHANES (public domain, US National Center for Health
Statistics); spreads of glucose and NfL are less by what diabetes and the gap add. For the others there are no norms: medians are of
the order that the assays give, and the direction of ageing is that of Ren et al. 2021 (doi:10.1002/hbm.25748), where ApoA1 and Aβ40
rose with age, and VLDLR and the ratio Aβ42/Aβ40 fell. All amounts of effects are our choice; who analyses a cohort can look them up
in its ``effects.json``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

NHANES = "medians, p10 and p90 by age of NHANES (US National Center for Health Statistics), fitted piecewise linearly"
CHOSEN = "no norm: order of magnitude of the assay, direction of ageing after Ren et al. 2021, doi:10.1002/hbm.25748"
ADULT, NFL_AGES = (22.5, 37.5, 52.5, 67.5, 82.5), (22.5, 37.5, 52.5, 67.5, 77.5)
KEPT = 0.9
"""Share of the variance of ε that stays with a person from visit to visit; the rest is new at each."""
NO_SAMPLE = 0.02
"""Share of visits without any blood."""
E4_FREQUENCY = {"control": 0.14, "patient": 0.37}
"""Frequency of the allele ε4 in the population and in Alzheimer's disease (Farrer et al. 1997, doi:10.1001/jama.1997.03550160069041)."""


@dataclass(frozen=True)
class Marker:
    """One parameter.

    Attributes
    ----------
    name, words, unit : str
        Column, plain words, unit.
    ages, medians : tuple of float
        Median at these ages, linear between them and constant beyond.
    low, high : tuple of float
        s below and above the median, at the first and at the last of `ages`, linear between them.
    male, e4, gap, patient, diabetes : float
        Effects on the logarithm (on the share for a normal one): men against women (half up, half down), per allele, per year of
        gap, of patients, of people with diabetes.
    normal : bool
        Normally instead of log-normally distributed.
    source : str
        Where median and spread come from.
    """

    name: str
    words: str
    unit: str
    ages: tuple[float, ...]
    medians: tuple[float, ...]
    low: tuple[float, float]
    high: tuple[float, float]
    male: float = 0.0
    e4: float = 0.0
    gap: float = 0.0
    patient: float = 0.0
    diabetes: float = 0.0
    normal: bool = False
    source: str = CHOSEN


_ENDS = (20.0, 85.0)
MARKERS: tuple[Marker, ...] = (
    Marker("GLU", "Fasting glucose", "mmol/L", ADULT, (5.213, 5.399, 5.613, 5.847, 5.809), (0.090, 0.110), (0.080, 0.140),
           male=0.03, gap=0.004, diabetes=0.30, source=NHANES),
    Marker("TG", "Triglycerides", "mmol/L", ADULT, (0.904, 1.101, 1.210, 1.236, 1.197), (0.543, 0.489), (0.649, 0.526),
           male=0.12, e4=0.04, source=NHANES),
    Marker("TC", "Total cholesterol", "mmol/L", ADULT, (4.338, 4.915, 5.280, 5.081, 4.807), (0.184, 0.233), (0.185, 0.198),
           male=-0.02, e4=0.03, source=NHANES),
    Marker("ApoA1", "Apolipoprotein A1", "g/L", _ENDS, (1.32, 1.52), (0.15, 0.15), (0.15, 0.15), male=-0.12),
    Marker("ApoB", "Apolipoprotein B", "g/L", ADULT, (0.801, 0.965, 1.025, 1.030, 0.940), (0.287, 0.231), (0.277, 0.195),
           male=0.06, e4=0.05, source=NHANES),
    Marker("HCY", "Homocysteine", "umol/L", ADULT, (6.975, 7.254, 8.214, 8.875, 10.960), (0.256, 0.270), (0.263, 0.314),
           male=0.15, gap=0.008, source=NHANES),
    Marker("NFL", "Neurofilament light chain", "pg/mL", NFL_AGES, (7.736, 9.415, 11.542, 18.075, 26.118), (0.440, 0.330), (0.630, 0.540),
           gap=0.030, patient=0.25, source=NHANES),
    Marker("TREM2", "Triggering receptor expressed on myeloid cells 2", "ng/mL", _ENDS, (4.2, 5.2), (0.45, 0.45), (0.50, 0.50), gap=0.008),
    Marker("Abeta40", "Amyloid beta 1-40", "pg/mL", _ENDS, (200.0, 310.0), (0.16, 0.16), (0.16, 0.16), gap=0.006, normal=True),
    Marker("Abeta42", "Amyloid beta 1-42", "pg/mL", _ENDS, (13.5, 14.5), (0.18, 0.18), (0.18, 0.18),
           e4=-0.06, gap=-0.006, patient=-0.12, normal=True),
    Marker("Ttau", "Total tau", "pg/mL", _ENDS, (2.4, 2.9), (0.28, 0.28), (0.28, 0.28), male=-0.05, gap=0.010, patient=0.15, normal=True),
    Marker("TIMP1", "Tissue inhibitor of metalloproteinases 1", "ng/mL", _ENDS, (110.0, 150.0), (0.25, 0.25), (0.25, 0.25),
           male=0.04, gap=0.010),
    Marker("VLDLR", "Very low density lipoprotein receptor", "ng/mL", _ENDS, (6.5, 4.6), (0.35, 0.35), (0.40, 0.40), gap=-0.008),
)  # fmt: skip
"""All but the fourteenth, ApoE, which is the number of ε4 alleles."""
APOE = "ApoE"
COLUMNS = (*(marker.name for marker in MARKERS[:5]), APOE, *(marker.name for marker in MARKERS[5:]))
"""The fourteen, in the order of the paper."""

RESIDUALS: Mapping[tuple[str, str], float] = {
    ("GLU", "TC"): 0.15, ("GLU", "HCY"): 0.15, ("GLU", "TG"): 0.25, ("TG", "TC"): 0.30, ("TG", "ApoA1"): -0.20, ("TG", "ApoB"): 0.40,
    ("TC", "ApoA1"): 0.25, ("TC", "ApoB"): 0.75, ("TC", "Abeta40"): 0.20, ("NFL", "Abeta40"): 0.25, ("Abeta40", "Abeta42"): 0.50,
    ("Abeta40", "Ttau"): 0.30, ("Abeta42", "Ttau"): 0.30, ("Abeta40", "TIMP1"): 0.25, ("TREM2", "Ttau"): 0.20, ("TREM2", "Abeta42"): -0.15,
}  # fmt: skip
"""Correlations of ε. Pairs and signs: Ren et al. 2021, figure 2, and among the lipids common knowledge; the sizes are our choice."""


def correlation() -> np.ndarray:
    """Matrix of the correlations of ε, in the order of `MARKERS`.

    >>> bool(np.linalg.eigvalsh(correlation()).min() > 0)
    True
    """
    names = [marker.name for marker in MARKERS]
    matrix = np.eye(len(names))
    for (one, other), value in RESIDUALS.items():
        matrix[names.index(one), names.index(other)] = matrix[names.index(other), names.index(one)] = value
    return matrix


_MIXING = np.linalg.cholesky(correlation())


def median(marker: Marker, age: float) -> float:
    """Median of a parameter at an age, in its unit, without any effect.

    >>> round(median(MARKERS[5], 52.5), 2)  # homocysteine
    8.21
    """
    return float(np.exp(np.interp(age, marker.ages, np.log(marker.medians))))


def effect(marker: Marker, sex: str, e4: int, gap: float, patient: bool, diabetes: bool) -> float:
    """Sum of the effects on a parameter, on the logarithm (on the share for a normal one).

    >>> round(effect(MARKERS[6], "F", 0, 10.0, False, False), 3)  # NfL of a brain ten years older
    0.3
    """
    half = 0.5 if sex == "M" else -0.5
    return marker.male * half + marker.e4 * e4 + marker.gap * gap + marker.patient * patient + marker.diabetes * diabetes


def value(marker: Marker, age: float, effects: float, epsilon: float) -> float:
    """A value of a parameter in its unit; at least a tenth of the median where it is normally distributed.

    >>> round(value(MARKERS[5], 52.5, 0.0, 0.0), 2)
    8.21
    """
    ends = marker.low if epsilon < 0 else marker.high
    spread = float(np.interp(age, (marker.ages[0], marker.ages[-1]), ends)) * epsilon
    if marker.normal:
        return median(marker, age) * max(1 + effects + spread, 0.1)
    return median(marker, age) * float(np.exp(effects + spread))


def draw_blood(
    rng: np.random.Generator, ages: Sequence[float], *, sex: str, e4: int, gap: float, patient: bool, diabetes: bool, missing: float
) -> list[dict[str, float | int | None]]:
    """Blood of one person at each visit.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of everything that is drawn.
    ages : sequence of float
        Years, one a visit.
    sex, e4, gap, patient, diabetes
        What the effects are of.
    missing : float
        Share of single values that are missing.

    Returns
    -------
    list of dict
        One a visit: every one of `COLUMNS`, four significant digits, None where missing.
    """
    kept = rng.standard_normal(len(MARKERS))
    effects = [effect(marker, sex, e4, gap, patient, diabetes) for marker in MARKERS]
    rows = []
    for age in ages:
        fresh = rng.standard_normal(len(MARKERS))
        epsilon = _mix(KEPT**0.5 * kept + (1 - KEPT) ** 0.5 * fresh)
        lost = rng.random(len(MARKERS)) < missing
        if rng.random() < NO_SAMPLE and missing > 0:
            rows.append(dict.fromkeys(COLUMNS))
            continue
        cells: dict[str, float | int | None] = {APOE: e4}
        for number, marker in enumerate(MARKERS):
            cells[marker.name] = None if lost[number] else float(f"{value(marker, age, effects[number], epsilon[number]):.4g}")
        rows.append({name: cells[name] for name in COLUMNS})
    return rows


def describe(missing: float) -> dict[str, Any]:
    """Everything planted in the blood, for ``effects.json``."""
    markers = {marker.name: {name: item for name, item in asdict(marker).items() if name != "name"} for marker in MARKERS}
    return {
        "law": "value = median(age) * exp(effects + s * epsilon); for normal ones median(age) * (1 + effects + s * epsilon); "
        "effects = male * (+0.5 for men, -0.5 for women) + e4 * alleles + gap * years of gap + patient + diabetes; "
        "s = low for epsilon < 0, else high, linear between the first and last of ages; medians: linear in log between ages",
        "parameters": markers,
        "ApoE": {"words": "Number of epsilon 4 alleles", "allele_frequency": E4_FREQUENCY},
        "correlations_of_epsilon": [[*pair, size] for pair, size in RESIDUALS.items()],
        "share_of_variance_kept_between_visits": KEPT,
        "missing": {"share_of_values": missing, "share_of_visits_without_blood": NO_SAMPLE if missing > 0 else 0.0},
    }


def columns() -> dict[str, dict[str, Any]]:
    """Descriptions of the columns of ``phenotype/blood.tsv``."""
    table: dict[str, dict[str, Any]] = {}
    for marker in MARKERS:
        table[marker.name] = {"Description": f"{marker.words} (simulated; {marker.source})", "Units": marker.unit}
    table[APOE] = {
        "Description": "Number of epsilon 4 alleles of the APOE gene (simulated)",
        "Levels": {"0": "none", "1": "one", "2": "two"},
    }
    return {name: table[name] for name in COLUMNS}


def _mix(independent: np.ndarray) -> np.ndarray:
    """Correlate; a plain sum, whose bits do not depend on a linear-algebra library."""
    return np.array([sum(float(row[k]) * float(independent[k]) for k in range(number + 1)) for number, row in enumerate(_MIXING)])
