"""A group run: read what the participants wrote, take the steps, write tables and the report."""

from __future__ import annotations

import argparse
import csv
import logging
import secrets
import sys
from datetime import UTC, datetime
from pathlib import Path

from brainage_bids import __version__
from brainage_bids.bids.dataset import write_dataset_description
from brainage_bids.bids.sink import sink_text
from brainage_bids.cli.logs import log_to_file, log_to_stderr
from brainage_bids.cli.options import group_settings_of
from brainage_bids.group.cohort import Cohort, read_cohort
from brainage_bids.group.page import write_report
from brainage_bids.group.run import Outcome, run_group
from brainage_bids.records import BadConfiguration
from brainage_bids.settings import GroupSettings

FAILED, NOTHING, INTERNAL, BAD_SETTING = 1, 66, 70, 78
LOGGER = logging.getLogger("brainage")


def run(options: argparse.Namespace) -> int:
    """Run what the options ask for and return the exit code: 0, 1 (no estimate can be used), 66, 70 or 78 (part of it was done).

    Raises
    ------
    BadDataset, BadConfiguration
        If nothing can be done at all.
    """
    log_to_stderr(options.verbose)
    for option in ("reports_only", "boilerplate_only"):
        if getattr(options, option):
            raise BadConfiguration(f"The group level writes its report with its tables; leave --{option.replace('_', '-')} out.")
    settings = group_settings_of(options)
    cohort = read_cohort(settings)
    for problem in cohort.problems:
        LOGGER.warning("%s", problem)
    if cohort.everyone.empty:
        LOGGER.error("There is no brain age in %s; run the participant level first.", settings.out_dir)
        return NOTHING
    if options.dry_run:
        _print_flow(cohort)
        return 0
    start_run(settings)
    outcome = run_group(cohort, Path(settings.out_dir))
    write_report(outcome, Path(settings.out_dir))
    return summarise(outcome)


def start_run(settings: GroupSettings) -> Path:
    """Write what describes the dataset and the run, and return the folder of its logs."""
    out_dir = Path(settings.out_dir)
    write_dataset_description(out_dir, Path(settings.bids_dir), __version__)
    run_dir = out_dir / "logs" / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}-group"
    sink_text(settings.to_toml(), run_dir / "config.toml")
    log_to_file(run_dir / "brainage.log")
    return run_dir


def summarise(outcome: Outcome) -> int:
    """Say what came of it; the exit code."""
    for warning in outcome.report.warnings:
        LOGGER.warning("%s", warning)
    for step, problem in outcome.report.problems:
        LOGGER.info("%s: %s", step, problem)
    people, rows = outcome.cohort.table["participant_id"].nunique(), len(outcome.cohort.table)
    tables, undone = len(outcome.report.results), len(outcome.report.problems)
    LOGGER.warning(
        "%d participants, %d estimates, %d tables of results; %d part(s) could not be done (see the report)", people, rows, tables, undone
    )
    if outcome.broken:
        return INTERNAL
    if outcome.asked_failed:
        return BAD_SETTING
    return FAILED if outcome.cohort.table.empty else 0


def _print_flow(cohort: Cohort) -> None:
    writer = csv.DictWriter(sys.stdout, fieldnames=list(cohort.flow[0]), delimiter="\t", lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: "n/a" if value is None else value for name, value in row.items()} for row in cohort.flow)
