"""Summary -> blocks: one order and one wording for the terminal and for Markdown."""

from __future__ import annotations

from . import study, units
from .blocks import Block, Grid, Heading, Lines
from .certainty import certainty
from .claims import retrainings
from .paper_tables import paper_table
from .runs import VARIANT_TEXT
from .speed import OTHER_MACHINE
from .summary import StageData, Summary

MOST_NAMED = 6


def blocks(summary: Summary) -> list[Block]:
    """Everything that is printed, in order; the answer last, where a terminal ends."""
    return [
        *data(summary),
        *_arms(summary),
        *measured(summary),
        *_audit(summary),
        *_machines(summary),
        *_missing(summary),
        *_claims(summary),
        Heading("The answer"),
        Lines(summary.answer),
    ]


def measured(summary: Summary) -> list[Block]:
    """What these runs say by themselves, the paper apart."""
    if summary.study:
        return study.blocks(summary.study)
    return [*_speedups(summary), *_accuracy(summary), *_paybacks(summary), *certainty(summary)]


def runs(summary: Summary) -> list[Block]:
    """Every run of every arm, and what must be said of them; for an experiment that is not the paper's."""
    return [*_arms(summary), Lines(summary.notes)]


def paper(summary: Summary) -> list[Block]:
    """The paper's tables, claims and audit, each statement marked printed, computed or inferred."""
    rows = [
        [entry.source, entry.claim, entry.published, entry.verdict, entry.figure] for entry in summary.claims
    ]
    return [
        Heading("Its claims"),
        Grid(["", "claim", "by the paper's own figures", "by these runs", "figure"], rows),
        *_arms(summary),
        *_audit(summary),
        Lines(summary.notes),
    ]


def provenance(summary: Summary) -> list[Block]:
    """Machine, revision, seeds and every digest."""
    found = summary.provenance
    seeds = "; ".join(f"{arm} {', '.join(map(str, numbers))}" for arm, numbers in found.seeds.items())
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


def _arms(summary: Summary) -> list[Block]:
    """The runs of every arm; a study tells them in its one table."""
    tables = [] if summary.study else summary.tables
    return [block for table in tables for block in paper_table(table)]


def _claims(summary: Summary) -> list[Block]:
    if not summary.claims:
        return [Lines(summary.notes)] if summary.notes else []
    protocol = summary.protocol.replace("_", " ")
    several = len({claim.arm for claim in summary.claims if claim.arm}) > 1
    rows = [
        [
            claim.verdict,
            f"{claim.arm}: {claim.claim}" if several and claim.arm else claim.claim,
            claim.figure,
        ]
        for claim in summary.claims
    ]
    return [
        Heading(f'The paper\'s claims, by experiment "{summary.experiment}" ({protocol})'),
        Grid(["verdict", "claim", "by this figure"], rows),
        Lines(
            [
                "In brackets: 95 % intervals. A claim counts as supported or not only by its whole interval.",
                *summary.notes,
            ]
        ),
    ]


def _missing(summary: Summary) -> list[Block]:
    return (
        [Heading("What is missing"), Lines([f"- {line}" for line in summary.missing])]
        if summary.missing
        else []
    )


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


def _speedups(summary: Summary) -> list[Block]:
    if not summary.speedups:
        return []
    rows = [
        [
            f"{entry.arm}, {VARIANT_TEXT[entry.variant]}",
            f"{units.seconds(entry.scratch_seconds)} / {units.seconds(entry.transfer_seconds)}",
            units.estimate(entry.ratio, units.times) + (" #" if entry.other_machine else ""),
            units.times(entry.epochs),
            units.times(entry.images_per_epoch),
            units.times(entry.cost_per_image),
        ]
        for entry in summary.speedups
    ]
    phases = [
        name for name in summary.phases[0].seconds if any(entry.seconds[name] for entry in summary.phases)
    ]
    spent = [
        [
            f"{entry.arm}, {VARIANT_TEXT[entry.variant]}",
            *(units.seconds(entry.seconds[name]) for name in phases),
        ]
        for entry in summary.phases
    ]
    lines = ["Each factor is scratch over transfer; speed-up = epochs x images an epoch x cost an image."]
    if any(entry.other_machine for entry in summary.speedups):
        lines.append(f"# {OTHER_MACHINE}.")
    return [
        Heading("Speed-up, and what it is made of"),
        Grid(
            ["", "scratch / transfer", "speed-up", "epochs", "images\nan epoch", "cost\nan image"],
            rows,
            frozenset(range(1, 6)),
        ),
        Lines(lines),
        Heading("Where the time went (mean of a run)"),
        Grid(["", *phases], spent, frozenset(range(1, len(phases) + 1))),
    ]


