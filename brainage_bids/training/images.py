"""The images, ages and people that a network is trained on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from brainage_bids.bids.columns import read_column
from brainage_bids.bids.descriptions import entry
from brainage_bids.bids.names import find_derivatives, with_prefix
from brainage_bids.bids.phenotype import Phenotype, load_phenotype
from brainage_bids.bids.tables import is_missing, read_tsv
from brainage_bids.imaging.packing import box_of
from brainage_bids.models.contract import contract_of_image
from brainage_bids.models.image_contract import InputContract
from brainage_bids.models.inputs import NetInput, net_input
from brainage_bids.records import BadConfiguration, BadDataset, UnusableInput
from brainage_bids.stats.comparisons import Cell
from brainage_bids.stats.queries import rows_where
from brainage_bids.training.collect import Session, column_of, dataset_name, reason_by_age, reason_by_quality, visits_of

SKULL_STEPS = ("brain", "zscore")
"""Steps after which it makes no difference whether the skull was there."""


@dataclass(frozen=True)
class ImageTable:
    """Sessions to train on; every sequence and array has one entry a session.

    Attributes
    ----------
    participants : tuple of str
        Whose session it is; unique over datasets.
    sessions : tuple of str or None
    ages : ndarray, shape (n,)
        What is learned, years.
    paths : tuple of tuple of Path
        One path a channel.
    contracts : tuple of InputContract
        What the images of each channel are, with the grid that most of them have.
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
    paths: tuple[tuple[Path, ...], ...]
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
    def projects(self) -> tuple[str | None, ...]:
        """The site of each session, after the number of its dataset where there are several: scanners of two datasets are not one."""
        numbers = [person.rpartition(":")[0] for person in self.participants]
        return tuple(f"{number}:{site or ''}" if number else site for number, site in zip(numbers, self.sites, strict=True))

    def people_by(self, values: Sequence[str | None]) -> dict[str, int]:
        """How many people have each value; sessions without one do not count."""
        pairs = {(person, value) for person, value in zip(self.participants, values, strict=True) if value is not None}
        return dict(sorted(Counter(value for _, value in pairs).items()))

    def keep(self, rows: Sequence[int], reasons: Mapping[int, str]) -> ImageTable:
        """The table with some rows only; `reasons` says of others why they go."""
        rows = list(rows)
        gone = [("_".join(filter(None, (self.participants[row], self.sessions[row]))), why) for row, why in sorted(reasons.items())]
        picked = {name: tuple(getattr(self, name)[row] for row in rows) for name in ("participants", "sessions", "paths")}
        picked |= {name: tuple(getattr(self, name)[row] for row in rows) for name in ("sexes", "sites", "groups")}
        return replace(self, ages=self.ages[rows], left_out=(*self.left_out, *gone), **picked)


def net_inputs(kind: str, names: Sequence[str] | None = None) -> tuple[NetInput, ...]:
    """The inputs of these names, one a channel of the network, or the published one of a kind.

    Raises
    ------
    BadConfiguration
        If there is none of that name, or several cannot be laid on each other: one twice, brains in boxes (each is cut by itself), or
        images that are prepared in different ways.
    """
    places = tuple(net_input(kind, name) for name in names or [None])
    if len(places) > 1:
        said = f"The inputs {' '.join(names)} cannot be channels of one network"
        if len({place.contract.key for place in places}) < len(places):
            raise BadConfiguration(f"{said}: two are the same image; give each once.")
        if any(place.contract.crop == "brain" for place in places):
            raise BadConfiguration(f"{said}: brains in boxes are cut one by one; give inputs in the template, such as packed2.")
        if any(place.steps != places[0].steps for place in places):
            raise BadConfiguration(f"{said}: they are prepared in different ways; give some of one kind, such as packed2 packed2flair.")
    return places


