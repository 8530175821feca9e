"""Tests and what goes with them: permutation, McNemar, bootstrap over runs, and how many runs are needed.

Every p-value stands beside the smallest one that its test could have given: with three runs an arm no
permutation test gets below 0.1, whatever the figures are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy import stats

from ..part import Part
from .estimates import CONFIDENCE, Estimate, Floats, mean_interval

RESAMPLES = 9999
"""Up to so many rearrangements are all looked at; beyond, so many are drawn."""
FEWEST_RUNS_FOR_BOOTSTRAP = 10
"""With fewer the percentile bootstrap is too narrow, see docs/statistics.md."""
MOST_RUNS = 100_000


class Significance(Part):
    """A two-sided p-value, and the smallest that this test could have given on so many values."""

    p: float
    smallest: float
    method: str


class RunsNeeded(Part):
    """Runs of each arm until the interval over runs has a half-width, were the spread as measured."""

    arm: str
    half_width: float
    runs: int | None
    """None: more than anybody would carry out."""
    runs_at_most: int | None
    """The same with the upper 95 % bounds of the standard deviations, which few runs leave wide."""


def permutation_test(first: Sequence[float], second: Sequence[float]) -> Significance | None:
    """Whether two arms' means differ, by exchanging runs between them; None below two runs an arm.

    All rearrangements where there are at most RESAMPLES, else as many drawn ones (the identity counted in).
    """
    if min(len(first), len(second)) < 2:
        return None
    ways = math.comb(len(first) + len(second), len(first))
    found = stats.permutation_test(
        (np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)),
        lambda x, y, axis: np.mean(x, axis=axis) - np.mean(y, axis=axis),
        permutation_type="independent",
        vectorized=True,
        n_resamples=RESAMPLES,
        alternative="two-sided",
        rng=np.random.default_rng(0),
    )
    if ways <= RESAMPLES:
        return Significance(
            p=float(found.pvalue), smallest=2 / ways, method=f"permutation test, all {ways:,} ways"
        )
    return Significance(
        p=float(found.pvalue),
        smallest=2 / (RESAMPLES + 1),
        method=f"permutation test, {RESAMPLES:,} of {ways:,} ways drawn",
    )


def mcnemar(first: Floats, second: Floats) -> Significance:
    """Whether two single models differ, from the independent images that only one of them got right.

    Exact: of those images as many should fall to either side. `first`, `second`: (images,), 1 where right.
    """
    only_first = int(((first == 1) & (second == 0)).sum())
    only_second = int(((first == 0) & (second == 1)).sum())
    either = only_first + only_second
    p = float(stats.binomtest(only_first, either, 0.5).pvalue) if either else 1.0
    return Significance(
        p=p,
        smallest=min(1.0, 2 * 0.5**either),
        method=f"McNemar's exact test, {only_first} against {only_second} images",
    )


def bootstrap_mean(values: Sequence[float], seed: int = 0) -> Estimate:
    """Mean with the percentile bootstrap over runs, from 10 runs on; below, Student's t-interval."""
    if len(values) < FEWEST_RUNS_FOR_BOOTSTRAP:
        return mean_interval(values)
    mean, method = float(np.mean(values)), "percentile bootstrap over runs"
    if min(values) == max(values):
        return Estimate(value=mean, method=method, why_none="all runs gave the same value: no interval")
    bounds = stats.bootstrap(
        (np.asarray(values, dtype=np.float64),),
        np.mean,
        method="percentile",
        confidence_level=CONFIDENCE,
        n_resamples=RESAMPLES,
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return Estimate(value=mean, low=float(bounds.low), high=float(bounds.high), method=method)


def runs_needed(
    arm: str, first: tuple[float, int], second: tuple[float, int], half_width: float
) -> RunsNeeded:
    """Runs of each arm for a Welch interval of this half-width, from (standard deviation, runs) of both arms.

    Nothing is said of how likely a difference is to be found; that would need the true difference.
    """
    wide = [
        deviation * math.sqrt((runs - 1) / float(stats.chi2.ppf(1 - CONFIDENCE, runs - 1)))
        for deviation, runs in (first, second)
    ]
    return RunsNeeded(
        arm=arm,
        half_width=half_width,
        runs=_runs_for(first[0], second[0], half_width),
        runs_at_most=_runs_for(wide[0], wide[1], half_width),
    )


def _runs_for(first: float, second: float, half_width: float) -> int | None:
    """Smallest n with t(n) sqrt((s1^2 + s2^2) / n) <= half-width, degrees of freedom after Welch."""
    total = first**2 + second**2
    if total == 0:
        return 2

    def is_enough(runs: int) -> bool:
        freedom = (runs - 1) * total**2 / (first**4 + second**4)
        return float(stats.t.ppf((1 + CONFIDENCE) / 2, freedom)) * math.sqrt(total / runs) <= half_width

    if not is_enough(MOST_RUNS):
        return None
    low, high = 1, MOST_RUNS
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if is_enough(middle) else (middle, high)
    return high
