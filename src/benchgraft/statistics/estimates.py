"""Intervals for means, differences, ratios and break-even.

Every interval is a 95 % interval. Where none can be given the bounds are None and `why_none` says why: with
one run an arm nothing is known about the spread, and nothing is made up. `benchmarks/coverage.py` measures
how often these intervals hold the truth.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import special

from ..part import Part

CONFIDENCE = 0.95
Floats = npt.NDArray[np.float64]
MATTERS = 0.01
"""A smaller difference of accuracy is none that would change a decision; beyond it one is wrong."""


class Estimate(Part):
    """A value with its interval, or with the reason why it has none."""

    value: float
    low: float | None = None
    high: float | None = None
    standard_error: float | None = None
    degrees_of_freedom: float | None = None
    method: str
    why_none: str | None = None

    @property
    def has_interval(self) -> bool:
        """Whether bounds could be given."""
        return self.low is not None and self.high is not None

    @property
    def bare(self) -> Estimate:
        """The same without the reason for having no interval, where that is told elsewhere."""
        return self.model_copy(update={"why_none": None})

    def differs_from(self, none: float) -> bool:
        """Whether there is an interval and it leaves out the value that means "no difference"."""
        return self.low is not None and self.high is not None and not self.low <= none <= self.high


class BreakEven(Part):
    """Retrainings until the preparation has paid. None stands for never."""

    exact: float | None
    """Preparation over time saved a retraining, before rounding up."""
    first: int | None
    """The retraining from which transfer has cost less in all."""
    low: int | None = None
    high: int | None = None
    has_interval: bool = False
    why_none: str | None = None


def mean_interval(values: Sequence[float]) -> Estimate:
    """Mean with Student's t-interval over runs. Raises ValueError without any value."""
    _need(values)
    array = np.asarray(values, dtype=np.float64)
    mean = float(array.mean())
    method = "t-interval over runs"
    if len(array) < 2:
        return Estimate(value=mean, method=method, why_none="one run: no interval")
    return student(mean, math.sqrt(_mean_variance(values)), len(array) - 1, method)


def mean_time_interval(values: Sequence[float]) -> Estimate:
    """Mean of positive times, with an interval made on the log scale.

    The error of a log mean is its relative error (delta method), with n - 1 degrees of freedom: one arm of
    `ratio_of_means`. The mean stays the arithmetic one, since what is paid is the sum; the interval never
    reaches below zero, as Student's does with few runs, and is wider above than below.
    Raises ValueError without any value, or for one that is not positive.
    """
    _need(values)
    if min(values) <= 0:
        raise ValueError("an interval of times needs positive times")
    mean = float(np.mean(values))
    method = "t-interval of the log mean over runs"
    if len(values) < 2:
        return Estimate(value=mean, method=method, why_none="one run: no interval")
    logs = student(math.log(mean), math.sqrt(_mean_variance(values)) / mean, len(values) - 1, method)
    return _from_logs(logs, mean)


def difference_of_means(first: Sequence[float], second: Sequence[float]) -> Estimate:
    """mean(first) - mean(second) with Welch's interval: the arms' spreads may differ.

    Welch and not pairs: a seed fixes the order of batches and the start weights, which have nothing to do
    with each other in the two arms. Raises ValueError if an arm has no value.
    """
    _need(first, second)
    value = float(np.mean(first) - np.mean(second))
    method = "Welch's t-interval over runs"
    if len(first) < 2 or len(second) < 2:
        return Estimate(value=value, method=method, why_none="one run an arm: no interval")
    return student(
        value, *_welch(_mean_variance(first), len(first), _mean_variance(second), len(second)), method
    )


def ratio_of_means(numerator: Sequence[float], denominator: Sequence[float]) -> Estimate:
    """mean(numerator) / mean(denominator) of positive values, with an interval made on the log scale.

    The error of a log mean is its relative error (delta method); the two are joined with Welch's degrees of
    freedom. On the log scale because then the interval never reaches below zero, always exists (Fieller's may
    be unbounded), and turning the ratio round turns the bounds round. The ratio is one of mean times, since
    what is paid in the end is the sum; geometric means or medians would answer another question.
    Raises ValueError if an arm has no value, or a value that is not positive.
    """
    _need(numerator, denominator)
    if min(*numerator, *denominator) <= 0:
        raise ValueError("a ratio of times needs positive times")
    top, bottom = float(np.mean(numerator)), float(np.mean(denominator))
    method = "t-interval of the log ratio of means, Welch's degrees of freedom"
    if len(numerator) < 2 or len(denominator) < 2:
        return Estimate(value=top / bottom, method=method, why_none="one run an arm: no interval")
    relative = _mean_variance(numerator) / top**2, _mean_variance(denominator) / bottom**2
    error, freedom = _welch(relative[0], len(numerator), relative[1], len(denominator))
    return _from_logs(student(math.log(top / bottom), error, freedom, method), top / bottom)


