"""The feature cache: the output of a constant prefix for every image of a stage, computed once.

The key covers everything that the features depend on: weights and buffers of the prefix, its layers, the
version of the input scaling, the content of every image in order, its stored size, batch size, dtype and
PyTorch's version. A retrained earlier stage can therefore never serve stale features.
"""

from __future__ import annotations

import json
import math
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..files import digest_array, digest_bytes, write_folder_whole
from ..ledger import dump_json
from ..model.freeze import split_at, tensor_digest
from ..model.paper_cnn import PaperCNN
from ..progress import Progress
from .batches import Rows, rows_of
from .evaluate import full_batches

FORMAT = 1
DEFAULT_LIMIT_BYTES = 1 << 30


@dataclass(frozen=True)
class Cut:
    """A place where the constant prefix may end, with what was measured there."""

    layer: str
    image_bytes: int
    forward_seconds: float
    """Prefix forward of one image: what an uncached epoch pays for it."""
    read_seconds: float
    """Reading its features instead."""


def measure_cuts(model: PaperCNN, prefix: list[str], pixels: Rows, batch_size: int) -> list[Cut]:
    """Every possible cut of the prefix, timed layer by layer on one batch of real images."""
    positions, _ = next(full_batches(pixels, batch_size))
    layers = [model.get_submodule(name).eval() for name in prefix]
    forward = [math.inf] * len(prefix)
    read = [math.inf] * len(prefix)
    image_bytes = [0] * len(prefix)
    with torch.no_grad():
        for _ in range(3):
            x = pixels.take(positions)
            for place, layer in enumerate(layers):
                start = time.perf_counter()
                x = layer(x)
                _wait_for(x)
                forward[place] = min(forward[place], time.perf_counter() - start)
                # A ReLU may work in place on its own layer's output only, so `x` is this layer's result.
                features = _to_storage(x)
                image_bytes[place] = features[0].nbytes
                start = time.perf_counter()
                features.copy()
                read[place] = min(read[place], time.perf_counter() - start)
    return [
        Cut(name, image_bytes[place], sum(forward[: place + 1]) / batch_size, read[place] / batch_size)
        for place, name in enumerate(prefix)
        if place
    ]


def choose_cut(cuts: list[Cut], images: int, epochs: int, limit_bytes: int) -> str | None:
    """The cut that saves most time over the epochs and fits the limit; None if none pays.

    An uncached run pays forward_seconds for each image and epoch, a cached one pays it once and then reads.
    """
    best, most = None, 0.0
    for cut in cuts:
        saved = epochs * (cut.forward_seconds - cut.read_seconds) - cut.forward_seconds
        if images * cut.image_bytes <= limit_bytes and saved > most:
            best, most = cut.layer, saved
    return best


def feature_key(
    model: PaperCNN, cut: str, digests: npt.NDArray[np.uint64], image_size: int, batch_size: int
) -> str:
    """64 hex digits that change whenever any feature could."""
    part, _ = split_at(model, cut)
    state = {name: tensor_digest(tensor) for name, tensor in part.state_dict().items()}
    names = model.layer_names
    facts: list[Any] = [
        FORMAT,
        names[: names.index(cut) + 1],
        state,
        model.config.model_dump(),
        digest_array(digests),
        image_size,
        batch_size,
        "float32",
        torch.__version__,
    ]
    return digest_bytes(dump_json(facts).encode())


def open_features(cache: Path, key: str) -> npt.NDArray[np.float32] | None:
    """The features under this key, memory-mapped, or None if there are none or they are damaged."""
    folder = cache / "features" / key
    try:
        expected = json.loads((folder / "features.json").read_text())["digest"]
        array: npt.NDArray[np.float32] = np.load(folder / "features.npy", mmap_mode="c", allow_pickle=False)
    except (OSError, ValueError, KeyError):
        return None
    return array if digest_array(array) == expected else None


def compute_features(
    model: PaperCNN, cut: str, pixels: Rows, batch_size: int, cache: Path, key: str, progress: Progress
) -> npt.NDArray[np.float32]:
    """Apply the prefix up to `cut` to all rows of `pixels`, in batches of the loop's size; store the result.

    Returns float32 (n, H, W, C) or (n, F), row i for position i of `pixels`, memory-mapped.
    """
    prefix, _ = split_at(model, cut)
    prefix.eval()
    folder = cache / "features" / key
    if folder.exists():  # open_features found it damaged
        shutil.rmtree(folder)
    with write_folder_whole(folder) as temporary:
        array = None
        with torch.no_grad(), progress.track(len(pixels), "features") as advance:
            done = 0
            for positions, count in full_batches(pixels, batch_size):
                part = _to_storage(prefix(pixels.take(positions)))[:count]
                if array is None:
                    array = np.lib.format.open_memmap(
                        temporary / "features.npy", "w+", np.float32, (len(pixels), *part.shape[1:])
                    )
                array[done : done + count] = part
                done += count
                advance(count)
        assert array is not None
        array.flush()
        (temporary / "features.json").write_text(json.dumps({"digest": digest_array(array), "cut": cut}))
        del array
    opened = open_features(cache, key)
    assert opened is not None
    return opened


def difference_from_uncached(
    model: PaperCNN, cut: str, pixels: Rows, features: npt.NDArray[np.float32], batch_size: int
) -> float:
    """Largest difference of cached features from a fresh forward of one shuffled batch; 0.0 is bit-equal."""
    positions = torch.from_numpy(np.random.default_rng(0).integers(len(pixels), size=batch_size))
    prefix, _ = split_at(model, cut)
    prefix.eval()
    with torch.no_grad():
        fresh = _to_storage(prefix(pixels.take(positions)))
    return float(np.abs(fresh - features[positions.numpy()]).max())


def feature_rows(features: npt.NDArray[np.float32], start: int, labels: Tensor, device: torch.device) -> Rows:
    """Rows over features[start : start + n] with n labels."""
    index = np.arange(start, start + len(labels))
    return rows_of(features, index, labels.numpy(), device)


def _to_storage(output: Tensor) -> npt.NDArray[np.float32]:
    if output.dim() == 4:
        output = output.permute(0, 2, 3, 1)
    return output.contiguous().cpu().numpy()


def _wait_for(output: Tensor) -> None:
    """Accelerators work on while Python goes on; the clock must not."""
    if output.device.type == "cuda":
        torch.cuda.synchronize()
    elif output.device.type == "mps":
        torch.mps.synchronize()
