"""Several arms on the same photos, in the same rounds: differences and ratios in pairs, and their correction.

Pairs, since the photos are the same and the arms of a round take turns on one machine: what makes a photo
difficult, or a round slow, falls to both. Whatever else a seed draws only makes an interval wider.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy import special

from .estimates import CONFIDENCE, Estimate, Floats, joined, mean_interval, student

_ONE = "one run an arm: no interval"


def paired_difference(first: Sequence[float], second: Sequence[float]) -> Estimate:
    """Mean of first - second, pair by pair, with Student's interval. Raises ValueError without any pair."""
    method = "t-interval over pairs of runs"
    found = mean_interval([one - other for one, other in zip(first, second, strict=True)])
    why = _ONE if len(first) < 2 else found.why_none
    return found.model_copy(update={"method": method, "why_none": why})


def paired_ratio(first: Sequence[float], second: Sequence[float]) -> Estimate:
    """mean(first) / mean(second) of positive times, with an interval on the log scale, pair by pair.

    As `estimates.ratio_of_means`, but what both times of a pair have in common falls out: the error of the
    log ratio is that of the mean of first / mean(first) - second / mean(second). The standard error is that
    of the logarithm. Raises ValueError without any pair, or for a time that is not positive.
    """
    if not first or min(*first, *second) <= 0:
        raise ValueError("a ratio of times needs positive times")
    top, bottom = float(np.mean(first)), float(np.mean(second))
    method = "t-interval of the log ratio of means over pairs of runs"
    if len(first) < 2:
        return Estimate(value=top / bottom, method=method, why_none=_ONE)
    apart = [one / top - other / bottom for one, other in zip(first, second, strict=True)]
    logs = student(math.log(top / bottom), _error(apart), len(apart) - 1, method)
    return _of_logs(logs, top / bottom)


def over_photos(right: Floats) -> Estimate:
    """Mean over photos, each as if independent of all others, with Student's interval.

    right: (photos,), of an arm the fraction of its runs that got a photo right, or the difference of two
    arms' fractions. Raises ValueError without any photo.
    """
    found = mean_interval([float(value) for value in right])
    why = found.why_none and "all photos gave the same: no interval"
    return found.model_copy(update={"method": "t-interval over photos", "why_none": why})


def over_both(over_runs: Estimate, beyond: Estimate) -> Estimate:
    """For other runs and other photos (or source classes) together, see `estimates.joined`.

    Runs that all gave the same, as those of a head that is solved, add nothing to what photos vary.
    """
    if over_runs.standard_error == 0.0 and beyond.has_interval:
        return beyond
    return joined(over_runs, beyond).model_copy(update={"method": f"over runs, and {beyond.method}"})


def corrected(value: Estimate, comparisons: int, is_ratio: bool = False) -> Estimate:
    """The interval as wide as Bonferroni wants it, so that all of so many hold together in 95 % of cases.

    is_ratio: the standard error is that of the logarithm.
    """
    if not value.has_interval or not value.standard_error or value.degrees_of_freedom is None:
        return value
    level = 1 - (1 - CONFIDENCE) / comparisons / 2
    half = float(special.stdtrit(value.degrees_of_freedom, level)) * value.standard_error
    centre = math.log(value.value) if is_ratio else value.value
    wider = value.model_copy(update={"value": centre, "low": centre - half, "high": centre + half})
    return _of_logs(wider, value.value) if is_ratio else wider


def _error(values: Sequence[float]) -> float:
    """Standard error of the mean."""
    if min(values) == max(values):
        return 0.0
    return float(np.std(values, ddof=1)) / math.sqrt(len(values))


def _of_logs(logs: Estimate, value: float) -> Estimate:
    """The ratio with the bounds of its logarithm; the standard error stays that of the logarithm."""
    low, high = (None if bound is None else math.exp(bound) for bound in (logs.low, logs.high))
    return logs.model_copy(update={"value": value, "low": low, "high": high})
