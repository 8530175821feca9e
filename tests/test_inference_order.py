"""What inference mode does with less work gives the bits of the plain network."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from benchgraft.config.network import PAPER
from benchgraft.networks.build import build
from benchgraft.networks.contract import in_inference_order, split_at
from benchgraft.networks.paper_cnn import MaxPool


def _pixels(count: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(count)
    return torch.randint(0, 256, (count, 100, 100, 3), dtype=torch.uint8, generator=generator)


@pytest.fixture
def model():
    made = build(PAPER, 5, seed=3).eval()
    with torch.no_grad():
        for layer in made:
            if isinstance(layer, nn.BatchNorm2d):
                for tensor in (layer.weight, layer.running_var):
                    tensor.uniform_(0, 2)
                for tensor in (layer.bias, layer.running_mean):
                    tensor.normal_()
    return made


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize("shape", [(4, 16, 48, 48), (2, 128, 7, 7), (3, 5, 5, 6), (1, 3, 6, 5), (2, 1, 2, 2)])
def test_pooling_without_gradient_is_pooling(shape, layout):
    x = torch.randn(shape).to(memory_format=layout)
    x[0, 0, 0, 0] = float("nan")
    ours, theirs = MaxPool()(x), nn.MaxPool2d(2)(x)
    assert torch.equal(ours.isnan(), theirs.isnan())
    assert torch.equal(ours.nan_to_num(), theirs.nan_to_num())


def test_pooling_passes_the_same_gradient(model):
    x = torch.relu(torch.randn(4, 16, 48, 48)).requires_grad_()  # many equal values: zeros
    ours, theirs = (torch.autograd.grad((pool(x) ** 2).sum(), x)[0] for pool in (MaxPool(), nn.MaxPool2d(2)))
    assert torch.equal(ours, theirs)


@pytest.mark.parametrize("count", [1, 32, 50])
@pytest.mark.parametrize(
    "cut", [None, "max_pooling2d_1", "batch_normalization_2", "max_pooling2d_2", "dense_1"]
)
def test_inference_order_changes_no_bit(model, cut, count):
    layers = split_at(model, cut)[0] if cut else model
    faster = in_inference_order(layers)
    with torch.no_grad():
        assert torch.equal(faster(_pixels(count)), layers(_pixels(count)))
    if cut != "batch_normalization_2":
        assert [type(layer) for layer in faster] != [type(layer) for layer in layers]


@pytest.mark.parametrize("weight", [-0.1, float("nan")])
def test_a_normalization_that_turns_the_order_of_values_stays_before_pooling(model, weight):
    with torch.no_grad():
        model.batch_normalization_1.weight[7] = weight
    faster = in_inference_order(model)
    assert list(faster)[2] is model.batch_normalization_1
    with torch.no_grad():
        assert torch.equal(faster(_pixels(2)).isnan(), model(_pixels(2)).isnan())
        assert torch.equal(faster(_pixels(2)).nan_to_num(), model(_pixels(2)).nan_to_num())
