"""A graph of layers that answers as PyTorch does, or an error: by the quicker exporter, or by the other."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from ..errors import ExportError
from ..networks.contract import Network
from .engine import Engine
from .graph import NEEDED, graph_of, traced_graph_of
from .onnx_ import OnnxEngine
from .torch_ import TorchEngine

TOLERANCE = 2e-5
"""Largest difference of outputs between engines, over the largest of them. Of five families of timm at every
cut, 96 pixels: at most 5e-6."""
TRACED = 3
"""Photos of the example that a graph is traced with; it is compared on all of them, which are more."""


def wants_onnx(network: Network) -> bool:
    """Whether ONNX Runtime is to compute what is constant of it, if it can."""
    return network.spec.family != "paper_cnn" and next(network.parameters()).device.type == "cpu"


def why_not(error: ImportError | ExportError) -> str:
    """Why ONNX Runtime does not compute, and what to do, for a note."""
    return error.what if isinstance(error, ExportError) else f"{error}; pip install {' '.join(NEEDED)}"


def checked_graph(
    layers: nn.Sequential,
    example: npt.NDArray[np.uint8],
    output: str,
    metadata: Mapping[str, str],
    threads: int | None,
    is_known: bool,
) -> tuple[bytes, OnnxEngine]:
    """A graph and its engine, compared with PyTorch.

    is_known: the family's blocks are known. Others are not traced: where that fails, the exporter prints all.
    Raises ImportError where a package is missing, ExportError where no graph can be written or it is wrong.
    """
    with contextlib.suppress(Exception):  # of many kinds, see traced_graph_of
        if is_known:
            from ..networks import timm_  # which built these layers

            traced = timm_.with_fixed_padding(layers, torch.from_numpy(example[:1]))
            return _compared(
                traced_graph_of(traced, example[:TRACED], output, metadata), layers, example, threads
            )
    return _compared(_written(layers, example, output, metadata), layers, example, threads)


def engine_of(graph: bytes, threads: int | None) -> OnnxEngine:
    """Raises ExportError for a graph that ONNX Runtime does not take."""
    try:
        return OnnxEngine(graph, threads)
    except ValueError as error:
        raise ExportError(f"it does not take the graph: {error}") from None


def _compared(
    content: bytes, layers: nn.Sequential, example: npt.NDArray[np.uint8], threads: int | None
) -> tuple[bytes, OnnxEngine]:
    engine = engine_of(content, threads)
    _refuse_another_answer(engine, TorchEngine(layers), example)
    return content, engine


def _written(
    layers: nn.Sequential, example: npt.NDArray[np.uint8], output: str, metadata: Mapping[str, str]
) -> bytes:
    try:
        return graph_of(layers, example, output, metadata)
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
        raise ExportError(
            f"its answers differ from PyTorch's by {difference:.1e} of the largest",
            "try other versions of torch, onnxscript and onnxruntime",
        )
