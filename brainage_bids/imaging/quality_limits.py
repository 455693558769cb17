"""The quality table of a scan: all figures together, and the limits that turn one into a flag."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from brainage_bids.imaging import quality
from brainage_bids.imaging.grids import voxel_volume
from brainage_bids.imaging.quality_mask import scalp_distance_mm

NOT_AVAILABLE = "n/a"
NO_VALUES = "Not computed: the images it needs hold no usable values."


@dataclass(frozen=True)
class Limit:
    """What one quality figure means and between which values it is unremarkable.

    Attributes
    ----------
    metric, unit, description : str
        Name, unit (``1`` for a pure number) and meaning, as written in the table.
    low, high : float or None
        Below `low` or above `high` the flag is raised; None is no limit.
    flag : str
        Code of ``records.FLAGS``.
    reason : str
        Why the limits lie where they lie.
    needs_air : bool
        True for a figure that an extracted brain does not have.
    """

    metric: str
    unit: str
    low: float | None
    high: float | None
    flag: str
    description: str
    reason: str
    needs_air: bool = False


QUALITY_LIMITS: tuple[Limit, ...] = (
    Limit(
        "snr", "1", 7.0, None, "poor_snr", "Signal-to-noise ratio in white matter: median over standard deviation.",
        "Ordinary scans reach 10 to 22; Rician noise of 8 % of white matter leaves 12, of 15 % leaves 6.5.",
    ),
    Limit(
        "cnr", "1", 1.5, None, "poor_contrast", "Contrast of grey and white matter over the standard deviation of both and of the air.",
        "Ordinary scans reach 2 (3 mm slices) to 3.5; noise of 15 % leaves 1.5, where the tissues' histograms merge.",
    ),
    Limit(
        "cjv", "1", None, 0.95, "poor_contrast", "Coefficient of joint variation of grey and white matter; low is good.",
        "Ordinary scans reach 0.4 to 0.65; at 0.95 the tissues' spreads together are as wide as their distance (noise of 15 %).",
    ),
    Limit(
        "efc", "1", None, 0.75, "motion_suspected", "Entropy focus criterion of the whole field of view; low is good.",
        "Ordinary scans reach 0.45 to 0.6 and up to 0.7 with noise of 8 %; motion in half of the lines adds 0.05 to 0.1.",
        needs_air=True,
    ),
    Limit(
        "fber", "1", 30.0, None, "motion_suspected", "Mean energy of the brain over that of the air around the upper head; high is good.",
        "Clean scans reach 100 (unfiltered noise of 4 %) to tens of thousands; ghosts of a "
        "quarter of the brain's brightness, strong motion in half of the lines or noise above 8 % leave about 30.",
        needs_air=True,
    ),
    Limit(
        "bias_range", "1", None, 2.0, "strong_bias_field", "95th over 5th percentile of the intensity bias field in the brain; 1 is none.",
        "Ordinary scans stay below 1.4; at 2 dim white matter is darker than bright grey matter, and what a correction "
        "leaves behind begins to matter.",
    ),
    Limit(
        "mask_volume_ml", "mL", 800.0, 2100.0, "implausible_brain_volume", "Volume of the brain mask.",
        "Adult brains with their inner fluid measure about 900 to 1900 mL; beyond that skull was taken in or brain left out.",
    ),
    Limit(
        "scalp_distance_mm", "mm", 10.0, 23.0, "poor_brain_mask",
        "Distance from the upper surface of the brain mask to the outside of the head, upper quartile.",
        "True masks of 14 heads give 14 to 19 and once 22; where a mask cut 10 mm off the top of the brain 25 to 30, "
        "where it took in 8 mm more 8 to 13, and where it was the whole head 3.",
        needs_air=True,
    ),
    Limit(
        "registration_overlap", "1", 0.62, None, "poor_registration", "Mean Dice of warped grey and white matter with the template's.",
        "Good warps reach 0.72 to 0.75, an affine alone 0.63 to 0.65; off by 10 mm or 20° they fall to 0.55.",
    ),
    Limit(
        "jacobian_nonpositive_share", "1", None, 0.001, "folded_warp", "Share of brain voxels where the non-linear warp folds.",
        "A regular warp has none; a thousandth is about a millilitre of brain without a defined volume.",
    ),
    Limit(
        "coverage", "1", 0.99, None, "cropped_brain", "Share of the brain's surface inside the field of view; 1 is all of it.",
        "Whole brains reach 0.999 or more; brains that run into the first or last of thick slices 0.93 to 0.98.",
    ),
    Limit(
        "voxel_max_mm", "mm", None, 1.7, "poor_resolution", "Longest edge of a voxel.",
        "The cortex is 2 to 4 mm thick; larger voxels hold cortex and its neighbours at once. A painted head that was resampled "
        "once loses up to 6 % of its white matter in voxels of 2 mm, 4 % at 1.75 mm and 2 % at 1.5 mm.",
    ),
    Limit(
        "gm_ratio", "1", 0.45, 0.68, "implausible_tissue_ratio", "Grey matter as a share of grey and white matter.",
        "Norms of healthy adults of 20 to 90 years lie between 0.48 and 0.65.",
    ),
    Limit(
        "structures_missing", "1", None, 0.0, "implausible_structures", "Structures of the brain without a single voxel.",
        "Everybody has all of them; in thick slices the smallest may fall between two.",
    ),
    Limit(
        "structures_outside_norms", "1", None, 0.0, "implausible_structures",
        "Structures whose share of the brain lies outside wide norms of adults.",
        "The norms and their source stand in quality_structures.NORMS; 41 adults and 14 label maps have none outside.",
    ),
    Limit(
        "asymmetry", "1", None, 1.0, "implausible_structures",
        "Largest difference between left and right, over the mean of both, as a multiple of the norm of its structure.",
        "The norms and their source stand in quality_structures.NORMS; a lobe cut off on one side gives 2 to 5.",
    ),
    Limit(
        "detached_share", "1", None, 0.1, "implausible_structures",
        "Largest share of a compact structure that lies apart from its main piece.",
        "41 adults reach 0.03, slices of 3 mm 0.05; sides exchanged in the frontal lobe give 0.16.",
    ),
    Limit(
        "wrong_side_share", "1", None, 0.01, "implausible_structures",
        "Share of the cerebrum that is labelled left on the right or right on the left, by more than 5 mm.",
        "41 adults reach 0.0023; sides exchanged in the frontal lobe give 0.2, a lobe cut off tilts the midline and gives 0.02.",
    ),
    Limit(
        "intensity_fit", "1", 0.5, None, "poor_segmentation",
        "Share of the variance of intensities in the brain that the structures explain; high is good.",
        "41 adults reach 0.71 to 0.81, slices of 3 mm 0.61 to 0.63; labels shifted by 3 mm leave 0.4, a mask full of skull 0.1.",
    ),
    Limit(
        "ventricle_leak", "1", None, 0.2, "poor_segmentation",
        "Share of the lateral ventricles that is as bright as white matter rather than as fluid.",
        "41 adults reach 0.03, slices of 3 mm 0.11; ventricles grown by 3 mm into one side's white matter give 0.32 to 0.43.",
    ),
)  # fmt: skip
"""Every quality figure of a T1w, in the table's order."""
STRUCTURE_METRICS = tuple(limit.metric for limit in QUALITY_LIMITS if limit.flag in ("implausible_structures", "poor_segmentation"))
"""Those of the segmentation into structures."""


