"""Do tests and intervals keep what they say? Nulls rejected in 5 % of simulated tables, intervals that hold the truth in 95 %,
planted effects found as often as their power says.

python benchmarks/calibration.py [--tables 200] [--only WORD]

Prints a table: how often each null was rejected, each effect found or each interval held the truth, and the band in which 95 % of
counts lie.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable

import numpy as np
from scipy import stats as scipy_stats

from brainage_bids.cohort.intervals import coverage_rows, fit_intervals
from brainage_bids.stats.accuracy import accuracy_rows, compare_models
from brainage_bids.stats.anova import adjusted_pairs, analysis_of_variance
from brainage_bids.stats.associations import associate, correlation
from brainage_bids.stats.change import change_per_year
from brainage_bids.stats.counts import compare_counts
from brainage_bids.stats.formulas import fit_formula, fit_mixed
from brainage_bids.stats.groups import compare_means, compare_ranks
from brainage_bids.stats.mediation import mediate, mediation_rows
from brainage_bids.stats.polynomial import polynomial_by_age
from brainage_bids.stats.reliability import agreement_row, bland_altman, within_person_row
from brainage_bids.stats.windows import sliding_windows

Draw = np.random.Generator
Check = Callable[[Draw], bool]


def _p(row: dict, name: str = "p") -> bool:
    return row[name] < 0.05


def _holds(row: dict, truth: float, low: str = "low", high: str = "high") -> bool:
    return row[low] <= truth <= row[high]


def _people(draw: Draw, n: int = 60) -> dict[str, np.ndarray]:
    """Age, sex, group of two and of three, and a gap and a marker that depend on age and sex alone."""
    age, sex = draw.uniform(20, 80, n), draw.integers(0, 2, n)
    two, three = np.where(np.arange(n) < n // 3, "a", "b"), np.array(["x", "y", "z"])[np.arange(n) % 3]
    gap, marker = -0.1 * age + sex + draw.normal(0, 5, n), 0.05 * age + draw.normal(0, 2, n)
    return {"age": age, "sex": sex, "two": two, "three": three, "pad": gap, "marker": marker}


def null_welch(draw: Draw) -> bool:
    """Equal means, unequal variances and sizes."""
    return _p(compare_means(draw.normal(0, 8, 12), draw.normal(0, 3, 40)))


def null_ranks(draw: Draw) -> bool:
    """Equal skewed distributions."""
    return _p(compare_ranks(draw.exponential(size=25), draw.exponential(size=35)))


def null_anova(draw: Draw) -> bool:
    """Three groups."""
    return _p(analysis_of_variance(draw.normal(size=60), np.repeat(["a", "b", "c"], 20))[0])


def null_ancova(draw: Draw) -> bool:
    """Three groups of different ages, values that follow age."""
    group = np.repeat([0, 1, 2], 20)
    age = 50 + 6 * group + draw.normal(0, 10, 60)
    return _p(analysis_of_variance(0.2 * age + draw.normal(0, 3, 60), group, {"age": age})[0])


def null_adjusted_pairs(draw: Draw) -> bool:
    """Any of three pairs after Bonferroni (at most 5 %)."""
    data = _people(draw)
    rows = adjusted_pairs(data["pad"], data["three"], {"age": data["age"], "sex": data["sex"]})
    return any(_p(row, "p_corrected") for row in rows)


def null_counts(draw: Draw) -> bool:
    """Sex by two groups."""
    return _p(compare_counts(draw.integers(0, 2, 120), draw.integers(0, 2, 120)))


def null_partial(draw: Draw) -> bool:
    """Both follow age, and nothing else joins them."""
    return _p(associate(_people(draw), "pad", ["marker"], kind="pearson")[0], "p_partial")


def null_spearman(draw: Draw) -> bool:
    """Two skewed columns."""
    return correlation(draw.exponential(size=50), draw.exponential(size=50), kind="spearman")["p"] < 0.05


def null_formula(draw: Draw) -> bool:
    """A group's term beside age, age² and sex."""
    rows = fit_formula(_people(draw), "pad ~ age + I(age**2) + C(sex) + C(two)")
    return _p(next(row for row in rows if row["term"].startswith("C(two)")))


