"""The workers of one command that torchrun has started: what they tell each other, and what they add up.

Alone, each verb gives back what it was given. Between several, verbs are said by all of them in one order.
Where one worker has ended, they raise WorkersError in the first one, which speaks, and Interrupted in others.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
from torch import Tensor

from ..config.torchrun import LONE, Seat, this_seat
from ..errors import Interrupted, WorkersError
from ..parallel import usable_cores

T = TypeVar("T")

PATIENCE = timedelta(days=1)
"""How long workers wait for the first one, which decodes photos and computes features; one that has ended is
noticed at once, and not waited for."""


@dataclass(frozen=True)
class Workers:
    """All workers of a command, seen from one of them."""

    seat: Seat = LONE

    @property
    def is_alone(self) -> bool:
        """Whether there is no other worker."""
        return self.seat.is_alone

    @property
    def is_first(self) -> bool:
        """Whether this is the one that keeps the account."""
        return self.seat.is_first

    def part(self, count: int) -> slice:
        """Which of `count` things in order are this worker's: neighbours, no worker with two more than
        another."""
        number, of = self.seat.number, self.seat.count
        return slice(count * number // of, count * (number + 1) // of)

    def share(self, value: T) -> T:
        """The first worker's value, on all of them. Plain data, or anything that can be pickled."""
        if self.is_alone:
            return value
        import torch.distributed as dist

        told = [value]
        with _noticing(self.seat):
            dist.broadcast_object_list(told, src=0, device=torch.device("cpu"))
        return told[0]

    def hear(self) -> object:
        """What the first worker shares next, on another one."""
        nothing: object = None
        return self.share(nothing)

    def gather(self, values: Sequence[T]) -> list[T]:
        """The values of the first worker, then those of the second, and so on, on all of them."""
        if self.is_alone:
            return list(values)
        import torch.distributed as dist

        found: list[list[T]] = [[] for _ in range(self.seat.count)]
        with _noticing(self.seat):
            dist.all_gather_object(found, list(values))
        return [value for each in found for value in each]

    def add_up(self, tensor: Tensor) -> None:
        """Put the sum over all workers in the place of a contiguous tensor."""
        if not self.is_alone:
            import torch.distributed as dist

            with _noticing(self.seat):
                dist.all_reduce(tensor)


ALONE = Workers()


@contextmanager
def joined() -> Iterator[Workers]:
    """The workers that torchrun has started together with this process, joined inside it."""
    seat = this_seat()
    if seat.is_alone:
        yield ALONE
        return
    import torch.distributed as dist

    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() and dist.is_nccl_available() else "gloo"
    with _noticing(seat):
        dist.init_process_group(backend, timeout=PATIENCE)
    try:
        yield Workers(seat)
    finally:
        dist.destroy_process_group()


@contextmanager
def _noticing(seat: Seat) -> Iterator[None]:
    """What is torn where another worker has ended is the connection to it."""
    try:
        yield
    except RuntimeError as error:
        if not seat.is_first:
            raise Interrupted from error
        raise WorkersError(
            "another worker of this command has ended",
            "run the same command again: it goes on from the last checkpoint",
        ) from error


def threads_each(seat: Seat) -> int | None:
    """Threads of one of several workers where nobody says: an equal part of the cores. None: torch's own
    number, which is also that of OMP_NUM_THREADS; but 1 there, which torchrun sets, is nobody's wish."""
    if seat.is_alone or os.environ.get("OMP_NUM_THREADS", "1") != "1":
        return None
    return max(1, usable_cores() // seat.local_count)
