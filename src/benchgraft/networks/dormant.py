"""A network of timm by its tensors alone: its modules are built when one of its frozen blocks has to compute.

Importing timm takes two seconds, and a head on cached features needs none of it: names, costs and weights of
the blocks stand in the model file, and ONNX Runtime has the graph.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping

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

    def awake(self) -> nn.Module:
        """The block itself, in inference mode: it is frozen."""
        return self._awake().eval()

    def forward(self, x: Tensor) -> Tensor:
        """What the block gives."""
        features: Tensor = self.awake().to(x.device)(x)
        return features


def awakened(layers: nn.Sequential) -> nn.Sequential:
    """The same layers with the blocks themselves in place of those that sleep: what graphs are written of."""
    return nn.Sequential(*(each.awake() if isinstance(each, Dormant) else each for each in layers))


def dormant_network(
    spec: NetworkSpec, blocks: list[str], state: Mapping[str, Tensor], class_count: int
) -> Network:
    """A network whose head alone is awake, for so many classes and yet to be filled.

    blocks: their names, the head last. state: of the whole network by name, with a head of its own size.
    Statistics are parameters here as weights are: nothing but the head is to train.
    """
    weight = state[f"{blocks[-1]}.classifier.weight"]
    has_bias = f"{blocks[-1]}.classifier.bias" in state

    @functools.cache
    def whole() -> Network:
        from .build import build

        network = build(spec, len(weight), None)
        network.load_state_dict(dict(state))
        return network.requires_grad_(False)

    def block(name: str) -> nn.Module:
        tensors = {key[len(name) + 1 :]: state[key] for key in state if key.startswith(f"{name}.")}
        return Dormant(tensors, lambda: whole().get_submodule(name))

    head = Head(nn.Linear(weight.shape[1], class_count, bias=has_bias), 0.0)
    return Network(spec, [*((name, block(name)) for name in blocks[:-1]), (blocks[-1], head)], class_count)
