"""What goes on, told as it happens as plain data that any front can show; and, the other way, a wish to stop.

A front is a function of one event. That of a terminal shows tasks and lines (`Shown`); a page sends each of
them on, its fields under the name of its class; a job in another process puts it into a queue.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from .errors import Interrupted
from .progress import Advance, NoProgress, Progress


@dataclass(frozen=True)
class TaskStarted:
    """Something that may take long begins."""

    task: str
    """Names it among all tasks, in whatever process; they may lie in each other."""
    what: str
    """In plain words, such as "decode images"."""
    total: int
    """Units of work; 0 if nobody knows how many."""


@dataclass(frozen=True)
class TaskAdvanced:
    """So many units more of a task are done."""

    task: str
    count: int


@dataclass(frozen=True)
class TaskEnded:
    """A task has ended."""

    task: str
    is_whole: bool
    """False where it was stopped, or failed."""


@dataclass(frozen=True)
class EpochEnded:
    """A run has passed over its training images once more, and was validated."""

    run: str
    """Arm, or stage of a preparation, and seed: "transfer, seed 3"."""
    epoch: int
    """From 1; an attempt after one that diverged begins anew."""
    epochs: int
    """At most."""
    loss: float
    """Mean of the epoch's steps; of these three, losses are in nats and the accuracy is a fraction."""
    validation_loss: float
    validation_accuracy: float


@dataclass(frozen=True)
class ParentTried:
    """A parent was tried on some of the photos, with a head on its frozen features."""

    parent: str
    fit: str
    """How photos were brought to its input."""
    balanced_accuracy: float
    """On photos that the head had not seen; a fraction."""
    seconds: float


@dataclass(frozen=True)
class RunFinished:
    """A run has ended, with a model or, `kind` of the record being "diverged", without."""

    run: str
    record: Mapping[str, Any]
    """As a line of the ledger has it."""


@dataclass(frozen=True)
class Note:
    """A line for people."""

    line: str


Event = TaskStarted | TaskAdvanced | TaskEnded | EpochEnded | ParentTried | RunFinished | Note
Listen = Callable[[Event], None]


class Cancel(Protocol):
    """Whether a task is to stop: a threading.Event, that of multiprocessing, or anything like them."""

    def is_set(self) -> bool:
        """Whether the user has asked."""
        ...


class Shown:
    """A listener that shows tasks with a Progress, and gives lines to `say`; it passes over all else."""

    def __init__(self, progress: Progress | None, say: Callable[[str], None] | None) -> None:
        self._progress = progress or NoProgress()
        self._say = say
        self._open: dict[str, tuple[AbstractContextManager[Advance], Advance]] = {}

    def __call__(self, event: Event) -> None:
        """Show it."""
        if isinstance(event, Note) and self._say:
            self._say(event.line)
        elif isinstance(event, TaskStarted):
            shown = self._progress.track(event.total, event.what)
            self._open[event.task] = shown, shown.__enter__()
        elif isinstance(event, TaskAdvanced):
            self._open[event.task][1](event.count)
        elif isinstance(event, TaskEnded):
            shown, _ = self._open.pop(event.task)
            if event.is_whole:
                shown.__exit__(None, None, None)
            else:
                shown.__exit__(Interrupted, Interrupted(), None)


class Events:
    """Where whatever works tells of it, and asks whether it is to go on: handed down, never global."""

    def __init__(
        self,
        listen: Listen | None = None,
        cancel: Cancel | None = None,
        progress: Progress | None = None,
        say: Callable[[str], None] | None = None,
    ) -> None:
        """listen: takes each event. progress, say: shown on as well. None: nobody listens, nobody cancels."""
        self._listen = listen
        self._shown = Shown(progress, say)
        self._cancel = cancel

    @property
    def is_cancelled(self) -> bool:
        """Whether the user has asked to stop."""
        return self._cancel is not None and self._cancel.is_set()

    def stop_if_cancelled(self) -> None:
        """Raises Interrupted where the user has asked to stop."""
        if self.is_cancelled:
            raise Interrupted

    def tell(self, event: Event) -> None:
        """Pass an event on."""
        self._shown(event)
        if self._listen:
            self._listen(event)

    def say(self, line: str) -> None:
        """Pass on a line for people."""
        self.tell(Note(line))

    @contextlib.contextmanager
    def follow(self, total: int, what: str) -> Iterator[Advance]:
        """Tell of a task, for one that looks itself whether it is to stop."""
        task = os.urandom(8).hex()
        self.tell(TaskStarted(task, what, total))
        is_whole = False
        try:
            yield lambda count: self.tell(TaskAdvanced(task, count))
            is_whole = True
        finally:
            self.tell(TaskEnded(task, is_whole))

    @contextlib.contextmanager
    def track(self, total: int, what: str) -> Iterator[Advance]:
        """Tell of a task, as a Progress does; each advance raises Interrupted where it is to stop."""
        self.stop_if_cancelled()
        with self.follow(total, what) as advance:

            def advanced(count: int) -> None:
                advance(count)
                self.stop_if_cancelled()

            yield advanced
