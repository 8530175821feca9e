"""Class probabilities of images, without training."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from ..engines.workers import ALONE, Workers
from ..networks.contract import in_inference_order, inference_mode
from .batches import RELEASED_IMAGES, Rows


@dataclass(frozen=True)
class Evaluation:
    """What a model says of n images."""

    predicted: npt.NDArray[np.int64]
    confidence: npt.NDArray[np.float64]
    """Probability of the predicted class."""
    accuracy: float
    loss: float
    """Mean cross-entropy in nats."""


def full_batches(positions: Tensor, batch_size: int) -> Iterator[tuple[Tensor, int]]:
    """These positions in order in batches of exactly `batch_size`, the last filled up with its last one.

    Yields (positions, how many of them count).
    """
    for start in range(0, len(positions), batch_size):
        part = positions[start : start + batch_size]
        fill = part[-1:].expand(batch_size - len(part))
        yield torch.cat([part, fill]), len(part)


@torch.no_grad()
def outputs(module: nn.Sequential, rows: Rows, batch_size: int, workers: Workers = ALONE) -> Tensor:
    """Of `module` in inference mode for all rows, float32 (n, classes), on the CPU; its mode is put back.

    workers: each computes some batches, and all get all of it.
    """
    parts, read = [], 0
    batches = list(full_batches(torch.arange(len(rows)), batch_size))
    with inference_mode(module):
        layers = in_inference_order(module)
        for positions, count in batches[workers.part(len(batches))]:
            parts.append(layers(rows.take(positions))[:count])
            read += count
            if read >= RELEASED_IMAGES:
                rows.release()
                read = 0
    if not workers.is_alone:
        parts = workers.gather([part.cpu() for part in parts])
    return torch.cat(parts).float().cpu()


def evaluate(module: nn.Sequential, rows: Rows, batch_size: int, workers: Workers = ALONE) -> Evaluation:
    """Predictions of `module` in inference mode for all rows; workers: as outputs takes them."""
    logits = outputs(module, rows, batch_size, workers)
    loss = functional.cross_entropy(logits, rows.labels).item()
    confidence, predicted = logits.softmax(1).max(1)
    return Evaluation(
        predicted.numpy(),
        confidence.numpy().astype(np.float64),
        (predicted == rows.labels).double().mean().item(),
        loss,
    )
