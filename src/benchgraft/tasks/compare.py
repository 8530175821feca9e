"""Both arms on a user's own photos: does transfer pay, and from when on?"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Unpack

from ..config.checking import checked
from ..config.options import CompareOptions
from ..config.requests import CompareRequest
from ..config.words import command_line
from ..engines.device import threads_put_back
from ..experiment.bench import bench_for
from ..experiment.folder import Start, epochs_for, folder_experiment, start_of
from ..experiment.photos import UserPhotos, leave_pairs, user_photos
from ..experiment.rounds import Comparison
from ..files import check_target, lock, name_of
from ..part import Result
from ..report.profile import leave_profile
from ..report.summary import Summary
from .report import finish

COMPARED_STEPS = 400


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
    start = start_of(request, bench.cache)
    photos = user_photos(request, start, bench, place)
    for line in photos.notes:
        bench.events.say(line)
    experiment = folder_experiment(
        photos.config,
        start,
        epochs_for(COMPARED_STEPS, len(photos.images.rows["train"])),
        ("transfer", "scratch"),
        request.runs,
        request.seed,
    )
    command = list(request.command or _command(request, start, photos, place))
    Comparison(experiment, None, bench).run(command)
    with lock(place):
        for line in leave_pairs(photos.overlap, place):
            bench.events.say(line)
    made = Compared(run_folder=place, summary=finish(place))
    leave_profile(bench.folder, bench.profiler, bench.environment, bench.events.say)
    return made


def _command(request: CompareRequest, start: Start, photos: UserPhotos, place: Path) -> list[str]:
    """The command line that does this."""
    asked = replace(
        request,
        folder=request.folder.absolute(),
        parent=start.parent,
        weights=start.weights,
        freeze=start.freeze,
        fit=photos.config.fit,
        run_folder=place,
    )
    return command_line("compare", asked)
