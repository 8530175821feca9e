"""Freezing by layer name, proof that nothing frozen moved, and the prefix that stays constant.

Frozen means that neither weights nor buffers move. A BatchNorm whose statistics are frozen is held in
inference mode: `requires_grad = False` alone would leave its running statistics moving, and its output
depending on the batch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

import torch
from torch import Tensor, nn

from ..errors import ConfigError, FrozenMovedError, did_you_mean
from ..files import digest_bytes
from ..ledger import dump_json
from .paper_cnn import PaperCNN


def match_layers(layer_names: Sequence[str], patterns: Sequence[str], where: str = "freeze") -> list[str]:
    """Layers that any of the patterns (`*`, `?`, `[...]`) names, in the model's order.

    Raises ConfigError naming every pattern that matches no layer.
    """
    layer_names = [name for name in layer_names if name != "scale"]
    wrong = [p for p in patterns if not any(fnmatchcase(name, p) for name in layer_names)]
    if wrong:
        raise ConfigError(
            f"{where}: " + ", ".join(f'"{pattern}"' for pattern in wrong) + " matches no layer",
            "layers of paper_cnn: " + " ".join(layer_names),
            did_you_mean(wrong[0].strip("*"), layer_names) + " To freeze nothing, write freeze = []",
        )
    return [name for name in layer_names if any(fnmatchcase(name, p) for p in patterns)]


class Frozen:
    """The frozen part of a model: holds it still while the rest trains, and proves that it stayed."""

    def __init__(self, model: PaperCNN, layers: Sequence[str], statistics: bool = True) -> None:
        """Freeze the layers named (exact names, see match_layers).

        statistics: whether frozen BatchNorms keep their running statistics too (and run in inference mode).
        False is what most PyTorch code does: scale and shift stay, mean and variance move.
        """
        self._model = model
        self.layers = list(layers)
        self.statistics = statistics
        for name in self.layers:
            model.get_submodule(name).requires_grad_(False)
        self._before = self._digests()

    def train(self) -> None:
        """Training mode for everything but the frozen BatchNorms."""
        self._model.train()
        if self.statistics:
            for name in self.layers:
                self._model.get_submodule(name).eval()

    @property
    def tensor_names(self) -> list[str]:
        """Names of all frozen parameters and buffers."""
        return list(self._before)

    @property
    def digests(self) -> Mapping[str, str]:
        """Name of every frozen parameter and buffer -> SHA-256 of its bits, as they were at the start."""
        return self._before

    @property
    def digest(self) -> str | None:
        """SHA-256 over the bits of everything frozen, as they were at the start; None if nothing is."""
        return digest_bytes(dump_json(self._before).encode()) if self._before else None

    def verify(self) -> None:
        """Raises FrozenMovedError if any bit of a frozen tensor or buffer has changed."""
        now = self._digests()
        moved = [name for name, digest in self._before.items() if now[name] != digest]
        if moved:
            raise FrozenMovedError(f"frozen tensors changed during training: {', '.join(moved)}")

    def _tensors(self) -> dict[str, Tensor]:
        found: dict[str, Tensor] = {}
        for name in self.layers:
            layer = self._model.get_submodule(name)
            found.update({f"{name}.{key}": p for key, p in layer.named_parameters()})
            if self.statistics:
                found.update({f"{name}.{key}": b for key, b in layer.named_buffers()})
        return found

    def _digests(self) -> dict[str, str]:
        return {name: tensor_digest(tensor) for name, tensor in self._tensors().items()}


def constant_prefix(model: PaperCNN, frozen: Frozen) -> list[str]:
    """Longest run of layers from the input whose output for an image never changes while the rest trains.

    Constant are: layers without parameters and buffers, frozen layers, and BatchNorms only where their
    statistics are frozen. `scale` alone is no prefix worth the name: then the list is empty.
    """
    names: list[str] = []
    for name, layer in model.named_children():
        has_state = any(True for _ in layer.state_dict())
        moves = isinstance(layer, nn.BatchNorm2d) and not frozen.statistics
        if has_state and (name not in frozen.layers or moves):
            break
        names.append(name)
    return names if any(name in frozen.layers for name in names) else []


def split_at(model: PaperCNN, cut: str | None) -> tuple[nn.Sequential, nn.Sequential]:
    """The model as two sequences that share its tensors: up to and with the layer `cut`, and the rest."""
    names = model.layer_names
    end = names.index(cut) + 1 if cut else 0
    children = list(model.children())
    return nn.Sequential(*children[:end]), nn.Sequential(*children[end:])


def tensor_digest(tensor: Tensor) -> str:
    """SHA-256 of the bits of a tensor in logical (row-major) order, as 64 hex digits."""
    return hashlib.sha256(
        tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data
    ).hexdigest()
