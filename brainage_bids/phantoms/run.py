"""Making a cohort: who is done, who is to do, in how many processes."""

from __future__ import annotations

import hashlib
import os
import signal
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from functools import lru_cache, partial
from itertools import islice
from multiprocessing import active_children, get_context
from pathlib import Path
from typing import Any

from brainage_bids.bids.sink import sweep_stale
from brainage_bids.files import IMAGE, read_bytes
from brainage_bids.imaging.volumes import read_regions
from brainage_bids.phantoms import normalised
from brainage_bids.phantoms import render as rendering
from brainage_bids.phantoms.ageing import lesion_volume, target_volumes
from brainage_bids.phantoms.cohort import Cohort, is_stripped
from brainage_bids.phantoms.design import Design
from brainage_bids.phantoms.people import Visit
from brainage_bids.phantoms.simulated import Writer
from brainage_bids.phantoms.tables import blood_rows, participant_row, truth_row, write_folder, write_raw_tables, write_truth_table
from brainage_bids.phantoms.write import (
    TABLES,
    TRUTH,
    check_place,
    is_complete,
    read_parameters,
    write_effects,
    write_model_space,
    write_roots,
    write_visit,
)
from brainage_bids.records import BadConfiguration, UnusableInput

Progress = Callable[[int, int], None]
Task = tuple[int, int]
"""Numbers of a person and of a visit; or of the first person of a chunk and of the one after its last."""
Rows = tuple[list[dict[str, Any]], list[dict[str, Any]], list[dict[str, Any]]]
CHUNK = 250
"""People whose tables are one task."""


def make_cohort(out: Path, design: Design, *, anatomies: Path | None = None, jobs: int = 1, progress: Progress | None = None) -> int:
    """Write a cohort of heads; one that is interrupted goes on where it stopped.

    Parameters
    ----------
    out : Path
        A new or empty folder, or one with the same cohort.
    design : Design
        What is asked for.
    anatomies : Path, optional
        Folder of whole-head label maps; its content must be that of ``design.anatomies``.
    jobs : int
        Processes at once. The bytes do not depend on it.
    progress : callable, optional
        Told how many visits of how many are done.

    Returns
    -------
    int
        How many visits were made now.

    Raises
    ------
    BadConfiguration
        If the folder holds something else.
    UnusableInput
        If a process was ended from outside.
    """
    resumed = check_place(out, design)
    if is_complete(out) and design.tables_only:
        return 0
    people = Cohort(design)
    if resumed:
        sweep_stale(out)
    told = progress or (lambda done, total: None)
    write_effects(out, design)
    if design.tables_only:
        made = _write_tables(out, people, jobs, told)
    else:
        made = _render_all(out, people, anatomies, jobs, told)
        write_truth_table(out / TRUTH, _truth_rows(out, people))
    if resumed:
        sweep_stale(out)  # a process of the killed run may have been dying still when this one began
    os.sync()
    write_roots(out, design)
    return made


def fingerprint_of(anatomies: Path) -> str:
    """SHA-256 over the names and bytes of the label maps in a folder.

    Raises
    ------
    BadConfiguration
        If there are none.
    """
    paths = sorted(path for path in anatomies.glob("*.nii*")) if anatomies.is_dir() else []
    if not paths:
        raise BadConfiguration(f"There are no label maps (*.nii.gz) in {anatomies}; check --anatomies.")
    digest = hashlib.sha256()
    for path in paths:
        digest.update(path.name.encode() + b"\0" + hashlib.sha256(read_bytes(path, IMAGE)).digest())
    return digest.hexdigest()


def volumes_of(visit: Visit) -> dict[str, float]:
    """Volumes of a visit by the laws alone, mL: the truth where nothing is painted."""
    return {**target_volumes(visit), "lesions": lesion_volume(visit)}


