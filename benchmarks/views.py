"""How many fixed views of each training photo pay: accuracy on validation, and seconds.

python benchmarks/views.py --data DIR [--seeds 5] [--recipe adapt] [--keep FOLDER]

Stage 3 of the `paper` template (apple, pear, noise, 400 training photos each, convolutions frozen) with 1
view (the photo itself), 2, 4 and 8, mirrored, moved by up to 4 pixels, and both; with the recipe of
`adapt`, or with that of the template, which freezes dense_1 too. Validation is cut by whole arcs of the
rotation, as `search_recipes.py --arcs` does; stage 2 is trained anew on the rest, since the one that comes
along has seen those arcs. Test images are not looked at. Cold: features of all views computed in the run
(first seed); warm: all of them there already. FOLDER keeps stage 2 and the features for the next time.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from search_recipes import by_arcs

from benchgraft.config.experiment import Experiment
from benchgraft.config.recipe import Augmentation
from benchgraft.events import Events
from benchgraft.experiment.bench import Bench, make_bench
from benchgraft.experiment.folder import epochs_for, recipe_of
from benchgraft.experiment.images import open_data, stage_images
from benchgraft.experiment.load import load
from benchgraft.experiment.run import Run
from benchgraft.experiment.stage import run_stage
from benchgraft.progress import NoProgress
from benchgraft.shortcuts import keep_freed_memory
from benchgraft.store.classes import StageImages
from benchgraft.tasks.compare import COMPARED_STEPS

CHANGES = {"mirrored": {"flip": True}, "moved": {"shift": 4}, "both": {"flip": True, "shift": 4}}
VIEWS = (2, 4, 8)


def main() -> None:
    """One line for each number and kind of views."""
    keep_freed_memory()  # as a command does; functions leave malloc alone
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--recipe", choices=("adapt", "template"), default="adapt")
    parser.add_argument("--keep", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        place = options.keep or Path(temporary)
        bench = make_bench(place / "run", place / "cache", "cpu", events=Events(say=print))
        experiment = _with_shipped_stage1(load("paper"))
        name = experiment.stages["stage3"].data
        opened = open_data(name, experiment.data[name], options.data, bench.cache, NoProgress())
        opened = by_arcs(opened, experiment.data[name].validation)
        if not bench.model_path("stage2", None).exists():
            images = stage_images(experiment, "stage2", opened)
            run_stage(Run(experiment, "stage2", None, 0), images, 0.0, bench)
        images = stage_images(experiment, "stage3", opened)
        counts = {split: len(rows) for split, rows in images.rows.items()}
        print(f"{counts['train']:,} photos to train on, {counts['validation']:,} to validate on")
        columns = ["views", "changed", "validation accuracy", "standard error", "less 1 view", "cold", "warm"]
        print("| " + " | ".join(columns) + " |\n" + "|---" * len(columns) + "|")
        plain: list[float] = []
        for views, changed, augment in _settings():
            tried = _tried(experiment, options.recipe, augment, counts["train"])
            accuracy, cold, warm = _measure(tried, images, bench, options.seeds)
            plain = plain or accuracy
            cells = [f"{100 * np.mean(accuracy):.2f} %", f"{100 * _error(accuracy):.2f}"]
            cells += [_less(accuracy, plain), f"{cold:.1f} s", f"{warm:.1f} s"]
            print("| " + " | ".join([views, changed, *cells]) + " |", flush=True)


def _settings() -> Iterator[tuple[str, str, Augmentation]]:
    yield "1", "", Augmentation()
    for views, (what, change) in itertools.product(VIEWS, CHANGES.items()):
        yield str(views), what, Augmentation.model_validate({**change, "views": views})


def _with_shipped_stage1(experiment: Experiment) -> Experiment:
    stage = experiment.stages["stage1"].model_copy(update={"model_file": "shipped:stage1.safetensors"})
    return experiment.model_copy(update={"stages": experiment.stages | {"stage1": stage}})


def _tried(experiment: Experiment, recipe: str, augment: Augmentation, train_images: int) -> Experiment:
    """The experiment with stage 3 so trained; for `adapt` with what `adapt` freezes."""
    stage = experiment.stages["stage3"]
    if recipe == "adapt":
        stage = stage.model_copy(
            update={
                "freeze": ["conv2d_*", "batch_normalization_*"],
                "recipe": recipe_of("transfer", epochs_for(COMPARED_STEPS, train_images)),
            }
        )
    stage = stage.model_copy(update={"recipe": stage.recipe.model_copy(update={"augment": augment})})
    return experiment.model_copy(update={"stages": experiment.stages | {"stage3": stage}})


def _measure(
    experiment: Experiment, images: StageImages, bench: Bench, seeds: int
) -> tuple[list[float], float, float]:
    """Accuracy of the kept epoch by seed, seconds cold (first seed), mean seconds warm."""
    cold = run_stage(Run(experiment, "stage3", "views", 0), images, 0.0, bench).record.total_seconds
    runs = [
        run_stage(Run(experiment, "stage3", "views", seed, want_warm=True), images, 0.0, bench).record
        for seed in range(seeds)
    ]
    accuracy = [run.validation_accuracy[run.kept_epoch - 1] for run in runs]
    return accuracy, cold, float(np.mean([run.total_seconds for run in runs]))


def _less(accuracy: list[float], plain: list[float]) -> str:
    """Points more than with one view, seed by seed: a seed draws the same start and order for both."""
    points = [100 * (ours - theirs) for ours, theirs in zip(accuracy, plain, strict=True)]
    return "" if accuracy is plain else f"{np.mean(points):+.2f} (standard error {_error(points):.2f})"


def _error(values: list[float]) -> float:
    return float(np.std(values, ddof=1) / np.sqrt(len(values)))


if __name__ == "__main__":
    main()
