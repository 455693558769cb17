"""What a stage is, and how one sees in the output folder that it was finished from the same things; nothing is computed here.

Stages hand over files of the output folder and nothing else, so a run that was interrupted goes on from the same bytes as one that was not.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

from brainage_bids.bids.names import derivative_path
from brainage_bids.bids.sink import sidecar_path, sink_json
from brainage_bids.bids.tables import read_json_object
from brainage_bids.records import Session

FINGERPRINT = "Fingerprint"
NOT_MADE = "NotMade"
"""Field of a sidecar: names of optional files that the stage decided not to make."""
ENTRIES = "Predictions"
"""Field of a table's sidecar that holds entries, each the output of a stage of its own."""


@dataclass(frozen=True)
class Output:
    """What a stage leaves: a file of a session, by a key of the name table and the entities that its name needs.

    Attributes
    ----------
    key : str
    entities : tuple of (str, str)
    optional : bool
        The stage may decide not to make it.
    entry : str
        The output is no file but this entry in the sidecar of the file, which may itself not be there yet.
    """

    key: str
    entities: tuple[tuple[str, str], ...] = ()
    optional: bool = False
    entry: str = ""

    @property
    def name(self) -> str:
        """What graphs and models call it: ``modulated_smooth_GM``."""
        return "_".join([self.key, *(value for _, value in self.entities)])

    def path(self, out_dir: Path, session: Session) -> Path:
        """Where the file lies."""
        return derivative_path(out_dir, self.key, session.participant_id, session.session_id, **dict(self.entities))


@dataclass(frozen=True)
class Stage:
    """A part of the processing of a session.

    Attributes
    ----------
    name : str
    needs : tuple of str
        Names of stages, and of what comes from outside of the output folder (``scan:T1w``; see `roots.Roots`), all of which must be
        there. ``x?`` is waited for and may be missing; of ``x|y`` one must be there.
    outputs : tuple of Output
        The sidecar of the last, or the last itself if it is an entry of one, carries the fingerprint.
    settings_used : tuple of str
        Fields of `Settings` that change what is made.
    revision : int or str
        Another whenever the same input gives other outputs.
    run : callable
        Function of a session and a `plan.Plan` that writes the outputs; one of a module, since another process may be asked for it.
    """

    name: str
    needs: tuple[str, ...]
    outputs: tuple[Output, ...]
    settings_used: tuple[str, ...]
    revision: int | str
    run: Callable[[Session, Any], object]

    @property
    def modality(self) -> str | None:
        """The modality beside the T1w whose scan is read, None if there is none: what fails then is that modality's alone."""
        scans = (need.removeprefix("scan:") for need in self.needs if need.startswith("scan:"))
        return next((modality for modality in scans if modality != "T1w"), None)


def parse_need(need: str) -> tuple[tuple[str, ...], int]:
    """Names in a need, and how many of them must be there.

    >>> parse_need("template"), parse_need("FLAIR?"), parse_need("one|two")
    ((('template',), 1), (('FLAIR',), 0), (('one', 'two'), 1))
    """
    return ((need[:-1],), 0) if need.endswith("?") else (tuple(need.split("|")), 1)


def is_root(name: str) -> bool:
    """Whether a need comes from outside of the output folder.

    >>> is_root("scan:T1w"), is_root("template")
    (True, False)
    """
    return ":" in name


def needed_stages(stage: Stage) -> list[str]:
    """Names of the stages that a stage needs, whether they must be there or not."""
    return [name for need in stage.needs for name in parse_need(need)[0] if not is_root(name)]


def in_order(stages: Iterable[Stage]) -> tuple[Stage, ...]:
    """Stages after those that they need, else in the order given.

    Raises
    ------
    ValueError
        If two have one name, a need is none of them, or they need each other in a circle.
    """
    stages = tuple(stages)
    known = {stage.name: stage for stage in stages}
    if len(known) < len(stages):
        raise ValueError(f"Two stages have one name: {', '.join(stage.name for stage in stages)}.")
    for stage in stages:
        missing = [name for name in needed_stages(stage) if name not in known]
        if missing:
            raise ValueError(f"The stage {stage.name} needs {', '.join(missing)}, which no stage makes.")
    TopologicalSorter({stage.name: needed_stages(stage) for stage in stages}).prepare()  # a circle is a ValueError
    ordered: dict[str, Stage] = {}

    def add(stage: Stage) -> None:
        for name in needed_stages(stage):
            add(known[name])
        ordered.setdefault(stage.name, stage)

    for stage in stages:
        add(stage)
    return tuple(ordered.values())


def those_that_need(name: str, stages: Iterable[Stage]) -> list[Stage]:
    """Stages of `in_order` that need one, or need one that needs it."""
    reached, found = {name}, []
    for stage in stages:
        if reached & set(needed_stages(stage)):
            reached.add(stage.name)
            found.append(stage)
    return found


