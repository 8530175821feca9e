"""What a network computes for one picture."""

from __future__ import annotations

import copy

import torch
from torch.utils.flop_counter import FlopCounterMode

from .contract import Network


def megaflops(network: Network) -> float:
    """Convolutions, dense layers and products of attention, multiply and add counted as two.

    Counted on shapes alone, so that it takes no time and is the same on every machine.
    """
    # Without values attention is counted as its products; the fused one of a CPU is not counted at all.
    shapes = copy.deepcopy(network).to("meta").eval()
    side = network.spec.side
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        shapes(torch.zeros(1, side, side, 3, dtype=torch.uint8, device="meta"))
    return float(counter.get_total_flops()) / 1e6
