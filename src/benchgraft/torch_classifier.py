"""Answers of a model file, by PyTorch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from .networks import model_file
from .networks.contract import in_inference_order
from .photos.decode import Rule
from .training.device import prepare_device, threads_put_back


class TorchClassifier:
    """A model file on a device; a `Classifier`."""

    def __init__(self, path: Path, device: str, threads: int | None) -> None:
        """Raises ModelFileError, and ConfigError for a device that this machine does not have."""
        self._device, self._threads = prepare_device(device, None), threads
        file = model_file.read(path)
        self._network = in_inference_order(model_file.load(file).to(self._device).eval())
        self.class_names: list[str] = file.card.class_names
        self.rule = Rule(file.card.network.side, file.card.fit, file.card.white_level)

    @torch.no_grad()
    def probabilities(self, photos: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
        """Photos, uint8 (n, size, size, 3) RGB, to float64 (n, classes)."""
        # For one batch at a time: between answers the process is its owner's.
        with threads_put_back(self._threads):
            logits = self._network(torch.from_numpy(photos).to(self._device))
            return np.asarray(logits.double().softmax(1).cpu().numpy(), np.float64)
