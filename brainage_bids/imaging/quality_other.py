"""The quality table of an image beside the T1w: figures of the scan, and of its registration to the T1w whose masks it borrows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from brainage_bids.imaging import quality
from brainage_bids.imaging.packing import CLIPPED_LIMIT
from brainage_bids.imaging.quality_limits import Limit, assess
from brainage_bids.modalities import MODALITIES

LEAST_AGREEMENT = 0.72
"""Below this the edges of the two images do not belong together, and the image is not used."""

NOT_REGISTERED = "Not computed: it needs the brain of the T1w, to which this image could not be registered."

_SNR = Limit(
    "snr", "1", 4.0, None, "poor_snr", "Signal-to-noise ratio in white matter: median over standard deviation.",
    "Four real FLAIR of patients with slices of 3 to 4 mm reach 7.4 to 10.5: lesions count as noise.",
)  # fmt: skip
_LIMITS: tuple[Limit, ...] = (
    Limit(
        "edge_agreement", "1", LEAST_AGREEMENT, None, "poor_coregistration",
        "How parallel the edges of this image and of the T1w run after the registration: mean cos² of the angle between their gradients.",
        "The same head reaches .86 to .92 in four real FLAIR (slices of 3 to 4 mm) and .79 to .94 in painted FLAIR and SWI (1 to 5 mm, "
        "slabs); the head of somebody else .61 at most, 8 mm or 8° off .53 to .61, 4 mm off up to .80; unrelated images .33.",
    ),
    Limit(
        "brain_seen", "1", 0.98, None, "cropped_brain", "Share of the brain of the T1w that lies in the field of view of this image.",
        "A whole-head scan shows all of it; a slab does not, and what is missing is 0 in the outputs.",
    ),
    _SNR,
    Limit(
        "cnr", "1", None, None, "poor_contrast", "Contrast of grey and white matter over the standard deviation of both and of the air.",
        "Without a limit: FLAIR and SWI are not made to tell grey from white matter.",
    ),
    Limit(
        "fluid_ratio", "1", None, None, "", "Brightness of the fluid in the ventricles over that of white matter.",
        "As the modality declares; without a row where it declares nothing.",
    ),
    Limit(
        "efc", "1", None, 0.75, "motion_suspected", "Entropy focus criterion of the whole field of view; low is good.",
        "As for the T1w; four real FLAIR reach 0.45 to 0.48.", needs_air=True,
    ),
    Limit(
        "fber", "1", 20.0, None, "motion_suspected", "Mean energy of the brain over that of the air around the upper head; high is good.",
        "As for the T1w, lower because FLAIR and SWI have less signal.", needs_air=True,
    ),
    Limit(
        "bias_range", "1", None, 2.5, "strong_bias_field", "Intensity bias in the brain: 95th over 5th percentile of its field.",
        "As for the T1w: ordinary fields reach 1.2 to 1.8.",
    ),
    Limit(
        "voxel_max_mm", "mm", None, 5.5, "thick_slices", "Longest edge of a voxel, in most FLAIR and SWI the distance of slices.",
        "Slices of 3 to 5 mm are usual in FLAIR; thicker ones miss lesions and structures.",
    ),
    Limit(
        "anisotropy", "1", None, None, "thick_slices", "Longest over shortest edge of a voxel.",
        "Without a limit: it only describes the scan.",
    ),
    Limit(
        "clipped_share", "1", None, CLIPPED_LIMIT, "intensities_clipped",
        "Share of the brain's voxels brighter than 383 where white matter is {white}, which the packed arrays clip.",
        "0.001 %: more means spikes, a wrong scale, or a very bright lesion or vessel.",
    ),
)  # fmt: skip


def limits_of(modality: str) -> tuple[Limit, ...]:
    """The limits of a modality: what its fluid must look like is what `modalities.MODALITIES` says of it.

    >>> len(limits_of("FLAIR")) - len(limits_of("swi"))
    1
    """
    row = MODALITIES[modality]
    told = [replace(limit, description=limit.description.format(white=f"{row.white:g}")) for limit in _LIMITS]
    if row.fluid is None:
        return tuple(limit for limit in told if limit.metric != "fluid_ratio")
    fluid = {"low": row.fluid.low, "high": row.fluid.high, "flag": row.fluid.flag, "reason": row.fluid.reason}
    return tuple(replace(limit, **fluid) if limit.metric == "fluid_ratio" else limit for limit in told)


def measure_scan(image: np.ndarray, affine: np.ndarray, *, agreement: float, seen: float) -> dict[str, float]:
    """Figures that need no masks.

    Parameters
    ----------
    image : ndarray, (X, Y, Z)
        The conformed scan.
    affine : ndarray, (4, 4)
    agreement, seen : float
        ``rigid.agreement_at`` and ``rigid.brain_seen``.
    """
    sizes = np.sqrt((affine[:3, :3] ** 2).sum(axis=0))
    return {
        "edge_agreement": agreement,
        "brain_seen": seen,
        "efc": quality.efc(image),
        "voxel_max_mm": quality.voxel_max_mm(affine),
        "anisotropy": round(float(sizes.max() / sizes.min()), 3),
    }


def measure_brain(
    image: np.ndarray,
    corrected: np.ndarray,
    affine: np.ndarray,
    brain: np.ndarray,
    tissues: Mapping[str, np.ndarray],
    ventricles: np.ndarray,
    field: np.ndarray,
) -> dict[str, float]:
    """Figures inside the masks of the T1w, brought to the grid of the scan.

    Parameters
    ----------
    image, corrected : ndarray, (X, Y, Z)
        The conformed scan, before and after bias correction.
    affine : ndarray, (4, 4)
    brain : ndarray, (X, Y, Z) bool
    tissues : mapping
        ``"GM"`` and ``"WM"``: where a voxel is surely one of them, bool.
    ventricles : ndarray, (X, Y, Z) bool
        Where a voxel is surely fluid of the lateral ventricles.
    field : ndarray, (X, Y, Z)
        The bias field.
    """
    gm, wm = tissues["GM"], tissues["WM"]
    air = quality.air_mask(brain, affine)
    white = float(np.median(corrected[wm])) if wm.any() else float("nan")
    fluid = float(np.median(corrected[ventricles])) if ventricles.any() else float("nan")
    return {
        "snr": quality.snr(corrected, wm),
        "cnr": quality.cnr(corrected, gm, wm, air),
        "fluid_ratio": fluid / white if white > 0 else float("nan"),
        "fber": quality.fber(image, brain, air),
        "bias_range": quality.bias_range(field, brain),
    }


def assess_other(metrics: Mapping[str, float], modality: str, stripped: bool) -> list[dict[str, object]]:
    """The table of an image beside the T1w, as `quality_limits.assess` makes that of a T1w.

    Parameters
    ----------
    metrics : mapping
        Of `measure_scan`, `measure_brain` and ``clipped_share``; the latter two only if the image was registered. Those that are not
        asked of the modality are left out.
    modality : str
        A suffix of `modalities.COREGISTERED`.
    stripped : bool
        The scan came as an extracted brain.
    """
    limits = limits_of(modality)
    values = {limit.metric: metrics.get(limit.metric, float("nan")) for limit in limits}
    details = {} if "snr" in metrics else dict.fromkeys(set(values) - set(metrics), NOT_REGISTERED)
    return assess(values, stripped, missing=details, limits=limits)
