"""Everything that a training run needs to go on bit for bit, in one safetensors file.

Order and augmentation are pure functions of seed and step, so no random state is stored: the position, the
weights and buffers, the optimizer's tensors, the best weights so far, and the history are all there is.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
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


class Checkpoint:
    """The checkpoint file of one run, valid for one identity (recipe, data, parent, seed, threads ...)."""

    def __init__(self, path: Path, identity: str) -> None:
        self.path = path
        self.identity = identity

    def save(
        self,
        position: Position,
        module: nn.Module,
        optimizer: Optimizer,
        best: dict[str, Tensor],
        loss_sum: Tensor,
    ) -> None:
        """Replace the file by the present state, whole or not at all."""
        tensors = {f"module.{name}": tensor for name, tensor in module.state_dict().items()}
        tensors |= {f"best.{name}": tensor for name, tensor in best.items()}
        for index, state in optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{key}": t for key, t in state.items() if t is not None}
        tensors["loss_sum"] = loss_sum
        text = {"identity": self.identity, "position": position.model_dump_json()}
        write_whole(self.path, save({k: t.detach().cpu().contiguous() for k, t in tensors.items()}, text))

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
        if text["identity"] != self.identity:
            return None
        module.load_state_dict(_part(tensors, "module."))
        _restore_optimizer(optimizer, _part(tensors, "optimizer."))
        position = Position.model_validate(json.loads(text["position"]))
        return position, _part(tensors, "best."), tensors["loss_sum"]

    def position(self) -> Position | None:
        """Where the file left the run; None if there is no usable file, or one of another identity."""
        try:
            with utf8_path(self.path) as place, safe_open(place, framework="pt") as opened:
                text = opened.metadata()
        except (SafetensorError, OSError):
            return None
        if text["identity"] != self.identity:
            return None
        return Position.model_validate_json(text["position"])

    def remove(self) -> None:
        """The run is finished and recorded."""
        self.path.unlink(missing_ok=True)


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
