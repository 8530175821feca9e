"""The yardstick of every benchmark: how fast this machine multiplies matrices at this moment."""

from __future__ import annotations

import time

import torch

SIZE, REPEATS = 2048, 6


def gemm_gflops() -> float:
    """GFLOP/s of a float32 product of two square matrices, the best of a few."""
    a, b = torch.rand(SIZE, SIZE), torch.rand(SIZE, SIZE)
    seconds = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        torch.mm(a, b)
        seconds.append(time.perf_counter() - start)
    return 2 * SIZE**3 / min(seconds) / 1e9