def null_mixed(draw: Draw) -> bool:
    """A group's term with two visits a person."""
    data, people = _people(draw, 40), np.repeat([f"p{i:02d}" for i in range(40)], 2)
    twice = {name: np.repeat(values, 2) for name, values in data.items()}
    twice["pad"] = twice["pad"] + draw.normal(0, 2, 80)
    return _p(next(row for row in fit_mixed(twice, "pad ~ age + C(two)", people) if row["term"].startswith("C(two)")))


def null_sign_flip(draw: Draw) -> bool:
    """Two models of equal error whose errors go together, some people twice."""
    age, common = draw.uniform(20, 80, 60), draw.normal(0, 5, 60)
    people = [f"p{i % 45}" for i in range(60)]
    return _p(compare_models(age, age + common + draw.normal(0, 2, 60), age + common + draw.normal(0, 2, 60), people, n_resamples=10))


def null_shuffle(draw: Draw) -> bool:
    """Two models of equal error whose errors are independent."""
    age, people = draw.uniform(20, 80, 50), [f"p{i}" for i in range(50)]
    errors = draw.normal(0, 5, (2, 50))
    return _p(compare_models(age, age + errors[0], age + errors[1], people, paired=False, n_resamples=10))


def null_windows(draw: Draw) -> bool:
    """Any window after Bonferroni (at most 5 %)."""
    rows = sliding_windows(draw.uniform(20, 60, 200), draw.normal(size=200), draw.normal(size=200))
    return any(row["p_corrected"] is not None and _p(row, "p_corrected") for row in rows)


def null_polynomial(draw: Draw) -> bool:
    """No dependence on age."""
    return _p(polynomial_by_age(draw.uniform(20, 80, 40), draw.normal(size=40), points=2)[0])


def null_change(draw: Draw) -> bool:
    """Nobody changes but for noise."""
    values, years, people = _followed(draw, 0.0)
    return _p(change_per_year(values, years, people)[0])


def null_mediation(draw: Draw) -> bool:
    """The exposure moves the mediator, which does nothing."""
    x = draw.normal(size=80)
    m = 0.7 * x + draw.normal(size=80)
    return mediate(x, m, 0.5 * x + draw.normal(size=80)).p["acme"] < 0.05


def null_mediation_small(draw: Draw) -> bool:
    """The same with 60 people."""
    x = draw.normal(size=60)
    return mediate(x, 0.7 * x + draw.normal(size=60), 0.5 * x + draw.normal(size=60)).p["acme"] < 0.05


def null_mediation_other_way(draw: Draw) -> bool:
    """The mediator moves the outcome and nothing moves it, 60 people."""
    x, m = draw.normal(size=(2, 60))
    found = mediate(x, m, 0.3 * x + 0.5 * m + draw.normal(size=60))
    return found.low["acme"] > 0 or found.high["acme"] < 0


def null_mediators(draw: Draw) -> bool:
    """Any of four mediators that do nothing named, by the corrected p (at most 5 %)."""
    x = draw.normal(size=60)
    mediators = {f"m{place}": 0.5 * x + draw.normal(size=60) for place in range(4)}
    rows = mediation_rows({"x": x}, mediators, 0.5 * x + draw.normal(size=60), screen=None)
    return any(row["mediation"] != "none" for row in rows)


def holds_difference(draw: Draw) -> bool:
    """Difference of means, unequal variances."""
    return _holds(compare_means(draw.normal(3, 8, 15), draw.normal(0, 3, 40)), 3.0)


def holds_cohens_d(draw: Draw) -> bool:
    """Cohen's d of .8."""
    return _holds(compare_means(draw.normal(0.8, 1, 20), draw.normal(0, 1, 30)), 0.8, "d_low", "d_high")


