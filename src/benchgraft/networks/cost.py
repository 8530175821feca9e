"""What a network computes for one picture, block by block."""

from __future__ import annotations

import copy
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from ..config.network import NetworkSpec
from ..runfolder.records import BlockRecord
from .build import build
from .contract import INPUT, Network


def megaflops(network: Network) -> float:
    """Convolutions, dense layers and products of attention, multiply and add counted as two."""
    return sum(block.megaflops for block in block_costs(network))


def block_costs(network: Network) -> list[BlockRecord]:
    """Each block of the network, in order; for the paper's network this is table 1.

    Counted on a blank picture. Without values (torch's device `meta`) it would take torch's compiler.
    """
    watched = copy.deepcopy(network).cpu().eval()
    side = network.spec.side
    x: Tensor = torch.zeros(1, side, side, 3, dtype=torch.uint8)
    done: list[int] = []
    for layer in watched.modules():
        layer.register_forward_hook(lambda *call: done.append(_operations(*call)))
    found = []
    with torch.no_grad():
        for name, block in watched.named_children():
            done.clear()
            x = block(x)
            if name != INPUT:
                found.append(_cost(name, block, x, sum(done)))
    return found


def _operations(layer: nn.Module, inputs: tuple[Any, ...], output: Any) -> int:
    """Of this layer itself in one pass. torch's own counter imports its compiler, which takes a second."""
    if isinstance(layer, nn.Conv2d):  # each weight works once at each place of the output
        return int(2 * layer.weight.numel() * output[0, 0].numel() * len(output))
    if isinstance(layer, nn.Linear):
        return int(2 * layer.weight.numel() * (output.numel() // layer.out_features))
    if hasattr(layer, "num_heads") and hasattr(layer, "qkv"):  # attention: queries by keys, and by values
        batch, tokens, features = inputs[0].shape
        return int(4 * batch * tokens * tokens * features)
    return 0


@lru_cache
def costs_of(described: str, class_count: int) -> list[BlockRecord]:
    """The same of a network described as JSON of its NetworkSpec: once for all runs of a process."""
    return block_costs(build(NetworkSpec.model_validate_json(described), class_count, None))


def with_head(blocks: list[BlockRecord], class_count: int) -> list[BlockRecord]:
    """The same blocks with a linear head for so many classes in place of the last."""
    *others, head = blocks
    features = others[-1].output[-1]
    parameters = class_count * (features + (head.parameters > head.output[-1] * features))
    own = {
        "output": [class_count],
        "parameters": parameters,
        "megaflops": 2 * class_count * features / 1e6,
    }
    return [*others, head.model_copy(update=own)]


def _cost(name: str, block: nn.Module, output: Tensor, operations: int) -> BlockRecord:
    statistics = [buffer for buffer in block.buffers() if buffer.is_floating_point()]
    shape = list(output.shape[1:])
    return BlockRecord(
        name=name,
        output=[shape[2], shape[1], shape[0]] if len(shape) == 3 else shape,
        parameters=sum(tensor.numel() for tensor in (*block.parameters(), *statistics)),
        megaflops=operations / 1e6,
        has_statistics=bool(statistics),
    )
