"""What a retraining is measured by: seconds since its start, at the end of each part and of each epoch."""

from __future__ import annotations

import time
from typing import Any


class Timeline:
    """Starts when made: frameworks are imported and pixels lie in memory by then, nothing else is done.

    Or it started before: when the process was about to be started.
    """

    def __init__(self, stop_at: float | None = None, started: float | None = None) -> None:
        """stop_at: validation accuracy at which a search stops; None runs all epochs.

        started: perf_counter of the parent process, in seconds; all processes of a machine share that clock.
        """
        self._stop_at = stop_at
        self._started = self._last = time.perf_counter() if started is None else started
        self._parts: dict[str, float] = {}
        self._ends: list[float] = []
        self._accuracy: list[float] = []

    def part(self, name: str) -> None:
        """What went before, since the last part, was this (`start`, `decode`, `features`, `prepare`)."""
        now = time.perf_counter()
        self._parts[name] = now - self._last
        self._last = now

    def epoch(self, accuracy: float, end: float | None = None) -> bool:
        """An epoch and its validation have ended; whether to stop."""
        self._ends.append((end or time.perf_counter()) - self._started)
        self._accuracy.append(float(accuracy))
        return self._stop_at is not None and accuracy >= self._stop_at

    def result(self, test_accuracy: float) -> dict[str, Any]:
        """For the JSON; the test set was looked at after the clock had stopped."""
        return {
            "parts": self._parts,
            "ends": self._ends,
            "validation_accuracy": self._accuracy,
            "test_accuracy": float(test_accuracy),
        }
