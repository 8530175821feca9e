"""benchgraft itself, through the functions that its stages are made of."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gemm import gemm_gflops
from torch import nn

from benchgraft.config.experiment import Experiment, Stage
from benchgraft.config.network import PAPER
from benchgraft.config.recipe import Recipe, Stop
from benchgraft.events import Events
from benchgraft.experiment.bench import Bench, make_bench
from benchgraft.experiment.images import keys_of, open_data, stage_images
from benchgraft.experiment.inputs import Inputs, prepare_inputs
from benchgraft.experiment.load import load
from benchgraft.experiment.run import Run
from benchgraft.files import shipped_path
from benchgraft.networks import model_file
from benchgraft.networks.build import build
from benchgraft.networks.contract import Network, in_inference_order, split_at
from benchgraft.networks.freeze import Frozen, match_blocks
from benchgraft.photos.readers import open_source
from benchgraft.progress import NoProgress
from benchgraft.runfolder.ledger import Clock, Phase
from benchgraft.shortcuts import keep_freed_memory
from benchgraft.store.classes import StageImages
from benchgraft.store.store import open_store
from benchgraft.training.batches import Rows, rows_of
from benchgraft.training.checkpoint import Checkpoint
from benchgraft.training.evaluate import evaluate, full_batches
from benchgraft.training.loop import Task, Trained, fit

from . import material
from .timeline import Timeline

PARENT = "shipped:stage2.safetensors"


class _EpochClock(Clock):
    """Keeps the moment at which each epoch's validation ended, and how long its steps took."""

    def __init__(self) -> None:
        super().__init__()
        self.ends: list[float] = []
        self.trained: list[float] = []

    @contextlib.contextmanager
    def phase(self, name: Phase) -> Iterator[None]:
        """As Clock.phase."""
        start = time.perf_counter()
        with super().phase(name):
            yield
        if name == "validate":
            self.ends.append(time.perf_counter())
        if name == "train":
            self.trained.append(time.perf_counter() - start)


def _bench(folder: Path, cache: Path) -> Bench:
    keep_freed_memory()  # as a command does; functions leave malloc alone
    return make_bench(folder, cache, "cpu")


def _no_checkpoint(folder: Path) -> Checkpoint:
    """Nothing to go on from: an earlier measurement of more than 15 s has left one."""
    checkpoint = Checkpoint(folder / "none.safetensors", "none")
    checkpoint.remove()
    return checkpoint


def retrain(job: dict[str, Any]) -> dict[str, Any]:
    """Question 1, cold and then warm: features computed, and taken from the cache on disk. Question 2."""
    if job.get("from_scratch"):
        return _from_scratch(job)
    work = Path(job["work"])
    shutil.rmtree(work / "features", ignore_errors=True)
    bench = _bench(work / "run", work)
    experiment = load("paper")
    opened = open_data(
        "fruits360", experiment.data["fruits360"], Path(job["data"]), Path(job["stores"]), NoProgress()
    )
    images = _without_test(stage_images(experiment, "stage3", opened))
    experiment = _as_asked(experiment, job)
    stage = experiment.stages["stage3"]
    difference = _agreement(job)
    variants = {}
    for variant in material.variants(job):
        clock, timeline = _EpochClock(), Timeline()
        model = model_file.start_from(
            model_file.read(shipped_path(PARENT)), len(images.class_names), job["seed"]
        )
        frozen = Frozen(model, match_blocks(model.block_names, stage.freeze))
        run = Run(experiment, "stage3", None, 0, want_warm=variant == "warm")
        inputs = prepare_inputs(run, model, frozen, images, bench, clock)
        timeline.part("features" if variant == "cold" else "prepare")
        trained = _fit(inputs, frozen, stage, job, bench, clock)
        for accuracy, end in zip(trained.position.validation_accuracy, clock.ends, strict=True):
            timeline.epoch(accuracy, end)
        variants[variant] = timeline.result(_tested(model, stage, job)) | {"cut": inputs.cut}
    return {"variants": variants, "difference": difference}


