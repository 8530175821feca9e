"""How often training diverges on small folders, and how well it ends: the recipe of `compare` and `adapt`.

python benchmarks/small_folders.py --data DIR [--only KIND] [--seeds N] [--first-seed N]
    [--arms scratch transfer] [--recipes new old] [--work build/small-folders] [--out benchmarks/results]

DIR holds fruits-360/ and clothing/; solar cells come from the package elpv-dataset, the rest is generated.
37 folders of 20 to 1,200 photos (benchmarks/kinds.py). `old` is the recipe without clipping. Every run is
kept in WORK/runs.jsonl, so that the same command goes on where it was stopped. Writes small_folders.md. Times
are not looked at: run it beside other work.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from kinds import SmallFolder, all_folders

from benchgraft.config.checking import checked
from benchgraft.config.experiment import Experiment
from benchgraft.config.requests import CompareRequest
from benchgraft.experiment.attempts import RunDivergedError
from benchgraft.experiment.bench import Bench, make_bench
from benchgraft.experiment.folder import STAGE
from benchgraft.experiment.run import Run as StageRun
from benchgraft.experiment.stage import run_stage
from benchgraft.runfolder.ledger import environment, now
from benchgraft.runfolder.records import RunRecord
from benchgraft.shortcuts import keep_freed_memory
from benchgraft.store.classes import StageImages
from benchgraft.tasks.compare import arranged

RESULTS = Path(__file__).resolve().parent / "results"
ARMS = ("scratch", "transfer")
RECIPES = ("old", "new")
STUCK = 0.9
"""Share of the loss of guessing, log(classes), above which a run has learned nothing at its end."""


@dataclass(frozen=True)
class Run:
    """One run, as it is kept."""

    folder: str
    kind: str
    photos: int
    """To train on."""
    arm: str
    recipe: str
    seed: int
    failed: int
    """Attempts that diverged."""
    accuracy: float | None
    """Mean over classes, on test photos; None where no attempt gave a model."""
    validation_loss: float | None
    """Of the epoch that was kept."""
    is_stuck: bool


def main() -> None:
    """Every run that is not kept yet, then the table."""
    keep_freed_memory()  # as a command does; functions leave malloc alone
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--only", help="one kind: generated, solar, clothing or fruit")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=ARMS)
    parser.add_argument("--recipes", nargs="+", choices=RECIPES, default=RECIPES)
    parser.add_argument("--work", type=Path, default=Path("build/small-folders"))
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    kept = options.work / "runs.jsonl"
    done = read_runs(kept)
    known = {(run.folder, run.arm, run.recipe, run.seed) for run in done}
    folders = [folder for folder in all_folders() if options.only in (None, folder.kind)]
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        for folder in folders:
            wanted = [
                (arm, recipe)
                for arm in options.arms
                for recipe in options.recipes
                if (folder.name, arm, recipe, seed) not in known
            ]
            for run in carry_out(folder, wanted, seed, options.data, options.work):
                with kept.open("a") as file:
                    file.write(json.dumps(asdict(run)) + "\n")
                done.append(run)
                print(run, flush=True)
    shown = [run for run in done if options.only in (None, run.kind)]
    (options.out / "small_folders.md").write_text(markdown(shown))
    print(f"wrote {options.out / 'small_folders.md'}")


def read_runs(kept: Path) -> list[Run]:
    """The runs of earlier calls."""
    return [Run(**json.loads(line)) for line in kept.read_text().splitlines()] if kept.exists() else []


def carry_out(
    folder: SmallFolder, wanted: Sequence[tuple[str, str]], seed: int, data: Path, work: Path
) -> Iterator[Run]:
    """These (arm, recipe) with this seed."""
    place = work / "photos" / folder.name.replace(" ", "-")
    if wanted and not place.exists():
        folder.write(data, place)
    for arm, recipe in wanted:
        with tempfile.TemporaryDirectory() as temporary:
            bench = make_bench(Path(temporary), work / "cache", "cpu", 1)
            experiment, images = _prepared(place, bench, seed)
            if recipe == "old":
                experiment = _without_clip(experiment)
            run = StageRun(experiment, STAGE if arm == "transfer" else arm, arm, seed, want_warm=True)
            yield _carried_out(run, folder, images, recipe, bench)


def _prepared(place: Path, bench: Bench, seed: int) -> tuple[Experiment, StageImages]:
    """As `compare` has it, but that nobody is asked whether photos were seen before."""
    request = checked(CompareRequest, folder=place, parent="paper", runs=1, seed=seed, overlap="keep")
    experiment, photos, _ = arranged(request, bench)
    return experiment, photos.images


def _without_clip(experiment: Experiment) -> Experiment:
    stages = {
        name: stage.model_copy(update={"recipe": stage.recipe.model_copy(update={"clip": None})})
        for name, stage in experiment.stages.items()
    }
    return experiment.model_copy(update={"stages": stages})


def _carried_out(run: StageRun, folder: SmallFolder, images: StageImages, recipe: str, bench: Bench) -> Run:
    assert run.arm is not None
    known = (folder.name, folder.kind, len(images.rows["train"]), run.arm, recipe, run.seed)
    try:
        record = run_stage(run, images, 0.0, bench).record
    except RunDivergedError as error:
        return Run(*known, len(error.record.diverged), None, None, False)
    return Run(
        *known,
        len(record.diverged),
        _balanced(record, images),
        record.validation_loss[record.kept_epoch - 1],
        record.loss[-1] > STUCK * float(np.log(len(images.class_names))),
    )


def _balanced(record: RunRecord, images: StageImages) -> float:
    labels, said = images.labels["test"], np.asarray(record.predicted)
    return float(np.mean([np.mean(said[labels == label] == label) for label in np.unique(labels)]))


def markdown(runs: Sequence[Run]) -> str:
    """The table of kinds, and that of folders."""
    machine = environment(1, "cpu")
    lines = [
        "# Small folders: the recipe of `compare` and `adapt`",
        "",
        f"`python benchmarks/small_folders.py --data DIR`, 2 cores of an {machine.cpu}, one thread, two",
        "seeds (three of the generated folders: then again with `--only generated --seeds 3`),",
        f"{now()[:10]}, torch {machine.versions['torch']}. Old: without clipping of the gradient's norm;",
        "else the same. Diverged: at the first try. Stuck: the training loss ends as that of guessing.",
        "Accuracy: mean over classes on test photos, mean over folders and seeds; new less old in points,",
        "seed by seed (in brackets the standard error), over runs that did not diverge with either.",
        "",
        *_table(runs, lambda run: run.kind, "kind"),
        "",
        *_table(runs, lambda run: f"{run.folder} ({run.photos:,})", "folder (photos to train on)"),
    ]
    return "\n".join(lines) + "\n"


def _table(runs: Sequence[Run], name_of: Callable[[Run], str], first: str) -> list[str]:
    head = [first, "arm", "runs old / new", "diverged old / new", "stuck old / new"]
    head += ["accuracy old / new", "new less old"]
    rows = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    groups: dict[tuple[str, str], list[Run]] = defaultdict(list)
    for arm in ARMS:
        for run in runs:
            if run.arm == arm:
                groups[arm, name_of(run)].append(run)
    for (arm, name), group in groups.items():
        rows.append("| " + " | ".join([name, arm, *_cells(group)]) + " |")
    for arm in ARMS:
        of_arm = [run for run in runs if run.arm == arm]
        if of_arm and len(groups) > len(ARMS):
            rows.append("| " + " | ".join(["**all**", arm, *_cells(of_arm)]) + " |")
    return rows


def _cells(group: Sequence[Run]) -> list[str]:
    sides = {recipe: [run for run in group if run.recipe == recipe] for recipe in RECIPES}
    accuracies = {
        recipe: {(run.folder, run.seed): run.accuracy for run in side if not run.failed}
        for recipe, side in sides.items()
    }
    both = [key for key in accuracies["old"] if key in accuracies["new"]]
    differences = [100 * (accuracies["new"][key] - accuracies["old"][key]) for key in both]
    error = statistics.stdev(differences) / len(both) ** 0.5 if len(both) > 1 else None
    mean = {
        recipe: f"{100 * statistics.mean(found[key] for key in both):.1f}" if both else ""
        for recipe, found in accuracies.items()
    }
    return [
        " / ".join(str(len(side)) for side in sides.values()),
        " / ".join(str(sum(run.failed > 0 for run in side)) for side in sides.values()),
        " / ".join(str(sum(run.is_stuck for run in side)) for side in sides.values()),
        f"{mean['old']} / {mean['new']}" if both else "",
        (f"{statistics.mean(differences):+.1f}" + (f" ({error:.1f})" if error is not None else ""))
        if both
        else "",
    ]


if __name__ == "__main__":
    main()
