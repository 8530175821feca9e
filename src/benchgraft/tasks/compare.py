"""Scratch, and transfer from one or several parents, on a user's own photos: which pays, and from when on?"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Unpack

from ..config.checking import checked
from ..config.choices import Fit
from ..config.experiment import Experiment
from ..config.network import NetworkSpec
from ..config.options import CompareOptions
from ..config.requests import CompareRequest
from ..config.words import command_line
from ..engines.device import threads_put_back
from ..errors import RequestError
from ..experiment.bench import Bench, bench_for
from ..experiment.choice import choose_parent
from ..experiment.deeper import candidates, default_plan
from ..experiment.folder import (
    REAL_PARENT,
    STAGE,
    FolderArm,
    Start,
    are_uneven,
    deeper_recipe,
    epochs_for,
    first_to_train,
    folder_experiment,
    recipe_of,
    solved_recipe,
    start_of,
)
from ..experiment.jobs import Crew, crew_for
from ..experiment.photos import Listed, UserPhotos, leave_pairs, list_folder, source_of, user_photos
from ..experiment.plan import plan as pilot
from ..experiment.rounds import Comparison
from ..files import check_target, lock, name_of
from ..networks.build import resolved
from ..part import Result
from ..progress import approximate
from ..report.profile import leave_profile
from ..report.summary import Summary
from .report import finish

COMPARED_STEPS = 400
TRANSFER, SCRATCH = "transfer", "scratch"


class Compared(Result):
    """What `compare` has found."""

    run_folder: Path
    """Account, models and report.html."""
    summary: Summary
    """Every figure of the report; `summary.answer` says it in plain words."""


@threads_put_back()
def compare(folder: Path | str, **options: Unpack[CompareOptions]) -> Compared:
    """Train on the class folders below `folder` from scratch and by transfer, several times each, and report.

    Options, and what they are where they are left out: see CompareRequest in benchgraft.config.requests.
    Split and leak gate are those of `adapt`. A run folder that was interrupted is continued.
    Raises UserError subclasses.
    """
    request = checked(CompareRequest, folder=folder, **options)
    place = request.run_folder or Path("runs") / f"compare-{name_of(request.folder)}"
    check_target(place, is_folder=True)
    bench = bench_for(request, place)
    with crew_for(request, bench) as crew:
        return _compared(request, place, bench, crew)


def _compared(request: CompareRequest, place: Path, bench: Bench, crew: Crew) -> Compared:
    experiment, photos, starts = arranged(request, bench)
    for line in photos.notes:
        bench.events.say(line)
    expected = pilot(experiment, None, bench)
    fewer = f": {expected.rounds} of {request.runs} runs an arm fit" if expected.rounds < request.runs else ""
    bench.events.say(
        f"{', '.join(experiment.arms)}: about {approximate(expected.seconds)} on this machine, of "
        f"{request.minutes:g} minutes{fewer}"
    )
    command = list(request.command or _command(request, starts, photos, place))
    Comparison(experiment, None, bench, crew).run(command)
    with lock(place):
        for line in leave_pairs(photos.overlap, place):
            bench.events.say(line)
    made = Compared(run_folder=place, summary=finish(place))
    leave_profile(bench.folder, bench.profiler, bench.environment, bench.events.say)
    return made


def arranged(request: CompareRequest, bench: Bench) -> tuple[Experiment, UserPhotos, list[Start]]:
    """What will be run, on which photos, from which parents."""
    listed = functools.cache(lambda: list_folder(request, source_of(request), bench))
    starts = _starts(request, listed, bench)
    request = replace(request, fit=request.fit or _fit(starts, listed, bench))
    # The gate looks at the smallest pictures, as the rounds do: all arms are judged by the same photos.
    smallest_first = sorted(starts, key=lambda start: start.file.card.network.side)
    photos = user_photos(request, smallest_first, bench, bench.folder)
    arms = _arms(request, starts, photos)
    experiment = folder_experiment(photos.config, arms, request.runs, request.seed, request.minutes)
    return experiment, photos, starts


def _starts(request: CompareRequest, listed: Callable[[], Listed | None], bench: Bench) -> list[Start]:
    """One for each parent with its default depth, and one for each block that is named and that it has.

    Without a parent: the ImageNet one, its head alone and some blocks more; of CIFAR-100, which is no photos,
    the paper's. Raises RequestError for a block that no parent has.
    """
    if request.parent is None and listed() is None:
        return [start_of(None, bench.cache)]
    names = request.parent or (REAL_PARENT,)
    parents = [start_of(name, bench.cache, request.weights) for name in dict.fromkeys(names)]
    blocks = request.train_from or ()
    if request.parent is None and not blocks:
        blocks = tuple(candidates(parents[0])[1:2])
    missing = [
        block for block in blocks if not any(block in start.file.card.block_names for start in parents)
    ]
    if missing:
        known = [f"{start.parent}: {' '.join(start.file.card.block_names)}" for start in parents]
        raise RequestError(f'train_from: "{missing[0]}" is no block of any parent', *known)
    deeper = [
        replace(start, train_from=block)
        for start in parents
        for block in blocks
        if block in start.file.card.block_names and block != start.train_from
    ]
    return [*parents, *deeper]


def _fit(starts: Sequence[Start], listed: Callable[[], Listed | None], bench: Bench) -> Fit:
    """One for all arms: found with the first parent that is not the paper's, as adapt finds it."""
    start = next((start for start in starts if not start.is_papers), None)
    if start is None or listed() is None:
        return "letterbox"
    return choose_parent(start.parent, start.weights, None, listed, bench).fit


