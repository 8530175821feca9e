"""The figures of a comparison: every run, accuracy against time, cost of many retrainings, and of the time
where it went and what the speed-up is made of."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.container import BarContainer
from matplotlib.ticker import FuncFormatter

from ..runfolder.runs import SCRATCH, Variant
from . import words
from .drawing import (
    INK,
    MUTED,
    PAPER,
    Look,
    Picture,
    arm_name,
    canvas,
    label_rows,
    legend,
    look,
    styled,
    svg,
    time_unit,
)
from .speed import Curve, Payback, Speedup, is_told_apart
from .summary import Spread, Summary, Table

FEW_RUNS = 5
"""With more the curves are drawn thinner."""
PHASE_LOOKS = {
    "decode": ("\\\\\\", 0.85),
    "features": ("///", 0.75),
    "train": ("", 1.0),
    "validate": ("xxx", 0.55),
    "evaluate": ("--", 0.4),
    "save": ("||", 0.7),
    "other": ("", 0.25),
}
"""Hatch and shade."""


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
        _note(axes, f"target {words.per_cent(target)}", (0, 100 * target), ("axes fraction", "data"), (3, 3))
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_xlabel(f"wall time of the run, {unit} (logarithmic)")
    axes.set_ylabel("validation accuracy, %")
    legend(figure, axes, 3, handlelength=2.2, columnspacing=1.2)
    told = _reached_in_words(summary)
    see = "A curve further left learns sooner; its mark is the end of the run."
    if target is not None:
        see += f" The line is {words.per_cent(target)}, where scratch runs end (median). Reached it: {told}."
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
    lines += [
        (row.arm, "cold", 0.0, row.first.value)
        for row in (summary.ways.rows if summary.ways else [])
        if row.first and row.again and row.preparation_seconds is None
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
    if len(lines) > 2:
        see += f" {words.capital(', '.join(line[0] for line in lines[2:]))}: {words.NOT_COUNTED}."
    return Picture("cost", "Cost of many retrainings", see, alt, svg(figure, "cost"))


@styled
def phases(summary: Summary) -> Picture | None:
    """Where the time of a run went, by phase."""
    if not summary.phases:
        return None
    figure, (axes,) = canvas(1.5 + 0.5 * len(summary.phases))
    used = [name for name in PHASE_LOOKS if any(entry.seconds.get(name, 0) for entry in summary.phases)]
    labels = []
    for place, entry in enumerate(summary.phases):
        whole, start = sum(entry.seconds.values()), 0.0
        style = look(summary, entry.arm, entry.variant)
        labels.append(f"{style.label}\n{words.seconds(whole)}")
        for name in used:
            share = 100 * entry.seconds.get(name, 0.0) / whole
            _phase(axes, place, share, name, left=start, height=0.62, linewidth=0.8)
            start += share
    handles: list[Any] = [_phase(axes, 0, 0.0, name) for name in used]
    label_rows(axes, labels)
    axes.grid(visible=False, axis="y")
    axes.set(xlim=(0, 100), xlabel="share of the run's time, %")
    figure.legend(
        handles, used, loc="outside upper left", ncols=min(4, len(used)), handlelength=1.6, columnspacing=1.2
    )
    told = "; ".join(
        f"{look(summary, entry.arm, entry.variant).label} {words.seconds(sum(entry.seconds.values()))}: "
        + ", ".join(
            f"{name} {words.seconds(entry.seconds[name])}" for name in used if entry.seconds.get(name)
        )
        for entry in summary.phases
    )
    return Picture(
        "phases",
        "Where the seconds went",
        "Each bar is a mean run, split by what took the time; the totals are on the left.",
        told + ".",
        svg(figure, "phases"),
    )


@styled
def speedup(summary: Summary) -> Picture | None:
    """The speed-up as a product: epochs x images an epoch x cost an image."""
    if not summary.speedups:
        return None
    names = ["epochs", "images\nan epoch", "cost\nan image", "speed-up"]
    figure, (axes,) = canvas(1.3 + 0.9 * len(summary.speedups) + 0.9)
    count = len(summary.speedups)
    for number, entry in enumerate(summary.speedups):
        style = look(summary, entry.arm, entry.variant)
        values = [entry.epochs, entry.images_per_epoch, entry.cost_per_image, entry.ratio.value]
        for place, value in enumerate(values):
            if value is None:
                continue
            y = place + (number - (count - 1) / 2) * 0.7 / count
            axes.plot([1, value], [y, y], color=style.colour, linewidth=3, alpha=0.55, solid_capstyle="butt")
            is_whole = place == len(values) - 1
            label = style.label if is_whole else None
            axes.plot([value], [y], style.marker, color=style.colour, label=label)
            end = max(1.0, value, entry.ratio.high or 0.0) if is_whole else max(1.0, value)
            axes.annotate(words.times(value), (end, y), (7, -3), textcoords="offset points")
        if entry.ratio.low is not None and entry.ratio.high is not None:
            axes.plot([entry.ratio.low, entry.ratio.high], [y, y], "|-", color=INK, linewidth=1, markersize=8)
    axes.axvline(1, color=INK, linewidth=1)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}x"))
    axes.xaxis.set_minor_formatter(FuncFormatter(lambda *_: ""))
    low, high = axes.get_xlim()
    axes.set_xlim(low, high**1.25 * 1.3)
    label_rows(axes, names)
    axes.set_xlabel("scratch over transfer (logarithmic)")
    legend(figure, axes)
    told = "; ".join(
        f"{look(summary, entry.arm, entry.variant).label}: {_factors_in_words(entry)}"
        f"{words.estimate(entry.ratio, words.times)} in all"
        for entry in summary.speedups
    )
    see = "The first three factors multiply to the last; what lies right of the line speaks for transfer."
    if any(entry.ratio.has_interval for entry in summary.speedups):
        see += " The thin lines are 95 % intervals."
    if any(entry.other_machine for entry in summary.speedups):
        see += f" {words.capital(words.OTHER_MACHINE)}."
    return Picture("speed-up", "What the speed-up is made of", see, told + ".", svg(figure, "speed-up"))


def _factors_in_words(entry: Speedup) -> str:
    if entry.epochs is None or entry.images_per_epoch is None or entry.cost_per_image is None:
        return ""
    return (
        f"{words.times(entry.epochs)} epochs, {words.times(entry.images_per_epoch)} images an epoch, "
        f"{words.times(entry.cost_per_image)} cost an image, "
    )


def _phase(axes: Axes, place: int, share: float, name: str, **options: Any) -> BarContainer:
    """A part of a bar."""
    hatch, shade = PHASE_LOOKS[name]
    return axes.barh(place, share, color=INK, alpha=shade, hatch=hatch, edgecolor=PAPER, **options)


def _runs_in_words(arms: list[Table]) -> str:
    times = [
        f"{table.arm} {variant} {words.estimate(spread.mean, words.seconds)}"
        for table in arms
        for variant, spread in table.seconds.items()
    ]
    right = [
        f"{table.arm} {words.estimate(table.accuracy.mean, words.per_cent)}"
        for table in arms
        if table.accuracy
    ]
    return f"Mean time of a run: {'; '.join(times)}. Mean accuracy: {'; '.join(right)}."


def _reached_in_words(summary: Summary) -> str:
    return "; ".join(
        f"{look(summary, entry.arm, entry.variant).label}: {entry.reached} of {entry.runs} runs"
        + (
            f", median {words.seconds(entry.median_seconds)}"
            if entry.median_seconds is not None
            else ", half or more never"
        )
        for entry in summary.learning.reached
    )


def _cost_in_words(payback: Payback, speedup: Speedup) -> tuple[str, str]:
    """What to see, and the alternative text."""
    text = words.retrainings(payback.break_even)
    see = (
        "Transfer starts with its preparation. Once its line is below that of scratch, it has paid. "
        f"Here transfer {text}"
    )
    if payback.break_even.has_interval:
        see += ". The bands are 95 % intervals of the means, the grey one that of the break-even"
    if not is_told_apart(speedup):
        see += f"; but {words.WHICH_IS_FASTER}"
    elif payback.break_even.low is not None and payback.break_even.high is None:
        see += "; so these runs cannot tell whether it pays"
    if payback.other_machine:
        see += f"; preparation was {words.OTHER_MACHINE}"
    alt = (
        f"Time in all against number of retrainings. Scratch: {words.seconds(speedup.scratch_seconds)} each. "
        f"Transfer: {words.seconds(payback.preparation_seconds)} of preparation, then "
        f"{words.seconds(speedup.transfer_seconds)} each. It {text}."
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
