"""Intervals against scipy and textbook values, and what they must never claim."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from benchgraft.statistics import estimates
from benchgraft.statistics.by_source import FEWEST_SOURCES, accuracy_by_source, accuracy_difference_by_source
from benchgraft.statistics.estimates import Estimate, Floats
from benchgraft.statistics.pairs import corrected, over_both, over_photos, paired_difference, paired_ratio
from benchgraft.statistics.proportions import proportion, sign_test

TIMES = st.lists(st.floats(0.1, 1000), min_size=2, max_size=12)
# Student's sleep data (1908): extra hours of sleep with two drugs
FIRST = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
SECOND = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]


def test_mean_interval_is_scipys_t_interval() -> None:
    result = estimates.mean_interval(FIRST)
    low, high = stats.t.interval(0.95, len(FIRST) - 1, np.mean(FIRST), stats.sem(FIRST))
    assert (result.value, result.low, result.high) == pytest.approx((0.75, low, high))


def test_interval_of_a_mean_time_follows_the_delta_formula_by_hand() -> None:
    # mean 4, variance of the mean 1/3: relative error 1/sqrt(48)
    result = estimates.mean_time_interval([3, 4, 5])
    half = stats.t.ppf(0.975, 2) / math.sqrt(48)
    assert result.value == 4
    assert (result.low, result.high) == pytest.approx((4 * math.exp(-half), 4 * math.exp(half)))
    assert (result.degrees_of_freedom, result.method) == (2, "t-interval of the log mean over runs")


@given(TIMES)
def test_interval_of_a_mean_time_never_reaches_zero(times: list[float]) -> None:
    result = estimates.mean_time_interval(times)
    assert result.value == pytest.approx(np.mean(times))
    if result.low is not None and result.high is not None:
        assert 0 < result.low < result.value < result.high < math.inf


def test_interval_of_a_mean_time_of_many_like_runs_is_students() -> None:
    times = list(np.random.default_rng(0).normal(20, 0.4, 40))
    ours, students = estimates.mean_time_interval(times), estimates.mean_interval(times)
    assert (ours.low, ours.high) == pytest.approx((students.low, students.high), rel=1e-3)


def test_mean_time_refuses_what_is_no_time() -> None:
    with pytest.raises(ValueError, match="positive"):
        estimates.mean_time_interval([1.0, 0.0])
    assert estimates.mean_time_interval([2.0]).why_none == "one run: no interval"
    assert estimates.mean_time_interval([2.0, 2.0]).why_none == "all runs gave the same value: no interval"


def test_difference_is_welchs_as_scipy_and_the_textbook_have_it() -> None:
    result = estimates.difference_of_means(FIRST, SECOND)
    interval = stats.ttest_ind(FIRST, SECOND, equal_var=False).confidence_interval(0.95)
    assert (result.low, result.high) == pytest.approx((interval.low, interval.high))
    # R's t.test on the same data prints these
    assert (result.low, result.high) == pytest.approx((-3.3654832, 0.2054832), abs=1e-6)
    assert result.degrees_of_freedom == pytest.approx(17.776474, abs=1e-5)
    assert not result.differs_from(0.0)


def test_ratio_interval_follows_the_delta_formula_by_hand() -> None:
    # means 20 and 4, variances of the means 1/3 and 1/3: relative errors 1/1200 and 1/48
    result = estimates.ratio_of_means([19, 20, 21], [3, 4, 5])
    first, second = (1 / 3) / 400, (1 / 3) / 16
    freedom = (first + second) ** 2 / (first**2 / 2 + second**2 / 2)
    half = stats.t.ppf(0.975, freedom) * math.sqrt(first + second)
    assert result.value == pytest.approx(5)
    assert (result.low, result.high) == pytest.approx((5 * math.exp(-half), 5 * math.exp(half)))


@given(TIMES, TIMES)
def test_ratio_turned_round_turns_its_interval_round(first: list[float], second: list[float]) -> None:
    there, back = estimates.ratio_of_means(first, second), estimates.ratio_of_means(second, first)
    assert there.value == pytest.approx(1 / back.value)
    assert there.has_interval == back.has_interval
    if there.low is not None and back.high is not None and 1e-100 < back.high < 1e100:
        assert there.low == pytest.approx(1 / back.high)
        assert 0 < there.low <= there.value


def test_ratio_of_times_refuses_times_that_are_not_positive() -> None:
    with pytest.raises(ValueError, match="positive"):
        estimates.ratio_of_means([1.0, 0.0], [1.0, 2.0])


@pytest.mark.parametrize("function", [estimates.difference_of_means, estimates.ratio_of_means])
def test_one_run_an_arm_gives_a_value_and_no_interval(function: object) -> None:
    for arms in (([3.0], [2.0]), ([3.0, 3.1], [2.0]), ([3.0], [2.0, 2.1])):
        result = function(*arms)  # type: ignore[operator]
        assert (result.low, result.high) == (None, None)
        assert result.why_none == "one run an arm: no interval"
        assert not result.differs_from(0.0)


def test_equal_values_in_all_runs_give_no_interval_of_width_zero() -> None:
    assert estimates.mean_interval([0.97, 0.97, 0.97]).why_none == "all runs gave the same value: no interval"
    assert not estimates.difference_of_means([2.0, 2.0], [1.0, 1.0]).differs_from(0.0)


def test_an_arm_without_runs_is_refused() -> None:
    with pytest.raises(ValueError, match="without any run"):
        estimates.mean_interval([])


def test_break_even_of_the_papers_printed_means_is_the_19th_retraining() -> None:
    even = estimates.break_even(1759.7, [104.7879], [8.5333])
    assert even.exact == pytest.approx(18.28, abs=0.005)
    assert even.first == 19
    assert not even.has_interval


def test_break_even_interval_is_preparation_over_the_bounds_of_the_difference() -> None:
    scratch, transfer = [19.0, 20.0, 21.0], [1.9, 2.0, 2.1]
    saved = stats.ttest_ind(scratch, transfer, equal_var=False).confidence_interval(0.95)
    even = estimates.break_even(330, scratch, transfer)
    assert even.first == 19  # 330 / 18 = 18.33
    assert (even.low, even.high) == (math.ceil(330 / saved.high), math.ceil(330 / saved.low))


def test_break_even_is_never_where_transfer_is_not_cheaper() -> None:
    even = estimates.break_even(10, [1.0, 1.1, 0.9], [2.0, 2.1, 1.9])
    assert (even.exact, even.first, even.low, even.high) == (None, None, None, None)
    assert even.has_interval


def test_break_even_reaches_never_where_the_arms_may_cost_the_same() -> None:
    even = estimates.break_even(10, [2.0, 3.0, 4.0], [1.5, 2.5, 3.5])
    assert even.first == 20
    assert even.low is not None
    assert even.low < 20
    assert even.high is None
    assert even.has_interval


@pytest.mark.parametrize(("preparation", "first"), [(0.0, 1), (18.0, 18), (18.0001, 19)])
def test_break_even_rounds_up_whole_retrainings(preparation: float, first: int) -> None:
    assert estimates.break_even(preparation, [1.1], [0.1]).first == first


def clustered(sources: int, spread: float, seed: int, images: int = 20) -> tuple[Floats, list[str]]:
    """Right answers; each source class has a difficulty of its own, the larger `spread` the more alike."""
    generator = np.random.default_rng(seed)
    chance = generator.beta(0.9 * spread, 0.1 * spread, sources)
    correct = (generator.random(sources * images) < np.repeat(chance, images)).astype(np.float64)
    return correct, [f"source {number}" for number in range(sources) for _ in range(images)]


def test_interval_over_source_classes_has_the_standard_error_of_cluster_means() -> None:
    # equal cluster sizes: the cluster-robust error is that of the mean of cluster means
    correct, sources = clustered(40, 5.0, seed=1)
    means = correct.reshape(40, 20).mean(axis=1)
    result = accuracy_by_source(correct, sources)
    assert result.value == pytest.approx(means.mean())
    assert result.standard_error == pytest.approx(stats.sem(means), rel=0.05)


def test_frames_of_one_fruit_do_not_make_an_interval_narrower() -> None:
    correct, sources = clustered(30, 5.0, seed=2)
    once = accuracy_by_source(correct, sources)
    thrice = accuracy_by_source(np.tile(correct, 3), sources * 3)
    assert (thrice.low, thrice.high) == pytest.approx((once.low, once.high))


def test_both_arms_are_resampled_together() -> None:
    # the same mistakes but for a few: resampled apart, the interval would hold zero
    correct, sources = clustered(60, 5.0, seed=3)
    better = correct.copy()
    better[np.flatnonzero(correct == 0)[::4]] = 1
    apart = [accuracy_by_source(arm, sources).standard_error or 0.0 for arm in (better, correct)]
    together = accuracy_difference_by_source(better, sources, correct, sources)
    assert together.differs_from(0.0)
    assert (together.standard_error or 0.0) < math.hypot(*apart) / 2


def test_arms_tested_on_different_images_are_compared_by_source_class() -> None:
    first, sources = clustered(30, 5.0, seed=4)
    second, more = clustered(30, 5.0, seed=5, images=7)
    result = accuracy_difference_by_source(first, sources, second, more)
    assert result.value == pytest.approx(first.mean() - second.mean())
    assert result.has_interval


def test_same_seed_gives_the_same_interval() -> None:
    correct, sources = clustered(30, 5.0, seed=6)
    assert accuracy_by_source(correct, sources) == accuracy_by_source(correct, sources)


def test_accuracy_interval_stays_within_0_and_1() -> None:
    correct = np.ones(300)
    correct[7] = 0
    result = accuracy_by_source(correct, [f"source {row // 10}" for row in range(300)])
    assert result.low is not None
    assert result.high is not None
    assert 0 < result.low < result.value < result.high < 1


@pytest.mark.parametrize("sources", [1, FEWEST_SOURCES - 1])
def test_few_source_classes_give_no_interval_and_say_so(sources: int) -> None:
    correct, names = clustered(sources, 5.0, seed=7)
    result = accuracy_by_source(correct, names)
    assert not result.has_interval
    assert result.why_none == f"only {sources} source classes: no interval"


def test_answers_and_images_must_be_as_many() -> None:
    with pytest.raises(ValueError, match="2 answers for 1 images"):
        accuracy_by_source(np.ones(2), ["one"])


def test_joined_interval_is_wider_than_either_part() -> None:
    runs = estimates.difference_of_means([0.97, 0.98, 0.975], [0.94, 0.95, 0.93])
    first, sources = clustered(40, 5.0, seed=8)
    second, _ = clustered(40, 5.0, seed=9)
    over_sources = accuracy_difference_by_source(first, sources, second, sources)
    both = estimates.joined(runs, over_sources)
    assert (both.standard_error or 0.0) == pytest.approx(
        math.hypot(runs.standard_error or 0.0, over_sources.standard_error or 0.0)
    )
    assert both.value == runs.value


def test_joined_interval_without_enough_source_classes_is_that_over_runs_and_says_so() -> None:
    runs = estimates.difference_of_means([0.97, 0.98, 0.975], [0.94, 0.95, 0.93])
    none = Estimate(value=0.03, method="", why_none="only 3 source classes: no interval")
    both = estimates.joined(runs, none)
    assert (both.low, both.high) == (runs.low, runs.high)
    assert "over runs alone" in both.method


@pytest.mark.parametrize("images", [1, 2, 7, 60, 960, 1_000_000])
def test_wilson_interval_is_scipys(images: int) -> None:
    for right in {0, 1, images // 2, images - 1, images}:
        ours = proportion(right, images)
        theirs = stats.binomtest(right, images).proportion_ci(0.95, method="wilson")
        assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


@pytest.mark.parametrize(("lost", "won"), [(0, 1), (1, 0), (5, 7), (30, 0), (0, 90), (12, 11)])
def test_sign_test_is_scipys_binomial_test(lost: int, won: int) -> None:
    theirs = stats.binomtest(lost, lost + won, 0.5, alternative="greater").pvalue
    assert sign_test(lost, won) == pytest.approx(theirs, rel=1e-12)


def test_functions_do_not_wait_for_what_only_reports_need() -> None:
    script = "import sys, benchgraft.tasks.adapt; print({'matplotlib', 'scipy.stats'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


# --- in pairs -----------------------------------------------------------------------------------------------


def test_a_paired_difference_is_scipys() -> None:
    first, second = [0.91, 0.87, 0.93, 0.90], [0.85, 0.86, 0.88, 0.89]
    found = paired_difference(first, second)
    expected = stats.ttest_rel(first, second).confidence_interval()
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


def test_what_both_times_of_a_pair_have_in_common_falls_out_of_their_ratio() -> None:
    base = np.array([1.0, 1.3, 0.8, 1.1, 0.9])
    exact = paired_ratio(list(6 * base), list(2 * base))
    assert exact.value == pytest.approx(3)
    assert exact.standard_error == pytest.approx(0, abs=1e-9)
    noisy = paired_ratio(list(6 * base * [1.02, 0.98, 1.01, 0.99, 1.0]), list(2 * base))
    apart = estimates.ratio_of_means(list(6 * base * [1.02, 0.98, 1.01, 0.99, 1.0]), list(2 * base))
    assert noisy.value == apart.value
    assert noisy.low is not None and apart.low is not None and noisy.low > apart.low


def test_pairs_and_ratios_of_one_run_have_no_interval() -> None:
    assert paired_difference([0.9], [0.8]).why_none == "one run an arm: no interval"
    assert paired_ratio([3.0], [2.0]).why_none == "one run an arm: no interval"
    with pytest.raises(ValueError, match="positive"):
        paired_ratio([1.0, 0.0], [1.0, 1.0])


def test_bonferroni_is_the_interval_at_one_less_a_part_of_five_per_cent() -> None:
    values = [0.91, 0.87, 0.93, 0.90]
    found = corrected(estimates.mean_interval(values), 3)
    low, high = stats.t.interval(1 - 0.05 / 3, 3, np.mean(values), stats.sem(values))
    assert (found.low, found.high) == pytest.approx((low, high))
    ratio = paired_ratio([2.0, 2.2, 1.9], [1.0, 1.2, 1.0])
    assert corrected(ratio, 1, is_ratio=True).low == pytest.approx(ratio.low)
    assert corrected(estimates.mean_interval([0.9]), 3) == estimates.mean_interval([0.9])


def test_runs_that_are_all_the_same_leave_the_interval_to_the_photos() -> None:
    photos = over_photos(np.array([1.0, 0.0, 1.0, 1.0, 0.5]))
    assert over_both(estimates.mean_interval([0.7, 0.7, 0.7]), photos) == photos
    both = over_both(estimates.mean_interval([0.6, 0.7, 0.8]), photos)
    assert both.high is not None and photos.high is not None
    assert both.standard_error > photos.standard_error  # type: ignore[operator]
    assert over_both(estimates.mean_interval([0.7]), photos).why_none == "one run: no interval"
