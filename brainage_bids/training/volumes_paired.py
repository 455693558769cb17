"""People whose scans were measured by this app and by FreeSurfer."""

from __future__ import annotations

from pathlib import Path

from brainage_bids.bids.names import derivative_path, find_derivatives
from brainage_bids.models.features import read_volumes
from brainage_bids.models.volumes import STRUCTURES
from brainage_bids.records import BadConfiguration
from brainage_bids.training.volumes_table import read_volume_table


def read_paired(out_dir: Path | str, table_path: Path | str) -> dict[str, dict[str, tuple[float, float]]]:
    """Volumes of people who are in a table of FreeSurfer's volumes and in the outputs of a participant run.

    Parameters
    ----------
    out_dir : Path
        Output folder; the first session of each person is read.
    table_path : Path
        See ``volumes_table.read_volume_table``.

    Returns
    -------
    dict
        Person → structure → (ours, theirs), mm³.

    Raises
    ------
    BadConfiguration
        If nobody of the table has outputs.
    UnusableInput
        If a table of volumes cannot be read.
    """
    table = read_volume_table(table_path)
    theirs = dict(zip(table.participants, table.volumes, strict=True))
    found: dict[str, dict[str, tuple[float, float]]] = {}
    for output in find_derivatives(out_dir, "volumes_atlas"):
        person = output.participant_id
        if person not in theirs or person in found:
            continue
        paths = [derivative_path(out_dir, key, person, output.session_id) for key in ("volumes", "volumes_atlas")]
        ours = read_volumes(*paths)
        found[person] = {item.name: (sum(ours[part] for part in item.parts), theirs[person][item.name]) for item in STRUCTURES}
    if not found:
        raise BadConfiguration(f"Nobody in {out_dir} is in the table {table_path}, so nothing can be compared.")
    return found
