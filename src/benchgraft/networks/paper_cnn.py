"""The paper's CNN (table 1) with its layers named as there, for any number of classes.

Each convolution and the first two dense layers carry their ReLU (before the BatchNorm), so a named layer's
output is what Keras calls that layer's output.
"""

from __future__ import annotations

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn import functional

from ..config.network import NetworkSpec
from .contract import Network


class PaperOptions(BaseModel):
    """What table 1 leaves open about the network. Defaults are PyTorch's."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    batch_norm_momentum: float = Field(default=0.1, gt=0, le=1)
    """Share of the new batch in the running statistics (Keras' default 0.99 is 0.01 here)."""
    batch_norm_epsilon: float = Field(default=1e-5, gt=0)


class Convolution(nn.Conv2d):
    """Convolution without padding, and ReLU."""

    def reset_parameters(self) -> None:
        """Nothing: `initialize` draws the weights, or a model file has them."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, filters, H', W')."""
        return functional.relu(super().forward(x), inplace=True)


class MaxPool(nn.MaxPool2d):
    """The largest of each 2 x 2 values."""

    def __init__(self) -> None:
        super().__init__(2)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C, H // 2, W // 2)."""
        if x.requires_grad or x.device.type != "cpu" or torch.compiler.is_exporting():
            pooled: Tensor = super().forward(x)
            return pooled
        return _pooled(x)


def _pooled(x: Tensor) -> Tensor:
    """The same bits in a third of the time, without the places of the maxima that a gradient needs."""
    _, channels, height, width = x.shape
    rows = x.permute(0, 2, 3, 1)
    higher = torch.maximum(rows[:, 0 : height - 1 : 2], rows[:, 1:height:2])
    if width % 2 == 0:  # neighbours side by side in one long row, which is quicker than every other column
        pairs = higher.reshape(len(x), height // 2, width // 2, 2 * channels)
        largest = torch.maximum(pairs[..., :channels], pairs[..., channels:])
    else:
        largest = torch.maximum(higher[:, :, 0 : width - 1 : 2], higher[:, :, 1:width:2])
    return largest.permute(0, 3, 1, 2)


class Dense(nn.Linear):
    """Fully connected layer; feature maps are flattened channels last, as Keras does. Optional ReLU."""

    def __init__(self, inputs: int, outputs: int, relu: bool) -> None:
        super().__init__(inputs, outputs)
        self.relu = relu

    def reset_parameters(self) -> None:
        """Nothing, as in Convolution."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) or (N, inputs) to (N, outputs)."""
        if x.dim() == 4:
            x = x.permute(0, 2, 3, 1).flatten(1)
        x = super().forward(x)
        return functional.relu(x, inplace=True) if self.relu else x


FIRST_DENSE = "dense_1"
"""From here on it trains where nobody says otherwise."""


def chain(spec: NetworkSpec, class_count: int) -> list[tuple[str, nn.Module]]:
    """The layers of table 1 by name, their weights yet to be filled: by `initialize`, or from a model file.

    Raises pydantic's ValidationError for options that are none of PaperOptions.
    """
    options = PaperOptions.model_validate(spec.options)

    def normalization(filters: int) -> nn.BatchNorm2d:
        return nn.BatchNorm2d(filters, eps=options.batch_norm_epsilon, momentum=options.batch_norm_momentum)

    return [
        ("conv2d_1", Convolution(3, 16, 5, stride=2)),
        ("batch_normalization_1", normalization(16)),
        ("max_pooling2d_1", MaxPool()),
        ("conv2d_2", Convolution(16, 32, 3)),
        ("batch_normalization_2", normalization(32)),
        ("max_pooling2d_2", MaxPool()),
        ("conv2d_3", Convolution(32, 64, 3)),
        ("conv2d_4", Convolution(64, 128, 3)),
        ("max_pooling2d_3", MaxPool()),
        ("dense_1", Dense(1152, 512, relu=True)),
        ("dense_2", Dense(512, 512, relu=True)),
        ("dense_3", Dense(512, class_count, relu=False)),
    ]


def initialize(network: Network, seed: int) -> None:
    """Draw all weights He-normal, as a ReLU follows; biases are zero. Those of the head are for draw_head.

    Each layer draws from its own stream, so that a head of another size changes no other.
    """
    for index, layer in enumerate(network):
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            generator = torch.Generator().manual_seed(seed * 1009 + index)
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu", generator=generator)
            nn.init.zeros_(_bias(layer))


def _bias(layer: nn.Conv2d | nn.Linear) -> Tensor:
    assert layer.bias is not None
    return layer.bias
