"""The figures that carry the answer: every run, accuracy against time, cost of many retrainings."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

from . import units
from .claims import retrainings
from .drawing import (
    INK,
    MUTED,
    PAPER,
    Look,
    Picture,
    arm_name,
    canvas,
    label_rows,
    look,
    styled,
    svg,
    time_unit,
)
from .headline import is_told_apart
from .learning import Curve
from .runs import SCRATCH, Variant
from .summary import Payback, Speedup, Spread, Summary, Table

FEW_RUNS = 5
"""With more the curves are drawn thinner."""


@styled
def runs(summary: Summary) -> Picture | None:
    """Seconds and accuracy of every run, both arms, with means and intervals."""
    arms = [table for table in summary.tables if table.arm is not None and table.rows]
    timed = [(table, variant, spread) for table in arms for variant, spread in table.seconds.items()]
    if not arms:
        return None
    figure, (times, accuracies) = canvas(
        1.6 + 0.42 * (len(timed) + len(arms)), rows=2, height_ratios=[max(1, len(timed)), len(arms)]
    )
    scale, unit = time_unit([value for table in arms for row in table.rows for value in row.seconds.values()])
    for place, (table, variant, spread) in enumerate(timed):
        rows = [row for row in table.rows if variant in row.seconds and variant not in row.interrupted]
        values = [row.seconds[variant] / scale for row in rows]
        _strip(times, place, values, spread, scale, look(summary, table.arm or "", variant))
    for place, table in enumerate(arms):
        style = look(summary, table.arm or "", next(iter(table.seconds), "cold"))
        if table.accuracy is not None:
            _strip(accuracies, place, [100 * row.accuracy for row in table.rows], table.accuracy, 0.01, style)
    label_rows(times, [look(summary, table.arm or "", variant).label for table, variant, _ in timed])
    label_rows(accuracies, [arm_name(summary, table.arm or "") for table in arms])
    times.set_xlabel(f"time of a run, {unit}")
    times.set_xlim(left=0)
    accuracies.set_xlabel("accuracy on test images, %")
    return Picture(
        "runs",
        "Every run",
        "Each small mark is a run, the large one the mean, the bar its 95 % interval (none with one run). "
        "Times further left are faster, accuracies further right are better. Cold: features of the frozen "
        "layers are computed in the run; warm: they are there already.",
        _runs_in_words(arms),
        svg(figure, "runs"),
    )


@styled
def learning(summary: Summary) -> Picture | None:
    """Validation accuracy against wall time; runs that never reach the target are counted as such."""
    curves, target = summary.learning.curves, summary.learning.target
    if not curves:
        return None
    figure, (axes,) = canvas(3.0)
    scale, unit = time_unit([curve.seconds[-1] for curve in curves])
    for curve in curves:
        style = look(summary, curve.arm, curve.variant)
        is_first = style.label not in axes.get_legend_handles_labels()[1]
        _curve(axes, curve, scale, style, style.label if is_first else None, len(curves))
    if target is not None:
        axes.axhline(100 * target, color=INK, linewidth=1)
        _note(axes, f"target {units.per_cent(target)}", (0, 100 * target), ("axes fraction", "data"), (3, 3))
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_xlabel(f"wall time of the run, {unit} (logarithmic)")
    axes.set_ylabel("validation accuracy, %")
    figure.legend(
        *axes.get_legend_handles_labels(),
        loc="outside upper left",
        ncols=3,
        handlelength=2.2,
        columnspacing=1.2,
    )
    told = _reached_in_words(summary)
    see = "A curve further left learns sooner; its mark is the end of the run."
    if target is not None:
        see += f" The line is {units.per_cent(target)}, where scratch runs end (median). Reached it: {told}."
    return Picture(
        "learning",
        "Accuracy against wall time",
        see + " Time is spread evenly over a run's epochs.",
        f"Validation accuracy against time of every run. Target reached: {told or 'there is no target'}.",
        svg(figure, "learning"),
    )


@styled
def cost(summary: Summary) -> Picture | None:
    """Cumulative cost against retrainings, preparation included, with break-even and its interval."""
    payback = next(iter(summary.paybacks), None)
    pair = (payback.arm, payback.variant) if payback else None
    speedup = next((entry for entry in summary.speedups if (entry.arm, entry.variant) == pair), None)
    if payback is None or speedup is None:
        return None
    figure, (axes,) = canvas(3.0)
    last = _last_retraining(payback)
    scale, unit = time_unit([payback.preparation_seconds, last * speedup.scratch_seconds])
    lines: list[tuple[str, Variant, float, float]] = [
        (SCRATCH, "pixels", 0.0, speedup.scratch_seconds),
        (payback.arm, payback.variant, payback.preparation_seconds, speedup.transfer_seconds),
    ]
    for arm, variant, start, mean in lines:
        spread = _spread_of(summary, arm, variant)
        _cost_line(axes, last, start / scale, mean / scale, spread, scale, look(summary, arm, variant))
    even = payback.break_even
    if even.first is not None:
        axes.axvline(even.first, color=INK, linewidth=1)
        _note(axes, f"pays from {even.first:,}", (even.first, 0.02), ("data", "axes fraction"), (3, 0))
    if even.has_interval and even.low is not None:
        high = even.high if even.high is not None else last
        axes.axvspan(even.low, high, color=MUTED, alpha=0.18, linewidth=0)
    axes.set(xlim=(0, last), xlabel="retrainings", ylabel=f"time in all, {unit}")
    axes.set_ylim(bottom=0)
    see, alt = _cost_in_words(payback, speedup)
    return Picture("cost", "Cost of many retrainings", see, alt, svg(figure, "cost"))


def _runs_in_words(arms: list[Table]) -> str:
    times = [
        f"{table.arm} {variant} {units.estimate(spread.mean, units.seconds)}"
        for table in arms
        for variant, spread in table.seconds.items()
    ]
    right = [
        f"{table.arm} {units.estimate(table.accuracy.mean, units.per_cent)}"
        for table in arms
        if table.accuracy
    ]
    return f"Mean time of a run: {'; '.join(times)}. Mean accuracy: {'; '.join(right)}."


def _reached_in_words(summary: Summary) -> str:
    return "; ".join(
        f"{look(summary, entry.arm, entry.variant).label}: {entry.reached} of {entry.runs} runs"
        + (
            f", median {units.seconds(entry.median_seconds)}"
            if entry.median_seconds is not None
            else ", half or more never"
        )
        for entry in summary.learning.reached
    )


def _cost_in_words(payback: Payback, speedup: Speedup) -> tuple[str, str]:
    """What to see, and the alternative text."""
    text = retrainings(payback)
    see = (
        "Transfer starts with its preparation; where its line goes below that of scratch it has paid. "
        f"Here transfer {text}"
    )
    if payback.break_even.has_interval:
        see += ". The bands are 95 % intervals of the means, the grey one that of the break-even"
    if not is_told_apart(speedup):
        see += "; but these runs cannot tell which is faster"
    elif payback.break_even.low is not None and payback.break_even.high is None:
        see += "; so these runs cannot tell whether it pays"
    if payback.other_machine:
        see += "; preparation was timed on another machine or with other threads: no measured break-even"
    alt = (
        f"Time in all against number of retrainings. Scratch: {units.seconds(speedup.scratch_seconds)} each. "
        f"Transfer: {units.seconds(payback.preparation_seconds)} of preparation, then "
        f"{units.seconds(speedup.transfer_seconds)} each. It {text}."
    )
    return see + ".", alt


def _curve(axes: Axes, curve: Curve, scale: float, style: Look, label: str | None, curves: int) -> None:
    is_crowded = curves > 3 * FEW_RUNS
    axes.plot(
        [value / scale for value in curve.seconds],
        [100 * value for value in curve.accuracy],
        style.dashes,
        color=style.colour,
        alpha=0.45 if is_crowded else 0.75,
        linewidth=0.7 if is_crowded else 1.1,
        marker=style.marker,
        markevery=[len(curve.seconds) - 1],
        markersize=4 if is_crowded else 5,
        label=label,
    )


def _cost_line(
    axes: Axes, last: int, start: float, mean: float, spread: Spread | None, scale: float, style: Look
) -> None:
    counts = np.linspace(0, last, 60)
    axes.plot(counts, start + counts * mean, style.dashes, color=style.colour)
    axes.plot([last], [start + last * mean], style.marker, color=style.colour, clip_on=False)
    axes.annotate(
        style.label.partition(",")[0],
        (last, start + last * mean),
        (-4, 7),
        textcoords="offset points",
        ha="right",
        color=style.colour,
    )
    if spread is not None and spread.mean.low is not None and spread.mean.high is not None:
        low, high = (start + counts * bound / scale for bound in (spread.mean.low, spread.mean.high))
        axes.fill_between(counts, low, high, color=style.colour, alpha=0.16, linewidth=0)


def _note(
    axes: Axes, text: str, place: tuple[float, float], frame: tuple[str, str], shift: tuple[float, float]
) -> None:
    behind = {"boxstyle": "square,pad=0.1", "facecolor": PAPER, "edgecolor": "none", "alpha": 0.75}
    axes.annotate(text, place, shift, xycoords=frame, textcoords="offset points", color=INK, bbox=behind)


def _strip(axes: Axes, place: int, values: list[float], spread: Spread, scale: float, style: Look) -> None:
    """One row: every run, their mean, its interval."""
    spots = place + 0.22 + np.linspace(-0.1, 0.1, len(values)) if len(values) > 1 else [place + 0.22]
    axes.plot(values, spots, style.marker, color=style.colour, markersize=4, alpha=0.75, linestyle="none")
    mean = spread.mean
    if mean.low is not None and mean.high is not None:
        axes.plot(
            [mean.low / scale, mean.high / scale],
            [place - 0.12] * 2,
            color=style.colour,
            linewidth=3,
            alpha=0.5,
            solid_capstyle="butt",
        )
    axes.plot([mean.value / scale], [place - 0.12], style.marker, color=style.colour, markersize=8)


def _spread_of(summary: Summary, arm: str, variant: Variant) -> Spread | None:
    found: Iterator[Table] = (table for table in summary.tables if table.arm == arm)
    return next((table.seconds[variant] for table in found if variant in table.seconds), None)


def _last_retraining(payback: Payback) -> int:
    """As far as the break-even and its interval go, and at least the paper's ten."""
    even = payback.break_even
    known = [10.0, *(1.4 * value for value in (even.first, even.high) if value is not None)]
    return int(np.ceil(min(max(known), 4.0 * (even.first or 10) + 10)))
