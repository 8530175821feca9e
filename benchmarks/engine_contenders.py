"""Who computes in engines.py: benchgraft's engine, and others by hand, all in this process with its threads.

Everything is computed by the same frozen blocks (features) or the same whole network (answers). ONNX Runtime
and OpenVINO get the graph that benchgraft has written of them.
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from benchgraft.config.frame import Frame
from benchgraft.config.network import NetworkSpec
from benchgraft.engines.card import INPUT, OUTPUT
from benchgraft.engines.engine import Classifier
from benchgraft.engines.exporter import checked_graph
from benchgraft.engines.onnx_ import OnnxEngine
from benchgraft.engines.torch_ import TorchEngine
from benchgraft.networks.build import build
from benchgraft.networks.contract import Network, split_at
from benchgraft.networks.cost import block_costs
from benchgraft.parallel import in_parallel, pieces
from benchgraft.photos.decode import Rule, decode
from benchgraft.photos.readers import open_source
from benchgraft.store.store import Streaming, open_store
from benchgraft.tasks import predict
from benchgraft.training.feature_stream import FeatureStream
from benchgraft.training.features import FeatureCache

BATCH = 64
OURS, EAGER = "benchgraft", "PyTorch, channels last"
COMPILED, RUNTIME = "torch.compile", "ONNX Runtime"
LATENCY, OWN = "OpenVINO, LATENCY", "OpenVINO, THROUGHPUT, bfloat16"
REQUESTS = (1, 2, 4)
"""Photos a request of OpenVINO with THROUGHPUT; its documentation says one."""

Compute = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Material:
    """What everybody computes."""

    network: Network
    cut: str
    """Features are those after this block, all but the head."""
    threads: int
    features: nn.Sequential
    answers: nn.Sequential
    features_graph: bytes
    answers_graph: bytes

    @property
    def megaflops(self) -> float:
        """Of the features of a photo, a multiplication and an addition counted as two."""
        return sum(block.megaflops for block in block_costs(self.network)[:-1])


@dataclass(frozen=True)
class Contender:
    """An engine, ready to compute; None: not asked."""

    features: Compute | None
    """Of a batch."""
    answers: Compute | None
    """Of one photo."""


def material(name: str, threads: int) -> Material:
    """Random weights: they change no time."""
    network = build(NetworkSpec(family="timm", name=name), 10, seed=0).eval()
    cut, side = network.block_names[-2], network.spec.side
    layers = {
        OUTPUT: nn.Sequential(network, nn.Softmax(1)).eval(),
        "features": split_at(network, cut)[0].eval(),
    }
    example = np.random.default_rng(0).integers(0, 256, (8, side, side, 3), np.uint8)
    answers, features = (
        checked_graph(part, example, output, {}, threads, bool(network.spec.has_blocks))[0]
        for output, part in layers.items()
    )
    return Material(network, cut, threads, layers["features"], layers[OUTPUT], features, answers)


def contenders(given: Material) -> dict[str, Contender]:
    """By name. Those of OpenVINO are left out where it is not installed."""
    ours = [OnnxEngine(graph, given.threads).compute for graph in (given.features_graph, given.answers_graph)]
    eager = [TorchEngine(each, threads=given.threads).compute for each in (given.features, given.answers)]
    found = {
        OURS: Contender(*ours),
        EAGER: Contender(*eager),
        COMPILED: Contender(_compiled(given.features), _compiled(given.answers)),
        RUNTIME: Contender(
            *(_runtime(graph, given.threads) for graph in (given.features_graph, given.answers_graph))
        ),
    }
    if not has_openvino():
        return found
    found[LATENCY] = Contender(
        *(_openvino(graph, given.threads) for graph in (given.features_graph, given.answers_graph))
    )
    for photos in REQUESTS:
        found[throughput(photos)] = Contender(_openvino_queue(given, photos, "f32"), None)
    found[OWN] = Contender(_openvino_queue(given, 1, None), None)
    return found


def throughput(photos: int) -> str:
    """Name of OpenVINO with so many photos a request."""
    return f"OpenVINO, THROUGHPUT, {photos} a request"


def has_openvino() -> bool:
    """Whether it is installed."""
    return find_spec("openvino") is not None


def _compiled(layers: nn.Sequential) -> Compute:
    """With its weights as constants, as its documentation says for inference on the CPU."""
    import torch._inductor.config as inductor

    inductor.freezing = True
    run = torch.compile(layers, dynamic=False)

    def compute(pixels: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return run(torch.from_numpy(pixels)).numpy()

    return compute


def _runtime(graph: bytes, threads: int) -> Compute:
    """The documented way: default options, threads named."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    return lambda pixels: session.run(None, {INPUT: pixels})[0]


