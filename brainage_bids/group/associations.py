"""The gap against everything else: phenotype, quality figures, windows of age."""

from __future__ import annotations

from collections.abc import Sequence

from brainage_bids.group.adjust import adjusting
from brainage_bids.group.cohort import Cohort, columns_of
from brainage_bids.group.fusion import NAME as FUSED
from brainage_bids.group.results import Result, labelled, table
from brainage_bids.records import UnusableInput
from brainage_bids.stats.anova import analysis_of_variance
from brainage_bids.stats.associations import associate, correlation_matrix
from brainage_bids.stats.corrections import correct
from brainage_bids.stats.rows import Row, labels
from brainage_bids.stats.windows import as_measure, sliding_windows

ALPHA = 0.05
NOTABLE_R = 0.1
"""A warning needs a correlation of this size beside its p: in thousands of people nothing is exactly 0."""
OF_THE_BRAIN = frozenset({"gm_ratio", "mask_volume_ml", "structures_outside_norms", "asymmetry", "ventricle_leak", "scalp_distance_mm"})
"""Quality figures that describe the head as much as the image: a gap may follow them in perfect images."""
MOST_COLUMNS = 60
FEWEST_IN_WINDOW = 20
_AMYLOID = (("abeta42", "abeta40"), ("abeta42", "ttau"))
"""Quotients of blood markers that are correlated beside the markers (Ren et al. 2021)."""
MOST_OVERLAID = 4


def phenotype(cohort: Cohort) -> list[Result]:
    """The gap of every model, and age, against every phenotype column; all pairs of columns; windows of age."""
    names = numbers_of(cohort)
    kinds = [name for name in cohort.categories() if name != cohort.group_column]
    if not names and not kinds:
        raise UnusableInput("The phenotype tables have no further column that varies, so the gap is associated with none.")
    rows: list[Row] = []
    of_kinds: list[Row] = []
    for model in cohort.models:
        people = cohort.people(model)
        if people.empty:
            continue
        measures = measures_of(people, names)
        measures |= quotients(measures)
        others = adjusting(cohort, people)
        columns = measures | columns_of(people, ["pad", "age"]) | others
        for outcome in ("pad", "age") if model == cohort.models[0] else ("pad",):
            own = [name for name in others if name != outcome]
            family = f"phenotype columns against {outcome}, {model}"
            rows += labelled(associate(columns, outcome, list(measures), covariates=own, family=family), model=model)
        tests = []
        for name in kinds:
            found = analysis_of_variance(columns["pad"], list(labels(people[name])), others, variable="pad")
            tests += labelled(found[:1], model=model, column=name, covariates=", ".join(others))
        of_kinds += correct(tests, "bh", family=f"phenotype columns of kinds, {model}")
    results = []
    if rows:
        about = (
            f"Correlation of the gap, and of age, with each phenotype column, plain and beyond {words_of(others)}, one row a person. "
            f"{_PLAIN if cohort.group_column in others else ''}Outliers have a modified z-score above 3.5."
        )
        results.append(table("associations", "Associations with the phenotype", about, rows))
    if of_kinds:
        about = f"ANCOVA of the gap beyond {words_of(others)} for phenotype columns of kinds."
        results.append(table("associations_kinds", "Gap by kinds", about, of_kinds))
    return [*results, *_matrix(cohort, names), *_windows(cohort, names)]


_PLAIN = "Plain ones hold the groups together, so what differs between groups correlates in them by that alone. "


def quotients(measures: dict[str, list]) -> dict[str, list]:
    """Aβ42/Aβ40 and Aβ42/T-tau where the columns are there.

    >>> quotients({"Abeta42": [10.0, None], "Abeta_40": [200.0, 1.0]})
    {'Abeta42/Abeta_40': [0.05, None]}
    """
    names = {"".join(letter for letter in name.lower() if letter.isalnum()): name for name in measures}
    found = {}
    for above, below in _AMYLOID:
        if above in names and below in names:
            pairs = zip(measures[names[above]], measures[names[below]])
            found[f"{names[above]}/{names[below]}"] = [None if None in pair or not pair[1] else pair[0] / pair[1] for pair in pairs]
    return found


def words_of(names: Sequence[str]) -> str:
    """Names in a sentence.

    >>> words_of(["age", "sex", "group"]), words_of([])
    ('age, sex and group', 'nothing')
    """
    names = list(names)
    return " and ".join([part for part in (", ".join(names[:-1]), *names[-1:]) if part]) or "nothing"


