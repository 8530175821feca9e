"""Plain PyTorch: a loop as in its tutorials, channels last as its tuning guide says."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from . import material
from .decoders import pillow
from .timeline import Timeline
from .torch_network import Network, network, scaled

EVALUATED_AT_ONCE = 64
Inputs = dict[str, tuple[Tensor, Tensor]]


def optimizer(model: nn.Module, job: dict[str, Any]) -> torch.optim.Optimizer:
    """Over what is not frozen, at a constant rate."""
    trained = [p for p in model.parameters() if p.requires_grad]
    if job["optimizer"] == "sgd":
        return torch.optim.SGD(trained, job["rate"], momentum=0.9, nesterov=True)
    return torch.optim.Adam(trained, job["rate"])


def inputs_of(job: dict[str, Any]) -> Inputs:
    """Tensors in memory, by split."""
    return {
        name: (torch.from_numpy(part.pixels), torch.from_numpy(part.labels))
        for name, part in material.splits(job).items()
    }


def prepared(batch: Tensor) -> Tensor:
    """Pixels are scaled, features are as they are."""
    return scaled(batch) if batch.dtype == torch.uint8 else batch


@torch.inference_mode()
def outputs(model: nn.Module, rows: Tensor) -> Tensor:
    """Of all rows, in inference mode."""
    model.eval()
    return torch.cat([model(prepared(part)) for part in rows.split(EVALUATED_AT_ONCE)])


def accuracy(model: nn.Module, rows: Tensor, labels: Tensor) -> float:
    """Fraction of right answers."""
    return (outputs(model, rows).argmax(1) == labels).float().mean().item()


def agreement(job: dict[str, Any]) -> float:
    """See material.check_agreement."""
    validation = material.splits(job)["validation"]
    images = torch.from_numpy(material.examples(job, validation))
    return material.check_agreement(job, outputs(network(material.weights(job)), images).numpy())


def retrain(job: dict[str, Any]) -> dict[str, Any]:
    """Questions 1 and 2: the whole network each epoch, or features computed once and kept."""
    torch.manual_seed(job["seed"])
    difference = agreement(job)
    inputs = inputs_of(job)
    arrays = material.started(job)
    frozen = tuple(job["frozen"])
    if not job["cached"]:
        timeline = Timeline(job.get("stop_at"))
        model = network(arrays, frozen)
        _fit(model, inputs, job, timeline)
        variants = {"uncached": timeline.result(accuracy(model, *inputs["test"]))}
        return {"variants": variants, "difference": difference}
    test = {"test": inputs.pop("test")}
    variants, features = {}, {}
    for variant in material.variants(job):
        timeline = Timeline(job.get("stop_at"))
        if not features:
            features = _features(network(arrays), job["cut"], inputs)
            timeline.part("features")
        rest = network(arrays, frozen, job["cut"])
        _fit(rest, features, job, timeline)
        judged = _features(network(arrays), job["cut"], test)["test"]
        variants[variant] = timeline.result(accuracy(rest, *judged))
    return {"variants": variants, "difference": difference}


def files(job: dict[str, Any]) -> dict[str, Any]:
    """Question `files`: as `retrain` cold, from JPEG files, in a process whose every second counts."""
    timeline, inputs, arrays = begun(job)
    given, cut = inputs, None
    if job["cached"]:
        cut = job["cut"]
        given = _features(network(arrays), cut, inputs)
        timeline.part("features")
    model = network(arrays, tuple(job["frozen"]), cut)
    _fit(model, given, job, timeline)
    test = {"test": inputs_of(job)["test"]}
    if cut:
        test = _features(network(arrays), cut, test)
    variant = "cold" if cut else "uncached"
    return {"variants": {variant: timeline.result(accuracy(model, *test["test"]))}} | checks(job, inputs)


def begun(job: dict[str, Any]) -> tuple[Timeline, Inputs, material.Arrays]:
    """What every contender on PyTorch does first with files: they are decoded, the start weights are read."""
    timeline = Timeline(started=job["started"])
    timeline.part("start")
    torch.manual_seed(job["seed"])
    inputs = _decoded(job)
    timeline.part("decode")
    return timeline, inputs, material.retrained(material.weights(job), job)


def _decoded(job: dict[str, Any]) -> Inputs:
    """The photos as tensors, by split; one thread, as more gain little on files of 5 KB."""
    return {
        name: (torch.from_numpy(np.stack([pillow(path) for path in paths])), torch.from_numpy(labels))
        for name, (paths, labels) in material.photos(job).items()
    }


def checks(job: dict[str, Any], inputs: Inputs) -> dict[str, float]:
    """After the clock: are these the photos, is this the network?"""
    split = {name: material.Split(rows.numpy(), labels.numpy()) for name, (rows, labels) in inputs.items()}
    return {"difference": agreement(job), "pixel_difference": material.check_photos(job, split)}


def _features(whole: Network, cut: str, inputs: Inputs) -> Inputs:
    names = [name for name, _ in whole.named_children()]
    first = whole[: names.index(f"{cut}_relu") + 1]
    # cloned out of inference mode, so that training may save them for its backward pass
    return {name: (outputs(first, rows).clone(), labels) for name, (rows, labels) in inputs.items()}


def _fit(model: Network, inputs: Inputs, job: dict[str, Any], timeline: Timeline) -> None:
    steps = optimizer(model, job)
    rows, labels = inputs["train"]
    timeline.part("prepare")
    for _ in range(job["epochs"]):
        model.train()
        for batch in torch.randperm(len(rows)).split(job["batch"]):
            loss = functional.cross_entropy(model(prepared(rows[batch])), labels[batch])
            steps.zero_grad()
            loss.backward()
            steps.step()
        if timeline.epoch(accuracy(model, *inputs["validation"])):
            break


def train(job: dict[str, Any]) -> dict[str, Any]:
    """Question 2: images a second of training steps, by batch size."""
    rows, labels = inputs_of(job)["train"]
    rows, labels = rows[: job["images"]], labels[: job["images"]]
    arrays = material.retrained(material.weights(job), job)
    kind = torch.channels_last if job["channels_last"] else torch.contiguous_format
    speed = {}
    for size in job["batches"]:
        model = network(arrays).to(memory_format=kind).train()
        steps = torch.optim.SGD(model.parameters(), 0.01, momentum=0.9, nesterov=True)
        for _ in range(2):
            start = time.perf_counter()
            for batch in torch.randperm(len(rows)).split(size):
                images = scaled(rows[batch]).contiguous(memory_format=kind)
                loss = functional.cross_entropy(model(images), labels[batch])
                steps.zero_grad()
                loss.backward()
                steps.step()
            seconds = time.perf_counter() - start
        speed[str(size)] = len(rows) / seconds
    return {"images_per_second": speed}


def forward(job: dict[str, Any]) -> dict[str, Any]:
    """Question 3: inference mode, whole network and its convolutions alone."""
    rows, _ = inputs_of(job)["test"]
    rows = rows[: job["images"]]
    kind = torch.channels_last if job["channels_last"] else torch.contiguous_format
    whole = network(material.weights(job)).to(memory_format=kind).eval()
    names = [name for name, _ in whole.named_children()]
    features = whole[: names.index("max_pooling2d_3") + 1]
    speed = {}
    for size in job["batches"]:
        for name, model in ((str(size), whole), (f"features {size}", features)):
            for _ in range(2):
                start = time.perf_counter()
                with torch.inference_mode():
                    for part in rows.split(size):
                        model(scaled(part).contiguous(memory_format=kind))
                seconds = time.perf_counter() - start
            speed[name] = len(rows) / seconds
    return {"images_per_second": speed, "difference": agreement(job)}
