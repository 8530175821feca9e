"""Graphs that are kept in the cache. No torch: a model whose graph is kept answers without importing it."""

from __future__ import annotations

import contextlib
import json
import shutil
from pathlib import Path

from ..cache import hold
from ..errors import StorageError
from ..files import default_cache, digest_bytes, write_folder_whole
from .engine import Classifier
from .onnx_ import classifier_of

FORMAT = 1
"""Of graphs of whole model files."""


def kept(place: Path) -> bytes | None:
    """The graph of a folder of the cache; None if it is not there, or damaged."""
    try:
        content = (place / "graph.onnx").read_bytes()
        digest = json.loads((place / "graph.json").read_text())["digest"]
    except (OSError, ValueError, KeyError):
        return None
    return content if digest_bytes(content) == digest else None


def keep(place: Path, content: bytes) -> None:
    """Nothing needs it there: a cache that cannot be written is no reason to end a run."""
    shutil.rmtree(place, ignore_errors=True)  # it was found damaged
    with contextlib.suppress(OSError, StorageError), write_folder_whole(place) as folder:
        (folder / "graph.onnx").write_bytes(content)
        (folder / "graph.json").write_text(json.dumps({"digest": digest_bytes(content)}))


def place_of_model(path: Path, device: str, cache: Path | None) -> Path | None:
    """Where the graph of a model file is kept, by the content of the file; None: nowhere.

    device: as it was asked for, since "auto" may be another one on another machine. Raises OSError.
    """
    try:
        cache = cache or default_cache()
    except StorageError:
        return None
    facts = [FORMAT, digest_bytes(path.read_bytes()), device]
    return cache / "graphs" / digest_bytes(json.dumps(facts).encode())


def kept_classifier(path: Path, device: str, threads: int | None, cache: Path | None) -> Classifier | None:
    """A model file by its kept graph; None where there is none, or none that ONNX Runtime takes."""
    try:
        place = place_of_model(path, device, cache)
        content = kept(place) if place else None
        if place is None or content is None:
            return None
        classifier = classifier_of(path, content, threads)
    except Exception:  # whatever it is: PyTorch answers, and says what is wrong with the model file
        return None
    hold(place, classifier.engine)
    return classifier
