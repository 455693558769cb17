"""Whatever the table, rows say how they were made, hold no NaN, and say why a result is missing; or one sentence refuses."""

import math

import numpy as np
import pytest

from brainage_bids.cohort.fusion_tables import coefficient_rows, nested_rows
from brainage_bids.stats.accuracy import accuracy_rows, compare_models, error_by_age
from brainage_bids.stats.anova import adjusted_pairs, analysis_of_variance, compare_adjusted
from brainage_bids.stats.associations import associate, correlation_matrix
from brainage_bids.stats.biplot import biplot_rows
from brainage_bids.stats.change import change_per_year
from brainage_bids.stats.counts import compare_counts
from brainage_bids.stats.describe import describe_groups
from brainage_bids.stats.formulas import fit_formula, fit_mixed
from brainage_bids.stats.groups import compare_groups, compare_means, compare_ranks
from brainage_bids.stats.mediation import mediation_rows
from brainage_bids.stats.polynomial import polynomial_by_age
from brainage_bids.stats.reliability import agreement_row, bland_altman, within_person_row
from brainage_bids.stats.windows import sliding_windows

RESULTS = ("p", "r", "mae", "icc", "estimate", "difference", "change", "acme", "chi2", "sd_within", "median", "f", "explained")


def table(n=12, **changes):
    generator = np.random.default_rng(n)
    age = generator.uniform(20, 80, n)
    whole = {
        "who": [f"s{i}" for i in range(n)], "age": age, "pad": generator.normal(0, 5, n), "x": generator.normal(size=n),
        "sex": ["F", "M"] * (n // 2) + ["F"] * (n % 2), "group": ["a"] * (n // 2) + ["b"] * (n - n // 2),
    }  # fmt: skip
    return {**whole, **changes}


TABLES = {
    "constant": table(pad=[2.0] * 12, x=[1.0] * 12),
    "one group": table(group=["a"] * 12, sex=["F"] * 12),
    "two people": table(2),
    "one person": table(1),
    "nobody": table(0),
    "all missing": table(pad=[None] * 12, x=[math.nan] * 12),
    "no ages": table(age=[None] * 12),
    "one age": table(age=[40.0] * 12),
    "duplicates": table(who=["s"] * 12),
    "infinite": table(pad=[math.inf] * 6 + [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]),
    "no groups": table(group=[None] * 12, sex=[""] * 12),
    "copies": table(x=table()["pad"], pad=table()["pad"]),
    "huge": table(pad=table()["pad"] * 1e40, x=table()["x"] * 1e-40),
}

CALLS = {
    "accuracy": lambda t: accuracy_rows(t["age"], t["pad"], t["who"], by={"sex": t["sex"]}, n_resamples=20),
    "models": lambda t: [compare_models(t["age"], t["pad"], t["x"], t["who"], n_permutations=9, n_resamples=20)],
    "by age": lambda t: error_by_age(t["age"], t["pad"], [20, 50, 80], baseline=t["x"]),
    "groups": lambda t: compare_groups(t["pad"], t["group"], variable="pad"),
    "ranks": lambda t: compare_groups(t["pad"], t["group"], ranks=True),
    "means": lambda t: [compare_means(t["pad"], t["x"])],
    "two ranks": lambda t: [compare_ranks(t["pad"], t["x"])],
    "anova": lambda t: analysis_of_variance(t["pad"], t["group"], {"age": t["age"], "sex": t["sex"]}),
    "pairs": lambda t: adjusted_pairs(t["pad"], t["group"], {"age": t["age"]}),
    "blood": lambda t: compare_adjusted(t["pad"], t["group"], {"sex": t["sex"]}, log=True),
    "associations": lambda t: associate(t, "pad", ["x", "age"], covariates=["age", "sex"]),
    "matrix": lambda t: correlation_matrix({name: t[name] for name in ("age", "pad", "x")}),
    "biplot": lambda t: biplot_rows({"age": t["age"], "pad": t["pad"]}, {"x": t["x"]}, t["who"]),
    "change": lambda t: change_per_year(t["pad"], t["age"], t["who"]),
    "counts": lambda t: [compare_counts(t["sex"], t["group"])],
    "describe": lambda t: describe_groups(t, t["group"], variables=["age", "pad"], counts=["sex"]),
    "formula": lambda t: fit_formula(t, "pad ~ age + C(sex)"),
    "mixed": lambda t: fit_mixed(t, "pad ~ age", t["who"]),
    "mediation": lambda t: mediation_rows({"x": t["x"]}, {"pad": t["pad"]}, t["age"], covariates={"sex": t["sex"]}, screen=None),
    "polynomial": lambda t: polynomial_by_age(t["age"], t["pad"], points=2),
    "agreement": lambda t: [agreement_row(list(zip(t["pad"], t["x"])))],
    "altman": lambda t: [bland_altman(t["pad"], t["x"])],
    "within": lambda t: [within_person_row(t["pad"], t["who"], n_resamples=20)],
    "windows": lambda t: sliding_windows(t["age"], t["pad"], t["x"], fewest=5),
    "coefficients": lambda t: coefficient_rows(t, t["age"], {"P": ["pad"], "P+X": ["pad", "x"]}),
    "nested": lambda t: nested_rows(t, t["age"], {"P": ["pad"], "P+X": ["pad", "x"]}, [("P", "P+X")]),
}


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("kind", TABLES)
def test_no_silent_gap(call, kind):
    try:
        rows = CALLS[call](TABLES[kind])
    except ValueError as refusal:  # UnusableInput and BadConfiguration are of this kind
        sentence = str(refusal)
        assert type(refusal).__name__ in ("UnusableInput", "BadConfiguration")
        assert sentence[0].isupper() and sentence.endswith(".") and "\n" not in sentence
        return
    for row in rows:
        assert {"n", "method", "assumptions", "correction", "note"} <= row.keys()
        for name, value in row.items():
            assert value is None or isinstance(value, str | int | float), name
            assert not isinstance(value, float) or math.isfinite(value), name
        missing = [name for name in RESULTS if name in row and row[name] is None]
        assert row["note"] or not missing, (missing, row)
