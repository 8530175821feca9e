"""The head, solved on features: a stage with `optimizer = "logistic"`, or what another one starts from."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from ..errors import ConfigError
from ..networks.contract import last_linear
from ..runfolder.ledger import Clock
from ..training.batches import Rows
from ..training.checkpoint import Position
from ..training.evaluate import outputs
from ..training.logistic import Before, fit_head, start_head
from ..training.loop import Trained, class_weights
from ..training.scaled_rows import Labelled
from .inputs import Inputs


def solve_head(inputs: Inputs, is_balanced: bool, clock: Clock, strength: float | None = None) -> Trained:
    """Fit the one linear layer of `inputs.module`, its penalty chosen on validation, then on both splits.

    strength: of the penalty of the head as it is, where that was fitted to nearly the same photos. Takes no
    checkpoint: it is done in seconds, and again from the same features gives the same bits.
    Raises ConfigError where more than a linear layer comes after the features.
    """
    layers = [layer for layer in inputs.module.modules() if isinstance(layer, nn.Linear)]
    train, validation = inputs.rows["train"], inputs.rows["validation"]
    if len(layers) != 1 or len(train.table.shape) != 2:
        raise ConfigError(
            'optimizer = "logistic" fits one linear layer on features',
            "freeze every block but the head, or choose another optimizer",
        )
    with clock.phase("train"):
        labels = np.zeros(train.table.shape[0], np.int64)
        positions = [rows.index[0].numpy() for rows in (train, validation)]
        for rows, places in zip((train, validation), positions, strict=True):
            labels[places] = rows.labels.numpy()
        data, (fit_on, choose_on) = Labelled(train.table, labels), positions
        head = layers[0]
        before = None if strength is None else Before(strength, head.weight.detach(), head.bias.detach())
        found = fit_head(data, fit_on, choose_on, head.out_features, is_balanced=is_balanced, before=before)
        _put(head, found.weight, found.bias)
    chosen = [tried.strength for tried in found.path].index(found.strength)
    position = Position(
        step=found.iterations + sum(tried.iterations for tried in found.path),
        validation_loss=[tried.loss for tried in found.path],
        validation_accuracy=[tried.accuracy for tried in found.path],
        kept_epoch=chosen + 1,
        segments=1,
    )
    return Trained(position, epochs=0, penalty=found.strength, validated=found.validated)


def begin_solved(inputs: Inputs, batch_size: int, is_balanced: bool, clock: Clock) -> None:
    """Put into the last linear layer what training starts from: fitted to training photos as they are."""
    layer = last_linear(inputs.module)
    with clock.phase("train"):
        _put(layer, *fitted_start(layer, inputs, batch_size, is_balanced))


def fitted_start(
    layer: nn.Linear, inputs: Inputs, batch_size: int, is_balanced: bool
) -> tuple[Tensor, Tensor]:
    """Weights and biases of a layer of `inputs.module`, fitted to training photos as they are."""
    parts = [features_before(layer, inputs.module, inputs.rows[split], batch_size) for split in _FITTED]
    labels = np.concatenate([inputs.rows[split].labels.numpy() for split in _FITTED])
    train, validation = np.split(np.arange(len(labels)), [len(parts[0])])
    data = Labelled(np.concatenate(parts), labels)
    return start_head(data, train, validation, layer.out_features, is_balanced=is_balanced)


@dataclass(frozen=True)
class Calibration:
    """What a head was divided by, and the log loss on validation photos, in nats, that it has then."""

    temperature: float
    loss: float


def calibrate(inputs: Inputs, batch_size: int, is_balanced: bool, clock: Clock) -> Calibration:
    """Divide weights and biases of the last linear layer by the temperature, COLDEST to HOTTEST, that
    gives the smallest log loss on validation photos (Guo et al. 2017, arXiv 1706.04599)."""
    from scipy.optimize import minimize_scalar  # takes a fifth of a second, and most runs want none

    layer, rows = last_linear(inputs.module), inputs.rows["validation"]
    with clock.phase("validate"):
        logits = outputs(inputs.module, rows, batch_size).double()
        weights = class_weights(inputs.rows["train"].labels).double() if is_balanced else None

        def loss(log_temperature: float) -> float:
            scaled = logits / math.exp(log_temperature)
            return float(functional.cross_entropy(scaled, rows.labels, weight=weights))

        bounds = (math.log(COLDEST), math.log(HOTTEST))
        found = minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-4})
        temperature = math.exp(found.x)
        _put(layer, layer.weight / temperature, layer.bias / temperature)
    return Calibration(temperature, float(found.fun))


COLDEST, HOTTEST = 0.25, 4.0
_FITTED = ("train", "validation")


def features_before(
    layer: nn.Linear, module: nn.Sequential, rows: Rows, batch_size: int
) -> npt.NDArray[np.float32]:
    """What the layer is given for each row, (n, d), in inference mode."""
    given: list[Tensor] = []
    hook = layer.register_forward_pre_hook(lambda _, inputs: given.append(inputs[0].float().cpu()))
    try:
        outputs(module, rows, batch_size)
    finally:
        hook.remove()
    found: npt.NDArray[np.float32] = torch.cat(given)[: len(rows)].numpy()
    return found


@torch.no_grad()
def _put(layer: nn.Linear, weight: Tensor, bias: Tensor) -> None:
    layer.weight.copy_(weight)
    layer.bias.copy_(bias)
