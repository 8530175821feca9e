"""The figure of a study: accuracy and seconds of every line, along its axis or side by side."""

from __future__ import annotations

from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import ScalarFormatter

from .drawing import LOOKS, Picture, canvas, label_rows, legend, styled, svg
from .study import StudyRow, StudySummary, shown_seconds, time_told
from .words import per_cent, seconds

STYLES = [LOOKS["cold"], LOOKS["scratch"], LOOKS["warm"], LOOKS["pixels"]]
LOG_FROM = 20


@styled
def study(found: StudySummary) -> Picture:
    """Accuracy and seconds: two panels."""
    drawn = _along(found) if found.x is not None else _beside(found)
    told = "; ".join(
        f"{row.line}{'' if row.x is None else f' at {row.x:g}'}: "
        f"{per_cent(row.accuracy.value)} {time_told(row)}"
        for row in found.rows
    )
    return Picture(
        "study",
        found.question,
        "Above: test accuracy with its 95 % interval. Below: what that costs."
        if found.x is not None
        else "Left: test accuracy with its 95 % interval. Right: seconds of one run, features included.",
        told,
        drawn,
    )


def _along(found: StudySummary) -> str:
    figure, (accuracy, time) = canvas(5.4, rows=2)
    for place, line in enumerate(dict.fromkeys(row.line for row in found.rows)):
        rows = sorted((row for row in found.rows if row.line == line), key=lambda row: row.x or 0.0)
        colour, marker, dashes = STYLES[place % len(STYLES)]
        x = [row.x or 0.0 for row in rows]
        style: dict[str, Any] = {"color": colour, "marker": marker, "linestyle": dashes, "markersize": 4.5}
        middles = [100 * row.accuracy.value for row in rows]
        accuracy.errorbar(x, middles, yerr=_errors(rows), capsize=2, linewidth=1.4, label=line, **style)
        timed = [(row.x or 0.0, shown[1].value) for row in rows if (shown := shown_seconds(row))]
        time.plot([place for place, _ in timed], [spent for _, spent in timed], linewidth=1.4, **style)
    for axes in (accuracy, time):
        _scale(axes, [row.x for row in found.rows if row.x is not None])
    times = [shown[1].value for row in found.rows if (shown := shown_seconds(row))]
    if times and max(times) >= LOG_FROM * min(times):
        time.set_yscale("log")
        time.yaxis.set_major_formatter(ScalarFormatter())
    accuracy.set_title("test accuracy, %")
    time.set_title("seconds, all retrainings so far" if found.cumulative else "seconds of one retraining")
    time.set_xlabel(found.x or "")
    legend(figure, accuracy, handlelength=2.4)
    return svg(figure, "study")


def _beside(found: StudySummary) -> str:
    figure, (accuracy, time) = canvas(
        1.2 + 0.42 * len(found.rows), columns=2, sharey=True, width_ratios=[3, 2]
    )
    for place, row in enumerate(found.rows):
        colour, marker, _ = STYLES[place % len(STYLES)]
        accuracy.errorbar(
            100 * row.accuracy.value,
            place,
            xerr=_errors([row]),
            color=colour,
            marker=marker,
            capsize=3,
            linestyle="",
        )
        shown = shown_seconds(row)
        if shown is None:
            continue
        kind, spent = shown
        time.barh(place, spent.value, color=colour, height=0.5)
        time.annotate(
            f" {seconds(spent.value)}{' cold' if kind == 'cold' else ''}", (spent.value, place), va="center"
        )
    label_rows(accuracy, [row.line for row in found.rows])
    time.margins(x=0.6)
    accuracy.set_xlabel("test accuracy, %")
    time.set_xlabel("seconds")
    return svg(figure, "study")


def _errors(rows: list[StudyRow]) -> list[list[float]]:
    """Down and up to the bounds, in points; 0 where there is no interval."""
    low = [
        row.accuracy.value - (row.accuracy.value if row.accuracy.low is None else row.accuracy.low)
        for row in rows
    ]
    high = [
        (row.accuracy.value if row.accuracy.high is None else row.accuracy.high) - row.accuracy.value
        for row in rows
    ]
    return [[100 * max(value, 0.0) for value in low], [100 * max(value, 0.0) for value in high]]


def _scale(axes: Axes, places: list[float]) -> None:
    ticks = sorted(set(places))
    if ticks[0] > 0 and ticks[-1] >= 8 * ticks[0]:
        axes.set_xscale("log")
        axes.minorticks_off()
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
