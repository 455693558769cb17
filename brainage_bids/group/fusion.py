"""Several models or modalities in one age: mean, linear with sex, ridge on two levels; fitted on the reference people, or taken along.

Models of one modality whose names differ in their final number only (``t1w1``, ``t1w2`` …) are base models of one sub-ensemble. The mean
and the linear head take the means of sub-ensembles, the ridge head all base models.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from brainage_bids.cohort.fusion import PARTIAL, Head, MeanHead, cross_fit, fit_linear, fit_ridge
from brainage_bids.group.adjust import taken
from brainage_bids.group.cohort import Cohort, columns_of, in_order, mark_outliers
from brainage_bids.group.collect import some
from brainage_bids.group.fitted import Store, keep
from brainage_bids.group.fusion_results import fitted_results, spread_of_models, visit_rows
from brainage_bids.group.results import Result, labelled, table
from brainage_bids.records import BadConfiguration, UnusableInput
from brainage_bids.stats.accuracy import accuracy_rows
from brainage_bids.stats.rows import Row

if TYPE_CHECKING:
    import pandas as pd

NAME = "fused"
"""Of the fused age among the models, so that every step looks at it as at a model."""
FEWEST = 30
"""Reference people with all estimates, below which weights would be noise."""
_KEYS = ["participant_id", "session_id"]
_FACTS = ("age", "sex", "reference")
"""Of visits, beside their columns of models."""
Families = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class Fused:
    """What a fusion gave.

    Attributes
    ----------
    cohort : Cohort
        With the rows of the model ``fused``.
    results : list of Result
    families : mapping
        Sub-ensemble to its models.
    """

    cohort: Cohort
    results: list[Result]
    families: Families
    ensemble: Ensemble


@dataclass(frozen=True)
class Ensemble:
    """A model that was made of base models.

    Attributes
    ----------
    name : str
    families : mapping
        Sub-ensemble to its models.
    visits : DataFrame
        A row a visit, of `wide`.
    ages, ridge : ndarray, shape (visits,)
        Its ages, and those of ridge on two levels (the same where that head was chosen); out of fold for reference people.
    spreads : mapping
        Of `spread_of_models`.
    """

    name: str
    families: Families
    visits: pd.DataFrame
    ages: np.ndarray
    ridge: np.ndarray
    spreads: Mapping[str, np.ndarray]

    def people(self) -> pd.DataFrame:
        """First visits of the reference people who have every model."""
        first = self.visits[self.visits["reference"].astype(bool)].drop_duplicates("participant_id")
        return first[first[models_of(self.families)].notna().all(axis=1)]


@dataclass(frozen=True)
class FitRows:
    """The rows on which heads are fitted, and those they predict.

    Attributes
    ----------
    visits, reference, complete : DataFrame
        All visits; those of reference people; of these the first ones with every model.
    used : list of str
        Columns that heads read.
    """

    visits: pd.DataFrame
    reference: pd.DataFrame
    complete: pd.DataFrame
    used: list[str]

    @classmethod
    def of(cls, visits: pd.DataFrame, families: Families) -> FitRows:
        """Choose the rows.

        Raises
        ------
        UnusableInput
            If there are too few reference people.
        """
        reference = visits[visits["reference"].astype(bool)]
        first = reference.drop_duplicates("participant_id")
        complete = first[first[models_of(families)].notna().all(axis=1)]
        if len(complete) < FEWEST:
            said = f"Fusion needs {FEWEST} reference people with estimates of {', '.join(families)}; there are {len(complete)}."
            raise UnusableInput(said)
        return cls(visits, reference, complete, list(dict.fromkeys([*models_of(families), *families, "sex"])))

    def fitted(self, fit: Callable[[Any, Any, Any], Head], seed: int) -> tuple[Head, np.ndarray]:
        """The head of all reference people, and the ages of every visit: of reference people by heads fitted without the person."""
        columns, everyone, repeated = (columns_of(frame, self.used) for frame in (self.complete, self.visits, self.reference))
        head = fit(columns, self.complete["age"].to_numpy(float), list(self.complete["participant_id"]))
        ages = head.estimate(everyone).ages
        known = np.where(self.reference.index.isin(self.complete.index), self.reference["age"].to_numpy(float), np.nan)
        out_of_fold = cross_fit(fit, repeated, known, list(self.reference["participant_id"]), seed=seed)
        ages[self.visits.index.get_indexer(self.reference.index)] = out_of_fold
        return head, ages


def fusion(cohort: Cohort, out_dir: Path | None = None, store: Store | None = None) -> Fused:
    """Fuse the models of single modalities; weights, errors out of fold, and the fused age of every visit.

    All visits of a reference person are predicted by heads fitted without that person. A visit that lacks a model gets the estimate of
    what there is, with a flag. The ridge head gives the age of the model ``fused`` where a sub-ensemble has several base models, the
    linear head otherwise.

    Raises
    ------
    UnusableInput
        If there is one model, or there are too few reference people.
    """
    taken = sorted({NAME, *_KEYS, *_FACTS} & set(cohort.everyone["model"]))
    if taken:
        raise BadConfiguration(f"A model is called '{taken[0]}', which the fusion calls a column of its own; give it another name.")
    families = _families_there(cohort, store.families) if store else families_of(cohort)
    visits = wide(cohort, families)
    chosen = "ridge" if any(len(models) > 1 for models in families.values()) else "linear"
    if store:
        heads, ages, errors = _taken(cohort, store, families, visits)
        tables = []
    else:
        heads, ages, errors, tables = _fitted(cohort, families, visits, out_dir)
    everyone = columns_of(visits, [*models_of(families), *families, "sex"])
    flags = heads[chosen].estimate(everyone).flags
    spreads = spread_of_models(visits, families, heads["ridge"])
    rows = visit_rows(visits, families, ages, spreads, flags)
    how = f"by heads of {store.folder}" if store else "out of fold for reference people, by the head of all reference people for others"
    about = f"Errors of heads over {', '.join(families)} on reference people, " + (
        f"who took no part in fitting them ({store.folder})." if store else "each predicted by a head fitted without them."
    )
    results = [
        table("fusion_accuracy", "Fusion", about, errors),
        *tables,
        table("fusion", "Fused ages", f"Fused age of every visit: {how}. The model '{NAME}' is the head '{chosen}'.", rows),
    ]
    whole = Ensemble(NAME, families, visits, ages[chosen], ages["ridge"], spreads)
    return Fused(with_model(cohort, whole, flags), results, families, whole)


def families_of(cohort: Cohort) -> dict[str, tuple[str, ...]]:
    """Sub-ensembles: models of one modality whose names differ in the number at their end only.

    Raises
    ------
    UnusableInput
        If there are fewer than two models.
    """
    modality = cohort.table.drop_duplicates("model").set_index("model")["modality"].to_dict()
    single = [name for name in cohort.models if name in modality and "+" not in str(modality[name])]
    names = sorted(single if len(single) > 1 else [name for name in cohort.models if name in modality])
    if len(names) < 2:
        raise UnusableInput("There is one model, so there is nothing to fuse.")
    found: dict[tuple[str, str], list[str]] = {}
    for name in names:
        found.setdefault((str(modality[name]), re.sub(r"\d+$", "", name)), []).append(name)
    families: dict[str, tuple[str, ...]] = {}
    for (kind, stem), members in found.items():
        title = members[0] if len(members) == 1 else f"{stem}*"
        families[title if title not in families else f"{title} {kind}"] = tuple(members)
    return families


def _families_there(cohort: Cohort, families: Families) -> Families:
    names = models_of(families)
    if not names or not set(names) & set(cohort.models):
        raise UnusableInput(f"The fusion of --fitted joins {', '.join(names) or 'nothing'}, of which no model is here.")
    return families


def models_of(families: Families) -> list[str]:
    """Names of all base models."""
    return [name for names in families.values() for name in names]


def wide(cohort: Cohort, families: Families) -> pd.DataFrame:
    """A row a visit, with columns of models and of the means of sub-ensembles."""
    names = models_of(families)
    rows = cohort.table[cohort.table["model"].isin(names)]
    rows = rows.assign(session_id=rows["session_id"].fillna(""))
    ages = rows.pivot(index=_KEYS, columns="model", values="brain_age").reindex(columns=names).astype(float)
    facts = rows.drop_duplicates(_KEYS).set_index(_KEYS)[[*_FACTS]]
    for family, members in families.items():
        ages[family] = ages[list(members)].mean(axis=1)
    wide = facts.join(ages).reset_index()
    return wide.sort_values(["participant_id", "age", "session_id"]).reset_index(drop=True)


def _fitted(
    cohort: Cohort, families: Families, visits: pd.DataFrame, out_dir: Path | None
) -> tuple[dict[str, Head], dict[str, np.ndarray], list, list[Result]]:
    """Heads, ages of every visit, errors out of fold, tables of weights and nested models."""
    rows = FitRows.of(visits, families)
    complete, names = rows.complete, tuple(families)
    covariates = ("sex",) if complete["sex"].nunique() > 1 and taken(columns_of(complete, ["sex"])["sex"]) else ()
    fits: dict[str, Callable[[Any, Any, Any], Head]] = {
        "mean": lambda columns, ages, people: MeanHead(names),
        "linear": lambda columns, ages, people: fit_linear(columns, ages, names, covariates),
        "ridge": lambda columns, ages, people: fit_ridge(columns, ages, list(people), families, seed=cohort.seed),
    }
    ages, people = complete["age"].to_numpy(float), list(complete["participant_id"])
    heads, fused, errors = {}, {}, []
    for name, fit in fits.items():
        heads[name], fused[name] = rows.fitted(fit, cohort.seed)
        if out_dir is not None:
            keep(out_dir, f"fusion_{name}", heads[name])
        errors += labelled(accuracy_rows(ages, fused[name][complete.index], people, seed=cohort.seed)[:1], head=name)
    errors += _alone(cohort, complete, families)
    said = _about_sex(complete, covariates)
    tables = [replace(one, rows=_with_words(one.rows, said)) for one in fitted_results(cohort, complete, families, covariates)]
    return heads, fused, [_with_words([row], said * (row["head"] == "linear"))[0] for row in errors], tables


def _about_sex(complete: pd.DataFrame, covariates: tuple[str, ...]) -> str:
    """What became of reference people without sex, by name."""
    lacking = complete.loc[complete["sex"].isna(), "participant_id"].tolist()
    if not lacking:
        return ""
    if not covariates:
        return f"; sex is no covariate, as {len(lacking)} of {len(complete)} lack it or the others are of one"
    return f"; {some(lacking)} without sex: left out of fits with sex, predicted by the regression without it"


def _with_words(rows: Iterable[Row], said: str) -> tuple[Row, ...]:
    return tuple({**row, "assumptions": f"{row['assumptions']}{said}"} for row in rows)


def _taken(cohort: Cohort, store: Store, families: Families, visits: pd.DataFrame) -> tuple[dict[str, Head], dict[str, np.ndarray], list]:
    """Heads of another run, ages of every visit, and errors of reference people."""
    heads: dict[str, Head] = {name: store.get(f"fusion_{name}") for name in ("mean", "linear", "ridge")}
    everyone = columns_of(visits, [*dict.fromkeys([*models_of(families), *families]), "sex"])
    fused = {name: head.estimate(everyone).ages for name, head in heads.items()}
    first = visits[visits["reference"].astype(bool)].drop_duplicates("participant_id")
    errors = []
    for name, ages in fused.items():
        found = accuracy_rows(first["age"], ages[first.index], list(first["participant_id"]), seed=cohort.seed)[:1]
        errors += labelled(found, head=name)
    return heads, fused, errors + _alone(cohort, first, families)


def _alone(cohort: Cohort, people: pd.DataFrame, families: Families) -> list:
    rows = []
    for name in families:
        there = people[people[name].notna()]
        if len(there):
            found = accuracy_rows(there["age"], there[name], list(there["participant_id"]), seed=cohort.seed)[:1]
            rows += labelled(found, head=f"{name} alone")
    return rows


def with_model(cohort: Cohort, ensemble: Ensemble, flags: list[tuple[str, ...]]) -> Cohort:
    """The cohort with a row a visit of an ensemble, with the flags of its members and of itself."""
    import pandas as pd

    name, visits, ages, spreads = ensemble.name, ensemble.visits, ensemble.ages, ensemble.spreads
    members = models_of(ensemble.families)
    rows = cohort.table.drop_duplicates(_KEYS).copy()
    place_of = {key: place for place, key in enumerate(zip(visits["participant_id"], visits["session_id"]))}
    places = np.array([place_of.get((person, visit or ""), -1) for person, visit in zip(rows["participant_id"], rows["session_id"])])
    rows, places = rows[places >= 0], places[places >= 0]
    seen = np.isfinite(ages[places])
    rows, places = rows[seen].copy(), places[seen]
    modality = cohort.table.drop_duplicates("model").set_index("model")["modality"].to_dict()
    kinds = sorted({kind for member in members for kind in str(modality.get(member)).split("+")})
    carried: dict[tuple[str, Any], dict[str, None]] = {}
    columns = columns_of(cohort.table[cohort.table["model"].isin(members)], [*_KEYS, "flags"])
    for person, visit, said in zip(*columns.values()):
        carried.setdefault((person, visit), {}).update(dict.fromkeys((said or "").split(";")))
    keys = zip(*columns_of(rows, _KEYS).values())
    told = [";".join(filter(None, [*carried[key], PARTIAL if flags[place] else ""])) or None for key, place in zip(keys, places)]
    fused = ages[places].round(3)
    rows = rows.assign(
        model=name, modality="+".join(kinds), brain_age=fused, brain_age_sd=spreads["base_sd"][places],
        sd_between=spreads["sub_sd"][places], sd_within=np.nan, brain_age_low=np.nan, brain_age_high=np.nan, interval_level=np.nan,
        pad=(fused - rows["age"].to_numpy(float)).round(3),
    )  # fmt: skip
    for column, values in (("flags", told), ("model_sha256", [None] * len(rows)), ("interval_method", [None] * len(rows))):
        rows[column] = np.array([*values, None], dtype=object)[:-1]
    everyone = pd.concat([cohort.everyone, rows], ignore_index=True)
    everyone = in_order(everyone)
    mark_outliers(everyone)
    kept = everyone[everyone["excluded"].isna()].reset_index(drop=True)
    return replace(cohort, everyone=everyone, table=kept, models=(*cohort.models, name))
