"""The command that makes a model from a folder of photos."""

from __future__ import annotations

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
    file_option,
)
from .output import print_blocks, print_json, say_aside


def adapt(
    folder: Annotated[Path, typer.Argument(help="Folder of class folders (one a class).")],
    out: Annotated[
        Path | None,
        file_option("Model file to write. Default: FOLDER.safetensors, or the updated one."),
    ] = None,
    parent: Annotated[
        Path | None, typer.Option(help="Model file to start from. Default: the one that comes along.")
    ] = None,
    freeze: Annotated[
        list[str] | None,
        typer.Option(help="Pattern of layers to freeze. Default: all but the dense ones."),
    ] = None,
    update: Annotated[
        Path | None, typer.Option(help="Model file to bring up to date with the folder.")
    ] = None,
    rename: Annotated[list[str] | None, typer.Option(help="OLD=NEW name of a class, with --update.")] = None,
    refuse_regression: Annotated[
        bool, typer.Option("--refuse-regression", help="Keep the old file if the new model is worse.")
    ] = False,
    fit: FitOption = None,
    damaged: DamagedOption = "exclude",
    group_by: GroupOption = None,
    overlap: OverlapOption = "refuse",
    run_folder: Annotated[
        Path | None, typer.Option(help="Account and checkpoints. Default: runs/adapt-FOLDER")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of head and order.")] = 0,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
    cache_dir: CacheOption = None,
    profile: ProfileOption = False,
    json: JsonOption = False,
) -> None:
    """Train a model on a folder of labelled photos: model file, accuracy, and photos worth a second look.

    Give the same command again to go on after an interruption. Exit codes: 0 done, 2 bad input, no space or
    a refused regression, 130 interrupted.

    Example: benchgraft adapt photos/    then    benchgraft adapt photos/ --update photos.safetensors
    """
    from .. import adaptation
    from ..progress import for_terminal
    from ..report.answers import adapted_blocks

    result = adaptation.adapt(
        folder,
        out,
        parent=parent,
        freeze=freeze,
        update=update,
        rename=rename,
        refuse_regression=refuse_regression,
        fit=fit,  # type: ignore[arg-type]  # checked there
        damaged=damaged,  # type: ignore[arg-type]  # checked there
        group_by=group_by,
        overlap=overlap,  # type: ignore[arg-type]  # checked there
        seed=seed,
        device=device,
        threads=threads,
        cache=cache_dir,
        run_folder=run_folder,
        progress=for_terminal(),
        say=say_aside,
        profile=profile,
    )
    if json:
        print_json(result)
    else:
        print_blocks(adapted_blocks(result))
