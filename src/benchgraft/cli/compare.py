"""The command that compares both arms on a user's own photos."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from .options import (
    CacheOption,
    DamagedOption,
    DeviceOption,
    FitOption,
    GroupOption,
    JsonOption,
    OverlapOption,
    ProfileOption,
    ThreadsOption,
)
from .output import print_json, say, say_aside
from .report import print_finished


def compare(
    folder: Annotated[Path, typer.Argument(help="Folder of class folders (one a class).")],
    parent: Annotated[
        Path | None, typer.Option(help="Model file of the transfer arm. Default: the one that comes along.")
    ] = None,
    freeze: Annotated[
        list[str] | None,
        typer.Option(help="Pattern of layers to freeze. Default: all but the dense ones."),
    ] = None,
    runs: Annotated[int, typer.Option(min=1, help="Runs of each arm.")] = 5,
    out: Annotated[Path | None, typer.Option(help="Run folder. Default: runs/compare-FOLDER")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the first run.")] = 0,
    fit: FitOption = None,
    damaged: DamagedOption = "exclude",
    group_by: GroupOption = None,
    overlap: OverlapOption = "refuse",
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
    cache_dir: CacheOption = None,
    profile: ProfileOption = False,
    json: JsonOption = False,
) -> None:
    """Train from scratch and by transfer on the same photos, and report which pays, from when on.

    Give the same command again to go on after an interruption. Exit codes: 0 done, 2 bad input or no
    space, 130 interrupted.

    Example: benchgraft compare photos/ --runs 5
    """
    from .. import comparison
    from ..progress import for_terminal

    made = comparison.compare(
        folder,
        parent=parent,
        freeze=freeze,
        runs=runs,
        seed=seed,
        fit=fit,  # type: ignore[arg-type]  # checked there
        damaged=damaged,  # type: ignore[arg-type]  # checked there
        group_by=group_by,
        overlap=overlap,  # type: ignore[arg-type]  # checked there
        device=device,
        threads=threads,
        cache=cache_dir,
        run_folder=out,
        progress=for_terminal(),
        say=say_aside if json else say,
        command=[word for word in sys.argv if word != "--json"],
        profile=profile,
    )
    if json:
        print_json(made)
    else:
        print_finished(made.run_folder, made.summary)
