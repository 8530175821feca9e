"""The command that runs the paper's comparison."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .options import CacheOption, DeviceOption, ProfileOption, ThreadsOption, bench_here
from .output import say
from .report import conclude

if TYPE_CHECKING:
    from ..experiment.config import Experiment


def reproduce(
    experiment: Annotated[
        str | None,
        typer.Argument(help="A file, or a name: paper (default with --data), solar-cells (without)."),
    ] = None,
    data: Annotated[Path | None, typer.Option(help="Folder with cifar-100-binary/ and fruits-360/.")] = None,
    out: Annotated[Path | None, typer.Option(help="Run folder. Default: runs/NAME")] = None,
    runs: Annotated[int | None, typer.Option(min=1, help="Runs of each arm.")] = None,
    parents: Annotated[
        int | None, typer.Option(min=1, help="Train the preparation so often; runs take turns on them.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the first run.")] = None,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
    cache_dir: CacheOption = None,
    profile: ProfileOption = False,
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Train the plain way.")] = False,
    quick: Annotated[bool, typer.Option("--quick", help="The file's smaller version of itself.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would run, and stop.")] = False,
) -> None:
    """Run the paper's comparison: without --data its last step, on photos of solar cells.

    Those photos come with the package elpv-dataset, which the extra `sample` installs.

    A run folder that was interrupted is continued by the same command. Exit codes: 0 done, 2 bad input or no
    space, 130 interrupted.

    Example: benchgraft reproduce --data ~/data --out runs/paper
    """
    from ..experiment import config
    from ..experiment.compare import Comparison
    from ..report.profile import leave_profile

    loaded = config.load(experiment or ("paper" if data else "solar-cells"), quick)
    changes = {
        key: value
        for key, value in (("runs", runs), ("parents", parents), ("seed", seed))
        if value is not None
    }
    loaded = loaded.model_copy(update=changes)
    folder = out or Path("runs") / (loaded.name + ("-quick" if quick else ""))
    if dry_run:
        _print_plan(loaded, data, folder, device, threads)
        return
    bench = bench_here(folder, cache_dir, device, threads, not no_cache, profile)
    Comparison(loaded, data, bench).run(sys.argv)
    conclude(folder)
    leave_profile(folder, bench.profiler, bench.environment, say)


def _print_plan(
    experiment: Experiment, data: Path | None, folder: Path, device: str, threads: int | None
) -> None:
    """What would run, on what, about how long."""
    from ..experiment.plan import plan
    from ..progress import approximate
    from ..training.device import prepare_device

    planned = plan(experiment, data, prepare_device(device, threads))
    say(f"{experiment.name} ({experiment.protocol}): {experiment.about}")
    say(f"run folder: {folder}")
    for name, stage in experiment.stages.items():
        if stage.model_file:
            say(f"  {name}: comes with the program")
    for each in planned.stages:
        stage = experiment.stages[each.name]
        prepared = "once" if experiment.parents == 1 else f"{experiment.parents} times"
        role = f"{planned.rounds} runs of arm {each.arm}" if each.arm else prepared
        say(
            f"  {each.name}: {role}; {stage.data}, about {each.train_images:,} training images of "
            f"{each.classes:,} classes, at most {each.epochs} epochs; parent "
            f"{stage.parent or 'none'}; frozen: {' '.join(stage.freeze) or 'nothing'}; "
            f"about {approximate(each.seconds)} a run"
        )
    say(
        f"all together about {approximate(planned.seconds)} on this machine, "
        "and the decoding of images that no store holds yet"
    )
