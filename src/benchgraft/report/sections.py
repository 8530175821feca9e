"""Summary -> blocks: one order and one wording for the terminal, for Markdown and for the page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..runfolder.runs import VARIANTS
from . import words
from .blocks import Block, Grid, Heading, Lines, numbers, said
from .measured import measured
from .provenance import StageData
from .summary import Spread, Summary, Table
from .words import VARIANT_TEXT, bare_per_cent, bounds, estimate, per_cent, seconds, span

MOST_NAMED = 6
MOST_CLASSES_LISTED = 12
OVER_RUNS = ("mean", "interval", "spread (sd)", "range")


@dataclass(frozen=True)
class Beside:
    """Figures printed elsewhere that these runs are compared with, as blocks for where they belong.

    What has such figures makes it of a summary (the paper does); here nothing is known of them.
    """

    title: str
    """Of a report that shows them."""
    heading: str
    """Of their chapter."""
    tables: list[Block]
    """In place of the runs of every arm."""
    audit: list[Block]
    verdicts: list[Block]
    chapter: list[Block]
    """All of it together, on the page."""


@dataclass(frozen=True)
class Columns:
    """One side of a table of runs: cells of every run, and of OVER_RUNS where there are several."""

    names: list[str]
    runs: list[list[str]]
    over_runs: list[list[str]]


def report_blocks(summary: Summary, beside: Beside | None = None) -> list[Block]:
    """Everything that is printed, in order; the answer last, where a terminal ends."""
    return [
        *data(summary),
        *(beside.tables if beside else arms(summary)),
        *measured(summary),
        *(beside.audit if beside else []),
        *_machines(summary),
        *_missing(summary),
        *(beside.verdicts if beside else notes(summary)),
        Heading("The answer"),
        Lines(summary.answer),
    ]


def arms(summary: Summary) -> list[Block]:
    """The runs of every arm; a study tells them in its one table."""
    if summary.study:
        return []
    return [block for table in summary.tables for block in table_blocks(table)]


def table_blocks(table: Table) -> list[Block]:
    """The runs of one arm."""
    return [Heading(table.title), side_by_side([runs_here(table)]), *said(run_lines(table))]


def notes(summary: Summary) -> list[Block]:
    """What must be said of the figures."""
    return said(summary.notes)


def data(summary: Summary) -> list[Block]:
    """The images of every stage, and what was left out."""
    rows = [
        [
            entry.stage,
            f"{entry.data} ({entry.format})" if entry.format and entry.format != entry.data else entry.data,
            f"{entry.classes:,}",
            f"{entry.source_classes:,}",
            *(f"{entry.images.get(split, 0):,}" for split in ("train", "validation", "test")),
        ]
        for entry in summary.data
    ]
    columns = ["stage", "data set", "classes", "source classes", "train", "validation", "test"]
    labelled = [
        f"Labelled training images behind one model, {entry.arm}: {entry.total:,} ("
        + ", ".join(f"{stage} {count:,}" for stage, count in entry.stages.items())
        + ")."
        for entry in summary.labelled
    ]
    lines = [*labelled, *dict.fromkeys(line for entry in summary.data for line in _left_out(entry))]
    return (
        [Heading("Data as measured"), Grid(columns, rows, frozenset(range(2, 7))), Lines(lines)]
        if rows
        else []
    )


def provenance(summary: Summary) -> list[Block]:
    """Machine, revision, seeds and every digest."""
    found = summary.provenance
    seeds = "; ".join(f"{arm} {', '.join(map(str, drawn))}" for arm, drawn in found.seeds.items())
    weights = [
        [
            entry.model_file if entry.arm is None else f"{entry.model_file} ({VARIANT_TEXT[entry.variant]})",
            f"{entry.seed}",
            entry.model_digest[:16],
            (entry.parent_digest or "none")[:16],
            f"{entry.frozen_tensors}",
            (entry.frozen_digest or "none")[:16],
        ]
        for entry in found.weights
    ]
    return [
        *_machines(summary),
        Lines([f"Seeds: {seeds}.", f"Revision: {', '.join(found.revisions) or 'not run from a checkout'}."]),
        Heading("Digests (SHA-256; whole in the ledger)"),
        Grid(
            ["", "images", "digest"],
            [
                ["configuration", "", found.config_digest],
                *([entry.what, f"{entry.images:,}", entry.digest] for entry in found.data),
            ],
            frozenset({1}),
        ),
        Heading("Weights and freeze audit"),
        Lines(
            ["Frozen tensors have the same bits after a run as in its parent model; verify compares them."]
        ),
        Grid(
            ["model file", "seed", "weights", "parent", "frozen\ntensors", "frozen bits"],
            weights,
            frozenset({1, 4}),
        ),
        *_missing(summary),
    ]


def side_by_side(sides: Sequence[Columns]) -> Grid:
    """Runs row by row; where there are several, means, spread and range."""
    count = max(len(side.runs) for side in sides)
    rows = [
        [f"run {number + 1}", *(cell for side in sides for cell in _cells(side, number))]
        for number in range(count)
    ]
    if count > 1:
        rows += [
            [name, *(cell for side in sides for cell in side.over_runs[number])]
            for number, name in enumerate(OVER_RUNS)
        ]
    names = ["", *(name for side in sides for name in side.names)]
    return numbers(names, rows)


def runs_here(table: Table) -> Columns:
    """What was measured."""
    used = [name for name in VARIANTS if any(name in row.seconds for row in table.rows)] or ["pixels"]
    here = ["here\ntime" if variant == "pixels" else f"here\n{VARIANT_TEXT[variant]}" for variant in used]
    runs = []
    for row in table.rows:
        marks = (("*", row.is_resumed), ("~", row.retries), ("+", row.given))
        mark = "".join(sign for sign, is_so in marks if is_so)
        times = [seconds(row.seconds[name]) + mark if name in row.seconds else "" for name in used]
        runs.append([*times, f"{row.epochs}", per_cent(row.accuracy)])
    columns = [*(_seconds_over_runs(table.seconds.get(name)) for name in used)]
    columns += [_epochs_over_runs([row.epochs for row in table.rows]), _accuracy_over_runs(table.accuracy)]
    return Columns(
        [*here, "here\nepochs", "here\naccuracy"], runs, [list(row) for row in zip(*columns, strict=True)]
    )


def run_lines(table: Table) -> list[str]:
    """What must be said of the runs of a table."""
    lines = [] if table.rows else ["Nothing measured here yet."]
    if table.arm is not None and len(table.rows) == 1:
        lines.append("One run here: no interval.")
    if table.accuracy_over_sources is not None:
        over_sources = estimate(table.accuracy_over_sources, per_cent)
        unit = "photos" if table.by_photo else "source classes"
        lines.append(f"Accuracy of these models, interval over {unit}: {over_sources}.")
    if any(row.is_resumed for row in table.rows):
        lines.append(f"* {words.INTERRUPTED}.")
    if any(row.retries for row in table.rows):
        lines.append(f"~ {words.TRIED_AGAIN} a lower learning rate; {words.ALL_TIME}.")
    return lines + sorted(
        {f"+ {words.capital(words.GIVEN)}: {row.given}." for row in table.rows if row.given}
    )


def matched(summary: Summary) -> list[Block]:
    """Which source classes count as which class, where not each as its own; alike stages once."""
    groups: dict[str, list[StageData]] = {}
    for data in summary.data:
        is_as_found = all(entry.sources == [entry.name] for entry in data.matched)
        if len(data.matched) <= MOST_CLASSES_LISTED and not is_as_found:
            groups.setdefault(repr(data.matched), []).append(data)
    return [block for group in groups.values() for block in _matched(group)]


def _matched(alike: list[StageData]) -> list[Block]:
    data = alike[0]
    rows = [
        [entry.name, f"{len(entry.sources)}", *(f"{entry.images[split]:,}" for split in data.images)]
        for entry in data.matched
    ]
    columns = ["class", "source classes", *data.images]
    return [
        Heading(f"Classes of {' and '.join(entry.stage for entry in alike)} as matched"),
        Lines(
            [
                "What to see: which source classes count as which class, and how many of its images train, "
                "validate and test. A source class under the wrong name spoils every figure above."
            ]
        ),
        numbers(columns, rows),
        Lines([f"{entry.name}: {', '.join(entry.sources)}" for entry in data.matched]),
    ]


def _cells(side: Columns, number: int) -> list[str]:
    return side.runs[number] if number < len(side.runs) else [""] * len(side.names)


def _seconds_over_runs(found: Spread | None) -> list[str]:
    """A column's unit stands with its mean; below it only where it differs."""
    if found is None:
        return [""] * len(OVER_RUNS)
    mean = seconds(found.mean.value)
    stated = words.unit(mean)
    return [
        mean,
        bounds(found.mean, seconds, stated=stated),
        seconds(found.deviation) if found.deviation is not None else "",
        span(found.low, found.high, seconds, stated=stated),
    ]


