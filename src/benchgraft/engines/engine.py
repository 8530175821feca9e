"""What computes on photos: PyTorch or ONNX Runtime, a whole classifier or the frozen prefix of one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from ..photos.decode import Rule

ONNX_SUFFIX = ".onnx"


class Engine(Protocol):
    """Layers that are ready to compute, in inference mode.

    The row of an image has the same bits whatever else is in the batch, in every batch of the same size and
    in every run: features are cached on this promise. Between engines it does not hold, see `prefix`.
    """

    is_same_in_any_batch: bool
    """Whether that holds for batches of all sizes, as far as tests and we have seen."""

    @property
    def name(self) -> str:
        """Which engine, and its version: part of the key of all features that it computes."""

    def compute(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.floating[Any]]:
        """uint8 (n, side, side, 3) RGB to float (n, ...), a row for each image; maps lie as (n, H, W, C)."""


def compute_batch(
    engine: Engine, pixels: npt.NDArray[np.uint8], batch_size: int
) -> npt.NDArray[np.floating[Any]]:
    """Of at most `batch_size` images, with the bits that they have in every such batch.

    Where its size counts, a short one is filled up by repeating.
    """
    size = len(pixels) if engine.is_same_in_any_batch else batch_size
    return engine.compute(pixels[np.arange(size) % len(pixels)])[: len(pixels)]


@dataclass(frozen=True)
class Classifier:
    """A model that is ready to answer."""

    engine: Engine
    """What computes its probabilities."""
    class_names: list[str]
    """In the order of the columns of the probabilities."""
    rule: Rule
    """How photos become the pixels that it takes."""

    def probabilities(self, photos: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
        """Photos, uint8 (n, size, size, 3) RGB, to float64 (n, classes)."""
        return np.asarray(self.engine.compute(photos), np.float64)


def open_classifier(
    path: Path,
    device: str,
    threads: int | None,
    cache: Path | None = None,
    say: Callable[[str], object] = lambda _line: None,
) -> Classifier:
    """Open a model by the suffix of its file: .onnx is run by ONNX Runtime, all else is a model file.

    On the CPU a model file of timm's networks is run by ONNX Runtime too, by a graph that is made when it is
    first opened and kept. cache: where; None takes the user's own. say: is told why PyTorch answers instead.
    Raises ModelFileError for a file that cannot be used, ConfigError for a device that is not to be had.
    """
    # Only what is needed: importing torch takes a second, and timm three more.
    if path.suffix.lower() == ONNX_SUFFIX:
        from .onnx_ import open_onnx_file

        return open_onnx_file(path, device, threads)
    from .kept import kept_classifier, place_of_model

    place = place_of_model(path, device, cache)
    found = kept_classifier(path, place, threads) if place else None
    if found is not None:
        return found
    from .whole import open_model_file

    return open_model_file(path, device, threads, place, say)
