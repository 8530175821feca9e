"""The command that trains a parent model through a chain of stages."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from ..errors import UserError
from .options import CacheOption, DeviceOption, ThreadsOption, bench_here


def prepare(
    experiment: Annotated[str, typer.Argument(help="An experiment file, or a shipped one: paper.")],
    stage: Annotated[
        str | None, typer.Option(help="The stage to end with. Default: the parent of the arms.")
    ] = None,
    data: Annotated[Path | None, typer.Option(help="Folder with the data sets of the file.")] = None,
    out: Annotated[Path | None, typer.Option(help="Model file to write. Default: STAGE.safetensors")] = None,
    run_folder: Annotated[Path | None, typer.Option(help="Default: runs/prepare-NAME")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the stages.")] = None,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
    cache_dir: CacheOption = None,
) -> None:
    """Train a parent model: each stage of a chain once, the paper's or one's own, into one model file.

    Give the same command again to go on after an interruption. Exit codes: 0 done, 2 bad input, 130
    interrupted.

    Example: benchgraft prepare paper --data DIR --out parent.safetensors
    """
    from ..errors import did_you_mean
    from ..experiment import config
    from ..experiment.compare import Comparison
    from ..files import write_whole

    loaded = config.load(experiment)
    if seed is not None:
        loaded = loaded.model_copy(update={"seed": seed})
    if stage is None:
        if not loaded.preparation:
            raise UserError(
                f"{experiment} prepares nothing: no arm has a parent", "name a stage with --stage"
            )
        stage = loaded.preparation[-1]
    if stage not in loaded.stages:
        raise UserError(f'--stage "{stage}" is not in {experiment}', did_you_mean(stage, loaded.stages))
    folder = run_folder or Path("runs") / f"prepare-{loaded.name}"
    bench = bench_here(folder, cache_dir, device, threads)
    made = Comparison(loaded, data, bench).prepare(stage, sys.argv)
    target = out or Path(f"{stage}.safetensors")
    write_whole(target, made.read_bytes())
    print(target)
