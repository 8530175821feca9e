"""Tables 2 to 5 as grids, published beside measured."""

from __future__ import annotations

import numpy as np

from . import units
from .blocks import Block, Grid, Heading, Lines
from .published import PublishedTable
from .runs import VARIANT_TEXT, VARIANTS, Variant
from .statistics import mean_interval, mean_time_interval
from .summary import Spread, Table


def paper_table(table: Table) -> list[Block]:
    """Runs row by row; where there are several, means, spread and range; then what must be said of them."""
    used = [name for name in VARIANTS if any(name in row.seconds for row in table.rows)] or ["pixels"]
    here = ["here\ntime" if variant == "pixels" else f"here\n{VARIANT_TEXT[variant]}" for variant in used]
    beside = ["paper\ntime", "paper\naccuracy"] if table.published else []
    columns = ["", *beside, *here, "here\nepochs", "here\naccuracy"]
    count = max(len(table.published.minutes) if table.published else 0, len(table.rows))
    rows = [_row(table, number, used) for number in range(count)]
    if len(rows) > 1:
        rows += _aggregates(table, used)
    found: list[Block] = [Heading(_title(table)), Grid(columns, rows, frozenset(range(1, len(columns))))]
    lines = _lines(table)
    return [*found, Lines(lines)] if lines else found


def _title(table: Table) -> str:
    if table.number is None:
        return table.title
    where = [f"{word} {name}" for word, name in (("arm", table.arm), ("stage", table.stage)) if name]
    return f"Table {table.number}: {table.title}" + (f" ({', '.join(where)})" if where else "")


def _row(table: Table, number: int, used: list[Variant]) -> list[str]:
    printed: list[str] = []
    if table.published:
        is_there = number < len(table.published.minutes)
        printed = (
            [
                f"{table.published.minutes[number]:.2f} min",
                units.per_cent(table.published.accuracy[number]),
            ]
            if is_there
            else ["", ""]
        )
    measured = ["" for _ in used] + ["", ""]
    if number < len(table.rows):
        here = table.rows[number]
        mark = "".join(
            sign for sign, is_so in (("*", here.is_resumed), ("~", here.retries), ("+", here.given)) if is_so
        )
        times = [units.seconds(here.seconds[name]) + mark if name in here.seconds else "" for name in used]
        measured = [*times, f"{here.epochs}", units.per_cent(here.accuracy)]
    return [f"run {number + 1}", *printed, *measured]


def _aggregates(table: Table, used: list[Variant]) -> list[list[str]]:
    names = ("mean", "interval", "spread (sd)", "range")
    printed = _printed_aggregates(table.published) if table.published else [[] for _ in names]
    measured = _measured_aggregates(table, used)
    return [[name, *a, *b] for name, a, b in zip(names, printed, measured, strict=True)]


def _printed_aggregates(table: PublishedTable) -> list[list[str]]:
    minutes, accuracy = table.minutes, table.accuracy
    return [
        [
            f"{table.mean_minutes:.2f} min" if table.mean_minutes is not None else "",
            units.per_cent(table.mean_accuracy) if table.mean_accuracy is not None else "",
        ],
        [
            units.bounds(mean_time_interval(minutes), lambda value: f"{value:.2f}"),
            units.bounds(mean_interval(accuracy), units.bare_per_cent),
        ],
        [f"{np.std(minutes, ddof=1):.2f} min", f"{100 * np.std(accuracy, ddof=1):.2f}"]
        if len(minutes) > 1
        else ["", ""],
        [
            f"{min(minutes):.2f} to {max(minutes):.2f}",
            f"{100 * min(accuracy):.2f} to {100 * max(accuracy):.2f}",
        ],
    ]


def _measured_aggregates(table: Table, used: list[Variant]) -> list[list[str]]:
    spreads = [table.seconds.get(name) for name in used]
    epochs = [row.epochs for row in table.rows]
    here = table.accuracy
    return [
        [
            *(units.seconds(value.mean.value) if value else "" for value in spreads),
            f"{np.mean(epochs):.1f}" if epochs else "",
            units.per_cent(here.mean.value) if here else "",
        ],
        [
            *(_seconds_span(value, value.mean.low, value.mean.high) if value else "" for value in spreads),
            "",
            units.bounds(here.mean, units.bare_per_cent) if here else "",
        ],
        [
            *(
                units.seconds(value.deviation) if value and value.deviation is not None else ""
                for value in spreads
            ),
            f"{np.std(epochs, ddof=1):.1f}" if len(epochs) > 1 else "",
            f"{100 * here.deviation:.2f}" if here and here.deviation is not None else "",
        ],
        [
            *(_seconds_span(value, value.low, value.high) if value else "" for value in spreads),
            f"{min(epochs)} to {max(epochs)}" if epochs else "",
            units.span(here.low, here.high, units.bare_per_cent) if here else "",
        ],
    ]


def _seconds_span(spread: Spread, low: float | None, high: float | None) -> str:
    """A column's unit stands with its mean; below it only where it differs."""
    if low is None or high is None:
        return ""
    return units.span(low, high, units.seconds, stated=units.unit(units.seconds(spread.mean.value)))


def _lines(table: Table) -> list[str]:
    lines = []
    if not table.rows:
        lines.append("Nothing measured here yet.")
    if table.published and table.published.mean_minutes is not None:
        lines.append("The paper's rows and means are printed; interval (95 %), spread and range computed.")
    elif table.published:
        lines.append("The paper's figures are printed.")
    if table.arm is not None and len(table.rows) == 1:
        lines.append("One run here: no interval.")
    if table.accuracy_over_sources is not None:
        lines.append(
            "Accuracy of these models, interval over source classes: "
            + units.estimate(table.accuracy_over_sources, units.per_cent)
            + "."
        )
    if any(row.is_resumed for row in table.rows):
        lines.append("* interrupted and gone on with; not in the means of time.")
    if any(row.retries for row in table.rows):
        lines.append("~ diverged at first and tried again with a lower learning rate; all its time counts.")
    lines += sorted(
        {
            f"+ Not trained here: the model is {row.given}, timed where it was made."
            for row in table.rows
            if row.given
        }
    )
    return lines
