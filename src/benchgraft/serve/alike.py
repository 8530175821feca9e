"""The training photos that the project's model finds most like one that is tried."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import Interrupted, UserError
from ..parallel import pieces
from ..tasks.alike import Neighbour, TrainingPhotos, training_photos
from ..tasks.predict import BATCH_SIZE, Photo, decoded

SHOWN = 4
WAITED = 3.0
"""Seconds that an answer waits for them at most: after a deeper training their features are made anew."""


class Alike:
    """Of one model at a time; the first question opens its training photos, in a thread of its own."""

    def __init__(self, folder: Path, options: Mapping[str, Any]) -> None:
        """options: of `adapt`: cache, device, threads."""
        self._folder, self._options = folder, options
        self._model: Path | None = None
        self._opened: Future[TrainingPhotos | None] = Future()
        self._cancel = threading.Event()
        self._thread: threading.Thread | None = None

    async def of(self, model: Path, photos: Sequence[tuple[str, bytes]]) -> list[list[Neighbour]] | None:
        """Of each of (name, bytes), the first SHOWN, none of one that cannot be read.

        None: they are still being opened, or cannot be. One event loop asks.
        """
        if model != self._model:
            await asyncio.to_thread(self._open, model)
        try:
            opened = asyncio.shield(asyncio.wrap_future(self._opened))
            training = await asyncio.wait_for(opened, WAITED)
        except (TimeoutError, Interrupted, UserError, MemoryError):
            return None
        return None if training is None else await asyncio.to_thread(_of, training, photos)

    def close(self) -> None:
        """End what is on its way."""
        self._cancel.set()
        if self._thread is not None:
            self._thread.join()

    def _open(self, model: Path) -> None:
        self.close()
        self._model, self._opened, self._cancel = model, Future(), threading.Event()
        self._thread = threading.Thread(target=self._work, args=(model, self._opened, self._cancel))
        self._thread.start()

    def _work(self, model: Path, opened: Future[TrainingPhotos | None], cancel: threading.Event) -> None:
        try:
            opened.set_result(training_photos(self._folder, model, **self._options, cancel=cancel))
        except BaseException as error:  # whoever asks must hear of it
            opened.set_exception(error)


def _of(training: TrainingPhotos, photos: Sequence[tuple[str, bytes]]) -> list[list[Neighbour]]:
    found: list[list[Neighbour]] = []
    for part in pieces(photos, BATCH_SIZE):
        read = [decoded(name, raw, training.rule) for name, raw in part]
        pixels = [photo.pixels for photo in read if isinstance(photo, Photo)]
        near = iter(training.most_alike(np.stack(pixels), SHOWN) if pixels else [])
        found += [next(near) if isinstance(photo, Photo) else [] for photo in read]
    return found
