"""Run folders of invented runs, for tests of the report. No figure here was measured."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from benchgraft.config.network import PAPER
from benchgraft.networks.build import build
from benchgraft.networks.cost import block_costs
from benchgraft.runfolder.records import (
    AnyRecord,
    DataRecord,
    Environment,
    ExperimentRecord,
    ImageList,
    ImagesRecord,
    Phase,
    RunRecord,
)

FRUITS = ["apple", "pear", "noise"]
SOURCES = {
    "apple": [f"Apple {number}" for number in range(12)],
    "pear": [f"Pear {number}" for number in range(9)],
    "noise": [f"Other {number}" for number in range(40)],
}
TINY = "test_efficientnet"
"""A network of timm's own tests: 160 px, a third of a million parameters."""
BLOCKS = block_costs(build(PAPER, 3, None))


def environment(cpu: str = "Invented CPU", threads: int = 2) -> Environment:
    return Environment(
        cpu=cpu,
        cores=2,
        threads=threads,
        device="cpu",
        system="Linux 6.1, Python 3.11",
        versions={"benchgraft": "0.1.0", "torch": "2.13.0"},
        git_revision="0123456789ab",
    )


def experiment(arms: dict[str, str] | None = None) -> ExperimentRecord:
    return ExperimentRecord(
        name="paper",
        protocol="like_for_like",
        config={"classes": {"fruit": {"rules": {"apple": ["apple"], "pear": ["pear"]}, "rest": "noise"}}},
        config_digest="c" * 64,
        arms=arms if arms is not None else {"scratch": "scratch", "transfer": "stage3"},
        command=["benchgraft", "reproduce", "--data", "data"],
        started="2026-01-02T03:04:05Z",
    )


def data(name: str, layout: str, images: int) -> DataRecord:
    return DataRecord(
        name=name,
        format=layout,
        store_key=name,
        images=images,
        excluded=[],
        dropped_from_test=[],
        decode_seconds=1.0,
    )


def fruit_images(stage: str, per_source: int = 4, digest: str = "fruit") -> ImagesRecord:
    """61 varieties in three classes, `per_source` test images each."""
    rows = [
        (f"Test/{source}/{number}.jpg", source, label)
        for label, name in enumerate(FRUITS)
        for source in SOURCES[name]
        for number in range(per_source)
    ]
    counts = {name: len(SOURCES[name]) * per_source for name in FRUITS}
    return ImagesRecord(
        stage=stage,
        data="fruits-360",
        digest=digest,
        class_names=FRUITS,
        matched=SOURCES,
        counts={"train": dict.fromkeys(FRUITS, 340), "validation": dict.fromkeys(FRUITS, 60), "test": counts},
        test=ImageList(
            keys=[key for key, _, _ in rows],
            sources=[source for _, source, _ in rows],
            labels=[label for _, _, label in rows],
        ),
    )


def class_images(stage: str, data_name: str, classes: int, per_class: int) -> ImagesRecord:
    """A set whose classes are their own source classes, as in stages 1 and 2."""
    names = [f"class {number:03}" for number in range(classes)]
    labels = [label for label in range(classes) for _ in range(per_class)]
    return ImagesRecord(
        stage=stage,
        data=data_name,
        digest=f"{data_name} {classes}",
        class_names=names,
        matched={name: [name] for name in names},
        counts={split: dict.fromkeys(names, per_class) for split in ("train", "validation", "test")},
        test=ImageList(
            keys=[f"{names[label]}/{row}" for row, label in enumerate(labels)],
            sources=[names[label] for label in labels],
            labels=labels,
        ),
    )


def answers(images: ImagesRecord, accuracy: float, seed: int) -> list[int]:
    """Exactly round((1 - accuracy) * n) wrong answers, at seeded places."""
    labels = np.asarray(images.test.labels)
    wrong = np.random.default_rng(seed).permutation(len(labels))[: round((1 - accuracy) * len(labels))]
    said = labels.copy()
    said[wrong] = (said[wrong] + 1) % len(images.class_names)
    return [int(label) for label in said]


