"""The files that make a folder of outputs a BIDS derivatives dataset."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from brainage_bids.bids.names import io_spec
from brainage_bids.bids.sink import sink_json, sink_text
from brainage_bids.bids.tables import read_json_object
from brainage_bids.files import SETTINGS, read_utf8, real
from brainage_bids.records import BadConfiguration

APP = "brainage_bids"
BIDS_VERSION = "1.10.0"
TITLE = "Brain age and its preprocessing"
ACKNOWLEDGE = (
    "Please name brainage_bids with its version, and cite the works listed in the methods text of the reports, "
    "which names the software, the template and the model that were used."
)
README = """# Outputs of brainage_bids

This folder is a BIDS derivatives dataset. Every participant has

- `sub-<label>.html`: the report, to be opened in a browser;
- `sub-<label>[/ses-<label>]/anat/`: preprocessed T1w images, brain mask, tissue maps, the same in the space of the template,
  volumes, quality figures and `*_brainage.tsv`, the estimated age.

After a group run, `group.html` is its report, `group_brainage.tsv` the table of all estimates, and `group/` holds every result.

Each table and image has a JSON file of the same name that says what is in it. `logs/` holds settings, messages and, for
participants that could not be finished, the reason. The raw data are named in `dataset_description.json`.
"""
CITATION = """# How to cite these outputs

Cite the raw dataset (its address is in `dataset_description.json`), brainage_bids {version}, and the software, template and
models listed in the methods text of the reports.
"""


def write_dataset_description(
    out_dir: Path | str, bids_dir: Path | str, version: str, *, derivatives: Mapping[str, Path] | None = None
) -> list[Path]:
    """Write the files at the root of the outputs: description, ``.bidsignore``, README and CITATION.md.

    A file that already says the same is not touched, so that several runs at once do not disturb each other. Lines that
    somebody added to ``.bidsignore`` stay, and so does a README or CITATION.md that is already there.

    Parameters
    ----------
    out_dir : Path
        Root of the outputs; made if it does not exist.
    bids_dir : Path
        The raw dataset, called ``raw`` in BIDS URIs.
    version : str
        Version of this app.
    derivatives : mapping, optional
        Name to folder of other derivatives that are used.

    Returns
    -------
    list of Path
        The files that were written.

    Raises
    ------
    BadConfiguration
        If the folder is the raw dataset itself, or holds a dataset of another origin.
    OSError
        If a file cannot be written.
    """
    out_dir, bids_dir = Path(os.path.abspath(out_dir)), Path(os.path.abspath(bids_dir))
    path = out_dir / "dataset_description.json"
    existing = _check_place(out_dir, bids_dir)
    links = {**existing.get("DatasetLinks", {}), "raw": bids_dir.as_uri()}
    links.update({name: Path(os.path.abspath(root)).as_uri() for name, root in (derivatives or {}).items()})
    content = {
        "Name": TITLE,
        "BIDSVersion": BIDS_VERSION,
        "DatasetType": "derivative",
        "GeneratedBy": [{"Name": APP, "Version": version, **_container()}],
        "SourceDatasets": [_source(bids_dir), *({"URL": uri} for name, uri in links.items() if name != "raw")],
        "DatasetLinks": links,
        "HowToAcknowledge": ACKNOWLEDGE,
    }
    written = []
    if content != existing:
        written.append(sink_json(content, path))
    ignored = _ignore_lines(out_dir / ".bidsignore")
    if ignored is not None:
        written.append(sink_text(ignored, out_dir / ".bidsignore"))
    for name, text in (("README.md", README), ("CITATION.md", CITATION.format(version=version))):
        if not (out_dir / name).exists():
            written.append(sink_text(text, out_dir / name))
    return written


def generators(root: Path) -> list[str]:
    """Return the names of the apps that made a derivatives dataset, as its description gives them; empty without one."""
    description, _ = read_json_object(root / "dataset_description.json")
    makers = description.get("GeneratedBy")
    return [str(maker.get("Name")) for maker in makers if isinstance(maker, dict)] if isinstance(makers, list) else []


def _check_place(out_dir: Path, bids_dir: Path) -> dict[str, Any]:
    """Return the description that is already there, if it is ours; empty if there is none."""
    if real(out_dir) == real(bids_dir):
        raise BadConfiguration(
            f"The output folder {out_dir} is the dataset itself; give another one, such as {out_dir / 'derivatives' / 'brainage'}."
        )
    existing, odd = read_json_object(out_dir / "dataset_description.json")
    if odd or (existing and APP not in generators(out_dir)):
        raise BadConfiguration(f"The output folder {out_dir} already holds another dataset; give an empty or new folder.")
    return existing if isinstance(existing.get("DatasetLinks", {}), dict) else {}


def _source(bids_dir: Path) -> dict[str, str]:
    description, _ = read_json_object(bids_dir / "dataset_description.json")
    source = {"URL": bids_dir.as_uri()}
    doi = description.get("DatasetDOI")
    if isinstance(doi, str) and doi.strip():
        bare = doi.strip().removeprefix("https://doi.org/").removeprefix("doi:")
        source = {"URL": f"https://doi.org/{bare}", "DOI": f"doi:{bare}"}
    return source


def _container() -> dict[str, Any]:
    """Return what is known about the container this runs in, from the variables that containers set."""
    for variable, kind in (
        ("BRAINAGE_CONTAINER_TAG", "docker"),
        ("APPTAINER_CONTAINER", "apptainer"),
        ("SINGULARITY_CONTAINER", "singularity"),
    ):
        value = os.environ.get(variable)
        if value:
            return {"Container": {"Type": os.environ.get("BRAINAGE_CONTAINER_TYPE", kind), "Tag": value}}
    return {}


def _ignore_lines(path: Path) -> str | None:
    """Return the new content of ``.bidsignore``; None if it has every line already."""
    present = read_utf8(path, SETTINGS).splitlines() if path.exists() else []
    missing = [line for line in io_spec()["bidsignore"] if line not in present]
    return "\n".join([*present, *missing]) + "\n" if missing else None