def break_even(preparation: float, scratch: Sequence[float], transfer: Sequence[float]) -> BreakEven:
    """Retrainings until transfer, preparation included, has cost less time than scratch.

    n = ceil(P / (mean(S) - mean(T))), all in the same unit, S and T one value a run; never where transfer is
    not cheaper. For the paper's printed means n = 19 (18.28 before rounding up). The interval is that of the
    difference (Welch), carried through P / d; P was measured once and counts as exact.
    Raises ValueError if an arm has no runs or P is negative.
    """
    if preparation < 0:
        raise ValueError("preparation time cannot be negative")
    saved = difference_of_means(scratch, transfer)
    exact = preparation / saved.value if saved.value > 0 else None
    first = _retrainings(preparation, saved.value)
    if saved.low is None or saved.high is None:
        return BreakEven(exact=exact, first=first, why_none=saved.why_none)
    return BreakEven(
        exact=exact,
        first=first,
        low=_retrainings(preparation, saved.high),
        high=_retrainings(preparation, saved.low),
        has_interval=True,
    )


def joined(over_runs: Estimate, over_sources: Estimate, unit: str = "source classes") -> Estimate:
    """The same quantity with both uncertainties: other training runs and other source classes (`unit`).

    Variances add (law of total variance; what the runs' own noise adds to the second is counted twice, so the
    interval is a little too wide rather than too narrow); degrees of freedom after Welch and Satterthwaite.
    With too few source classes it is the interval over runs, for these test images only; `method` says so.
    """
    method = f"runs and {unit} together"
    parts = [(part.standard_error, part.degrees_of_freedom) for part in (over_runs, over_sources)]
    known = [(error, freedom) for error, freedom in parts if error is not None and freedom is not None]
    if over_sources.standard_error is None and over_runs.has_interval:
        return over_runs.model_copy(update={"method": f"over runs alone, {over_sources.why_none}"})
    if len(known) < 2:
        why = over_runs.why_none or over_sources.why_none
        return Estimate(value=over_runs.value, method=method, why_none=why)
    variance = sum(error**2 for error, _ in known)
    if variance == 0:
        return Estimate(value=over_runs.value, method=method, why_none="no spread at all: no interval")
    freedom = variance**2 / sum(error**4 / freedom for error, freedom in known)
    return student(over_runs.value, math.sqrt(variance), freedom, method)


def within_fractions(accuracy: Estimate) -> Estimate:
    """An accuracy's interval cut at 0 and 1, which a t-interval does not know of; it takes no truth out."""
    if accuracy.low is None or accuracy.high is None:
        return accuracy
    return accuracy.model_copy(update={"low": max(accuracy.low, 0.0), "high": min(accuracy.high, 1.0)})


def _from_logs(logs: Estimate, value: float) -> Estimate:
    """The value with the bounds of its logarithm; the standard error stays that of the logarithm."""
    if logs.low is None or logs.high is None:
        return logs.model_copy(update={"value": value})
    return logs.model_copy(update={"value": value, "low": math.exp(logs.low), "high": math.exp(logs.high)})


def _need(*samples: Sequence[float]) -> None:
    if not all(len(values) for values in samples):
        raise ValueError("an arm without any run has no mean")


def _mean_variance(values: Sequence[float]) -> float:
    """Variance of the mean; exactly 0 for equal values, whose computed mean may be off by a bit."""
    if min(values) == max(values):
        return 0.0
    return float(np.var(values, ddof=1)) / len(values)


def _welch(first: float, first_n: int, second: float, second_n: int) -> tuple[float, float]:
    """Standard error and degrees of freedom (Welch-Satterthwaite) from two variances of means."""
    total = first + second
    if total == 0:
        return 0.0, 0.0
    return math.sqrt(total), total**2 / (first**2 / (first_n - 1) + second**2 / (second_n - 1))


def student(value: float, error: float, freedom: float, method: str) -> Estimate:
    """A value with Student's interval from its standard error and degrees of freedom.

    Equal values in every run say nothing about the spread, so they give no interval of width zero.
    """
    if error == 0:
        return Estimate(
            value=value,
            method=method,
            standard_error=0.0,
            why_none="all runs gave the same value: no interval",
        )
    half = float(special.stdtrit(freedom, (1 + CONFIDENCE) / 2)) * error
    return Estimate(
        value=value,
        low=value - half,
        high=value + half,
        standard_error=error,
        degrees_of_freedom=freedom,
        method=method,
    )


def _retrainings(preparation: float, saved: float) -> int | None:
    # 1e-9: 18.000000000001 is 18 and a rounding error, not the 19th retraining
    return max(1, math.ceil(preparation / saved - 1e-9)) if saved > 0 else None
