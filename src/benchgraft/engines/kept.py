"""Graphs that are kept in the cache. No torch: a model whose graph is kept answers without importing it."""

from __future__ import annotations

import contextlib
import json
import shutil
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from ..cache import hold
from ..errors import StorageError
from ..files import default_cache, digest_bytes, write_folder_whole
from .engine import Classifier
from .onnx_ import classifier_of

FORMAT = 1
"""Of graphs of whole model files."""
_MAKERS = ("torch", "timm", "onnx", "onnxscript", "onnxruntime")
"""A graph was compared with what these versions answer."""
_ACCELERATORS = ("/dev/nvidiactl", "/dev/dxg", "/dev/kfd")


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
    """Where the graph of a model file is kept, by the content of the file; None: nowhere, it has none.

    device: as it was asked for; an accelerator answers by PyTorch.
    """
    if device not in ("auto", "cpu") or (device == "auto" and any(Path(p).exists() for p in _ACCELERATORS)):
        return None
    try:
        raw = path.read_bytes()
        if not _is_of_timm(raw):
            return None
        facts = [FORMAT, digest_bytes(raw), device, [_version(name) for name in _MAKERS]]
        return (cache or default_cache()) / "graphs" / digest_bytes(json.dumps(facts).encode())
    except (OSError, StorageError, ValueError, KeyError, TypeError):
        return None  # opening the file says what is wrong with it


def kept_classifier(path: Path, place: Path, threads: int | None) -> Classifier | None:
    """A model file by its kept graph; None where there is none, or none that ONNX Runtime takes."""
    content = kept(place)
    if content is None:
        return None
    try:
        classifier = classifier_of(path, content, threads)
    except Exception:  # whatever it is: the graph is made anew, and that says what is wrong
        return None
    hold(place, classifier.engine)
    return classifier


def _is_of_timm(raw: bytes) -> bool:
    """By the header of a safetensors file: its length in eight bytes, then JSON."""
    header = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])
    return bool(json.loads(header["__metadata__"]["benchgraft"])["network"]["family"] == "timm")


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
