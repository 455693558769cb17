"""The group run: collect, check, correct, take the steps one after another, write every table."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from brainage_bids.bids.sidecars import table_columns
from brainage_bids.bids.sink import sink_table
from brainage_bids.bids.tables import read_json_object
from brainage_bids.group import (
    accuracy,
    associations,
    correction,
    described,
    ensembles,
    fusion,
    groups,
    harmonise,
    lesions,
    model_outputs,
    paths,
    regions,
    regressors,
    seeds,
    sessions,
)
from brainage_bids.group.adjust import about_lacking
from brainage_bids.group.cohort import Cohort, columns_of
from brainage_bids.group.fitted import INDEX, KINDS, Store, open_store, refuse_own_folder, write_index
from brainage_bids.group.own_columns import CORRECTION, HARMONISED
from brainage_bids.group.results import SECTION, Report, Result, describe_columns, table, table_names, write_result
from brainage_bids.records import BadConfiguration, UnusableInput
from brainage_bids.reports.group_content import SCATTERS

LOGGER = logging.getLogger("brainage")

FITTED = tuple(f"{kind}_" for kind in KINDS)
"""How names of saved objects begin."""
EVERYONE = "group_brainage"
"""Name of the table of all rows."""
Step = Callable[[Cohort], list[Result]]
STEPS: Mapping[str, Step] = {
    "accuracy": accuracy.accuracy,
    "models compared": accuracy.compared,
    "errors by age": accuracy.by_age,
    "errors by bins of age": accuracy.by_bins,
    "groups": groups.compared_groups,
    "groups described": described.described,
    "trained networks": seeds.errors,
    "groups by trained networks": seeds.groups,
    "models of the gap": groups.formula_models,
    "associations": associations.phenotype,
    "regions": regions.regions,
    "contributions of structures": regions.contributions,
    "tables of models": model_outputs.tables,
    "maps of models": model_outputs.maps,
    "reliability": sessions.reliability,
    "reliability of regions": sessions.regions,
    "change": sessions.change,
    "mediation": paths.mediation,
    "principal components": paths.components,
    "regressors": regressors.regressors,
}
"""Steps in their order, beside collecting, quality, correction and fusion, which give more than tables."""


@dataclass(frozen=True)
class Outcome:
    """What a run left.

    Attributes
    ----------
    cohort : Cohort
    report : Report
    asked_failed : bool
        Whether something that a setting asked for could not be done.
    broken : bool
        Whether a step met an error of ours.
    """

    cohort: Cohort
    report: Report
    asked_failed: bool
    broken: bool


def run_group(cohort: Cohort, out_dir: Path) -> Outcome:
    """Take every step and write every table; the page is drawn from what this leaves.

    Parameters
    ----------
    cohort : Cohort
        Of `cohort.read_cohort`.
    out_dir : Path
        The output folder.

    Raises
    ------
    OSError
        If a file cannot be written.
    BadConfiguration
        If ``--fitted`` names the output folder itself.
    """
    report = Report(warnings=list(cohort.warnings))
    before = len(cohort.warnings)
    report.warnings += about_lacking(cohort)
    refuse_own_folder(cohort, out_dir)
    clear(out_dir)
    if cohort.table.empty:
        report.problems.append(("everything", _NOBODY))
        report.warnings.insert(0, _NOBODY)
    else:
        cohort = _steps(cohort, out_dir, report)
    report.warnings += list(dict.fromkeys(cohort.warnings[before:]))
    _tried(f"{EVERYONE}.tsv", lambda: write_cohort(cohort, out_dir), report)
    _keep(out_dir, _people(cohort), report)
    _keep(out_dir, _problems(cohort, report), report)  # last, as it tells what became of the others
    broken = any(problem.startswith(_OURS) for _, problem in report.problems)
    return Outcome(cohort, report, bool(report.failed_settings), broken)


_NOBODY = "No estimate has both a brain age and an age, so nothing is compared; give ages in participants.tsv, sessions.tsv or --phenotype."
_OURS = "An error of brainage itself"


def _steps(cohort: Cohort, out_dir: Path, report: Report) -> Cohort:
    cohort = _tried("lesion load", lambda: lesions.with_load(cohort), report) or cohort
    store = _tried("fitted objects", lambda: open_store(cohort), report)
    if store or not cohort.settings.fitted:
        cohort = _corrected(cohort, out_dir, report, store)
    quality = _tried("quality", lambda: associations.quality(cohort), report)
    if quality is not None:
        _keep(out_dir, quality[0], report)
        report.warnings[:0] = quality[1]
    if cohort.settings.formula:
        _tried("formula", lambda: groups.check_formulas(cohort), report)
    for name, step in STEPS.items():
        _keep(out_dir, _tried(name, lambda step=step: step(cohort), report) or [], report)
    return cohort


def _corrected(cohort: Cohort, out_dir: Path, report: Report, store: Store | None) -> Cohort:
    """The cohort with the fused age, corrections and harmonisation: all that is fitted on reference people or taken from a store."""
    fused = _tried("fusion", lambda: fusion.fusion(cohort, out_dir, store), report)
    if fused is not None:
        cohort = fused.cohort
        _keep(out_dir, fused.results, report)
    if cohort.settings.ensembles:
        _tried("ensembles", lambda: ensembles.check_names(cohort), report)
    parts: list[tuple[str, Callable[[Cohort, Path, Store | None], Any]]]
    parts = [("ensembles", partial(ensembles.ensembles, fused=fused)), ("corrections", correction.corrected)]
    parts += [("harmonisation", harmonise.harmonised)] if cohort.settings.harmonise != "none" else []
    for name, work in parts:
        found = _tried(name, lambda work=work, cohort=cohort: work(cohort, out_dir, store), report)
        if found is not None:
            cohort, results, problems = found
            report.problems += [(name, problem) for problem in problems]
            report.warnings += correction.coverage_warnings(results)
            _keep(out_dir, results, report)
    if store is None:
        write_index(out_dir, cohort, fused.families if fused else {})
    return cohort


def clear(out_dir: Path) -> None:
    """Remove what an earlier run wrote, so that no table is left of a step that cannot be done now; nothing else is touched."""
    for ending in (".tsv", ".json"):
        (out_dir / f"{EVERYONE}{ending}").unlink(missing_ok=True)
    folder = out_dir / "group"
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if path.suffix in (".tsv", ".json", ".svg") and (
            path.stem in {*table_names(), *KINDS, *SCATTERS, INDEX} or path.stem.startswith(FITTED)
        ):
            path.unlink()
    for path in sorted(folder.glob("*.json")):
        if SECTION in read_json_object(path)[0]:
            for ending in (".tsv", ".json", ".svg"):
                path.with_suffix(ending).unlink(missing_ok=True)


def write_cohort(cohort: Cohort, out_dir: Path) -> Path:
    """Write ``OUT/group_brainage.tsv``: one row a participant, session and model, those left out too, with the reason."""
    frame = cohort.everyone.copy()
    keys = ["participant_id", "session_id", "model"]
    added = [name for name in (*CORRECTION, HARMONISED) if name in cohort.table]
    if added:
        kept = frame["excluded"].isna()
        values = cohort.table[added]
        values.index = frame.index[kept]
        frame = frame.join(values)
    last = (*cohort.phenotype, *cohort.quality, *cohort.regions, *cohort.contributions)
    names = [name for name in frame if name not in ("age_in_outputs", *last)]
    columns = columns_of(frame, [*keys, *(name for name in names if name not in keys), *last])
    described = {**table_columns("brainage"), **{name: _json(told) for name, told in cohort.descriptions.items()}}
    about = {"Description": "One row a participant, session and model; rows with a value in 'excluded' take no part in the statistics."}
    rows = [dict(zip(columns, values)) for values in zip(*columns.values())]
    return sink_table(rows, out_dir / f"{EVERYONE}.tsv", describe_columns(list(columns), described), sidecar=about)


def _json(told: Mapping[str, Any]) -> dict[str, Any]:
    return dict(told) if isinstance(told.get("Description"), str) else {**told, "Description": "Column of a phenotype table."}


def _keep(out_dir: Path, results: list[Result], report: Report) -> None:
    """Write tables and take those that were written into the report."""
    for result in results:
        if result.rows and _tried(f"{result.name}.tsv", lambda result=result: write_result(out_dir, result), report) is not None:
            report.results.append(result)


def _people(cohort: Cohort) -> list[Result]:
    about = "How many people and rows are left after each reason to leave some out."
    return [
        table("participants_flow", "Flow of participants", about, cohort.flow),
        table("participants_missing", "Who is missing", "Visits without an estimate, and why.", cohort.missing),
    ]


def _problems(cohort: Cohort, report: Report) -> list[Result]:
    problems = [{"part": "files and tables", "problem": problem} for problem in cohort.problems]
    problems += [{"part": part, "problem": problem} for part, problem in report.problems]
    about = "Parts of the run that could not be done, or were odd, and why."
    return [table("problems", "What could not be done", about, problems)]


def _tried(name: str, work: Callable[[], Any], report: Report) -> Any:
    """The result of a step; None and a sentence in the report if it cannot be done, so that the others go on."""
    LOGGER.info("group: %s", name)
    try:
        return work()
    except UnusableInput as error:
        report.problems.append((name, str(error)))
    except BadConfiguration as error:
        report.problems.append((name, str(error)))
        report.failed_settings.append(str(error))
        LOGGER.error("%s", error)
    except OSError:
        raise
    except Exception as error:  # a fault of ours must not take the other steps with it; it is shown in full and ends the run with 70
        LOGGER.error("The step '%s' met an error of brainage itself:\n%s", name, traceback.format_exc())
        report.problems.append((name, f"{_OURS} ({type(error).__name__}: {error}); please report it with the log."))
    return None