def find_images(
    derivatives: Sequence[Path],
    phenotype: Sequence[Path],
    places: Sequence[NetInput],
    *,
    target: str | None = None,
    where: str | None = None,
    group_column: str | None = None,
    exclude_flags: Sequence[str] = (),
    dataset_names: Sequence[str] = (),
) -> ImageTable:
    """Find every session that has all the images and an age; of images only headers are read.

    Parameters
    ----------
    derivatives, phenotype, group_column, exclude_flags, dataset_names
        As in ``collect.collect``.
    places : sequence of NetInput
        The images that are wanted, one a channel; see `net_inputs`.
    target : str, optional
        Column of the phenotype tables that is learned; by default the age.
    where : str, optional
        Query on their rows, dataset by dataset; see ``queries.rows_where``. Age is in years.

    Raises
    ------
    BadConfiguration
        If the numbers of datasets and tables do not fit, a column is not there or the condition cannot be read.
    BadDataset
        If a folder has no such images, or no session can be used.
    """
    derivatives, phenotype = [Path(root) for root in derivatives], [Path(path) for path in phenotype]
    if len(phenotype) not in (1, len(derivatives)) or len(dataset_names) not in (0, len(derivatives)):
        raise BadConfiguration(
            f"{len(derivatives)} datasets need one phenotype table or {len(derivatives)}, and as many names or none; "
            f"got {len(phenotype)} tables and {len(dataset_names)} names."
        )
    tables = phenotype * len(derivatives) if len(phenotype) == 1 else phenotype
    asked = _Asked(target, where, group_column, tuple(exclude_flags))
    rows: list[dict] = []
    left_out: list[tuple[str, str]] = []
    problems: list[str] = []
    for index, (root, path) in enumerate(zip(derivatives, tables, strict=True)):
        prefix = f"{index + 1}:" if len(derivatives) > 1 else ""
        problems += _gather(root, path, [place.contract for place in places], prefix, asked, rows, left_out)
    names = [dataset_names[i] if dataset_names else dataset_name(root) for i, root in enumerate(derivatives)]
    return _as_table(rows, places, names, left_out, problems)


@dataclass(frozen=True)
class _Asked:
    """Who is wanted, and what is learned."""

    target: str | None
    where: str | None
    group_column: str | None
    exclude_flags: tuple[str, ...]


def _gather(
    root: Path, path: Path, contracts: Sequence[InputContract], prefix: str, asked: _Asked, rows: list[dict], left_out: list
) -> list[str]:
    """Add the sessions of one dataset to `rows` or `left_out`; return what was odd in its table."""
    found, lacking = _paths(root, contracts)
    left_out += [(prefix + who, f"no image {key}") for who, key in lacking]
    joined = load_phenotype(None, visits_of(found), [path])
    target = column_of(path, asked.target, "--target") if asked.target else None
    group = column_of(path, asked.group_column, "--group-column") if asked.group_column else None
    rows_of, doubtful = _rows(joined, list(found), read_tsv(path).columns, list(filter(None, (target,))))
    table = {name: [row[name] for row in rows_of] for name in rows_of[0]}
    holds = rows_where(asked.where, table, len(rows_of)) if asked.where else [True] * len(rows_of)
    for (session, images), row, wanted in zip(found.items(), rows_of, holds, strict=True):
        record = joined.record(*session)
        age = row[target] if target else record.age
        age = age if isinstance(age, float) else None
        reason = reason_by_age(record.flags) if not target else None
        if reason is None and age is None:
            reason = f"no number in {target}"
        if not wanted:
            reason = "the condition does not hold"
        reason = reason or reason_by_quality(root, session, asked.exclude_flags)
        if reason is not None:
            left_out.append((prefix + "_".join(filter(None, session)), reason))
            continue
        about = {"sex": record.sex, "site": record.site, "group": joined.cells(*session).get(group) if group else None}
        rows.append({"participant": prefix + session[0], "session": session[1], "age": age, "paths": images, **about})
    return [*joined.problems(), *doubtful, *joined.about(group)]


def _paths(root: Path, contracts: Sequence[InputContract]) -> tuple[dict[Session, tuple[Path, ...]], list[tuple[str, str]]]:
    """Images of every session that has all of them; and who lacks which, people without any first."""
    by_channel: list[dict[Session, Path]] = []
    for contract in contracts:
        images = find_derivatives(root, contract.derivative, **contract.name_values)
        by_channel.append({(item.participant_id, item.session_id): item.path for item in images})
        if not by_channel[-1]:
            raise BadDataset(f"{root} holds no images {contract.key}; give the output folder of a finished participant run.")
    sessions = sorted(set().union(*by_channel), key=lambda session: (session[0], session[1] or ""))
    without = sorted({path.name for path in root.glob("sub-*") if path.is_dir()} - {person for person, _ in sessions})
    lacking = [(person, contracts[0].key) for person in without]
    found = {}
    for session in sessions:
        missing = [contract.key for contract, images in zip(contracts, by_channel, strict=True) if session not in images]
        if missing:
            lacking.append(("_".join(filter(None, session)), missing[0]))
        else:
            found[session] = tuple(images[session] for images in by_channel)
    if not found:
        raise BadDataset(f"{root} holds no session with all of {', '.join(contract.key for contract in contracts)}; train on fewer inputs.")
    return found, lacking