def _model(
    graph: bytes, hint: str, threads: int, precision: str | None, shape: list[int] | None = None
) -> Any:
    import openvino

    core = openvino.Core()
    model = core.read_model(graph)
    if shape:
        model.reshape({0: shape})
    hints: dict[str, Any] = {"PERFORMANCE_HINT": hint, "INFERENCE_NUM_THREADS": threads}
    if precision:  # else it may take bfloat16 by itself, and its answers are others
        hints["INFERENCE_PRECISION_HINT"] = precision
    return core.compile_model(model, "CPU", hints)


def _openvino(graph: bytes, threads: int) -> Compute:
    compiled = _model(graph, "LATENCY", threads, "f32")
    return lambda pixels: compiled(pixels)[0]


def _openvino_queue(given: Material, photos: int, precision: str | None) -> Compute:
    """Requests of so many photos, as many at once as it likes; a batch is a multiple of them."""
    import openvino

    side = given.network.spec.side
    shape = [photos, side, side, 3]
    queue = openvino.AsyncInferQueue(
        _model(given.features_graph, "THROUGHPUT", given.threads, precision, shape)
    )
    rows: dict[int, np.ndarray] = {}
    queue.set_callback(lambda done, place: rows.update({place: done.get_output_tensor(0).data.copy()}))

    def compute(pixels: np.ndarray) -> np.ndarray:
        for start in range(0, len(pixels), photos):
            queue.start_async({0: pixels[start : start + photos]}, start)
        queue.wait_all()
        return np.concatenate([rows[start] for start in range(0, len(pixels), photos)])

    return compute


def decoded(files: list[Path], rule: Rule) -> Iterator[np.ndarray]:
    """Photos in batches, decoded ahead by a thread for each core."""
    groups = in_parallel(
        lambda group: [decode(file.read_bytes(), rule)[0] for file in group], pieces(files, BATCH // 2)
    )
    photos = itertools.chain.from_iterable(groups)
    while batch := list(itertools.islice(photos, BATCH)):
        yield np.stack(batch)


def by_hand(compute: Compute, files: list[Path], rule: Rule) -> None:
    """Features of files: batches through an engine while the next photos are decoded."""
    for batch in decoded(files, rule):
        compute(batch)


def _warm(given: Material, graph: bytes) -> OnnxEngine:
    """With both of its sessions open, which take a tenth of a second each."""
    engine, side = OnnxEngine(graph, given.threads), given.network.spec.side
    engine.compute(np.zeros((BATCH, side, side, 3), np.uint8))
    return engine


def answered(given: Material, files: list[Path], rule: Rule) -> Callable[[], None]:
    """`predict` on these files, its model opened before: the program's own path, but for the function's check
    of its arguments, which opens the model anew at each call."""
    classifier = Classifier(_warm(given, given.answers_graph), [str(n) for n in range(10)], rule)
    paths = [str(file) for file in files]

    def answer() -> None:
        said = list(predict._answers(classifier, paths, 1, 0.0, lambda _line: None))
        if not all(isinstance(each, predict.Prediction) for each in said):
            raise SystemExit("a photo could not be read: choose other photos")

    return answer


def featurised(given: Material, folder: Path, frame: Frame, work: Path) -> Callable[[], None]:
    """Photos of a folder of classes to features in the cache as `adapt` makes them, nothing known before:
    files listed and hashed, decoded with their prints for the leak gate, features written."""
    engine = _warm(given, given.features_graph)

    def featurise() -> None:
        with tempfile.TemporaryDirectory(dir=work) as cache:
            features = FeatureStream(lambda _pixels: (FeatureCache(Path(cache), "features"), engine), BATCH)
            source = open_source("folder", folder)
            open_store(source, Path(cache), frame, streaming=Streaming(watch=features.watch))
            features.close()

    return featurise
