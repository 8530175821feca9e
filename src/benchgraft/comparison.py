"""Both arms on a user's own photos: does transfer pay, and from when on?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from .data.decode import Fit
from .data.overlap import Policy
from .experiment.bench import make_bench
from .experiment.compare import Comparison
from .experiment.config import SHIPPED, Damaged
from .experiment.folder import (
    DEFAULT_FREEZE,
    DEFAULT_PARENT,
    comparison_of_folder,
    photo_words,
    photos_of,
)
from .progress import Progress
from .report.part import Part
from .report.profile import leave_profile
from .report.seal import finish
from .report.summary import Summary


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
    freeze: Sequence[str] = DEFAULT_FREEZE,
    runs: int = 5,
    seed: int = 0,
    fit: Fit = "letterbox",
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

    parent: model file of the transfer arm, default the shipped stage 2 model. freeze: patterns of its layers.
    seed: of the first run. fit, damaged, group_by, overlap: as in `adapt`. run_folder: default
    runs/compare-NAME; one that was interrupted is continued.
    command: what the report says that the runs were made by, default the command line that does the same.
    profile: say where the time went, and leave it in the run folder as profile.md.
    Raises UserError subclasses.
    """
    folder = Path(folder).absolute()
    place = Path(run_folder or Path("runs") / f"compare-{folder.name}")
    bench = make_bench(place, cache, device, threads, progress, say, profile=profile)
    given = str(parent or DEFAULT_PARENT)
    if not given.startswith(SHIPPED):
        given = str(Path(given).absolute())
    photos = photos_of(folder, fit, damaged, group_by, overlap == "keep")
    experiment = comparison_of_folder(photos, bench, given, freeze, runs, seed, overlap)
    words = ["benchgraft", "compare", str(folder), "--out", str(place)]
    words += ["--runs", str(runs), "--seed", str(seed), *(["--parent", str(given)] if parent else [])]
    words += photo_words(fit, damaged, group_by, overlap, freeze)
    Comparison(experiment, None, bench).run(list(command or words))
    made = Compared(run_folder=place, summary=finish(place))
    leave_profile(bench.folder, bench.profiler, bench.environment, bench.say)
    return made
