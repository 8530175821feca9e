"""Options that several commands have, and what they stand for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

if TYPE_CHECKING:
    from ..experiment.bench import Bench

V = TypeVar("V")
CacheOption = Annotated[
    Path | None, typer.Option("--cache-dir", help="Stores and feature caches. Default: ~/.cache/benchgraft")
]


def one_of(option: str, given: str, valid: Sequence[V]) -> V:
    """The value of an option that has few. Raises UserError with the nearest valid one."""
    from ..errors import UserError, did_you_mean

    for value in valid:
        if given == value:
            return value
    raise UserError(f'{option} "{given}" is unknown', did_you_mean(str(given), map(str, valid)))


def cache_folder(chosen: Path | None) -> Path:
    """The folder of stores and feature caches: the one chosen, or the user's."""
    from ..files import default_cache

    return chosen or default_cache()


def make_bench(folder: Path, cache: Path, device: str, threads: int | None, use_cache: bool = True) -> Bench:
    """Where the runs of a command take place: run folder, cache, device, progress on this terminal."""
    import torch

    from ..experiment.bench import Bench
    from ..ledger import environment
    from ..progress import for_terminal
    from ..training.device import prepare_device

    chosen = prepare_device(device, threads)
    return Bench(
        folder=folder,
        cache=cache,
        device=chosen,
        environment=environment(torch.get_num_threads(), str(chosen)),
        progress=for_terminal(),
        say=lambda line: print(line, flush=True),
        use_cache=use_cache,
    )
