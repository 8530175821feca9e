"""The command that compares both arms on a user's own photos."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from .options import CacheOption, DeviceOption, ThreadsOption, bench_here
from .report import conclude


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
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
    cache_dir: CacheOption = None,
) -> None:
    """Train from scratch and by transfer on the same photos, and report which pays, from when on.

    Give the same command again to go on after an interruption. Exit codes: 0 done, 2 bad input, 130
    interrupted.

    Example: benchgraft compare photos/ --runs 5
    """
    from ..experiment.compare import Comparison
    from ..experiment.folder import DEFAULT_FREEZE, DEFAULT_PARENT, comparison_of_folder

    folder = folder.absolute()
    run_folder = out or Path("runs") / f"compare-{folder.name}"
    bench = bench_here(run_folder, cache_dir, device, threads)
    experiment = comparison_of_folder(
        folder, bench, parent.absolute() if parent else DEFAULT_PARENT, freeze or DEFAULT_FREEZE, runs, seed
    )
    Comparison(experiment, None, bench).run(sys.argv)
    conclude(run_folder)
