"""Train from scratch or transfer? Measures both on the same images.

Public names are found on first use, so that importing the package loads nothing heavy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .runfolder.tidy import load_runs
    from .tasks.adapt import adapt
    from .tasks.compare import compare
    from .tasks.evaluate import evaluate
    from .tasks.export import export
    from .tasks.parents import parents
    from .tasks.predict import predict
    from .tasks.prepare import prepare

__all__ = ["adapt", "compare", "evaluate", "export", "load_runs", "parents", "predict", "prepare"]
_PLACES = {
    "adapt": ".tasks.adapt",
    "compare": ".tasks.compare",
    "evaluate": ".tasks.evaluate",
    "export": ".tasks.export",
    "load_runs": ".runfolder.tidy",
    "parents": ".tasks.parents",
    "predict": ".tasks.predict",
    "prepare": ".tasks.prepare",
}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_PLACES[name], __name__), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
