"""How a stage is trained, and when that ends."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

SMALLEST_BATCH = 32
"""Convolutions give the same bits for an image in any batch of 32 or more (measured); below they may not."""


class Augmentation(BaseModel):
    """Seeded changes of training images."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    flip: bool = False
    """Mirror each image left to right with probability 1/2."""
    shift: int = 0
    """Move each image by up to this many pixels each way; edge pixels fill the gap."""
    zoom: float | None = Field(default=None, gt=0, lt=1)
    """Show a part of each image, scaled up: any place, at least this share of the area, sides 4:3 at most."""
    views: int | None = Field(default=None, ge=2)
    """So many fixed views of each image, the first of them the image itself; the epochs take turns through
    them, and their features can be cached. None: drawn anew each step, so that nothing before can be."""

    @property
    def is_used(self) -> bool:
        """Whether anything varies."""
        return self.flip or self.shift > 0 or self.zoom is not None

    @property
    def is_drawn(self) -> bool:
        """Whether every step draws anew."""
        return self.is_used and self.views is None

    @property
    def view_count(self) -> int:
        """Views of each image that training takes turns through; 1 without views."""
        return self.views if self.is_used and self.views else 1

    @model_serializer(mode="wrap")
    def _as_before_zoom(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without zoom where there is none: digests of experiments made before it was there stay."""
        return _without_defaults(self, handler, "zoom")


class Stop(BaseModel):
    """When training ends, judged on validation alone."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    epochs: int = Field(ge=1)
    """Passes over the training images, at most."""
    patience: int | None = Field(default=None, ge=1)
    """Stop after this many epochs without a lower validation loss, and keep the best epoch's weights.
    Without it all epochs are run and the last one's weights are kept."""
    least_steps: int | None = Field(default=None, ge=1)
    """Optimizer steps, at least: more epochs are run where `epochs` have fewer. Few images have few steps an
    epoch, so that a fixed number of epochs trains the less the fewer they are."""

    @model_validator(mode="after")
    def _has_one_rule(self) -> Stop:
        if self.least_steps is not None and self.patience is not None:
            raise ValueError("least_steps promises a length that patience may cut short; leave one out")
        return self

    def epochs_of(self, per_epoch: int) -> int:
        """Epochs that are run at most, of so many steps each."""
        return max(self.epochs, -(-(self.least_steps or 0) // per_epoch))


class Recipe(BaseModel):
    """How a stage is trained."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    optimizer: Literal["sgd", "adam", "adamw", "logistic"] = "sgd"
    """sgd has Nesterov momentum. logistic: no steps over batches; the head alone is fitted to convergence on
    frozen features, its penalty chosen on validation (training/logistic.py). Rate, schedule, augmentation and
    stop rule then say nothing."""
    learning_rate: float = Field(gt=0)
    head_rate: float | None = Field(default=None, gt=0)
    """Of the last linear layer, where it is another one."""
    head_start: Literal["random", "solved"] = "random"
    """solved: before the first step the last linear layer is fitted to what comes before it, on the training
    images as they are, its penalty chosen on validation."""
    calibrate: bool = False
    """Whether, after the last step, the head is scaled by one number, so that its probabilities have the
    smallest log loss on validation photos; the likeliest class stays."""
    statistics: Literal["batch", "kept"] = "batch"
    """What BatchNorms of trained blocks go by: the batch that they see; or, all the time, the statistics that
    they start with, so that no image depends on others in its batch."""
    momentum: float = Field(default=0.9, ge=0, lt=1)
    weight_decay: float = Field(default=0.0, ge=0)
    batch_size: int = Field(default=64, ge=SMALLEST_BATCH)
    schedule: Literal["constant", "one_cycle", "cosine"] = "one_cycle"
    """Up over the first `warm_up` of all steps, then down to 0: linearly (one_cycle) or by a cosine."""
    warm_up: float = Field(default=0.2, ge=0, lt=1)
    clip: float | None = Field(default=None, gt=0)
    """Gradients whose norm, over all trained tensors together, is larger are scaled down to it."""
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    balance: bool = False
    """Weigh each image by the inverse of its class's share, so that a rare class counts as much as any."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Of the products in training steps; weights, features, validation and test stay float32."""
    augment: Augmentation = Augmentation()
    stop: Stop

    @model_serializer(mode="wrap")
    def _as_before(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without what later versions can say, where it is not said: digests of older experiments stay."""
        later = ("clip", "head_rate", "head_start", "calibrate", "statistics", "precision")
        return _without_defaults(self, handler, *later)


def _without_defaults(
    model: BaseModel, handler: SerializerFunctionWrapHandler, *names: str
) -> dict[str, Any]:
    fields: dict[str, Any] = handler(model)
    kinds = type(model).model_fields
    return {
        name: value
        for name, value in fields.items()
        if name not in names or getattr(model, name) != kinds[name].default
    }
