"""Class probabilities of photos by a model: any number of them, in order, in bounded memory.

Photos are decoded by threads while the model works on those before. An answer never depends on what else was
asked: PyTorch chooses other kernels for other batches, so that its are always full.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import NamedTuple, Unpack

import numpy as np
import numpy.typing as npt

from ..config.checking import checked
from ..config.options import PredictOptions
from ..config.requests import PredictRequest
from ..engines.engine import Classifier, compute_batch, open_classifier
from ..errors import DataError
from ..names import printable
from ..parallel import in_parallel
from ..photos.decode import CLIPPED, FINDINGS, ONE_COLOUR, Pixels, Rule, decode
from ..photos.formats import Undecodable
from ..photos.scan import Ignored, images_below, photos

BATCH_SIZE = 64
DECODED_AT_ONCE = 32
UNSURE = "unsure"
LARGEST_FILE = 1 << 28
"""Bytes; what is larger is no photo."""
_TOO_LARGE = f"larger than {LARGEST_FILE:,} bytes"
_SAID = {
    ONE_COLOUR: "of nearly one colour",
    CLIPPED: "of 16-bit grey beyond the white of the model, where what is brighter is lost",
}


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
    findings: tuple[str, ...] = ()
    """What looks like a mistake in the photo: see photos/decode.py, FINDINGS."""


@dataclass(frozen=True)
class Unreadable:
    """A path that no answer can be given for."""

    path: str
    reason: str


Answer = Prediction | Unreadable


class Photo(NamedTuple):
    """One that was decoded."""

    path: str
    pixels: Pixels
    """uint8 (size, size, 3)."""
    findings: tuple[str, ...]


def predict(
    model: Path | str, paths: Iterable[Path | str] | Path | str, **options: Unpack[PredictOptions]
) -> Iterator[Answer]:
    """One answer for each photo, in order. A folder stands for all the photos below it, by name.

    paths: one, or several, which may be as many as you like and come one by one.
    model: a model file, or an ONNX file (.onnx) that `export` has made of one: the same answers, with
    probabilities within 1e-5, without importing PyTorch, on the CPU alone. Photos are brought to the model's
    input by the rule that its file states. Options: see PredictRequest in benchgraft.config.requests.

    Raises at once RequestError for values that cannot be, ModelFileError for a model that cannot be used and
    ConfigError for a device that cannot; a photo that cannot be read is an answer of its own.
    """
    request = checked(PredictRequest, model=model, paths=paths, **options)
    say = request.say or (lambda _line: None)
    classifier = open_classifier(request.model, request.device, request.threads, say=say)
    return _answers(classifier, request.paths, request.top, request.unsure_below, say)


def decoded(path: str, raw: bytes, rule: Rule) -> Photo | Unreadable:
    """A photo of its bytes, by the rule of a model. path: what it is called in the answer."""
    try:
        pixels, conversions = decode(raw, rule)
    except (Undecodable, ValueError) as error:
        return Unreadable(path, printable(str(error)))
    return Photo(path, pixels, tuple(name for name in conversions if name in FINDINGS))


def answer_of(
    photo: Photo, row: npt.NDArray[np.float64], class_names: list[str], top: int, unsure_below: float
) -> Prediction:
    """row: (classes,), probabilities of the photo."""
    best = [
        (class_names[place], float(row[place])) for place in np.argsort(-row, kind="stable")[:top].tolist()
    ]
    name, probability = best[0]
    name = name if probability >= unsure_below else UNSURE
    return Prediction(photo.path, name, probability, tuple(best), photo.findings)


def _answers(
    classifier: Classifier,
    paths: Iterable[str],
    top: int,
    unsure_below: float,
    say: Callable[[str], None],
) -> Iterator[Answer]:
    waiting: list[Photo | Unreadable] = []
    passed, found = Ignored(), Ignored()
    for photo in _decoded(_files(paths, passed), classifier.rule):
        waiting.append(photo)
        if isinstance(photo, Photo):
            for finding in photo.findings:
                found.add(finding, photo.path)
        if sum(isinstance(item, Photo) for item in waiting) == BATCH_SIZE:
            yield from _answer(waiting, classifier, top, unsure_below)
            waiting = []
    yield from _answer(waiting, classifier, top, unsure_below)
    for line in passed.notes():
        say(line)
    for finding, count in found.kinds.items():
        say(f"{photos(count)} {_SAID[finding]}, such as {printable(found.first[finding])}")


def _answer(
    waiting: list[Photo | Unreadable], classifier: Classifier, top: int, unsure_below: float
) -> Iterator[Answer]:
    """Answers of one batch."""
    rows = iter(_probabilities(classifier, [item.pixels for item in waiting if isinstance(item, Photo)]))
    for item in waiting:
        if isinstance(item, Unreadable):
            yield item
        else:
            yield answer_of(item, next(rows), classifier.class_names, top, unsure_below)


def _probabilities(classifier: Classifier, pixels: list[Pixels]) -> npt.NDArray[np.float64]:
    """float64 (n, classes) of at most BATCH_SIZE photos, uint8 (size, size, 3) each."""
    if not pixels:
        return np.empty((0, 0))
    return np.asarray(compute_batch(classifier.engine, np.stack(pixels), BATCH_SIZE), np.float64)


def _decoded(paths: Iterator[str | Unreadable], rule: Rule) -> Iterator[Photo | Unreadable]:
    """Photos in order, a bounded number decoded ahead."""
    groups = iter(lambda: list(islice(paths, DECODED_AT_ONCE)), [])
    for group in in_parallel(lambda group: [_decode(path, rule) for path in group], groups):
        yield from group


def _decode(path: str | Unreadable, rule: Rule) -> Photo | Unreadable:
    if isinstance(path, Unreadable):
        return path
    try:
        file = Path(path)
        if file.stat().st_size > LARGEST_FILE:
            return Unreadable(path, _TOO_LARGE)
        raw = file.read_bytes()
    except (OSError, ValueError) as error:
        return Unreadable(path, printable(getattr(error, "strerror", None) or str(error)))
    return decoded(path, raw, rule)


def _files(paths: Iterable[str], passed: Ignored) -> Iterator[str | Unreadable]:
    for path in paths:
        if Path(path).is_dir():
            yield from _below(Path(path), passed)
        else:
            yield path


def _below(folder: Path, passed: Ignored) -> Iterator[str | Unreadable]:
    """All photos below a folder, by name; a folder without any, or that cannot be listed, is an answer."""
    here = Ignored()
    unlisted: list[tuple[str, DataError]] = []
    count = 0
    for name in images_below(folder, here, unlisted):
        count += 1
        yield str(folder / name)
    for place, error in unlisted:
        yield Unreadable(place, error.what)
    if count:
        passed.add_all(here)
    elif not unlisted:
        reason = "; ".join(["a folder without photos", *here.notes(folder)])
        yield Unreadable(str(folder), reason)
