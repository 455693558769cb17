"""The head of a visit: the person's anatomy, grown to its volumes at 20 years and from there to those of today."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from brainage_bids.imaging.warps import WARP_GRID
from brainage_bids.phantoms import ageing, anatomy, deform, lesions
from brainage_bids.phantoms.anatomy import FINE_MM, FRONTAL, OUTER, TEMPORAL
from brainage_bids.phantoms.people import Visit
from brainage_bids.records import UnusableInput

YOUNG_STEPS, AGE_STEPS, STEPS_OF_MAPS = 4, 8, 10
"""Steps to the volumes at 20 years and from there on; a label map, which is not cut to the person's volumes, needs more."""
SPARE_MM = 18.0
"""The neck goes on so far below the template."""
COUNTED = tuple(name for name in ageing.STRUCTURES if name not in ("subcortical_grey", "cortical_grey"))
"""Structures that do not overlap; with the three lobes they fill the skull."""
_VEIN_MM, _PERIVASCULAR_MM = 5.0, 2.6


@dataclass(frozen=True)
class Head:
    """A head in its own position.

    Attributes
    ----------
    labels : ndarray, (241, 289, 241) uint8
        The person's labels in the template's space, lesions and vessels painted in.
    places : ndarray, (3, 91, 109, 91) float32
        From the head's mm to the template's, on `deform.LATTICE_MM`.
    atrophy : ndarray, (91, 109, 91) float32
        Logarithm of local volume now over that at 20 years, on the same lattice.
    targets : dict
        Wanted volumes, mL.
    scale : float
        Length in the head over length in the template.
    microbleeds : int
    """

    labels: np.ndarray
    places: np.ndarray
    atrophy: np.ndarray
    targets: dict[str, float]
    scale: float
    microbleeds: int

    @cached_property
    def _field(self) -> np.ndarray:
        return np.concatenate([self.places, self.atrophy[None]])

    def on_grid(self, shape: tuple[int, ...], to_head: np.ndarray, *, atrophy: bool = False) -> tuple[np.ndarray, np.ndarray | None]:
        """Labels (own codes) and, if asked for, atrophy on a grid whose voxel indices `to_head` (4, 4) carries to the head's mm."""
        out = np.empty(shape, dtype=np.uint8)
        change = np.empty(shape, dtype=np.float32) if atrophy else None
        matrix = np.asarray(to_head, dtype=np.float32)
        rows = [np.arange(n, dtype=np.float32) for n in shape]
        for start in range(0, shape[0], 12):
            x, y, z = np.ix_(rows[0][start : start + 12], rows[1], rows[2])
            points = np.stack([matrix[i, 0] * x + matrix[i, 1] * y + matrix[i, 2] * z + matrix[i, 3] for i in range(3)])
            values = deform.read_lattice(self._field if atrophy else self.places, points)
            out[start : start + 12] = deform.labels_at(self.labels, values[:3])
            if change is not None:
                change[start : start + 12] = values[3]
        return out, change


def aseg_table() -> np.ndarray:
    """Look-up table (256,) uint8 from own codes to aseg codes: what is painted into white matter is white matter."""
    table = anatomy.aseg_codes()
    for left, right in (lesions.LESION, lesions.PERIVASCULAR, lesions.VEIN, lesions.MICROBLEED):
        table[left], table[right] = 2, 41
    return table


def fine_grid(edge_mm: float) -> tuple[tuple[int, int, int], np.ndarray]:
    """Shape and affine of a grid over the whole head in its own position."""
    extent = np.array(WARP_GRID.shape) * WARP_GRID.voxel_mm
    extent[2] += SPARE_MM
    affine = np.diag([edge_mm, edge_mm, edge_mm, 1.0])
    affine[:3, 3] = np.asarray(WARP_GRID.origin_mm) - np.array([0, 0, SPARE_MM])
    return tuple(int(np.ceil(n / edge_mm)) for n in extent), affine


