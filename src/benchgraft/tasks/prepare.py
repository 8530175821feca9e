"""A parent model by any chain of stages, the paper's or one's own, as one model file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Unpack, cast

from ..config.checking import checked
from ..config.experiment import Experiment
from ..config.options import PrepareOptions
from ..config.requests import PrepareRequest
from ..config.words import command_line
from ..engines.device import threads_put_back
from ..engines.workers import joined
from ..errors import UserError, did_you_mean
from ..experiment.bench import Bench, bench_for
from ..experiment.following import follow
from ..experiment.load import load
from ..experiment.rounds import Comparison
from ..files import check_target, lock, write_kept
from ..networks import model_file
from ..part import Result
from ..report.profile import leave_profile
from ..runfolder.seal import seal


class Prepared(Result):
    """What `prepare` has made."""

    model: Path
    stage: str
    """The stage of the experiment that the chain ended with."""
    run_folder: Path
    class_names: list[str]
    """In the order of the model's output rows."""
    accuracy: float
    """On the test images of the last stage, a fraction."""
    seconds: dict[str, float]
    """Stage -> what its training took, wherever it took place; the first stage first."""


@threads_put_back()
def prepare(
    experiment: Path | str, out: Path | str | None = None, **options: Unpack[PrepareOptions]
) -> Prepared:
    """Train each stage of a chain once and write the last one's model file to `out`.

    Options, and what they are where they are left out: see PrepareRequest in benchgraft.config.requests.
    A run folder that was interrupted is continued. Raises UserError subclasses.
    In processes that torchrun has started all workers train together; each of them calls this, and is given
    the same answer. The first one alone writes anything, and tells of it.
    """
    request = checked(PrepareRequest, experiment=experiment, out=out, **options)
    loaded = load(request.experiment)
    if request.seed is not None:
        loaded = loaded.model_copy(update={"seed": request.seed})
    last = _last_stage(loaded, request.stage, request.experiment)
    place = request.run_folder or Path("runs") / f"prepare-{loaded.name}"
    target = request.out or Path(f"{last}.safetensors")
    check_target(target)
    check_target(place, is_folder=True, option="--run-folder")
    asked = replace(request, stage=last, seed=loaded.seed, out=target, run_folder=place)
    with joined() as workers:
        bench = bench_for(request, place, workers=workers)
        if workers.is_first:
            return workers.share(_prepared(loaded, asked, target, bench))
        return cast(Prepared, follow(request.data, bench))


def _prepared(experiment: Experiment, asked: PrepareRequest, target: Path, bench: Bench) -> Prepared:
    """What is asked for, carried out at this bench."""
    assert asked.stage is not None
    last, place = asked.stage, bench.folder
    words = list(asked.command or command_line("prepare", asked))
    made = Comparison(experiment, asked.data, bench).prepare(last, words)
    with lock(place):
        seal(place)
    kept = write_kept(target, made.read_bytes())
    if kept is not None:
        bench.events.say(f"the previous {target} is kept as {kept}")
    leave_profile(bench.folder, bench.profiler, bench.environment, bench.events.say)
    card = model_file.read_card(target)
    records = card.history
    return Prepared(
        model=target,
        stage=last,
        run_folder=place,
        class_names=card.class_names,
        accuracy=records[-1]["accuracy"],
        seconds={record["stage"]: sum(record["seconds"].values()) for record in records},
    )


def _last_stage(experiment: Experiment, wanted: str | None, name: str) -> str:
    """Raises UserError if there is no such stage, or none is named and no arm has a parent."""
    if wanted is None:
        if not experiment.preparation:
            raise UserError(f"{name} prepares nothing: no arm has a parent", "name a stage with --stage")
        return experiment.preparation[-1]
    if wanted not in experiment.stages:
        raise UserError(f'--stage "{wanted}" is not in {name}', did_you_mean(wanted, experiment.stages))
    return wanted
