"""Which engine computes the frozen prefix of a network: chosen here, and nowhere else.

ONNX Runtime for networks of timm on the CPU, where it is installed: it is the faster one, and exact enough.
PyTorch for the paper's network, whose published figures are PyTorch's to the last bit, on accelerators, and
where ONNX Runtime fails.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import nn

from ..cache import hold
from ..errors import ExportError
from ..files import digest_bytes
from ..networks.contract import Network, split_at
from ..networks.dormant import awakened
from ..networks.freeze import Frozen, tensor_digest
from ..runfolder.ledger import dump_json
from .engine import Engine
from .exporter import checked_graph, engine_of, wants_onnx, why_not
from .graph import writers
from .kept import keep, kept
from .onnx_ import OnnxEngine, runtime_version
from .torch_ import EngineBlock, TorchEngine

FORMAT = 3
"""Of graphs in the cache."""
OUTPUT = "features"


@dataclass(frozen=True, eq=False)
class Prefix:
    """The frozen prefix of a network, with the engine that computes it."""

    network: Network
    blocks: list[str]
    """Its blocks, in order."""
    onnx: OnnxEngine | None
    """What computes all of it; None: PyTorch does."""

    @property
    def cuts(self) -> list[str]:
        """Blocks after which features may be kept, all with the same result of training.

        Under PyTorch after any, since block by block it gives the bits of the whole. ONNX Runtime computes
        several blocks as one: there a cut elsewhere is another result.
        """
        return self.blocks if self.onnx is None else self.blocks[-1:]

    @property
    def engine_name(self) -> str:
        """Which engine, and its version."""
        return TorchEngine.name if self.onnx is None else self.onnx.name

    def engine(self, cut: str) -> Engine:
        """What computes features at one of the cuts."""
        if self.onnx is not None:
            return self.onnx
        first = split_at(self.network, cut)[0]
        return TorchEngine(first, next(self.network.parameters()).device)

    def uncached(self, cut: str) -> nn.Module:
        """What computes the same bits inside a network that trains on pixels."""
        return split_at(self.network, cut)[0] if self.onnx is None else EngineBlock(self.onnx)

    def whole(self) -> nn.Sequential:
        """The network that trains on pixels."""
        if self.onnx is None:
            return self.network
        return nn.Sequential(EngineBlock(self.onnx), *split_at(self.network, self.blocks[-1])[1])


def prefix_of(
    network: Network,
    frozen: Frozen,
    blocks: list[str],
    example: npt.NDArray[np.uint8],
    cache: Path,
    threads: int,
    say: Callable[[str], object],
) -> Prefix:
    """These blocks from the network's first on with the fastest engine that is exact enough.

    example: some photos as they will come, uint8 (n, side, side, 3), n > 1. cache: where graphs are kept.
    say: is told in one line why ONNX Runtime is not used where it should be.
    """
    if not wants_onnx(network):
        return Prefix(network, blocks, None)
    try:
        engine = _onnx_engine(network, frozen, blocks[-1], example, cache, threads)
    except (ImportError, ExportError) as error:
        say(f"note: features are computed by PyTorch, not by ONNX Runtime, which is faster: {why_not(error)}")
        return Prefix(network, blocks, None)
    return Prefix(network, blocks, engine)


def described(network: Network, cut: str, frozen: Frozen) -> list[Any]:
    """All that the output of a network's blocks up to a cut depends on, beside pixels and engine, for keys.

    frozen: what is frozen of the network, whose digests are not made again.
    """
    names = network.block_names
    part = names[: names.index(cut) + 1]
    tensors = {
        f"{name}.{key}": tensor
        for name in part
        for key, tensor in itertools.chain(
            network.get_submodule(name).named_parameters(), network.get_submodule(name).named_buffers()
        )
    }
    state = {name: frozen.digests.get(name) or tensor_digest(tensor) for name, tensor in tensors.items()}
    family = version("timm") if network.spec.family == "timm" else None
    return [network.spec.model_dump(mode="json"), family, part, state]


def _onnx_engine(
    network: Network,
    frozen: Frozen,
    cut: str,
    example: npt.NDArray[np.uint8],
    cache: Path,
    threads: int,
) -> OnnxEngine:
    """By the graph in the cache, else by a new one, which is compared with PyTorch and kept.

    Raises ImportError where a package is missing, ExportError where no graph can be written or it is wrong.
    """
    runtime_version()  # nothing is written where nothing could run it
    facts = [FORMAT, described(network, cut, frozen), example.shape[1], writers()]
    place = cache / "graphs" / digest_bytes(dump_json(facts).encode())
    content = kept(place)
    if content is not None:
        engine = engine_of(content, threads)
    else:
        layers = awakened(split_at(network, cut)[0].eval())
        content, engine = checked_graph(layers, example, OUTPUT, {}, threads, bool(network.spec.has_blocks))
        keep(place, content)
    hold(place, engine)
    return engine
