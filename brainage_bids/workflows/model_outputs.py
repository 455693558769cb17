"""What a model gave for a session, written by the name table: maps, tables and images, with sidecars that say whose they are."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from brainage_bids.bids.model_files import MAPS, find_model_files, map_path, table_path, write_model_table
from brainage_bids.bids.names import derivative_path
from brainage_bids.bids.sidecars import image_sidecar
from brainage_bids.bids.sink import sidecar_path, sink_image
from brainage_bids.models.needs import Image, Map, Output, Table
from brainage_bids.records import Session

if TYPE_CHECKING:
    from brainage_bids.models.prediction import Prediction, Volume
    from brainage_bids.models.registry import ModelFolder


def output_path(output: Output, model: str, out_dir: Path, session: Session) -> Path | None:
    """Where an output of a model lies; None for the age, which is a row of ``B_brainage.tsv``."""
    who = session.participant_id, session.session_id
    if isinstance(output, Table):
        return table_path(out_dir, model, output.key, *who)
    if isinstance(output, Map):
        return map_path(out_dir, model, output.key, output.space, output.resolution, output.suffix, *who)
    if isinstance(output, Image):
        where = {"space": output.space, "res": output.resolution, "synthesised": output.modality}
        return derivative_path(out_dir, "synthesised", *who, **where)
    return None


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
    card = folder.card
    about = {"Model": card.name, "ModelSha256": folder.sha256}
    written = []
    for output in card.outputs:
        path = output_path(output, card.name, out_dir, session)
        if path is None:
            continue
        given: Any = {**prediction.tables, **prediction.maps, **prediction.images}.get(output.key)
        if given is None:
            _remove(path)
        elif isinstance(output, Table):
            written.append(write_model_table(given, output.columns, path, {"Description": output.description, **about}))
        else:
            written.append(_write_image(session, output, card.name, given, path, about))
    return written


def _write_image(session: Session, output: Map | Image, model: str, volume: Volume, path: Path, about: Mapping[str, Any]) -> Path:
    import nibabel as nib
    import numpy as np

    if isinstance(output, Map):
        native = not output.resolution
        key = MAPS[int(native)]
        entities = {"model": model, "desc": output.key, "suffix": output.suffix}
        entities |= {} if native else {"space": output.space, "res": output.resolution}
        about = {**about, "Description": output.description, "Units": output.units, "Signed": output.signed}
    else:
        key, entities = "synthesised", {"space": output.space, "res": output.resolution, "synthesised": output.modality}
    sidecar = image_sidecar(key, session.participant_id, session.session_id, sources=[], extra=about, **entities)
    image = nib.Nifti1Image(np.asarray(volume.data, dtype=np.float32), np.asarray(volume.affine, dtype=float))
    return sink_image(image, path, sidecar)


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
