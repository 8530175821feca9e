"""Fractions of independent images: Wilson intervals, and a sign test for two models on the same images."""

from __future__ import annotations

from scipy import stats

from .statistics import CONFIDENCE, Estimate


def proportion(right: int, images: int) -> Estimate:
    """Fraction right with its 95 % Wilson interval, for images that are independent of each other.

    Frames of one object are not: for those resample the objects (statistics.accuracy_by_source).
    Raises ValueError without images.
    """
    if not images:
        raise ValueError("no images, no fraction")
    interval = stats.binomtest(right, images).proportion_ci(CONFIDENCE, method="wilson")
    return Estimate(value=right / images, low=interval.low, high=interval.high, method="Wilson")


def sign_test(lost: int, won: int) -> float:
    """Chance of at least `lost` among lost + won if both are as likely (one-sided exact McNemar test)."""
    if not lost + won:
        return 1.0
    return float(stats.binomtest(lost, lost + won, 0.5, alternative="greater").pvalue)
