"""The app from Python: scans in memory or on disk to structures and brain ages, and the outputs of many people to one table."""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypedDict, Unpack, overload
from urllib.parse import unquote, urlparse

from brainage_bids.records import FLAGS, BadConfiguration, Failure, Participant, Session, UnusableInput
from brainage_bids.settings import GroupSettings, Settings

if TYPE_CHECKING:
    import nibabel as nib
    import pandas as pd

    from brainage_bids.imaging.warps import SpatialMap
    from brainage_bids.models.card import ModelCard
    from brainage_bids.models.order import Asked
    from brainage_bids.workflows.plan import Plan

    Image = str | os.PathLike[str] | nib.spatialimages.SpatialImage

    class Options(TypedDict, total=False):
        """Of `predict`."""

        age: float | None
        sex: Literal["F", "M"] | None
        flair: Image | None
        swi: Image | None
        t2w: Image | None
        phenotype: Mapping[str, float | str | None] | None
        model_dirs: Sequence[str | os.PathLike[str]]
        skull_strip: Literal["auto", "skip", "force"]
        threads: int
        sloppy: bool
        seed: int
        device: Literal["auto", "cpu", "cuda"]
        out: str | os.PathLike[str] | None

__all__ = ["BrainAge", "Segmented", "predict", "read_cohort", "segment"]


@dataclass(frozen=True, eq=False)
class Segmented:
    """What `segment` finds; images lie on the scan's own voxels, in RAS order.

    Attributes
    ----------
    labels : Nifti1Image
        uint8, codes of the structures (``B_seg-BrainageAseg_dseg``), 0 outside.
    tissues : mapping of str to Nifti1Image
        float32, probabilities of GM, WM and CSF.
    brain : Nifti1Image
        uint8, the brain with its fluid.
    corrected : Nifti1Image
        float32, the scan without its bias field.
    volumes : mapping of str to float
        mm³ by the name of a tissue (GM, WM, brain, eTIV) or region, as models read them; ``CSF`` is the region. An extracted brain
        has no eTIV.
    to_template : SpatialMap
        The way to the template and back.
    stripped : bool
        The skull was not in the scan.
    flags, notes : tuple of str
        Codes of ``FLAGS``, and sentences: what was odd about the file.
    """

    labels: nib.Nifti1Image
    tissues: Mapping[str, nib.Nifti1Image]
    brain: nib.Nifti1Image
    corrected: nib.Nifti1Image
    volumes: Mapping[str, float]
    to_template: SpatialMap
    stripped: bool
    flags: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class BrainAge:
    """What one model says of one session, as in the files of the app.

    Attributes
    ----------
    model : str
    card : ModelCard
        On whom it was trained, how far it errs, its licence.
    brain_age, sd, low, high : float or None
        Years; None where the model gives none, and a flag says why. The interval has the level `level`.
    level : float
    flags : mapping of str to str
        Codes to their meaning in words.
    volumes : mapping of str to float
        As in `Segmented`.
    tables : mapping of str to DataFrame
        Tables that the model gives, by key: ``structures`` of the model ``volumes``.
    maps : mapping of str to Nifti1Image
        Maps and images that it gives, by key.
    notes : tuple of str
        What was odd about the scan, and why a FLAIR, SWI or T2w could not be used.
    """

    model: str
    card: ModelCard
    brain_age: float | None
    sd: float | None
    low: float | None
    high: float | None
    level: float
    flags: Mapping[str, str]
    volumes: Mapping[str, float]
    tables: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    maps: Mapping[str, nib.Nifti1Image] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def segment(
    t1w: Image, *, skull_strip: Literal["auto", "skip", "force"] = "auto", threads: int = 1, sloppy: bool = False, seed: int = 1
) -> Segmented:
    """Find tissues, structures and the way to the template of a T1w, in memory.

    Values are rounded between steps as the app's files round them, so that volumes are those of the app to the last bit of its tables.

    Parameters
    ----------
    t1w : path or image
        A NIfTI file, or an image of nibabel.
    skull_strip : {"auto", "skip", "force"}
        Whether the brain is looked for; auto looks at the scan.
    threads : int
    sloppy : bool
        A coarse registration, for demonstrations.
    seed : int
        Of the registration's sample points.

    Returns
    -------
    Segmented

    Raises
    ------
    UnusableInput
        If the scan cannot be used; one sentence says why and what to do.
    BadConfiguration
        If an option is wrong.

    Examples
    --------
    >>> import brainage_bids as bb
    >>> bb.segment("sub-01_T1w.nii.gz").volumes["Left-Hippocampus"]  # doctest: +SKIP
    4008.0
    """
    import nibabel as nib

    from brainage_bids.bids.given import path_of
    from brainage_bids.imaging.conform import conform, load_scan
    from brainage_bids.imaging.pipeline import find_structures, measure_volumes

    Settings("", "", "", skull_strip=skull_strip, omp_nthreads=threads, sloppy=sloppy, random_seed=seed)  # checks them
    path = path_of(t1w)
    scan = conform(load_scan(path), str(path)) if path else conform(t1w, "The T1w")
    affine = scan.image.affine
    how = {"skull_strip": skull_strip, "threads": max(1, threads), "sloppy": sloppy, "seed": seed}
    found = find_structures(scan.image.get_fdata(dtype="float32"), affine, **how)
    structures = found.found
    tissues, regions = measure_volumes(structures.tissues, structures.labels, affine, found.spatial_map, stripped=found.stripped)
    volumes = {name: value for name, value in tissues.items() if not math.isnan(value)}
    volumes |= {str(row["name"]): float(row["volume_mm3"]) for row in regions}

    def image(data) -> nib.Nifti1Image:
        return nib.Nifti1Image(data, affine, scan.image.header, dtype=data.dtype)

    maps = {name: image(values) for name, values in structures.tissues.items()}
    labels, brain = image(structures.labels), image(structures.brain.astype("uint8"))
    about = found.spatial_map, found.stripped, scan.flags, scan.notes
    return Segmented(labels, maps, brain, image(found.corrected), volumes, *about)


