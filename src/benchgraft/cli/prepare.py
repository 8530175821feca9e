"""The command that trains a parent model through a chain of stages."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from .options import CacheOption, DeviceOption, JsonOption, ProfileOption, ThreadsOption, file_option
from .output import print_json, say, say_aside


def prepare(
    experiment: Annotated[str, typer.Argument(help="An experiment file, or a shipped one: paper.")],
    stage: Annotated[
        str | None, typer.Option(help="The stage to end with. Default: the parent of the arms.")
    ] = None,
    data: Annotated[Path | None, typer.Option(help="Folder with the data sets of the file.")] = None,
    out: Annotated[Path | None, file_option("Model file to write. Default: STAGE.safetensors")] = None,
    run_folder: Annotated[Path | None, typer.Option(help="Default: runs/prepare-NAME")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the stages.")] = None,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
    cache_dir: CacheOption = None,
    profile: ProfileOption = False,
    json: JsonOption = False,
) -> None:
    """Train a parent model: each stage of a chain once, the paper's or one's own, into one model file.

    Give the same command again to go on after an interruption. Exit codes: 0 done, 2 bad input or no
    space, 130 interrupted.

    Example: benchgraft prepare paper --data DIR --out parent.safetensors
    """
    from .. import preparation
    from ..progress import for_terminal

    made = preparation.prepare(
        experiment,
        out,
        stage=stage,
        data=data,
        seed=seed,
        device=device,
        threads=threads,
        cache=cache_dir,
        run_folder=run_folder,
        progress=for_terminal(),
        say=say_aside if json else say,
        command=[word for word in sys.argv if word != "--json"],
        profile=profile,
    )
    if json:
        print_json(made)
    else:
        say(str(made.model))
