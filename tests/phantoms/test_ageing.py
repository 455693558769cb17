from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brainage_bids.phantoms import ageing
from brainage_bids.phantoms.people import Scanner, Visit

SCANNER = Scanner("one", "here", 3.0, 0.03, 0.1, 1.0, {})

PUBLISHED = {
    ("cortical_grey", "F"): {20: (548, 470, 624), 40: (487, 418, 556), 60: (453, 388, 517), 80: (430, 368, 492)},
    ("cortical_grey", "M"): {20: (602, 516, 688), 40: (536, 459, 612), 60: (498, 426, 570), 80: (473, 404, 542)},
    ("white", "F"): {20: (442, 370, 522), 40: (443, 368, 526), 60: (422, 349, 504), 80: (399, 327, 478)},
    ("white", "M"): {20: (497, 416, 588), 40: (498, 414, 592), 60: (475, 392, 567), 80: (448, 368, 538)},
    ("subcortical_grey", "F"): {20: (60, 53, 68), 40: (57, 50, 64), 60: (53, 46, 60), 80: (50, 44, 57)},
    ("subcortical_grey", "M"): {20: (66, 58, 74), 40: (62, 54, 69), 60: (58, 50, 65), 80: (54, 47, 62)},
    ("ventricles", "F"): {20: (11, 6, 22), 40: (16, 9, 32), 60: (25, 13, 53), 80: (40, 21, 88)},
    ("ventricles", "M"): {20: (14, 8, 27), 40: (20, 11, 41), 60: (31, 16, 66), 80: (50, 26, 110)},
}


def visit(age: float = 60.0, sex: str = "F", **more) -> Visit:
    return Visit("sub-1", None, age, 0.0, sex, "control", more.pop("pattern", 0.0), SCANNER, 1, 1, **more)


@pytest.mark.parametrize("name, sex", list(PUBLISHED))
def test_medians_and_spread_of_people_are_the_published_ones(name, sex):
    rng = np.random.default_rng(3)
    standings = [{law: float(rng.standard_normal()) for law in ageing.LAWS} for _ in range(1000)]
    for age, (middle, low, high) in PUBLISHED[name, sex].items():
        volumes = [ageing.target_volumes(visit(age, sex, standing=standing))[name] for standing in standings]
        found_low, found, found_high = np.percentile(volumes, (5, 50, 95))
        assert found == pytest.approx(middle, rel=0.05)
        assert np.log(found_high / found_low) == pytest.approx(np.log(high / low), rel=0.12)


def test_the_alzheimer_pattern_gives_the_published_shift_at_75():
    for sex, grey, ventricles, hippocampus in (("F", 580 - 530, 47 / 32, 2.67 / 3.36), ("M", 642 - 595, 63 / 43, 3.01 / 3.65)):
        well, ill = (ageing.target_volumes(visit(75.0, sex, pattern=pattern)) for pattern in (0.0, 1.0))
        parts = ("cortical_grey", "subcortical_grey", "cerebellar_grey")
        assert sum(well[part] for part in parts) == pytest.approx(580 if sex == "F" else 642, rel=0.01)
        assert sum(well[part] - ill[part] for part in parts) == pytest.approx(grey, rel=0.01)
        assert ill["ventricles"] / well["ventricles"] == pytest.approx(ventricles)
        assert ill["hippocampus"] / well["hippocampus"] == pytest.approx(hippocampus)
        assert well["hippocampus"] / 2 == pytest.approx(3.36 if sex == "F" else 3.65, rel=0.02)


@settings(max_examples=60, deadline=None)
@given(
    st.floats(18, 95), st.floats(-10, 10), st.sampled_from("FM"), st.floats(0, 1), st.lists(st.floats(-2.2, 2.2), min_size=10, max_size=10)
)
def test_parts_fill_the_skull_and_only_brain_age_counts(age, gap, sex, pattern, standings):
    someone = replace(visit(age, sex, pattern=pattern, standing=dict(zip(ageing.LAWS, standings))), gap=gap)
    volumes = ageing.target_volumes(someone)
    whole = ("cortical_grey", "white", "subcortical_grey", "ventricles", "third_ventricle", "fourth_ventricle", "outer_csf")
    whole += ("cerebellar_grey", "cerebellar_white", "brain_stem")
    assert sum(volumes[name] for name in whole) == pytest.approx(volumes["cranium"])
    assert min(volumes.values()) > 0
    assert volumes["cranium"] == ageing.target_volumes(ageing.young(someone))["cranium"]
    assert volumes == ageing.target_volumes(replace(someone, age=age + gap, gap=0.0))


def test_frontal_and_temporal_cortex_thin_faster_and_mean_up_to_the_cortex():
    old = visit(80.0)
    factors = ageing.lobe_factors(old)
    assert factors["frontal"] < factors["other"] and factors["temporal"] < factors["other"]
    cortex = ageing.target_volumes(old)["cortical_grey"] / ageing.target_volumes(ageing.young(old))["cortical_grey"]
    assert np.dot(ageing.LOBE_SHARES, list(factors.values())) == pytest.approx(cortex)
    ill = ageing.lobe_factors(replace(old, pattern=1.0))
    assert ill["temporal"] / factors["temporal"] < ill["frontal"] / factors["frontal"]


def test_hippocampus_and_amygdala_shrink_faster_after_60():
    for name in ("hippocampus", "amygdala"):
        at = {age: ageing.target_volumes(visit(float(age)))[name] for age in (40, 60, 80)}
        assert at[60] - at[80] > 3 * (at[40] - at[60])


def test_lesions_begin_at_40_and_iron_is_hallgrens():
    assert ageing.lesion_volume(visit(39.0)) == 0
    assert [round(ageing.lesion_volume(visit(age)), 2) for age in (60.0, 80.0)] == [1.55, 11.09]
    iron = ageing.iron(visit(50.0))
    assert iron["pallidum"] == pytest.approx(10 * (21.41 * (1 - np.exp(-4.5)) + 0.37))
    assert iron["pallidum"] > iron["putamen"] > iron["caudate"]


def test_a_brain_without_room_for_fluid_is_refused():
    with pytest.raises(ValueError, match="milder standings"):
        ageing.target_volumes(visit(20.0, standing={"head": -3.0, "grey": 5.0, "white": 5.0}))
