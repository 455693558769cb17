from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from brainage_bids.phantoms import contrast
from brainage_bids.phantoms.contrast import Tissue, flair, gradient_echo, mprage, signal, swi, tissue_at
from brainage_bids.phantoms.people import Sequence

CUBE = (1.0, 1.0, 1.0)
T1W, FLAIR, SWI = (Sequence(*times, CUBE) for times in ((2.3, 0.003, 0.9, 9.0), (5.0, 0.12, 1.76, 90.0), (0.028, 0.02, 0.0, 15.0)))


def simulated_mprage(tissue: Tissue, sequence: Sequence, shots: int = 40) -> float:
    """Pulse by pulse until it repeats."""
    angle, gap = math.radians(sequence.flip), contrast.ECHO_SPACING_S
    half = contrast.ECHOES // 2

    def rest(m, seconds):
        return 1 + (m - 1) * math.exp(-seconds / tissue.t1)

    m = 1.0
    for _ in range(shots):
        m = rest(-m, sequence.ti - half * gap)
        for _ in range(half):
            m = rest(m * math.cos(angle), gap)
        middle = m
        for _ in range(half):
            m = rest(m * math.cos(angle), gap)
        m = rest(m, sequence.tr - sequence.ti - half * gap)
    return tissue.density * math.sin(angle) * middle * math.exp(-sequence.te / tissue.t2star)


@given(st.floats(0.3, 4.5), st.floats(3, 14), st.floats(0.6, 1.2))
def test_mprage_is_what_pulse_by_pulse_simulation_gives(t1, flip, ti):
    tissue, sequence = Tissue(t1, 0.08, 0.05, 0.8), Sequence(2.3, 0.003, ti, flip, CUBE)
    assert mprage(tissue, sequence) == pytest.approx(simulated_mprage(tissue, sequence), abs=1e-6)


@given(st.floats(0.2, 4.5), st.floats(0.02, 3.0))
def test_gradient_echo_peaks_at_the_ernst_angle(t1, tr):
    ernst = math.degrees(math.acos(math.exp(-tr / t1)))
    at = [gradient_echo(Tissue(t1, 1.0, 1e9, 1.0), Sequence(tr, 0.0, 0.0, flip, CUBE)) for flip in (ernst - 1, ernst, ernst + 1)]
    assert at[1] >= max(at[0], at[2])


def test_flair_without_inversion_delay_and_with_endless_one():
    tissue = Tissue(1.0, 0.1, 0.05, 0.8)
    assert flair(tissue, Sequence(1e9, 0.0, 0.0, 90.0, CUBE)) == pytest.approx(-0.8)
    assert flair(tissue, Sequence(1e9, 0.1, 1e8, 90.0, CUBE)) == pytest.approx(0.8 * math.exp(-1))


@pytest.mark.parametrize("field_t", [1.5, 3.0])
def test_contrasts_are_in_the_order_that_radiologists_know(field_t):
    def level(modality, name, sequence):
        return signal(modality, tissue_at(name, field_t), sequence, field_t)

    t1w = {name: level("T1w", name, T1W) for name in contrast.TISSUES}
    assert t1w["scalp"] > t1w["white"] > t1w["thalamus"] > t1w["grey"] > t1w["fluid"] > t1w["skull"]
    assert t1w["lesion"] < 0.85 * t1w["white"]
    bright = {name: level("FLAIR", name, FLAIR) for name in contrast.TISSUES}
    assert bright["lesion"] > 1.2 * bright["grey"] > bright["grey"] > bright["white"] > 3 * bright["fluid"]
    dark = {name: level("SWI", name, SWI) for name in contrast.TISSUES}
    assert dark["microbleed"] < dark["vein"] < 0.6 * dark["white"]


def test_more_iron_is_darker_on_swi_and_hardly_on_t1w():
    plain = tissue_at("putamen", 3.0)
    young, old = (contrast.with_iron(plain, milligrams, 3.0, 100.0) for milligrams in (80.0, 160.0))
    assert swi(old, SWI, 3.0) < 0.85 * swi(young, SWI, 3.0)
    assert mprage(old, T1W) == pytest.approx(mprage(young, T1W), rel=0.08)
    assert np.isclose(1 / old.t2star - 1 / young.t2star, 0.27 * 80)


def test_an_unknown_modality_is_refused():
    with pytest.raises(ValueError, match="PD is no modality"):
        signal("PD", tissue_at("white", 3.0), T1W, 3.0)
