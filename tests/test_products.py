"""Products by oneDNN against PyTorch's own."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from benchgraft.training.products import Factor, has_onednn


@pytest.mark.parametrize(
    "by_onednn",
    [False, pytest.param(True, marks=pytest.mark.skipif(not has_onednn(), reason="no oneDNN here"))],
)
@pytest.mark.parametrize(
    ("rows", "width", "classes"), [(1, 1, 1), (7, 5, 3), (300, 1280, 10), (64, 33, 1000)]
)
def test_products_are_those_of_plain_matrices(rows, width, classes, by_onednn):
    torch.manual_seed(rows)
    x, weights, biases = torch.randn(rows, width), torch.randn(classes, width), torch.randn(classes, 1)
    shares, factor = torch.randn(classes, rows), Factor(x, by_onednn)
    exact = {"rtol": 1e-4, "atol": 1e-4 * width**0.5}
    torch.testing.assert_close(factor.scores(weights, biases), weights @ x.T + biases, **exact)
    torch.testing.assert_close(factor.summed(shares), shares @ x, **exact)
    ones = torch.arange(float(rows))
    torch.testing.assert_close(factor.products(weights, ones), weights @ x.T + ones, **exact)


def test_a_pytorch_without_these_products_does_without(monkeypatch):
    has_onednn.cache_clear()
    monkeypatch.setattr("benchgraft.training.products.functional", SimpleNamespace())
    try:
        assert not has_onednn()
        assert torch.equal(Factor(torch.eye(2)).summed(torch.eye(2)), torch.eye(2))
    finally:
        has_onednn.cache_clear()
