"""How sure the figures are: every interval with its method, the tests, and how many runs would do."""

from __future__ import annotations

from collections.abc import Callable

from . import units
from .blocks import Block, Grid, Heading, Lines
from .runs import VARIANT_TEXT
from .significance import RunsNeeded, Significance
from .summary import AccuracyDifference, Spread, Summary, Table


def certainty(summary: Summary) -> list[Block]:
    """Every interval with its method, the permutation test beside it, and how many runs would do."""
    rows = [
        *(row for table in summary.tables if table.arm for row in _mean_rows(table)),
        *(
            [
                f"speed-up, {entry.arm}, {VARIANT_TEXT[entry.variant]}",
                units.estimate(entry.ratio, units.times),
                entry.ratio.method,
                _test(entry.permutation),
            ]
            for entry in summary.speedups
        ),
        *(row for entry in summary.accuracy for row in _difference_rows(entry)),
    ]
    lines = [
        "p: two-sided, beside the smallest that the test can give with so many runs.",
        "Welch and not pairs: a seed draws start weights and order, which have nothing to do with each other "
        "in the two arms; images and split are the same for all runs.",
    ]
    for entry in summary.accuracy:
        if entry.mcnemar is not None:
            lines.append(f"{entry.arm}: {entry.mcnemar.method}, p = {_p(entry.mcnemar)}.")
        else:
            lines.append(f"{entry.arm}: no McNemar test, {entry.mcnemar_why_none}.")
    lines += [_runs_needed(need) for need in summary.runs_needed]
    return [
        Heading("How sure: intervals and tests"),
        Grid(["", "value (95 % interval)", "method", "p"], rows, frozenset({1})),
        Lines(lines),
    ]


def _mean_rows(table: Table) -> list[list[str]]:
    named: list[tuple[str, Spread | None, Callable[[float], str]]] = [
        *(
            (f"time, {table.arm}, {VARIANT_TEXT[variant]}", spread, units.seconds)
            for variant, spread in table.seconds.items()
        ),
        (f"accuracy, {table.arm}", table.accuracy, units.per_cent),
    ]
    rows = [
        [name, units.estimate(value, write), value.method, ""]
        for name, spread, write in named
        for value in ((spread.mean, spread.bootstrap) if spread else ())
        if value is not None
    ]
    if table.accuracy_over_sources is not None:
        value = table.accuracy_over_sources
        rows.append([f"accuracy, {table.arm}", units.estimate(value, units.per_cent), value.method, ""])
    return rows


def _difference_rows(entry: AccuracyDifference) -> list[list[str]]:
    name = f"accuracy, {entry.arm} minus scratch, points"
    rows = [
        [
            name,
            units.estimate(entry.over_runs, units.points),
            entry.over_runs.method,
            _test(entry.permutation),
        ]
    ]
    if entry.over_sources is not None:
        rows.append([name, units.estimate(entry.over_sources, units.points), entry.over_sources.method, ""])
        rows.append([name, units.estimate(entry.together, units.points), entry.together.method, ""])
    return rows


def _test(found: Significance | None) -> str:
    return f"{_p(found)} ({found.method})" if found else ""


def _p(found: Significance) -> str:
    return f"{found.p:.2g}, smallest possible {found.smallest:.2g}"


def _runs_needed(need: RunsNeeded) -> str:
    half = (
        f"{need.arm} minus scratch: for an interval over runs of +-{100 * need.half_width:g} points it takes"
    )
    if need.runs is None:
        return f"{half} more runs than anybody would carry out, were the spread as measured."
    most = f"{need.runs_at_most:,}" if need.runs_at_most is not None else "very many"
    return (
        f"{half} {need.runs:,} runs of each arm, were the spread as measured, and up to {most} by the upper "
        "bound of that spread. What other source classes would change stays, however many the runs."
    )
