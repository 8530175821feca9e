"""The paper's CNN (table 1) with its layers named as there, for any number of classes.

Each convolution and the first two dense layers carry their ReLU (before the BatchNorm), so a named layer's
output is what Keras calls that layer's output. Scaling of uint8 pixels, and the enlargement of smaller
images, is the model's first layer: prefix, feature cache, prediction and export cannot disagree about it.
"""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn import functional

IMAGE_SIZE = 100
"""Side of the square input in pixels (table 1: 48 = (100 - 5) // 2 + 1)."""


class ModelConfig(BaseModel):
    """What table 1 leaves open about the network. Defaults are PyTorch's."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    batch_norm_momentum: float = Field(default=0.1, gt=0, le=1)
    """Share of the new batch in the running statistics (Keras' default 0.99 is 0.01 here)."""
    batch_norm_epsilon: float = Field(default=1e-5, gt=0)


class Scale(nn.Module):
    """uint8 pixels (N, H, W, 3) to float32 (N, 3, 100, 100) in -1..1, channels last in memory."""

    def forward(self, pixels: Tensor) -> Tensor:
        """Bilinear enlargement (half-pixel centres) where the image is not 100x100 already."""
        image = pixels.permute(0, 3, 1, 2).float().mul_(2 / 255).sub_(1)
        if image.shape[-1] != IMAGE_SIZE or image.shape[-2] != IMAGE_SIZE:
            image = functional.interpolate(image, size=(IMAGE_SIZE, IMAGE_SIZE), mode="bilinear")
        return image


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


HEAD = "dense_3"
"""The output layer, the only one whose size follows the number of classes."""


class PaperCNN(nn.Sequential):
    """Table 1 as a sequence of named layers; `scale` comes before them and has no parameters.

    Its weights are yet to be filled: by `build`, or from a model file.
    """

    def __init__(self, class_count: int, config: ModelConfig | None = None) -> None:
        config = config or ModelConfig()

        def normalization(filters: int) -> nn.BatchNorm2d:
            return nn.BatchNorm2d(filters, eps=config.batch_norm_epsilon, momentum=config.batch_norm_momentum)

        layers: list[tuple[str, nn.Module]] = [
            ("scale", Scale()),
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
            (HEAD, Dense(512, class_count, relu=False)),
        ]
        super().__init__(OrderedDict(layers))
        self.config = config
        self.class_count = class_count

    @property
    def layer_names(self) -> list[str]:
        """In order, `scale` first."""
        return [name for name, _ in self.named_children()]


def build(class_count: int, seed: int, config: ModelConfig | None = None) -> PaperCNN:
    """A new network, in channels-last memory, its weights a pure function of the seed, see initialize."""
    model = PaperCNN(class_count, config)
    initialize(model, model.layer_names, seed)
    return channels_last(model)


def channels_last(model: PaperCNN) -> PaperCNN:
    """The same network in the memory layout in which batches come from the store.

    Convolutions run 1.4 times faster so on CPUs.
    """
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def initialize(model: PaperCNN, layers: Collection[str], seed: int) -> None:
    """Draw the weights of the layers named; He-normal where a ReLU follows, Glorot-uniform for the output.

    Biases are zero. Each layer draws from its own stream, so that a head of another size changes no other.
    """
    for index, (name, layer) in enumerate(model.named_children()):
        if name not in layers or not isinstance(layer, (nn.Conv2d, nn.Linear)):
            continue
        generator = torch.Generator().manual_seed(seed * 1009 + index)
        if name == HEAD:
            nn.init.xavier_uniform_(layer.weight, generator=generator)
        else:
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu", generator=generator)
        nn.init.zeros_(_bias(layer))


def _bias(layer: nn.Conv2d | nn.Linear) -> Tensor:
    assert layer.bias is not None
    return layer.bias


def in_inference_order(layers: nn.Sequential) -> nn.Sequential:
    """The same layers in the order that computes the same bits with least work, for inference mode.

    A BatchNorm whose weights are not negative is monotone, rounding included, so that the largest of four
    values is also the largest after it: it may come after the pooling and see a quarter of the values.
    """
    order = list(layers)
    for place, (layer, follower) in enumerate(itertools.pairwise(list(layers))):
        if (
            isinstance(layer, nn.BatchNorm2d)
            and isinstance(follower, MaxPool)
            and bool((layer.weight >= 0).all())
        ):
            order[place : place + 2] = follower, layer
    return nn.Sequential(*order)


@dataclass(frozen=True)
class LayerRow:
    """One line of table 1."""

    name: str
    output: tuple[int, ...]
    """As the paper prints it: (width, height, filters), or (units,)."""
    parameters: int
    """Keras' count: all four vectors of a BatchNorm."""
    megaflops: float
    """Multiply and add counted as two, for one image forward; convolution and dense layers."""


def table(model: PaperCNN) -> list[LayerRow]:
    """Table 1 of this model, its shapes taken from a forward pass of one blank image."""
    rows = []
    x: Tensor = torch.zeros(1, IMAGE_SIZE, IMAGE_SIZE, 3, dtype=torch.uint8)
    was_training = model.training
    model.eval()
    with torch.no_grad():
        for name, layer in model.named_children():
            x = layer(x)
            if name == "scale":
                continue
            shape = tuple(x.shape[1:])
            output = (shape[2], shape[1], shape[0]) if len(shape) == 3 else shape
            tensors = [*layer.parameters(), *(b for b in layer.buffers() if b.is_floating_point())]
            weights = layer.weight.numel() if isinstance(layer, (nn.Conv2d, nn.Linear)) else 0
            places = x.shape[2] * x.shape[3] if x.dim() == 4 else 1
            rows.append(LayerRow(name, output, sum(t.numel() for t in tensors), 2 * weights * places / 1e6))
    model.train(was_training)
    return rows