def _arms(request: CompareRequest, starts: Sequence[Start], photos: UserPhotos) -> list[FolderArm]:
    """In the order of the table."""
    labels = photos.images.labels["train"]
    epochs = epochs_for(COMPARED_STEPS, len(labels))
    network = None
    if request.scratch_network:
        network = resolved(NetworkSpec(family="timm", name=request.scratch_network))
    scratch = FolderArm(SCRATCH, SCRATCH, recipe_of("scratch", epochs), network=network)
    label_of = _labels(starts)
    found = []
    for number, start in enumerate(starts, 1):
        if start.is_papers:
            recipe = recipe_of("transfer", epochs)
        elif start.is_solved:
            recipe = solved_recipe(are_uneven(labels))
        else:
            plan = default_plan(start, photos.config.fit, len(labels))
            recipe = deeper_recipe(plan.epochs, plan.views, are_uneven(labels))
        stage = STAGE if number == 1 else f"{STAGE}_{number}"
        if len(starts) == 1:
            found.append(FolderArm(TRANSFER, stage, recipe, start))
        else:
            parent = label_of[start.name]
            is_default = start.train_from == first_to_train(start.file)
            name = parent if is_default else f"{parent} from {start.train_from}"
            found.append(FolderArm(name, stage, recipe, start, parent))
    return [*found, scratch]


def _labels(starts: Sequence[Start]) -> dict[str, str]:
    """What each model is called in the names of arms: its name, or the end of its file's path that no other
    file's path ends with."""
    named = {start.name: str(start.parent) for start in starts}
    files = [Path(name) for name, parent in named.items() if parent == name]
    for parts in range(1, max((len(file.parts) for file in files), default=0) + 1):
        ends = {str(file): str(Path(*file.parts[-parts:])) for file in files}
        if len(set(ends.values())) == len(files):
            return named | ends
    return named


def _command(request: CompareRequest, starts: Sequence[Start], photos: UserPhotos, place: Path) -> list[str]:
    """The command line that does this."""
    blocks = [start.train_from for start in starts if start.train_from != first_to_train(start.file)]
    asked = replace(
        request,
        folder=request.folder.absolute(),
        labels=request.labels.absolute() if request.labels else None,
        parent=tuple(dict.fromkeys(str(start.parent) for start in starts)),
        weights=starts[0].weights,
        train_from=tuple(dict.fromkeys(blocks)) or None,
        fit=photos.config.fit,
        run_folder=place,
    )
    return command_line("compare", asked)
