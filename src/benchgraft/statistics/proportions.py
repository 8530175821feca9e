"""Fractions of independent images: Wilson intervals, and a sign test for two models on the same images."""

from __future__ import annotations

import math

from scipy import special

from .estimates import CONFIDENCE, Estimate


def proportion(right: int, images: int) -> Estimate:
    """Fraction right with its 95 % Wilson interval, for images that are independent of each other.

    Frames of one object are not: for those resample the objects (sources.accuracy_by_source).
    Raises ValueError without images.
    """
    if not images:
        raise ValueError("no images, no fraction")
    # scipy.stats has both of this module, but every `adapt` would wait 0.4 s for its import
    value, normal = right / images, float(special.ndtri((1 + CONFIDENCE) / 2))
    weight = 1 + normal**2 / images
    centre = (value + normal**2 / (2 * images)) / weight
    half = normal / weight * math.sqrt(value * (1 - value) / images + normal**2 / (4 * images**2))
    low, high = max(0.0, centre - half), min(1.0, centre + half)
    return Estimate(
        value=value, low=low if right else 0.0, high=high if right < images else 1.0, method="Wilson"
    )


def sign_test(lost: int, won: int) -> float:
    """Chance of at least `lost` among lost + won if both are as likely (one-sided exact McNemar test)."""
    if not lost + won:
        return 1.0
    return float(special.bdtrc(lost - 1, lost + won, 0.5)) if lost else 1.0