def _agreement(job: dict[str, Any]) -> float:
    """See material.check_agreement; outside of the clock, as every contender does it."""
    model = model_file.load(model_file.read(shipped_path(PARENT))).eval()
    with torch.no_grad():
        logits = model(torch.from_numpy(material.examples(job, material.splits(job)["validation"])))
    return material.check_agreement(job, logits.numpy())


def _without_test(images: StageImages) -> StageImages:
    """Test photos are looked at when the clock has stopped, by every contender."""
    none = {"test": np.empty(0, np.int64)}
    return replace(images, rows=images.rows | none, labels=images.labels | none)


def _tested(model: Network, stage: Stage, job: dict[str, Any]) -> float:
    """Accuracy on the test photos."""
    test = material.splits(job)["test"]
    rows = rows_of(test.pixels, np.arange(len(test.labels)), test.labels, torch.device("cpu"))
    return evaluate(model, rows, stage.recipe.batch_size).accuracy


def _fit(
    inputs: Inputs, frozen: Frozen, stage: Stage, job: dict[str, Any], bench: Bench, clock: Clock
) -> Trained:
    task = _task(inputs.module, frozen, inputs.rows, stage.recipe, job)
    trained = fit(task, clock, _no_checkpoint(bench.folder), Events())
    frozen.verify()
    return trained


def _task(
    module: nn.Sequential, frozen: Frozen, rows: dict[str, Rows], recipe: Recipe, job: dict[str, Any]
) -> Task:
    return Task("ours", module, frozen, rows["train"], rows["validation"], recipe, job["seed"])


def files(job: dict[str, Any]) -> dict[str, Any]:
    """Question `files`: as `retrain` cold, from a folder of photos, with an empty cache, in a new process."""
    timeline = Timeline(started=job["started"])
    timeline.part("start")
    Path(job["work"]).mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=job["work"]) as cache:
        return _from_files(job, Path(cache), timeline)


def _from_files(job: dict[str, Any], cache: Path, timeline: Timeline) -> dict[str, Any]:
    bench, clock = _bench(cache / "run", cache), _EpochClock()
    experiment = load("paper")
    photos = experiment.data["fruits360"].model_copy(
        update={"folder": str(Path(job["material"], "photos").resolve())}
    )
    images = stage_images(experiment, "stage3", open_data("photos", photos, None, cache, NoProgress()))
    timeline.part("decode")
    experiment = _as_asked(experiment, job)
    stage = experiment.stages["stage3"]
    model = model_file.start_from(model_file.read(shipped_path(PARENT)), len(images.class_names), job["seed"])
    frozen = Frozen(model, match_blocks(model.block_names, stage.freeze))
    inputs = prepare_inputs(Run(experiment, "stage3", None, 0), model, frozen, images, bench, clock)
    timeline.part("features")
    trained = _fit(inputs, frozen, stage, job, bench, clock)
    for accuracy, end in zip(trained.position.validation_accuracy, clock.ends, strict=True):
        timeline.epoch(accuracy, end)
    return {
        "variants": {"cold": timeline.result(_tested(model, stage, job)) | {"cut": inputs.cut}},
        "difference": _agreement(job),
        "pixel_difference": material.check_photos(job, _decoded(images)),
    }


def _decoded(images: StageImages) -> dict[str, material.Split]:
    """The photos in the order of their file names."""
    found = {}
    for split in material.SIDES:
        order = np.argsort([key.rpartition("/")[2] for key in keys_of(images, split)])
        pixels = np.asarray(images.store.pixels[images.rows[split][order]])
        found[split] = material.Split(pixels, images.labels[split][order])
    return found


def _as_asked(experiment: Experiment, job: dict[str, Any]) -> Experiment:
    """With its own stage 3, or the reading and recipe that the job names."""
    if job.get("as_shipped"):
        return experiment
    stage = experiment.stages["stage3"].model_copy(update={"freeze": job["frozen"], "recipe": _recipe(job)})
    return experiment.model_copy(update={"stages": experiment.stages | {"stage3": stage}})


def _recipe(job: dict[str, Any]) -> Recipe:
    return Recipe(
        optimizer=job["optimizer"],
        learning_rate=job["rate"],
        schedule="constant",
        batch_size=job["batch"],
        stop=Stop(epochs=job["epochs"]),
    )


