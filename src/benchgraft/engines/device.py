"""The device to compute on, and the threads of this process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch

from ..config.torchrun import LONE, Seat
from ..errors import ConfigError
from .workers import threads_each


def prepare_device(name: str, threads: int | None, seat: Seat = LONE) -> torch.device:
    """Choose the device (`auto`, cpu, cuda, mps), and set the number of threads of this process.

    Functions that a user calls put the threads back: see threads_put_back. seat: of several workers each
    takes a GPU of its own, and an equal part of the cores where `threads` does not say otherwise.
    Raises ConfigError for a device that this machine does not have, or not for each worker.
    """
    threads = threads or threads_each(seat)
    if threads is not None:
        torch.set_num_threads(threads)
    available = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if name == "auto":
        name = "cuda" if available["cuda"] else "cpu"
    if not available.get(name.partition(":")[0], False):
        raise ConfigError(
            f'--device "{name}" is not available on this machine',
            "available: " + ", ".join(key for key, there in available.items() if there),
        )
    return torch.device(name) if seat.is_alone else _own_device(name, seat)


def _own_device(name: str, seat: Seat) -> torch.device:
    """Of one of several workers: no two of them share a GPU, which NCCL does not allow."""
    if name == "cpu":
        return torch.device(name)
    if name != "cuda":
        raise ConfigError(f'--device "{name}" is for one worker', "for several: cpu, or cuda, one GPU each")
    if torch.cuda.device_count() < seat.local_count:
        raise ConfigError(
            f"{seat.local_count} workers and {torch.cuda.device_count()} GPUs on this machine",
            "start one worker for each GPU: torchrun --nproc-per-node gpu, or compute on --device cpu",
        )
    device = torch.device("cuda", seat.local)
    torch.cuda.set_device(device)
    return device


@contextmanager
def threads_put_back(threads: int | None = None) -> Iterator[None]:
    """Compute with so many threads inside it (None: as many as before), and after it with those before.

    It decorates functions too, in which prepare_device sets the number.
    """
    before = torch.get_num_threads()
    try:
        if threads is not None:
            torch.set_num_threads(threads)
        yield
    finally:
        if torch.get_num_threads() != before:
            torch.set_num_threads(before)


def room_on(device: torch.device) -> int:
    """Bytes that arrays may take on a card: half of what is free there; 0 where memory is the CPU's."""
    return torch.cuda.mem_get_info(device)[0] // 2 if device.type == "cuda" else 0


def same_each_time(device: torch.device) -> AbstractContextManager[None]:
    """Inside it a card takes kernels that give the same bits each time, and whole float32 products."""
    if device.type != "cuda":
        return nullcontext()
    flags: AbstractContextManager[None] = torch.backends.cudnn.flags(
        enabled=True, benchmark=False, deterministic=True, allow_tf32=False
    )
    return flags


def wait_for(device: torch.device) -> None:
    """Accelerators work on while Python goes on; the clock must not."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    elif device.type == "mps":
        torch.mps.synchronize()
