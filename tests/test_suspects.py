"""Mislabelled images are found, by predictions made without them."""

from __future__ import annotations

import numpy as np
import pytest

from benchgraft import suspects
from benchgraft.suspects import find_suspects, leave_one_out_scores


def _clouds(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = np.repeat([0, 1, 2], [60, 60, 20])
    centres = rng.normal(size=(3, 12)) * 2
    return (centres[labels] + rng.normal(size=(140, 12))).astype(np.float32), labels


def test_scores_are_those_of_fits_without_the_image(monkeypatch):
    monkeypatch.setattr(suspects, "CHUNK_ROWS", 33)
    features, labels = _clouds()
    scores = leave_one_out_scores(features, labels, 3)
    x = np.hstack([features - features.mean(0, dtype=np.float64), np.ones((140, 1))])
    weights = 140 / (3 * np.bincount(labels)[labels])
    gram = (x * weights[:, None]).T @ x
    for left_out in (0, 77, 139):
        keep = np.arange(140) != left_out
        a = (x[keep] * weights[keep, None]).T @ x[keep] + 0.1 * np.trace(gram) / 13 * np.eye(13)
        fit = np.linalg.solve(a, (x[keep] * weights[keep, None]).T @ np.eye(3)[labels[keep]])
        assert scores[left_out] == pytest.approx(x[left_out] @ fit, abs=1e-9)


def test_planted_wrong_labels_lead_the_list_and_name_the_right_class():
    features, labels = _clouds()
    wrong = labels.copy()
    wrong[[3, 70, 130]] = [1, 2, 0]
    found = find_suspects(features, wrong, [f"photo {i}" for i in range(140)], ["a", "b", "c"])
    first = {suspect.key: suspect.likelier for suspect in found[:4]}
    assert {"photo 3": "a", "photo 70": "b", "photo 130": "c"}.items() <= first.items()
