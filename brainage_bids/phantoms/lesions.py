"""What is painted into the white matter and deep grey of a person: lesions, perivascular spaces, veins, microbleeds.

All of them are found in the template's space, in labels of 0.75 mm, from fields that stay with the person: what is there at 60 is there at
70 too, and more around it.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from brainage_bids.imaging.warps import WARP_GRID
from brainage_bids.phantoms.anatomy import FINE_MM, banded_noise, doubled

LESION, PERIVASCULAR, VEIN, MICROBLEED = (150, 151), (152, 153), (154, 155), (156, 157)
"""Own codes, left and right, of what lies in white matter (and in deep grey for the second); the aseg code below stays 2 or 41."""
PERIVENTRICULAR_MM = 7.0
SCATTER = 0.30
"""Weight of the person's field against nearness to the ventricles."""
FROM_CORTEX_MM = 3.0
VEIN_WIDTH, PERIVASCULAR_WIDTH = 0.085, 0.055
"""Half widths of tubes, in standard deviations of the two fields whose common zeros they follow."""
BLEED_MM = (1.2, 2.6)
MOST_BLEEDS = 60


def lesion_score(labels: np.ndarray, seed: int) -> np.ndarray:
    """How early a place of the template gets a lesion, on `WARP_GRID`: near the ventricles first; −1 outside deep white matter."""
    coarse = labels[::2, ::2, ::2]
    white = np.isin(coarse, (2, 41))
    box = ndimage.find_objects(white.astype(np.uint8))[0]
    part = coarse[box]
    near = ndimage.distance_transform_edt(~np.isin(part, (4, 43)), sampling=WARP_GRID.voxel_mm)
    cortex = np.isin(part, (3, 42, 103, 104, 142, 143, 24))
    far = ndimage.distance_transform_edt(~cortex, sampling=WARP_GRID.voxel_mm) > FROM_CORTEX_MM
    noise = banded_noise(WARP_GRID.shape, 2.2, 8.0, WARP_GRID.voxel_mm, np.random.default_rng([seed, 21]))[box]
    score = np.exp(-near / PERIVENTRICULAR_MM).astype(np.float32) + SCATTER * noise
    out = np.full(coarse.shape, -1.0, dtype=np.float32)
    out[box] = np.where(white[box] & far, score, -1.0)
    return out


def with_lesions(labels: np.ndarray, score: np.ndarray, share: float) -> np.ndarray:
    """Labels in which that share of the white matter, where the score is highest, is a lesion."""
    if share <= 0:
        return labels
    fine = doubled(score)
    white = np.isin(labels, (2, 41))
    count = np.count_nonzero(white)
    wanted = round(share * count)
    if not wanted:
        return labels
    values = fine[white]
    level = np.partition(values, count - wanted)[count - wanted]
    chosen = white & (fine >= max(level, -0.5))
    out = labels.copy()
    out[chosen & (labels == 2)], out[chosen & (labels == 41)] = LESION
    return out


def with_tubes(labels: np.ndarray, seed: int, kind: tuple[int, int], width: float, low_mm: float) -> np.ndarray:
    """Labels with thin tubes in white matter, where two fields of the person are both near 0."""
    rng = np.random.default_rng([seed, kind[0]])
    coarse = tuple((n + 1) // 2 for n in WARP_GRID.shape)
    first, second = (doubled(banded_noise(coarse, low_mm, 3 * low_mm, 2 * WARP_GRID.voxel_mm, rng)) for _ in range(2))
    inside = np.isin(labels, (2, 41))
    box = ndimage.find_objects(inside.astype(np.uint8))[0]
    half = tuple(slice(s.start // 2, (s.stop + 1) // 2 + 1) for s in box)
    near = doubled(first[half]) ** 2 + doubled(second[half]) ** 2 < width**2
    whole = np.zeros(labels.shape, dtype=bool)
    corner = tuple(slice(2 * s.start, 2 * s.start + n) for s, n in zip(half, near.shape))
    whole[corner] = near
    whole &= inside
    out = labels.copy()
    out[whole & (labels == 2)], out[whole & (labels == 41)] = kind
    return out


def perivascular_width(brain_age: float) -> float:
    """Half width of perivascular spaces: half of `PERIVASCULAR_WIDTH` up to 30 years, twice that at 80.

    They are seen in nearly everybody and widen with age (Zhu et al. 2011, doi:10.3233/JAD-2011-110092).

    >>> perivascular_width(80.0) == 2 * PERIVASCULAR_WIDTH * 0.5
    True
    """
    return PERIVASCULAR_WIDTH * float(np.interp(brain_age, (30.0, 80.0), (0.5, 1.0)))


def with_microbleeds(labels: np.ndarray, seed: int, expected: float) -> tuple[np.ndarray, int]:
    """Labels with round microbleeds in white matter, and their number; a higher expectation keeps those of a lower one.

    The number is how many events of a Poisson process of the person fall below the expectation.
    """
    rng = np.random.default_rng([seed, 23])
    number = int(np.count_nonzero(np.cumsum(rng.exponential(size=MOST_BLEEDS)) < expected))
    sites = np.flatnonzero(np.isin(labels[::4, ::4, ::4], (2, 41, 150, 151)))
    places = 4 * np.stack(np.unravel_index(rng.choice(sites, MOST_BLEEDS), labels[::4, ::4, ::4].shape), axis=-1)
    radii = rng.uniform(*BLEED_MM, MOST_BLEEDS) / FINE_MM
    out = labels.copy()
    for place, radius in zip(places[:number], radii):
        reach = int(np.ceil(radius))
        box = tuple(slice(p - reach, p + reach + 1) for p in place)
        offset = np.indices((2 * reach + 1,) * 3) - reach
        ball = (offset**2).sum(axis=0) <= radius**2
        part, source = out[box], labels[box]
        part[ball & np.isin(source, (2, 150, 152, 154))] = MICROBLEED[0]
        part[ball & np.isin(source, (41, 151, 153, 155))] = MICROBLEED[1]
    return out, number
