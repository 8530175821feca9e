"""The command that runs the paper's comparison."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .options import CacheOption, cache_folder
from .report import conclude

if TYPE_CHECKING:
    from ..experiment.config import Experiment


def reproduce(
    experiment: Annotated[
        str | None,
        typer.Argument(help="An experiment file, or a shipped one: paper (default with --data), embedded."),
    ] = None,
    data: Annotated[Path | None, typer.Option(help="Folder with cifar-100-binary/ and fruits-360/.")] = None,
    out: Annotated[Path | None, typer.Option(help="Run folder. Default: runs/NAME")] = None,
    runs: Annotated[int | None, typer.Option(min=1, help="Runs of each arm.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the first run.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads. Default: all cores.")] = None,
    cache_dir: CacheOption = None,
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Train the plain way.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would run, and stop.")] = False,
) -> None:
    """Run the paper's comparison: without --data its last step on the photos that come with the program.

    A run folder that was interrupted is continued by the same command.

    Example: benchgraft reproduce --data ~/data --out runs/paper
    """
    from ..experiment import config

    loaded = config.load(experiment or ("paper" if data else "embedded"))
    changes = {key: value for key, value in (("runs", runs), ("seed", seed)) if value is not None}
    loaded = loaded.model_copy(update=changes)
    folder = out or Path("runs") / loaded.name
    if dry_run:
        _print_plan(loaded, data, folder, device, threads)
        return
    _carry_out(loaded, data, folder, device, threads, cache_folder(cache_dir), not no_cache)
    conclude(folder)


def _carry_out(
    experiment: Experiment,
    data: Path | None,
    folder: Path,
    device: str,
    threads: int | None,
    cache: Path,
    use_cache: bool,
) -> None:
    import torch

    from ..experiment.bench import Bench
    from ..experiment.compare import Comparison
    from ..ledger import environment
    from ..progress import for_terminal
    from ..training.device import prepare_device

    chosen = prepare_device(device, threads)
    bench = Bench(
        folder=folder,
        cache=cache,
        device=chosen,
        environment=environment(torch.get_num_threads(), str(chosen)),
        progress=for_terminal(),
        say=lambda line: print(line, flush=True),
        use_cache=use_cache,
    )
    Comparison(experiment, data, bench).run(sys.argv)


def _print_plan(
    experiment: Experiment, data: Path | None, folder: Path, device: str, threads: int | None
) -> None:
    """What would run, on what, about how long."""
    from ..experiment.plan import plan
    from ..progress import approximate
    from ..training.device import prepare_device

    planned = plan(experiment, data, prepare_device(device, threads))
    print(f"{experiment.name} ({experiment.protocol}): {experiment.about}\nrun folder: {folder}")
    for name, stage in experiment.stages.items():
        if stage.model_file:
            print(f"  {name}: comes with the program")
    for each in planned.stages:
        stage = experiment.stages[each.name]
        role = f"{planned.rounds} runs of arm {each.arm}" if each.arm else "once"
        print(
            f"  {each.name}: {role}; {stage.data}, about {each.train_images:,} training images of "
            f"{each.classes:,} classes, at most {stage.recipe.stop.epochs} epochs; parent "
            f"{stage.parent or 'none'}; frozen: {' '.join(stage.freeze) or 'nothing'}; "
            f"about {approximate(each.seconds)} a run"
        )
    print(
        f"all together about {approximate(planned.seconds)} on this machine, "
        "and the decoding of images that no store holds yet"
    )
