"""Both arms on a user's own photos: does transfer pay, and from when on?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from .data.decode import Fit
from .data.overlap import Policy, find_overlap
from .data.store import Damaged
from .experiment.bench import Bench, bench_for
from .experiment.compare import Comparison
from .experiment.config import Experiment
from .experiment.folder import (
    DEFAULT_FREEZE,
    DEFAULT_PARENT,
    epochs_for,
    folder_experiment,
    gated,
    learned_by,
    opened_photos,
    photo_words,
    photos_of,
)
from .files import check_target, name_of, shipped_path
from .model import model_file
from .part import Part
from .progress import Progress
from .report.profile import leave_profile
from .report.summary import Summary
from .reporting import finish
from .requests import CompareRequest, checked

COMPARED_STEPS = 400


class Compared(Part):
    """What `compare` has found."""

    run_folder: Path
    """Account, models and report.html."""
    summary: Summary
    """Every figure of the report; `summary.answer` says it in plain words."""


def compare(
    folder: Path | str,
    *,
    parent: Path | str | None = None,
    freeze: Sequence[str] | str | None = None,
    runs: int = 5,
    seed: int = 0,
    fit: Fit | None = None,
    damaged: Damaged = "exclude",
    group_by: str | None = None,
    overlap: Policy = "refuse",
    device: str = "auto",
    threads: int | None = None,
    cache: Path | str | None = None,
    run_folder: Path | str | None = None,
    progress: Progress | None = None,
    say: Callable[[str], None] | None = None,
    command: Sequence[str] | None = None,
    profile: bool = False,
) -> Compared:
    """Train on the class folders below `folder` from scratch and by transfer, `runs` times each, and report.

    parent: model file of the transfer arm, default the shipped stage 2 model. freeze: patterns of its layers,
    default all but the dense ones. seed: of the first run. fit, damaged, group_by, overlap: as in `adapt`,
    whose split and leak gate these are. run_folder: default runs/compare-NAME; one that was interrupted is
    continued.
    command: what the report says that the runs were made by, default the command line that does the same.
    profile: say where the time went, and leave it in the run folder as profile.md.
    Raises UserError subclasses.
    """
    request = checked(
        CompareRequest,
        folder=folder,
        parent=parent,
        freeze=freeze,
        runs=runs,
        seed=seed,
        fit=fit,
        damaged=damaged,
        group_by=group_by,
        overlap=overlap,
        device=device,
        threads=threads,
        cache=cache,
        run_folder=run_folder,
        progress=progress,
        say=say,
        command=None if command is None else list(command),
        profile=profile,
    )
    place = request.run_folder or Path("runs") / f"compare-{name_of(request.folder)}"
    check_target(place, is_folder=True)
    bench = bench_for(request, place)
    experiment, words = _experiment(request, bench)
    Comparison(experiment, None, bench).run(request.command or [*words, "--out", str(place)])
    made = Compared(run_folder=place, summary=finish(place))
    leave_profile(bench.folder, bench.profiler, bench.environment, bench.say)
    return made


def _experiment(request: CompareRequest, bench: Bench) -> tuple[Experiment, list[str]]:
    """What compares both arms on a folder, and the command line for it; opens its store to count the photos.

    Raises DataError if a photo to judge by was trained on, by the parent too, and that is to be refused.
    """
    parent = str(request.parent.absolute()) if request.parent else DEFAULT_PARENT
    freeze = request.freeze or DEFAULT_FREEZE
    config = photos_of(request, request.fit or "letterbox", request.group_by)
    opened = opened_photos(config, bench)
    learned = learned_by(parent, model_file.read(shipped_path(parent)), opened, is_updated=False)
    overlap = find_overlap(opened.store, opened.sides, opened.prints, [learned])
    photos = gated(config, opened, overlap, request.overlap)
    for line in photos.notes:
        bench.say(line)
    experiment = folder_experiment(
        photos.config,
        parent,
        freeze,
        epochs_for(COMPARED_STEPS, len(photos.images.rows["train"])),
        ("transfer", "scratch"),
        request.runs,
        request.seed,
    )
    words = ["benchgraft", "compare", str(request.folder.absolute())]
    words += ["--runs", str(request.runs), "--seed", str(request.seed), "--parent", parent]
    return experiment, words + photo_words(config, request.overlap, freeze)
