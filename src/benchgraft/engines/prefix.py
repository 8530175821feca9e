"""Which engine computes the frozen prefix of a network: chosen here, and nowhere else.

ONNX Runtime for networks of timm on the CPU, where it is installed: it is the faster one, and exact enough.
PyTorch for the paper's network, whose published figures are PyTorch's to the last bit, on accelerators, and
where ONNX Runtime fails.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from ..cache import hold
from ..errors import ExportError, StorageError
from ..files import digest_bytes, write_folder_whole
from ..networks.contract import Network, split_at
from ..networks.dormant import awakened
from ..networks.freeze import Frozen, tensor_digest
from ..runfolder.ledger import dump_json
from .engine import Engine
from .graph import NEEDED, graph_of, traced_graph_of, writers
from .onnx_ import OnnxEngine, runtime_version
from .torch_ import EngineBlock, TorchEngine

FORMAT = 3
"""Of graphs in the cache."""
TOLERANCE = 2e-5
"""Largest difference of features between engines, over the largest feature. Of five families of timm at every
cut, 96 pixels: at most 5e-6."""
OUTPUT = "features"
TRACED = 3
"""Photos of the example that a graph is traced with; it is compared on all of them, which are more."""


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


def wants_onnx(network: Network) -> bool:
    """Whether ONNX Runtime is to compute what is frozen of it, if it can."""
    return network.spec.family != "paper_cnn" and next(network.parameters()).device.type == "cpu"


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
        mend = "" if isinstance(error, ExportError) else f"; pip install {' '.join(NEEDED)}"
        say(f"note: features are computed by PyTorch, not by ONNX Runtime, which is faster: {error}{mend}")
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
    content = _kept(place)
    if content is not None:
        engine = _engine(content, threads)
    else:
        layers = awakened(split_at(network, cut)[0].eval())
        content, engine = _made(layers, example, threads, bool(network.spec.has_blocks))
        _keep(place, content)
    hold(place, engine)
    return engine


def _engine(graph: bytes, threads: int) -> OnnxEngine:
    try:
        return OnnxEngine(graph, threads)
    except ValueError as error:
        raise ExportError(f"it does not take the graph: {error}") from None


def _kept(place: Path) -> bytes | None:
    """The graph of a folder of the cache; None if it is not there, or damaged."""
    try:
        content = (place / "graph.onnx").read_bytes()
        digest = json.loads((place / "graph.json").read_text())["digest"]
    except (OSError, ValueError, KeyError):
        return None
    return content if digest_bytes(content) == digest else None


def _keep(place: Path, content: bytes) -> None:
    """Nothing needs it there: a cache that cannot be written is no reason to end a run."""
    shutil.rmtree(place, ignore_errors=True)  # it was found damaged
    with contextlib.suppress(OSError, StorageError), write_folder_whole(place) as folder:
        (folder / "graph.onnx").write_bytes(content)
        (folder / "graph.json").write_text(json.dumps({"digest": digest_bytes(content)}))


def _made(
    layers: nn.Sequential, example: npt.NDArray[np.uint8], threads: int, is_known: bool
) -> tuple[bytes, OnnxEngine]:
    """A graph and its engine, compared with PyTorch, by the exporter that is quicker, or by the other one.

    is_known: the family's blocks are known. Others are not traced: where that fails, the exporter prints all.
    """
    with contextlib.suppress(Exception):  # of many kinds, see traced_graph_of
        if is_known:
            from ..networks import timm_  # which built these layers

            traced = timm_.with_fixed_padding(layers, torch.from_numpy(example[:1]))
            content = traced_graph_of(traced, example[:TRACED], OUTPUT)
            engine = _engine(content, threads)
            _refuse_another_answer(engine, TorchEngine(layers), example)
            return content, engine
    content = _written(layers, example)
    engine = _engine(content, threads)
    _refuse_another_answer(engine, TorchEngine(layers), example)
    return content, engine


def _written(layers: nn.Sequential, example: npt.NDArray[np.uint8]) -> bytes:
    try:
        return graph_of(layers, example, OUTPUT, {})
    except ImportError:
        raise
    except Exception as error:  # of many kinds: the exporter meets all that a network may hold
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ExportError(f"no graph can be written: {reason}") from None


def _refuse_another_answer(ours: Engine, theirs: Engine, example: npt.NDArray[np.uint8]) -> None:
    """Raises ExportError if two engines differ by more than TOLERANCE."""
    expected = theirs.compute(example)
    largest = float(np.abs(expected).max()) or 1.0
    difference = float(np.abs(ours.compute(example) - expected).max()) / largest
    if not difference <= TOLERANCE:
        raise ExportError(f"its features differ from PyTorch's by {difference:.1e} of the largest")
