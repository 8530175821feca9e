"""Freezing by block name, proof that nothing frozen moved, and the prefix that stays constant.

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
from ..runfolder.ledger import dump_json
from . import paper_cnn
from .contract import Network


def match_blocks(block_names: Sequence[str], patterns: Sequence[str], where: str = "freeze") -> list[str]:
    """Blocks that any of the patterns (`*`, `?`, `[...]`) names, in the network's order.

    Raises ConfigError naming every pattern that matches no block.
    """
    wrong = [p for p in patterns if not any(fnmatchcase(name, p) for name in block_names)]
    if wrong:
        raise ConfigError(
            f"{where}: " + ", ".join(f'"{pattern}"' for pattern in wrong) + " matches no block",
            "blocks of the network: " + " ".join(block_names),
            did_you_mean(wrong[0].strip("*"), block_names) + " To freeze nothing, write freeze = []",
        )
    return [name for name in block_names if any(fnmatchcase(name, p) for p in patterns)]


def blocks_before(block_names: Sequence[str], first: str) -> list[str]:
    """The blocks before this one. Raises ConfigError where there is no such block."""
    if first not in block_names:
        raise ConfigError(
            f'train_from: "{first}" is no block of the network',
            "blocks of the network: " + " ".join(block_names),
            did_you_mean(first, block_names),
        )
    return list(block_names[: list(block_names).index(first)])


_SAME_IN_BOTH_MODES = {
    *(nn.Sequential, nn.Identity, nn.Flatten, nn.ReLU, nn.Conv2d, nn.Linear, nn.MaxPool2d, nn.AvgPool2d),
    *(paper_cnn.Convolution, paper_cnn.Dense, paper_cnn.MaxPool),
}
"""Exactly these types: one that inherits from them may do more."""


class Frozen:
    """The frozen part of a model: holds it still while the rest trains, and proves that it stayed."""

    def __init__(self, network: Network, blocks: Sequence[str], statistics: bool = True) -> None:
        """Freeze the blocks named (exact names, see match_blocks).

        statistics: whether frozen BatchNorms keep their running statistics too (and run in inference mode).
        False is what most PyTorch code does: scale and shift stay, mean and variance move.
        """
        self._model = network
        self.blocks = list(blocks)
        self.statistics = statistics
        for name in self.blocks:
            network.get_submodule(name).requires_grad_(False)
        self._before = self._digests()

    def train(self) -> None:
        """Training mode for everything but the frozen BatchNorms."""
        self._model.train()
        if self.statistics:
            for name in self.blocks:
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
        for name in self.blocks:
            block = self._model.get_submodule(name)
            found.update({f"{name}.{key}": p for key, p in block.named_parameters()})
            if self.statistics:
                found.update({f"{name}.{key}": b for key, b in block.named_buffers()})
        return found

    def _digests(self) -> dict[str, str]:
        return {name: tensor_digest(tensor) for name, tensor in self._tensors().items()}


def constant_prefix(network: Network, frozen: Frozen) -> list[str]:
    """Longest run of blocks from the input whose output for an image never changes while the rest trains.

    A block is constant that is frozen with its statistics, and so runs in inference mode; any other if it has
    no state that trains and all its layers are known to do the same in both modes: no dropout, no BatchNorm.
    Blocks without state alone are no prefix worth the name: then the list is empty.
    """
    names: list[str] = []
    for name in network.block_names:
        block = network.get_submodule(name)
        is_frozen = name in frozen.blocks
        is_held = is_frozen or not block.state_dict()
        if not (is_held and ((is_frozen and frozen.statistics) or _is_the_same_in_both_modes(block))):
            break
        names.append(name)
    return names if any(name in frozen.blocks for name in names) else []


def hold_statistics(module: nn.Module) -> None:
    """Every BatchNorm in inference mode: it goes by the statistics that it has, and keeps them."""
    for layer in module.modules():
        if isinstance(layer, nn.modules.batchnorm._BatchNorm):  # also timm's, which are activations as well
            layer.eval()


def may_draw(module: nn.Module) -> bool:
    """Whether training may draw in it by chance: dropout, stochastic depth, any layer that is not known."""
    return not all(
        type(layer) in _SAME_IN_BOTH_MODES or isinstance(layer, nn.BatchNorm2d) for layer in module.modules()
    )


def _is_the_same_in_both_modes(block: nn.Module) -> bool:
    return all(type(layer) in _SAME_IN_BOTH_MODES for layer in block.modules())


def tensor_digest(tensor: Tensor) -> str:
    """SHA-256 of the bits of a tensor in logical (row-major) order, as 64 hex digits."""
    return hashlib.sha256(
        tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data
    ).hexdigest()