def _epochs_over_runs(epochs: list[int]) -> list[str]:
    if not epochs:
        return [""] * len(OVER_RUNS)
    deviation = f"{np.std(epochs, ddof=1):.1f}" if len(epochs) > 1 else ""
    return [f"{np.mean(epochs):.1f}", "", deviation, f"{min(epochs)} to {max(epochs)}"]


def _accuracy_over_runs(found: Spread | None) -> list[str]:
    if found is None:
        return [""] * len(OVER_RUNS)
    return [
        per_cent(found.mean.value),
        bounds(found.mean, bare_per_cent),
        bare_per_cent(found.deviation) if found.deviation is not None else "",
        span(found.low, found.high, bare_per_cent),
    ]


def _left_out(data: StageData) -> list[str]:
    """Of the data set, and by the rules of the stage; each with its name in the ledger."""
    lines = []
    if data.unusable or data.shared:
        lines.append(
            f"Left out of {data.data}: {data.unusable:,} unreadable images; {data.shared:,} images to "
            "validate or test on that equal, or look like, a training image (the ledger names them)."
        )
    if data.unmatched:
        counts = [f"{name} {count:,}" for name, count in list(data.unmatched.items())[:MOST_NAMED]]
        more = f" and {len(data.unmatched) - MOST_NAMED} more" if len(data.unmatched) > MOST_NAMED else ""
        lines.append(
            f"Left out of {data.data}, as no rule names their class: {sum(data.unmatched.values()):,} images "
            f"({', '.join(counts)}{more})."
        )
    return lines


def _machines(summary: Summary) -> list[Block]:
    return [
        Heading("Measured on"),
        Lines([*summary.machines, f"Started {summary.started}: {' '.join(summary.command)}"]),
    ]


def _missing(summary: Summary) -> list[Block]:
    return (
        [Heading("What is missing"), Lines([f"- {line}" for line in summary.missing])]
        if summary.missing
        else []
    )
