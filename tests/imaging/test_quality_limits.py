"""The quality table: every figure a row, every fault its flag, nothing dropped in silence."""

import numpy as np
import pytest

from brainage_bids.imaging.quality_limits import QUALITY_LIMITS, STRUCTURE_METRICS, assess, measure
from brainage_bids.records import FLAGS

CONTRACT = ["snr", "cnr", "cjv", "efc", "fber", "bias_range", "mask_volume_ml", "scalp_distance_mm", "registration_overlap",
            "jacobian_nonpositive_share", "coverage", "voxel_max_mm", "gm_ratio", "structures_missing", "structures_outside_norms",
            "asymmetry", "detached_share", "wrong_side_share", "intensity_fit", "ventricle_leak"]  # fmt: skip
GOOD = {
    "snr": 15.0, "cnr": 3.0, "cjv": 0.5, "efc": 0.55, "fber": 2000.0, "bias_range": 1.3, "mask_volume_ml": 1400.0,
    "scalp_distance_mm": 15.0,
    "registration_overlap": 0.78, "jacobian_nonpositive_share": 0.0, "coverage": 1.0, "voxel_max_mm": 1.0, "gm_ratio": 0.56,
    "structures_missing": 0.0, "structures_outside_norms": 0.0, "asymmetry": 0.5, "detached_share": 0.02, "wrong_side_share": 0.0005,
    "intensity_fit": 0.75, "ventricle_leak": 0.02,
}  # fmt: skip
BAD = [
    ("snr", 3.0, "poor_snr"), ("cnr", 1.0, "poor_contrast"), ("cjv", 1.3, "poor_contrast"), ("efc", 0.9, "motion_suspected"),
    ("fber", 10.0, "motion_suspected"), ("bias_range", 3.0, "strong_bias_field"), ("mask_volume_ml", 500.0, "implausible_brain_volume"),
    ("mask_volume_ml", 2500.0, "implausible_brain_volume"), ("registration_overlap", 0.4, "poor_registration"),
    ("scalp_distance_mm", 27.0, "poor_brain_mask"), ("scalp_distance_mm", 3.0, "poor_brain_mask"),
    ("jacobian_nonpositive_share", 0.02, "folded_warp"), ("coverage", 0.9, "cropped_brain"), ("voxel_max_mm", 3.0, "poor_resolution"),
    ("gm_ratio", 0.3, "implausible_tissue_ratio"), ("gm_ratio", 0.8, "implausible_tissue_ratio"),
    ("structures_missing", 1.0, "implausible_structures"), ("structures_outside_norms", 2.0, "implausible_structures"),
    ("asymmetry", 1.1, "implausible_structures"), ("detached_share", 0.2, "implausible_structures"),
    ("wrong_side_share", 0.2, "implausible_structures"), ("intensity_fit", 0.4, "poor_segmentation"),
    ("ventricle_leak", 0.3, "poor_segmentation"),
]  # fmt: skip


def flags_of(rows):
    """The flags of a table, each once, in its order."""
    return tuple(dict.fromkeys(row["flag"] for row in rows if row["flag"] != "n/a"))


def test_the_table_has_the_contracts_rows_and_flags_of_the_closed_list():
    assert [limit.metric for limit in QUALITY_LIMITS] == CONTRACT
    for limit in QUALITY_LIMITS:
        assert limit.flag in FLAGS and limit.reason and limit.description and limit.unit
        assert limit.low is not None or limit.high is not None
        assert limit.low is None or limit.high is None or limit.low < limit.high


def test_a_good_scan_raises_nothing():
    rows = assess(GOOD, stripped=False)
    assert flags_of(rows) == () and [row["metric"] for row in rows] == CONTRACT
    assert [list(row) for row in rows] == [["metric", "value", "unit", "low", "high", "flag", "description"]] * len(rows)
    assert [row["value"] for row in rows] == [GOOD[metric] for metric in CONTRACT]


@pytest.mark.parametrize(("metric", "value", "flag"), BAD)
def test_each_fault_raises_its_own_flag_and_no_other(metric, value, flag):
    assert flags_of(assess(GOOD | {metric: value}, stripped=False)) == (flag,)


def test_a_value_on_the_limit_is_still_unremarkable():
    on_limit = {limit.metric: limit.low if limit.low is not None else limit.high for limit in QUALITY_LIMITS}
    assert flags_of(assess(on_limit, stripped=False)) == ()


def test_an_extracted_brain_has_no_figures_of_the_air_and_says_so():
    rows = {row["metric"]: row for row in assess(GOOD | {"efc": 0.99, "fber": 0.1}, stripped=True)}
    for metric in ("efc", "fber"):
        assert rows[metric]["value"] == "n/a" and rows[metric]["flag"] == "n/a" and "removed" in rows[metric]["description"]