def holds_auc(draw: Draw) -> bool:
    """AUC of normal groups a standard deviation apart."""
    truth = scipy_stats.norm.cdf(1 / math.sqrt(2))
    return _holds(compare_ranks(draw.normal(1, 1, 30), draw.normal(0, 1, 40)), truth, "auc_low", "auc_high")


def holds_pearson(draw: Draw) -> bool:
    """A correlation of .5."""
    x, noise = draw.normal(size=(2, 40))
    return _holds(correlation(x, 0.5 * x + math.sqrt(0.75) * noise), 0.5)


def holds_spearman(draw: Draw) -> bool:
    """Spearman's correlation where Pearson's is .5."""
    x, noise = draw.normal(size=(2, 60))
    return _holds(correlation(x, 0.5 * x + math.sqrt(0.75) * noise, kind="spearman"), 6 / math.pi * math.asin(0.25))


def holds_mae(draw: Draw) -> bool:
    """MAE by bootstrap over 80 people with two visits whose errors go together."""
    ages, people = np.repeat(draw.uniform(20, 80, 80), 2), np.repeat(np.arange(80), 2).astype(str)
    errors = np.repeat(draw.normal(0, 4, 80), 2) + draw.normal(0, 3, 160)
    row = accuracy_rows(ages, ages + errors, people, bin_width=100, n_resamples=1000, seed=int(draw.integers(2**31)))[0]
    return _holds(row, 5 * math.sqrt(2 / math.pi), "mae_low", "mae_high")


def holds_slope(draw: Draw) -> bool:
    """Bias slope by bootstrap over people."""
    ages = draw.uniform(20, 80, 100)
    people = np.arange(100).astype(str)
    row = accuracy_rows(
        ages, 20 + 0.6 * ages + draw.normal(0, 5, 100), people, bin_width=100, n_resamples=1000, seed=int(draw.integers(2**31))
    )
    return _holds(row[0], -0.4, "bias_slope_low", "bias_slope_high")


def holds_icc(draw: Draw) -> bool:
    """ICC(2,1) of 9/(9 + 1 + 4) with four sessions and twenty people."""
    values = draw.normal(0, 3, (20, 1)) + draw.normal(0, 1, (1, 4)) + draw.normal(0, 2, (20, 4))
    return _holds(agreement_row(values.tolist()), 9 / 14)


def holds_within(draw: Draw) -> bool:
    """Spread within people of one to three visits by bootstrap."""
    people = np.repeat(np.arange(80), draw.integers(1, 4, 80))
    values = draw.normal(0, 5, 80)[people] + draw.normal(0, 2, people.size)
    row = within_person_row(values, people.astype(str), n_resamples=1000, seed=int(draw.integers(2**31)))
    return _holds(row, 2.0, "sd_within_low", "sd_within_high")


def holds_limit(draw: Draw) -> bool:
    """Upper limit of agreement."""
    first = draw.normal(50, 9, 50)
    row = bland_altman((first + draw.normal(1, 2, 50)).tolist(), first.tolist())
    return _holds(row, 1 + 1.959964 * 2, "limit_high_low", "limit_high_high")


def holds_change(draw: Draw) -> bool:
    """Mean change of half a unit a year."""
    return _holds(change_per_year(*_followed(draw, 0.5))[0], 0.5)


def holds_acme(draw: Draw) -> bool:
    """ACME of .7 x .5."""
    return _mediated(draw, "acme", 0.35)


def holds_ade(draw: Draw) -> bool:
    """ADE of .4."""
    return _mediated(draw, "ade", 0.4)


def holds_coefficient(draw: Draw) -> bool:
    """A coefficient of a formula."""
    return _holds(next(row for row in fit_formula(_people(draw), "pad ~ age + sex") if row["term"] == "age"), -0.1)


def holds_conformal(draw: Draw) -> bool:
    """One new person in the interval of 100 others, errors with heavy tails."""
    ages = draw.uniform(20, 80, 101)
    predictions = ages + draw.standard_t(3, 101) * 4
    return bool(coverage_rows(fit_intervals(ages[1:], predictions[1:]), ages[:1], predictions[:1])[0]["covered"])


