"""Keras 3 as its guides set it up; the backend is what KERAS_BACKEND says."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers

from . import material
from .material import HEAD, LAYERS, Arrays
from .timeline import Timeline

FILTERS = {"conv2d_1": (16, 5, 2), "conv2d_2": (32, 3, 1), "conv2d_3": (64, 3, 1), "conv2d_4": (128, 3, 1)}
UNITS = {"dense_1": 512, "dense_2": 512}


def _layer(name: str, classes: int) -> layers.Layer:
    if name in FILTERS:
        filters, size, stride = FILTERS[name]
        return layers.Conv2D(filters, size, strides=stride, activation="relu", name=name)
    if name.startswith("batch"):
        return layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=name)
    if name.startswith("max"):
        return layers.MaxPooling2D(2, name=name)
    if name in UNITS:
        return layers.Dense(UNITS[name], activation="relu", name=name)
    return layers.Dense(classes, name=name)


def network(arrays: Arrays, frozen: tuple[str, ...] = (), start: str | None = None) -> keras.Sequential:
    """Table 1 from these weights; with `start` only what comes after that layer, on its features."""
    names = LAYERS[LAYERS.index(start) + 1 :] if start else LAYERS
    if start:
        first = [keras.Input((512,))]
    else:
        first = [keras.Input((100, 100, 3), dtype="uint8"), layers.Rescaling(2 / 255, -1)]
    model = keras.Sequential(first)
    for name in names:
        if name == "dense_1":
            model.add(layers.Flatten())
        layer = _layer(name, len(arrays[f"{HEAD}.bias"]))
        model.add(layer)
        _fill(layer, arrays)
        layer.trainable = name not in frozen
    return model


def _fill(layer: layers.Layer, arrays: Arrays) -> None:
    of_layer = {k.rpartition(".")[2]: v for k, v in arrays.items() if k.rpartition(".")[0] == layer.name}
    if "running_mean" in of_layer:
        layer.set_weights([of_layer[k] for k in ("weight", "bias", "running_mean", "running_var")])
    elif of_layer:
        kernel = of_layer["weight"]
        kernel = kernel.transpose(2, 3, 1, 0) if kernel.ndim == 4 else kernel.T
        layer.set_weights([kernel, of_layer["bias"]])


def optimizer(job: dict[str, Any]) -> keras.optimizers.Optimizer:
    """Plain, at a constant rate."""
    if job["optimizer"] == "sgd":
        return keras.optimizers.SGD(job["rate"], momentum=0.9, nesterov=True)
    return keras.optimizers.Adam(job["rate"])


class _Watch(keras.callbacks.Callback):
    def __init__(self, timeline: Timeline) -> None:
        super().__init__()
        self._timeline = timeline

    def on_epoch_end(self, _epoch: int, logs: dict[str, float] | None = None) -> None:
        """After validation."""
        self.model.stop_training = self._timeline.epoch((logs or {})["val_accuracy"])


def _fit(model: keras.Model, inputs: dict[str, Any], job: dict[str, Any], timeline: Timeline) -> None:
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer(job), loss, metrics=["accuracy"])
    timeline.part("prepare")
    model.fit(
        *inputs["train"],
        validation_data=inputs["validation"],
        batch_size=job["batch"],
        epochs=job["epochs"],
        callbacks=[_Watch(timeline)],
        verbose=0,
    )


def _test(model: keras.Model, inputs: dict[str, Any]) -> float:
    pixels, labels = inputs["test"]
    return float((model.predict(pixels, verbose=0).argmax(1) == labels).mean())


def retrain(job: dict[str, Any]) -> dict[str, Any]:
    """Questions 1 and 2: the whole network each epoch, or features computed once by `predict` and kept."""
    keras.utils.set_random_seed(job["seed"])
    split = material.splits(job)
    inputs = {name: (part.pixels, part.labels) for name, part in split.items()}
    arrays = material.started(job)
    difference = np.nan
    if not job.get("searching"):
        difference = _agreement(job)
    if job["cached"]:
        variants = _cached(job, inputs, arrays)
    else:
        timeline = Timeline(job.get("stop_at"))
        model = network(arrays, tuple(job["frozen"]))
        _fit(model, inputs, job, timeline)
        variants = {"uncached": timeline.result(_test(model, inputs))}
    return {"variants": variants, "difference": difference}


def _agreement(job: dict[str, Any]) -> float:
    validation = material.splits(job)["validation"]
    model = network(material.weights(job))
    logits = np.asarray(model(material.examples(job, validation)))
    return material.check_agreement(job, logits)


def _cached(job: dict[str, Any], inputs: dict[str, Any], arrays: Arrays) -> dict[str, Any]:
    """Transfer learning with the frozen part run once, as the guide's second workflow has it."""
    frozen = tuple(job["frozen"])
    test = {"test": inputs.pop("test")}
    variants, first, features = {}, None, {}
    for variant in material.variants(job):
        timeline = Timeline(job.get("stop_at"))
        if first is None:
            first = _first(arrays, job)
            features = _features(first, inputs)
            timeline.part("features")
        rest = network(arrays, frozen, job["cut"])
        _fit(rest, features, job, timeline)
        variants[variant] = timeline.result(_test(rest, _features(first, test)))
    return variants


def _first(arrays: Arrays, job: dict[str, Any]) -> keras.Model:
    whole = network(arrays)
    return keras.Model(whole.inputs, whole.get_layer(job["cut"]).output)


