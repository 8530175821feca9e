"""Everything that a training run needs to go on bit for bit, in one safetensors file.

Order and augmentation are pure functions of seed and step, so no random state is stored: the position, the
weights and buffers, the optimizer's tensors, the best weights so far, and the history are all there is. That
is of the whole run, whatever the number of workers: any other number of them can go on from it, up to
rounding.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict
from safetensors import SafetensorError, safe_open
from safetensors.torch import load, save
from torch import Tensor, nn
from torch.optim import Optimizer

from ..files import utf8_path, write_whole
from ..runfolder.records import Attempt, Phase


class Position(BaseModel):
    """Where a run stands, and what it has measured so far."""

    model_config = ConfigDict(extra="forbid")

    step: int = 0
    """Optimizer updates done."""
    loss: list[float] = []
    validation_loss: list[float] = []
    validation_accuracy: list[float] = []
    kept_epoch: int = 0
    seconds: dict[Phase, float] = {}
    segments: int = 0
    """How often the run was started, this time included."""
    diverged: list[Attempt] = []
    """Attempts of this run before the present one."""


@dataclass(frozen=True)
class Identity:
    """What the numbers of a run depend on: a checkpoint of another run is not used."""

    exact: str
    """Digest of all of it (recipe, data, parent, seed, threads ...): from the same one a run goes on bit for
    bit."""
    rounded: str = ""
    """Of what decides on more than rounding: enough where several workers share a run, before or after."""
    workers: int = 1

    def takes(self, text: Mapping[str, str]) -> bool:
        """Whether a run may go on from a checkpoint with this text."""
        if text["identity"] == self.exact and int(text.get("workers", 1)) == self.workers:
            return True
        is_shared = max(self.workers, int(text.get("workers", 1))) > 1
        return is_shared and text.get("rounded") == self.rounded


class Checkpoint:
    """The checkpoint file of one run, valid for one identity."""

    def __init__(self, path: Path, identity: Identity | str) -> None:
        self.path = path
        self.identity = Identity(identity) if isinstance(identity, str) else identity

    def save(
        self,
        position: Position,
        module: nn.Module,
        optimizer: Optimizer,
        best: dict[str, Tensor],
        loss_sum: Tensor,
    ) -> None:
        """Replace the file by the present state, whole or not at all."""
        identity = self.identity
        text = {"identity": identity.exact, "position": position.model_dump_json()}
        text |= {"rounded": identity.rounded, "workers": str(identity.workers)}
        write_whole(self.path, packed(module, optimizer, best, loss_sum, text))

    def restore(
        self, module: nn.Module, optimizer: Optimizer
    ) -> tuple[Position, dict[str, Tensor], Tensor] | None:
        """Put module and optimizer where the file left them; None if there is no usable file.

        A file of another identity, or one that cannot be read, is not used: the run then starts anew.
        """
        try:
            with utf8_path(self.path) as place, safe_open(place, framework="pt") as opened:
                text = opened.metadata()
                tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
        except (SafetensorError, OSError):
            return None
        if not self.identity.takes(text):
            return None
        position = Position.model_validate(json.loads(text["position"]))
        return position, *_put(tensors, module, optimizer)

    def position(self) -> Position | None:
        """Where the file left the run; None if there is no usable file, or one of another identity."""
        try:
            with utf8_path(self.path) as place, safe_open(place, framework="pt") as opened:
                text = opened.metadata()
        except (SafetensorError, OSError):
            return None
        if not self.identity.takes(text):
            return None
        return Position.model_validate_json(text["position"])

    def remove(self) -> None:
        """The run is finished and recorded."""
        self.path.unlink(missing_ok=True)


class Received(Checkpoint):
    """What the first worker goes on from, sent to another one, which keeps no file."""

    def __init__(self, position: Position, state: bytes) -> None:
        super().__init__(Path(), "")
        self._position, self._state = position, state

    def save(self, *_given: Any, **_named: Any) -> None:
        """Nothing: the first worker does."""

    def restore(
        self, module: nn.Module, optimizer: Optimizer
    ) -> tuple[Position, dict[str, Tensor], Tensor] | None:
        """Put module and optimizer where the first worker's are."""
        return self._position, *_put(load(self._state), module, optimizer)


def packed(
    module: nn.Module,
    optimizer: Optimizer,
    best: dict[str, Tensor],
    loss_sum: Tensor,
    text: dict[str, str] | None = None,
) -> bytes:
    """A run's tensors as those of a file, in the safetensors format."""
    tensors = {f"module.{name}": tensor for name, tensor in module.state_dict().items()}
    tensors |= {f"best.{name}": tensor for name, tensor in best.items()}
    for index, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{key}": t for key, t in state.items() if t is not None}
    tensors["loss_sum"] = loss_sum
    return save({k: t.detach().cpu().contiguous() for k, t in tensors.items()}, text)


def _put(
    tensors: dict[str, Tensor], module: nn.Module, optimizer: Optimizer
) -> tuple[dict[str, Tensor], Tensor]:
    """Put module and optimizer where the tensors have them; (best weights so far, sum of losses)."""
    module.load_state_dict(_part(tensors, "module."))
    _restore_optimizer(optimizer, _part(tensors, "optimizer."))
    return _part(tensors, "best."), tensors["loss_sum"]


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name[len(prefix) :]: t for name, t in tensors.items() if name.startswith(prefix)}


def _restore_optimizer(optimizer: Optimizer, tensors: dict[str, Tensor]) -> None:
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    state: dict[int, dict[str, Any]] = {}
    for name, tensor in tensors.items():
        index, _, key = name.partition(".")
        parameter = parameters[int(index)]
        if tensor.shape == parameter.shape:
            # in the parameter's memory layout, which the fused kernels expect
            tensor = torch.empty_like(parameter).copy_(tensor)
        state.setdefault(int(index), {})[key] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
