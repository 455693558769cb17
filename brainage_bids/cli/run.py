"""A participant run: find the scans, give every participant a process, say what came of it."""

from __future__ import annotations

import argparse
import csv
import logging
import os
import secrets
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from brainage_bids import __version__
from brainage_bids.cli.children import Outcome, run_all
from brainage_bids.cli.failures import write_failures
from brainage_bids.cli.logs import log_to_file, log_to_stderr
from brainage_bids.cli.options import check_folders, settings_of
from brainage_bids.settings import Settings
from brainage_bids.workflows.run_models import phenotype_columns, with_models

NOTHING = 66
LOGGER = logging.getLogger("brainage")


def run(options: argparse.Namespace) -> int:
    """Run what the options ask for and return the exit code.

    Raises
    ------
    BadDataset, BadConfiguration
        If nothing can be done at all.
    """
    log_to_stderr(options.verbose)
    settings = settings_of(options)
    inventory = find(settings, () if options.dry_run else phenotype_columns(settings))
    for problem in inventory.problems:
        LOGGER.warning("%s", problem)
    if options.dry_run:
        writer = csv.DictWriter(sys.stdout, fieldnames=_columns(), delimiter="\t", lineterminator="\n")
        writer.writeheader()
        writer.writerows(inventory.rows())
        return 0 if inventory.participants else _nothing(settings)
    check_folders(settings)
    settings = with_models(replace(settings, omp_nthreads=settings.omp_nthreads or _share(settings.nprocs)))
    run_dir = start_run(settings)
    if options.boilerplate_only:
        return 0
    for item in inventory.skipped:
        level = logging.INFO if item.file else logging.WARNING  # a file that was not chosen is no news, a person left out is
        LOGGER.log(level, "left out: %s %s", " ".join(filter(None, (item.participant_id, item.session_id))), item.reason)
    write_failures(Path(settings.out_dir), inventory.failures)
    if not inventory.participants:
        for failure in inventory.failures:
            LOGGER.error("%s: %s", failure.participant_id, failure.message)
        return _nothing(settings)
    outcomes = run_all(inventory, settings, run_dir, reports_only=options.reports_only, clean=settings.clean_workdir)
    return summarise(outcomes, len(inventory.failures), len(inventory.participants))


def find(settings: Settings, columns: Sequence[str] = ()):
    """The inventory of the dataset, with the values of these columns of its phenotype tables."""
    from brainage_bids.bids.query import collect
    from brainage_bids.bids.reuse import parse_derivatives

    return collect(
        settings.bids_dir,
        participant_labels=settings.participant_labels,
        session_labels=settings.session_labels,
        bids_filters=settings.bids_filter_file or None,
        phenotype_files=settings.phenotype,
        database_dir=settings.bids_database_dir or None,
        derivatives=parse_derivatives(settings.derivatives),
        columns=columns,
    )


def start_run(settings: Settings) -> Path:
    """Write what describes the dataset and the run, and return the folder of its logs."""
    from brainage_bids.bids.dataset import write_dataset_description
    from brainage_bids.bids.reuse import parse_derivatives
    from brainage_bids.bids.sink import sink_text
    from brainage_bids.models.registry import find_model
    from brainage_bids.reports.boilerplate import DEFAULT_STEPS, model_notes, model_steps, write_citation, write_methods

    out_dir = Path(settings.out_dir)
    write_dataset_description(out_dir, Path(settings.bids_dir), __version__, derivatives=parse_derivatives(settings.derivatives))
    run_id = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"
    run_dir = out_dir / "logs" / run_id
    sink_text(settings.to_toml(), run_dir / "config.toml")
    cards = [find_model(name, settings.model_dirs).card for name in settings.models]
    write_citation(out_dir, write_methods([*DEFAULT_STEPS, *model_steps(cards)], notes=model_notes(cards)))
    log_to_file(run_dir / "brainage.log")
    return run_dir


def summarise(outcomes: list[Outcome], never_started: int, asked: int) -> int:
    """Say what came of the participants; 0 if all are done, else 1."""
    done = sum(outcome.done for outcome in outcomes)
    busy = sum(outcome.busy for outcome in outcomes)
    failed, waiting = len(outcomes) - done - busy + never_started, asked - len(outcomes)
    parts = [f"{done} of {asked + never_started} participants done", f"{failed} failed"]
    parts += [f"{busy} left to another run"] * bool(busy) + [f"{waiting} not started"] * bool(waiting)
    LOGGER.warning("%s", ", ".join(parts))
    return 0 if done == asked and not never_started else 1


def _nothing(settings: Settings) -> int:
    LOGGER.error("Nothing was found to process in %s.", settings.bids_dir)
    return NOTHING


def _columns() -> tuple[str, ...]:
    from brainage_bids.bids.inventory import ROW_COLUMNS

    return ROW_COLUMNS


def _share(nprocs: int) -> int:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    return max(1, cores // nprocs)
