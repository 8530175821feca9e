"""Options that several commands have, and what they stand for."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from .output import say

if TYPE_CHECKING:
    from ..experiment.bench import Bench

V = TypeVar("V")
CacheOption = Annotated[
    Path | None, typer.Option("--cache-dir", help="Stores and feature caches. Default: ~/.cache/benchgraft")
]

DeviceOption = Annotated[str, typer.Option("--device", help="auto, cpu, cuda or mps.")]
ThreadsOption = Annotated[
    int | None, typer.Option("--threads", min=1, help="CPU threads. Default: all cores.")
]
ProfileOption = Annotated[
    bool,
    typer.Option("--profile", help="Say where the time went, layer by layer (profile.md in the run folder)."),
]
FitOption = Annotated[
    str | None, typer.Option("--fit", help="Photos not square: letterbox (default), stretch, crop.")
]
DamagedOption = Annotated[
    str, typer.Option("--damaged", help="Photos that cannot be read: exclude (and name them) or refuse.")
]
GroupOption = Annotated[
    str | None,
    typer.Option("--group-by", help="Regular expression: photos for which it finds the same stay together."),
]
OverlapOption = Annotated[
    str,
    typer.Option(
        "--overlap",
        help="What to do with test photos that the model has already seen in training: refuse, drop-test, "
        "drop-near (near-copies too) or keep.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON, all else on stderr.")]


def file_to_write(text: str) -> Path:
    """The value of --out where it is a file. Raises UserError for a folder, which a Path would not show."""
    from ..errors import UserError

    if text.endswith(os.sep):
        raise UserError(f'--out "{text}" is a folder', f"name the file to write: {text}NAME")
    return Path(text)


def file_option(help: str) -> Any:  # noqa: A002 - as typer calls it
    """--out of a command that writes one file."""
    return typer.Option("--out", help=help, parser=file_to_write, metavar="<path>")


def one_of(option: str, given: str, valid: Sequence[V]) -> V:
    """The value of an option that has few. Raises UserError with the nearest valid one."""
    from ..errors import UserError, did_you_mean

    for value in valid:
        if given == value:
            return value
    raise UserError(f'{option} "{given}" is unknown', did_you_mean(str(given), map(str, valid)))


def bench_here(
    folder: Path,
    cache: Path | None,
    device: str,
    threads: int | None,
    use_cache: bool = True,
    profile: bool = False,
) -> Bench:
    """Where the runs of a command take place; progress and lines to read go to this terminal."""
    from ..experiment.bench import make_bench
    from ..progress import for_terminal

    return make_bench(folder, cache, device, threads, for_terminal(), say, use_cache, profile)