@overload
def predict(t1w: Image, model: str | os.PathLike[str] = ..., **options: Unpack[Options]) -> BrainAge: ...
@overload
def predict(t1w: Image, model: Sequence[str | os.PathLike[str]], **options: Unpack[Options]) -> tuple[BrainAge, ...]: ...
def predict(
    t1w,
    model="volumes",
    *,
    age: float | None = None,
    sex: Literal["F", "M"] | None = None,
    flair: Image | None = None,
    swi: Image | None = None,
    t2w: Image | None = None,
    phenotype: Mapping[str, float | str | None] | None = None,
    model_dirs: Sequence[str | os.PathLike[str]] = (),
    skull_strip: Literal["auto", "skip", "force"] = "auto",
    threads: int = 1,
    sloppy: bool = False,
    seed: int = 1,
    device: Literal["auto", "cpu", "cuda"] = "cpu",
    out: str | os.PathLike[str] | None = None,
):
    """Take a scan to brain ages, by the same stages as the app.

    Parameters
    ----------
    t1w : path or image
        A NIfTI file, or an image of nibabel.
    model : str, path or sequence of these
        Names or folders of models.
    age : float, optional
        Years at the scan. No estimate looks at it; flags and norms do.
    sex : {"F", "M"}, optional
    flair, swi, t2w : path or image, optional
        For models that look at them.
    phenotype : mapping, optional
        Values of columns that models read.
    model_dirs : sequence of path
        Folders in which models are looked for.
    skull_strip, threads, sloppy, seed
        As in `segment`.
    device : {"cpu", "auto", "cuda"}
        Where networks run.
    out : path, optional
        Keeps the derivatives there, pictures too; what is there already is not made again. Without it nothing is left behind.

    Returns
    -------
    BrainAge
        A tuple of these, in the order of `model`, if that is a sequence.

    Raises
    ------
    UnusableInput
        If the scan, or what belongs to it, cannot be used.
    BadConfiguration
        If a model or an option is wrong.

    Examples
    --------
    >>> import brainage_bids as bb
    >>> found = bb.predict("sub-01_T1w.nii.gz", model="volumes", age=52.97)  # doctest: +SKIP
    >>> found.brain_age, found.low, found.high, list(found.flags)  # doctest: +SKIP
    (72.478, 52.586, 92.371, ['poor_resolution'])
    """
    from brainage_bids.bids.given import root_of, scans_of, session_of
    from brainage_bids.modalities import MODALITIES
    from brainage_bids.workflows.run_models import with_models

    models = [model] if isinstance(model, str | os.PathLike) else list(model)
    if not models:
        raise BadConfiguration("No model is named; give the name of one, or its folder.")
    with tempfile.TemporaryDirectory(prefix="brainage_") as scratch:
        out_dir = Path(os.path.abspath(out)) if out is not None else Path(scratch) / "out"
        images = dict(t1w=t1w, flair=flair, swi=swi, t2w=t2w)
        scans = scans_of({suffix: images[row.key] for suffix, row in MODALITIES.items()}, out_dir / "sourcedata")
        session = session_of(scans, age, sex, phenotype or {})
        how = {"skull_strip": skull_strip, "omp_nthreads": threads, "sloppy": sloppy, "random_seed": seed, "device": device}
        names = tuple(os.fspath(name) for name in models), tuple(os.fspath(folder) for folder in model_dirs)
        places = str(root_of(scans, out_dir)), str(out_dir), str(Path(scratch) / "work")
        settings = with_models(Settings(*places, models=names[0], model_dirs=names[1], **how))
        found = _processed(session, settings, keep=out is not None)
    return found[0] if isinstance(model, str | os.PathLike) else found


