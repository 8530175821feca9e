"""Lightning on ordinary photos: a frozen backbone in a LightningModule."""

from __future__ import annotations

from typing import Any

import lightning
import torch
from torch import Tensor, nn
from torch.nn import functional

from .ordinary_torch import RATE, SIDES, accuracy, freeze, loader_of, network_of
from .quiet_lightning import trainer
from .timeline import Timeline


class _Task(lightning.LightningModule):
    def __init__(self, network: nn.Module, timeline: Timeline) -> None:
        super().__init__()
        self.network, self._timeline = network, timeline
        self._head = freeze(network)
        self._right: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        """Scores of classes."""
        scores: Tensor = self.network(x.to(memory_format=torch.channels_last))
        return scores

    def on_train_epoch_start(self) -> None:
        """A frozen BatchNorm stays in inference mode."""
        self.network.eval()

    def training_step(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        """Loss of a batch."""
        return functional.cross_entropy(self(batch[0]), batch[1])

    def validation_step(self, batch: tuple[Tensor, Tensor]) -> None:
        """Count right answers."""
        self._right.append((self(batch[0]).argmax(1) == batch[1]).float())

    def on_validation_epoch_end(self) -> None:
        """The epoch's end."""
        self._timeline.epoch(float(torch.cat(self._right).mean()))
        self._right = []

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Of the head alone."""
        return torch.optim.Adam(self._head.parameters(), RATE)


def ordinary(job: dict[str, Any]) -> dict[str, Any]:
    """So many epochs of the head."""
    timeline = Timeline(started=job["started"])
    fitting = trainer(job["epochs"], job["seed"])
    network = network_of(job)
    fitting.fit(_Task(network, timeline), *(loader_of(job, network, side) for side in SIDES[:2]))
    return timeline.result(accuracy(network, loader_of(job, network, "test")))
