"""Answers of a model file, by PyTorch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from .data.decode import Rule
from .networks import model_file
from .networks.contract import in_inference_order
from .training.device import prepare_device


class TorchClassifier:
    """A model file on a device; a `Classifier`."""

    def __init__(self, path: Path, device: str, threads: int | None) -> None:
        """Raises ModelFileError, and ConfigError for a device that this machine does not have."""
        self._device = prepare_device(device, threads)
        file = model_file.read(path)
        self._network = in_inference_order(model_file.load(file).to(self._device).eval())
        self.class_names: list[str] = file.card.class_names
        self.rule = Rule(file.card.network.side, file.card.fit, file.card.white_level)

    @torch.no_grad()
    def probabilities(self, photos: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
        """Photos, uint8 (n, size, size, 3) RGB, to float64 (n, classes)."""
        logits = self._network(torch.from_numpy(photos).to(self._device))
        return np.asarray(logits.double().softmax(1).cpu().numpy(), np.float64)