def read_cohort(
    out: str | os.PathLike[str],
    bids: str | os.PathLike[str] | None = None,
    *,
    phenotype: Sequence[str | os.PathLike[str]] = (),
    models: Sequence[str] = (),
) -> pd.DataFrame:
    """The outputs of many people joined with what is known of them, as at the group level.

    Parameters
    ----------
    out : path
        The folder that the participant level, or `predict` with `out`, wrote.
    bids : path, optional
        The raw dataset with its phenotype tables; by default the one that the outputs name, and none if that is gone.
    phenotype : sequence of path
        Further tables.
    models : sequence of str
        Only these; all by default.

    Returns
    -------
    DataFrame
        One row a participant, session and model, with the columns of ``OUT/group_brainage.tsv`` before anything is fitted; ``excluded``
        says why the statistics would leave a row out.

    Raises
    ------
    BadDataset, BadConfiguration
        If a folder, table or model is not there or cannot be used.

    Examples
    --------
    >>> import brainage_bids as bb
    >>> table = bb.read_cohort("derivatives/brainage", "bids")  # doctest: +SKIP
    >>> table[["participant_id", "model", "age", "brain_age", "pad"]]  # doctest: +SKIP
    """
    from brainage_bids.group import cohort

    out_dir = os.path.abspath(out)
    bids_dir = os.path.abspath(bids) if bids is not None else str(_raw_of(Path(out_dir)) or out_dir)
    tables = tuple(os.path.abspath(path) for path in phenotype)
    settings = GroupSettings(bids_dir=bids_dir, out_dir=out_dir, phenotype=tables, models=tuple(models))
    everyone = cohort.read_cohort(settings).everyone
    return everyone[everyone["model"].isin(models)].reset_index(drop=True) if models else everyone


