"""Batches in a seeded order over any array of rows; every batch is full.

The order is a pure function of seed and epoch, so a position is one number (the step) and a run can go on
anywhere. A short last batch is never fed: convolution kernels may differ in the last bits between batch
shapes, and then a cached run would no longer be the uncached one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor


class Augmentation(BaseModel):
    """Seeded changes of training images. Only for pixels: nothing before a cut may vary."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    flip: bool = False
    """Mirror each image left to right with probability 1/2."""
    shift: int = 0
    """Move each image by up to this many pixels each way; edge pixels fill the gap."""

    @property
    def is_used(self) -> bool:
        """Whether anything varies."""
        return self.flip or self.shift > 0


@dataclass(frozen=True)
class Rows:
    """Images or features of some rows of an array, with labels.

    array: uint8 pixels (N, H, W, 3), float32 features (N, H, W, C) or (N, F); may be memory-mapped.
    index: int64 (n,), the rows of `array` that take part. labels: int64 (n,).
    """

    array: Tensor
    index: Tensor
    labels: Tensor
    device: torch.device

    def __len__(self) -> int:
        return len(self.index)

    def take(self, positions: Tensor) -> Tensor:
        """Inputs at these positions (int64, CPU); feature maps come as (n, C, H, W), channels last."""
        batch = torch.index_select(self.array, 0, self.index[positions])
        if batch.dim() == 4 and batch.dtype != torch.uint8:
            batch = batch.permute(0, 3, 1, 2)
        return batch.to(self.device)

    def take_labels(self, positions: Tensor) -> Tensor:
        """Labels at these positions, int64 (n,)."""
        return self.labels[positions].to(self.device)


def rows_of(
    array: npt.NDArray[Any], index: npt.NDArray[np.int64], labels: npt.NDArray[np.int64], device: torch.device
) -> Rows:
    """Rows over a numpy array, which is not copied."""
    return Rows(torch.from_numpy(array), torch.from_numpy(index), torch.from_numpy(labels), device)


def steps_per_epoch(images: int, batch_size: int) -> int:
    """Full batches in an epoch; the rest of the permutation is left out, another rest each epoch."""
    return max(1, images // batch_size)


def epoch_order(images: int, batch_size: int, seed: int, epoch: int) -> Tensor:
    """Positions of an epoch, int64 (steps, batch_size). Fewer images than a batch are repeated to fill it."""
    permutation = np.random.default_rng([seed, epoch]).permutation(images)
    steps = steps_per_epoch(images, batch_size)
    return torch.from_numpy(np.resize(permutation, steps * batch_size).reshape(steps, batch_size))


def augment(pixels: Tensor, augmentation: Augmentation, seed: int, step: int) -> Tensor:
    """Augmented copy of uint8 pixels (n, H, W, 3); a pure function of pixels, seed and step."""
    if not augmentation.is_used:
        return pixels
    rng = np.random.default_rng([seed, step, 1])
    n, height, width, _ = pixels.shape
    rows, columns = (
        np.broadcast_to(np.arange(height), (n, height)),
        np.broadcast_to(np.arange(width), (n, width)),
    )
    if augmentation.shift:
        moves = rng.integers(-augmentation.shift, augmentation.shift + 1, size=(2, n, 1))
        rows = np.clip(rows + moves[0], 0, height - 1)
        columns = np.clip(columns + moves[1], 0, width - 1)
    if augmentation.flip:
        columns = np.where(rng.random((n, 1)) < 0.5, columns[:, ::-1], columns)
    places = torch.from_numpy((rows[:, :, None] * width + columns[:, None, :]).reshape(n, -1, 1))
    flat = pixels.reshape(n, height * width, 3)
    return flat.gather(1, places.expand(-1, -1, 3).to(pixels.device)).reshape(pixels.shape)
