"""What a network computes for one picture, block by block."""

from __future__ import annotations

import copy
from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from ..config.network import NetworkSpec
from ..runfolder.ledger import BlockRecord
from .build import build
from .contract import INPUT, Network


def megaflops(network: Network) -> float:
    """Convolutions, dense layers and products of attention, multiply and add counted as two."""
    return sum(block.megaflops for block in block_costs(network))


def block_costs(network: Network) -> list[BlockRecord]:
    """Each block of the network, in order; for the paper's network this is table 1.

    Counted on shapes alone, so that it takes no time and is the same on every machine.
    """
    # Without values attention is counted as its products; the fused one of a CPU is not counted at all.
    shapes = copy.deepcopy(network).to("meta").eval()
    side = network.spec.side
    x: Tensor = torch.zeros(1, side, side, 3, dtype=torch.uint8, device="meta")
    found = []
    with torch.no_grad():
        for name, block in shapes.named_children():
            with FlopCounterMode(display=False) as counter:
                x = block(x)
            if name != INPUT:
                found.append(_cost(name, block, x, counter.get_total_flops()))
    return found


@lru_cache
def costs_of(described: str, class_count: int) -> list[BlockRecord]:
    """The same of a network described as JSON of its NetworkSpec: once for all runs of a process."""
    return block_costs(build(NetworkSpec.model_validate_json(described), class_count, None))


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
