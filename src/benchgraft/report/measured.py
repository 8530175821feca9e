"""Summary -> blocks: what the runs say by themselves, with every interval, its method and the tests."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..runfolder.runs import VARIANTS
from ..statistics.estimates import Estimate
from ..statistics.significance import RunsNeeded, Significance
from . import words
from .accuracy import AccuracyDifference, RestMistakes
from .blocks import Block, Grid, Heading, Lines, numbers
from .speed import Payback, TimeRatio
from .study import StudyDifference, StudyRow, StudyStep, StudySummary
from .summary import Spread, Summary, Table
from .ways_told import ways_blocks
from .words import VARIANT_TEXT, estimate, named, per_cent, points, seconds, times

_FACTORS = ["epochs", "images\nan epoch", "cost\nan image"]


def measured(summary: Summary) -> list[Block]:
    """Of a study its tables; else speed-up, accuracy, break-even and how sure all of it is."""
    if summary.study:
        return study_blocks(summary.study)
    which = ways_blocks(summary.ways) if summary.ways else []
    return [*which, *_speedups(summary), *_accuracy(summary), *_paybacks(summary), *_certainty(summary)]


def study_blocks(found: StudySummary) -> list[Block]:
    """Lines, steps and differences of a study."""
    notes = [
        f"{words.INTERVALS}, over runs and test images together (whole varieties where a class has several); "
        "all for these parents."
    ]
    if found.cumulative:
        notes.append("Seconds are added up along each line.")
    return [
        Heading(found.question),
        _lines_grid(found),
        *_steps(found.steps),
        *_differences(found),
        Lines(notes),
    ]


def _lines_grid(found: StudySummary) -> Grid:
    shown = [kind for kind in VARIANTS if any(kind in row.seconds for row in found.rows)]
    header = ["", *_axis(found), "runs", "training images", "epochs"]
    header += [f"seconds {VARIANT_TEXT[kind]}" for kind in shown] + ["test accuracy"]
    rows = [
        [
            row.line,
            *_place(found, row),
            f"{row.runs}",
            f"{row.train_images:,}",
            f"{row.epochs:.1f}",
            *(estimate(row.seconds[kind].bare, seconds) if kind in row.seconds else "" for kind in shown),
            estimate(row.accuracy, per_cent),
        ]
        for row in found.rows
    ]
    return numbers(header, rows)


def _steps(found: Sequence[StudyStep]) -> list[Block]:
    if not found:
        return []
    rows = [
        [
            step.name,
            *_factor_cells(step, step.before_seconds, step.after_seconds),
            estimate(step.accuracy.bare, points) if step.accuracy else "",
        ]
        for step in found
    ]
    told = f"{words.product_told('before', 'after', 'factor')} Accuracy is after minus before."
    header = ["step", "before / after", "factor", *_FACTORS, "accuracy,\npoints"]
    return [numbers(header, rows), Lines([told, *_machine_mark(found)])]


def _differences(found: StudySummary) -> list[Block]:
    rows = [
        [
            f"{entry.first}, less {entry.second}",
            *_place(found, entry),
            estimate(entry.value, points),
            "yes" if entry.value.differs_from(0.0) else "no",
        ]
        for entry in found.differences
        if entry.value.has_interval
    ]
    return [numbers(["accuracy", *_axis(found), "points", "told apart"], rows)] if rows else []


def _axis(found: StudySummary) -> list[str]:
    return [] if found.x is None else [found.x]


def _place(found: StudySummary, entry: StudyRow | StudyDifference) -> list[str]:
    """The cell of the axis, where the study has one."""
    return [] if found.x is None else [f"{entry.x:g}" if entry.x is not None else ""]


def _factor_cells(found: TimeRatio, slow: float, fast: float) -> list[str]:
    """Both times, their ratio, and the three factors that it is made of."""
    bare = found.ratio.bare if isinstance(found, StudyStep) else found.ratio
    return [
        f"{seconds(slow)} / {seconds(fast)}",
        estimate(bare, times) + (" #" if found.other_machine else ""),
        *(
            "" if factor is None else times(factor)
            for factor in (found.epochs, found.images_per_epoch, found.cost_per_image)
        ),
    ]


def _machine_mark(found: Sequence[TimeRatio]) -> list[str]:
    return [f"# {words.OTHER_MACHINE}."] if any(entry.other_machine for entry in found) else []


def _speedups(summary: Summary) -> list[Block]:
    if not summary.speedups:
        return []
    rows = [
        [
            named(entry.arm, entry.variant),
            *_factor_cells(entry, entry.scratch_seconds, entry.transfer_seconds),
        ]
        for entry in summary.speedups
    ]
    used = [
        name for name in summary.phases[0].seconds if any(entry.seconds[name] for entry in summary.phases)
    ]
    spent = [
        [named(entry.arm, entry.variant), *(seconds(entry.seconds[name]) for name in used)]
        for entry in summary.phases
    ]
    told = words.product_told("scratch", "transfer", "speed-up")
    return [
        Heading("Speed-up, and what it is made of"),
        numbers(["", "scratch / transfer", "speed-up", *_FACTORS], rows),
        Lines([told, *_machine_mark(summary.speedups)]),
        Heading("Where the time went (mean of a run)"),
        numbers(["", *used], spent),
    ]


def _accuracy(summary: Summary) -> list[Block]:
    lines = []
    for entry in summary.accuracy:
        lines.append(_difference_told(entry))
        if not entry.same_images:
            lines.append(f"{entry.arm} minus scratch: {words.OTHER_IMAGES}; the difference mixes both.")
    rows = [
        [
            entry.arm,
            _share(entry.rest_taken_for_class, entry.rest_images),
            _share(entry.class_taken_for_rest, entry.class_images),
            f"{entry.class_taken_for_other:.1f}",
        ]
        for entry in summary.mistakes
    ]
    if not lines and not rows:
        return []
    found: list[Block] = [Heading("Accuracy: transfer against scratch"), Lines(lines)]
    if rows:
        header = ["test images, mean of runs", *_mistake_names(summary.mistakes[0])]
        found.append(numbers(header, rows))
    return found


def _difference_told(entry: AccuracyDifference) -> str:
    text = f"{entry.arm} minus scratch: {estimate(entry.together, points)} points"
    if entry.over_sources is not None and entry.over_sources.standard_error is None:
        text += f" ({entry.together.method}; for these test images only)"
    elif entry.over_sources is not None:
        unit = "photos" if entry.by_photo else "source classes"
        text += (
            f", for other runs and other {unit} together; over runs alone "
            f"{estimate(entry.over_runs, points)}, over {unit} alone {estimate(entry.over_sources, points)}"
        )
    if entry.together.has_interval and not entry.together.differs_from(0.0):
        text += f". {words.capital(words.WHICH_IS_MORE_ACCURATE)}"
    return f"{text}."


def _share(count: float, of: int) -> str:
    return f"{count:.1f} of {of:,} ({per_cent(count / max(1, of))})"


def _mistake_names(first: RestMistakes) -> list[str]:
    """What the three kinds of mistake are called, by the names of the classes where these are few."""
    others = " or ".join(first.classes) if len(first.classes) <= 3 else "another class"
    return [f"{first.rest} taken\nfor {others}", f"{others}\ntaken for {first.rest}", f"{others}\nmixed up"]


def _paybacks(summary: Summary) -> list[Block]:
    if not summary.paybacks:
        return []
    return [
        Heading("Break-even: retrainings until preparation has paid"),
        Lines(
            [
                *(_payback_told(entry) for entry in summary.paybacks),
                "Preparation was timed once and counts as exact; its own spread is not in the interval.",
            ]
        ),
    ]


def _payback_told(entry: Payback) -> str:
    text = (
        f"{named(entry.arm, entry.variant)}: transfer {words.retrainings(entry.break_even)}; "
        f"preparation {seconds(entry.preparation_seconds)}; at ten retrainings it costs "
        f"{times(entry.at_ten)} what scratch does."
    )
    if entry.other_machine:
        return f"{text} Preparation was {words.OTHER_MACHINE}."
    return f"{text} Preparation was {words.GIVEN}." if entry.preparation_given else text


def _certainty(summary: Summary) -> list[Block]:
    """Every interval with its method, the permutation test beside it, and how many runs would do."""
    rows = [
        *(row for table in summary.tables if table.arm for row in _mean_rows(table)),
        *(
            _sure(
                f"speed-up, {named(entry.arm, entry.variant)}", entry.ratio, times, _test(entry.permutation)
            )
            for entry in summary.speedups
        ),
        *(row for entry in summary.accuracy for row in _difference_rows(entry)),
    ]
    lines = [
        "p: two-sided, beside the smallest that the test can give with so many runs.",
        "Welch and not pairs: a seed draws start weights and order, which have nothing to do with each other "
        "in the two arms; images and split are the same for all runs.",
        *(_single_models_told(entry) for entry in summary.accuracy),
        *(_runs_needed(need) for need in summary.runs_needed),
    ]
    return [
        Heading("How sure: intervals and tests"),
        Grid(["", "value (95 % interval)", "method", "p"], rows, frozenset({1})),
        Lines(lines),
    ]


def _sure(name: str, value: Estimate, write: Callable[[float], str], test: str = "") -> list[str]:
    return [name, estimate(value, write), value.method, test]


def _mean_rows(table: Table) -> list[list[str]]:
    found: list[tuple[str, Spread | None, Callable[[float], str]]] = [
        *(
            (f"time, {named(table.arm or '', kind)}", spread, seconds)
            for kind, spread in table.seconds.items()
        ),
        (f"accuracy, {table.arm}", table.accuracy, per_cent),
    ]
    rows = [
        _sure(name, value, write)
        for name, spread, write in found
        for value in ((spread.mean, spread.bootstrap) if spread else ())
        if value is not None
    ]
    if table.accuracy_over_sources is not None:
        rows.append(_sure(f"accuracy, {table.arm}", table.accuracy_over_sources, per_cent))
    return rows


def _difference_rows(entry: AccuracyDifference) -> list[list[str]]:
    name = f"accuracy, {entry.arm} minus scratch, points"
    rows = [_sure(name, entry.over_runs, points, _test(entry.permutation))]
    if entry.over_sources is not None:
        rows += [_sure(name, entry.over_sources, points), _sure(name, entry.together, points)]
    return rows


def _single_models_told(entry: AccuracyDifference) -> str:
    if entry.mcnemar is None:
        return f"{entry.arm}: no McNemar test, {entry.mcnemar_why_none}."
    return f"{entry.arm}: {entry.mcnemar.method}, p = {_p(entry.mcnemar)}."


def _test(found: Significance | None) -> str:
    return f"{_p(found)} ({found.method})" if found else ""


def _p(found: Significance) -> str:
    return f"{found.p:.2g}, smallest possible {found.smallest:.2g}"


def _runs_needed(need: RunsNeeded) -> str:
    half = (
        f"{need.arm} minus scratch: for an interval over runs of +-{100 * need.half_width:g} points it takes"
    )
    if need.runs is None:
        return f"{half} more runs than anybody would do, if the spread stays as measured."
    most = f"{need.runs_at_most:,}" if need.runs_at_most is not None else "very many"
    return (
        f"{half} {need.runs:,} runs of each arm if the spread stays as measured, and up to {most} at its "
        "upper bound. More runs do not reduce what other photos would change."
    )
