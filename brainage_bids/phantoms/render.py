"""Images of a visit and their truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from brainage_bids.imaging.warps import WARP_GRID
from brainage_bids.modalities import by_words
from brainage_bids.phantoms import acquisition, ageing, anatomy, contrast, lesions
from brainage_bids.phantoms.head import Head, aseg_table, fine_grid, make_head
from brainage_bids.phantoms.people import Visit

WHITE_LEVEL = 600.0
"""Intensity of white matter at a gain of 1."""
GAIN_SD = 0.10
"""Standard deviation of the logarithm of the gain from scan to scan: the receiver is set anew."""
OUTER_SD, BRAIN_SD = 0.20, 0.012
"""How much the signal of fat, muscle and marrow, and of each tissue of the brain, differs between people (of the logarithm)."""
TURN_DEG, SHIFT_MM = 2.0, 3.0
"""Standard deviations of the head's position in the scanner."""
TURN_BETWEEN_DEG, SHIFT_BETWEEN_MM = 0.8, 1.0
"""And of its movement between the sequences of a visit."""
MARGIN_MM = 6.0
"""The field of view is the template's box and so much on every side, for everybody."""
USUAL_IRON_AGE = 30.0

TISSUE_OF: Mapping[str, tuple[int, ...]] = {
    "white": (2, 41, 7, 46),
    "grey": (3, 42, 103, 104, 142, 143, 26, 58),
    "cerebellar_grey": (8, 47),
    "limbic": (17, 18, 53, 54),
    "thalamus": (10, 49),
    "caudate": (11, 50),
    "putamen": (12, 51),
    "pallidum": (13, 52),
    "stem": (16, 28, 60),
    "fluid": (4, 5, 14, 15, 24, 43, 44),
    "lesion": lesions.LESION,
    "perivascular": lesions.PERIVASCULAR,
    "vein": lesions.VEIN,
    "microbleed": lesions.MICROBLEED,
    **{name: (code,) for name, code in anatomy.OUTER.items()},
}
"""Tissue of `contrast.TISSUES` by own codes."""


@dataclass(frozen=True)
class Rendering:
    """Images of a visit and what is true of them.

    Attributes
    ----------
    images : dict of str to (ndarray float32, affine)
        By modality; each in its own grid and position.
    labels : ndarray, (X, Y, Z) uint8
        aseg codes, 0 outside the brain and its fluid, on the grid of the truth (axes R, A, S), `affine`.
    affine : ndarray, (4, 4)
        Voxel index to mm of all maps of the truth. It is the position of the T1w.
    lesions : ndarray, (X, Y, Z) uint8
        1 in white-matter lesions.
    atrophy : ndarray, (X, Y, Z) float32
        Logarithm of the local volume now over that in the same person's head at 20 years: below 0 where tissue was lost.
    iron : ndarray, (X, Y, Z) float32
        mg per kg fresh weight in caudate, putamen and pallidum, 0 elsewhere.
    volumes : dict of str to float
        True volumes in mL, counted in the labels that were painted, by the names of `ageing.STRUCTURES`, ``cranium``, ``lesions``, and
        ``microbleeds`` (their number).
    effects : dict
        What was planted: targets, iron, lobes, transforms of modalities, parameters used. It can be written as JSON.
    """

    images: dict[str, tuple[np.ndarray, np.ndarray]]
    labels: np.ndarray
    affine: np.ndarray
    lesions: np.ndarray
    atrophy: np.ndarray
    iron: np.ndarray
    volumes: dict[str, float]
    effects: dict[str, object] = field(default_factory=dict)


