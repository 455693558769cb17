"""Signals of tissues: relaxation times by field strength, and the equations of MPRAGE, FLAIR, spin and gradient echo.

Sources of the tissue table: T1 of white and grey matter and fluid Rooney et al. 2007 (doi:10.1002/mrm.21122) and Wansapura et al. 1999
(doi:10.1002/(SICI)1522-2586(199904)9:4<531::AID-JMRI4>3.0.CO;2-L), T2 Stanisz et al. 2005 (doi:10.1002/mrm.20605) and Wansapura 1999, T2*
Peters et al. 2007 (doi:10.1016/j.mri.2007.02.014), fat, muscle and marrow de Bazelaire et al. 2004 (doi:10.1148/radiol.2303021331).
Values between them (deep grey nuclei, lesions, skull) are of a plausible order and said here, not measured.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from brainage_bids.modalities import MODALITIES, by_words, words_of
from brainage_bids.phantoms.people import Sequence

ECHO_SPACING_S, ECHOES = 0.0065, 160
"""Of the readout train of MPRAGE; the centre of k-space is its middle."""
GAMMA_HZ_T = 42.577e6
IRON_R2STAR = 0.27
"""R2* in 1/s at 3 T is this × mg iron per kg wet mass + 14.3 (Langkammer et al. 2010, doi:10.1148/radiol.10100495); the slope goes with the
field."""
IRON_PPM = 0.00089
"""ppm of susceptibility a mg iron per kg wet mass (Langkammer et al. 2012, doi:10.1016/j.neuroimage.2012.05.049)."""
PHASE_KEPT = 0.5
"""Share of the phase of a large structure that the high-pass filter of SWI leaves."""
MASK_POWER = 4
"""The phase mask is multiplied in as often (Haacke et al. 2004, doi:10.1002/mrm.20198)."""


@dataclass(frozen=True)
class Tissue:
    """Seconds, density of protons relative to water, and susceptibility against tissue in ppm."""

    t1: float
    t2: float
    t2star: float
    density: float
    ppm: float = 0.0


TISSUES: Mapping[str, tuple[Tissue, Tissue]] = {
    "white": (Tissue(0.65, 0.075, 0.066, 0.70), Tissue(0.84, 0.069, 0.053, 0.70)),
    "grey": (Tissue(1.15, 0.105, 0.084, 0.82), Tissue(1.40, 0.099, 0.066, 0.82)),
    "cerebellar_grey": (Tissue(1.10, 0.102, 0.080, 0.82), Tissue(1.34, 0.097, 0.062, 0.82)),
    "limbic": (Tissue(1.15, 0.108, 0.084, 0.83), Tissue(1.45, 0.102, 0.066, 0.83)),
    "thalamus": (Tissue(0.93, 0.086, 0.072, 0.78), Tissue(1.18, 0.080, 0.056, 0.78)),
    "caudate": (Tissue(1.10, 0.092, 0.076, 0.81), Tissue(1.36, 0.086, 0.060, 0.81)),
    "putamen": (Tissue(1.00, 0.086, 0.070, 0.80), Tissue(1.24, 0.080, 0.054, 0.80)),
    "pallidum": (Tissue(0.78, 0.074, 0.060, 0.74), Tissue(0.98, 0.066, 0.044, 0.74)),
    "stem": (Tissue(0.72, 0.080, 0.066, 0.72), Tissue(0.93, 0.073, 0.053, 0.72)),
    "fluid": (Tissue(4.3, 2.0, 0.6, 1.0), Tissue(4.3, 1.8, 0.4, 1.0)),
    "lesion": (Tissue(1.05, 0.150, 0.110, 0.84), Tissue(1.35, 0.140, 0.090, 0.84)),
    "perivascular": (Tissue(3.0, 1.0, 0.3, 0.95), Tissue(3.0, 0.9, 0.25, 0.95)),
    "vein": (Tissue(1.30, 0.090, 0.035, 0.80, 0.36), Tissue(1.60, 0.040, 0.018, 0.80, 0.36)),
    "microbleed": (Tissue(1.00, 0.040, 0.006, 0.70, 0.60), Tissue(1.30, 0.030, 0.003, 0.70, 0.60)),
    "soft tissue": (Tissue(1.00, 0.040, 0.030, 0.72), Tissue(1.30, 0.036, 0.025, 0.72)),
    "scalp": (Tissue(0.40, 0.060, 0.045, 0.50), Tissue(0.46, 0.058, 0.035, 0.50)),
    "skull": (Tissue(0.60, 0.004, 0.002, 0.12), Tissue(0.70, 0.003, 0.0015, 0.12)),
    "marrow": (Tissue(0.40, 0.060, 0.018, 0.50), Tissue(0.48, 0.055, 0.012, 0.50)),
    "other tissue": (Tissue(1.10, 0.050, 0.030, 0.55), Tissue(1.35, 0.045, 0.025, 0.55)),
    "background": (Tissue(1.0, 0.05, 0.03, 0.0), Tissue(1.0, 0.05, 0.03, 0.0)),
}
"""Tissues at 1.5 and at 3 T."""


def tissue_at(name: str, field_t: float) -> Tissue:
    """A tissue at a field strength, linear between and beyond 1.5 and 3 T (times never below a fifth of the nearer).

    >>> round(tissue_at("white", 2.25).t1, 3)
    0.745
    """
    low, high = TISSUES[name]
    share = (field_t - 1.5) / 1.5

    def between(first: float, last: float) -> float:
        return max(first + share * (last - first), 0.2 * last)

    return replace(low, t1=between(low.t1, high.t1), t2=between(low.t2, high.t2), t2star=between(low.t2star, high.t2star))


def with_iron(tissue: Tissue, milligrams: float, field_t: float, usual: float) -> Tissue:
    """A tissue whose iron is not the usual: R2* by Langkammer 2010, susceptibility by Langkammer 2012.

    >>> round(1 / with_iron(Tissue(1, 0.08, 0.05, 0.8), 200, 3.0, usual=100).t2star, 6)  # 1/0.05 + 0.27 × 100
    47.0
    """
    rate = 1 / tissue.t2star + IRON_R2STAR * field_t / 3 * (milligrams - usual)
    return replace(tissue, t2star=1 / max(rate, 1.0), ppm=tissue.ppm + IRON_PPM * milligrams * PHASE_KEPT)


def mprage(tissue: Tissue, sequence: Sequence) -> float:
    """Signal of an inversion-prepared train of small flips in its steady state, at the middle of the train.

    Longitudinal magnetisation is carried through inversion, delay, train and recovery, each an affine map m → a m + b; its fixed point
    is the steady state (Deichmann et al. 2000, doi:10.1006/nimg.2000.0601). The train is shortened where the inversion time is short.

    Examples
    --------
    With a vanishing flip angle it is an inversion recovery, 1 − 2 exp(−TI/T1) / (1 + exp(−TR/T1)):

    >>> tiny = Sequence(tr=2.3, te=0.0, ti=0.9, flip=1e-3, voxel_mm=(1, 1, 1))
    >>> ratio = mprage(Tissue(1.0, 1.0, 1e9, 1.0), tiny) / math.sin(math.radians(1e-3))
    >>> round(ratio, 4), round(1 - 2 * math.exp(-0.9) / (1 + math.exp(-2.3)), 4)
    (0.261, 0.261)
    """
    angle = math.radians(sequence.flip)
    half = min(ECHOES / 2, 0.98 * sequence.ti / ECHO_SPACING_S, 0.98 * (sequence.tr - sequence.ti) / ECHO_SPACING_S)
    e1 = math.exp(-ECHO_SPACING_S / tissue.t1)
    steady = (1 - e1) / (1 - math.cos(angle) * e1)
    within = (math.cos(angle) * e1) ** half

    def rest(seconds: float, m: np.ndarray) -> np.ndarray:
        kept = math.exp(-seconds / tissue.t1)
        return kept * m + np.array([0.0, 1 - kept])

    # (a, b) of m = a m0 + b, from just before the inversion
    middle = rest(sequence.ti - half * ECHO_SPACING_S, np.array([-1.0, 0.0]))
    middle = within * middle + np.array([0.0, (1 - within) * steady])
    end = rest(sequence.tr - sequence.ti - half * ECHO_SPACING_S, within * middle + np.array([0.0, (1 - within) * steady]))
    before = end[1] / (1 - end[0])
    return tissue.density * math.sin(angle) * float(middle[0] * before + middle[1]) * math.exp(-sequence.te / tissue.t2star)


def flair(tissue: Tissue, sequence: Sequence) -> float:
    """Signal of an inversion-recovery spin echo, ρ (1 − 2 exp(−TI/T1) + exp(−TR/T1)) exp(−TE/T2).

    >>> fluid = Tissue(4.3, 2.0, 1.0, 1.0)
    >>> null = 4.3 * (math.log(2) - math.log1p(math.exp(-9 / 4.3)))
    >>> round(abs(flair(fluid, Sequence(9.0, 0.1, null, 90.0, (1, 1, 1)))), 9)
    0.0
    """
    recovered = 1 - 2 * math.exp(-sequence.ti / tissue.t1) + math.exp(-sequence.tr / tissue.t1)
    return tissue.density * recovered * math.exp(-sequence.te / tissue.t2)


def spin_echo(tissue: Tissue, sequence: Sequence) -> float:
    """Signal of a spin echo, ρ (1 − exp(−TR/T1)) exp(−TE/T2).

    Fluid over white matter in a T2w at 3 tesla:

    >>> fluid, white = (spin_echo(TISSUES[name][1], Sequence(3.2, 0.1, 0.0, 90.0, (1, 1, 1))) for name in ("fluid", "white"))
    >>> round(fluid / white, 2)
    3.09
    """
    return tissue.density * (1 - math.exp(-sequence.tr / tissue.t1)) * math.exp(-sequence.te / tissue.t2)


def gradient_echo(tissue: Tissue, sequence: Sequence) -> float:
    """Signal of a spoiled gradient echo, ρ sin α (1 − E1) / (1 − cos α E1) exp(−TE/T2*).

    At 90° it is ρ (1 − E1) exp(−TE/T2*):

    >>> at_90 = gradient_echo(Tissue(1.0, 1.0, 1e9, 1.0), Sequence(0.7, 0.0, 0.0, 90.0, (1, 1, 1)))
    >>> round(at_90 - (1 - math.exp(-0.7)), 9)
    0.0
    """
    e1, angle = math.exp(-sequence.tr / tissue.t1), math.radians(sequence.flip)
    return tissue.density * math.sin(angle) * (1 - e1) / (1 - math.cos(angle) * e1) * math.exp(-sequence.te / tissue.t2star)


def swi(tissue: Tissue, sequence: Sequence, field_t: float) -> float:
    """Magnitude of a gradient echo times the phase mask of susceptibility weighting, `MASK_POWER` times.

    The phase is that of a vessel along the field, 2π γ B0 Δχ/3 TE; the mask is 1 − |phase|/π, 1 without susceptibility.

    >>> plain = Tissue(1.0, 0.1, 0.05, 0.8)
    >>> sequence = Sequence(0.03, 0.02, 0.0, 15.0, (1, 1, 1))
    >>> swi(plain, sequence, 3.0) == gradient_echo(plain, sequence)
    True
    """
    phase = abs(2 * math.pi * GAMMA_HZ_T * field_t * tissue.ppm * 1e-6 / 3 * sequence.te)
    return gradient_echo(tissue, sequence) * (1 - min(phase / math.pi, 1.0)) ** MASK_POWER


def signal(modality: str, tissue: Tissue, sequence: Sequence, field_t: float) -> float:
    """Magnitude of the signal of a tissue in a modality, by the equation that its row of `modalities.MODALITIES` names.

    Raises
    ------
    ValueError
        For another modality.
    """
    rows = by_words()
    if modality not in rows:
        raise ValueError(f"{modality} is no modality of the phantoms; choose {words_of(tuple(MODALITIES), ' or ')}")
    return abs(EQUATIONS[rows[modality].simulated.equation](tissue, sequence, field_t))


EQUATIONS: Mapping[str, Callable[[Tissue, Sequence, float], float]] = {
    "mprage": lambda tissue, sequence, _: (mprage if sequence.ti else gradient_echo)(tissue, sequence),
    "inversion recovery": lambda tissue, sequence, _: flair(tissue, sequence),
    "spin echo": lambda tissue, sequence, _: spin_echo(tissue, sequence),
    "susceptibility": swi,
}
"""Signal of a tissue by a sequence at a field strength (tesla); ``mprage`` without an inversion time is a gradient echo."""
