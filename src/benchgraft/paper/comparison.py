"""The paper's comparison: what it prints beside what was measured, its claims judged, its figures audited."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..report import summary as measured
from ..report.blocks import Block, Grid, Heading, Lines
from ..report.headline import Against
from ..report.sections import Beside, Columns, run_lines, runs_here, side_by_side, table_blocks
from ..report.summary import Summary, Table, table_of
from ..report.words import INTERVALS, bare_per_cent, bounds, per_cent
from ..runfolder.runs import SCRATCH, Arm, RunFolder
from ..statistics.estimates import mean_interval, mean_time_interval
from .audit import Finding, audit
from .claims import Claim, judge, of_the_paper
from .published import PublishedTable, published

PAPER_STAGES = 2
_MARKS = (
    "Of the paper: printed stands in it, computed follows from printed values by arithmetic, inferred is "
    'a reading that it does not state and that could be wrong. Columns named "here" were measured in this '
    "folder."
)


class PaperTable(Table):
    """One of the tables 2 to 5: what was published and what was measured."""

    number: int
    published: PublishedTable


class PaperSummary(Summary):
    """All that is said of the paper's comparison."""

    tables: Sequence[PaperTable | Table]
    """Those of the paper first; a plain one of each arm that it has not."""
    audit: list[Finding]
    claims: list[Claim]


def summarise(folder: RunFolder, half_width: float | None = None) -> PaperSummary:
    """As `report.summary.summarise`, and what the paper says to it."""
    found = measured.summarise(folder, half_width)
    subject = _subject_told(folder)
    return PaperSummary.of(
        found,
        answer=[*found.answer, *subject],
        tables=_tables(folder),
        missing=[*_missing(folder), *found.missing],
        notes=[*(subject or ["Our data differ from the paper's: compare with care."]), *found.notes],
        audit=audit(),
        claims=judge(folder, Against(found.speedups, found.paybacks, found.accuracy)),
    )


def beside(summary: PaperSummary) -> Beside:
    """The paper's part of a report."""
    tables = [] if summary.study else [block for table in summary.tables for block in _blocks_of(table)]
    findings = [[finding.status, finding.statement] for finding in summary.audit]
    audited: list[Block] = [
        Heading("Audit of the published figures, recomputed"),
        Grid(["", "finding"], findings),
    ]
    rows = [
        [entry.source, entry.claim, entry.published, entry.verdict, entry.figure] for entry in summary.claims
    ]
    return Beside(
        title="measured beside published",
        heading="The paper beside it",
        tables=tables,
        audit=audited,
        verdicts=_verdicts(summary),
        chapter=[
            Lines([_MARKS]),
            Heading("Its claims"),
            Grid(["", "claim", "by the paper's own figures", "by these runs", "figure"], rows),
            *tables,
            *audited,
            Lines(summary.notes),
        ],
    )


def _verdicts(summary: PaperSummary) -> list[Block]:
    several = len({claim.arm for claim in summary.claims if claim.arm}) > 1
    rows = [
        [
            claim.verdict,
            f"{claim.arm}: {claim.claim}" if several and claim.arm else claim.claim,
            claim.figure,
        ]
        for claim in summary.claims
    ]
    protocol = summary.protocol.replace("_", " ")
    rule = f"{INTERVALS}. A claim counts as supported or not only by its whole interval."
    return [
        Heading(f'The paper\'s claims, by experiment "{summary.experiment}" ({protocol})'),
        Grid(["verdict", "claim", "by this figure"], rows),
        Lines([rule, *summary.notes]),
    ]


def _blocks_of(table: Table) -> list[Block]:
    return _table_blocks(table) if isinstance(table, PaperTable) else table_blocks(table)


