"""PyTorch as an engine."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from ..networks.contract import in_inference_order
from .device import threads_put_back
from .engine import Engine


class TorchEngine:
    """Layers on the device on which they are; an `Engine`."""

    is_same_in_any_batch = False

    def __init__(
        self, layers: nn.Sequential, device: torch.device | None = None, threads: int | None = None
    ) -> None:
        """layers: put into inference mode. device: theirs. threads: default the process's."""
        self._layers = in_inference_order(layers.eval())
        self._device, self._threads = device or torch.device("cpu"), threads

    name = f"torch {torch.__version__}"

    @torch.no_grad()
    def compute(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.floating[Any]]:
        """See Engine."""
        # For one batch at a time: between answers the process is its owner's.
        with threads_put_back(self._threads):
            output: Tensor = self._layers(torch.from_numpy(pixels).to(self._device))
            return stored(output).cpu().numpy()


class EngineBlock(nn.Module):
    """An engine as the first block of a network that trains: what it computes is constant."""

    def __init__(self, engine: Engine) -> None:
        super().__init__()
        self._engine = engine

    def forward(self, pixels: Tensor) -> Tensor:
        """uint8 (n, side, side, 3) to what a cache of the same features gives, memory layout included."""
        features = torch.from_numpy(self._engine.compute(pixels.contiguous().cpu().numpy()))
        if features.dim() == 4:
            features = features.permute(0, 3, 1, 2)
        return features.to(pixels.device)


class Stored(nn.Module):
    """Layers with their output as it is stored: what graphs are written of."""

    def __init__(self, layers: nn.Module) -> None:
        super().__init__()
        self.layers = layers

    def forward(self, images: Tensor) -> Tensor:
        """uint8 (n, side, side, 3) to (n, ...), maps as (n, H, W, C)."""
        return stored(self.layers(images))


def stored(output: Tensor) -> Tensor:
    """Output of a layer, contiguous, maps as (n, H, W, C)."""
    if output.dim() == 4:
        output = output.permute(0, 2, 3, 1)
    return output.contiguous()
