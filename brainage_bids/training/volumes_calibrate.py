"""Bringing a ``volumes`` model to somebody's own scanner by their controls, on demand and never silently.

Two things may be fitted on controls. The scales: a factor for each structure, so that the controls' median distance from the
norm of their ages is zero. The offset: years added to every estimate, so that the controls' mean error is zero.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from brainage_bids.bids.names import derivative_path, find_derivatives, with_prefix
from brainage_bids.bids.phenotype import load_phenotype
from brainage_bids.files import parse_json
from brainage_bids.models.card import ModelCard, check_name
from brainage_bids.models.features import read_volumes
from brainage_bids.models.heads import read_heads
from brainage_bids.models.registry import ModelFolder
from brainage_bids.models.selftest import EXAMPLE
from brainage_bids.models.volumes import Structure, VolumeModel, log_shares, map_volumes
from brainage_bids.models.volumes_folder import FORMAT, KIND, load_volumes, volumes_to_files
from brainage_bids.records import BadConfiguration, BadDataset, UnusableInput
from brainage_bids.training.folder import check_place, place_folder
from brainage_bids.training.volumes_folder import write_volume_files
from brainage_bids.training.volumes_mapping import MAPPING

FEWEST = 10
"""Controls that are needed."""
ROUNDS = 20
"""How often scales are fitted at most: each changes the brain, to which the others are related."""


@dataclass(frozen=True)
class People:
    """People with an age and volumes; one entry each, their first session.

    Attributes
    ----------
    participants : tuple of str
    ages : ndarray, shape (n,)
        Years.
    volumes : tuple of mapping
        mm³ by the name of a region.
    left_out : tuple of (str, str)
        Who cannot be used, and why.
    """

    participants: tuple[str, ...]
    ages: np.ndarray
    volumes: tuple[Mapping[str, float], ...]
    left_out: tuple[tuple[str, str], ...] = ()

    def rows(self, chosen: Sequence[int]) -> People:
        """Some of the people."""
        names, volumes = (tuple(values[row] for row in chosen) for values in (self.participants, self.volumes))
        return People(names, self.ages[list(chosen)], volumes)


@dataclass(frozen=True)
class Calibration:
    """What was fitted on controls.

    Attributes
    ----------
    controls : int
        How many people.
    age_low, age_high : float
        Their ages, years.
    offset : float
        Years added to each estimate, on top of what the model added before.
    offset_se : float
        Its standard error, years.
    scales : mapping of str to float
        Factor of each structure, on top of the model's; empty if they were left alone.
    """

    controls: int
    age_low: float
    age_high: float
    offset: float
    offset_se: float
    scales: Mapping[str, float]


def read_people(out_dir: Path | str, phenotype: Sequence[Path | str], labels: Collection[str] | None = None) -> People:
    """Read ages and volumes of people from the outputs of a participant run.

    Parameters
    ----------
    out_dir : Path
        Output folder.
    phenotype : sequence of Path
        Tables with ages.
    labels : collection of str, optional
        Only these people, with or without ``sub-``; everybody by default.

    Raises
    ------
    BadDataset
        If a person who was named has no volumes.
    """
    wanted = None if labels is None else {with_prefix(label, "sub-") for label in labels}
    sessions: dict[str, str | None] = {}
    for found in find_derivatives(out_dir, "volumes_atlas"):
        if wanted is None or found.participant_id in wanted:
            sessions.setdefault(found.participant_id, found.session_id)
    absent = sorted((wanted or set()) - set(sessions))
    if absent:
        raise BadDataset(f"{out_dir} has no volumes of {', '.join(absent)}; run brainage on them first.")
    visits = {person: [session] if session else [] for person, session in sessions.items()}
    table = load_phenotype(None, visits, [Path(path) for path in phenotype])
    kept, left_out = [], []
    for person, session in sessions.items():
        age = table.record(person, session).age
        if age is None:
            left_out.append((person, "no age"))
            continue
        try:
            paths = [derivative_path(out_dir, key, person, session) for key in ("volumes", "volumes_atlas")]
            kept.append((person, age, read_volumes(*paths)))
        except UnusableInput as error:
            left_out.append((person, str(error)))
    names, ages, volumes = zip(*kept, strict=True) if kept else ((),) * 3
    return People(names, np.array(ages, dtype=float), volumes, tuple(left_out))


def calibrate(model: VolumeModel, controls: People, *, scales: bool = False, offset: bool = True) -> tuple[VolumeModel, Calibration]:
    """Fit scales, offset or both on controls.

    Parameters
    ----------
    model : VolumeModel
    controls : People
        Ten or more; with ``scales``, ten inside the ages of the norms.
    scales, offset : bool
        What is fitted; the offset after the scales.

    Raises
    ------
    BadDataset
        If there are too few controls.
    UnusableInput
        If a volume of one cannot be used.
    """
    if len(controls.ages) < FEWEST:
        raise BadDataset(f"{len(controls.ages)} controls are too few to calibrate on; {FEWEST} are needed.")
    structures = _fit_scales(model, controls) if scales else model.model_structures
    factors = {new.name: new.scale / old.scale for new, old in zip(structures, model.model_structures, strict=True)} if scales else {}
    model = replace(model, model_structures=structures)
    errors = controls.ages - brain_ages(model, controls)
    years = float(errors.mean()) if offset else 0.0
    se = float(errors.std(ddof=1) / np.sqrt(len(errors))) if offset else 0.0
    low, high = float(controls.ages.min()), float(controls.ages.max())
    return replace(model, offset=model.offset + years), Calibration(len(errors), low, high, years, se, factors)


def brain_ages(model: VolumeModel, people: People) -> np.ndarray:
    """Brain ages in years, shape (n,)."""
    raw = np.array([log_shares(map_volumes(volumes, model.model_structures), model.model_structures) for volumes in people.volumes])
    return model.regressor.predict(model.standardise(raw))[0] + model.offset


def _fit_scales(model: VolumeModel, controls: People) -> tuple[Structure, ...]:
    """Structures with scales under which the controls' median log share lies on the norm; the brain's size stays as it was."""
    inside = [row for row, age in enumerate(controls.ages) if all(curve.at(age) for curve in model.norms.values())]
    if len(inside) < FEWEST:
        raise BadDataset(f"{len(inside)} controls lie inside the ages of the norms, too few to fit scales; {FEWEST} are needed.")
    people = controls.rows(inside)
    names = [structure.name for structure in model.used]
    norms = np.log([[model.norms[name].at(age)[1] / 100 for name in names] for age in people.ages])
    structures = model.model_structures
    size = None
    for _ in range(ROUNDS):
        raw = np.array([log_shares(map_volumes(volumes, structures), structures) for volumes in people.volumes])
        size = raw[:, -1].mean() if size is None else size
        shift = dict(zip(names, np.median(norms - raw[:, :-1], axis=0), strict=True))
        back = size - raw[:, -1].mean()
        structures = tuple(replace(item, scale=item.scale * float(np.exp(shift.get(item.name, 0.0) + back))) for item in structures)
        if max(map(abs, shift.values())) < 1e-3:
            break
    return structures


def write_calibrated(
    out: Path | str, folder: ModelFolder, controls: People, *, name: str, scales: bool = False, offset: bool = True, overwrite: bool = False
) -> tuple[ModelFolder, Calibration]:
    """Write a calibrated model as a new folder whose card says so; the old one stays as it is.

    Parameters
    ----------
    out : Path
        The folder to be.
    folder : ModelFolder
        A model of kind ``volumes``.
    controls : People
    name : str
        Of the new model.
    scales, offset, overwrite : bool
        See `calibrate` and ``folder.write_model``.

    Raises
    ------
    BadConfiguration
        If the model is of another kind, the name may not be a model's, or the place is taken.
    BadDataset, UnusableInput
        As in `calibrate`.
    """
    if folder.card.kind != KIND:
        raise BadConfiguration(f"The model {folder.card.name} is of kind {folder.card.kind!r}; only kind {KIND!r} can be calibrated.")
    check_place(out, overwrite)
    check_name(name)
    model, calibration = calibrate(load_volumes(folder), controls, scales=scales, offset=offset)
    arrays, heads = volumes_to_files(model)
    heads = {**read_heads(folder, KIND, FORMAT), **heads}
    heads["calibrations"] = [*heads.get("calibrations", []), {**asdict(calibration), "from": folder.card.name, "sha256": folder.sha256}]
    example, kept = _example(folder), {MAPPING: folder.read(MAPPING)}

    def make_card(files: Mapping[str, str]) -> ModelCard:
        limits = (*folder.card.limits, sentence(calibration, folder.card.name))
        return replace(folder.card, name=name, files=files, limits=limits)

    return place_folder(out, lambda path: write_volume_files(path, arrays, heads, model.norms, example, kept, make_card)), calibration


def sentence(calibration: Calibration, model: str) -> str:
    """What the card says of a calibration."""
    parts = []
    if calibration.scales:
        parts.append("the scale of each structure, so that their median lies on the norm of their ages")
    if calibration.offset or calibration.offset_se:
        parts.append(f"an offset of {calibration.offset:+.1f} years (standard error {calibration.offset_se:.1f})")
    ages = f"{calibration.age_low:.0f} to {calibration.age_high:.0f} years"
    return (
        f"Calibrated from the model {model} on {calibration.controls} controls of {ages}: {' and '.join(parts)}. It is meant for "
        "people scanned as they were and of like ages; the errors on this card are those before the calibration."
    )


def _example(folder: ModelFolder) -> dict[str, float]:
    try:
        return {str(name): float(value) for name, value in parse_json(folder.read(EXAMPLE))["volumes"].items()}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadConfiguration(f"The example of the model {folder.card.name} is not as it should be ({error!r}).") from error