def _accuracy(summary: Summary) -> list[Block]:
    lines = []
    for entry in summary.accuracy:
        text = f"{entry.arm} minus scratch: {units.estimate(entry.together, units.points)} points"
        if entry.over_sources is not None and entry.over_sources.standard_error is None:
            text += f" ({entry.together.method}; for these test images only)"
        elif entry.over_sources is not None:
            text += (
                f", for other runs and other source classes together; over runs alone "
                f"{units.estimate(entry.over_runs, units.points)}, over source classes alone "
                f"{units.estimate(entry.over_sources, units.points)}"
            )
        if entry.together.has_interval and not entry.together.differs_from(0.0):
            text += ". These runs cannot tell which is more accurate"
        lines.append(text + ".")
        if not entry.same_images:
            lines.append(
                f"{entry.arm} and scratch were tested on different images; the difference mixes both."
            )
    rows = [
        [
            entry.arm,
            f"{entry.rest_taken_for_class:.1f} of {entry.rest_images:,} "
            f"({units.per_cent(entry.rest_taken_for_class / max(1, entry.rest_images))})",
            f"{entry.class_taken_for_rest:.1f} of {entry.class_images:,} "
            f"({units.per_cent(entry.class_taken_for_rest / max(1, entry.class_images))})",
            f"{entry.class_taken_for_other:.1f}",
        ]
        for entry in summary.mistakes
    ]
    if not lines and not rows:
        return []
    columns = ["test images, mean of runs", *_mistake_names(summary)]
    grid: list[Block] = [Grid(columns, rows, frozenset({1, 2, 3}))] if rows else []
    return [Heading("Accuracy: transfer against scratch"), Lines(lines), *grid]


def _mistake_names(summary: Summary) -> list[str]:
    """What the three kinds of mistake are called, by the names of the classes where these are few."""
    if not summary.mistakes:
        return []
    first = summary.mistakes[0]
    others = " or ".join(first.classes) if len(first.classes) <= 3 else "another class"
    return [f"{first.rest} taken\nfor {others}", f"{others}\ntaken for {first.rest}", f"{others}\nmixed up"]


def _paybacks(summary: Summary) -> list[Block]:
    lines = []
    for entry in summary.paybacks:
        text = (
            f"{entry.arm}, {VARIANT_TEXT[entry.variant]}: transfer {retrainings(entry)}; "
            f"preparation {units.seconds(entry.preparation_seconds)}; at ten retrainings it costs "
            f"{units.times(entry.at_ten)} what scratch does."
        )
        if entry.other_machine:
            text += " Preparation was timed on another machine or with other threads: no figure of this one."
        elif entry.preparation_given:
            text += " Preparation was not carried out here; it was timed where the model was made."
        lines.append(text)
    if lines:
        lines.append("Preparation was timed once and counts as exact; its own spread is not in the interval.")
    return [Heading("Break-even: retrainings until preparation has paid"), Lines(lines)] if lines else []


def _audit(summary: Summary) -> list[Block]:
    if not summary.audit:
        return []
    rows = [[finding.status, finding.statement] for finding in summary.audit]
    return [Heading("Audit of the published figures, recomputed"), Grid(["", "finding"], rows)]


def _machines(summary: Summary) -> list[Block]:
    return [
        Heading("Measured on"),
        Lines([*summary.machines, f"Started {summary.started}: {' '.join(summary.command)}"]),
    ]
