"""Gathering what models are trained on: maps, volumes and ages of the sessions of preprocessed datasets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlparse

import numpy as np

from brainage_bids.bids.names import derivative_path, find_derivatives
from brainage_bids.bids.phenotype import Phenotype, load_phenotype
from brainage_bids.bids.tables import read_json_object, read_tsv
from brainage_bids.files import real
from brainage_bids.models.contract import check_image, contract_of_image
from brainage_bids.models.features import CELL_MM, VolumeRatio, block_means, read_volumes, usable_ratios, volume_ratios
from brainage_bids.models.image_contract import InputContract
from brainage_bids.records import SPACE, BadConfiguration, BadDataset, UnusableInput

LABELS = ("GM", "WM")
"""Tissues whose maps are looked at."""
Session = tuple[str, str | None]


@dataclass(frozen=True)
class TrainingData:
    """Sessions to train on; every sequence and the first axis of every array has one entry a session.

    Attributes
    ----------
    participants : tuple of str
        Whose session it is; unique over datasets.
    sessions : tuple of str or None
        ``ses-Y``.
    ages : ndarray, shape (n,)
        Years.
    cells : mapping of str to ndarray, shape (n, X, Y, Z), float32
        Cell means of each map (see ``models.features``) by the key of its contract.
    volumes : tuple of mapping
        mm³ by name.
    contracts : tuple of InputContract
        What the maps are.
    sexes, sites, groups : tuple of str or None
    datasets : tuple of str
        Names of the datasets (not one a session).
    left_out : tuple of (str, str)
        Session and reason of each that cannot be used.
    problems : tuple of str
        What was odd in the tables.
    """

    participants: tuple[str, ...]
    sessions: tuple[str | None, ...]
    ages: np.ndarray
    cells: Mapping[str, np.ndarray]
    volumes: tuple[Mapping[str, float], ...]
    contracts: tuple[InputContract, ...]
    sexes: tuple[str | None, ...] = ()
    sites: tuple[str | None, ...] = ()
    groups: tuple[str | None, ...] = ()
    datasets: tuple[str, ...] = ()
    left_out: tuple[tuple[str, str], ...] = ()
    problems: tuple[str, ...] = ()

    @property
    def n_people(self) -> int:
        """How many people the sessions belong to."""
        return len(set(self.participants))

    @property
    def ratios(self) -> tuple[VolumeRatio, ...]:
        """The relative volumes that every session has."""
        return usable_ratios(self.volumes)

    def ratio_values(self) -> np.ndarray:
        """Relative volumes, shape (n, len(ratios)), float64."""
        return np.array([volume_ratios(person, self.ratios) for person in self.volumes]).reshape(len(self.volumes), len(self.ratios))

    def reasons(self) -> Counter[str]:
        """How many sessions were left out for each reason."""
        return Counter(reason for _, reason in self.left_out)

    def people_by(self, values: Sequence[str | None]) -> dict[str, int]:
        """How many people have each value; sessions without one do not count."""
        pairs = {(person, value) for person, value in zip(self.participants, values, strict=False) if value is not None}
        return dict(sorted(Counter(value for _, value in pairs).items()))


@dataclass
class _Gathered:
    """Columns that grow session by session."""

    rows: list[dict] = field(default_factory=list)
    cells: dict[str, list[np.ndarray]] = field(default_factory=dict)
    contracts: dict[str, InputContract] = field(default_factory=dict)
    left_out: list[tuple[str, str]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def collect(
    derivatives: Sequence[Path],
    phenotype: Sequence[Path],
    *,
    group_column: str | None = None,
    exclude_flags: Sequence[str] = (),
    dataset_names: Sequence[str] = (),
    progress: Callable[[int, int], None] | None = None,
) -> TrainingData:
    """Gather every session that has maps, volumes and an age.

    Parameters
    ----------
    derivatives : sequence of Path
        Outputs of ``brainage … participant``. The same label in two of them is two people.
    phenotype : sequence of Path
        Tables with ages: one for all datasets, or one for each in their order.
    group_column : str, optional
        Column of these tables that names a group (diagnosis).
    exclude_flags : sequence of str
        Sessions with one of these flags in their table of quality figures are left out.
    dataset_names : sequence of str, optional
        What to call the datasets; by default the DOI or the name of the raw dataset.
    progress : callable, optional
        Called with the number of sessions read and of all.

    Raises
    ------
    BadConfiguration
        If the numbers of datasets and tables do not fit, or no table has the group column.
    BadDataset
        If a folder has no maps at all, or no session can be used.
    """
    derivatives, phenotype = [Path(root) for root in derivatives], [Path(path) for path in phenotype]
    if len(phenotype) not in (1, len(derivatives)) or len(dataset_names) not in (0, len(derivatives)):
        raise BadConfiguration(
            f"{len(derivatives)} datasets need one phenotype table or {len(derivatives)}, and as many names or none; "
            f"got {len(phenotype)} tables and {len(dataset_names)} names."
        )
    tables = phenotype * len(derivatives) if len(phenotype) == 1 else phenotype
    found = [_find_maps(root) for root in derivatives]
    total, done = sum(map(len, found)), 0
    gathered = _Gathered()
    names = []
    for index, (root, table, sessions) in enumerate(zip(derivatives, tables, found, strict=True)):
        name = dataset_names[index] if dataset_names else dataset_name(root)
        names.append(name)
        prefix = f"{index + 1}:" if len(derivatives) > 1 else ""
        visits = visits_of(sessions)
        joined = load_phenotype(None, visits, [table])
        group = column_of(table, group_column, "--group-column") if group_column else None
        for session, maps in sessions.items():
            _add_session(gathered, root, session, maps, prefix, joined, exclude_flags, group)
            done += 1
            if progress:
                progress(done, total)
        gathered.problems += [*joined.problems(), *joined.about(group)]
    return _as_data(gathered, names)


def _find_maps(root: Path) -> dict[Session, dict[str, Path]]:
    """Session → label → map."""
    found: dict[Session, dict[str, Path]] = {}
    for label in LABELS:
        for item in find_derivatives(root, "modulated_smooth", label=label, space=SPACE):
            found.setdefault((item.participant_id, item.session_id), {})[label] = item.path
    if not found:
        raise BadDataset(f"{root} holds no smoothed modulated maps; give the output folder of a finished participant run.")
    return dict(sorted(found.items(), key=lambda item: (item[0][0], item[0][1] or "")))


def column_of(path: Path, name: str, option: str) -> str:
    """A column of a phenotype table by its name, whatever its case.

    Raises
    ------
    BadConfiguration
        If there is none.
    """
    found = read_tsv(path).column(name)
    if found is None:
        raise BadConfiguration(f"The phenotype table {path} has no column {name!r}; check {option}.")
    return found


def visits_of(sessions: Mapping[Session, object]) -> dict[str, list[str]]:
    """The sessions of each participant, as phenotype tables are asked for them."""
    visits: dict[str, list[str]] = {}
    for participant, session in sessions:
        visits.setdefault(participant, [])
        if session is not None:
            visits[participant].append(session)
    return visits


def _add_session(
    gathered: _Gathered,
    root: Path,
    session: Session,
    maps: Mapping[str, Path],
    prefix: str,
    phenotype: Phenotype,
    exclude_flags: Sequence[str],
    group_column: str | None,
) -> None:
    """Read one session, or note why it is left out."""
    who = prefix + "_".join(filter(None, session))
    record = phenotype.record(*session)
    reason = reason_by_age(record.flags) or reason_by_quality(root, session, exclude_flags)
    if reason is None and len(maps) < len(LABELS):
        reason = "a map is missing"
    if reason is not None:
        gathered.left_out.append((who, reason))
        return
    try:
        cells = {label: _read_cells(gathered, label, maps[label]) for label in LABELS}
        atlas = derivative_path(root, "volumes_atlas", *session)
        volumes = read_volumes(derivative_path(root, "volumes", *session), atlas if atlas.is_file() else None)
        volume_ratios(volumes, usable_ratios([volumes]))
    except UnusableInput as error:
        gathered.left_out.append((who, str(error)))
        return
    for label, values in cells.items():
        gathered.cells.setdefault(label, []).append(values)
    gathered.rows.append(
        {
            "participant": prefix + session[0],
            "session": session[1],
            "age": record.age,
            "volumes": volumes,
            "sex": record.sex,
            "site": record.site,
            "group": phenotype.cells(*session).get(group_column) if group_column else None,
        }
    )


def reason_by_age(flags: Sequence[str]) -> str | None:
    """Why the age of a session cannot be trained on, None if it can."""
    reasons = {
        "age_missing": "no age",
        "age_censored": "the age is only a bound",
        "age_not_per_session": "no age for this session",
    }
    return next((reason for flag, reason in reasons.items() if flag in flags), None)


def reason_by_quality(root: Path, session: Session, exclude_flags: Sequence[str]) -> str | None:
    """The first of some flags that the table of quality figures raises, None if none."""
    path = derivative_path(root, "qc", *session)
    if not exclude_flags or not path.is_file():
        return None
    raised = {row.get("flag") for row in read_tsv(path).rows}
    return next((f"flag {flag}" for flag in exclude_flags if flag in raised), None)


def _read_cells(gathered: _Gathered, label: str, path: Path) -> np.ndarray:
    """Cell means of a map that fulfils the contract; the first map read makes the contract."""
    if label not in gathered.contracts:
        contract = contract_of_image(path, "modulated_smooth", {"label": label}, "T1w", "nonlinear")
        others = [(other.shape, other.affine) for other in gathered.contracts.values()]
        if others and others[0] != (contract.shape, contract.affine):
            raise UnusableInput(f"{path} lies on another grid than the map of {LABELS[0]}; preprocess this person again.")
        gathered.contracts[label] = contract
    contract = gathered.contracts[label]
    return block_means(check_image(contract, path, "the maps of the other people"), contract.voxel_mm, CELL_MM)


def dataset_name(root: Path) -> str:
    """DOI of the raw dataset, or the name of its folder, or that of the derivatives."""
    description, _ = read_json_object(root / "dataset_description.json")
    sources = description.get("SourceDatasets")
    for source in sources if isinstance(sources, list) else []:
        if isinstance(source, dict) and isinstance(source.get("DOI"), str):
            return source["DOI"]
    links = description.get("DatasetLinks")
    raw = links.get("raw") if isinstance(links, dict) else None
    return (Path(unquote(urlparse(raw).path)).name if isinstance(raw, str) else "") or real(root).name


def _as_data(gathered: _Gathered, names: Sequence[str]) -> TrainingData:
    rows = gathered.rows
    if not rows:
        reasons = "; ".join(f"{count} × {reason}" for reason, count in Counter(reason for _, reason in gathered.left_out).items())
        raise BadDataset(f"No session can be trained on ({reasons}).")
    return TrainingData(
        participants=tuple(row["participant"] for row in rows),
        sessions=tuple(row["session"] for row in rows),
        ages=np.array([row["age"] for row in rows], dtype=float),
        cells={gathered.contracts[label].key: np.stack(gathered.cells[label]) for label in LABELS},
        volumes=tuple(row["volumes"] for row in rows),
        contracts=tuple(gathered.contracts[label] for label in LABELS),
        sexes=tuple(row["sex"] for row in rows),
        sites=tuple(row["site"] for row in rows),
        groups=tuple(row["group"] for row in rows),
        datasets=tuple(dict.fromkeys(names)),
        left_out=tuple(gathered.left_out),
        problems=tuple(gathered.problems),
    )
