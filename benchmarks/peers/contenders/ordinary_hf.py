"""Hugging Face's Trainer on ordinary photos: a frozen backbone in a module that returns its loss."""

from __future__ import annotations

import tempfile
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import Trainer, TrainerCallback, TrainingArguments

from .ordinary_torch import (
    BATCH,
    RATE,
    SIDES,
    WORKERS,
    accuracy,
    folder_of,
    freeze,
    loader_of,
    network_of,
)
from .timeline import Timeline


class _Model(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Loss and scores, as the Trainer wants them."""
        self.network.eval()  # a frozen BatchNorm stays in inference mode
        scores = self.network(pixels.to(memory_format=torch.channels_last))
        return {"loss": functional.cross_entropy(scores, labels), "logits": scores}


class _Ends(TrainerCallback):
    def __init__(self, timeline: Timeline) -> None:
        self._timeline = timeline

    def on_evaluate(self, *_: Any, metrics: dict[str, float], **__: Any) -> None:
        """Validation comes at the end of an epoch."""
        self._timeline.epoch(metrics["eval_accuracy"])


def ordinary(job: dict[str, Any]) -> dict[str, Any]:
    """So many epochs of the head, by its default optimizer."""
    timeline = Timeline(started=job["started"])
    torch.manual_seed(job["seed"])
    network = network_of(job)
    freeze(network)
    train, validation = (folder_of(job, network, side) for side in SIDES[:2])
    with tempfile.TemporaryDirectory() as out:
        arguments = TrainingArguments(
            out,
            num_train_epochs=job["epochs"],
            per_device_train_batch_size=BATCH,
            per_device_eval_batch_size=BATCH,
            learning_rate=RATE,
            eval_strategy="epoch",
            save_strategy="no",
            report_to="none",
            dataloader_num_workers=WORKERS,
            label_names=["labels"],
            seed=job["seed"],
            use_cpu=True,
            disable_tqdm=True,
        )
        Trainer(
            model=_Model(network),
            args=arguments,
            train_dataset=train,
            eval_dataset=validation,
            data_collator=_collated,
            compute_metrics=lambda found: {
                "accuracy": float((found.predictions.argmax(1) == found.label_ids).mean())
            },
            callbacks=[_Ends(timeline)],
        ).train()
    return timeline.result(accuracy(network, loader_of(job, network, "test")))


def _collated(samples: list[tuple[Tensor, int]]) -> dict[str, Tensor]:
    pixels, labels = zip(*samples, strict=True)
    return {"pixels": torch.stack(pixels), "labels": torch.tensor(labels)}
