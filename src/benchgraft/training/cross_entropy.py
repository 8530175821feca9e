"""What a softmax classifier is fitted by: mean cross-entropy and a penalty on its weights.

A point is float64 (classes, d + 1): a row of weights for each class, and its bias, which has no penalty.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from .products import Factor
from .scaled_rows import ScaledRows

_SAMPLE = 4096
"""Rows for the curvature; at least four a feature where there are so many."""
_LEAST = 0.01
"""Share of the curvature that a bias has without features: keeps steps finite where all are certain."""
_ROUNDING = 1e-6
"""Share of the matrix' trace that is added, so that it has a factor in float32."""


class CrossEntropy:
    """Weighted mean over rows, in nats, plus strength / 2 times the sum of squared weights."""

    def __init__(self, rows: ScaledRows, strength: float) -> None:
        self._rows, self._strength = rows, strength

    def __call__(self, point: Tensor) -> tuple[float, Tensor]:
        """Value and gradient, in one pass over the rows."""
        gradient = torch.zeros_like(point)
        value = 0.0
        for loss, of_weights, of_biases in self._rows.each(partial(self._block, *in_float32(point))):
            value += loss
            gradient[:, :-1] += of_weights
            gradient[:, -1] += of_biases
        weights = point[:, :-1]
        gradient[:, :-1] += self._strength * weights
        return value + self._strength / 2 * float(weights.square().sum()), gradient

    def _block(
        self, weights: Tensor, biases: Tensor, block: slice, x: Factor
    ) -> tuple[float, Tensor, Tensor]:
        """Loss, and gradient of weights and biases, of some rows."""
        labels, share = self._rows.labels[None, block], self._rows.weights[block]
        logs = torch.log_softmax(x.scores(weights, biases), 0)
        loss = -float((logs.gather(0, labels)[0] * share).sum(dtype=torch.float64))
        residual = logs.exp_().scatter_add_(0, labels, torch.full_like(share[None], -1)).mul_(share)
        return loss, x.summed(residual), residual.sum(1, dtype=torch.float64)


class InverseCurvature:
    """About the inverse Hessian at a point: one matrix for all classes, as one for each costs too much.

    The Hessian couples classes; each one's own part is the mean of p (1 - p) x x' over rows, and taken here
    is the mean of those parts over the classes, from a sample of rows.
    """

    def __init__(self, rows: ScaledRows, point: Tensor, strength: float) -> None:
        x, share = rows.sample(max(_SAMPLE, 4 * rows.dimensions))
        chances = torch.softmax(Factor(x).scores(*in_float32(point)), 0).T
        spread = chances * (1 - chances) * (share / share.sum())[:, None]
        least = _LEAST * rows.shares_of_classes(len(point))
        self._of_biases = torch.maximum(spread.sum(0, dtype=torch.float64), least + 1e-12)
        self._roots = x.mul_(spread.mean(1).sqrt_()[:, None])
        self._is_dual = 2 * len(x) < rows.dimensions
        if self._is_dual:  # few rows, and a difference below that float32 would not survive
            self._roots = self._roots.double()
        matrix = self._roots @ self._roots.T if self._is_dual else Factor(self._roots).summed(self._roots.T)
        self._strength = strength + _ROUNDING * float(matrix.trace())
        matrix.diagonal().add_(self._strength)
        self._factor = torch.linalg.cholesky(matrix)

    def __call__(self, gradient: Tensor) -> Tensor:
        """Times a gradient, (classes, d + 1)."""
        weights = gradient[:, :-1].T.to(self._factor.dtype)
        if self._is_dual:  # the identity of Woodbury
            inner = torch.cholesky_solve(self._roots @ weights, self._factor)
            solved = (weights - self._roots.T @ inner) / self._strength
        else:
            solved = torch.cholesky_solve(weights, self._factor)
        return torch.cat([solved.T.double(), (gradient[:, -1] / self._of_biases)[:, None]], 1)


def in_float32(point: Tensor) -> tuple[Tensor, Tensor]:
    """(weights (classes, d), biases (classes, 1))."""
    return point[:, :-1].float(), point[:, -1:].float()
