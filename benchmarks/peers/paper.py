"""Question 5: the whole paper by its own procedure in Keras against a run folder of benchgraft.

Keras trains as the paper does: batch 32, frozen layers run with all others each epoch, nothing cached. A
part of an epoch is measured (after a warm-up) and the rest is reckoned from it, with the images of the run
folder's stages and two numbers of epochs: benchgraft's own, and those that the paper's times show
(paper/audit.py). Its images come decoded and enlarged to 100x100, which is not in its time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median
from typing import Any

import retrain
from export_material import export_part
from rounds import Bench, Contender, run_rounds

from benchgraft.paper.audit import audit
from benchgraft.runfolder.ledger import read
from benchgraft.runfolder.records import ImagesRecord, RunRecord

STEPS, QUICK_STEPS = 150, 4
WARM_UP_STEPS = 5
CONVOLUTIONS = ("conv2d_1", "conv2d_2", "conv2d_3")
BATCH = retrain.BATCH
RUNS = 10
"""Of each arm, in the paper and in its experiment files."""


@dataclass(frozen=True)
class PaperStage:
    """One stage as Keras trains it."""

    title: str
    frozen: tuple[str, ...]
    data: str
    """Whose pixels: stage1 or stage2 of the experiment `paper`; the speed does not depend on which fruits."""
    ours: tuple[str, ...]
    """Names that this stage has in benchgraft's experiment files."""
    finding: str | None = None
    """The finding of the audit that holds the paper's numbers of epochs."""


STAGES = (
    PaperStage("stage 1", (), "stage1", ("stage1",)),
    PaperStage("stage 2", CONVOLUTIONS, "stage2", ("stage2",)),
    PaperStage(
        "stage 3, text",
        (*retrain.FROZEN, *retrain.DENSE["text"]),
        "stage3",
        ("stage3", "stage3_text"),
        "epochs of table 5",
    ),
    PaperStage(
        "stage 3, code",
        (*retrain.FROZEN, *retrain.DENSE["code"]),
        "stage3",
        ("stage3_code",),
        "epochs of table 5",
    ),
    PaperStage("scratch", (), "stage3", ("scratch",), "epochs of table 2"),
)


def measure(bench: Bench, data: Path, quick: bool, ours: Path) -> dict[str, Any]:
    """Steps and validation of every stage in Keras; beside them what the run folder `ours` tells.

    Raises RunFolderError if there is no ledger, ValueError if it lacks a stage.
    """
    mine = our_stages(ours)
    steps = QUICK_STEPS if quick else STEPS
    for part in dict.fromkeys(stage.data for stage in STAGES):
        export_part(data, bench.work, part, steps * BATCH)
    contenders = [
        Contender(stage.title, "keras_", {"part": stage.data, "frozen": stage.frozen}) for stage in STAGES
    ]
    job = {"batch": BATCH, "steps": steps, "warm_up_steps": WARM_UP_STEPS}
    measured = run_rounds(bench, contenders, "paper", lambda _c, number: job | {"seed": number})
    return measured | {"ours": mine, "paper_epochs": _paper_epochs(), "steps": steps, "batch": BATCH}


def _paper_epochs() -> dict[str, float]:
    """Stage -> mean of the epochs that the paper's times show, where they do."""
    values = {finding.name: finding.values for finding in audit()}
    found = {}
    for stage in STAGES:
        if stage.finding:
            epochs = values[stage.finding]["epochs"]
            found[stage.title] = fmean(epochs if isinstance(epochs, Sequence) else [epochs])
    return found


def our_stages(folder: Path) -> dict[str, dict[str, Any]]:
    """Stage -> images, epochs, and mean seconds by way (cold, warm, pixels), as a run folder has them."""
    records = read(folder)
    counts = {
        record.stage: {split: sum(classes.values()) for split, classes in record.counts.items()}
        for record in records
        if isinstance(record, ImagesRecord)
    }
    found: dict[str, dict[str, Any]] = {}
    for stage in STAGES:
        runs = [run for run in records if isinstance(run, RunRecord) and run.stage in stage.ours]
        if runs and all(run.stage in counts for run in runs):
            found[stage.title] = {"images": counts[runs[0].stage], "epochs": runs[0].epochs} | _seconds(runs)
    lacking = {"stage 1", "stage 2", "scratch"} - set(found)
    if lacking:
        raise ValueError(f"{folder} lacks {', '.join(sorted(lacking))}: name a folder of reproduce --data")
    for reading, other in (("stage 3, text", "stage 3, code"), ("stage 3, code", "stage 3, text")):
        if reading not in found and other in found:  # the images are the same, benchgraft did not run it
            found[reading] = {
                "images": found[other]["images"],
                "epochs": found[other]["epochs"],
                "seconds": {},
            }
    return found


def _seconds(runs: list[RunRecord]) -> dict[str, Any]:
    """Mean over whole runs; an interrupted one lacks time."""
    modes = {"computed": "cold", "cached": "warm", "none": "from pixels"}
    by_mode: dict[str, list[float]] = {}
    for run in runs:
        if run.segments == 1:
            by_mode.setdefault(modes[run.features], []).append(run.total_seconds)
    return {"seconds": {mode: fmean(values) for mode, values in by_mode.items()}, "runs": len(runs)}


def reckoned(result: dict[str, Any], images: dict[str, int], epochs: float, batch: int) -> float:
    """Seconds of a Keras stage: warm-up, epochs with their validation, one look at the test images."""
    steps = -(-images["train"] // batch)
    each = steps * result["step_seconds"] + images["validation"] * result["image_seconds"]
    return float(result["warm_up"] + epochs * each + images["test"] * result["image_seconds"])


def rows(measured: dict[str, Any]) -> list[dict[str, Any]]:
    """One line for each stage that Keras has run: medians of the rounds, reckoned to whole stages."""
    lines = []
    for title, results in measured["results"].items():
        ours = measured["ours"].get(title)
        if ours is None:
            continue
        epochs = {"recipe": ours["epochs"], "paper": measured["paper_epochs"].get(title)}
        keras = {
            which: median(reckoned(each, ours["images"], count, measured["batch"]) for each in results)
            for which, count in epochs.items()
            if count is not None
        }
        lines.append(
            {
                "stage": title,
                "images": ours["images"]["train"],
                "step_seconds": median(each["step_seconds"] for each in results),
                "steps_measured": measured["steps"],
                "steps_an_epoch": -(-ours["images"]["train"] // measured["batch"]),
                "epochs": epochs,
                "keras": keras,
                "ours": ours["seconds"],
            }
        )
    return lines


def whole(lines: list[dict[str, Any]], which: str) -> tuple[float, float] | None:
    """(Keras, benchgraft) seconds of preparation and RUNS runs of both arms (text reading); None without all.

    which: `recipe` or `paper`, whose epochs; of preparation the paper shows none, the recipe's are taken.
    benchgraft's first transfer run is cold and the others are warm.
    """
    by_stage = {line["stage"]: line for line in lines}
    needed = ("stage 1", "stage 2", "stage 3, text", "scratch")
    if any(stage not in by_stage or not by_stage[stage]["ours"] for stage in needed):
        return None
    keras = ours = 0.0
    for stage in needed:
        line = by_stage[stage]
        times = RUNS if line["epochs"]["paper"] is not None else 1
        keras += times * line["keras"].get(which, line["keras"]["recipe"])
        first = next(iter(line["ours"].values()))
        ours += line["ours"].get("cold", first) + (times - 1) * line["ours"].get("warm", first)
    return keras, ours
