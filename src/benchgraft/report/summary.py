"""The summary of a run folder: every figure that is printed, as data; all forms of output are made of it.

Seconds are wall time of whole runs; accuracies are fractions; `None` means that it cannot be said yet.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from pydantic import SerializerFunctionWrapHandler, model_serializer

from ..part import Part
from ..runfolder.records import RunRecord
from ..runfolder.runs import SCRATCH, VARIANTS, Arm, RunFolder, Variant, variant
from ..statistics.estimates import Estimate, mean_interval, mean_time_interval, within_fractions
from ..statistics.significance import FEWEST_RUNS_FOR_BOOTSTRAP, RunsNeeded, bootstrap_mean, runs_needed
from . import accuracy, headline, provenance, speed, words
from .accuracy import AccuracyDifference, Confusion, Mistake, RestMistakes
from .network import Network, networks
from .provenance import LabelledImages, Provenance, StageData
from .speed import Learning, Payback, Phases, Speedup
from .study import StudySummary, study, study_answer
from .ways import Ways, ways


class RunRow(Part):
    """One run of a table; for a transfer arm cold and warm of one seed."""

    seed: int
    seconds: dict[Variant, float]
    accuracy: float
    epochs: int
    images_seen: int
    interrupted: list[Variant]
    """Of these its time is left out of the means: it was interrupted once at least."""
    retries: int = 0
    """Attempts that diverged before the one that gave the model; their time is in `seconds`."""
    given: str | None
    """Where the model comes from, if it was not trained in this folder."""

    @property
    def is_resumed(self) -> bool:
        """Whether some of its times are left out of the means."""
        return bool(self.interrupted)


class Spread(Part):
    """Values of an arm's runs: mean with interval, standard deviation, range."""

    runs: int
    mean: Estimate
    bootstrap: Estimate | None
    """The same by a bootstrap over runs; None with too few of them."""
    deviation: float | None
    low: float
    high: float


class Table(Part):
    """The runs of an arm."""

    title: str
    stage: str | None
    arm: str | None
    """None: of a preparation stage."""
    rows: list[RunRow]
    seconds: dict[Variant, Spread]
    accuracy: Spread | None
    accuracy_over_sources: Estimate | None
    """Of the runs' models as they are, over source classes of test images, or photos where `by_photo`."""
    by_photo: bool = False
    trained_parameters: int | None


