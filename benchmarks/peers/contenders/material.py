"""What all contenders get: the same pixels, labels, start weights, and answers to agree with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

LAYERS = (
    "conv2d_1", "batch_normalization_1", "max_pooling2d_1", "conv2d_2", "batch_normalization_2",
    "max_pooling2d_2", "conv2d_3", "conv2d_4", "max_pooling2d_3", "dense_1", "dense_2", "dense_3",
)  # fmt: skip
HEAD = "dense_3"
LARGEST_DIFFERENCE = 1e-4
SEEDS = 8
"""So many different starts there are."""
CLASSES = ("apple", "pear", "noise")
"""In the order of the labels."""
SIDES = {"train": "Training", "validation": "Validation"}
"""Folders of photos/, with a folder for each class and in it the files, named by their rows in images.npz."""
LARGEST_PIXEL_DIFFERENCE = 2.0
"""Mean over all pixels, in grey levels: JPEG decoders round in their own ways."""
Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Split:
    """Pixels uint8 (n, 100, 100, 3) and labels int64 (n,)."""

    pixels: np.ndarray
    labels: np.ndarray


def splits(job: dict[str, Any]) -> dict[str, Split]:
    """`train`, `validation` and `test`, in memory."""
    with np.load(Path(job["material"]) / "images.npz") as file:
        names = ("train", "validation", "test")
        return {name: Split(file[f"{name}_pixels"], file[f"{name}_labels"]) for name in names}


def photos(job: dict[str, Any]) -> dict[str, tuple[list[str], np.ndarray]]:
    """JPEG files of `train` and `validation` and their labels int64 (n,), in the order of `splits`."""
    found = {}
    for name, side in SIDES.items():
        files = sorted((Path(job["material"]) / "photos" / side).glob("*/*.jpg"), key=lambda path: path.name)
        labels = np.array([CLASSES.index(path.parent.name) for path in files], np.int64)
        found[name] = ([str(path) for path in files], labels)
    return found


def check_photos(job: dict[str, Any], decoded: dict[str, Split]) -> float:
    """Mean difference of the decoded photos from `splits`, in grey levels. Raises ValueError if they differ.

    decoded: `train` and `validation`, in the order of `splits`.
    """
    differences = []
    for name, expected in splits(job).items():
        if name not in SIDES:
            continue
        if not np.array_equal(decoded[name].labels, expected.labels):
            raise ValueError(f"{name}: the photos have other labels than the pixels in memory")
        differences.append(np.abs(decoded[name].pixels.astype(np.int16) - expected.pixels).mean())
    if not max(differences) <= LARGEST_PIXEL_DIFFERENCE:
        raise ValueError(f"the photos were decoded otherwise: pixels differ by {max(differences):.1f}")
    return float(max(differences))


def part(job: dict[str, Any]) -> tuple[Split, int]:
    """Images of one stage of the paper, and how many classes it has."""
    with np.load(Path(job["material"]) / f"{job['part']}.npz") as file:
        return Split(file["pixels"], file["labels"]), int(file["classes"])


def weights(job: dict[str, Any]) -> Arrays:
    """Arrays of the pretrained network as PyTorch names and shapes them."""
    with np.load(Path(job["material"]) / "weights.npz") as file:
        return {name: file[name] for name in file.files}


def started(job: dict[str, Any]) -> Arrays:
    """Weights that a training starts from: this seed's random ones, or the pretrained with its new head."""
    if job.get("from_scratch"):
        with np.load(Path(job["material"]) / f"random-{job['seed'] % SEEDS}.npz") as file:
            return {name: file[name] for name in file.files}
    return retrained(weights(job), job)


def retrained(pretrained: Arrays, job: dict[str, Any]) -> Arrays:
    """The same with this seed's new head for the classes of the retraining."""
    with np.load(Path(job["material"]) / "heads.npz") as file:
        weight = file[str(job["seed"] % SEEDS)]
    return pretrained | {f"{HEAD}.weight": weight, f"{HEAD}.bias": np.zeros(len(weight), np.float32)}


def variants(job: dict[str, Any]) -> tuple[str, ...]:
    """Of a contender that keeps features; a search does not need the second."""
    return ("cold",) if job.get("searching") else ("cold", "warm")


def check_agreement(job: dict[str, Any], logits: np.ndarray) -> float:
    """Largest difference of the pretrained network's probabilities. Raises ValueError if they do not agree.

    logits: of the first validation images, as many as the material has answers for.
    """
    expected = np.load(Path(job["material"]) / "expected.npy")
    difference = float(np.abs(softmax(logits) - softmax(expected)).max())
    if not difference <= LARGEST_DIFFERENCE:
        raise ValueError(f"the converted network answers otherwise: probabilities differ by {difference:.1e}")
    return difference


def examples(job: dict[str, Any], validation: Split) -> np.ndarray:
    """The images that check_agreement wants answers for."""
    return validation.pixels[: len(np.load(Path(job["material"]) / "expected.npy"))]


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities, float64."""
    powers = np.exp(logits.astype(np.float64) - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)
