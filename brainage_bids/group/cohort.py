"""The cohort: one table of estimates joined with everything that is known, checked, and who of it takes part."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from brainage_bids.group.collect import Collected, collect, some
from brainage_bids.group.made_groups import made_groups
from brainage_bids.group.own_columns import ESTIMATE, MADE_GROUP, MEASURES, PHENOTYPE_FLAGS
from brainage_bids.group.phenotype_columns import MOST_KINDS, describe
from brainage_bids.records import BadConfiguration, UnusableInput
from brainage_bids.settings import GroupSettings
from brainage_bids.stats.associations import outliers
from brainage_bids.stats.comparisons import shown
from brainage_bids.stats.queries import rows_where
from brainage_bids.stats.rows import labels, numbers

if TYPE_CHECKING:
    import pandas as pd

GROUP_COLUMNS = ("group", "diagnosis", "dx", "participant_group", "patient")
"""Where groups are looked for if nobody names a column."""
AGE_TOLERANCE = 0.01
POSSIBLE_AGES, POSSIBLE_BRAIN_AGES = (0, 125), (-100, 250)
"""Years; what lies outside is an error of typing or of the model, not an age."""
OUTLIER_GAP = 25.0
"""Years; with fewer than ten people, whose spread says little, a gap beyond this is an outlier."""


@dataclass(frozen=True)
class Cohort:
    """What the steps work on.

    Attributes
    ----------
    everyone : DataFrame
        One row a participant, session and model that was found.
    table : DataFrame
        Those of them that take part, `everyone` without the excluded rows.
    models : tuple of str
        Names, the one that the page shows first.
    phenotype : tuple of str
        Columns joined from phenotype tables; `numeric` those of numbers.
    regions, quality, contributions : tuple of str
        Columns of volumes (``vol_…``), of quality figures (``qc_…``) and of what structures add to a model's age (``contrib_MODEL_…``).
    group_column : str
        Empty if there is none.
    group_asked : bool
        Whether somebody named it.
    missing, flow : list of dict
        Who has no estimate; how many are left after each reason to leave out.
    problems, warnings : list of str
        What was odd about the files; what a reader must know first.
    descriptions : mapping
        Phenotype columns to their JSON.
    """

    everyone: pd.DataFrame
    table: pd.DataFrame
    models: tuple[str, ...]
    phenotype: tuple[str, ...]
    regions: tuple[str, ...]
    quality: tuple[str, ...]
    group_column: str
    group_asked: bool
    settings: GroupSettings
    contributions: tuple[str, ...] = ()
    missing: list[dict[str, Any]] = field(default_factory=list)
    flow: list[dict[str, Any]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    descriptions: Mapping[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def seed(self) -> int:
        """Seed of all that is drawn."""
        return self.settings.random_seed

    def visits(self, model: str) -> pd.DataFrame:
        """Rows of a model, one a visit."""
        return self.table[self.table["model"] == model].reset_index(drop=True)

    def people(self, model: str) -> pd.DataFrame:
        """Rows of a model, the first visit of each person."""
        return self.visits(model).drop_duplicates("participant_id").reset_index(drop=True)

    def numeric(self) -> list[str]:
        """Phenotype columns that hold numbers, or text of two kinds."""
        return [name for name in self.phenotype if name in self.table and is_numeric(self.table[name])]

    def categories(self) -> list[str]:
        """Phenotype columns of text of a few kinds."""
        found = []
        for name in self.phenotype:
            kinds = {value for value in labels(self.table[name]) if value is not None}
            if not is_numeric(self.table[name]) and 2 <= len(kinds) <= MOST_KINDS:
                found.append(name)
        return found


def is_numeric(values: Sequence[Any]) -> bool:
    """Tell whether a column holds numbers and nothing else.

    >>> is_numeric([1.0, None]), is_numeric(["a", None])
    (True, False)
    """
    return not any(isinstance(value, str) for value in values)


def columns_of(frame: pd.DataFrame, names: Sequence[str] | None = None) -> dict[str, list[Any]]:
    """Columns as plain lists, None where a value is missing.

    >>> import pandas as pd
    >>> columns_of(pd.DataFrame({"a": [1.0, float("nan")]}))
    {'a': [1.0, None]}
    """
    return {name: [None if value is None or value != value else value for value in frame[name]] for name in (names or frame.columns)}


def read_cohort(settings: GroupSettings) -> Cohort:
    """Collect, join, check and select.

    Raises
    ------
    BadDataset, BadConfiguration
        If the folders or a query cannot be used.
    """
    collected = collect(Path(settings.bids_dir), Path(settings.out_dir), settings.participant_labels, settings.session_labels)
    return build(collected, settings)


def build(collected: Collected, settings: GroupSettings) -> Cohort:
    """Make the cohort from what was read; see `read_cohort`."""
    import pandas as pd

    problems, warnings = list(collected.problems), []
    asked = sorted(
        {(row["participant_id"], row["session_id"]) for row in collected.estimates}, key=lambda visit: (visit[0], visit[1] or "")
    )
    named = {*GROUP_COLUMNS, (settings.group_column or "").lower()}
    told = describe(Path(settings.bids_dir), collected.visits, asked, settings.phenotype, named)
    problems += told.problems
    names = list(dict.fromkeys(name for visit in asked for name in collected.measures.get(visit, {})))
    known = dict(zip(asked, told.rows))
    rows = []
    for row in collected.estimates:
        visit = (row["participant_id"], row["session_id"])
        measured = collected.measures.get(visit, {})
        rows.append(_joined(row, known[visit], collected.versions.get(visit)) | {name: measured.get(name) for name in names})
    everyone = pd.DataFrame(rows, columns=[*ESTIMATE, *told.columns, *names], dtype=object)
    _settle_types(everyone, told.columns)
    everyone = in_order(everyone)
    warnings += _check(everyone)
    models = _models(everyone, settings.models)
    described = dict(told.columns)
    if settings.groups:
        groups, said = made_groups(settings.groups, columns_of(everyone), len(everyone))
        everyone[MADE_GROUP], described[MADE_GROUP] = np.array([*groups, None], dtype=object)[:-1], _made(settings)
        warnings += said
    everyone = everyone.copy()  # its columns came one by one, of which pandas complains at the next
    group_column, group_asked = _group_column(everyone, settings, described, told.called)
    flow = _select(everyone, models, settings, len(collected.visits), len({row["participant_id"] for row in collected.missing}))
    mark_outliers(everyone)
    table = everyone[everyone["excluded"].isna()].reset_index(drop=True)
    without = [name for name in models if len(table) and name not in set(table["model"])]
    if without:
        warnings.append(f"No estimate of {', '.join(without)} takes part, so nothing is said of it.")
        models = tuple(name for name in models if name not in without)
    warnings += _about_reference(table, settings) + _about_lacking(everyone) * bool(len(table))
    regions, quality, contributions = (tuple(name for name in names if name.startswith(kind)) for kind in MEASURES)
    return Cohort(
        everyone, table, models, tuple(described), regions, quality, group_column, group_asked, settings,
        contributions, collected.missing, flow, problems, warnings, described,
    )  # fmt: skip


def _made(settings: GroupSettings) -> dict[str, Any]:
    return {"Description": f"Group made by --groups: {'; '.join(settings.groups)}."}


_NUMBERS = (
    "brain_age", "brain_age_sd", "sd_within", "sd_between", "brain_age_low", "brain_age_high", "interval_level", "age", "pad",
    "age_in_outputs",
)  # fmt: skip


def _joined(row: Mapping[str, Any], known: Mapping[str, Any], version: str | None) -> dict[str, Any]:
    age = known["age"] if known["age"] is not None else row["age"]
    brain_age = row["brain_age"]
    out = {name: row.get(name) for name in ESTIMATE}
    flags = [flag for flag in (row["flags"] or "").split(";") if flag]
    flags = [flag for flag in flags if not (flag == "age_missing" and age is not None)]
    flags += [flag for flag in known[PHENOTYPE_FLAGS] if flag not in flags and not (flag == "age_missing" and age is not None)]
    out |= {"age": age, "sex": known["sex"], "site": known["site"], "program_version": version, "age_in_outputs": row["age"]}
    out |= {"pad": None if age is None or brain_age is None else round(brain_age - age, 3), "flags": ";".join(flags) or None}
    return out | {name: value for name, value in known.items() if name not in ("age", "sex", "site", PHENOTYPE_FLAGS)}


def _settle_types(frame: pd.DataFrame, phenotype: Mapping[str, Any]) -> None:
    names = [*_NUMBERS, *(name for name in frame if name.startswith(MEASURES))]
    for name in [*names, *(name for name in phenotype if is_numeric(frame[name]))]:
        frame[name] = numbers(frame[name], name)
    for name in frame:
        if frame[name].dtype == object:
            values = np.empty(len(frame), dtype=object)  # None, not NaN, is what is missing in text
            values[:] = [None if value is None or value != value else value for value in frame[name]]
            frame[name] = values


def _check(frame: pd.DataFrame) -> list[str]:
    """Leave out duplicates and estimates of other weights; say what was found."""
    said = []
    repeated = frame.duplicated(["participant_id", "session_id", "model"], keep="first")
    if repeated.any():
        frame.loc[repeated, "excluded"] = "duplicate"
        who = some(sorted(set(frame.loc[repeated, "participant_id"])))
        said.append(f"{int(repeated.sum())} row(s) repeat a participant, session and model ({who}); the first is used.")
    for model, rows in frame[frame["excluded"].isna()].groupby("model"):
        hashes = Counter(value for value in rows["model_sha256"] if value is not None)
        if len(hashes) > 1:
            usual, count = hashes.most_common(1)[0]
            other = rows.index[rows["model_sha256"] != usual]
            frame.loc[other, "excluded"] = "model_sha256"
            said.append(
                f"The model {model} stands for {len(hashes)} different weights: {count} rows have {usual[:8]}…, {len(other)} other ones, "
                "which are left out; run the participant level again for them with one model."
            )
    versions = Counter(value for value in frame["program_version"] if value is not None)
    if len(versions) > 1:
        counts = ", ".join(f"{version}: {count}" for version, count in versions.most_common())
        said.append(
            f"The outputs come from {len(versions)} versions of this program ({counts} rows); preprocessing may differ between them."
        )
    if len(frame):
        differ = np.abs(frame["age"] - frame["age_in_outputs"]) > AGE_TOLERANCE
        if differ.any():
            who = some(sorted(set(frame.loc[differ, "participant_id"])))
            said.append(f"The tables give another age than the outputs for {int(differ.sum())} row(s) ({who}); the tables' age is used.")
    return said


def _models(frame: pd.DataFrame, wanted: Sequence[str]) -> tuple[str, ...]:
    """Models in the order of the page: as asked, else the ones with most rows first, of these the ones with most modalities."""
    there = Counter(frame["model"])
    if wanted:
        unknown = [name for name in wanted if name not in there]
        if unknown:
            raise BadConfiguration(
                f"There is no estimate of the model {unknown[0]}; there are estimates of {', '.join(sorted(there)) or 'none'}."
            )
        return tuple(dict.fromkeys(wanted))
    modalities = frame.drop_duplicates("model").set_index("model")["modality"]
    return tuple(sorted(there, key=lambda name: (-there[name], -str(modalities[name]).count("+"), name)))


def _group_column(
    frame: pd.DataFrame, settings: GroupSettings, phenotype: Mapping[str, Any], called: Mapping[str, str]
) -> tuple[str, bool]:
    if settings.groups:
        return MADE_GROUP, True
    if settings.group_column:
        told = called.get(settings.group_column, settings.group_column)
        if told != settings.group_column:
            raise BadConfiguration(f"The column '{settings.group_column}' of the tables is called {told} here; name that instead.")
        if settings.group_column not in frame:
            raise BadConfiguration(
                f"There is no column '{settings.group_column}' for --group-column; there are {', '.join(frame.columns)}."
            )
        return settings.group_column, True
    for name in phenotype:
        if name.lower() in GROUP_COLUMNS:
            return name, False
    return "", False


def _select(frame: pd.DataFrame, models: Sequence[str], settings: GroupSettings, people: int, missing: int) -> list[dict[str, Any]]:
    """Mark who is left out and why; the flow of participants."""
    flow = [{"step": "participants in the dataset or the outputs", "reason": None, "participants": people, "rows": None}]

    def left(step: str, reason: str | None) -> None:
        kept = frame[frame["excluded"].isna()]
        flow.append({"step": step, "reason": reason, "participants": kept["participant_id"].nunique(), "rows": len(kept)})

    flow.append(
        {
            "step": "have an estimate",
            "reason": f"{missing} have a visit without one",
            "participants": frame["participant_id"].nunique(),
            "rows": len(frame),
        }
    )
    for code, reason in (("duplicate", "repeated rows"), ("model_sha256", "made with other weights")):
        count = int((frame["excluded"] == code).sum())
        if count:
            left("after duplicates" if code == "duplicate" else "of one model", f"{count} rows left out: {reason}")
    table = columns_of(frame)
    for code, option, query, step in (("where", "--where", settings.where, "chosen by --where"),):
        if query:
            holds = rows_where(query, table, len(frame), option)
            out = frame["excluded"].isna() & ~holds
            frame.loc[out, "excluded"] = code
            left(step, f"{int(out.sum())} rows left out: {shown(query)} does not hold")
            if len(frame) and frame["excluded"].notna().all():
                said = f"The query {option} {shown(query)!r} holds for nobody"
                raise BadConfiguration(f"{said}; there are {len(frame)} rows to choose from.")
    for code, out, reason in (
        ("other model", ~frame["model"].isin(list(models)), "of other models than asked"),
        ("no brain age", frame["brain_age"].isna(), "without a brain age"),
        ("no age", frame["age"].isna(), "without an age"),
        ("impossible brain age", ~frame["brain_age"].between(*POSSIBLE_BRAIN_AGES), "with a brain age that is no age"),
        ("impossible age", ~frame["age"].between(*POSSIBLE_AGES), "with an age that nobody reaches"),
    ):
        out = out & frame["excluded"].isna()
        if out.any():
            frame.loc[out, "excluded"] = code
            left(
                {"no age": "have an age", "no brain age": "have a brain age", "other model": "models asked for"}.get(code, "possible ages"),
                f"{int(out.sum())} rows left out: {reason}",
            )
    reference = rows_where(settings.reference, table, len(frame), "--reference") if settings.reference else np.ones(len(frame), bool)
    frame["reference"] = reference & frame["excluded"].isna().to_numpy()
    kept = frame[frame["reference"]]
    flow.append(
        {
            "step": "reference",
            "reason": shown(settings.reference) or "everyone",
            "participants": kept["participant_id"].nunique(),
            "rows": len(kept),
        }
    )
    return flow


def in_order(frame: pd.DataFrame) -> pd.DataFrame:
    """Rows by person, age, visit and model."""
    names = ["participant_id", "age", "session_id", "model"]
    return frame.sort_values(names, kind="stable", na_position="last").reset_index(drop=True)


def mark_outliers(frame: pd.DataFrame) -> None:
    """Tell in the column ``outlier`` which gaps lie far from the others of their model."""
    frame["outlier"] = False
    for _, rows in frame[frame["excluded"].isna()].groupby("model"):
        gaps = rows["pad"].to_numpy(dtype=float)
        far = outliers(gaps) if len(gaps) >= 10 else np.abs(gaps) > OUTLIER_GAP
        frame.loc[rows.index, "outlier"] = far


def _about_reference(table: pd.DataFrame, settings: GroupSettings) -> list[str]:
    said = []
    if not settings.reference and not settings.fitted and settings.bias_correction != "none" and len(table):
        said.append(
            "No --reference was given, so age bias and intervals are fitted on everyone; if there are patients among them, name the "
            "healthy, such as --reference \"group == 'control'\"."
        )
    far = int(table["outlier"].sum()) if len(table) else 0
    if far:
        said.append(
            f"{far} estimate(s) are outliers by their gap ({some(sorted(set(table.loc[table['outlier'], 'participant_id'])))}); they stay "
            "in, so look at their pages."
        )
    visits = table[["participant_id", "session_id"]].drop_duplicates()
    flagged = table.loc[table["flags"].notna(), ["participant_id", "session_id"]].drop_duplicates()
    if len(flagged):
        said.append(f"{len(flagged)} of {len(visits)} visits carry a flag; group_brainage.tsv tells which.")
    return said


def _about_lacking(everyone: pd.DataFrame) -> list[str]:
    """Who takes no part because a number is missing."""
    said = []
    for code in ("no brain age", "no age", "impossible brain age", "impossible age"):
        rows = everyone[everyone["excluded"] == code]
        if len(rows):
            who = some(sorted(set(rows["participant_id"])))
            verb = "an " if code.startswith("impossible") else ""
            said.append(f"{len(rows)} estimate(s) have {verb}{code} and take no part ({who}).")
    return said


def need_rows(frame: pd.DataFrame, what: str = "an age and a brain age") -> pd.DataFrame:
    """The same rows, if there are any.

    Raises
    ------
    UnusableInput
        If there are none.
    """
    if frame.empty:
        raise UnusableInput(f"Nobody has {what}, so this cannot be computed.")
    return frame
