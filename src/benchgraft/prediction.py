"""Class probabilities of photos by a model: any number of them, in order, in bounded memory.

Photos are decoded by threads while the model works on those before. Every batch is full, so that an answer
never depends on what else was asked: PyTorch chooses other kernels for other batches, and ONNX Runtime
promises nothing, though at all sizes that we tried its answers were the same bits.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt

from .classifier import Classifier, open_classifier
from .data.decode import Fit, Undecodable, decode
from .data.names import printable
from .data.parallel import in_parallel
from .data.scan import images_below
from .values import as_fraction, as_model, as_paths, at_least_one, named

BATCH_SIZE = 64
DECODED_AT_ONCE = 32
UNSURE = "unsure"
LARGEST_FILE = 1 << 28
"""Bytes; what is larger is no photo."""


@dataclass(frozen=True)
class Prediction:
    """What the model says of one photo."""

    path: str
    class_name: str
    """The likeliest class; `unsure` where its probability is below what the user asked for."""
    probability: float
    """Of the likeliest class."""
    top: tuple[tuple[str, float], ...]
    """The likeliest classes with their probabilities, the likeliest first."""


@dataclass(frozen=True)
class Unreadable:
    """A path that no answer can be given for."""

    path: str
    reason: str


Answer = Prediction | Unreadable


def predict(
    model: Path | str,
    paths: Iterable[Path | str] | Path | str,
    *,
    top: int = 1,
    unsure_below: float = 0.0,
    device: str = "auto",
    threads: int | None = None,
) -> Iterator[Answer]:
    """One answer for each photo, in order. A folder stands for all the photos below it, by name.

    paths: one, or several, which may be as many as you like and come one by one.
    model: a model file, or an ONNX file (.onnx) that `export` has made of one: the same answers, with
    probabilities within 1e-5, without importing PyTorch, on the CPU alone. top: how many classes each answer
    lists. Photos are brought to the model's input by the rule that its file states.

    Raises at once RequestError for values that cannot be, ModelFileError for a model that cannot be used and
    ConfigError for a device that cannot; a photo that cannot be read is an answer of its own.
    """
    with named("model"):
        path = as_model(model)
    with named("paths"):
        given = as_paths(paths)
    with named("top"):
        count = at_least_one(top)
    with named("unsure_below"):
        least = as_fraction(unsure_below)
    if threads is not None:
        with named("threads"):
            threads = at_least_one(threads)
    return _answers(open_classifier(path, device, threads), _files(given), count, least)


def _answers(classifier: Classifier, paths: Iterator[str], top: int, unsure_below: float) -> Iterator[Answer]:
    waiting: list[tuple[str, npt.NDArray[np.uint8] | Unreadable]] = []
    for path, result in _decoded(paths, classifier.image_size, classifier.fit):
        waiting.append((path, result))
        if sum(not isinstance(item, Unreadable) for _, item in waiting) == BATCH_SIZE:
            yield from _answer(waiting, classifier, top, unsure_below)
            waiting = []
    yield from _answer(waiting, classifier, top, unsure_below)


def _answer(
    waiting: list[tuple[str, npt.NDArray[np.uint8] | Unreadable]],
    classifier: Classifier,
    top: int,
    unsure_below: float,
) -> Iterator[Answer]:
    """Answers of one batch."""
    names = classifier.class_names
    photos = [item for _, item in waiting if not isinstance(item, Unreadable)]
    rows = iter(_probabilities(classifier, photos))
    for path, item in waiting:
        if isinstance(item, Unreadable):
            yield item
            continue
        row = next(rows)
        best = [(names[place], float(row[place])) for place in np.argsort(-row, kind="stable")[:top].tolist()]
        name, probability = best[0]
        yield Prediction(path, name if probability >= unsure_below else UNSURE, probability, tuple(best))


def _probabilities(classifier: Classifier, photos: list[npt.NDArray[np.uint8]]) -> npt.NDArray[np.float64]:
    """float64 (n, classes) of at most BATCH_SIZE photos, uint8 (size, size, 3) each; the last fills up."""
    if not photos:
        return np.empty((0, 0))
    filled = photos + [photos[-1]] * (BATCH_SIZE - len(photos))
    return classifier.probabilities(np.stack(filled))[: len(photos)]


def _decoded(
    paths: Iterator[str], size: int, fit: Fit
) -> Iterator[tuple[str, npt.NDArray[np.uint8] | Unreadable]]:
    """Photos in order, a bounded number decoded ahead."""
    groups = iter(lambda: list(islice(paths, DECODED_AT_ONCE)), [])
    for group in in_parallel(lambda group: [(path, _decode(path, size, fit)) for path in group], groups):
        yield from group


def _decode(path: str, size: int, fit: Fit) -> npt.NDArray[np.uint8] | Unreadable:
    try:
        file = Path(path)
        if file.is_dir():
            return Unreadable(path, "a folder without photos")
        if file.stat().st_size > LARGEST_FILE:
            return Unreadable(path, f"larger than {LARGEST_FILE:,} bytes")
        return decode(file.read_bytes(), size, fit)[0]
    except Undecodable as error:
        return Unreadable(path, str(error))
    except (OSError, ValueError) as error:
        return Unreadable(path, printable(getattr(error, "strerror", None) or str(error)))


def _files(paths: Iterable[str]) -> Iterator[str]:
    for path in paths:
        if Path(path).is_dir():
            yield from _below(Path(path))
        else:
            yield path


def _below(folder: Path) -> Iterator[str]:
    """All photos below a folder, sorted; itself if there are none. Foreign files are passed over."""
    names = images_below(folder)
    first = next(names, None)
    yield str(folder if first is None else folder / first)
    yield from (str(folder / name) for name in names)
