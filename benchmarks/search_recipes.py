"""Search the recipes of stages with one grid and one budget for all of them, judged on validation alone.

python benchmarks/search_recipes.py --data DIR --parents RUN_FOLDER --stages stage3 scratch \
    --grid learning_rate=0.02,0.05 stop.epochs=20,40 --seeds 3

RUN_FOLDER: a run folder of `paper` with stage 1 done; other parents are trained anew. Every combination
of the grid is tried for every stage. Prints mean validation accuracy and loss of the kept epoch; test
accuracy is not looked at.

A frame of a turning fruit next to a training frame tells little: with `--arcs` the search validates on
whole arcs of a rotation (frame numbers equal but for the last two digits), drawn by a hash of the arc.
"""

from __future__ import annotations

import argparse
import itertools
import re
import shutil
import tempfile
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchgraft.config.experiment import Experiment
from benchgraft.config.recipe import Recipe
from benchgraft.events import Events
from benchgraft.experiment.bench import make_bench
from benchgraft.experiment.images import OpenedData, open_data, stage_images
from benchgraft.experiment.load import load
from benchgraft.experiment.run import Run
from benchgraft.experiment.stage import run_stage
from benchgraft.files import digest_bytes
from benchgraft.progress import NoProgress
from benchgraft.shortcuts import keep_freed_memory
from benchgraft.store.sides import TRAIN, VALIDATION


def main() -> None:
    """Print one line for each stage and combination."""
    keep_freed_memory()  # as a command does; functions leave malloc alone
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--experiment", default="paper")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--parents", type=Path, required=True)
    parser.add_argument("--stages", nargs="+", required=True)
    parser.add_argument("--grid", nargs="+", required=True, metavar="KEY=V1,V2")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--arcs", action="store_true")
    options = parser.parse_args()
    experiment = load(options.experiment)
    grid = [_values(entry) for entry in options.grid]
    keys = [key for key, _ in grid]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "models").mkdir()
        shutil.copy(options.parents / "models" / "stage1.safetensors", folder / "models")
        bench = make_bench(folder, folder / "cache", "cpu", events=Events(say=print))
        columns = ["stage", *keys, "validation accuracy", "range", "loss", "seconds"]
        print("| " + " | ".join(columns) + " |\n" + "|---" * len(columns) + "|")
        for name in options.stages:
            data = experiment.stages[name].data
            opened = open_data(data, experiment.data[data], options.data, bench.cache, NoProgress())
            if options.arcs:
                opened = by_arcs(opened, experiment.data[data].validation)
            for parent in experiment.chain(name)[1:-1]:
                if not bench.model_path(parent, None).exists():
                    run = Run(experiment, parent, None, 0)
                    run_stage(run, stage_images(experiment, parent, opened), 0.0, bench)
            images = stage_images(experiment, name, opened)
            for values in itertools.product(*(values for _, values in grid)):
                changed = _with_recipe(experiment, name, dict(zip(keys, values, strict=True)))
                runs = [
                    run_stage(Run(changed, name, "search", seed, want_warm=True), images, 0.0, bench).record
                    for seed in range(options.seeds)
                ]
                accuracy = [run.validation_accuracy[run.kept_epoch - 1] for run in runs]
                loss = np.mean([run.validation_loss[run.kept_epoch - 1] for run in runs])
                seconds = np.mean([run.total_seconds for run in runs])
                cells = [
                    name,
                    *values,
                    f"{np.mean(accuracy):.4f}",
                    f"{min(accuracy):.4f}-{max(accuracy):.4f}",
                ]
                cells += [f"{loss:.4f}", f"{seconds:.1f}"]
                print("| " + " | ".join(map(str, cells)) + " |", flush=True)


def by_arcs(opened: OpenedData, share: float) -> OpenedData:
    """The same data; of every class, whole arcs of the rotation validate until they make up the share."""
    sides, labels = opened.dropped.sides.copy(), opened.store.labels
    learned = (sides == TRAIN) | (sides == VALIDATION)
    arcs = np.array([re.sub(r"\d{1,2}_100\.jpg$", "", key) for key in opened.store.keys])
    for label in np.unique(labels):
        mine = learned & (labels == label)
        sides[mine] = TRAIN
        for arc in sorted(np.unique(arcs[mine]), key=lambda arc: digest_bytes(arc.encode())):
            if np.mean(sides[mine] == VALIDATION) < share:
                sides[mine & (arcs == arc)] = VALIDATION
    return replace(opened, dropped=replace(opened.dropped, sides=sides))


def _values(entry: str) -> tuple[str, list[Any]]:
    key, _, text = entry.partition("=")
    return key, [_value(part) for part in text.split(",")]


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _with_recipe(experiment: Experiment, name: str, changes: dict[str, Any]) -> Experiment:
    stage = experiment.stages[name]
    table = stage.recipe.model_dump()
    for key, value in changes.items():
        *tables, last = key.split(".")
        inner = table
        for part in tables:
            inner = inner[part]
        inner[last] = value
    stage = stage.model_copy(update={"recipe": Recipe.model_validate(table)})
    return experiment.model_copy(update={"stages": experiment.stages | {name: stage}})


if __name__ == "__main__":
    main()