def quality(cohort: Cohort) -> tuple[list[Result], list[str]]:
    """The gap of every model against the quality figures, and a warning for each that it follows."""
    if not cohort.quality:
        raise UnusableInput("The outputs hold no quality figures, so whether the gap follows image quality is not known.")
    rows: list[Row] = []
    for model in cohort.models:
        people = cohort.people(model)
        if not people.empty:
            others = adjusting(cohort, people)
            columns = columns_of(people, [*cohort.quality, "pad"]) | others
            found = associate(columns, "pad", list(cohort.quality), covariates=list(others), family=f"quality figures, {model}")
            rows += labelled(found, model=model)
    about = "Correlation of the gap with each quality figure, plain and beyond covariates: a gap that follows quality is partly one of the "
    about += "images."
    return [table("quality", "Gap against image quality", about, rows)], [said for row in rows if (said := quality_warning(row))]


def quality_warning(row: Row) -> str:
    """The sentence for a gap that follows a quality figure; empty if it does not, or if the figure is one `OF_THE_BRAIN`.

    >>> quality_warning({"model": "m", "second": "qc_snr", "r_partial": -0.4, "p_partial_corrected": 0.001, "n": 50})
    'The gap of m follows the image quality: qc_snr, r = -0.40 beyond age (corrected p = 0.001, n = 50).'
    >>> quality_warning({"model": "m", "second": "qc_gm_ratio", "r_partial": -0.4, "p_partial_corrected": 0.001, "n": 50})
    ''
    """
    r, p = row.get("r_partial"), row.get("p_partial_corrected")
    figure = str(row["second"])
    if r is None or p is None or p >= ALPHA or abs(r) < NOTABLE_R or figure.removeprefix("qc_") in OF_THE_BRAIN:
        return ""
    return f"The gap of {row['model']} follows the image quality: {figure}, r = {r:.2f} beyond age (corrected p = {p:.2g}, n = {row['n']})."


def numbers_of(cohort: Cohort) -> list[str]:
    """Phenotype columns of numbers, or of two kinds, that vary; not that of the groups."""
    names = cohort.numeric() + [name for name in cohort.categories() if _two_kinds(cohort.table[name])]
    names = [name for name in names if name != cohort.group_column]  # groups are compared by a step of their own
    return [name for name in names if len({value for value in labels(cohort.table[name]) if value is not None}) > 1]


def _two_kinds(values) -> bool:
    return len({value for value in labels(values) if value is not None}) == 2


def measures_of(people, names: Sequence[str]) -> dict[str, list]:
    """Columns as numbers, two kinds as 0 and 1."""
    return {name: [None if value != value else float(value) for value in as_measure(people[name], name)] for name in names}


def _matrix(cohort: Cohort, names: list[str]) -> list[Result]:
    people = cohort.people(cohort.models[0])
    measures = measures_of(people, names[:MOST_COLUMNS])
    columns = columns_of(people, ["pad", "age"]) | measures | quotients(measures)
    others = {name: values for name, values in adjusting(cohort, people, age=False).items() if name == cohort.group_column}
    about = f"Correlations of all pairs of the gap of {cohort.models[0]}, age and phenotype columns{', within groups' * bool(others)}."
    if len(names) > MOST_COLUMNS:
        about += f" Of {len(names)} columns the first {MOST_COLUMNS}."
    return [table("correlations", "Correlation matrix", about, correlation_matrix(columns, covariates=others))]


def _windows(cohort: Cohort, names: list[str]) -> list[Result]:
    rows: list[Row] = []
    models, words = overlaid(cohort), ""
    for model in models:
        people = cohort.people(model)
        columns = columns_of(people, ["age", "pad"])
        adjust = adjusting(cohort, people, age=False)
        words = words or (words_of(adjust) if adjust else "")
        for name, values in measures_of(people, names[:MOST_COLUMNS]).items():
            if sum(value is not None for value in values) >= FEWEST_IN_WINDOW:
                how = {"variable": name, "covariates": adjust, "fewest": FEWEST_IN_WINDOW}
                rows += labelled(sliding_windows(columns["age"], columns["pad"], values, **how), model=model)
    if not rows:
        return []
    about = f"Correlation of the gap of {', '.join(models)} with each column in windows of ten years of age, plain"
    about += f" and beyond age, {words}." if words else " and beyond age."
    return [table("age_windows", "Windows of age", about, rows)]


def overlaid(cohort: Cohort) -> list[str]:
    """Models to be drawn over each other: the page's, ensembles, the fusion, then the others, a few in all."""
    made = [text.partition("=")[0] for text in cohort.settings.ensembles]
    names = dict.fromkeys([cohort.models[0], *(name for name in (*made, FUSED) if name in cohort.models), *cohort.models])
    return list(names)[:MOST_OVERLAID]
