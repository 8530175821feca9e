"""The network as a PyTorch user writes it, for the contenders that are built on PyTorch."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import torch
from torch import Tensor, nn

from .material import HEAD, LAYERS, Arrays

FILTERS = {"conv2d_1": (3, 16, 5, 2), "conv2d_2": (16, 32, 3, 1), "conv2d_3": (32, 64, 3, 1)}
FILTERS["conv2d_4"] = (64, 128, 3, 1)
POOLED = (3, 3, 128)


class Network(nn.Sequential):
    """Named layers; frozen ones have no gradient, and their BatchNorms stay in inference mode."""

    frozen: tuple[str, ...] = ()

    def train(self, mode: bool = True) -> Network:
        """As of any module, but for what is frozen."""
        super().train(mode)
        for name in self.frozen:
            self.get_submodule(name).eval()
        return self


def network(arrays: Arrays, frozen: tuple[str, ...] = (), start: str | None = None) -> Network:
    """Table 1 from these weights; with `start` only what comes after that layer, on its features."""
    parts: OrderedDict[str, nn.Module] = OrderedDict()
    for name in LAYERS[LAYERS.index(start) + 1 :] if start else LAYERS:
        parts.update(_modules(name, len(arrays[f"{HEAD}.bias"])))
    model = Network(parts)
    tensors = {k: torch.from_numpy(_turned(k, v)) for k, v in arrays.items() if k.partition(".")[0] in parts}
    model.load_state_dict(tensors, strict=False)
    model.frozen = tuple(name for name in frozen if name in parts)
    for name in model.frozen:
        model.get_submodule(name).requires_grad_(False)
    return model.to(memory_format=torch.channels_last)


def _modules(name: str, classes: int) -> dict[str, nn.Module]:
    if name in FILTERS:
        inputs, outputs, size, stride = FILTERS[name]
        return {name: nn.Conv2d(inputs, outputs, size, stride), f"{name}_relu": nn.ReLU()}
    if name.startswith("batch"):
        return {name: nn.BatchNorm2d(16 if name.endswith("1") else 32)}
    if name.startswith("max"):
        return {name: nn.MaxPool2d(2)}
    if name == HEAD:
        return {name: nn.Linear(512, classes)}
    flat = {"flatten": nn.Flatten()} if name == "dense_1" else {}
    inputs = 1152 if name == "dense_1" else 512
    return flat | {name: nn.Linear(inputs, 512), f"{name}_relu": nn.ReLU()}


def _turned(name: str, array: Any) -> Any:
    """The weights of dense_1 count channels last; nn.Flatten counts them first."""
    if name != "dense_1.weight":
        return array
    return array.reshape(512, *POOLED).transpose(0, 3, 1, 2).reshape(512, -1).copy()


def scaled(pixels: Tensor) -> Tensor:
    """uint8 (n, H, W, 3) to float32 (n, 3, H, W) in -1..1, channels last in memory."""
    return pixels.permute(0, 3, 1, 2).float().mul_(2 / 255).sub_(1)
