"""What a model gave for a session, written by the name table: maps, tables and images, with sidecars that say whose they are."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from brainage_bids.bids.model_files import MAPS, TABLE, find_model_files, write_model_table
from brainage_bids.bids.sidecars import image_sidecar
from brainage_bids.bids.sink import sidecar_path, sink_image
from brainage_bids.models.needs import Age, Image, Map, Table
from brainage_bids.records import Session
from brainage_bids.workflows.stage import Output

if TYPE_CHECKING:
    from brainage_bids.models.card import ModelCard
    from brainage_bids.models.prediction import Prediction, Volume
    from brainage_bids.models.registry import ModelFolder


def files_of(card: ModelCard) -> Iterator[Output]:
    """The files that a model may leave, as outputs of its stage; it leaves none for a session that is none for it."""
    for given in card.outputs:
        if isinstance(given, Table):
            yield Output(TABLE, (("model", card.name), ("desc", given.key)), optional=True)
        elif isinstance(given, Map):
            where = (("space", given.space), ("res", given.resolution)) if given.resolution else ()
            which = (("model", card.name), ("desc", given.key), ("suffix", given.suffix))
            yield Output(MAPS[not given.resolution], (*where, *which), optional=True)
        elif isinstance(given, Image):
            where = (("space", given.space), ("res", given.resolution), ("synthesised", given.modality))
            yield Output("synthesised", where, optional=True)


def write_outputs(session: Session, out_dir: Path, folder: ModelFolder, prediction: Prediction) -> list[Path]:
    """Write maps, tables and images of a prediction; those that it lacks, as the session is none for the model, are removed.

    Parameters
    ----------
    session : Session
    out_dir : Path
    folder : ModelFolder
        The model that gave the prediction; its card says what each output is.
    prediction : Prediction

    Returns
    -------
    list of Path
        What was written.
    """
    about = {"Model": folder.card.name, "ModelSha256": folder.sha256}
    given = [output for output in folder.card.outputs if not isinstance(output, Age)]
    made: Mapping[str, Any] = {**prediction.tables, **prediction.maps, **prediction.images}
    written = []
    for output, file in zip(given, files_of(folder.card), strict=True):
        path = file.path(out_dir, session)
        if output.key not in made:
            _remove(path)
        elif isinstance(output, Table):
            written.append(write_model_table(made[output.key], output.columns, path, {"Description": output.description, **about}))
        else:
            written.append(_write_image(session, output, file, made[output.key], about, out_dir))
    return written


def _write_image(session: Session, output: Map | Image, file: Output, volume: Volume, about: Mapping[str, Any], out_dir: Path) -> Path:
    import nibabel as nib
    import numpy as np

    if isinstance(output, Map):
        about = {**about, "Description": output.description, "Units": output.units, "Signed": output.signed}
    who = session.participant_id, session.session_id
    sidecar = image_sidecar(file.key, *who, sources=[], extra=about, **dict(file.entities))
    image = nib.Nifti1Image(np.asarray(volume.data, dtype=np.float32), np.asarray(volume.affine, dtype=float))
    return sink_image(image, file.path(out_dir, session), sidecar)


def discard_outputs(session: Session, out_dir: Path, models: Collection[str]) -> bool:
    """Remove maps and tables of this session by models that are not among `models`; True if there were any."""
    gone = [found for found in find_model_files(out_dir, session.participant_id) if found.session_id == session.session_id]
    gone = [found for found in gone if found.entities["model"] not in models]
    for found in gone:
        _remove(found.path)
    return bool(gone)


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)
    sidecar_path(path).unlink(missing_ok=True)
