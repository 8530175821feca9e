"""Accuracies whose interval resamples source classes: frames of one object are not independent images."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from scipy import special

from .estimates import Estimate, Floats, student

DRAWS = 4000
FEWEST_SOURCES = 10
"""With fewer the intervals are too narrow (82 to 90 % instead of 95 % at five)."""


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
    logit = student(
        math.log(value / (1 - value)), result.standard_error / scale, len(names) - 1, result.method
    )
    low, high = (None if bound is None else float(special.expit(bound)) for bound in (logit.low, logit.high))
    return result.model_copy(update={"low": low, "high": high})


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
    return student(value, error, sources - 1, method)
