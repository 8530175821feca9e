"""A parent model by any chain of stages, the paper's or one's own, as one model file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from .errors import UserError, did_you_mean
from .experiment import config
from .experiment.bench import bench_for
from .experiment.compare import Comparison
from .experiment.config import Experiment
from .files import check_target, lock, write_kept
from .model import model_file
from .part import Part
from .progress import Progress
from .report.profile import leave_profile
from .requests import PrepareRequest, checked
from .runfolder.seal import seal


class Prepared(Part):
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


def prepare(
    experiment: Path | str,
    out: Path | str | None = None,
    *,
    stage: str | None = None,
    data: Path | str | None = None,
    seed: int | None = None,
    device: str = "auto",
    threads: int | None = None,
    cache: Path | str | None = None,
    run_folder: Path | str | None = None,
    progress: Progress | None = None,
    say: Callable[[str], None] | None = None,
    command: Sequence[str] | None = None,
    profile: bool = False,
) -> Prepared:
    """Train each stage of a chain once and write the last one's model file to `out`.

    experiment: an experiment file, or the name of a shipped one. out: default STAGE.safetensors in the
    present folder; a file that is there is kept as STAGE.previous.safetensors. stage: the last of the chain,
    default the parent of the arms. data: folder with the data sets of the file. seed: default the file's.
    run_folder: default runs/prepare-NAME; one that was interrupted is continued.
    command: for the account, default the command line that does the same.
    profile: say where the time went, and leave it in the run folder as profile.md.
    Raises UserError subclasses.
    """
    request = checked(
        PrepareRequest,
        experiment=experiment,
        out=out,
        stage=stage,
        data=data,
        seed=seed,
        device=device,
        threads=threads,
        cache=cache,
        run_folder=run_folder,
        progress=progress,
        say=say,
        command=None if command is None else list(command),
        profile=profile,
    )
    loaded = config.load(str(experiment))
    if request.seed is not None:
        loaded = loaded.model_copy(update={"seed": request.seed})
    last = _last_stage(loaded, request.stage, str(experiment))
    place = request.run_folder or Path("runs") / f"prepare-{loaded.name}"
    target = request.out or Path(f"{last}.safetensors")
    check_target(target)
    check_target(place, is_folder=True, option="--run-folder")
    bench = bench_for(request, place)
    words = request.command or [
        *("benchgraft", "prepare", str(experiment), "--stage", last, "--seed", str(loaded.seed)),
        *(["--data", str(data)] if data else []),
        *("--run-folder", str(place)),
    ]
    made = Comparison(loaded, request.data, bench).prepare(last, words)
    with lock(place):
        seal(place)
    kept = write_kept(target, made.read_bytes())
    if kept is not None:
        bench.say(f"the file that {target} was before is kept as {kept}")
    leave_profile(bench.folder, bench.profiler, bench.environment, bench.say)
    card = model_file.read(target).card
    records = [*card.ancestors, card.record]
    return Prepared(
        model=target,
        stage=last,
        run_folder=place,
        class_names=card.class_names,
        accuracy=card.record["accuracy"],
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
