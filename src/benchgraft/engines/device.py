"""The device to compute on, and the threads of this process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch

from ..errors import ConfigError


def prepare_device(name: str, threads: int | None) -> torch.device:
    """Choose the device (`auto`, cpu, cuda, mps), and set the number of threads of this process.

    Functions that a user calls put the threads back: see threads_put_back.
    Raises ConfigError for a device that this machine does not have.
    """
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
    return torch.device(name)


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