def with_needs(names: Collection[str], stages: Iterable[Stage]) -> list[Stage]:
    """Of some stages those of these names, and all that they need."""
    known = {stage.name: stage for stage in stages}
    wanted, asked = set(), list(names)
    while asked:
        name = asked.pop()
        if name not in wanted:
            wanted.add(name)
            asked += needed_stages(known[name])
    return [stage for stage in known.values() if stage.name in wanted]


def fingerprint(stage: Stage, settings: object, needs: Mapping[str, str | None]) -> str:
    """Digest of all that decides what a stage makes.

    Parameters
    ----------
    stage : Stage
        Its name, its revision and its needs count.
    settings : Settings
        Of which the used fields count.
    needs : mapping
        Fingerprint of everything that the stage needs, by name; None or nothing for what is not there.

    Returns
    -------
    str
        64 hexadecimal digits.
    """
    used = {name: getattr(settings, name) for name in sorted(stage.settings_used)}
    known = sorted({name: needs.get(name) for need in stage.needs for name in parse_need(need)[0]}.items())
    return hashlib.sha256(json.dumps([stage.name, stage.revision, used, known]).encode()).hexdigest()


def is_finished(stage: Stage, digest: str, out_dir: Path, session: Session) -> bool:
    """Whether all outputs are there (files appear whole or not at all) and were made from what the fingerprint says."""
    carried = read_carried(stage.outputs[-1], out_dir, session)
    if carried.get(FINGERPRINT) != digest:
        return False
    not_made = carried.get(NOT_MADE, [])
    wanted = [output for output in stage.outputs if not (output.optional and output.path(out_dir, session).name in not_made)]
    return all(_exists(output, out_dir, session) for output in wanted)


def stored_fingerprint(stage: Stage, out_dir: Path, session: Session) -> str | None:
    """The fingerprint from which the outputs were made, None if the stage was not finished."""
    return read_carried(stage.outputs[-1], out_dir, session).get(FINGERPRINT)


def mark_finished(stage: Stage, digest: str, out_dir: Path, session: Session) -> None:
    """Write the fingerprint, once all outputs are there.

    Raises
    ------
    FileNotFoundError
        If one is not.
    """
    missing = [output for output in stage.outputs if not _exists(output, out_dir, session)]
    for output in missing:
        if not output.optional:
            raise FileNotFoundError(f"The stage {stage.name} did not write {output.path(out_dir, session)}.")
    last = stage.outputs[-1]
    content = read_sidecar(last, out_dir, session)
    carrier = content[ENTRIES][last.entry] if last.entry else content
    carrier.pop(NOT_MADE, None)
    if missing:
        carrier[NOT_MADE] = [output.path(out_dir, session).name for output in missing]
    carrier[FINGERPRINT] = digest
    sink_json(content, sidecar_path(last.path(out_dir, session)))


def discard(stage: Stage, out_dir: Path, session: Session) -> None:
    """Remove the outputs of a stage, the last first, so that nothing stale is taken for a result."""
    for output in reversed(stage.outputs):
        path = output.path(out_dir, session)
        entries = read_entries(output, out_dir, session)
        if output.entry:
            if entries.pop(output.entry, None) is not None:
                write_entries(output, out_dir, session, entries)
            continue
        path.unlink(missing_ok=True)
        if entries:
            sink_json({ENTRIES: entries}, sidecar_path(path))  # those are outputs of other stages
        else:
            sidecar_path(path).unlink(missing_ok=True)


def read_sidecar(output: Output, out_dir: Path, session: Session) -> dict[str, Any]:
    """The sidecar of a file; empty if it is not there, or is no JSON any more."""
    return read_json_object(sidecar_path(output.path(out_dir, session)))[0]


def read_entries(output: Output, out_dir: Path, session: Session) -> dict[str, dict[str, Any]]:
    """The entries in the sidecar of a file, by name."""
    entries = read_sidecar(output, out_dir, session).get(ENTRIES)
    return {name: entry for name, entry in entries.items() if isinstance(entry, dict)} if isinstance(entries, dict) else {}


def write_entries(output: Output, out_dir: Path, session: Session, entries: Mapping[str, Any]) -> None:
    """Write the entries in the sidecar of a file; all else in it stays. A sidecar that would be empty goes."""
    path = sidecar_path(output.path(out_dir, session))
    content = {key: value for key, value in read_sidecar(output, out_dir, session).items() if key != ENTRIES}
    content = content | ({ENTRIES: dict(entries)} if entries else {})
    if content:
        sink_json(content, path)
    else:
        path.unlink(missing_ok=True)


def read_carried(output: Output, out_dir: Path, session: Session) -> dict[str, Any]:
    """What carries the fingerprint: the sidecar of an output, or its entry in one."""
    return read_entries(output, out_dir, session).get(output.entry, {}) if output.entry else read_sidecar(output, out_dir, session)


def _exists(output: Output, out_dir: Path, session: Session) -> bool:
    if output.entry:
        return bool(read_carried(output, out_dir, session))
    return output.path(out_dir, session).is_file()
