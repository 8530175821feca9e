"""Tell the user how far a long task is: a bar on a terminal, plain lines elsewhere, or nothing."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Protocol, TextIO

Advance = Callable[[int], None]
QUIET_SECONDS = 2.0
LINE_SECONDS = 5.0


class Progress(Protocol):
    """`with progress.track(total, "decode images") as advance:` then `advance(n)` as work gets done."""

    def track(self, total: int, what: str) -> AbstractContextManager[Advance]:
        """Follow a task of `total` units, 0 if nobody knows how many; `what` in plain words."""
        ...


class NoProgress:
    """Says nothing: the default of every function that takes a Progress."""

    def track(self, total: int, what: str) -> AbstractContextManager[Advance]:  # noqa: ARG002
        """Follow nothing."""
        return contextlib.nullcontext(lambda _: None)


class PlainProgress:
    """One line every few seconds, for logs and pipes. Tasks under two seconds print nothing."""

    def __init__(self, stream: TextIO | None = None, every: float = LINE_SECONDS) -> None:
        self._stream = stream or sys.stderr
        self._every = every

    @contextlib.contextmanager
    def track(self, total: int, what: str) -> Iterator[Advance]:
        """Follow a task; the last line says how long it took."""
        started = time.monotonic()
        due = started + min(QUIET_SECONDS, self._every)
        done = 0
        has_spoken = False

        def advance(count: int) -> None:
            nonlocal done, due, has_spoken
            done += count
            moment = time.monotonic()
            if moment >= due and (done < total or not total):
                has_spoken = True
                due = moment + self._every
                left = f" of {total:,}, {_left(moment - started, done, total)} left" if total else ""
                self._say(f"{what}: {done:,}{left}")

        yield advance
        if has_spoken:
            of_total = f" of {total:,}" if total else ""
            self._say(f"{what}: {done:,}{of_total} in {time.monotonic() - started:.1f} s")

    def _say(self, line: str) -> None:
        print(line, file=self._stream, flush=True)


class BarProgress:
    """A bar with the time left, which disappears at the end. Tasks under two seconds show none."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr

    @contextlib.contextmanager
    def track(self, total: int, what: str) -> Iterator[Advance]:
        """Follow a task. A bar inside a bar stays silent, as a terminal shows one at a time."""
        from rich.console import Console
        from rich.markup import escape
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=Console(file=self._stream),
            transient=True,
            refresh_per_second=5,
        )
        task = bar.add_task(escape(what), total=total or None)
        started = time.monotonic()
        is_shown = False

        def advance(count: int) -> None:
            nonlocal is_shown
            bar.advance(task, count)
            if not is_shown and time.monotonic() - started >= QUIET_SECONDS:
                is_shown = True
                with contextlib.suppress(Exception):  # rich refuses a second live bar; work goes on without
                    bar.start()

        try:
            yield advance
        finally:
            if is_shown:  # rich prints an empty line for a bar that never started
                bar.stop()


def for_terminal(stream: TextIO | None = None) -> Progress:
    """A bar if the stream (default: stderr) is a terminal, else plain lines."""
    target = stream or sys.stderr
    return BarProgress(target) if target.isatty() else PlainProgress(target)


def _left(seconds: float, done: int, total: int) -> str:
    """The time left, from the rate so far."""
    return approximate(seconds_left(seconds, done, total))


def seconds_left(seconds: float, done: int, total: int) -> float:
    """Of a task that took so long for what is done, from the rate so far."""
    return seconds * (total - done) / max(done, 1)


def approximate(seconds: float) -> str:
    """A time to plan by: seconds below two minutes, else minutes."""
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
