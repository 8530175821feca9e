"""The head alone, solved on frozen features: what a stage with `optimizer = "logistic"` does."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from ..errors import ConfigError
from ..runfolder.ledger import Clock
from ..training.checkpoint import Position
from ..training.logistic import fit_head
from ..training.loop import Trained
from ..training.scaled_rows import Labelled
from .inputs import Inputs


def solve_head(inputs: Inputs, is_balanced: bool, clock: Clock) -> Trained:
    """Fit the one linear layer of `inputs.module`, its penalty chosen on validation, then on both splits.

    Takes no checkpoint: it is done in seconds, and again from the same features gives the same bits.
    Raises ConfigError where more than a linear layer comes after the features.
    """
    layers = [layer for layer in inputs.module.modules() if isinstance(layer, nn.Linear)]
    train, validation = inputs.rows["train"], inputs.rows["validation"]
    if len(layers) != 1 or train.array.dim() != 2:
        raise ConfigError(
            'optimizer = "logistic" fits one linear layer on features',
            "freeze every block but the head, or choose another optimizer",
        )
    with clock.phase("train"):
        labels = np.zeros(len(train.array), np.int64)
        positions = [rows.index[0].numpy() for rows in (train, validation)]
        for rows, places in zip((train, validation), positions, strict=True):
            labels[places] = rows.labels.numpy()
        data, (fit_on, choose_on) = Labelled(train.array.numpy(), labels), positions
        found = fit_head(data, fit_on, choose_on, layers[0].out_features, is_balanced=is_balanced)
        with torch.no_grad():
            layers[0].weight.copy_(found.weight)
            layers[0].bias.copy_(found.bias)
    chosen = [tried.strength for tried in found.path].index(found.strength)
    position = Position(
        step=found.iterations + sum(tried.iterations for tried in found.path),
        validation_loss=[tried.loss for tried in found.path],
        validation_accuracy=[tried.accuracy for tried in found.path],
        kept_epoch=chosen + 1,
        segments=1,
    )
    return Trained(position, epochs=0, penalty=found.strength)
