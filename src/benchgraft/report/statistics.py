"""Intervals for means, differences, ratios and break-even; accuracy intervals that resample source classes.

Every interval is a 95 % interval. Where none can be given the bounds are None and `why_none` says why: with
one run an arm nothing is known about the spread, and nothing is made up. `benchmarks/coverage.py` measures
how often these intervals hold the truth.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict
from scipy import special

CONFIDENCE = 0.95
DRAWS = 4000
FEWEST_SOURCES = 10
"""With fewer the intervals over source classes are too narrow (82 to 90 % instead of 95 % at five)."""
Floats = npt.NDArray[np.float64]


class Estimate(BaseModel):
    """A value with its interval, or with the reason why it has none."""

    model_config = ConfigDict(frozen=True, extra="forbid")

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


class BreakEven(BaseModel):
    """Retrainings until the preparation has paid. None stands for never."""

    model_config = ConfigDict(frozen=True, extra="forbid")

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
    return _student(mean, math.sqrt(_mean_variance(values)), len(array) - 1, method)


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
    logs = _student(math.log(mean), math.sqrt(_mean_variance(values)) / mean, len(values) - 1, method)
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
    return _student(
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
    return _from_logs(_student(math.log(top / bottom), error, freedom, method), top / bottom)


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


def accuracy_by_source(correct: Floats, sources: Sequence[str], seed: int = 0) -> Estimate:
    """Accuracy with an interval over source classes, for the models as they are.

    `correct`: (images,), the fraction of runs that got each image right. Whole source classes are resampled,
    since frames of one turning fruit are not independent. The interval is made on the logit scale: near 100 %
    the few source classes that hold the mistakes pull the accuracy down more than up.
    """
    names, totals, counts = _by_source([(correct, sources)])
    value = float(totals[0].sum() / counts[0].sum())
    result = _resampled(value, lambda weights: weights @ totals[0] / (weights @ counts[0]), len(names), seed)
    if not result.has_interval or result.standard_error is None or not 0 < value < 1:
        return result
    scale = value * (1 - value)
    logit = _student(
        math.log(value / (1 - value)), result.standard_error / scale, len(names) - 1, result.method
    )
    bounds = {"low": _inverse_logit(logit.low), "high": _inverse_logit(logit.high)}
    return result.model_copy(update=bounds)


def accuracy_difference_by_source(
    first: Floats, first_sources: Sequence[str], second: Floats, second_sources: Sequence[str], seed: int = 0
) -> Estimate:
    """Accuracy of `first` minus that of `second`, interval over source classes, one resample for both.

    Arrays as in `accuracy_by_source`. The two may have been tested on different images; a source class drawn
    then brings what images of it each has.
    """
    names, totals, counts = _by_source([(first, first_sources), (second, second_sources)])
    value = float(totals[0].sum() / counts[0].sum() - totals[1].sum() / counts[1].sum())

    def difference(weights: Floats) -> Floats:
        with np.errstate(invalid="ignore"):  # a draw without any image of one arm; left out below
            result: Floats = weights @ totals[0] / (weights @ counts[0]) - weights @ totals[1] / (
                weights @ counts[1]
            )
        return result

    return _resampled(value, difference, len(names), seed)


def joined(over_runs: Estimate, over_sources: Estimate) -> Estimate:
    """The same quantity with both uncertainties: other training runs and other source classes.

    Variances add (law of total variance; what the runs' own noise adds to the second is counted twice, so the
    interval is a little too wide rather than too narrow); degrees of freedom after Welch and Satterthwaite.
    With too few source classes it is the interval over runs, for these test images only; `method` says so.
    """
    method = "runs and source classes together"
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
    return _student(over_runs.value, math.sqrt(variance), freedom, method)


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


def _inverse_logit(value: float | None) -> float | None:
    return None if value is None else float(special.expit(value))


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


def _student(value: float, error: float, freedom: float, method: str) -> Estimate:
    """Equal values in every run say nothing about the spread, so they give no interval of width zero."""
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


def _by_source(samples: list[tuple[Floats, Sequence[str]]]) -> tuple[list[str], list[Floats], list[Floats]]:
    """Source names, and per sample the sums of `correct` and the counts of images of each source."""
    names = sorted(set().union(*(set(sources) for _, sources in samples)))
    index = {name: number for number, name in enumerate(names)}
    totals, counts = [], []
    for correct, sources in samples:
        if len(correct) != len(sources) or not len(correct):
            raise ValueError(f"{len(correct)} answers for {len(sources)} images")
        rows = np.array([index[name] for name in sources])
        totals.append(np.bincount(rows, weights=correct, minlength=len(names)).astype(np.float64))
        counts.append(np.bincount(rows, minlength=len(names)).astype(np.float64))
    return names, totals, counts


def _resampled(value: float, statistic: Callable[[Floats], Floats], sources: int, seed: int) -> Estimate:
    """Bootstrap over source classes: `statistic` maps weights (draws, sources) to (draws,) values.

    Standard deviation of the draws, times sqrt(k / (k - 1)) and Student's t with k - 1 degrees of freedom,
    not the percentiles: with a dozen source classes those are too narrow (benchmarks/coverage.py has both).
    """
    method = f"bootstrap over {sources} source classes"
    if sources < FEWEST_SOURCES:
        return Estimate(value=value, method=method, why_none=f"only {sources} source classes: no interval")
    generator = np.random.default_rng(seed)
    weights = generator.multinomial(sources, np.full(sources, 1 / sources), size=DRAWS).astype(np.float64)
    drawn = statistic(weights)
    drawn = drawn[np.isfinite(drawn)]
    error = float(drawn.std(ddof=1)) * math.sqrt(sources / (sources - 1))
    if error == 0:
        return Estimate(
            value=value,
            method=method,
            standard_error=0.0,
            degrees_of_freedom=float(sources - 1),
            why_none="every source class gave the same: no interval",
        )
    return _student(value, error, sources - 1, method)
