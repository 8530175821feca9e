"""Lightning: PyTorch under a Trainer."""

from __future__ import annotations

from typing import Any

import lightning
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from . import material
from .quiet_lightning import trainer
from .timeline import Timeline
from .torch_ import Inputs, accuracy, agreement, begun, checks, inputs_of, optimizer
from .torch_network import Network, network, scaled


class _Task(lightning.LightningModule):
    def __init__(self, model: Network, job: dict[str, Any], timeline: Timeline) -> None:
        super().__init__()
        self.model, self._job, self._timeline = model, job, timeline
        self._right = self._seen = 0

    def training_step(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        """Loss of a batch."""
        return functional.cross_entropy(self.model(scaled(batch[0])), batch[1])

    def validation_step(self, batch: tuple[Tensor, Tensor]) -> None:
        """Count right answers."""
        self._right += int((self.model(scaled(batch[0])).argmax(1) == batch[1]).sum())
        self._seen += len(batch[1])

    def on_validation_epoch_end(self) -> None:
        """The epoch's end: validation comes last."""
        if self._timeline.epoch(self._right / self._seen):
            self.trainer.should_stop = True
        self._right = self._seen = 0

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """The recipe's."""
        return optimizer(self.model, self._job)

    def on_train_epoch_start(self) -> None:
        """Lightning keeps the mode that a module was in; a frozen BatchNorm stays in inference mode."""
        self.model.train()


def retrain(job: dict[str, Any]) -> dict[str, Any]:
    """Question 1: requires_grad = False, the whole network each epoch."""
    difference = agreement(job)
    inputs = inputs_of(job)
    arrays = material.retrained(material.weights(job), job)
    timeline = Timeline(job.get("stop_at"))
    model = _fit(arrays, inputs, job, timeline)
    test = accuracy(model, *inputs["test"])
    return {"variants": {"uncached": timeline.result(test)}, "difference": difference}


def files(job: dict[str, Any]) -> dict[str, Any]:
    """Question `files`: as `retrain`, from JPEG files, in a process whose every second counts."""
    timeline, inputs, arrays = begun(job)
    model = _fit(arrays, inputs, job, timeline)
    test = accuracy(model, *inputs_of(job)["test"])
    return {"variants": {"uncached": timeline.result(test)}} | checks(job, inputs)


def _fit(arrays: material.Arrays, inputs: Inputs, job: dict[str, Any], timeline: Timeline) -> Network:
    fitting = trainer(job["epochs"], job["seed"])
    task = _Task(network(arrays, tuple(job["frozen"])), job, timeline)
    timeline.part("prepare")
    fitting.fit(task, _loader(inputs, "train", job, True), _loader(inputs, "validation", job, False))
    return task.model


def _loader(inputs: Inputs, split: str, job: dict[str, Any], shuffle: bool) -> DataLoader[Any]:
    return DataLoader(TensorDataset(*inputs[split]), batch_size=job["batch"], shuffle=shuffle)