def make_head(visit: Visit, anatomies: Path | None = None) -> Head:
    """The head of a visit.

    Parameters
    ----------
    visit : Visit
        Who, and how old the brain is.
    anatomies : Path, optional
        Folder of whole-head label maps, of which the person's seed chooses one; without it the atlas is the base.

    Raises
    ------
    UnusableInput
        If `anatomies` holds no label map or one that cannot be used.
    """
    start, now = ageing.target_volumes(ageing.young(visit)), ageing.target_volumes(visit)
    plain = _base(visit.anatomy_seed, anatomies, {name: volume / start["cranium"] for name, volume in start.items()})
    lowest = plain[:, :, 0]  # goes on below the template: the neck, not the brain stem
    lowest[lowest < 200] = OUTER["soft tissue"]
    counts = np.bincount(plain.ravel(), minlength=256)
    scale = float(np.cbrt(1000 * start["cranium"] / (counts[:200].sum() * FINE_MM**3)))
    places, cranium, scale = _sized(visit.anatomy_seed, plain, scale, start["cranium"])
    region = deform.region_inside(cranium)
    room = np.count_nonzero(cranium) * deform.LATTICE_MM**3 / 1000
    lobes = _lobe_shares(counts)
    ones = dict.fromkeys(ageing.LOBES, 1.0)
    first, then = (YOUNG_STEPS, AGE_STEPS) if anatomies is None else (STEPS_OF_MAPS, STEPS_OF_MAPS)
    places, _ = deform.grown(places, plain, _by_codes(start, lobes, ones, room), region, first)
    places, back = deform.grown(places, plain, _by_codes(now, lobes, ageing.lobe_factors(visit), room), region, then)
    painted, bleeds = _painted(visit, plain, now)
    return Head(painted, places, deform.log_jacobian(back), now, scale, bleeds)


def _base(seed: int, anatomies: Path | None, shares: Mapping[str, float]) -> np.ndarray:
    if anatomies is None:
        return anatomy.from_atlas(seed, shares)
    maps = sorted(path for path in Path(anatomies).glob("*.nii*") if path.name.endswith((".nii", ".nii.gz")))
    if not maps:
        raise UnusableInput(
            f"{anatomies} holds no label map (.nii or .nii.gz); give a folder of whole-head label maps or leave --anatomies out."
        )
    return anatomy.from_label_map(maps[int(np.random.default_rng([seed, 14]).integers(len(maps)))])


def _sized(seed: int, labels: np.ndarray, scale: float, cranium_ml: float) -> tuple[np.ndarray, np.ndarray, float]:
    """The person's shape, the inside of the skull (on the lattice) and the scale, so that the inside has the wanted volume."""
    for _ in range(2):
        places = deform.shape_of_person(seed, scale)
        inside = deform.labels_at(labels, places) < 200
        found = np.count_nonzero(inside) * deform.LATTICE_MM**3 / 1000
        if abs(found / cranium_ml - 1) < 0.003:
            break
        scale *= float(np.cbrt(cranium_ml / found))
    else:
        places = deform.shape_of_person(seed, scale)
        inside = deform.labels_at(labels, places) < 200
    return places, inside, scale


def _lobe_shares(counts: np.ndarray) -> np.ndarray:
    parts = np.array([sum(counts[list(codes)]) for codes in (FRONTAL.values(), TEMPORAL.values(), (3, 42))], dtype=float)
    return parts / parts.sum()


def _by_codes(volumes: Mapping[str, float], shares: np.ndarray, factors: Mapping[str, float], room: float) -> dict[tuple[int, ...], float]:
    """Wanted volumes by own codes; they sum to `room` mL."""
    out = {ageing.STRUCTURES[name]: volumes[name] for name in COUNTED}
    parts = shares * np.array([factors[name] for name in ageing.LOBES])
    for codes, part in zip((tuple(FRONTAL.values()), tuple(TEMPORAL.values()), (3, 42)), parts / parts.sum()):
        out[codes] = volumes["cortical_grey"] * float(part)
    fluid = ageing.STRUCTURES["outer_csf"]
    out[fluid] += room - sum(out.values())
    return out


def _painted(visit: Visit, plain: np.ndarray, now: Mapping[str, float]) -> tuple[np.ndarray, int]:
    seed = visit.anatomy_seed
    labels = lesions.with_tubes(plain, seed, lesions.VEIN, lesions.VEIN_WIDTH, _VEIN_MM)
    labels = lesions.with_tubes(labels, seed, lesions.PERIVASCULAR, lesions.perivascular_width(visit.brain_age), _PERIVASCULAR_MM)
    share = ageing.lesion_volume(visit) / now["white"]
    if share > 0:
        with_lesions = lesions.with_lesions(plain, lesions.lesion_score(plain, seed), share)
        chosen = with_lesions != plain
        labels[chosen] = with_lesions[chosen]
    return lesions.with_microbleeds(labels, seed, ageing.microbleeds(visit))