def _from_scratch(job: dict[str, Any]) -> dict[str, Any]:
    """All layers from this seed's random weights, on pixels in memory."""
    split = material.splits(job)
    rows = {
        name: rows_of(part.pixels, np.arange(len(part.labels)), part.labels, torch.device("cpu"))
        for name, part in split.items()
    }
    bench, clock = _bench(Path(job["work"]) / "run", Path(job["work"])), _EpochClock()
    seed, theirs = job["seed"] % material.SEEDS, material.started(job)
    if not all(
        np.array_equal(tensor, theirs[name]) for name, tensor in build(PAPER, 3, seed).state_dict().items()
    ):
        raise ValueError("the others start from other weights")
    timeline = Timeline()
    model = build(PAPER, 3, seed)
    timeline.part("prepare")
    task = _task(model, Frozen(model, []), rows, _recipe(job), job)
    trained = fit(task, clock, _no_checkpoint(bench.folder), Events())
    for accuracy, end in zip(trained.position.validation_accuracy, clock.ends, strict=True):
        timeline.epoch(accuracy, end)
    tested = evaluate(model, rows["test"], job["batch"])
    return {"variants": {"from scratch": timeline.result(tested.accuracy)}, "difference": 0.0}


def train(job: dict[str, Any]) -> dict[str, Any]:
    """Question 2: images a second of training steps, by batch size; the second of two epochs."""
    split = material.splits(job)
    rows = {
        name: rows_of(part.pixels, np.arange(count), part.labels[:count], torch.device("cpu"))
        for name, part, count in (
            ("train", split["train"], job["images"]),
            ("validation", split["validation"], 1),
        )
    }
    bench = _bench(Path(job["work"]) / "run", Path(job["work"]))
    speed = {}
    for size in job["batches"]:
        clock = _EpochClock()
        model = build(PAPER, 3, job["seed"])
        recipe = Recipe(learning_rate=0.01, schedule="constant", batch_size=size, stop=Stop(epochs=2))
        checkpoint = _no_checkpoint(bench.folder)
        fit(_task(model, Frozen(model, []), rows, recipe, job), clock, checkpoint, Events())
        speed[str(size)] = job["images"] // size * size / clock.trained[-1]
    return {"images_per_second": speed}


def forward(job: dict[str, Any]) -> dict[str, Any]:
    """Question 3: images a second from pixels in memory, whole network and features alone."""
    split = material.splits(job)["test"]
    pixels = split.pixels[: job["images"]]
    _bench(Path(job["work"]) / "run", Path(job["work"]))
    model = model_file.load(model_file.read(shipped_path(PARENT))).eval()
    rows = rows_of(pixels, np.arange(len(pixels)), split.labels[: len(pixels)], torch.device("cpu"))
    features, _ = split_at(model, "max_pooling2d_3")
    speed = {}
    with torch.no_grad():
        for size in job["batches"]:
            for name, part in ((str(size), model), (f"features {size}", features)):
                module = in_inference_order(part)
                for _ in range(2):
                    start = time.perf_counter()
                    for positions, _count in full_batches(torch.arange(len(rows)), size):
                        module(rows.take(positions))
                    seconds = time.perf_counter() - start
                speed[name] = len(rows) / seconds
    return {"images_per_second": speed, "difference": _agreement(job)}


def decode(job: dict[str, Any]) -> dict[str, Any]:
    """Question 4: a store built from a folder of photos: hashed, decoded, written."""
    cache = Path(job["work"]) / "decoded"
    shutil.rmtree(cache, ignore_errors=True)
    start = time.perf_counter()
    store = open_store(open_source("folder", Path(job["photos"])), cache)
    seconds = time.perf_counter() - start
    count, total = len(store), int(store.pixels[:100].sum())
    shutil.rmtree(cache, ignore_errors=True)
    return {"images_per_second": {"all": count / seconds}, "sum": total}


def gemm(_job: dict[str, Any]) -> dict[str, Any]:
    """Peak of this machine now."""
    return {"gflops": gemm_gflops()}
