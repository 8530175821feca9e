"""The figures about runs, time and cost: one function a figure, from the summary alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

from . import units
from .claims import retrainings
from .drawing import INK, MUTED, PAPER, Look, Picture, canvas, look, styled, svg
from .runs import SCRATCH, Variant
from .summary import Payback, Spread, Summary, Table

MINUTES_FROM_SECONDS = 600
HATCHES = {
    "decode": "",
    "features": "///",
    "train": "",
    "validate": "xxx",
    "evaluate": "--",
    "save": "||",
    "other": "",
}
SHADES = {
    "decode": 0.85,
    "features": 0.75,
    "train": 1.0,
    "validate": 0.55,
    "evaluate": 0.4,
    "save": 0.7,
    "other": 0.25,
}


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
    single = _single_rival(summary)
    scale, unit = _time_unit([row.seconds[v] for table in arms for row in table.rows for v in row.seconds])
    for place, (table, variant, spread) in enumerate(timed):
        values = [row.seconds[variant] for row in table.rows if variant in row.seconds and not row.is_resumed]
        _strip(
            times,
            place,
            [value / scale for value in values],
            spread,
            scale,
            look(table.arm or "", variant, single),
        )
    for place, table in enumerate(arms):
        style = look(table.arm or "", next(iter(table.seconds), "cold"), single)
        named = Look(
            SCRATCH if table.arm == SCRATCH else (style.label.partition(",")[0]),
            style.colour,
            style.marker,
            style.dashes,
        )
        if table.accuracy is not None:
            _strip(accuracies, place, [100 * row.accuracy for row in table.rows], table.accuracy, 0.01, named)
    _label_strips(times, [look(t.arm or "", v, single).label for t, v, _ in timed])
    _label_strips(
        accuracies, [SCRATCH if t.arm == SCRATCH else ("transfer" if single else t.arm or "") for t in arms]
    )
    times.set_xlabel(f"time of a run, {unit}")
    times.set_xlim(left=0)
    accuracies.set_xlabel("accuracy on test images, %")
    facts = "; ".join(_spread_text(table, variant) for table, variant, _ in timed)
    correct = "; ".join(
        f"{table.arm} {units.estimate(table.accuracy.mean, units.per_cent)}"
        for table in arms
        if table.accuracy
    )
    return Picture(
        "runs",
        "Every run",
        "Each small mark is a run, the large one the mean, the bar its 95 % interval. Further left is "
        "faster, further right more accurate. Cold: features of the frozen layers are computed in the run; "
        "warm: they are there already.",
        f"Mean time of a run: {facts}. Mean accuracy: {correct}.",
        svg(figure, "runs"),
    )


@styled
def learning(summary: Summary) -> Picture | None:
    """Validation accuracy against wall time; runs that never reach the target are counted as such."""
    if not summary.learning.curves:
        return None
    figure, (axes,) = canvas(3.0)
    single = _single_rival(summary)
    curves = summary.learning.curves
    scale, unit = _time_unit([curve.seconds[-1] for curve in curves])
    named: set[str] = set()
    for curve in curves:
        style = look(curve.arm, curve.variant, single)
        axes.plot(
            [0.0, *(value / scale for value in curve.seconds)],
            [np.nan, *(100 * value for value in curve.accuracy)],
            style.dashes,
            color=style.colour,
            alpha=0.75,
            linewidth=1.1,
            marker=style.marker,
            markevery=[len(curve.seconds)],
            markersize=5,
            label=None if style.label in named else style.label,
        )
        named.add(style.label)
    target = summary.learning.target
    if target is not None:
        axes.axhline(100 * target, color=INK, linewidth=1)
        axes.annotate(
            "target",
            (0, 100 * target),
            (3, 3),
            xycoords=("axes fraction", "data"),
            textcoords="offset points",
            color=INK,
        )
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
    told = "; ".join(
        f"{look(entry.arm, entry.variant, single).label}: {entry.reached} of {entry.runs} runs"
        + (
            f", median {units.seconds(entry.median_seconds)}"
            if entry.median_seconds is not None
            else ", half or more never"
        )
        for entry in summary.learning.reached
    )
    see = "A curve further left learns sooner; its mark is the end of the run."
    if target is not None:
        see += f" The line is {units.per_cent(target)}, where scratch runs end (median). Reached it: {told}."
    return Picture(
        "learning",
        "Accuracy against wall time",
        see + " Time is spread evenly over a run's epochs.",
        f"Validation accuracy against time of every run. Target reached: {told}.",
        svg(figure, "learning"),
    )


@styled
def cost(summary: Summary) -> Picture | None:
    """Cumulative cost against retrainings, preparation included, with break-even and its interval."""
    payback = next(iter(summary.paybacks), None)
    speedup = next(
        (s for s in summary.speedups if payback and (s.arm, s.variant) == (payback.arm, payback.variant)),
        None,
    )
    if payback is None or speedup is None:
        return None
    figure, (axes,) = canvas(3.0)
    single = _single_rival(summary)
    last = _last_retraining(payback)
    counts = np.linspace(0, last, 60)
    scale, unit = _time_unit([payback.preparation_seconds, last * speedup.scratch_seconds])
    for style, start, mean, spread in (
        (look(SCRATCH, "pixels"), 0.0, speedup.scratch_seconds, _spread_of(summary, SCRATCH, "pixels")),
        (
            look(payback.arm, payback.variant, single),
            payback.preparation_seconds,
            speedup.transfer_seconds,
            _spread_of(summary, payback.arm, payback.variant),
        ),
    ):
        axes.plot(counts, (start + counts * mean) / scale, style.dashes, color=style.colour)
        axes.plot([last], [(start + last * mean) / scale], style.marker, color=style.colour)
        axes.annotate(
            style.label.partition(",")[0],
            (last, (start + last * mean) / scale),
            (-4, 7),
            textcoords="offset points",
            ha="right",
            color=style.colour,
        )
        if spread is not None and spread.mean.low is not None and spread.mean.high is not None:
            low, high = (
                (start + counts * max(0.0, bound)) / scale for bound in (spread.mean.low, spread.mean.high)
            )
            axes.fill_between(counts, low, high, color=style.colour, alpha=0.16, linewidth=0)
    even = payback.break_even
    if even.first is not None:
        axes.axvline(even.first, color=INK, linewidth=1)
        axes.annotate(
            f"pays from {even.first:,}",
            (even.first, 0.02),
            (3, 0),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            color=INK,
        )
    if even.has_interval and even.low is not None:
        axes.axvspan(
            even.low, even.high if even.high is not None else last, color=MUTED, alpha=0.18, linewidth=0
        )
    axes.set(xlim=(0, last), xlabel="retrainings", ylabel=f"time in all, {unit}")
    axes.set_ylim(bottom=0)
    text = retrainings(payback)
    see = "Transfer starts with its preparation; where its line goes below that of scratch it has paid. "
    see += f"Here transfer {text}. The bands are 95 % intervals of the means"
    if payback.other_machine:
        see += "; preparation was timed on another machine, so this is no measured break-even"
    return Picture(
        "cost",
        "Cost of many retrainings",
        see + ".",
        f"Time in all against number of retrainings. Scratch: {units.seconds(speedup.scratch_seconds)} each. "
        f"Transfer: {units.seconds(payback.preparation_seconds)} of preparation, then "
        f"{units.seconds(speedup.transfer_seconds)} each. It {text}.",
        svg(figure, "cost"),
    )


@styled
def phases(summary: Summary) -> Picture | None:
    """Where the time of a run went, by phase."""
    if not summary.phases:
        return None
    figure, (axes,) = canvas(1.5 + 0.5 * len(summary.phases))
    single = _single_rival(summary)
    used = [name for name in HATCHES if any(entry.seconds.get(name, 0) for entry in summary.phases)]
    labels = []
    for place, entry in enumerate(summary.phases):
        whole, start = sum(entry.seconds.values()), 0.0
        style = look(entry.arm, entry.variant, single)
        labels.append(f"{style.label}\n{units.seconds(whole)}")
        for name in used:
            share = 100 * entry.seconds.get(name, 0.0) / whole
            axes.barh(
                place,
                share,
                left=start,
                height=0.62,
                color=INK,
                alpha=SHADES[name],
                hatch=HATCHES[name],
                edgecolor=PAPER,
                linewidth=0.8,
            )
            start += share
    handles: list[Any] = [
        axes.barh(0, 0, color=INK, alpha=SHADES[name], hatch=HATCHES[name], edgecolor=PAPER) for name in used
    ]
    _label_strips(axes, labels)
    axes.grid(visible=False, axis="y")
    axes.set(xlim=(0, 100), xlabel="share of the run's time, %")
    figure.legend(
        handles, used, loc="outside upper left", ncols=min(4, len(used)), handlelength=1.6, columnspacing=1.2
    )
    told = "; ".join(
        f"{look(entry.arm, entry.variant, single).label} {units.seconds(sum(entry.seconds.values()))}: "
        + ", ".join(
            f"{name} {units.seconds(entry.seconds[name])}" for name in used if entry.seconds.get(name)
        )
        for entry in summary.phases
    )
    return Picture(
        "phases",
        "Where the seconds went",
        "Each bar is a mean run, cut by what the time went into; the totals stand at the left.",
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
    single = _single_rival(summary)
    count = len(summary.speedups)
    for number, entry in enumerate(summary.speedups):
        style = look(entry.arm, entry.variant, single)
        values = [entry.epochs, entry.images_per_epoch, entry.cost_per_image, entry.ratio.value]
        for place, value in enumerate(values):
            y = place + (number - (count - 1) / 2) * 0.7 / count
            axes.plot([1, value], [y, y], color=style.colour, linewidth=3, alpha=0.55, solid_capstyle="butt")
            axes.plot(
                [value], [y], style.marker, color=style.colour, label=style.label if not place else None
            )
            axes.annotate(units.times(value), (max(value, 1), y), (7, -3.5), textcoords="offset points")
    axes.axvline(1, color=INK, linewidth=1)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}x"))
    axes.xaxis.set_minor_formatter(FuncFormatter(lambda *_: ""))
    low, high = axes.get_xlim()
    axes.set_xlim(low, high**1.25 * 1.3)
    _label_strips(axes, names)
    axes.set_xlabel("scratch over transfer (logarithmic)")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper left", ncols=2)
    told = "; ".join(
        f"{look(entry.arm, entry.variant, single).label}: {units.times(entry.epochs)} epochs, "
        f"{units.times(entry.images_per_epoch)} images an epoch, {units.times(entry.cost_per_image)} cost an "
        f"image, {units.estimate(entry.ratio, units.times)} in all"
        for entry in summary.speedups
    )
    see = "The first three factors multiply to the last; what lies right of the line speaks for transfer."
    if any(entry.other_machine for entry in summary.speedups):
        see += " Times of two machines: no ratio of methods."
    return Picture("speed-up", "What the speed-up is made of", see, told + ".", svg(figure, "speed-up"))


def _strip(axes: Axes, place: int, values: list[float], spread: Spread, scale: float, style: Look) -> None:
    """One row: every run, their mean, its interval."""
    spots = place + 0.22 + np.linspace(-0.1, 0.1, len(values)) if len(values) > 1 else [place + 0.22]
    axes.plot(values, spots, style.marker, color=style.colour, markersize=4, alpha=0.6, linestyle="none")
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


def _label_strips(axes: Axes, labels: list[str]) -> None:
    """First row on top."""
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.45, -0.55)
    axes.tick_params(axis="y", length=0)


def _single_rival(summary: Summary) -> bool:
    return len({table.arm for table in summary.tables if table.number == 5}) <= 1


def _time_unit(seconds: list[float]) -> tuple[float, str]:
    """What to divide by, and its name."""
    return (60.0, "minutes") if max(seconds, default=0.0) >= MINUTES_FROM_SECONDS else (1.0, "seconds")


def _spread_of(summary: Summary, arm: str, variant: Variant) -> Spread | None:
    found: Iterator[Table] = (table for table in summary.tables if table.arm == arm)
    return next((table.seconds[variant] for table in found if variant in table.seconds), None)


def _spread_text(table: Table, variant: Variant) -> str:
    return f"{table.arm} {variant} {units.estimate(table.seconds[variant].mean, units.seconds)}"


def _last_retraining(payback: Payback) -> int:
    """As far as the break-even and its interval go, and at least the paper's ten."""
    even = payback.break_even
    known = [10.0, *(1.4 * value for value in (even.first, even.high) if value is not None)]
    return int(np.ceil(min(max(known), 4.0 * (even.first or 10) + 10)))
