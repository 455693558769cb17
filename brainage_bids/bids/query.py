"""Finding what is to be processed in a raw dataset."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from brainage_bids.bids.inventory import Inventory, Skipped
from brainage_bids.bids.layout import check_filters, find_images, read_filters
from brainage_bids.bids.names import directories, parse_name, participant_folders, session_folders, with_prefix
from brainage_bids.bids.other_images import why_never
from brainage_bids.bids.phenotype import Phenotype, load_phenotype
from brainage_bids.bids.reuse import Reused, find_preprocessed
from brainage_bids.bids.selection import choose
from brainage_bids.bids.tables import Inheritance, read_json_object
from brainage_bids.modalities import COREGISTERED
from brainage_bids.records import BadDataset, Participant, Scan, Session

MODALITY = "T1w"
"""Without it a session is not processed."""
DERIVED = ("space", "desc", "res", "label", "seg", "from", "to")
"""Entities that no raw image has."""

_Found = dict[str, dict[str | None, list[Path]]]
"""Person, visit (None without sessions), images."""


def collect(
    bids_dir: Path | str,
    *,
    participant_labels: Sequence[str] = (),
    session_labels: Sequence[str] = (),
    bids_filters: Mapping[str, Any] | Path | str | None = None,
    phenotype_files: Sequence[Path | str] = (),
    database_dir: Path | str | None = None,
    derivatives: Mapping[str, Path] | None = None,
    columns: Sequence[str] = (),
) -> Inventory:
    """Find the sessions to process, with one T1w each and the images beside it, looking into the folders of those asked for alone.

    Parameters
    ----------
    bids_dir : Path
        A raw BIDS dataset.
    participant_labels, session_labels : sequence of str
        With or without ``sub-`` and ``ses-``; all if empty.
    bids_filters : mapping or Path, optional
        See `brainage_bids.bids.layout.read_filters`.
    phenotype_files : sequence of Path
        Further tables; see `brainage_bids.bids.phenotype.load_phenotype`.
    database_dir : Path, optional
        Where pybids keeps its index between runs.
    derivatives : mapping, optional
        Name to folder of preprocessing to take over; see `brainage_bids.bids.reuse.parse_derivatives`.
    columns : sequence of str
        Of the phenotype tables, to be kept with each session.

    Returns
    -------
    Inventory

    Raises
    ------
    BadDataset
        If the folder does not exist, is no dataset, or its tables contradict themselves.
    BadConfiguration
        If a filter, a table of the user or the index is wrong.
    """
    bids_dir = Path(os.path.abspath(bids_dir))
    problems = _check_dataset(bids_dir)
    filters = read_filters(bids_filters) if isinstance(bids_filters, str | os.PathLike) else check_filters(bids_filters or {})
    present = participant_folders(bids_dir)
    named = list(dict.fromkeys(with_prefix(label, "sub-") for label in participant_labels))
    wanted_sessions = {with_prefix(label, "ses-") for label in session_labels}
    asked = [label for label in present if not named or label in named]
    skipped = [Skipped(label, None, MODALITY, None, f"there is no folder {label}", True) for label in named if label not in present]
    modalities = (MODALITY, *COREGISTERED)
    images = find_images(bids_dir, asked, modalities, filters, None if database_dir is None else Path(database_dir)) if asked else {}
    inheritance = Inheritance(bids_dir)
    sessions, others = _by_session(inheritance, images.get(MODALITY, ()), MODALITY, wanted_sessions)
    visits = {label: session_folders(bids_dir, label) for label in asked}
    phenotype = load_phenotype(bids_dir, visits, phenotype_files)
    beside: dict[str, _Found] = {}
    for modality in COREGISTERED:
        beside[modality], left = _by_session(inheritance, images.get(modality, ()), modality, wanted_sessions)
        others += left
    participants = []
    for label in asked:
        further = {modality: found.get(label, {}) for modality, found in beside.items()}
        built, left = _participant(label, sessions.get(label, {}), further, phenotype, columns, inheritance)
        participants += [built] if built else []
        skipped += left + _without_image(label, visits[label], sessions.get(label, {}), wanted_sessions, named=bool(named))
    skipped = sorted(skipped + others, key=lambda item: (item.participant_id, item.session_id or "", str(item.file or "")))
    reused, unaided = _reused(participants, visits, derivatives or {})
    problems += [*inheritance.problems, *phenotype.problems(), *unaided]
    return Inventory(bids_dir, tuple(participants), tuple(skipped), tuple(problems), reused)


def _check_dataset(bids_dir: Path) -> list[str]:
    """Return what is odd about the dataset as a whole.

    Raises
    ------
    BadDataset
        If it is no folder, or neither has a description nor participants.
    """
    if not bids_dir.is_dir():
        raise BadDataset(f"The dataset {bids_dir} is not a folder; check the first argument.")
    present = participant_folders(bids_dir)
    path = bids_dir / "dataset_description.json"
    problems = []
    if not path.exists():
        if not present:
            raise BadDataset(f"{bids_dir} is no BIDS dataset: it has neither dataset_description.json nor folders sub-*.")
        problems.append("The dataset has no dataset_description.json.")
    description, odd = read_json_object(path)
    problems += odd
    if description.get("DatasetType") == "derivative":
        problems.append("The dataset describes itself as a derivative; only images named as raw ones are processed.")
    invalid = sorted({name for name in directories(bids_dir) if name.startswith("sub-")} - set(present))
    if invalid:
        some = ", ".join(map(repr, invalid[:3])) + (", …" if len(invalid) > 3 else "")
        problems.append(f"{len(invalid)} folder(s) have names that BIDS does not allow and are left out ({some}).")
    elif not present:
        problems.append("The dataset has no folders sub-*; give the folder that holds them, such as sourcedata/raw of a study.")
    return problems


def _by_session(inheritance: Inheritance, images: Sequence[Path], modality: str, wanted: set[str]) -> tuple[_Found, list[Skipped]]:
    """Sort images by person and visit; leave out those whose name and place disagree, derivatives, and what is no magnitude image."""
    found: _Found = defaultdict(lambda: defaultdict(list))
    skipped = []
    for path in images:
        person, *inner = path.relative_to(inheritance.root).parts
        folder = inner[0] if inner[0].startswith("ses-") else None
        if wanted and folder not in wanted:
            continue
        name = parse_name(path.name)
        if name is None:
            reason = "its name is not one of BIDS"
        elif derived := [key for key in DERIVED if key in name.entities]:
            reason = f"its name is one of a derivative ({derived[0]}-)"
        elif name.entities.get("sub") != person.removeprefix("sub-") or name.entities.get("ses") != (
            folder and folder.removeprefix("ses-")
        ):
            reason = "its name and its folder name different people or sessions"
        elif never := why_never(path, inheritance.metadata(path)):
            reason = never
        else:
            found[person][folder].append(path)
            continue
        skipped.append(Skipped(person, folder, modality, path, reason))
    return found, skipped


def _participant(
    label: str,
    found: Mapping[str | None, Sequence[Path]],
    further: Mapping[str, Mapping[str | None, Sequence[Path]]],
    phenotype: Phenotype,
    columns: Sequence[str],
    inheritance: Inheritance,
) -> tuple[Participant | None, list[Skipped]]:
    """Build a person from the images of each visit; None without any T1w."""
    sessions, left = [], []
    for visit in sorted(found, key=lambda value: value or ""):
        scans = {}
        for modality, paths in {MODALITY: found[visit], **{key: visits.get(visit, ()) for key, visits in further.items()}}.items():
            scan, others = _scan(paths, modality, (label, visit), inheritance)
            scans |= {modality: scan} if scan else {}
            left += others
        record = phenotype.record(label, visit)
        values = phenotype.values(label, visit, columns)
        sessions.append(Session(label, visit, scans, record.age, record.sex, record.site, record.flags, values))
    for modality, visits in further.items():
        for visit in set(visits) - set(found):
            left += [Skipped(label, visit, modality, path, f"its session has no {MODALITY} to go with") for path in visits[visit]]
    return (Participant(label, tuple(sessions)) if sessions else None), left


def _scan(paths: Sequence[Path], modality: str, who: tuple[str, str | None], inheritance: Inheritance) -> tuple[Scan | None, list[Skipped]]:
    """Choose the image of a modality of one visit; say of the others why they are left."""
    if not paths:
        return None, []
    choice = choose(paths, modality)
    name = parse_name(choice.path.name)
    entities = name.long_entities() if name else {}
    left = [Skipped(*who, modality, path, f"{choice.path.name} was chosen ({why})") for path, why in choice.others]
    return Scan(choice.path, modality, entities, choice.reason, inheritance.metadata(choice.path)), left


def _without_image(
    person: str, visits: Sequence[str], found: Mapping[str | None, object], wanted: set[str], *, named: bool
) -> list[Skipped]:
    """Say of a person, or of single visits of a person, that there is nothing to process."""
    asked = [visit for visit in visits if not wanted or visit in wanted]
    if found:
        return [Skipped(person, visit, MODALITY, None, f"no {MODALITY} image in this session") for visit in asked if visit not in found]
    if wanted and not asked:
        return [Skipped(person, None, MODALITY, None, f"no session {' or '.join(sorted(wanted))}", named)]
    return [Skipped(person, None, MODALITY, None, f"no {MODALITY} image to be used in any anat folder", named)]


def _reused(
    participants: Sequence[Participant], visits: Mapping[str, Sequence[str]], derivatives: Mapping[str, Path]
) -> tuple[dict[str, Reused], list[str]]:
    """Find what can be taken over; say of whom nothing can, if the user named derivatives at all."""
    if not derivatives:
        return {}, []
    found, without = {}, []
    for participant in participants:
        for session in participant.sessions:
            only = len(visits[participant.participant_id]) < 2
            scan = session.scans[MODALITY].path.name
            reused = find_preprocessed(derivatives, session.participant_id, session.session_id, only_session=only, scan=scan)
            if reused is None:
                without.append(session.stem)
            else:
                found[session.stem] = reused
    if not without:
        return found, []
    some = ", ".join(without[:3]) + (", …" if len(without) > 3 else "")
    return found, [
        f"Nothing to take over was found in {', '.join(derivatives)} for {len(without)} scan(s) ({some}), which start from the raw image; "
        "needed are *_desc-preproc_T1w and *_desc-brain_mask in the scan's own space."
    ]