def run(
    images: ImagesRecord,
    *,
    seconds: float,
    accuracy: float = 0.97,
    arm: str | None = None,
    seed: int = 0,
    features: Literal["computed", "cached", "none"] = "none",
    epochs: int = 10,
    model: str = "",
    parent: str | None = None,
    given: str | None = None,
    segments: int = 1,
    cpu: str = "Invented CPU",
    predicted: list[int] | None = None,
) -> RunRecord:
    """A run of so many seconds: a tenth of it is evaluation, with computed features a fifth is features."""
    said = (
        answers(images, accuracy, seed + (1000 if arm == "scratch" else 0))
        if predicted is None
        else predicted
    )
    share = 0.2 if features == "computed" else 0.0
    phases: dict[Phase, float] = {
        "features": seconds * share,
        "train": seconds * (0.9 - share),
        "evaluate": seconds * 0.1,
    }
    train_images = sum(images.counts["train"].values())
    right = [first == second for first, second in zip(said, images.test.labels, strict=False)]
    values: dict[str, Any] = {
        "stage": images.stage,
        "arm": arm,
        "seed": seed,
        "features": features,
        "cut": "conv4" if features != "none" else None,
        "seconds": phases,
        "segments": segments,
        "epochs": epochs,
        "steps": epochs * 32,
        "images_seen": epochs * train_images,
        "train_images": train_images,
        "trained_parameters": 1539,
        "loss": [1.0] * epochs,
        "validation_loss": [1.0] * epochs,
        "validation_accuracy": [accuracy] * epochs,
        "kept_epoch": epochs,
        "accuracy": sum(right) / len(right),
        "predicted": said,
        "confidence": [0.9] * len(said),
        "images_digest": images.digest,
        "recipe": {"epochs": epochs},
        "model_file": f"models/{images.stage}-{seed}.safetensors",
        "model_digest": model or f"{arm}-{images.stage}-{seed}-{features}",
        "parent_digest": parent,
        "frozen": [],
        "frozen_digest": None,
        "blocks": BLOCKS,
        "given": given,
        "environment": environment(cpu),
        "started": "2026-01-02T03:04:05Z",
        "finished": "2026-01-02T03:05:05Z",
    }
    return RunRecord(**values)


def preparation(given: str | None = None, cpu: str = "Invented CPU") -> list[AnyRecord]:
    """Stages 1 and 2: 300 s at 47 %, 30 s at 98.8 %."""
    first, second = class_images("stage1", "cifar-100", 100, 5), class_images("stage2", "fruits-360", 100, 3)
    return [
        data("cifar-100", "cifar100", 60000),
        data("fruits-360", "fruits360", 17000),
        first,
        second,
        run(first, seconds=300, accuracy=0.47, model="one", given=given, cpu=cpu),
        run(second, seconds=30, accuracy=0.988, model="two", parent="one", given=given, cpu=cpu),
    ]


def paired_runs(
    seeds: int,
    *,
    scratch_seconds: float = 20.0,
    cold_seconds: float = 3.0,
    warm_seconds: float | None = 1.5,
    scratch_accuracy: float = 0.94,
    transfer_accuracy: float = 0.975,
) -> list[AnyRecord]:
    """Runs of scratch and of transfer, cold and warm; times differ by a few per cent from seed to seed."""
    scratch, transfer = fruit_images("scratch"), fruit_images("stage3")
    records: list[AnyRecord] = [scratch, transfer]
    for seed in range(seeds):
        wobble = 1 + 0.03 * ((seed * 7) % 5 - 2)
        shift = 0.004 * ((seed * 3) % 4 - 1.5)
        records.append(
            run(
                scratch,
                seconds=scratch_seconds * wobble,
                accuracy=scratch_accuracy + shift,
                arm="scratch",
                seed=seed,
                epochs=20,
            )
        )
        for features, seconds in (("computed", cold_seconds), ("cached", warm_seconds)):
            if seconds is not None:
                records.append(
                    run(
                        transfer,
                        seconds=seconds * wobble,
                        accuracy=transfer_accuracy - shift,
                        arm="transfer",
                        seed=seed,
                        features=features,  # type: ignore[arg-type]
                        epochs=25,
                        parent="two",
                    )
                )
    return records


def whole_folder(seeds: int = 10, **options: Any) -> list[AnyRecord]:
    """A finished like-for-like experiment."""
    return [experiment(), *preparation(), *paired_runs(seeds, **options)]


def tiny_experiment(runs: int, first: int, second: int) -> str:
    """Rounds of two arms after a preparation, on the folder photos beside it.

    first, second: epochs of these stages.
    """
    ending = f'optimizer = "adamw", stop = {{ epochs = {second}, patience = 2 }}'
    return f"""
name = "tiny"
protocol = "like_for_like"
runs = {runs}
arms = {{ transfer = "second", scratch = "scratch" }}
[data.photos]
format = "folder"
folder = "photos"
validation = 0.1
test = 0.15
[stages.first]
data = "photos"
recipe = {{ learning_rate = 0.01, batch_size = 32, stop = {{ epochs = {first} }} }}
[stages.second]
data = "photos"
parent = "first"
freeze = ["conv2d_*", "batch_normalization_*"]
recipe = {{ learning_rate = 0.01, batch_size = 32, {ending} }}
[stages.scratch]
data = "photos"
recipe = {{ learning_rate = 0.01, batch_size = 32, stop = {{ epochs = 2 }} }}
"""


EXPERIMENT = tiny_experiment(runs=2, first=1, second=4)