def measure(
    image: np.ndarray,
    corrected: np.ndarray,
    affine: np.ndarray,
    brain: np.ndarray,
    dseg: np.ndarray,
    *,
    stripped: bool,
    bias_field: np.ndarray | None = None,
    jacobian: np.ndarray | None = None,
    jacobian_mask: np.ndarray | None = None,
    registration_overlap: float | None = None,
    tissue_mm3: Mapping[str, float] | None = None,
    structures: Mapping[str, float] | None = None,
) -> dict[str, float]:
    """All quality figures of a T1w.

    Parameters
    ----------
    image, corrected : ndarray, (X, Y, Z)
        The conformed scan, and the same after bias correction.
    affine : ndarray, (4, 4)
    brain : ndarray, (X, Y, Z), bool
    dseg : ndarray, (X, Y, Z)
        1 GM, 2 WM (used without its outermost voxels), 3 CSF.
    stripped : bool
        Whether the scan came without its surroundings: there is no air to measure in.
    bias_field : ndarray, (X, Y, Z), optional
        The multiplicative bias.
    jacobian, jacobian_mask : ndarray, optional
        Determinants of the non-linear warp on the template's grid, and the template's brain.
    registration_overlap : float, optional
    tissue_mm3, structures : mapping, optional
        Volumes of GM and WM (by default counted in `dseg`); what `quality_structures.measure_structures` found.

    Returns
    -------
    dict
        A value for every metric of `QUALITY_LIMITS`; NaN where it cannot be computed.
    """
    missing = float("nan")
    gm, wm = dseg == 1, quality.core(dseg == 2)
    air = None if stripped else quality.air_mask(brain, affine)
    volumes = tissue_mm3 or {"GM": float(np.count_nonzero(gm)), "WM": float(np.count_nonzero(dseg == 2))}
    return dict.fromkeys(STRUCTURE_METRICS, missing) | {
        "snr": quality.snr(corrected, wm),
        "cnr": quality.cnr(corrected, gm, wm, air),
        "cjv": quality.cjv(corrected, gm, wm),
        "efc": missing if stripped else quality.efc(image),
        "fber": missing if stripped else quality.fber(image, brain, air),
        "bias_range": missing if bias_field is None else quality.bias_range(bias_field, brain),
        "mask_volume_ml": quality.mask_volume_ml(brain, voxel_volume(affine)),
        "scalp_distance_mm": missing if stripped else scalp_distance_mm(image, brain, affine),
        "registration_overlap": missing if registration_overlap is None else float(registration_overlap),
        "jacobian_nonpositive_share": missing if jacobian is None else quality.jacobian_nonpositive_share(jacobian, jacobian_mask),
        "coverage": quality.coverage(brain, affine, None if stripped else image),
        "voxel_max_mm": quality.voxel_max_mm(affine),
        "gm_ratio": quality.gm_ratio(volumes["GM"], volumes["WM"]),
        **(structures or {}),
    }


