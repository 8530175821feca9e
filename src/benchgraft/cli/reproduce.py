"""The command that runs the paper's comparison."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..config.requests import ReproduceRequest
from .options import Given, asks
from .output import say
from .report import conclude

if TYPE_CHECKING:
    from ..config.experiment import Experiment, Stage
    from ..experiment.bench import Bench


@asks(ReproduceRequest)
def reproduce(
    given: Given,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would run, and stop.")] = False,
) -> None:
    """Run the paper's comparison; without --data only its last step, on photos of solar cells.

    Those photos come with the package elpv-dataset, which the extra `sample` installs.

    Run the same command again to continue after an interruption. Exit codes: 0 done, 2 bad input or no
    space, 130 interrupted.

    Example: benchgraft reproduce --data ~/data --out runs/paper
    """
    from ..config.checking import checked
    from ..config.words import command_line
    from ..experiment.bench import bench_for
    from ..experiment.jobs import crew_for
    from ..experiment.load import load
    from ..experiment.rounds import Comparison
    from ..progress import for_terminal
    from ..report.profile import leave_profile

    request = checked(ReproduceRequest, **given, progress=for_terminal(), say=say)
    name = request.experiment or ("paper" if request.data else "solar-cells")
    loaded = load(name, request.quick)
    asked = {key: getattr(request, key) for key in ("runs", "parents", "seed")}
    loaded = loaded.model_copy(update={key: value for key, value in asked.items() if value is not None})
    folder = request.run_folder or Path("runs") / (loaded.name + ("-quick" if request.quick else ""))
    if dry_run:
        _print_plan(loaded, request.data, bench_for(request, folder))
        return
    bench = bench_for(request, folder, use_cache=not request.no_cache)
    words = command_line("reproduce", replace(request, experiment=name, run_folder=folder))
    with crew_for(request, bench) as crew:
        Comparison(loaded, request.data, bench, crew).run(words)
    conclude(folder)
    leave_profile(folder, bench.profiler, bench.environment, say)


def _length(stage: Stage, epochs: int) -> str:
    return "its head solved" if stage.recipe.optimizer == "logistic" else f"at most {epochs} epochs"


def _print_plan(experiment: Experiment, data: Path | None, bench: Bench) -> None:
    """What would run, on what, about how long."""
    from ..config.parents import is_name
    from ..experiment.plan import plan
    from ..progress import approximate

    planned = plan(experiment, data, bench)
    say(f"{experiment.name} ({experiment.protocol}): {experiment.about}")
    say(f"run folder: {bench.folder}")
    for name, stage in experiment.stages.items():
        if stage.model_file:
            named = is_name(stage.model_file)
            say(f"  {name}: " + (f"the parent {stage.model_file}" if named else "comes with the program"))
    for each in planned.stages:
        stage = experiment.stages[each.name]
        prepared = "once" if experiment.parents == 1 else f"{experiment.parents} times"
        role = f"{planned.rounds} runs of arm {each.arm}" if each.arm else prepared
        say(
            f"  {each.name}: {role}; {stage.data}, about {each.train_images:,} training images of "
            f"{each.classes:,} classes, {_length(stage, each.epochs)}; parent "
            f"{stage.parent or 'none'}; frozen: {' '.join(stage.freeze) or 'nothing'}; "
            f"about {approximate(each.seconds)} a run"
        )
    say(
        f"all together about {approximate(planned.seconds)} on this machine, "
        "plus the time to decode images that are not in a store yet"
    )
