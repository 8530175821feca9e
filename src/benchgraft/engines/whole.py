"""A whole model file as an engine: by ONNX Runtime where that is faster and exact enough, else by PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from ..cache import limit_bytes, make_room
from ..errors import ExportError
from ..networks import model_file
from ..networks.contract import Network
from ..networks.model_file import ModelFile
from ..photos.decode import Rule, rule_of
from ..photos.synthetic import draw_varied
from .card import OUTPUT, OnnxCard, seal, to_metadata
from .device import prepare_device
from .engine import Classifier, Engine
from .exporter import checked_graph, wants_onnx, why_not
from .kept import keep, place_of_model
from .onnx_ import OnnxEngine, runtime_version
from .torch_ import TorchEngine

EXAMPLES = 8
"""Pictures on which the engines are compared when a graph is made."""


class _Probabilities(nn.Module):
    def forward(self, logits: Tensor) -> Tensor:
        return logits.double().softmax(1)


def open_model_file(
    path: Path,
    device: str,
    threads: int | None,
    place: Path | None,
    say: Callable[[str], object],
) -> Classifier:
    """A model file on a device.

    place: where its graph is to be kept, found before the file is read here; None: it has none. Other
    parameters and errors: see engine.open_classifier.
    """
    chosen = prepare_device(device, None)
    file = model_file.read(path)
    network = model_file.load(file).to(chosen)
    if place is not None and wants_onnx(network):
        try:
            runtime_version()  # nothing is written where nothing could run it
            example = draw_varied(EXAMPLES, file.card.network.side, seed=0)
            content, onnx = graph_of_model(file, network, example, threads)
        except (ImportError, ExportError) as error:
            say(f"note: PyTorch answers, not ONNX Runtime, which is faster: {why_not(error)}")
        else:
            cache = place.parents[1]
            if place == place_of_model(path, device, cache):  # else the file was replaced meanwhile
                keep(place, content)
                make_room(cache, limit_bytes())
            return Classifier(onnx, file.card.class_names, rule_of_model(file))
    engine = TorchEngine(nn.Sequential(*network, _Probabilities()), chosen, threads)
    return Classifier(engine, file.card.class_names, rule_of_model(file))


def graph_of_model(
    file: ModelFile, network: Network, example: npt.NDArray[np.uint8], threads: int | None
) -> tuple[bytes, OnnxEngine]:
    """The content of an ONNX file, and what computes it: pixels in, OUTPUT out, float32 (n, classes);
    metadata: see engines.card.

    network: that of the file, on the CPU. example: some pictures, uint8 (n, side, side, 3), on which the
    graph is compared with PyTorch. Raises ExportError where it is another one, ImportError.
    """
    layers = nn.Sequential(network, nn.Softmax(1)).eval()
    card = OnnxCard(file.card.class_names, rule_of_model(file), file.card.model_digest)
    metadata = to_metadata(card)
    is_known = wants_onnx(network) and bool(network.spec.has_blocks)
    content, engine = checked_graph(layers, example, OUTPUT, metadata, threads, is_known)
    return seal(content), engine


def torch_engine(network: Network) -> Engine:
    """What the graph is to answer."""
    return TorchEngine(nn.Sequential(network, nn.Softmax(1)).eval())


def rule_of_model(file: ModelFile) -> Rule:
    """How photos become the pixels that it takes."""
    return rule_of(file.card.frame, file.card.white_level)