def _processed(session: Session, settings: Settings, *, keep: bool) -> tuple[BrainAge, ...]:
    """Run the stages that are needed, all of them if the files are kept, and read what they left."""
    from brainage_bids import __version__
    from brainage_bids.bids.dataset import write_dataset_description
    from brainage_bids.workflows.participant import process_participant
    from brainage_bids.workflows.plan import Plan
    from brainage_bids.workflows.predict import models_of
    from brainage_bids.workflows.stage import with_needs
    from brainage_bids.workflows.table import stages_of

    plan = Plan(settings, Path(settings.work_dir), one_process=True)
    if keep:
        write_dataset_description(plan.out_dir, plan.bids_dir, __version__)
    stages = stages_of(plan)
    if not keep:
        last = {stage.name for stage in stages if stage.name == "ages" or stage.name.startswith("model-")}
        stages = with_needs({"quality", *last}, stages)
    failures = process_participant(Participant(session.participant_id, (session,)), plan, stages)
    for failure in failures:
        if failure.modality is None:
            error = UnusableInput(_message(failure, session, plan, keep))
            error.add_note(failure.detail)
            raise error
    notes = tuple(_message(failure, session, plan, keep) for failure in failures)
    return tuple(_said(asked, session, plan, notes) for asked in models_of(plan))


def _message(failure: Failure, session: Session, plan: Plan, keep: bool) -> str:
    """Why something failed; an image in memory is not called by the name of a file that is gone."""
    message = failure.message
    for modality, scan in session.scans.items():
        if not keep and scan.path.is_relative_to(plan.out_dir):
            message = message.replace(str(scan.path), f"The {modality} in memory")
    return message


def _said(asked: Asked, session: Session, plan: Plan, notes: tuple[str, ...]) -> BrainAge:
    """What a model left in the files of a session."""
    import nibabel as nib
    import numpy as np
    import pandas as pd

    from brainage_bids.bids.estimates import estimate_rows
    from brainage_bids.bids.model_files import read_model_table
    from brainage_bids.bids.tables import read_tsv
    from brainage_bids.models.features import read_volumes
    from brainage_bids.models.needs import Age, Table
    from brainage_bids.workflows import t1w
    from brainage_bids.workflows.model_outputs import files_of
    from brainage_bids.workflows.predict import kept_estimate

    card = asked.folder.card
    estimate = kept_estimate(asked, session, plan)
    (row,) = estimate_rows(session, [estimate])
    tables, maps = {}, {}
    for output, file in zip([one for one in card.outputs if not isinstance(one, Age)], files_of(card), strict=True):
        path = file.path(plan.out_dir, session)
        if path.is_file() and isinstance(output, Table):
            table = read_model_table(path)
            tables[output.key] = pd.DataFrame(table.rows, columns=list(table.columns))
        elif path.is_file():
            image = nib.load(path)
            maps[output.key] = nib.Nifti1Image(np.asanyarray(image.dataobj), image.affine, image.header)
    whole, regions = (output.path(plan.out_dir, session) for output in t1w.VOLUMES)
    (skull,) = (row["eTIV"] for row in read_tsv(whole).rows)
    volumes = read_volumes(whole, regions) | ({} if skull == "n/a" else {"eTIV": float(skull)})
    years = [row[name] for name in ("brain_age", "brain_age_sd", "brain_age_low", "brain_age_high")]
    notes = (*t1w.facts_of(session, plan.out_dir).get("Notes", []), *notes)
    flags = {flag: FLAGS[flag] for flag in estimate.flags}
    return BrainAge(card.name, card, *years, estimate.interval_level, flags, volumes, tables, maps, notes)


def _raw_of(out_dir: Path) -> Path | None:
    """The raw dataset that outputs name, if it is still there."""
    from brainage_bids.bids.tables import read_json_object

    links = read_json_object(out_dir / "dataset_description.json")[0].get("DatasetLinks")
    uri = links.get("raw") if isinstance(links, dict) else None
    folder = Path(unquote(urlparse(uri).path)) if isinstance(uri, str) and uri.startswith("file:") else None
    return folder if folder is not None and folder.is_dir() else None
