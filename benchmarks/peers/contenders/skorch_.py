"""skorch: PyTorch behind the interface of scikit-learn."""

from __future__ import annotations

from typing import Any

import torch
from skorch import NeuralNetClassifier
from skorch.callbacks import Callback
from skorch.dataset import Dataset
from skorch.helper import predefined_split
from torch import Tensor, nn

from . import material
from .timeline import Timeline
from .torch_ import agreement, begun, checks
from .torch_network import Network, network, scaled


class _Scaled(nn.Module):
    """Pixels are scaled in the network, since skorch collates the rows itself."""

    def __init__(self, model: Network) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixels: Tensor) -> Tensor:
        """uint8 (n, H, W, 3) to logits (n, classes)."""
        return self.model(scaled(pixels))


class _Watch(Callback):
    def __init__(self, timeline: Timeline) -> None:
        self._timeline = timeline

    def on_epoch_end(self, net: Any, **_: Any) -> None:
        """skorch's own way of stopping early is this exception, which `fit` catches."""
        if self._timeline.epoch(net.history[-1, "valid_acc"]):
            raise KeyboardInterrupt


def retrain(job: dict[str, Any]) -> dict[str, Any]:
    """Question 1: requires_grad = False, the whole network each epoch."""
    torch.manual_seed(job["seed"])
    difference = agreement(job)
    split = material.splits(job)
    arrays = material.retrained(material.weights(job), job)
    validation = Dataset(split["validation"].pixels, split["validation"].labels)
    timeline = Timeline(job.get("stop_at"))
    net = _classifier(arrays, validation, job, timeline)
    timeline.part("prepare")
    net.fit(split["train"].pixels, split["train"].labels)
    test = (net.predict(split["test"].pixels) == split["test"].labels).mean()
    return {"variants": {"uncached": timeline.result(test)}, "difference": difference}


def files(job: dict[str, Any]) -> dict[str, Any]:
    """Question `files`: as `retrain`, from JPEG files, in a process whose every second counts."""
    timeline, inputs, arrays = begun(job)
    net = _classifier(arrays, Dataset(*inputs["validation"]), job, timeline)
    timeline.part("prepare")
    net.fit(*inputs["train"])
    tested = material.splits(job)["test"]
    test = (net.predict(tested.pixels) == tested.labels).mean()
    return {"variants": {"uncached": timeline.result(test)}} | checks(job, inputs)


def _classifier(
    arrays: material.Arrays, validation: Dataset, job: dict[str, Any], timeline: Timeline
) -> NeuralNetClassifier:
    rules = {"momentum": 0.9, "nesterov": True} if job["optimizer"] == "sgd" else {}
    return NeuralNetClassifier(
        _Scaled(network(arrays, tuple(job["frozen"]))),
        criterion=nn.CrossEntropyLoss,
        optimizer=torch.optim.SGD if rules else torch.optim.Adam,
        lr=job["rate"],
        batch_size=job["batch"],
        max_epochs=job["epochs"],
        iterator_train__shuffle=True,
        train_split=predefined_split(validation),
        callbacks=[("watch", _Watch(timeline))],
        callbacks__print_log=None,
        verbose=0,
        **{f"optimizer__{key}": value for key, value in rules.items()},
    )
