"""The figures about time: where a run's seconds went, and what the speed-up is made of."""

from __future__ import annotations

from typing import Any

from matplotlib.ticker import FuncFormatter

from . import units
from .drawing import INK, PAPER, Picture, canvas, label_rows, look, styled, svg
from .summary import Summary

HATCHES = {
    "decode": "\\\\\\",
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
def phases(summary: Summary) -> Picture | None:
    """Where the time of a run went, by phase."""
    if not summary.phases:
        return None
    figure, (axes,) = canvas(1.5 + 0.5 * len(summary.phases))
    used = [name for name in HATCHES if any(entry.seconds.get(name, 0) for entry in summary.phases)]
    labels = []
    for place, entry in enumerate(summary.phases):
        whole, start = sum(entry.seconds.values()), 0.0
        style = look(summary, entry.arm, entry.variant)
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
    label_rows(axes, labels)
    axes.grid(visible=False, axis="y")
    axes.set(xlim=(0, 100), xlabel="share of the run's time, %")
    figure.legend(
        handles, used, loc="outside upper left", ncols=min(4, len(used)), handlelength=1.6, columnspacing=1.2
    )
    told = "; ".join(
        f"{look(summary, entry.arm, entry.variant).label} {units.seconds(sum(entry.seconds.values()))}: "
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
    count = len(summary.speedups)
    for number, entry in enumerate(summary.speedups):
        style = look(summary, entry.arm, entry.variant)
        values = [entry.epochs, entry.images_per_epoch, entry.cost_per_image, entry.ratio.value]
        for place, value in enumerate(values):
            y = place + (number - (count - 1) / 2) * 0.7 / count
            axes.plot([1, value], [y, y], color=style.colour, linewidth=3, alpha=0.55, solid_capstyle="butt")
            axes.plot(
                [value], [y], style.marker, color=style.colour, label=style.label if not place else None
            )
            is_whole = place == len(values) - 1
            end = max(1.0, value, entry.ratio.high or 0.0) if is_whole else max(1.0, value)
            axes.annotate(units.times(value), (end, y), (7, -3), textcoords="offset points")
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
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper left", ncols=2)
    told = "; ".join(
        f"{look(summary, entry.arm, entry.variant).label}: {units.times(entry.epochs)} epochs, "
        f"{units.times(entry.images_per_epoch)} images an epoch, {units.times(entry.cost_per_image)} cost an "
        f"image, {units.estimate(entry.ratio, units.times)} in all"
        for entry in summary.speedups
    )
    see = "The first three factors multiply to the last; what lies right of the line speaks for transfer."
    if any(entry.ratio.has_interval for entry in summary.speedups):
        see += " The thin lines are 95 % intervals."
    if any(entry.other_machine for entry in summary.speedups):
        see += " Times of two machines or numbers of threads: no ratio of methods."
    return Picture("speed-up", "What the speed-up is made of", see, told + ".", svg(figure, "speed-up"))
