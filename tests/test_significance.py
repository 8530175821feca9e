"""Permutation, McNemar, bootstrap and the number of runs, against scipy, textbooks and brute force."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from benchgraft.statistics import significance
from benchgraft.statistics.estimates import difference_of_means, mean_interval

# Student's sleep data (1908): extra hours of sleep with two drugs
FIRST = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
SECOND = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]


def test_permutation_p_is_the_share_of_all_exchanges_as_extreme() -> None:
    first, second = [1.0, 2.0, 4.0, 9.0], [3.0, 8.0, 7.0, 11.0, 6.0]
    pool = np.array(first + second)
    observed = np.mean(first) - np.mean(second)
    differences = []
    for chosen in itertools.combinations(range(9), 4):
        mask = np.zeros(9, dtype=bool)
        mask[list(chosen)] = True
        differences.append(pool[mask].mean() - pool[~mask].mean())
    below = np.mean(np.array(differences) <= observed + 1e-12)
    above = np.mean(np.array(differences) >= observed - 1e-12)
    found = significance.permutation_test(first, second)
    assert found is not None
    assert found.p == pytest.approx(min(1, 2 * min(below, above)))
    assert found.smallest == pytest.approx(2 / 126)


def test_arms_that_do_not_overlap_give_the_smallest_possible_p() -> None:
    found = significance.permutation_test([1, 2, 3], [10, 11, 12])
    assert found is not None
    assert found.p == found.smallest == pytest.approx(0.1)
    many = significance.permutation_test(list(range(10)), list(range(100, 110)))
    assert many is not None
    assert many.p == pytest.approx(many.smallest) == pytest.approx(2 / 10_000)


def test_permutation_test_of_many_runs_is_near_the_exact_one() -> None:
    exact = stats.permutation_test(
        (FIRST, SECOND),
        lambda x, y, axis: np.mean(x, axis=axis) - np.mean(y, axis=axis),
        vectorized=True,
        n_resamples=200_000,
        rng=np.random.default_rng(0),
    )
    found = significance.permutation_test(FIRST, SECOND)
    assert found is not None
    assert found.p == pytest.approx(exact.pvalue, abs=0.01)


def test_one_run_an_arm_has_no_permutation_test() -> None:
    assert significance.permutation_test([1.0], [2.0, 3.0]) is None


def test_mcnemar_is_the_exact_binomial_test_of_the_images_only_one_model_got_right() -> None:
    # 8 images only the first got right, 1 only the second: 2 * (C(9,0) + C(9,1)) / 2^9
    first = np.array([1.0] * 8 + [0.0] + [1.0] * 20 + [0.0] * 5)
    second = np.array([0.0] * 8 + [1.0] + [1.0] * 20 + [0.0] * 5)
    found = significance.mcnemar(first, second)
    assert found.p == pytest.approx(20 / 512)
    assert found.smallest == pytest.approx(2 / 512)


def test_mcnemar_of_equal_answers_cannot_tell() -> None:
    right = np.array([1.0, 0.0, 1.0])
    assert significance.mcnemar(right, right).p == 1.0


def test_bootstrap_over_runs_is_used_from_ten_runs_on() -> None:
    assert significance.bootstrap_mean(FIRST[:9]) == mean_interval(FIRST[:9])
    ten = significance.bootstrap_mean(FIRST)
    assert ten.method == "percentile bootstrap over runs"
    by_scipy = stats.bootstrap((FIRST,), np.mean, method="percentile", rng=np.random.default_rng(1))
    assert (ten.low, ten.high) == pytest.approx(tuple(by_scipy.confidence_interval), abs=0.05)


@pytest.mark.parametrize("half_width", [0.5, 1.0, 2.0])
def test_so_many_runs_give_the_half_width_and_one_fewer_does_not(half_width: float) -> None:
    deviations = float(np.std(FIRST, ddof=1)), float(np.std(SECOND, ddof=1))
    need = significance.runs_needed("transfer", (deviations[0], 10), (deviations[1], 10), half_width)
    assert need.runs is not None
    assert need.runs_at_most is not None
    assert _half_width(need.runs, *deviations) <= half_width
    assert _half_width(need.runs - 1, *deviations) > half_width
    assert need.runs_at_most > need.runs


def _half_width(runs: int, first: float, second: float) -> float:
    """Of Welch's interval for samples made to have exactly these standard deviations."""
    samples = []
    for deviation in (first, second):
        sample = np.arange(runs, dtype=float)
        samples.append(list(sample / np.std(sample, ddof=1) * deviation))
    interval = difference_of_means(*samples)
    assert interval.high is not None
    assert interval.low is not None
    return (interval.high - interval.low) / 2


def test_a_half_width_beyond_reach_is_said_to_be() -> None:
    need = significance.runs_needed("transfer", (1.0, 3), (1.0, 3), 1e-4)
    assert need.runs is None
    assert math.isclose(need.half_width, 1e-4)