class Summary(Part):
    """All that is said at the end."""

    experiment: str
    protocol: str
    answer: list[str]
    """In plain words; the first sentence says whether transfer pays."""
    started: str
    command: list[str]
    machines: list[str]
    data: list[StageData]
    tables: Sequence[Table]
    phases: list[Phases]
    speedups: Sequence[Speedup]
    accuracy: Sequence[AccuracyDifference]
    half_width: float | None
    """The half-width that the user asked about, a fraction."""
    runs_needed: list[RunsNeeded]
    mistakes: list[RestMistakes]
    labelled: list[LabelledImages]
    paybacks: Sequence[Payback]
    learning: Learning
    confusions: list[Confusion]
    surest_mistakes: list[Mistake]
    networks: list[Network]
    provenance: Provenance
    missing: list[str]
    notes: list[str]
    study: StudySummary | None
    """The points of a study; None for a comparison of arms."""
    ways: Ways | None = None
    """Which of three arms or more; None where there are two, and for a study."""

    @model_serializer(mode="wrap")
    def _as_before_ways(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without ways where there is none: reports of two arms stay as they were."""
        fields: dict[str, Any] = handler(self)
        if self.ways is None:
            fields.pop("ways", None)
        return fields


def summarise(folder: RunFolder, half_width: float | None = None) -> Summary:
    """Everything that can be said of a run folder by itself, finished or not, and what is missing.

    half_width: of the difference in accuracy (a fraction), for which to say how many runs it takes.

    Raises RunFolderError if predictions do not fit the test images.
    """
    against = headline.Against(speed.speedups(folder), speed.paybacks(folder), accuracy.differences(folder))
    tables = [
        table_of(folder, arm.runs, f"Runs of arm {arm.name}", arm.stage, arm.name)
        for arm in folder.arms.values()
    ]
    of_study = study(folder)
    of_arms = ways(folder)
    told = study_answer(of_study) if of_study else headline.answer(folder, against, of_arms)
    return Summary(
        experiment=folder.experiment.name,
        protocol=folder.experiment.protocol,
        answer=[*told, *words.without_model_told(folder)],
        started=folder.experiment.started,
        command=folder.experiment.command,
        machines=provenance.machines(folder),
        data=provenance.stage_data(folder),
        tables=tables,
        phases=speed.phases(folder),
        speedups=against.speedups,
        accuracy=against.differences,
        half_width=half_width,
        runs_needed=_runs_needed(tables, half_width) if half_width is not None else [],
        mistakes=accuracy.rest_mistakes(folder),
        labelled=[provenance.labelled(folder, arm) for arm in folder.arms.values() if arm.runs],
        paybacks=against.paybacks,
        learning=speed.learning(folder),
        confusions=accuracy.confusions(folder),
        surest_mistakes=accuracy.surest_mistakes(folder),
        networks=networks(folder),
        provenance=provenance.provenance(folder),
        missing=_missing(folder),
        notes=_notes(folder),
        study=of_study,
        ways=of_arms,
    )


def table_of(
    folder: RunFolder, runs: Sequence[RunRecord], title: str, stage: str | None, arm: str | None
) -> Table:
    """Some runs of one arm or stage, each seed once, and the means over them."""
    group = Arm(arm or "", stage or "", tuple(runs))
    once = group.once_a_seed
    accuracies = [run.accuracy for run in once]
    timed = {name: speed.seconds_of(group.timed(name)) for name in VARIANTS}
    images = folder.images_of(once[0]) if once else None
    return Table(
        title=title,
        stage=stage,
        arm=arm,
        rows=[_row(run, [other for other in runs if other.seed == run.seed]) for run in once],
        seconds={
            name: _spread(values, mean_time_interval(values)) for name, values in timed.items() if values
        },
        accuracy=_spread(accuracies, within_fractions(mean_interval(accuracies))) if once else None,
        accuracy_over_sources=accuracy.over_sources(folder, once),
        by_photo=images is not None and accuracy.is_by_photo(images),
        trained_parameters=once[0].trained_parameters if once else None,
    )


def _spread(values: Sequence[float], mean: Estimate) -> Spread:
    """A mean with what goes with it: standard deviation (None for one run), range."""
    return Spread(
        runs=len(values),
        mean=mean,
        bootstrap=bootstrap_mean(values) if len(values) >= FEWEST_RUNS_FOR_BOOTSTRAP else None,
        deviation=float(np.std(values, ddof=1)) if len(values) > 1 else None,
        low=min(values),
        high=max(values),
    )


def _runs_needed(tables: list[Table], half_width: float) -> list[RunsNeeded]:
    """Of each transfer arm; none where an arm has fewer than two runs, since its spread is not known."""
    found = {
        table.arm: (table.accuracy.deviation, table.accuracy.runs)
        for table in tables
        if table.arm and table.accuracy and table.accuracy.deviation is not None
    }
    scratch = found.pop(SCRATCH, None)
    return [runs_needed(arm, known, scratch, half_width) for arm, known in found.items() if scratch]


def _row(run: RunRecord, same_seed: list[RunRecord]) -> RunRow:
    return RunRow.of(
        run,
        seconds={variant(other): other.total_seconds for other in same_seed},
        interrupted=[variant(other) for other in same_seed if other.segments > 1],
        retries=len(run.diverged),
    )


def _missing(folder: RunFolder) -> list[str]:
    lines = [
        f"{run.stage}: {words.GIVEN} ({run.given})" for run in folder.preparation if run.given is not None
    ]
    if folder.scratch is None and not folder.experiment.config.get("study"):
        lines.append(f"no arm called {SCRATCH}")
    planned = folder.experiment.config.get("runs")
    for arm in folder.arms.values():
        seeds = len(arm.once_a_seed) + len(arm.diverged)
        if isinstance(planned, int) and seeds < planned:
            lines.append(f"{arm.name}: {seeds} of {planned} planned runs")
        cold, warm = ({run.seed for run in arm.of(name)} for name in ("cold", "warm"))
        if cold ^ warm and _has_warm_runs(folder, arm):
            lines.append(
                f"{arm.name}: only one of cold and warm for seeds {', '.join(map(str, sorted(cold ^ warm)))}"
            )
    return lines + [
        f"{arm.name}: no model of seed{'s' if len(arm.diverged) > 1 else ''} "
        + ", ".join(str(run.seed) for run in arm.diverged)
        for arm in folder.arms.values()
        if arm.diverged
    ]


def _has_warm_runs(folder: RunFolder, arm: Arm) -> bool:
    """Whether each cold run of the arm is followed by a warm one."""
    stage = folder.experiment.config.get("stages", {}).get(arm.stage, {})
    return bool(stage.get("cache", "shared") == "shared")


def _notes(folder: RunFolder) -> list[str]:
    formats = {folder.data[images.data].format for images in folder.images if images.data in folder.data}
    lines = [said for layout, (_, said) in words.SEEN_BY_TRAINING.items() if layout in formats]
    if any(arm.runs for arm in folder.rivals):
        lines.append(words.parents_told(folder.rivals))
    resumed = [f"{run.arm or run.stage} seed {run.seed}" for run in folder.runs if run.segments > 1]
    if resumed:
        lines.append(
            f"{words.capital(words.INTERRUPTED)}: {', '.join(resumed)} (a preparation stage counts with the "
            "time on record)."
        )
    return lines + words.retried_told(folder)
