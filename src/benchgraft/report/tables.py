"""Records -> Summary: tables 2 to 5 beside the published ones, and all that goes with them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..runfolder.ledger import AnyRecord, Environment, RunRecord
from . import accuracy, claims, outcomes, speed
from .answers import confusions, mistakes_shown
from .audit import audit
from .headline import answer, parents_told, subject_told
from .learning import learning
from .network import network
from .provenance import provenance
from .published import PublishedTable, published
from .runs import SCRATCH, VARIANTS, Arm, RunFolder, group, variant
from .significance import FEWEST_RUNS_FOR_BOOTSTRAP, RunsNeeded, bootstrap_mean, runs_needed
from .statistics import Estimate, mean_interval, mean_time_interval, within_fractions
from .study import answer as study_answer
from .study import study
from .summary import ClassData, LabelledImages, RunRow, Spread, StageData, Summary, Table

PAPER_STAGES = 2
_OPTIMISTIC = {
    "fruits360": "Fruits-360's own split holds frames of the same rotating fruit on both sides, so these "
    "accuracies are optimistic: measured on other frames of fruits that the model has seen.",
    "elpv": "The data do not say which solar module a cell is from, so that cells of one module are on both "
    "sides of the split: these accuracies are optimistic for cells of other modules.",
}
"""Format -> why accuracies on its test images are too good."""


def summarise(records: Sequence[AnyRecord], half_width: float | None = None) -> Summary:
    """Everything that can be said of a run folder, finished or not, and what is missing.

    half_width: of the difference in accuracy (a fraction), for which to say how many runs it takes.

    Raises RunFolderError if no record names the experiment, or if predictions do not fit the test images.
    """
    folder = group(records)
    speedups, paybacks, differences = (
        speed.speedups(folder),
        speed.paybacks(folder),
        accuracy.differences(folder),
    )
    tables = _tables(folder)
    of_study = study(folder)
    return Summary(
        experiment=folder.experiment.name,
        protocol=folder.experiment.protocol,
        answer=[
            *(study_answer(of_study) if of_study else answer(folder, speedups, paybacks, differences)),
            *outcomes.answered(folder),
        ],
        started=folder.experiment.started,
        command=folder.experiment.command,
        machines=_machines(folder),
        data=_stage_data(folder),
        tables=tables,
        phases=speed.phases(folder),
        speedups=speedups,
        accuracy=differences,
        half_width=half_width,
        runs_needed=_runs_needed(tables, half_width) if half_width is not None else [],
        mistakes=accuracy.mistakes(folder),
        labelled=[_labelled(folder, arm) for arm in folder.arms.values() if arm.runs],
        paybacks=paybacks,
        learning=learning(folder),
        confusions=confusions(folder),
        surest_mistakes=mistakes_shown(folder),
        network=network(folder),
        provenance=provenance(folder),
        audit=audit() if folder.is_of_the_paper else [],
        claims=claims.judge(folder, speedups, paybacks, differences) if folder.is_of_the_paper else [],
        missing=_missing(folder),
        notes=_notes(folder),
        study=of_study,
    )


def spread(values: Sequence[float], mean: Estimate) -> Spread:
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


def _tables(folder: RunFolder) -> list[Table]:
    if not folder.is_of_the_paper:
        return [
            _table(folder, None, list(arm.runs), None, arm.stage, arm.name) for arm in folder.arms.values()
        ]
    paper = published()
    scratch = folder.scratch or Arm("scratch", "", ())
    stages = [*folder.preparation, None, None][:PAPER_STAGES]
    rivals = folder.rivals or [Arm("transfer", "", ())]
    return [
        _arm_table(folder, 2, scratch, paper.table_2),
        *(
            _table(folder, number, [run] if run else [], table, run.stage if run else None, None)
            for number, run, table in zip((3, 4), stages, (paper.table_3, paper.table_4), strict=True)
        ),
        *(_arm_table(folder, 5, arm, paper.table_5) for arm in rivals),
    ]


def _arm_table(folder: RunFolder, number: int, arm: Arm, table: PublishedTable) -> Table:
    return _table(folder, number, list(arm.runs), table, arm.stage or None, arm.name)


def _table(
    folder: RunFolder,
    number: int | None,
    runs: list[RunRecord],
    table: PublishedTable | None,
    stage: str | None,
    arm: str | None,
) -> Table:
    once = Arm(arm or "", stage or "", tuple(runs)).once_a_seed
    accuracies = [run.accuracy for run in once]
    timed = {
        name: [run.total_seconds for run in runs if variant(run) == name and run.segments == 1]
        for name in VARIANTS
    }
    return Table(
        number=number,
        title=table.title if table else f"Runs of arm {arm}",
        stage=stage,
        arm=arm,
        published=table,
        rows=[_row(run, [other for other in runs if other.seed == run.seed]) for run in once],
        seconds={
            name: spread(values, mean_time_interval(values)) for name, values in timed.items() if values
        },
        accuracy=spread(accuracies, within_fractions(mean_interval(accuracies))) if once else None,
        accuracy_over_sources=accuracy.over_sources(folder, once),
        trained_parameters=once[0].trained_parameters if once else None,
    )


def _row(run: RunRecord, same_seed: list[RunRecord]) -> RunRow:
    return RunRow(
        seed=run.seed,
        seconds={variant(other): other.total_seconds for other in same_seed},
        accuracy=run.accuracy,
        epochs=run.epochs,
        images_seen=run.images_seen,
        interrupted=[variant(other) for other in same_seed if other.segments > 1],
        retries=len(run.diverged),
        given=run.given,
    )


def _stage_data(folder: RunFolder) -> list[StageData]:
    found = []
    for images in folder.images:
        data = folder.data.get(images.data)
        found.append(
            StageData(
                stage=images.stage,
                data=images.data,
                format=data.format if data else None,
                classes=len(images.class_names),
                source_classes=len(set().union(*(set(names) for names in images.matched.values()))),
                images={split: sum(counts.values()) for split, counts in images.counts.items()},
                unusable=len(data.excluded) if data else 0,
                shared=len(data.dropped_from_test) if data else 0,
                unmatched=images.unmatched,
                matched=[
                    ClassData(
                        name=name,
                        sources=images.matched.get(name, []),
                        images={split: counts.get(name, 0) for split, counts in images.counts.items()},
                    )
                    for name in images.class_names
                ],
            )
        )
    return found


def _labelled(folder: RunFolder, arm: Arm) -> LabelledImages:
    stages = {run.stage: run.train_images for run in [*folder.chain(arm), arm.runs[0]]}
    return LabelledImages(arm=arm.name, stages=stages, total=sum(stages.values()))


def _machines(folder: RunFolder) -> list[str]:
    """One line for each machine, with what was timed on it."""
    lines: dict[str, list[str]] = {}
    runs = [*folder.preparation, *(run for arm in folder.arms.values() for run in arm.runs)]
    for run in runs:
        names = lines.setdefault(_machine(run.environment), [])
        if run.stage not in names:
            names.append(run.stage)
    return [f"{line} ({', '.join(names)})" if len(lines) > 1 else line for line, names in lines.items()]


def _machine(environment: Environment) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in sorted(environment.versions.items()))
    return (
        f"{environment.cpu}, {environment.threads} of {environment.cores} cores, {environment.device}; "
        f"{environment.system}; {versions}"
        + (f"; revision {environment.git_revision}" if environment.git_revision else "")
    )


def _missing(folder: RunFolder) -> list[str]:
    lines = _missing_preparation(folder) if folder.is_of_the_paper else []
    lines += [
        f"{run.stage} was not trained here; its model is {run.given}"
        for run in folder.preparation
        if run.given is not None
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
    return lines + outcomes.missed(folder)


def _has_warm_runs(folder: RunFolder, arm: Arm) -> bool:
    """Whether each cold run of the arm is followed by a warm one."""
    stage = folder.experiment.config.get("stages", {}).get(arm.stage, {})
    return bool(stage.get("cache", "shared") == "shared")


def _missing_preparation(folder: RunFolder) -> list[str]:
    """What the paper has and this folder has not."""
    paper = published()
    lines = []
    if len(folder.preparation) < PAPER_STAGES:
        lines.append(
            f"none of {PAPER_STAGES} preparation stages in this folder, so no break-even"
            if not folder.preparation
            else f"only {len(folder.preparation)} of {PAPER_STAGES} preparation stages in this folder"
        )
    for arm in folder.arms.values():
        seeds = len(arm.once_a_seed)
        printed = len(paper.table_2.minutes if arm.name == SCRATCH else paper.table_5.minutes)
        if seeds < printed:
            lines.append(f"{arm.name}: {seeds} {'run' if seeds == 1 else 'runs'}; the paper has {printed}")
    return lines


def _notes(folder: RunFolder) -> list[str]:
    formats = {folder.data[images.data].format for images in folder.images if images.data in folder.data}
    lines = [said for layout, said in _OPTIMISTIC.items() if layout in formats]
    if folder.is_of_the_paper:
        lines += subject_told(folder) or ["Our data differ from the paper's: compare with care."]
    if any(arm.runs for arm in folder.rivals):
        lines.append(parents_told(folder.rivals))
    resumed = [
        f"{run.arm or run.stage} seed {run.seed}"
        for run in [*folder.preparation, *(run for arm in folder.arms.values() for run in arm.runs)]
        if run.segments > 1
    ]
    if resumed:
        lines.append(
            "Interrupted and gone on with, so left out of mean times (a preparation stage counts with the "
            f"time on record): {', '.join(resumed)}."
        )
    return lines + outcomes.noted(folder)
