"""What answers photos: a model file by PyTorch, or an ONNX file of the same model by ONNX Runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from .photos.decode import Rule

ONNX_SUFFIX = ".onnx"


class Classifier(Protocol):
    """A model that is ready to answer."""

    @property
    def class_names(self) -> list[str]:
        """In the order of the columns of the probabilities."""

    @property
    def rule(self) -> Rule:
        """How photos become the pixels that it takes."""

    def probabilities(self, photos: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
        """Photos, uint8 (n, size, size, 3) RGB, to float64 (n, classes)."""


def open_classifier(path: Path, device: str, threads: int | None) -> Classifier:
    """Open a model by the suffix of its file: .onnx is run by ONNX Runtime, all else is a model file.

    Raises ModelFileError for a file that cannot be used, ConfigError for a device that is not to be had.
    """
    # Only what is needed: importing torch takes a second, and ONNX Runtime is an extra.
    if path.suffix.lower() == ONNX_SUFFIX:
        from .onnx_classifier import OnnxClassifier

        return OnnxClassifier(path, device, threads)
    from .torch_classifier import TorchClassifier

    return TorchClassifier(path, device, threads)
