"""Products of float32 matrices on the CPU, by oneDNN where PyTorch has it.

PyTorch gives its convolutions to oneDNN and its products of matrices to MKL, which takes narrower
instructions on processors of other makers than Intel: 105 GFLOP/s a core of an AMD EPYC, where oneDNN has 225
(2026-11-27). Sums differ by the order in which they are rounded, no more.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor
from torch.nn import functional


class Factor:
    """A matrix that stands in many products: float32 (n, d), n > 0."""

    def __init__(self, rows: Tensor, by_onednn: bool | None = None) -> None:
        """by_onednn: None finds out whether that works."""
        is_used = has_onednn() if by_onednn is None else by_onednn
        self._rows = rows.to_mkldnn() if is_used else rows

    def scores(self, weights: Tensor, biases: Tensor) -> Tensor:
        """Weights (classes, d) times the rows, plus biases (classes, 1): (classes, n)."""
        if not self._rows.is_mkldnn:  # with ten classes in 60 % of the time that rows @ weights.T takes
            return torch.addmm(biases, weights, self._rows.T)
        found = functional.linear(self._rows, weights.to_mkldnn(), biases.reshape(-1).to_mkldnn())
        return found.to_dense().T.contiguous()

    def summed(self, shares: Tensor) -> Tensor:
        """The rows, added up with shares (k, n): (k, d)."""
        if not self._rows.is_mkldnn:
            return shares @ self._rows
        # It is what the gradient of a linear layer's weights is computed by; of those it wants no value.
        gradient = torch.ops.aten.mkldnn_linear_backward_weights
        found: Tensor = gradient(shares.T.contiguous().to_mkldnn(), self._rows, self._rows, False)[0]
        return found.to_dense()

    def products(self, others: Tensor, biases: Tensor) -> Tensor:
        """Of each of the others (m, d) with each row, plus a bias (n,) for each row: (m, n)."""
        if not self._rows.is_mkldnn:
            return torch.addmm(biases, others, self._rows.T)
        return functional.linear(others.to_mkldnn(), self._rows, biases.to_mkldnn()).to_dense()


@cache
def has_onednn() -> bool:
    """Whether this PyTorch multiplies by oneDNN, and rightly."""
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    rows, weights = torch.arange(12.0).view(4, 3) / 7, torch.arange(6.0).view(2, 3) / 5
    biases, shares = torch.ones(2, 1), torch.arange(8.0).view(2, 4)
    try:
        pairs = [
            (found.scores(weights, biases), found.summed(shares), found.products(weights, torch.ones(4)))
            for found in (Factor(rows, by_onednn) for by_onednn in (True, False))
        ]
    except Exception:  # whatever another version of PyTorch says to it: the plain way is there
        return False
    return all(torch.allclose(one, other, atol=1e-5) for one, other in zip(*pairs, strict=True))
