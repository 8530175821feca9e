"""The training photos that the project's model finds most like one that is tried."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import Interrupted, UserError
from ..names import printable
from ..parallel import pieces
from ..tasks.alike import TrainingPhotos, training_photos
from ..tasks.predict import BATCH_SIZE, Photo, decoded
from .project import Project

SHOWN, SPARE = 4, 8
"""Photos shown, and looked for beside them, as some may have been taken out since."""
WAITED = 3.0
"""Seconds that answers wait for the opening at most: after a deeper training features are made anew."""
AGAIN = 10.0
"""Seconds after which an opening that failed is tried again."""


@dataclass(frozen=True)
class Found:
    """Of some photos."""

    photos: list[list[dict[str, Any]]] | None
    """Of each, the most alike first, with key, label and similarity; None: not known, or not yet."""
    why_none: str | None = None
    """None as well: they are being looked for."""


class Alike:
    """Of one model at a time; the first question opens its training photos, in a thread of its own."""

    def __init__(self, project: Project, options: Mapping[str, Any]) -> None:
        """options: of `adapt`: cache, device, threads."""
        self._project, self._options = project, options
        self._opening: _Opening | None = None

    async def of(self, model: Path, photos: Sequence[tuple[str, bytes]]) -> Found:
        """For (name, bytes); none for a photo that cannot be read. Never fails; for one event loop."""
        opening = self._opening
        if opening is None or opening.model != model or opening.is_to_be_tried_again():
            opening = self._opening = self._open(model)
        left = max(0.0, opening.started + WAITED - time.monotonic())
        await asyncio.wait([asyncio.wrap_future(opening.opened)], timeout=left)
        if not opening.opened.done():
            return Found(None)
        try:
            return Found(await asyncio.to_thread(self._of, opening.opened.result(), photos))
        except Interrupted:
            return Found(None)
        except UserError as error:
            return Found(None, error.what)
        except Exception as error:  # the answers are there: this is beside them
            return Found(None, printable(f"{type(error).__name__}: {error}"))

    def close(self) -> None:
        """End what is on its way."""
        if self._opening is not None:
            self._opening.cancel.set()
            self._opening.thread.join()

    def _open(self, model: Path) -> _Opening:
        before = self._opening
        opening = _Opening(model)

        def work() -> None:
            if before is not None:
                before.cancel.set()
                before.thread.join()
            try:
                options = {**self._options, "cancel": opening.cancel}
                opening.opened.set_result(training_photos(self._project.folder, model, **options))
            except BaseException as error:  # whoever asks must hear of it
                opening.opened.set_exception(error)

        opening.thread = threading.Thread(target=work, name="alike")
        opening.thread.start()
        return opening

    def _of(
        self, training: TrainingPhotos, photos: Sequence[tuple[str, bytes]]
    ) -> list[list[dict[str, Any]]]:
        there = self._project.listed().samples
        found: list[list[dict[str, Any]]] = []
        for part in pieces(photos, BATCH_SIZE):
            read = [decoded(name, raw, training.rule) for name, raw in part]
            pixels = [photo.pixels for photo in read if isinstance(photo, Photo)]
            near = iter(training.most_alike(np.stack(pixels), SHOWN + SPARE) if pixels else [])
            for photo in read:
                some = next(near) if isinstance(photo, Photo) else []
                facts = [
                    {"key": each.key, "label": there[each.key].class_name, "similarity": each.similarity}
                    for each in some
                    if each.key in there
                ]
                found.append(facts[:SHOWN])
        return found


@dataclass(eq=False)
class _Opening:
    model: Path
    started: float = field(default_factory=time.monotonic)
    opened: Future[TrainingPhotos] = field(default_factory=Future)
    cancel: threading.Event = field(default_factory=threading.Event)
    thread: threading.Thread = field(default_factory=threading.Thread)

    def is_to_be_tried_again(self) -> bool:
        """A failure may be past: a full disk, a table that was just being edited."""
        is_failed = self.opened.done() and self.opened.exception() is not None
        return is_failed and time.monotonic() > self.started + AGAIN