def render(visit: Visit, modalities: Sequence[str], *, anatomies: Path | None = None, threads: int = 1) -> Rendering:
    """Images and truth of a visit.

    The same visit gives the same bits. Maps of the truth lie on the T1w's voxels if these are cubes of 1 mm or more, else on cubes of
    its finest edge, at least 1 mm.

    Parameters
    ----------
    visit : Visit
        Who, when, where; its scanner has a sequence for every modality.
    modalities : sequence of str
        Of `design.MODALITIES`.
    anatomies : Path, optional
        Folder of whole-head label maps in the place of the atlas.
    threads : int
        Of torch.

    Raises
    ------
    ValueError
        For a modality without a sequence.
    UnusableInput
        If `anatomies` holds no usable label map.
    """
    import torch

    torch.set_num_threads(threads)
    missing = [name for name in modalities if name not in visit.scanner.sequences]
    if missing:
        raise ValueError(f"the scanner {visit.scanner.name} has no sequence for {', '.join(missing)}")
    head = make_head(visit, anatomies)
    finest = min(min(visit.scanner.sequences[name].voxel_mm) for name in modalities)
    shape, affine = fine_grid(painted_mm(finest))
    fine, _ = head.on_grid(shape, affine)
    poses = poses_of(visit.visit_seed, modalities)
    images, gains = {}, {}
    for name in modalities:
        images[name], gains[name] = scan(visit, name, fine, affine, poses[name])
    edge = max(1.0, min(visit.scanner.sequences.get("T1w", visit.scanner.sequences[modalities[0]]).voxel_mm))
    truth_shape, truth_affine = field_of_view((edge, edge, edge))
    codes, atrophy = head.on_grid(truth_shape, np.linalg.inv(poses["T1w"]) @ truth_affine, atrophy=True)
    labels = aseg_table()[codes]
    return Rendering(
        images,
        labels,
        truth_affine,
        lesions=np.isin(codes, lesions.LESION).astype(np.uint8),
        atrophy=np.where(labels > 0, atrophy, np.float32(0)),
        iron=_iron_table(visit)[labels],
        volumes=volumes_in(fine, float(affine[0, 0]) ** 3, head.microbleeds),
        effects=_effects(visit, head, poses, gains, affine),
    )


def painted_mm(finest_mm: float) -> float:
    """Edge of the cubes that a head is painted on for scans of these voxels."""
    return 0.75 if finest_mm < 1.5 else finest_mm / 2


def field_of_view(voxel_mm: Sequence[float]) -> tuple[tuple[int, int, int], np.ndarray]:
    """Shape and affine of a scan with these voxels: the same box for everybody, axes R, A, S."""
    edges = np.asarray(voxel_mm, dtype=float)
    low = np.asarray(WARP_GRID.origin_mm) - MARGIN_MM
    extent = np.array(WARP_GRID.shape) * WARP_GRID.voxel_mm + 2 * MARGIN_MM
    affine = np.diag([*edges, 1.0])
    affine[:3, 3] = low + edges / 2
    return tuple(int(n) for n in np.rint(extent / edges)), affine


def volumes_in(codes: np.ndarray, voxel_mm3: float, bleeds: int) -> dict[str, float]:
    """Volumes in mL of a map of own codes, by the names of `ageing.STRUCTURES`, ``cranium`` and ``lesions``; number of microbleeds."""
    counts = np.bincount(codes.ravel(), minlength=256) * (voxel_mm3 / 1000)
    by_aseg = np.bincount(aseg_table(), weights=counts, minlength=256)
    out = {name: float(by_aseg[list(structure)].sum()) for name, structure in ageing.STRUCTURES.items()}
    return out | {"cranium": float(by_aseg[1:].sum()), "lesions": float(counts[list(lesions.LESION)].sum()), "microbleeds": bleeds}


def signals(visit: Visit, modality: str) -> np.ndarray:
    """Signal of every own code, (256,) float32, white matter of an unaltered person being 1."""
    sequence, field_t = visit.scanner.sequences[modality], visit.scanner.field_t
    rng = np.random.default_rng([visit.anatomy_seed, 31])
    iron, usual = ageing.iron(visit), _usual_iron()
    out = np.zeros(256, dtype=np.float32)
    for name, codes in TISSUE_OF.items():
        tissue = contrast.tissue_at(name, field_t)
        if name in iron:
            tissue = contrast.with_iron(tissue, iron[name], field_t, usual[name])
        own = rng.normal(0, OUTER_SD if name in anatomy.OUTER else BRAIN_SD)
        out[list(codes)] = contrast.signal(modality, tissue, sequence, field_t) * np.exp(own)
    return out / np.float32(contrast.signal(modality, contrast.tissue_at("white", field_t), sequence, field_t))


