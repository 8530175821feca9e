"""Questions 2 to 4: images a second of training steps, of answers, of decoded photos."""

from __future__ import annotations

from pathlib import Path
from statistics import median
from typing import Any

from export_material import export_photos
from rounds import Bench, Contender, run_rounds

from benchgraft.config.network import PAPER
from benchgraft.networks.build import build
from benchgraft.networks.cost import block_costs

TRAIN_BATCHES, TRAIN_IMAGES = (32, 64, 128, 256), 768
FORWARD_BATCHES, FORWARD_IMAGES = (1, 64, 256), 768
PHOTOS = 10_000
LARGEST_PIXEL_DIFFERENCE = 0.01
"""Of the mean pixel of the first photos: JPEG decoders round in their own ways."""

TRAINING = [
    Contender("benchgraft", "ours", is_ours=True),
    Contender("PyTorch, channels last", "torch_", {"channels_last": True}),
    Contender("PyTorch", "torch_", {"channels_last": False}),
    Contender("Keras/TensorFlow", "keras_"),
    Contender("Keras/JAX", "keras_", backend="jax"),
]
FORWARD = [
    Contender("benchgraft", "ours", is_ours=True),
    Contender("benchgraft, its ONNX file", "engines", {"engine": "benchgraft"}, is_ours=True),
    Contender("PyTorch, channels last", "torch_", {"channels_last": True}),
    Contender("PyTorch", "torch_", {"channels_last": False}),
    Contender("Keras/TensorFlow", "keras_"),
    Contender("ONNX Runtime", "engines", {"engine": "onnxruntime"}),
    Contender("OpenVINO", "engines", {"engine": "openvino"}),
]
DECODING = [
    Contender("benchgraft (checked, hashed and written)", "ours", is_ours=True),
    Contender("Pillow, one thread", "decoders", {"decoder": "pillow", "threads": 1}),
    Contender("Pillow, a thread for each core", "decoders", {"decoder": "pillow", "threads": 0}),
    Contender("simplejpeg, one thread", "decoders", {"decoder": "simplejpeg", "threads": 1}),
    Contender("simplejpeg, a thread for each core", "decoders", {"decoder": "simplejpeg", "threads": 0}),
    Contender("tf.data", "keras_"),
]


def training_megaflops() -> float:
    """Of one image in a training step: forward, and both gradients but conv1's for its input."""
    layers = block_costs(build(PAPER, 3, 0))
    return 3 * sum(layer.megaflops for layer in layers) - layers[0].megaflops


def measure_training(bench: Bench, _data: Path, quick: bool) -> dict[str, Any]:
    """Training steps of the whole network, SGD with Nesterov momentum; the first epoch warms up."""
    job = {"batches": TRAIN_BATCHES, "images": 256 if quick else TRAIN_IMAGES}
    measured = run_rounds(bench, TRAINING, "train", lambda _c, number: job | {"seed": number})
    return measured | {"megaflops": training_megaflops()}


def measure_forward(bench: Bench, _data: Path, quick: bool) -> dict[str, Any]:
    """Answers from pixels in memory; the first pass of each batch size warms up."""
    job = {"batches": FORWARD_BATCHES, "images": 128 if quick else FORWARD_IMAGES}
    measured = run_rounds(bench, FORWARD, "forward", lambda _c, _number: job)
    return measured | {"megaflops": sum(layer.megaflops for layer in block_costs(build(PAPER, 3, 0)))}


def measure_decoding(bench: Bench, data: Path, quick: bool) -> dict[str, Any]:
    """JPEG files from the page cache; Pillow's first pass has read them."""
    count = 1_000 if quick else PHOTOS
    photos = bench.work / f"photos-{count}"
    found = export_photos(data, photos, count)
    job = {"photos": str(photos.resolve())}
    measured = run_rounds(bench, DECODING, "decode", lambda _c, _number: job)
    _check_pixels(measured["results"])
    return measured | {"photos": found}


def _check_pixels(results: dict[str, Any]) -> None:
    """Raises ValueError if a decoder gave other pixels than rounding explains."""
    sums = [rounds[0]["sum"] for rounds in results.values() if rounds]
    if max(sums) - min(sums) > LARGEST_PIXEL_DIFFERENCE * max(sums):
        raise ValueError(f"decoders disagree: sums of the first photos are {sums}")


def rows(measured: dict[str, Any]) -> tuple[list[str], dict[str, dict[str, float]]]:
    """What was asked (batch sizes), and contender -> median images a second of each."""
    results = measured["results"]
    first = next(iter(results.values()))[0]["images_per_second"]
    medians = {
        name: {
            key: median(each["images_per_second"][key] for each in rounds)
            for key in rounds[0]["images_per_second"]
        }
        for name, rounds in results.items()
    }
    return list(first), medians
