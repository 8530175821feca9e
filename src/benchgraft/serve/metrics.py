"""What happened, counted, as Prometheus reads it (text format 0.0.4)."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import Counter

BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Seconds."""
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_HELP = {
    "benchgraft_requests_total": "Requests by path and status.",
    "benchgraft_photos_total": "Photos by model and outcome: answered or unreadable.",
    "benchgraft_batches_total": "Batches computed by model.",
    "benchgraft_batched_photos_total": "Photos computed by model; over the batches: photos a batch.",
    "benchgraft_reloads_total": "Model files that were replaced: taken up, or refused.",
}
_SECONDS = "benchgraft_predict_seconds"


class Metrics:
    """Counters, from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[str, Counter[str]] = {name: Counter() for name in _HELP}
        self._buckets = [0] * (len(BOUNDS) + 1)
        self._seconds = 0.0

    def request(self, path: str, status: int) -> None:
        """One was answered. path: one of ours, never what somebody typed."""
        self._add("benchgraft_requests_total", f'path="{path}",status="{status}"')

    def photos(self, model: str, answered: int, unreadable: int) -> None:
        """So many got their answer, so many could not be read."""
        for outcome, count in (("answered", answered), ("unreadable", unreadable)):
            self._add("benchgraft_photos_total", f'{_model(model)},outcome="{outcome}"', count)

    def batch(self, model: str, photos: int) -> None:
        """One was computed."""
        self._add("benchgraft_batches_total", _model(model))
        self._add("benchgraft_batched_photos_total", _model(model), photos)

    def reload(self, model: str, is_taken: bool) -> None:
        """A file was replaced."""
        self._add(
            "benchgraft_reloads_total", f'{_model(model)},outcome="{"taken" if is_taken else "refused"}"'
        )

    def took(self, seconds: float) -> None:
        """One request to predict, from its first byte to its answer."""
        with self._lock:
            self._buckets[bisect_left(BOUNDS, seconds)] += 1
            self._seconds += seconds

    def text(self) -> str:
        """All of it."""
        with self._lock:
            lines: list[str] = []
            for name, counts in self._counts.items():
                lines += [f"# HELP {name} {_HELP[name]}", f"# TYPE {name} counter"]
                lines += [f"{name}{{{labels}}} {count}" for labels, count in sorted(counts.items())]
            lines += [
                f"# HELP {_SECONDS} Seconds of requests to predict, reading them included.",
                f"# TYPE {_SECONDS} histogram",
            ]
            below = 0
            for bound, count in zip([*map(str, BOUNDS), "+Inf"], self._buckets, strict=True):
                below += count
                lines.append(f'{_SECONDS}_bucket{{le="{bound}"}} {below}')
            lines += [f"{_SECONDS}_sum {self._seconds:.6f}", f"{_SECONDS}_count {below}"]
        return "\n".join(lines) + "\n"

    def _add(self, name: str, labels: str, count: int = 1) -> None:
        with self._lock:
            self._counts[name][labels] += count


def _model(name: str) -> str:
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'model="{escaped}"'
