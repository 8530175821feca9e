"""Keras 3 on ordinary photos: transfer learning as its guide has it, EfficientNetB0 without ImageNet weights.

Those cannot be had without a download, so that its time counts and its accuracy does not.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras

from .timeline import Timeline

BATCH, SIDES = 64, ("train", "validation", "test")


class _Ends(keras.callbacks.Callback):  # type: ignore[misc]
    def __init__(self, timeline: Timeline) -> None:
        super().__init__()
        self._timeline = timeline

    def on_epoch_end(self, _epoch: int, logs: dict[str, float]) -> None:
        """With the accuracy on validation photos."""
        self._timeline.epoch(logs["val_accuracy"])


def ordinary(job: dict[str, Any]) -> dict[str, Any]:
    """A frozen base, pooling, one layer; so many epochs."""
    timeline = Timeline(started=job["started"])
    keras.utils.set_random_seed(job["seed"])
    train, validation, test = (
        keras.utils.image_dataset_from_directory(
            Path(job["photos"]) / side, image_size=(224, 224), batch_size=BATCH, verbose=False
        )
        for side in SIDES
    )
    base = keras.applications.EfficientNetB0(include_top=False, weights=None, pooling="avg")
    base.trainable = False
    inputs = keras.Input((224, 224, 3))
    outputs = keras.layers.Dense(len(train.class_names), "softmax")(base(inputs, training=False))
    model = keras.Model(inputs, outputs)
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(
        train,
        validation_data=validation,
        epochs=job["epochs"],
        verbose=0,
        callbacks=[_Ends(timeline)],
    )
    return timeline.result(model.evaluate(test, verbose=0)[1])