def _rows(
    joined: Phenotype, sessions: Sequence[Session], columns: Sequence[str], told: Collection[str]
) -> tuple[list[dict[str, Cell]], list[str]]:
    """Every column at each session, as what all its cells together are, the age in years; and what is doubtful of those in `told`."""
    texts = [joined.cells(*session) for session in sessions]
    rows: list[dict[str, Cell]] = [{} for _ in texts]
    problems = []
    source = joined.user[0]
    for name in columns:
        values: list[Cell] = [row.get(name) for row in texts]
        if name.lower() not in ("participant_id", "session_id"):
            read = read_column(name, values, entry(source.described, name))
            values, problems = read.values, problems + (read.problems if name in told else [])
        else:
            values = [None if value is None or is_missing(str(value)) else value for value in values]
        for row, value in zip(rows, values, strict=True):
            row[name] = value
    if source.age is not None:
        for row, session in zip(rows, sessions, strict=True):
            row[source.age] = joined.record(*session).age
    return rows, problems


def _as_table(rows: list[dict], places: Sequence[NetInput], names: Sequence[str], left_out, problems) -> ImageTable:
    if not rows:
        reasons = "; ".join(f"{count} × {reason}" for reason, count in Counter(reason for _, reason in left_out).items())
        advice = "; give --phenotype a table with participant_id and age of these people" if "no age" in reasons else ""
        raise BadDataset(f"No session can be trained on ({reasons}){advice}.")
    by_channel = zip(*(row["paths"] for row in rows), strict=True)
    return ImageTable(
        participants=tuple(row["participant"] for row in rows),
        sessions=tuple(row["session"] for row in rows),
        ages=np.array([row["age"] for row in rows], dtype=float),
        paths=tuple(row["paths"] for row in rows),
        contracts=tuple(_usual(paths, place) for paths, place in zip(by_channel, places, strict=True)),
        sexes=tuple(row["sex"] for row in rows),
        sites=tuple(row["site"] for row in rows),
        groups=tuple(row["group"] for row in rows),
        datasets=tuple(dict.fromkeys(names)),
        left_out=tuple(left_out),
        problems=tuple(problems),
    )


def _usual(paths: Sequence[Path], place: NetInput) -> InputContract:
    """What most images of a channel are; whether the skull is there counts where a step sees it."""
    contract = usual_contract(paths, place.contract)
    indifferent = place.contract.derivative.startswith("modulated") or any(step.name in SKULL_STEPS for step in place.steps)
    return replace(contract, stripped=None) if indifferent else contract


def usual_contract(paths: Sequence[Path], wanted: InputContract) -> InputContract:
    """What most of the images are (of the first, where kinds are equally many); the error of the first if none can be read.

    Only headers are read. Brains in boxes have one kind of grid for each edge of their voxels, and the box of the largest.
    """
    first: UnusableInput | None = None
    found: dict[object, list[InputContract]] = {}
    for path in paths:
        try:
            contract = contract_of_image(path, wanted.derivative, wanted.entities, wanted.modality, wanted.alignment)
        except UnusableInput as error:
            first = first or error
            continue
        found.setdefault((contract.shape if contract.crop == "none" else None, contract.affine), []).append(contract)
    if not found:
        raise first or BadDataset("There are no images.")
    usual = max(found.values(), key=len)
    if usual[0].crop == "none":
        return usual[0]
    extents = [[n - 2 for n in contract.shape] for contract in usual]  # arrays are cut to a brain and one voxel around
    return replace(usual[0], shape=box_of(extents))


Progress = Callable[[int, int], None]
"""Told how many of how many are done."""


def same_person(name: str) -> str:
    """A participant as split files name it: with ``sub-``, after the number of the dataset if there is one.

    >>> same_person("01"), same_person("2:sub-01")
    ('sub-01', '2:sub-01')
    """
    head, colon, tail = name.rpartition(":")
    return f"{head}{colon}{with_prefix(tail, 'sub-')}"