def assess(
    metrics: Mapping[str, float | None],
    stripped: bool,
    details: Mapping[str, str] | None = None,
    *,
    missing: Mapping[str, str] | None = None,
    limits: tuple[Limit, ...] = QUALITY_LIMITS,
) -> list[dict[str, object]]:
    """The quality table: every figure with its limits and, where it lies outside, the flag it raises.

    Parameters
    ----------
    metrics : mapping of str to float
        A value for every metric of `QUALITY_LIMITS`; None or NaN where it could not be computed.
    stripped : bool
        Whether the scan came as an extracted brain; figures that need air are then n/a, whatever was passed.
    details : mapping, optional
        What a figure speaks of in this person (the structure that is most asymmetric), by metric; added to its description.
    missing : mapping, optional
        Why a figure could not be computed, by metric, where it is known.
    limits : tuple of Limit
        Those of a T1w by default.

    Returns
    -------
    list of dict
        metric, value, unit, low, high, flag, description, a row a metric in a fixed order; ``n/a`` for what is missing.
        A figure that could not be computed raises no flag and its description says so.

    Raises
    ------
    ValueError
        If a metric is missing or unknown: no figure is dropped in silence.

    Examples
    --------
    >>> values = {limit.metric: float("nan") for limit in QUALITY_LIMITS} | {"snr": 5.0}
    >>> row = assess(values, stripped=False)[0]
    >>> row["value"], row["low"], row["flag"]
    (5.0, 7.0, 'poor_snr')
    """
    known = {limit.metric for limit in limits}
    if set(metrics) != known:
        raise ValueError(f"quality figures missing: {sorted(known - set(metrics))}; unknown: {sorted(set(metrics) - known)}")
    said = details or {}
    why = missing or {}
    return [_row(limit, metrics[limit.metric], stripped, said.get(limit.metric, ""), why.get(limit.metric, NO_VALUES)) for limit in limits]


def _row(limit: Limit, value: float | None, stripped: bool, detail: str, why: str) -> dict[str, object]:
    description, flag = f"{limit.description} Here: {detail}." if detail else limit.description, NOT_AVAILABLE
    if stripped and limit.needs_air:
        value, description = None, f"{description} Not computed: the surroundings of the brain were removed before."
    elif value is None or math.isnan(value):
        value, description = None, f"{description} {why}"
    elif (limit.low is not None and value < limit.low) or (limit.high is not None and value > limit.high):
        flag = limit.flag
    return {
        "metric": limit.metric,
        "value": NOT_AVAILABLE if value is None else float(value),
        "unit": limit.unit,
        "low": NOT_AVAILABLE if limit.low is None else limit.low,
        "high": NOT_AVAILABLE if limit.high is None else limit.high,
        "flag": flag,
        "description": description,
    }
