"""How long the group level takes, and how much memory, on generated outputs.

    python benchmarks/group_scale.py FOLDER [--participants N]

FOLDER is a dataset of `brainage-phantom --tables-only`; it is made if it does not exist. Printed are wall and processor seconds of
collecting, age bias and intervals, accuracy, groups, and the page with these alone, then of a whole run, and the largest memory.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from brainage_bids.group import accuracy, correction, groups
from brainage_bids.group.cohort import read_cohort
from brainage_bids.group.page import write_report
from brainage_bids.group.results import Report
from brainage_bids.group.run import Outcome, run_group, write_cohort
from brainage_bids.settings import GroupSettings


def timed(name: str, work: Callable[[], Any]) -> Any:
    """Call, print what it took."""
    wall, processor = time.perf_counter(), time.process_time()
    result = work()
    taken = time.perf_counter() - wall, time.process_time() - processor
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    print(f"{name:<28}{taken[0]:8.1f} s wall {taken[1]:8.1f} s processor {memory:6.2f} GB so far", flush=True)
    return result


def main() -> int:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--participants", type=int, default=10_000)
    options = parser.parse_args()
    if not options.folder.exists():
        words = ["--tables-only", "--participants", str(options.participants), "--patients", str(options.participants // 5), "--sites", "4"]
        subprocess.run([sys.executable, "-m", "brainage_bids.cli.phantom", str(options.folder), *words], check=True)
    out_dir = options.folder / "derivatives" / "brainage"
    settings = GroupSettings(str(options.folder.resolve()), str(out_dir.resolve()), reference="group == 'control'")
    start = time.perf_counter(), time.process_time()
    cohort = timed("collect, join, check", lambda: read_cohort(settings))
    cohort, results, _ = timed("age bias, intervals, sites", lambda: correction.corrected(cohort))
    results += timed("accuracy", lambda: accuracy.accuracy(cohort))
    results += timed("groups", lambda: groups.compared_groups(cohort))
    timed("group_brainage.tsv", lambda: write_cohort(cohort, out_dir))
    timed("page", lambda: write_report(Outcome(cohort, Report(list(results)), False, False), out_dir))
    print(f"these together{time.perf_counter() - start[0]:22.1f} s wall {time.process_time() - start[1]:8.1f} s processor")
    cohort = timed("again: collect, join, check", lambda: read_cohort(settings))
    outcome = timed("all steps and tables", lambda: run_group(cohort, out_dir))
    timed("page with everything", lambda: write_report(outcome, out_dir))
    print(f"{len(cohort.people(cohort.models[0]))} participants, {len(cohort.table)} estimates, {len(outcome.report.results)} tables")
    return 0


if __name__ == "__main__":
    sys.exit(main())
