"""Folded BatchNorms and gradients of depthwise convolutions, against PyTorch's own."""

from __future__ import annotations

import pytest
import timm
import torch
from torch import nn
from torch.nn import functional

from benchgraft.networks.folded import folded
from benchgraft.networks.freeze import hold_statistics

NETWORKS = [
    "tf_efficientnet_lite0",
    "mobilenetv3_large_100",
    "resnet18",
]


def network(name: str) -> nn.Module:
    """With statistics as a trained network may have them, kept."""
    torch.manual_seed(0)
    made = timm.create_model(name, num_classes=5, drop_rate=0.0, drop_path_rate=0.0)
    for layer in made.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean.normal_(0, 0.2)
            layer.running_var.uniform_(0.5, 2)
            layer.weight.data.uniform_(0.5, 1.5)
            layer.bias.data.normal_(0, 0.2)
    chain = nn.Sequential(made).to(memory_format=torch.channels_last).train()
    hold_statistics(chain)
    return chain


def images(size: int = 224, count: int = 4) -> torch.Tensor:
    drawn = torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(1))
    return drawn.to(memory_format=torch.channels_last)


def gradients(module: nn.Module, inputs: torch.Tensor) -> dict[str, torch.Tensor]:
    module.zero_grad()
    functional.cross_entropy(module(inputs), torch.arange(len(inputs)) % 5).backward()
    return {name: parameter.grad for name, parameter in module.named_parameters()}


def calls_of_batch_norm(module: nn.Module, inputs: torch.Tensor, monkeypatch) -> int:
    counted = []
    plain = functional.batch_norm
    monkeypatch.setattr(functional, "batch_norm", lambda *a, **k: counted.append(1) or plain(*a, **k))
    module(inputs)
    monkeypatch.undo()
    return len(counted)


@pytest.mark.parametrize("name", NETWORKS)
def test_outputs_and_gradients_are_those_of_the_plain_network(name, monkeypatch):
    # In float64: in float32 a deep network with random weights carries rounding over the edges of its ReLU6s.
    made, inputs = network(name).double(), images(97).double()
    outputs, wanted = made(inputs).detach(), gradients(made, inputs)
    norms = calls_of_batch_norm(made, inputs, monkeypatch)
    with folded(made, inputs[:1]):
        torch.testing.assert_close(made(inputs).detach(), outputs, rtol=1e-8, atol=1e-8)
        found = gradients(made, inputs)
        assert calls_of_batch_norm(made, inputs, monkeypatch) == 0
    assert found.keys() == wanted.keys()
    for key, gradient in wanted.items():
        assert (found[key] - gradient).norm() <= 1e-8 * gradient.norm() + 1e-12, key
    assert calls_of_batch_norm(made, inputs, monkeypatch) == norms
    assert torch.equal(made(inputs).detach(), outputs)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(
    ("width", "padding", "size"),
    [
        (3, 1, 14),
        (4, 1, 14),
        (5, 2, 14),
        (5, 2, 15),
        (5, 0, 15),
        (7, 3, 15),
        (9, 4, 14),
        (9, 4, 1),
        (11, 5, 2),
    ],
)
def test_gradients_of_depthwise_convolutions_of_all_widths(width, padding, size, stride):
    torch.manual_seed(width)
    conv = nn.Conv2d(6, 6, width, stride, padding, groups=6, bias=width == 5)
    pair = nn.Sequential(nn.Sequential(conv, nn.BatchNorm2d(6).eval()))
    inputs = torch.randn(3, 6, size, size)

    def run() -> list[torch.Tensor]:
        given = inputs.clone().requires_grad_()
        pair.zero_grad()
        output = pair(given)
        (output * torch.linspace(-1, 1, output.numel()).view_as(output)).sum().backward()
        return [output.detach(), given.grad, *(parameter.grad.clone() for parameter in pair.parameters())]

    wanted = run()
    with folded(pair, inputs[:1]):
        found = run()
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3)


class _TwoReaders(nn.Module):
    """A convolution whose output another layer takes as well."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)

    def forward(self, inputs):
        found = self.conv(inputs)
        return self.norm(found) + found


def test_a_convolution_with_two_readers_stays_as_it_is():
    made, inputs = nn.Sequential(_TwoReaders()).eval(), images(16)
    wanted = made(inputs)
    with folded(made, inputs[:1]):
        assert torch.equal(made(inputs), wanted)


def test_blocks_that_do_not_train_stay_as_they_are_to_the_bit():
    """So that features of a frozen prefix, kept by a cache, are those that the whole network computes."""
    made, inputs = network("resnet18")[0], images(64)
    prefix = nn.Sequential(made.conv1, made.bn1, made.act1, made.maxpool, made.layer1)
    for parameter in prefix.parameters():
        parameter.requires_grad = False
    rest = nn.Sequential(made.layer2, made.layer3)
    whole = nn.Sequential(*prefix, *rest)
    features = prefix(inputs)
    with folded(whole, inputs[:1]):
        uncached = whole(inputs)
    with folded(rest, features[:1]):
        cached = rest(features)
    assert torch.equal(uncached, cached)
    assert not torch.equal(whole(inputs), uncached)  # something was folded


def test_modes_and_weights_are_left_as_they_were():
    made = network("resnet18")
    modes = {name: layer.training for name, layer in made.named_modules()}
    state = {name: tensor.clone() for name, tensor in made.state_dict().items()}
    with folded(made, images()[:1]):
        assert {name: layer.training for name, layer in made.named_modules()} == modes
        assert made.state_dict().keys() == state.keys()
    assert all(torch.equal(tensor, state[name]) for name, tensor in made.state_dict().items())
