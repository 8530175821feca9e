"""What torchrun tells each process that it starts: no torch, so that every command can look."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

_NUMBERS = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
"""In the order of Seat."""


@dataclass(frozen=True)
class Seat:
    """The place of this process among the workers of a command."""

    number: int = 0
    """From 0, over all machines. The first one keeps the account, and speaks."""
    count: int = 1
    """Of all workers. 1: this process is alone, also where torchrun has started it."""
    local: int = 0
    """Its number on this machine, from 0."""
    local_count: int = 1
    """Workers on this machine."""

    @property
    def is_alone(self) -> bool:
        """Whether there is no other worker."""
        return self.count == 1

    @property
    def is_first(self) -> bool:
        """Whether it is the one that keeps the account."""
        return self.number == 0


LONE = Seat()


def this_seat(environment: Mapping[str, str] = os.environ) -> Seat:
    """By the variables that torchrun sets; where one of them is missing, this process is alone."""
    if any(not environment.get(name) for name in (*_NUMBERS, "MASTER_ADDR", "MASTER_PORT")):
        return LONE
    return Seat(*(int(environment[name]) for name in _NUMBERS))
