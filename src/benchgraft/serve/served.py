"""A model that answers: several requests in one batch, and a file that is replaced is taken up."""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ..engines.engine import Classifier, open_classifier
from ..errors import UserError
from ..files import facts_of
from ..parallel import usable_cores
from ..tasks.predict import BATCH_SIZE, Answer, Unreadable, answer_of, decoded
from .metrics import Metrics

LOOK_EVERY = 0.5
"""Seconds between two looks at the file."""
Row = npt.NDArray[np.float64]


class TooBusyError(Exception):
    """More photos wait than may."""


class Room:
    """Places for photos that wait; for the event loop's thread alone."""

    def __init__(self, places: int) -> None:
        self._free = places

    def take(self, count: int) -> None:
        """Raises TooBusyError where there are not so many."""
        if count > self._free:
            raise TooBusyError
        self._free -= count

    def give(self, count: int) -> None:
        """Back."""
        self._free += count


class _Waiting(NamedTuple):
    classifier: Classifier
    pixels: npt.NDArray[np.uint8]
    row: Future[Row]


class Served:
    """One model by its name."""

    def __init__(
        self,
        name: str,
        path: Path,
        open_model: Callable[[Path], Classifier],
        room: Room,
        metrics: Metrics,
        say: Callable[[str], None],
    ) -> None:
        """room: shared by all models. Raises what opening the model raises."""
        self.name, self.path = name, path
        facts = self._look_at()  # before it is opened: what comes later is another one
        self._open, self._room, self._metrics, self._say = open_model, room, metrics, say
        self.classifier = open_model(path)
        self._facts = facts
        self._looked, self._loading = time.monotonic(), threading.Lock()
        self._decoders = ThreadPoolExecutor(usable_cores(), thread_name_prefix="decode")
        self._waiting: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._worker = threading.Thread(target=self._work, name=f"answer {name}", daemon=True)
        self._worker.start()

    async def answers(
        self, photos: Sequence[tuple[str, bytes]], top: int, unsure_below: float
    ) -> list[Answer]:
        """Of (name, bytes), in order, all by one state of the model. Raises TooBusyError."""
        self._look()
        classifier = self.classifier
        self._room.take(len(photos))
        try:
            one = (self._answer(classifier, name, raw, top, unsure_below) for name, raw in photos)
            return list(await asyncio.gather(*one))
        finally:
            self._room.give(len(photos))

    def close(self) -> None:
        """Answer what waits, and end."""
        self._waiting.put(None)
        self._worker.join()
        self._decoders.shutdown()

    async def _answer(
        self, classifier: Classifier, name: str, raw: bytes, top: int, unsure_below: float
    ) -> Answer:
        loop = asyncio.get_running_loop()
        photo = await loop.run_in_executor(self._decoders, decoded, name, raw, classifier.rule)
        if isinstance(photo, Unreadable):
            return photo
        row: Future[Row] = Future()
        self._waiting.put(_Waiting(classifier, photo.pixels, row))
        found = await asyncio.wrap_future(row)
        return answer_of(photo, found, classifier.class_names, top, unsure_below)

    def _work(self) -> None:
        """Batch after batch: of what waits when the one before is done, and nothing waits to be more."""
        left: _Waiting | None = None
        while True:
            first = left or self._waiting.get()
            if first is None:
                return
            batch, left, is_last = [first], None, False
            while len(batch) < BATCH_SIZE and not self._waiting.empty():
                following = self._waiting.get()
                if following is None:
                    is_last = True
                    break
                if following.classifier is not first.classifier:
                    left = following
                    break
                batch.append(following)
            self._compute(batch)
            if is_last:
                return

    def _compute(self, batch: list[_Waiting]) -> None:
        batch = [each for each in batch if each.row.set_running_or_notify_cancel()]  # some may be gone
        if not batch:
            return
        try:
            rows = batch[0].classifier.probabilities(np.stack([each.pixels for each in batch]))
        except Exception as error:  # whatever it is, those who wait must hear of it
            for each in batch:
                each.row.set_exception(error)
            return
        self._metrics.batch(self.name, len(batch))
        for each, row in zip(batch, rows, strict=True):
            each.row.set_result(row)

    def _look(self) -> None:
        """At the file, now and then; another one is opened beside the answering."""
        if time.monotonic() - self._looked < LOOK_EVERY or not self._loading.acquire(blocking=False):
            return
        self._looked = time.monotonic()
        facts = self._look_at()
        if facts is None or facts == self._facts:
            self._loading.release()
        else:
            self._facts = facts
            threading.Thread(target=self._take_up, daemon=True).start()

    def _look_at(self) -> tuple[int, int, int] | None:
        """None: it is not there."""
        try:
            return facts_of(self.path)
        except OSError:
            return None

    def _take_up(self) -> None:
        try:
            self.classifier = self._open(self.path)
            self._metrics.reload(self.name, is_taken=True)
            self._say(f"{self.name}: {self.path} was replaced, the new model answers")
        except UserError as error:  # perhaps half-written: its facts will change again
            self._metrics.reload(self.name, is_taken=False)
            self._say(f"{self.name}: {self.path} was replaced, and the old model stays: {error.what}")
        finally:
            self._loading.release()


def open_on(
    device: str,
    threads: int | None,
    cache: Path | None = None,
    say: Callable[[str], None] = lambda _line: None,
) -> Callable[[Path], Classifier]:
    """Opens models there. say: is told where PyTorch answers instead of ONNX Runtime."""
    return lambda path: open_classifier(path, device, threads, cache, say)