def _write_tables(out: Path, people: Cohort, jobs: int, told: Progress) -> int:
    design, total = people.design, len(people)
    Writer(out / TABLES, people, {}).write_shared()
    chunks = [(start, min(start + CHUNK, total)) for start in range(0, total, CHUNK)]
    rows: dict[int, Rows] = {}
    for (start, _), made in _work(partial(_tabulate, out, design), jobs, chunks):
        rows[start] = made
        told(min(CHUNK * len(rows), total), total)
    participants, taken, truth = ([row for start in sorted(rows) for row in rows[start][kind]] for kind in range(3))
    write_raw_tables(out, design, participants, taken)
    write_truth_table(out / TRUTH, truth)
    return len(truth)


def _tabulate(out: Path, design: Design, chunk: tuple[int, int]) -> Rows:
    """Write the tables of some people; rows of participants.tsv, of the blood and of the truth are handed back."""
    people = _cohort(design)
    regions = {region.index: (region.name, region.hemisphere, region.tissue) for region in read_regions()}
    writer = Writer(out / TABLES, people, regions)
    participants, taken, truth = [], [], []
    for person in map(people.person, range(*chunk)):
        volumes = [volumes_of(visit) for visit in person.visits]
        write_folder(out, design, person)
        writer.write_person(person, volumes)
        participants.append(participant_row(person))
        taken += blood_rows(person)
        truth += [truth_row(person, visit, each) for visit, each in zip(person.visits, volumes)]
    return participants, taken, truth


def _truth_rows(out: Path, people: Cohort) -> Iterator[Mapping[str, Any]]:
    for person in people:
        for visit in person.visits:
            record = read_parameters(out, people.design, visit)
            if record is None:
                raise UnusableInput(f"Files of {visit.stem} were removed or changed while the cohort was made; run the same command again.")
            yield truth_row(person, visit, record["volumes"])


def _render_all(out: Path, people: Cohort, anatomies: Path | None, jobs: int, told: Progress) -> int:
    design, participants, taken, todo = people.design, [], [], []
    for person in people:
        write_folder(out, design, person)
        participants.append(participant_row(person))
        taken += blood_rows(person)
        todo += [(person.number, k) for k, visit in enumerate(person.visits) if read_parameters(out, design, visit) is None]
    write_raw_tables(out, design, participants, taken)
    total = len(people) * design.sessions
    done = total - len(todo)
    told(done, total)
    for _ in _work(partial(_make, out, design, anatomies), jobs, todo):
        done += 1
        told(done, total)
    return len(todo)


def _work(function: Callable[[Task], Any], jobs: int, todo: list[Task]) -> Iterator[tuple[Task, Any]]:
    """Do tasks and give each with its result when it is done; no more than two a process wait in the queue."""
    jobs = min(jobs, len(todo))
    if jobs <= 1:
        for task in todo:
            yield task, function(task)
        return
    tasks, others = iter(todo), set(active_children())
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), initializer=_leave_interrupts_to_the_parent) as pool:

        def send(count: int) -> dict[Future, Task]:
            return {pool.submit(function, task): task for task in islice(tasks, count)}

        waiting = send(2 * jobs)
        try:
            while waiting:
                for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                    yield waiting.pop(future), future.result()
                    waiting |= send(1)
        except BrokenProcessPool as error:
            raise UnusableInput(
                "A process was ended from outside, as happens when memory runs out; finished visits stay. "
                "Run the same command with fewer --jobs."
            ) from error
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for child in set(active_children()) - others:  # nobody waits for what is not wanted any more
                child.terminate()
            raise


def _leave_interrupts_to_the_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@lru_cache(maxsize=2)
def _cohort(design: Design) -> Cohort:
    return Cohort(design)


def _make(out: Path, design: Design, anatomies: Path | None, task: Task) -> None:
    """Make one visit, in whatever process."""
    number, k = task
    visit = _cohort(design).person(number).visits[k]
    if design.model_space:
        stripped = is_stripped(design, number)
        maps = normalised.model_space(visit, design.model_space, anatomies=anatomies, stripped=stripped)
        write_model_space(out, design, visit, maps, volumes_of(visit), stripped=stripped)
    else:
        write_visit(out, design, visit, rendering.render(visit, design.modalities, anatomies=anatomies, threads=1))
