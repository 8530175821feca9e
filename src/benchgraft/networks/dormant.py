"""A network of timm by its tensors alone: its modules are built when one of its frozen blocks has to compute.

Importing timm takes two seconds, and a head on cached features needs none of it: names, costs and weights of
the blocks stand in the model file, and ONNX Runtime has the graph.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from ..config.network import NetworkSpec
from .contract import Head, Network


class Dormant(nn.Module):
    """One block: its tensors under their names."""

    def __init__(self, tensors: Mapping[str, Tensor], awake: Callable[[], nn.Module]) -> None:
        """awake: gives the block itself, with tensors of the same bits."""
        super().__init__()
        self._awake = awake
        for name, tensor in tensors.items():
            *holders, last = name.split(".")
            holder: nn.Module = self
            for part in holders:
                if part not in holder._modules:
                    holder.add_module(part, nn.Module())
                holder = holder.get_submodule(part)
            if tensor.is_floating_point():
                holder.register_parameter(last, nn.Parameter(tensor))
            else:
                holder.register_buffer(last, tensor)

    def forward(self, x: Tensor) -> Tensor:
        """What the block gives, in inference mode: it is frozen."""
        features: Tensor = self._awake().to(x.device).eval()(x)
        return features


def dormant_network(
    spec: NetworkSpec, blocks: list[str], state: Mapping[str, Tensor], class_count: int
) -> Network:
    """A network whose head alone is awake. blocks: their names, the head last; state: all tensors by name.

    Statistics are parameters here as weights are: nothing but the head is to train.
    """

    @functools.cache
    def whole() -> Network:
        from .build import build

        network = build(spec, class_count, None)
        network.load_state_dict(dict(state))
        # a pass that is followed to write a graph takes these tensors, which no block holds, for constants
        return network.requires_grad_(requires_grad=False)

    def block(name: str) -> nn.Module:
        tensors = {key[len(name) + 1 :]: state[key] for key in state if key.startswith(f"{name}.")}
        return Dormant(tensors, lambda: whole().get_submodule(name))

    weight = state[f"{blocks[-1]}.classifier.weight"]
    has_bias = f"{blocks[-1]}.classifier.bias" in state
    with torch.no_grad():
        head = Head(nn.Linear(weight.shape[1], class_count, bias=has_bias), 0.0)
    network = Network(spec, [*((name, block(name)) for name in blocks[:-1]), (blocks[-1], head)], class_count)
    network.load_state_dict(dict(state))
    return network