def _features(first: keras.Model, inputs: dict[str, Any]) -> dict[str, Any]:
    return {name: (first.predict(pixels, verbose=0), y) for name, (pixels, y) in inputs.items()}


def files(job: dict[str, Any]) -> dict[str, Any]:
    """Question `files`: as `retrain` cold, from JPEG files, in a process whose every second counts."""
    timeline = Timeline(started=job["started"])
    timeline.part("start")
    keras.utils.set_random_seed(job["seed"])
    inputs = {name: (_decoded(paths), labels) for name, (paths, labels) in material.photos(job).items()}
    timeline.part("decode")
    arrays = material.retrained(material.weights(job), job)
    first, cut, given = None, None, inputs
    if job["cached"]:
        first, cut = _first(arrays, job), job["cut"]
        given = _features(first, inputs)
        timeline.part("features")
    model = network(arrays, tuple(job["frozen"]), cut)
    _fit(model, given, job, timeline)
    split = material.splits(job)["test"]
    test = {"test": (split.pixels, split.labels)}
    accuracy = _test(model, _features(first, test) if first else test)
    variant = "cold" if first else "uncached"
    decoded = {name: material.Split(*pair) for name, pair in inputs.items()}
    return {
        "variants": {variant: timeline.result(accuracy)},
        "difference": _agreement(job),
        "pixel_difference": material.check_photos(job, decoded),
    }


def _decoded(paths: list[str]) -> np.ndarray:
    """tf.data as its performance guide has it, into one array."""
    import tensorflow as tf

    def read(path: Any) -> Any:
        return tf.io.decode_jpeg(tf.io.read_file(path), channels=3)

    photos = tf.data.Dataset.from_tensor_slices(paths).map(read, num_parallel_calls=tf.data.AUTOTUNE)
    batches = photos.batch(256).prefetch(tf.data.AUTOTUNE)
    return np.concatenate([batch.numpy() for batch in batches])


class _EpochSeconds(keras.callbacks.Callback):
    """Seconds of each epoch's steps."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[float] = []

    def on_epoch_begin(self, _epoch: int, _logs: Any = None) -> None:
        """Start."""
        self._start = time.perf_counter()

    def on_epoch_end(self, _epoch: int, _logs: Any = None) -> None:
        """Stop."""
        self.seconds.append(time.perf_counter() - self._start)


def train(job: dict[str, Any]) -> dict[str, Any]:
    """Question 2: images a second of `fit`, by batch size; the second of two epochs."""
    split = material.splits(job)["train"]
    arrays = material.retrained(material.weights(job), job)
    speed = {}
    for size in job["batches"]:
        model, watch = network(arrays), _EpochSeconds()
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.SGD(0.01, momentum=0.9, nesterov=True), loss)
        count = job["images"] // size * size
        pixels, labels = split.pixels[:count], split.labels[:count]
        model.fit(pixels, labels, batch_size=size, epochs=2, callbacks=[watch], verbose=0)
        speed[str(size)] = count / watch.seconds[-1]
    return {"images_per_second": speed}


def paper(job: dict[str, Any]) -> dict[str, Any]:
    """Question 5: seconds of a training step of one stage of the paper, and of an image's validation.

    The first steps, which compile, are `warm_up`, less what as many steps take afterwards.
    """
    keras.utils.set_random_seed(job["seed"])
    split, classes = material.part(job)
    arrays = material.weights(job) | {
        f"{HEAD}.weight": np.random.default_rng(0).normal(0, 0.05, (classes, 512)).astype(np.float32),
        f"{HEAD}.bias": np.zeros(classes, np.float32),
    }
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    start = time.perf_counter()
    model = network(arrays, tuple(job["frozen"]))
    model.compile(keras.optimizers.Adam(), loss, metrics=["accuracy"])
    first = job["warm_up_steps"] * job["batch"]
    size, watch = {"batch_size": job["batch"], "verbose": 0}, _EpochSeconds()
    model.fit(split.pixels[:first], split.labels[:first], **size)
    began = time.perf_counter() - start
    model.fit(split.pixels, split.labels, callbacks=[watch], **size)
    step = watch.seconds[-1] / job["steps"]
    for _ in range(2):
        start = time.perf_counter()
        model.evaluate(split.pixels, split.labels, **size)
        image = (time.perf_counter() - start) / len(split.pixels)
    warm_up = max(0.0, began - job["warm_up_steps"] * step)
    return {"step_seconds": step, "image_seconds": image, "warm_up": warm_up}


def forward(job: dict[str, Any]) -> dict[str, Any]:
    """Question 3: `predict` on pixels in memory."""
    pixels = material.splits(job)["test"].pixels[: job["images"]]
    whole = network(material.weights(job))
    features = keras.Model(whole.inputs, whole.get_layer("max_pooling2d_3").output)
    speed = {}
    for size in job["batches"]:
        for name, model in ((str(size), whole), (f"features {size}", features)):
            for _ in range(2):
                start = time.perf_counter()
                model.predict(pixels, batch_size=size, verbose=0)
                seconds = time.perf_counter() - start
            speed[name] = len(pixels) / seconds
    return {"images_per_second": speed, "difference": _agreement(job)}


def decode(job: dict[str, Any]) -> dict[str, Any]:
    """Question 4: files to one array."""
    names = sorted(str(path) for path in Path(job["photos"]).rglob("*.jpg"))
    start = time.perf_counter()
    pixels = _decoded(names)
    seconds = time.perf_counter() - start
    return {"images_per_second": {"all": len(names) / seconds}, "sum": int(pixels[:100].sum())}