@pytest.mark.parametrize("missing", [None, float("nan")])
def test_a_figure_that_could_not_be_computed_says_so(missing):
    row = assess(GOOD | {"snr": missing}, stripped=False)[0]
    assert row["value"] == "n/a" and row["flag"] == "n/a" and "Not computed" in row["description"]


def test_details_of_a_person_stand_in_the_description():
    rows = assess(GOOD | {"asymmetry": 2.0}, stripped=False, details={"asymmetry": "thalamus 0.6", "detached_share": ""})
    said = {row["metric"]: row["description"] for row in rows}
    assert said["asymmetry"].endswith("Here: thalamus 0.6.") and "Here" not in said["detached_share"]


def test_infinite_figures_are_judged():
    assert flags_of(assess(GOOD | {"cjv": float("inf"), "snr": float("inf")}, stripped=False)) == ("poor_contrast",)


def test_missing_and_unknown_figures_are_refused():
    with pytest.raises(ValueError, match="missing: \\['snr'\\]"):
        assess({k: v for k, v in GOOD.items() if k != "snr"}, stripped=False)
    with pytest.raises(ValueError, match="unknown: \\['sharpness'\\]"):
        assess(GOOD | {"sharpness": 1.0}, stripped=False)


def painted(noise, seed=0):
    """A head of 3 mm voxels: fluid round grey matter round white matter in a dimmer scalp, with Rician noise."""
    affine = np.diag([3.0, 3.0, 3.0, 1.0])
    index = np.stack(np.meshgrid(*[(np.arange(n) - n / 2) * 3.0 for n in (84, 90, 84)], indexing="ij"))
    radius = np.sqrt((index**2).sum(axis=0))
    dseg = np.select([radius < 51, radius < 65, radius < 69], [2, 1, 3], 0).astype(np.uint8)
    clean = np.select([dseg == 2, dseg == 1, dseg == 3, (radius > 74) & (radius < 82)], [0.85, 0.55, 0.17, 0.5], 0.0)
    rng = np.random.default_rng(seed)
    image = np.hypot(clean + rng.normal(0, noise * 0.85, clean.shape), rng.normal(0, noise * 0.85, clean.shape))
    return image.astype(np.float32), affine, dseg > 0, dseg


def flags_at(noise, stripped=False, **kwargs):
    image, affine, brain, dseg = painted(noise)
    if stripped:
        image = image * brain
    metrics = measure(image, image, affine, brain, dseg, stripped=stripped, **kwargs)
    return metrics, set(flags_of(assess(metrics, stripped)))


@pytest.mark.parametrize("stripped", [False, True])
def test_measuring_gives_every_figure_and_plausible_values(stripped):
    metrics, flags = flags_at(0.03, stripped)
    assert set(metrics) == set(CONTRACT) and all(np.isnan(metrics[metric]) for metric in STRUCTURE_METRICS)
    assert metrics["mask_volume_ml"] == pytest.approx(4 / 3 * np.pi * 6.9**3, rel=0.01)
    assert metrics["gm_ratio"] == pytest.approx(1 - (51 / 65) ** 3, abs=0.01)
    assert metrics["snr"] == pytest.approx(1 / 0.03, rel=0.03)
    assert np.isnan(metrics["efc"]) == np.isnan(metrics["fber"]) == np.isnan(metrics["scalp_distance_mm"]) == stripped
    assert flags == {"poor_resolution"}


def test_heavy_noise_is_flagged():
    _, flags = flags_at(0.2)
    assert {"poor_snr", "poor_contrast"} <= flags


def test_what_registration_and_bias_found_comes_through():
    image, affine, brain, dseg = painted(0.03)
    field = np.where(np.arange(84)[:, None, None] < 42, 0.5, 1.5) * np.ones(brain.shape)
    jacobian = np.ones((4, 4, 4))
    jacobian[0, 0, :2] = -0.1
    metrics = measure(
        image, image, affine, brain, dseg, stripped=False, bias_field=field, jacobian=jacobian, registration_overlap=0.5,
        tissue_mm3={"GM": 300.0, "WM": 700.0},
    )  # fmt: skip
    assert metrics["bias_range"] == pytest.approx(3.0) and metrics["jacobian_nonpositive_share"] == pytest.approx(2 / 64)
    assert metrics["gm_ratio"] == pytest.approx(0.3)
    flags = set(flags_of(assess(metrics, stripped=False)))
    assert flags == {"strong_bias_field", "folded_warp", "poor_registration", "implausible_tissue_ratio", "poor_resolution"}
