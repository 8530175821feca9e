"""Laps of every block, forward and backward, by hooks that read the clock and change nothing."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from ..runfolder.ledger import Clock

OUTSIDE = "read and store"
"""What lies between two passes: the next batch is read, the last one's outputs are kept."""
LOSS, BATCH, UPDATE = "loss", "read batch", "update"


def watch_layers(model: nn.Sequential, clock: Clock) -> None:
    """Let every block of the model take laps for as long as it lives, in any sequence that shares it.

    The backward pass goes through the blocks one after another: that of a block lasts from the moment at
    which the gradient of its output is there to that of the block before it, or, where nothing before it
    trains, of its own parameters.
    """
    layers = list(model.named_children())
    followers = [f"{name} backward" for name, _ in layers[1:]] + [LOSS]
    for (name, layer), follower in zip(layers, followers, strict=True):
        layer.register_forward_pre_hook(lambda *_: clock.lap(OUTSIDE))
        layer.register_forward_hook(_after(clock, f"{name} forward", follower))
        for parameter in layer.parameters():
            if parameter.requires_grad:
                hook = _lap(clock, f"{name} backward")
                parameter.register_post_accumulate_grad_hook(hook)  # type: ignore[no-untyped-call]


def _after(clock: Clock, name: str, follower: str) -> Callable[..., None]:
    """What is done after a block's forward pass."""

    def take(_layer: nn.Module, _inputs: object, output: Tensor) -> None:
        clock.lap(name)
        if output.requires_grad:
            output.register_hook(_lap(clock, follower))  # type: ignore[no-untyped-call]

    return take


def _lap(clock: Clock, name: str) -> Callable[[Tensor], None]:
    def take(_tensor: Tensor) -> None:
        clock.lap(name)

    return take
