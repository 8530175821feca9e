"""What an experiment would do, and about how long that takes here: a few steps timed, the rest multiplied."""

from __future__ import annotations

import contextlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ..config.experiment import ClassRules, DataConfig, Experiment, Stage
from ..errors import ModelFileError
from ..files import shipped_path
from ..networks import model_file
from ..networks.build import build
from ..networks.contract import Network, split_at
from ..networks.folded import folded
from ..networks.freeze import Frozen, constant_prefix, hold_statistics, match_blocks
from ..photos.readers import Given
from ..store.classes import match
from ..store.sides import SPLITS
from ..store.store import stored_size
from ..store.varieties import held_out
from ..training.batches import steps_per_epoch
from ..training.cuts import fastest, step_seconds
from .bench import Bench
from .images import list_data
from .network import given_model, stage_network
from .prefixes import prefix_for
from .rounds import LEAST_ROUNDS

TIMED_STEPS = 5


@dataclass(frozen=True)
class PlannedStage:
    """One stage of the plan."""

    name: str
    arm: str | None
    """None for preparation, which is done once, or once for each parent."""
    classes: int
    train_images: int
    other_images: int
    """Validation and test."""
    epochs: int
    """At most."""
    seconds: float
    """Of one cold run, estimated."""
    again: float = 0.0
    """Of the warm run that follows it; 0 where none does."""


@dataclass(frozen=True)
class Plan:
    """The stages that would be trained, and the estimate for all of them."""

    stages: list[PlannedStage]
    rounds: int
    seconds: float
    """Everything but the first decoding of the images."""


def plan(experiment: Experiment, root: Path | None, bench: Bench) -> Plan:
    """Count the images (files are listed, none is read) and time a few steps of every stage on noise.

    bench: on whose device, and whose cache has the parents that come ready and keeps graphs.

    Raises DataError if a data set is missing, ConfigError if a class rule matches nothing.
    """
    arm_of = {stage: arm for arm, stage in experiment.arms.items()}
    names = [*experiment.preparation, *experiment.arms.values()]
    stages = [
        _plan_stage(experiment, name, arm_of.get(name), root, bench)
        for name in names
        if experiment.stages[name].model_file is None
    ]
    once = experiment.parents * sum(stage.seconds for stage in stages if stage.arm is None)
    a_round = sum(stage.seconds + stage.again for stage in stages if stage.arm)
    rounds = experiment.runs
    if experiment.minutes is not None and a_round:
        rounds = min(rounds, max(LEAST_ROUNDS, int(experiment.minutes * 60 / a_round)))
    return Plan(stages, rounds, once + rounds * a_round)


def _plan_stage(
    experiment: Experiment, name: str, arm: str | None, root: Path | None, bench: Bench
) -> PlannedStage:
    stage = experiment.stages[name]
    counts = _counts(experiment, stage, root)
    train, others = sum(c[0] for c in counts), sum(c[1] for c in counts)
    model = _model(experiment, name, len(counts), bench).to(bench.device)
    size = stored_size(experiment.data[stage.data].format, model.spec.side)
    forward, step = _seconds_an_image(model, stage, size, bench)
    epochs = stage.recipe.stop.epochs_of(steps_per_epoch(train, stage.recipe.batch_size))
    validated = others * epochs / 2  # validation and test are about alike; test is looked at once
    frozen = (train * stage.recipe.augment.view_count + others) * forward
    trained = epochs * train * step + validated * step / 3
    again = trained if stage.freeze and stage.cache == "shared" else 0.0
    return PlannedStage(name, arm, len(counts), train, others, epochs, frozen + trained, again)


def _model(experiment: Experiment, name: str, class_count: int, bench: Bench) -> Network:
    """Of a stage, with its parent's weights where that comes ready and is here."""
    parent = experiment.stages[name].parent
    given = experiment.stages[parent].model_file if parent else None
    if given:
        with contextlib.suppress(ModelFileError):
            file = model_file.read(shipped_path(given_model(given, bench.cache)))
            return model_file.start_from(file, class_count, 0, None, {})
    return build(stage_network(experiment, name), class_count, 0)


def _counts(experiment: Experiment, stage: Stage, root: Path | None) -> list[tuple[int, int]]:
    """(training images, other images) of each class, before damaged ones are left out."""
    data = experiment.data[stage.data]
    samples = list_data(data, root).samples
    in_source = Counter((sample.class_name, sample.given) for sample in samples)
    names = sorted({sample.class_name for sample in samples})
    held: set[str] = set()
    if data.hold_out:
        chosen = held_out(names, data.hold_out.fold, data.hold_out.of)
        held = {name for name, is_held in zip(names, chosen, strict=True) if is_held}
        if data.hold_out.held == "nowhere":
            names, held = [name for name in names if name not in held], set()
    shares = _shares(data, {sample.given for sample in samples})
    rules = experiment.classes[stage.classes] if stage.classes else ClassRules()
    counts = []
    for sources in match(names, rules).values():
        expected = dict.fromkeys(SPLITS, 0.0)
        for source in sources:
            for given, parts in shares.items():
                for split, share in parts.items():
                    if source in held:  # all of it tests, and nothing else does
                        expected["test"] += in_source[source, given] * share
                    elif split != "test" or not held:
                        expected[split] += in_source[source, given] * share
        limited = {split: min(share, rules.per_class(split) or share) for split, share in expected.items()}
        counts.append((round(limited["train"]), round(limited["validation"] + limited["test"])))
    return counts


def _shares(data: DataConfig, there: set[Given | None]) -> dict[Given | None, dict[str, float]]:
    """Side that a data set gives an image -> the part of such images that falls to each split, see assign."""
    has_validation, has_test = "validation" in there, "test" in there
    validation = 0.0 if has_validation else data.validation
    test = data.test if has_validation and not has_test else 0.0
    return {
        "test": {"test": 1.0},
        "validation": {"validation": 1.0},
        "train": {"train": 1 - validation - test, "validation": validation, "test": test},
        None: {"train": 1 - data.validation - data.test, "validation": data.validation, "test": data.test},
    }


def _seconds_an_image(model: Network, stage: Stage, size: int, bench: Bench) -> tuple[float, float]:
    """(prefix forward, training of what comes after it), timed on noise; without a prefix (0, whole step)."""
    batch = stage.recipe.batch_size
    pixels = np.random.default_rng(0).integers(256, size=(batch, size, size, 3), dtype=np.uint8)
    inputs = torch.from_numpy(pixels).to(bench.device)
    frozen = Frozen(model, match_blocks(model.block_names, stage.freeze), stage.frozen_statistics)
    prefix = [] if stage.recipe.augment.is_drawn else constant_prefix(model, frozen)
    first, rest = split_at(model, prefix[-1] if prefix else None)
    if prefix:
        first = nn.Sequential(prefix_for(model, frozen, prefix, pixels, bench).uncached(prefix[-1]))
    frozen.train()
    is_kept = stage.recipe.statistics == "kept"
    if is_kept:
        hold_statistics(rest)

    def forward() -> Tensor:
        with torch.no_grad():
            output: Tensor = first(inputs)
        return output

    maps = forward()
    with folded(rest, maps[:1]) if is_kept else contextlib.nullcontext():
        step = step_seconds(rest, maps, TIMED_STEPS) / batch
    return (fastest(forward, TIMED_STEPS) / batch if prefix else 0.0), step
