"""Labelled images worth a second look: those whose given class is least believed by a model without them.

A ridge regression from cached features to classes has its leave-one-out predictions in closed form, so every
image is judged by a fit on all the others, in one pass (Hastie, Tibshirani and Friedman, The Elements of
Statistical Learning, equation 7.64).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

PENALTY = 0.1
"""Times the mean variance of a feature."""
CHUNK_ROWS = 2048
"""At once in float64, three times over: of 2,048 features 100 MB."""


@dataclass(frozen=True)
class Suspect:
    """One image whose given class is less believed than another."""

    key: str
    given: str
    likelier: str
    margin: float
    """Score of the given class minus that of the likelier one, negative; scores are near 0 and 1."""


def find_suspects(
    features: npt.NDArray[np.float32],
    labels: npt.NDArray[np.int64],
    keys: Sequence[str],
    class_names: Sequence[str],
) -> list[Suspect]:
    """Images that the fit on all others puts into another class, the least believed first.

    features: (n, ...), flattened; labels: (n,), index into class_names; keys: n names.
    """
    scores = leave_one_out_scores(features.reshape(len(features), -1), labels, len(class_names))
    rows = np.arange(len(labels))
    given = scores[rows, labels]
    others = scores.copy()
    others[rows, labels] = -np.inf
    likelier = others.argmax(1)
    margins = given - others[rows, likelier]
    return [
        Suspect(
            keys[row], class_names[labels[row]], class_names[likelier[row]], round(float(margins[row]), 4)
        )
        for row in np.argsort(margins, kind="stable").tolist()
        if margins[row] < 0
    ]


def leave_one_out_scores(
    features: npt.NDArray[np.float32], labels: npt.NDArray[np.int64], class_count: int
) -> npt.NDArray[np.float64]:
    """Score of each class for each image, fitted without that image; float64 (n, class_count).

    Classes weigh alike, however many images they have. Memory: the square of the features' width.
    """
    mean = np.asarray(np.mean(features, axis=0, dtype=np.float64))
    counts = np.bincount(labels, minlength=class_count)
    weights = len(labels) / (class_count * counts[labels])
    gram, cross = _products(features, labels, weights, mean, class_count)
    return _scores(features, labels, weights, mean, gram, cross, PENALTY * np.trace(gram) / len(gram))


def _products(
    features: npt.NDArray[np.float32],
    labels: npt.NDArray[np.int64],
    weights: npt.NDArray[np.float64],
    mean: npt.NDArray[np.float64],
    class_count: int,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    width = features.shape[1] + 1
    gram, cross = np.zeros((width, width)), np.zeros((width, class_count))
    for start in range(0, len(features), CHUNK_ROWS):
        x = _rows(features, start, mean)
        weighted = x * weights[start : start + len(x), None]
        gram += weighted.T @ x
        cross += weighted.T @ np.eye(class_count)[labels[start : start + len(x)]]
    return gram, cross


def _scores(
    features: npt.NDArray[np.float32],
    labels: npt.NDArray[np.int64],
    weights: npt.NDArray[np.float64],
    mean: npt.NDArray[np.float64],
    gram: npt.NDArray[np.float64],
    cross: npt.NDArray[np.float64],
    penalty: float,
) -> npt.NDArray[np.float64]:
    inverse = np.linalg.inv(gram + penalty * np.eye(len(gram)))
    parts = []
    for start in range(0, len(features), CHUNK_ROWS):
        x = _rows(features, start, mean)
        projected = x @ inverse
        leverage = ((projected * x).sum(1) * weights[start : start + len(x)])[:, None]
        given = np.eye(cross.shape[1])[labels[start : start + len(x)]]
        parts.append((projected @ cross - leverage * given) / np.maximum(1 - leverage, 1e-6))
    return np.concatenate(parts)


def _rows(
    features: npt.NDArray[np.float32], start: int, mean: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Centred features with a column of ones, float64."""
    part = features[start : start + CHUNK_ROWS] - mean
    return np.hstack([part, np.ones((len(part), 1))])
