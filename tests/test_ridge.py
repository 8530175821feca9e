"""Errors of fits that leave photos out, against those fits themselves."""

from __future__ import annotations

import numpy as np
import pytest

from benchgraft.training.ridge import difference, leave_out


def _fitted(rows, wanted, weights, penalty):
    """Weighted ridge regression with a free bias, by its normal equations: weights (d, classes), bias."""
    x = np.hstack([rows, np.ones((len(rows), 1))])
    free = np.diag([penalty] * rows.shape[1] + [0.0])
    solution = np.linalg.solve(x.T @ (weights[:, None] * x) + free, x.T @ (weights[:, None] * wanted))
    return solution[:-1], solution[-1]


@pytest.mark.parametrize("is_grouped", [False, True])
def test_errors_are_those_of_fits_without_the_photo_or_its_group(is_grouped):
    rng = np.random.default_rng(0)
    labels = np.array([0] * 12 + [1] * 6 + [2] * 5)
    features = rng.normal(size=(23, 7)) + labels[:, None] * rng.normal(size=7)
    groups = rng.integers(0, 9, 23) if is_grouped else np.arange(23)
    found = leave_out(features, labels, groups if is_grouped else None)

    counts = np.bincount(labels)
    weights = 23 / (3 * counts[labels])
    rows = features - np.average(features, axis=0, weights=weights)
    rows /= np.sqrt(np.average((rows**2).mean(1), weights=weights))
    wanted = np.eye(3)[labels]
    for row in range(23):
        rest = groups != groups[row]
        weight, bias = _fitted(rows[rest], wanted[rest], weights[rest], 23 * found.strength)
        answer = rows[row] @ weight + bias
        assert found.errors[row] == pytest.approx(((wanted[row] - answer) ** 2).sum(), rel=1e-8)
        assert found.right[row] == (answer.argmax() == labels[row])
    per_class = [found.right[labels == label].mean() for label in range(3)]
    assert found.balanced_accuracy == pytest.approx(np.mean(per_class))


def test_features_that_know_the_class_are_told_from_noise():
    rng = np.random.default_rng(1)
    labels = np.arange(60) % 2
    knowing = leave_out(rng.normal(size=(60, 20)) + labels[:, None], labels)
    noise = leave_out(rng.normal(size=(60, 20)), labels)
    worse, error = difference(noise, knowing)
    assert worse > 4 * error > 0
    assert difference(knowing, knowing) == (0.0, 0.0)


def test_a_feature_that_is_no_number_is_refused():
    features = np.ones((4, 2))
    features[1, 1] = np.nan
    with pytest.raises(ValueError, match="not finite"):
        leave_out(features, np.array([0, 1, 0, 1]))
