"""The laws of ageing that are planted in phantom heads: how large every structure is, how many lesions, how much iron.

Pure functions of a `Visit` without images. All of them read the *brain age*, never the age: what an image tells of time it tells
through them. `LAWS` names the standings by which people of the same brain age and sex differ.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from functools import cache

import numpy as np

from brainage_bids.phantoms.people import Visit

LAWS = ("head", "grey", "white", "subcortical", "ventricles", "hippocampus", "cerebellum", "lesions", "iron", "microbleeds")
"""Names of the standings: independent standard normal numbers that stay with a person."""

STRUCTURES: Mapping[str, tuple[int, ...]] = {
    "cortical_grey": (3, 42),
    "white": (2, 41),
    "subcortical_grey": (10, 11, 12, 13, 17, 18, 26, 28, 49, 50, 51, 52, 53, 54, 58, 60),
    "ventricles": (4, 5, 43, 44),
    "third_ventricle": (14,),
    "fourth_ventricle": (15,),
    "thalamus": (10, 49),
    "caudate": (11, 50),
    "putamen": (12, 51),
    "pallidum": (13, 52),
    "hippocampus": (17, 53),
    "amygdala": (18, 54),
    "accumbens": (26, 58),
    "ventral_dc": (28, 60),
    "cerebellar_grey": (8, 47),
    "cerebellar_white": (7, 46),
    "brain_stem": (16,),
    "outer_csf": (24,),
}
"""aseg codes of every volume of `target_volumes`. Lesions lie in the white matter and count there. `subcortical_grey` is the sum
of thalamus to ventral DC (FreeSurfer's SubCortGrayVol up to 5.3), `ventricles` are the lateral ones with their inferior horns."""

NORM_AGES = (20.0, 40.0, 60.0, 80.0, 90.0)
NORMS: Mapping[str, Mapping[str, tuple[tuple[float, float, float], ...]]] = {
    "cortical_grey": {
        "F": ((548, 470, 624), (487, 418, 556), (453, 388, 517), (430, 368, 492), (421, 360, 482)),
        "M": ((602, 516, 688), (536, 459, 612), (498, 426, 570), (473, 404, 542), (464, 395, 531)),
    },
    "white": {
        "F": ((442, 370, 522), (443, 368, 526), (422, 349, 504), (399, 327, 478), (387, 317, 465)),
        "M": ((497, 416, 588), (498, 414, 592), (475, 392, 567), (448, 368, 538), (435, 356, 524)),
    },
    "subcortical_grey": {
        "F": ((60, 53, 68), (57, 50, 64), (53, 46, 60), (50, 44, 57), (49, 42, 56)),
        "M": ((66, 58, 74), (62, 54, 69), (58, 50, 65), (54, 47, 62), (53, 46, 60)),
    },
    "ventricles": {
        "F": ((11, 6, 22), (16, 9, 32), (25, 13, 53), (40, 21, 88), (51, 26, 113)),
        "M": ((14, 8, 27), (20, 11, 41), (31, 16, 66), (50, 26, 110), (63, 32, 142)),
    },
}
"""Median, 5th and 95th percentile in mL at `NORM_AGES` (Bethlehem et al., Nature 604:525, 2022, the Lifespan Brain Chart)."""

HIPPOCAMPUS = {"F": (7.9, 7.9, 7.6, 6.4, 5.7), "M": (8.6, 8.6, 8.25, 7.0, 6.25)}
"""mL, both sides, at `NORM_AGES`. At 75 half of it is the left hippocampus of controls in Bethlehem 2022 (3.36 and 3.65 mL); from 60
on it loses 0.8 % a year (Fjell et al., J Neurosci 29:15223, 2009) and hardly anything before (Fjell et al., Neurobiol Aging
34:2239, 2013)."""
AMYGDALA = {"F": (3.1, 3.1, 3.0, 2.55, 2.35), "M": (3.5, 3.5, 3.4, 2.9, 2.65)}
"""mL, both sides, at `NORM_AGES`: 0.8 % a year from 60 on, as the hippocampus (same sources)."""
CEREBELLAR_GREY = {"F": (104.0, 101.0, 97.5, 92.5, 90.0), "M": (119.0, 116.0, 112.0, 106.0, 103.0)}
"""mL at `NORM_AGES`. At 75 it is what is missing from cortex and subcortex to all grey matter of controls (580 and 642 mL,
Bethlehem 2022); the slope is about 0.2 % a year (Raz et al., Cereb Cortex 15:1676, 2005, in its order of magnitude)."""
CONSTANT = {
    "F": {"cerebellar_white": 27.0, "brain_stem": 20.5, "fourth_ventricle": 1.6},
    "M": {"cerebellar_white": 30.5, "brain_stem": 23.0, "fourth_ventricle": 1.8},
}
"""mL without a change by age: a simplification."""
CRANIUM = {"F": 1450.0, "M": 1650.0}
"""mL inside the skull, of the order of FreeSurfer's estimate in the healthy adults of IXI; it never changes with age."""
CRANIUM_SD = 0.08
"""Standard deviation of its logarithm."""
THIRD_AT_20 = {"F": 0.8, "M": 0.9}
"""mL; the third ventricle then follows the lateral ones with the power 0.6."""
REST_SHARES = {"thalamus": 0.32, "caudate": 0.155, "putamen": 0.225, "pallidum": 0.075, "accumbens": 0.025, "ventral_dc": 0.20}
"""How what hippocampus and amygdala leave of subcortical grey is divided, at all ages: a simplification."""
OWN_SHARE = {"grey": 0.45, "white": 0.45, "subcortical": 0.6, "ventricles": 0.92, "hippocampus": 0.8, "cerebellum": 0.7}
"""How much of a person's standing in a volume is not the size of the head; the rest, √(1 − share²), is."""
HIPPOCAMPUS_SD, CEREBELLUM_SD = 0.10, 0.085
"""Standard deviations of logarithms among people of the same age and sex (Nobis et al., NeuroImage Clin 23:101904, 2019, for the first)."""

LOBES = ("frontal", "temporal", "other")
LOBE_SHARES = (0.37, 0.24, 0.39)
"""Of the cortex' volume at 20 years."""
AGE_RATES = (1.25, 1.2, 0.64)
"""Relative speed of cortical loss with age: frontal and temporal cortex fastest (Fjell et al., Cereb Cortex 19:2001, 2009)."""
PATTERN_RATES = (0.7, 1.7, 0.85)
"""Relative loss in the Alzheimer pattern: temporal cortex most (Dickerson et al., Cereb Cortex 19:497, 2009)."""

PATTERN_GREY = {"F": 50.0, "M": 47.0}
"""mL of all grey matter lost at 75 years at full pattern: 580 to 530 and 642 to 595 (Bethlehem 2022)."""
PATTERN_VENTRICLES = {"F": 47 / 32, "M": 63 / 43}
PATTERN_HIPPOCAMPUS = {"F": 2.67 / 3.36, "M": 3.01 / 3.65}
"""Factors at full pattern, at every age (the published ones at 75); the amygdala takes that of the hippocampus."""

LESION_SCALE_ML, LESION_YEARS, LESION_START, LESION_SD = 0.3, 11.0, 40.0, 0.8
IRON = {"pallidum": (21.41, 0.09, 0.37), "putamen": (14.62, 0.04, 0.46), "caudate": (9.66, 0.05, 0.33)}
"""a, b, c of a (1 − exp(−b · age)) + c in mg iron per 100 g fresh weight (Hallgren & Sourander, J Neurochem 3:41, 1958)."""
IRON_SD = 0.10
MICROBLEED_START, MICROBLEED_YEARS = 45.0, 18.0


def young(visit: Visit) -> Visit:
    """The same person with a brain of 20 years and without disease: the start of every atrophy map."""
    return replace(visit, age=20.0, gap=0.0, pattern=0.0)


def curve(values: tuple[float, ...], brain_age: float) -> float:
    """A monotone curve through values at `NORM_AGES`, in logarithms; flat below 20 years, straight on beyond 90.

    >>> round(curve((11, 16, 25, 40, 51), 60.0), 6)
    25.0
    """
    ages, logs = NORM_AGES, [math.log(value) for value in values]
    inside = min(max(brain_age, ages[0]), ages[-1])
    return math.exp(float(_through(values)(inside)) + (logs[-1] - logs[-2]) / (ages[-1] - ages[-2]) * max(0.0, brain_age - ages[-1]))


@cache
def _through(values: tuple[float, ...]):
    """The curve of `curve` in logarithms, made once: a cohort of thousands asks for it hundreds of thousands of times."""
    from scipy.interpolate import PchipInterpolator

    return PchipInterpolator(np.array(NORM_AGES), np.log(values))


def median(name: str, sex: str, brain_age: float) -> float:
    """Median of a volume of `NORMS`, mL.

    >>> round(median("white", "M", 40.0), 6)
    498.0
    """
    return curve(tuple(row[0] for row in NORMS[name][sex]), brain_age)


def spread(name: str, sex: str, brain_age: float) -> float:
    """Standard deviation of the logarithm of a volume of `NORMS`: the width of the published 5–95 % band over 2 × 1.645.

    >>> round(spread("ventricles", "F", 20.0), 3)  # ln(22 / 6) / 3.29
    0.395
    """
    widths = [math.log(high / low) / (2 * 1.6448536) for _, low, high in NORMS[name][sex]]
    return float(np.interp(brain_age, NORM_AGES, widths))


def standing_in(visit: Visit, law: str) -> float:
    """Where the person stands in a volume, in standard deviations: its own standing and that in head size, together of variance 1."""
    own = OWN_SHARE[law]
    return own * visit.standing.get(law, 0.0) + math.sqrt(1 - own**2) * visit.standing.get("head", 0.0)


def cranium(visit: Visit) -> float:
    """Volume inside the skull, mL: of sex and head size alone.

    >>> CRANIUM["F"]
    1450.0
    """
    return CRANIUM[visit.sex] * math.exp(CRANIUM_SD * visit.standing.get("head", 0.0))


def target_volumes(visit: Visit) -> dict[str, float]:
    """Volumes of all `STRUCTURES` of a visit, mL, and of the whole ``cranium``.

    The Alzheimer pattern takes grey matter away as a share (that of the median at 75 years), most of it from the cortex.

    Raises
    ------
    ValueError
        If the parts leave no room for fluid around the brain: standings that no person has.
    """
    sex, years, pattern = visit.sex, visit.brain_age, visit.pattern

    def of_norm(name: str, law: str) -> float:
        return median(name, sex, years) * math.exp(spread(name, sex, years) * standing_in(visit, law))

    out = {name: of_norm(name, law) for name, law in (("cortical_grey", "grey"), ("white", "white"), ("ventricles", "ventricles"))}
    deep = _deep(visit, of_norm("subcortical_grey", "subcortical"))
    out["cortical_grey"] *= 1 - pattern * _pattern_in_cortex(sex)
    out["ventricles"] *= PATTERN_VENTRICLES[sex] ** pattern
    out["third_ventricle"] = THIRD_AT_20[sex] * (out["ventricles"] / median("ventricles", sex, 20.0)) ** 0.6
    out |= deep
    out["subcortical_grey"] = sum(deep.values())
    cerebellum = math.exp(CEREBELLUM_SD * standing_in(visit, "cerebellum"))
    out["cerebellar_grey"] = curve(CEREBELLAR_GREY[sex], years) * cerebellum
    out |= {name: value * (1.0 if name == "fourth_ventricle" else cerebellum) for name, value in CONSTANT[sex].items()}
    out["cranium"] = cranium(visit)
    out["outer_csf"] = out["cranium"] - sum(out[name] for name in STRUCTURES if name in out and name not in ("outer_csf", *deep))
    if out["outer_csf"] < 0.04 * out["cranium"]:
        raise ValueError(f"{visit.stem}: the brain leaves {out['outer_csf']:.0f} mL of fluid around it; draw milder standings")
    return out


def _deep(visit: Visit, total: float) -> dict[str, float]:
    """The parts of subcortical grey, mL; their sum is `total` less what the pattern takes."""
    sex, years = visit.sex, visit.brain_age
    own = math.exp(HIPPOCAMPUS_SD * standing_in(visit, "hippocampus"))
    parts = {"hippocampus": curve(HIPPOCAMPUS[sex], years) * own, "amygdala": curve(AMYGDALA[sex], years) * own}
    rest = total - sum(parts.values())
    lost = PATTERN_HIPPOCAMPUS[sex] ** visit.pattern
    return {name: value * lost for name, value in parts.items()} | {name: share * rest for name, share in REST_SHARES.items()}


def _pattern_in_cortex(sex: str) -> float:
    """Share of the cortex that full pattern takes: what the published loss of grey matter leaves after hippocampus and amygdala."""
    deep = (1 - PATTERN_HIPPOCAMPUS[sex]) * (curve(HIPPOCAMPUS[sex], 75.0) + curve(AMYGDALA[sex], 75.0))
    return (PATTERN_GREY[sex] - deep) / median("cortical_grey", sex, 75.0)


def lobe_factors(visit: Visit) -> dict[str, float]:
    """Volume of the cortex of each of `LOBES` over that of the same person at 20 years; their mean by `LOBE_SHARES` is the cortex' own.

    Examples
    --------
    >>> round(sum(LOBE_SHARES), 6)
    1.0
    """
    start, now, healthy = (target_volumes(v)["cortical_grey"] for v in (young(visit), visit, replace(visit, pattern=0.0)))
    aged = np.exp(np.array(AGE_RATES) * math.log(healthy / start))
    factors = aged * np.exp(np.array(PATTERN_RATES) * math.log(now / healthy))
    factors *= now / start / float(np.dot(LOBE_SHARES, factors))
    return dict(zip(LOBES, factors.tolist(), strict=True))


def lesion_volume(visit: Visit) -> float:
    """White-matter lesions, mL: none up to 40 years, then growing exponentially.

    The median is 0.3 (exp((brain age − 40) / 11) − 1): 1.5 mL at 60, 4.3 at 70, 11 at 80, the order of population studies (de Leeuw
    et al., J Neurol Neurosurg Psychiatry 70:9, 2001; Habes et al., Brain 139:1164, 2016), with a wide spread.
    """
    grown = math.exp(max(0.0, visit.brain_age - LESION_START) / LESION_YEARS) - 1
    return min(60.0, LESION_SCALE_ML * grown * math.exp(LESION_SD * visit.standing.get("lesions", 0.0)))


def iron(visit: Visit) -> dict[str, float]:
    """Iron in pallidum, putamen and caudate, mg per kg fresh weight (Hallgren & Sourander 1958)."""
    own = math.exp(IRON_SD * visit.standing.get("iron", 0.0))
    return {name: 10 * own * (a * (1 - math.exp(-b * max(0.0, visit.brain_age))) + c) for name, (a, b, c) in IRON.items()}


def microbleeds(visit: Visit) -> float:
    """Expected number of microbleeds: none up to 45 years, 0.2 at 60 and 1.0 at 80 in the median.

    About one in six people has one at 60, one in three at 80 (Poels et al., Stroke 41:S103, 2010): most of the spread is between people.
    """
    grown = math.exp(max(0.0, visit.brain_age - MICROBLEED_START) / MICROBLEED_YEARS) - 1
    return 0.15 * grown * math.exp(1.0 * visit.standing.get("microbleeds", 0.0))