def _table_blocks(table: PaperTable) -> list[Block]:
    where = [f"{word} {name}" for word, name in (("arm", table.arm), ("stage", table.stage)) if name]
    title = f"Table {table.number}: {table.title}" + (f" ({', '.join(where)})" if where else "")
    if table.published.mean_minutes is None:
        source = "The paper's figures are printed."
    else:
        source = "The paper's rows and means are printed; interval (95 %), spread and range computed."
    grid = side_by_side([_printed(table.published), runs_here(table)])
    return [Heading(title), grid, Lines([source, *run_lines(table)])]


def _printed(table: PublishedTable) -> Columns:
    minutes, accuracy = table.minutes, table.accuracy
    runs = [[_minutes(time), per_cent(right)] for time, right in zip(minutes, accuracy, strict=True)]
    names = ["paper\ntime", "paper\naccuracy"]
    if table.mean_minutes is None or table.mean_accuracy is None:
        return Columns(names, runs, [["", ""]] * 4)
    over_runs = [
        [_minutes(table.mean_minutes), per_cent(table.mean_accuracy)],
        [bounds(mean_time_interval(minutes), _bare), bounds(mean_interval(accuracy), bare_per_cent)],
        [_minutes(float(np.std(minutes, ddof=1))), bare_per_cent(float(np.std(accuracy, ddof=1)))],
        [
            f"{min(minutes):.2f} to {max(minutes):.2f}",
            f"{bare_per_cent(min(accuracy))} to {bare_per_cent(max(accuracy))}",
        ],
    ]
    return Columns(names, runs, over_runs)


def _minutes(value: float) -> str:
    return f"{value:.2f} min"


def _bare(value: float) -> str:
    return f"{value:.2f}"


def _tables(folder: RunFolder) -> list[PaperTable | Table]:
    paper = published()
    scratch = folder.scratch or Arm(SCRATCH, "", ())
    stages = [*folder.preparation, None, None][:PAPER_STAGES]
    rivals = of_the_paper(folder) or [Arm("transfer", "", ())]
    others = [arm for arm in folder.rivals if arm not in rivals]
    return [
        _table(folder, 2, scratch, paper.table_2),
        *(
            _table(folder, number, Arm("", run.stage if run else "", (run,) if run else ()), printed)
            for number, run, printed in zip((3, 4), stages, (paper.table_3, paper.table_4), strict=True)
        ),
        *(_table(folder, 5, arm, paper.table_5) for arm in rivals),
        *(table_of(folder, arm.runs, f"Runs of arm {arm.name}", arm.stage, arm.name) for arm in others),
    ]


def _table(folder: RunFolder, number: int, runs: Arm, printed: PublishedTable) -> PaperTable:
    """Of an arm, or of a preparation stage as an arm without a name."""
    found = table_of(folder, runs.runs, printed.title, runs.stage or None, runs.name or None)
    return PaperTable.of(found, number=number, published=printed)


def _missing(folder: RunFolder) -> list[str]:
    """What the paper has and this folder has not."""
    paper = published()
    lines = []
    if len(folder.preparation) < PAPER_STAGES:
        lines.append(
            f"none of {PAPER_STAGES} preparation stages in this folder, so no break-even"
            if not folder.preparation
            else f"only {len(folder.preparation)} of {PAPER_STAGES} preparation stages in this folder"
        )
    for arm in [*([folder.scratch] if folder.scratch else []), *of_the_paper(folder)]:
        seeds = len(arm.once_a_seed)
        printed = len(paper.table_2.minutes if arm.name == SCRATCH else paper.table_5.minutes)
        if seeds < printed:
            lines.append(f"{arm.name}: {seeds} {'run' if seeds == 1 else 'runs'}; the paper has {printed}")
    return lines


def _subject_told(folder: RunFolder) -> list[str]:
    """That the paper's figures stand beside photos of something else, where they do."""
    subject = folder.experiment.config.get("subject")
    if not subject:
        return []
    return [
        f"These are photos of {subject}, not of fruit: the paper's figures stand beside them for its claims "
        "alone."
    ]
