"""Layers as an ONNX graph, uint8 photos in: written by PyTorch's exporter, for any number of them."""

from __future__ import annotations

import contextlib
import os
import tempfile
import threading
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from ..shortcuts import quiet_exporter
from .card import INPUT
from .torch_ import Stored

NEEDED = ("onnx", "onnxscript", "onnxruntime")
"""What must be importable to write a graph and to run it."""
OPSET = 18
_ONE_AT_A_TIME = threading.Lock()
"""An exporter works on the whole process, as do the warnings silenced for it; a service has threads."""


def writers() -> dict[str, str]:
    """Versions of all that a graph's bytes depend on beside the layers."""
    return {name: version(name) for name in ("torch", "onnx", "onnxscript")} | {"opset": str(OPSET)}


def graph_of(
    layers: nn.Module, example: npt.NDArray[np.uint8], output: str, metadata: Mapping[str, str]
) -> bytes:
    """The content of an ONNX file of layers in inference mode, by the newer exporter, which takes seconds.

    It takes INPUT, uint8 (n, side, side, 3), and gives `output`, (n, ...), maps as (n, H, W, C). example: two
    photos or more. Raises ImportError where one of NEEDED is missing; the exporter has errors of its own.
    """
    import onnxscript  # noqa: F401 - the exporter needs it, and would say so in words of its own

    with _ONE_AT_A_TIME, quiet_exporter(), _environment_put_back(), torch.no_grad():
        program: Any = torch.onnx.export(
            Stored(layers),
            (torch.from_numpy(example),),
            dynamo=True,
            input_names=[INPUT],
            output_names=[output],
            dynamic_shapes={INPUT: {0: torch.export.Dim("n")}},
            opset_version=OPSET,
            verbose=False,
        )
    return _with_metadata(program.model_proto, metadata)


def traced_graph_of(
    layers: nn.Module, example: npt.NDArray[np.uint8], output: str, metadata: Mapping[str, str]
) -> bytes:
    """The same by the older exporter, which follows one pass over the example: in a tenth of the time.

    What a pass does by chance with its number of photos is a fixed part of the graph then: whoever takes it
    compares it on another number. Torch will give it up some day; its errors, that too, are of many kinds.
    """
    import onnx

    with _ONE_AT_A_TIME, quiet_exporter(), torch.no_grad(), tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "graph.onnx"
        torch.onnx.export(
            Stored(layers),
            (torch.from_numpy(example),),
            file,
            dynamo=False,
            input_names=[INPUT],
            output_names=[output],
            dynamic_axes={INPUT: {0: "n"}, output: {0: "n"}},
            opset_version=OPSET,
        )
        content = file.read_bytes()
    return _with_metadata(onnx.load_from_string(content), metadata) if metadata else content


def _with_metadata(proto: Any, metadata: Mapping[str, str]) -> bytes:
    import onnx

    onnx.helper.set_model_props(proto, dict(metadata))
    content: bytes = proto.SerializeToString()
    return content


@contextlib.contextmanager
def _environment_put_back() -> Iterator[None]:
    """Without what the exporter adds to it: where torch's compiler, which it loads, would keep its files."""
    before = set(os.environ)
    try:
        yield
    finally:
        for name in set(os.environ) - before:
            if name.startswith("TORCH"):
                del os.environ[name]
