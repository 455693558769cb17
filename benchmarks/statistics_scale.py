"""Seconds and memory of the statistics on a simulated table of many people.

python benchmarks/statistics_scale.py [--people 10000]
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable

import numpy as np

from brainage_bids.cohort.age_bias import fit_age_bias
from brainage_bids.cohort.intervals import coverage_rows, fit_intervals
from brainage_bids.stats.accuracy import accuracy_rows, compare_models
from brainage_bids.stats.anova import analysis_of_variance
from brainage_bids.stats.associations import associate, correlation_matrix
from brainage_bids.stats.formulas import default_formula, fit_formula, fit_mixed
from brainage_bids.stats.groups import compare_groups
from brainage_bids.stats.mediation import mediate
from brainage_bids.stats.reliability import within_person_row
from brainage_bids.stats.windows import sliding_windows


def simulated(people: int) -> dict[str, np.ndarray]:
    """A fifth more scans than people, 20 sites, three groups, 100 measures without any effect."""
    draw = np.random.default_rng(0)
    who = np.r_[np.arange(people), draw.integers(0, people, people // 5)]
    table = {"who": np.array([f"sub-{number:06d}" for number in who]), "age": draw.uniform(20, 80, people)[who]}
    table |= {"sex": draw.choice(["F", "M"], people)[who], "site": draw.integers(0, 20, people)[who].astype(str)}
    table |= {"group": draw.choice(["CN", "MCI", "AD"], people)[who], "pad": draw.normal(0, 5, people)[who] + draw.normal(0, 2, who.size)}
    return table | {f"m{number}": draw.normal(size=who.size) for number in range(100)}


def steps(table: dict[str, np.ndarray]) -> dict[str, Callable[[], object]]:
    """What is timed, by name."""
    age, pad, who, sex = (table[name] for name in ("age", "pad", "who", "sex"))
    first, formula = age + pad, default_formula(table, group="group")
    measures = [name for name in table if name.startswith("m")]
    small = np.random.default_rng(1).normal(size=(3, 500))
    return {
        "accuracy by age, site, sex": lambda: accuracy_rows(age, first, who, by={"site": table["site"], "sex": sex}),
        "two models": lambda: compare_models(age, first, first + table["m0"], who),
        "groups, Welch": lambda: compare_groups(pad, table["group"]),
        "groups, ranks": lambda: compare_groups(pad, table["group"], ranks=True),
        "ANCOVA": lambda: analysis_of_variance(pad, table["group"], {"age": age, "sex": sex, "site": table["site"]}),
        "formula": lambda: fit_formula(table, formula),
        "mixed model": lambda: fit_mixed(table, formula, who),
        "100 associations": lambda: associate(table, "pad", measures, covariates=["age", "sex"]),
        "190 correlations": lambda: correlation_matrix({name: table[name] for name in measures[:20]}),
        "sliding windows": lambda: sliding_windows(age, pad, table["m0"], covariates={"sex": sex}),
        "spread within people": lambda: within_person_row(pad, who),
        "one mediation": lambda: mediate(table["m0"], table["m1"], age),
        "one mediation of 500": lambda: mediate(*small),
        "bias, intervals, coverage": lambda: (
            fit_age_bias(age, first, "spline").corrected_gap(age, first),
            coverage_rows(fit_intervals(age, first, edges=[0, 40, 60, 100]), age, first),
        ),
    }


def main() -> None:
    """Time every step and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, default=10_000)
    table = simulated(parser.parse_args().people)
    print("| step | processor seconds | seconds |\n|---|---|---|")
    for name, step in steps(table).items():
        wall, processor = time.perf_counter(), time.process_time()
        step()
        print(f"| {name} | {time.process_time() - processor:.2f} | {time.perf_counter() - wall:.2f} |", flush=True)
    print(f"\npeak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB")


if __name__ == "__main__":
    main()