def poses_of(seed: int, modalities: Sequence[str]) -> dict[str, np.ndarray]:
    """The head's mm to the scanner's mm by modality; the T1w's is always there, the others move a little against it."""
    rng = np.random.default_rng([seed, 51])
    poses = {"T1w": acquisition.rigid(rng.normal(0, TURN_DEG, 3), rng.normal(0, SHIFT_MM, 3))}
    for name in modalities:
        if name != "T1w":
            own = np.random.default_rng([seed, 52, by_words()[name].simulated.number])
            between = acquisition.rigid(own.normal(0, TURN_BETWEEN_DEG, 3), own.normal(0, SHIFT_BETWEEN_MM, 3))
            poses[name] = between @ poses["T1w"]
    return poses


def scan(
    visit: Visit, name: str, fine: np.ndarray, fine_affine: np.ndarray, pose: np.ndarray
) -> tuple[tuple[np.ndarray, np.ndarray], float]:
    """A modality of a finely painted head (own codes): image with its affine, and the intensity of white matter."""
    scanner = visit.scanner
    edges = scanner.sequences[name].voxel_mm
    shape, affine = field_of_view(edges)
    rng = np.random.default_rng([visit.visit_seed, 61, by_words()[name].simulated.number])
    gain = WHITE_LEVEL * scanner.gain * float(np.exp(rng.normal(0, GAIN_SD)))
    image = acquisition.voxelised(signals(visit, name)[fine], fine_affine, shape, affine, pose)
    image *= acquisition.bias_field(shape, scanner.bias, rng)
    image = acquisition.moved(image, visit.motion, edges[1], rng)
    image = acquisition.rician(image, scanner.noise, rng)
    image *= np.float32(gain)
    return (image, affine), gain


def _usual_iron() -> dict[str, float]:
    return {name: 10 * (a * (1 - float(np.exp(-b * USUAL_IRON_AGE))) + c) for name, (a, b, c) in ageing.IRON.items()}


def _iron_table(visit: Visit) -> np.ndarray:
    out = np.zeros(256, dtype=np.float32)
    for name, milligrams in ageing.iron(visit).items():
        out[list(ageing.STRUCTURES[name])] = milligrams
    return out


def _effects(
    visit: Visit, head: Head, poses: Mapping[str, np.ndarray], gains: Mapping[str, float], affine: np.ndarray
) -> dict[str, object]:
    field_t = visit.scanner.field_t
    return {
        "target_volumes_ml": {name: round(value, 4) for name, value in head.targets.items()},
        "lesion_volume_target_ml": round(ageing.lesion_volume(visit), 4),
        "microbleeds_expected": round(ageing.microbleeds(visit), 4),
        "iron_mg_per_kg": {name: round(value, 3) for name, value in ageing.iron(visit).items()},
        "cortex_lobes_volume_over_20_years": {name: round(value, 5) for name, value in ageing.lobe_factors(visit).items()},
        "head_to_scanner_mm": {name: pose.round(6).tolist() for name, pose in poses.items()},
        "T1w_to_modality_mm": {name: (pose @ np.linalg.inv(poses["T1w"])).round(6).tolist() for name, pose in poses.items()},
        "intensity_of_white_matter": {name: round(gain, 4) for name, gain in gains.items()},
        "painted_mm": float(affine[0, 0]),
        "length_over_template": round(head.scale, 5),
        "tissues": {name: asdict(contrast.tissue_at(name, field_t)) for name in TISSUE_OF},
        "seeds": {"anatomy": visit.anatomy_seed, "visit": visit.visit_seed},
    }
