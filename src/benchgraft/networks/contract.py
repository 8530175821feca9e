"""What every network is here: a chain of named blocks, so that it can be cut, frozen and kept in parts.

The first child, `input`, takes uint8 pixels: prefix, feature cache, prediction and export cannot disagree
about their scaling. The last child is the head, the only one whose size follows the number of classes.
Every parameter and every buffer is in exactly one child.
"""

from __future__ import annotations

import contextlib
import itertools
from collections import OrderedDict
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..config.network import InputSpec, NetworkSpec

INPUT = "input"


class Input(nn.Module):
    """uint8 pixels (N, H, W, 3) to normalized float32 (N, 3, side, side), channels last in memory."""

    def __init__(self, spec: InputSpec) -> None:
        super().__init__()
        self._side, self._mode = spec.side, spec.interpolation
        self._scale = [1 / (255 * std) for std in spec.std]
        self._shift = [mean / std for mean, std in zip(spec.mean, spec.std, strict=True)]

    def forward(self, pixels: Tensor) -> Tensor:
        """With interpolation (half-pixel centres) where the pictures have another size."""
        image = pixels.permute(0, 3, 1, 2).float()
        image = image.mul_(self._of_channels(self._scale, image)).sub_(self._of_channels(self._shift, image))
        if image.shape[-1] != self._side or image.shape[-2] != self._side:
            image = functional.interpolate(image, size=(self._side, self._side), mode=self._mode)
        return image

    def _of_channels(self, values: list[float], image: Tensor) -> Tensor | float:
        """One number where all channels have the same."""
        if len(set(values)) == 1:
            return values[0]
        return torch.tensor(values, dtype=image.dtype, device=image.device)[:, None, None]


class Head(nn.Module):
    """Dropout and the classifier."""

    def __init__(self, classifier: nn.Module, dropout: float) -> None:
        super().__init__()
        self.classifier = classifier
        self.dropout = dropout

    def forward(self, x: Tensor) -> Tensor:
        """(N, features) to (N, classes)."""
        if self.dropout > 0:
            x = functional.dropout(x, p=self.dropout, training=self.training)
        scores: Tensor = self.classifier(x)
        return scores


class Network(nn.Sequential):
    """A network as a chain: `input`, then its blocks in order, the last of them the head."""

    def __init__(self, spec: NetworkSpec, blocks: Sequence[tuple[str, nn.Module]], class_count: int) -> None:
        """spec: with its input. Raises AssertionError for one without."""
        assert spec.input is not None
        super().__init__(OrderedDict([(INPUT, Input(spec.input)), *blocks]))
        self.spec = spec
        self.class_count = class_count

    @property
    def block_names(self) -> list[str]:
        """In order, without `input`."""
        return [name for name, _ in self.named_children()][1:]

    @property
    def head_name(self) -> str:
        """Of the last block."""
        return self.block_names[-1]


def channels_last(network: Network) -> Network:
    """The same network in the memory layout in which batches come from the store.

    Convolutions run 1.4 times faster so on CPUs.
    """
    return network.to(memory_format=torch.channels_last)


def split_at(network: Network, cut: str | None) -> tuple[nn.Sequential, nn.Sequential]:
    """The network as two sequences that share its tensors: up to and with the block `cut`, and the rest.

    None: nothing, not even `input`, and all of it.
    """
    end = network.block_names.index(cut) + 2 if cut else 0
    children = list(network.children())
    return nn.Sequential(*children[:end]), nn.Sequential(*children[end:])


def draw_head(network: Network, seed: int) -> None:
    """New weights for the head, Glorot-uniform, with biases of zero: a pure function of seed and shape."""
    index = len(network.block_names)
    generator = torch.Generator().manual_seed(seed * 1009 + index)
    for layer in network.get_submodule(network.head_name).modules():
        if isinstance(layer, nn.Linear):
            nn.init.xavier_uniform_(layer.weight, generator=generator)
            nn.init.zeros_(layer.bias)


def last_linear(layers: nn.Module) -> nn.Linear:
    """The last linear layer: of a network, its classifier."""
    return [layer for layer in layers.modules() if isinstance(layer, nn.Linear)][-1]


@contextlib.contextmanager
def inference_mode(module: nn.Module) -> Iterator[None]:
    """Inside it no layer draws or learns; afterwards each is in the mode that it was in."""
    modes = [(layer, layer.training) for layer in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for layer, is_training in modes:
            layer.training = is_training


def in_inference_order(layers: nn.Sequential) -> nn.Sequential:
    """The same layers in the order that computes the same bits with least work, for inference mode.

    A BatchNorm whose weights are not negative is monotone, rounding included, so that the largest of some
    values is also the largest after it: it may come after the pooling and see a quarter of the values.
    """
    order = list(layers)
    for place, (layer, follower) in enumerate(itertools.pairwise(list(layers))):
        if (
            isinstance(layer, nn.BatchNorm2d)
            and isinstance(follower, nn.MaxPool2d)
            and bool((layer.weight >= 0).all())
        ):
            order[place : place + 2] = follower, layer
    return nn.Sequential(*order)