def _mediated(draw: Draw, effect: str, truth: float) -> bool:
    x = draw.normal(size=100)
    m = 0.7 * x + draw.normal(size=100)
    found = mediate(x, m, 0.4 * x + 0.5 * m + draw.normal(size=100), seed=int(draw.integers(2**31)))
    return found.low[effect] <= truth <= found.high[effect]


def _followed(draw: Draw, slope: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    people = np.repeat(np.arange(30), 3)
    years = draw.uniform(60, 70, 90)
    rates = slope + draw.normal(0, 0.3, 30)
    return rates[people] * (years - 65) + draw.normal(0, 2, 90), years, people.astype(str)


def power_welch(draw: Draw) -> bool:
    """A shift of half a standard deviation, 64 a group."""
    return _p(compare_means(draw.normal(0.5, 1, 64), draw.normal(0, 1, 64)))


def power_ancova(draw: Draw) -> bool:
    """The same shift with an age that explains half of the variance: that of .71 without."""
    age, group = draw.normal(size=66), np.repeat(["a", "b"], 33)
    values = math.sqrt(0.5) * (age + draw.normal(size=66)) + 0.5 * (group == "a")
    return _p(analysis_of_variance(values, group, {"age": age})[0])


def power_paired(draw: Draw) -> bool:
    """Two models of 50 people, one with a larger error, by the power of the t-test of their differences."""
    age, people = draw.uniform(20, 80, 50), [f"p{i}" for i in range(50)]
    sizes = np.abs(draw.normal(0, 5, 50)) + 5
    first, second = age + sizes, age + sizes + draw.normal(0.4, 1, 50)
    return _p(compare_models(age, first, second, people, n_resamples=10))


CHECKS: dict[str, Check] = {name: check for name, check in globals().items() if name.startswith(("null_", "holds_", "power_"))}
AT_MOST = ("null_adjusted_pairs", "null_windows", "null_mediation", "null_mediation_small", "null_mediation_other_way", "null_mediators")
"""Families after a correction, and tests that two must reject, whose rate may lie below 5 %."""


def expected(name: str) -> float:
    """How often a check is to be true: the level, the coverage, or the power that theory says."""
    if name.startswith("power_"):
        from statsmodels.stats.power import TTestIndPower, TTestPower

        if name == "power_paired":
            return float(TTestPower().power(0.4, 50, 0.05))
        return float(TTestIndPower().power(0.5, 64, 0.05) if name == "power_welch" else TTestIndPower().power(math.sqrt(0.5), 33, 0.05))
    return 0.05 if name.startswith("null_") else 0.95


def count(check: Check, tables: int, seed: int = 0) -> int:
    """How many of the simulated tables were rejected (held the truth)."""
    return sum(bool(check(np.random.default_rng((seed, table)))) for table in range(tables))


def band(tables: int, share: float) -> tuple[int, int]:
    """Counts between which 95 % of binomial counts lie."""
    low, high = scipy_stats.binom.ppf([0.025, 0.975], tables, share)
    return int(low), int(high)


def main() -> None:
    """Run all checks and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=int, default=200)
    parser.add_argument("--only", default="")
    args = parser.parse_args()
    print(f"| check | of what | rate in {args.tables} tables | band |\n|---|---|---|---|")
    for name, check in CHECKS.items():
        if args.only in name:
            found = count(check, args.tables)
            low, high = band(args.tables, expected(name))
            low = 0 if name in AT_MOST else low
            inside = "" if low <= found <= high else " **outside**"
            share, limits = 100 * found / args.tables, f"{100 * low / args.tables:.1f}–{100 * high / args.tables:.1f} %"
            print(f"| {name.replace('_', ' ')} | {check.__doc__.rstrip('.')} | {share:.1f} %{inside} | {limits} |", flush=True)


if __name__ == "__main__":
    main()
