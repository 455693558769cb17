"""What the page of the run shows, taken from cohort and report."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from brainage_bids import __version__
from brainage_bids.group.associations import measures_of, numbers_of, quotients
from brainage_bids.group.cohort import Cohort, columns_of
from brainage_bids.group.results import Result
from brainage_bids.group.run import Outcome
from brainage_bids.group.sessions import retests
from brainage_bids.reports.group_content import GroupView, ResultView
from brainage_bids.reports.group_page import write_group_page
from brainage_bids.stats.comparisons import shown
from brainage_bids.stats.rows import labels


def write_report(outcome: Outcome, out_dir: Path) -> Path:
    """Write ``OUT/group.html`` and the pictures."""
    return write_group_page(group_view(outcome), out_dir, version=__version__, run_settings=outcome.cohort.settings.to_toml())


def group_view(outcome: Outcome) -> GroupView:
    """Everything a page shows."""
    cohort, report = outcome.cohort, outcome.report
    first = cohort.models[0]
    people = cohort.people(first)
    names = [name for name in ("age", "brain_age", "pad", "pad_corrected", "sex", "site", "reference") if name in people]
    columns = columns_of(people, names)
    if cohort.group_column:
        columns["group"] = list(labels(people[cohort.group_column]))
    results = {result.name: _view(result) for result in report.results}
    settings = {name: getattr(cohort.settings, name) for name in ("reference", "where", "bias_correction", "permutation")}
    settings["group_column"] = cohort.group_column
    pairs = [(one["pad"], other["pad"]) for one, other in retests(cohort, first)] if len(cohort.table) else []
    problems = [("files and tables", problem) for problem in cohort.problems] + list(report.problems)
    measures = measures_of(people, numbers_of(cohort))
    measures |= quotients(measures)
    return GroupView(cohort.models, columns, pairs, results, facts(cohort), report.warnings, problems, settings, measures)


def _view(result: Result) -> ResultView:
    view = ResultView(result.name, result.title, result.about, result.rows)
    place = result.place
    return view if place is None else replace(view, section=place.section, methods=place.methods, draw=place.draw)


def facts(cohort: Cohort) -> list[tuple[str, str]]:
    """The cohort at a glance: those who take part."""
    table = cohort.table
    people = table.drop_duplicates("participant_id")
    visits = table.drop_duplicates(["participant_id", "session_id"])
    found = [("Participants", f"{len(people)}"), ("Visits", f"{len(visits)}"), ("Without an estimate", f"{_people(cohort.missing)}")]
    if len(people):
        ages = people["age"].to_numpy(float)
        spread = f", standard deviation {ages.std(ddof=1):.1f}" if len(ages) > 1 else ""
        found.append(("Age at the first visit", f"{ages.min():.1f} to {ages.max():.1f} years, mean {ages.mean():.1f}{spread}"))
        for title, name in (("Sex", "sex"), ("Site", "site"), (f"Groups ({cohort.group_column})", cohort.group_column)):
            if name:
                found.append((title, _counts(list(labels(people[name])))))
        found.append(("Reference people", f"{people['reference'].sum()} ({shown(cohort.settings.reference) or 'everyone'})"))
        found.append(("Flagged", f"{visits['flags'].notna().sum()} of {len(visits)} visits"))
        found.append(("Outliers by gap", f"{table.loc[table['outlier'].astype(bool), 'participant_id'].nunique()} participants"))
    modality = cohort.everyone.drop_duplicates("model").set_index("model")["modality"].to_dict()
    found.append(("Models", ", ".join(f"{name} ({modality.get(name)})" for name in cohort.models)))
    return found


def _people(missing: list[dict]) -> str:
    people = {row["participant_id"] for row in missing}
    return f"{len(people)} participants ({len(missing)} visits)"


def _counts(values: list[str | None]) -> str:
    counts = {value: values.count(value) for value in sorted({value for value in values if value is not None})}
    missing = values.count(None)
    kinds = list(counts.items())
    words = [f"{name}: {count}" for name, count in kinds[:12]] + ([f"{len(kinds) - 12} more"] if len(kinds) > 12 else [])
    return ", ".join(words + ([f"not known: {missing}"] if missing else [])) or "not known"
