"""One step of training by several workers: each takes a part of the batch, and all make the step that one
worker would make with all of it, up to rounding.

What depends on the whole batch is computed over the whole batch: the mean of the loss, gradients, the
statistics of BatchNorms. What is drawn by chance is drawn for the whole batch on each worker, which takes its
part of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from ..engines.workers import Workers

_DROPOUTS = (functional.dropout, functional.dropout1d, functional.dropout2d, functional.dropout3d)


@dataclass(frozen=True)
class Part:
    """Which rows of a batch are this worker's."""

    workers: Workers
    rows: slice
    of: int
    """Rows of the whole batch."""

    @staticmethod
    def mine(workers: Workers, of: int) -> Part:
        """Of a batch of so many rows."""
        return Part(workers, workers.part(of), of)


def part_of_loss(
    outputs: Tensor, labels: Tensor, part: Part, weight: Tensor | None, label_smoothing: float
) -> Tensor:
    """What this worker's rows add to the mean cross-entropy of the batch.

    labels: of the whole batch. weight: of each class, or None.
    """
    whole = part.of if weight is None else weight[labels].sum()
    loss = functional.cross_entropy(
        outputs, labels[part.rows], weight=weight, label_smoothing=label_smoothing, reduction="sum"
    )
    return loss / whole


def add_up_gradients(
    parameters: Sequence[Tensor], loss: Tensor, wants_stop: bool, workers: Workers
) -> tuple[Tensor, bool]:
    """Put into each parameter's gradient that of the whole batch; its loss, and whether any worker wants to
    stop, so that all stop after the same step."""
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    facts = torch.stack([loss.detach(), loss.new_tensor(float(wants_stop))])
    flat = torch.cat([*(gradient.reshape(-1) for gradient in gradients), facts])
    workers.add_up(flat)
    *summed, facts = torch.split(flat, [*(gradient.numel() for gradient in gradients), len(facts)])
    for gradient, values in zip(gradients, summed, strict=True):
        gradient.copy_(values.view(gradient.shape))
    return facts[0], bool(facts[1] > 0)


class OverWholeBatch(TorchFunctionMode):
    """While it is entered, layers of a network that see a part of the batch do as if they saw all of it.

    Nothing of the network is changed: what it calls is. BatchNorms in training mode normalise by the whole
    batch; dropout and stochastic depth draw for all rows, one after another, and keep those of this part.
    A random layer of another kind draws for its own rows.
    """

    def __init__(self, part: Part) -> None:
        super().__init__()
        self._part = part

    def __torch_function__(
        self, func: Callable[..., Any], _types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """As torch wants it."""
        kwargs = kwargs or {}
        if func is functional.batch_norm and kwargs["training"]:
            return self._normalised(*args, **kwargs)
        if func in _DROPOUTS and kwargs["training"]:
            kept = func(self._of_all(args[0]).fill_(1), **kwargs | {"inplace": False})
            return args[0] * self._mine(kept, len(args[0]))
        if func is torch.Tensor.bernoulli_:
            drawn = self._of_all(args[0]).bernoulli_(*args[1:], **kwargs)
            return args[0].copy_(self._mine(drawn, len(args[0])))
        return func(*args, **kwargs)

    def _of_all(self, mine: Tensor) -> Tensor:
        """A tensor to fill, with the rows of the whole batch, for one with those of this part.

        Where a layer has cut each image in pieces there are several rows for each; where rows are no images
        at all, it is as large as what it stands for. It lies in memory as that does, since what is drawn is
        drawn in that order.
        """
        count = self._part.rows.stop - self._part.rows.start
        rows = len(mine) // count * self._part.of if len(mine) % count == 0 else len(mine)
        is_last = mine.dim() == 4 and mine.is_contiguous(memory_format=torch.channels_last)
        layout = torch.channels_last if is_last else torch.contiguous_format
        shape = (rows, *mine.shape[1:])
        return torch.empty(shape, dtype=mine.dtype, device=mine.device, memory_format=layout)

    def _mine(self, of_all: Tensor, length: int) -> Tensor:
        """So many rows of it, from this part's first on."""
        start = len(of_all) * self._part.rows.start // self._part.of if len(of_all) != length else 0
        return of_all[start : start + length]

    def _normalised(
        self,
        x: Tensor,
        running_mean: Tensor | None,
        running_var: Tensor | None,
        *,
        weight: Tensor | None,
        bias: Tensor | None,
        momentum: float,
        eps: float,
        training: bool,
    ) -> Tensor:
        """functional.batch_norm in training mode."""
        if x.dtype.itemsize < 4:  # under autocast
            wide = self._normalised(
                x.float(),
                running_mean,
                running_var,
                weight=weight,
                bias=bias,
                momentum=momentum,
                eps=eps,
                training=training,
            )
            return wide.to(x.dtype)
        with torch.no_grad():
            var, mean = (each.double() for each in torch.var_mean(x, _but_channels(x), correction=0))
            sums = torch.stack([mean, var + mean.square(), torch.ones_like(mean)]) * (x.numel() // x.shape[1])
            self._part.workers.add_up(sums)
            whole = sums[2]
            mean = sums[0] / whole
            var = (sums[1] / whole - mean.square()).clamp_(min=0)
            if running_mean is not None and running_var is not None:
                running_mean.lerp_(mean.to(running_mean.dtype), momentum)
                unbiased = var * whole / (whole - 1).clamp(min=1)
                running_var.lerp_(unbiased.to(running_var.dtype), momentum)
        statistics = _Statistics(mean.to(x.dtype), var.to(x.dtype), whole, eps, self._part.workers)
        found: Tensor = _Normalised.apply(x, weight, bias, statistics)
        return found


@dataclass(frozen=True, eq=False)
class _Statistics:
    """Of a whole batch: what each worker normalises its rows by."""

    mean: Tensor
    var: Tensor
    count: Tensor
    """Values of each channel."""
    eps: float
    workers: Workers


class _Normalised(torch.autograd.Function):
    """Rows normalised by mean and variance of a batch that other workers have rows of."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, by: _Statistics) -> Tensor:
        """As functional.batch_norm with these statistics."""
        ctx.save_for_backward(x, weight)
        ctx.by = by
        return functional.batch_norm(x, by.mean, by.var, weight, bias, training=False, eps=by.eps)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of weight and bias by this worker's rows: they are added up with all others."""
        x, weight = ctx.saved_tensors
        by: _Statistics = ctx.by
        scaled = functional.batch_norm(x, by.mean, by.var, training=False, eps=by.eps)
        dims = _but_channels(x)
        of_bias, of_weight = gradient.sum(dims), (gradient * scaled).sum(dims)
        sums = torch.stack([of_bias, of_weight]).double()
        by.workers.add_up(sums)
        of_mean, of_scale = ((each / by.count).to(x.dtype) for each in sums)
        factor = torch.rsqrt(by.var + by.eps) * (1 if weight is None else weight)
        shape = [1, -1] + [1] * (x.dim() - 2)
        along = gradient - of_mean.view(shape) - scaled * of_scale.view(shape)
        of_x = along * factor.view(shape)
        of_rest = (of_weight, of_bias) if weight is not None else (None, None)
        return of_x, *of_rest, None


def _but_channels(x: Tensor) -> list[int]:
    return [dim for dim in range(x.dim()) if dim != 1]
