"""ONNX Runtime as an engine, on the CPU. Starts at once: no torch."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import ConfigError, ModelFileError
from ..names import printable
from ..parallel import usable_cores
from .card import FILE_DIGEST, INPUT, OnnxCard, from_metadata, is_sealed
from .engine import Classifier

DEVICES = ("auto", "cpu")
CHUNK = 2
"""Photos that a thread computes at once. EfficientNet-Lite0 on 2 cores, photos a second: 64 by both threads
together 261; each thread by itself 16 301, 4 347, 2 388, 1 373 (benchmarks/engines.py)."""
MANY = 16
"""From so many on: below it a second session, which takes a tenth of a second to open, does not pay."""
_FATAL = 4
_MAKE_IT = "make one from a model file: benchgraft export MODEL --format onnx"


class OnnxEngine:
    """A graph in sessions of ONNX Runtime; an `Engine`.

    A few photos are computed by all threads together: soonest. Of many, every thread takes the next CHUNK by
    itself: maps of so few stay in the caches of its core, and no thread waits for another at each layer. The
    bits are the same.
    """

    is_same_in_any_batch = True

    def __init__(self, graph: bytes, threads: int | None = None) -> None:
        """graph: takes pixels as INPUT. threads: default one for each core that this process may use.

        Raises ImportError without ONNX Runtime, ValueError with the reason for what is no graph.
        """
        self._threads = threads or usable_cores()
        self._session = _session(graph, self._threads)
        self._alone: Any = self._session if self._threads == 1 else None
        """Of one thread, which several may ask at once; None: not yet wanted."""
        self._graph = b"" if self._threads == 1 else graph
        self._opening = threading.Lock()
        self.name: str = f"onnxruntime {runtime_version()}"

    @property
    def metadata(self) -> dict[str, str]:
        """What the graph's file says beside the graph."""
        facts: dict[str, str] = self._session.get_modelmeta().custom_metadata_map
        return facts

    @property
    def many(self) -> int:
        """So many photos, and more, are computed by every thread for itself."""
        return max(MANY, CHUNK * self._threads)

    def compute(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.floating[Any]]:
        """See Engine."""
        if len(pixels) < self.many:
            return _run(self._session, pixels)
        session = self._session_of_one()
        parts = [pixels[start : start + CHUNK] for start in range(0, len(pixels), CHUNK)]
        with ThreadPoolExecutor(self._threads, thread_name_prefix="compute") as pool:
            return np.concatenate(list(pool.map(partial(_run, session), parts)))

    def _session_of_one(self) -> Any:
        with self._opening:
            if self._alone is None:
                self._alone = _session(self._graph, 1)
                self._graph = b""  # as large as the weights, and of no more use
            return self._alone


def _run(session: Any, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.floating[Any]]:
    rows: npt.NDArray[np.floating[Any]] = session.run(None, {INPUT: pixels})[0]
    return rows


def _session(graph: bytes, threads: int) -> Any:
    """Raises ImportError and ValueError as OnnxEngine does."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = _FATAL  # its errors arrive as exceptions; the rest is not for our users
    # Named always: by itself it counts the cores of the machine, takes hold of them one by one, and
    # complains on stderr about those that a container withholds.
    options.intra_op_num_threads = threads
    # Its threads wait for the next layer by spinning, else small layers take half as long again; but not for
    # the next photos, on cores that others want: decoders, PyTorch.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    try:
        return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # each of its errors is a class of its own, straight below Exception
        raise ValueError(printable(str(error).rpartition(" : ")[2].strip())) from None


def runtime_version() -> str:
    """Raises ImportError where ONNX Runtime cannot be imported."""
    import onnxruntime

    return str(onnxruntime.__version__)


def open_onnx_file(path: Path, device: str, threads: int | None) -> Classifier:
    """An ONNX file that `export` has written.

    Raises ModelFileError: the file or ONNX Runtime is missing, the file is damaged or none of `export`'s;
    ConfigError for another device than the CPU.
    """
    if device not in DEVICES:
        raise ConfigError(f'--device "{device}" is for model files: an ONNX file is run on the cpu')
    if not path.is_file():
        raise ModelFileError(f"no ONNX file at {path}", _MAKE_IT)
    try:
        return classifier_of(path, path.read_bytes(), threads)
    except OSError as error:
        raise ModelFileError(f"{path} cannot be read: {error.strerror or error}") from None
    except ImportError as error:
        raise ModelFileError(
            f"{path} is an ONNX file, and ONNX Runtime cannot be imported: {error}",
            "install it: pip install onnxruntime",
        ) from None
    except ValueError as error:
        raise ModelFileError(f"{path} is not a whole ONNX file: {error}", _MAKE_IT) from None


def classifier_of(path: Path, content: bytes, threads: int | None) -> Classifier:
    """By the content of an ONNX file of ours. path: for errors.

    Raises ImportError without ONNX Runtime, ValueError for what is no graph, ModelFileError for one that is
    damaged or none of `export`'s.
    """
    engine = OnnxEngine(content, threads)
    card = _card(path, content, engine)
    return Classifier(engine, card.class_names, card.rule)


def _card(path: Path, content: bytes, engine: OnnxEngine) -> OnnxCard:
    try:
        metadata = engine.metadata
        if FILE_DIGEST not in metadata:
            raise ModelFileError(
                f"{path} was not exported by this version of benchgraft, or its end is missing", _MAKE_IT
            )
        if is_sealed(content, metadata[FILE_DIGEST]):
            return from_metadata(metadata)
    except (KeyError, ValueError) as error:
        raise ModelFileError(f"{path} has a damaged description: {error}", _MAKE_IT) from None
    raise ModelFileError(
        f"{path} is damaged, or was changed after its export: its digest is not the one that it states",
        _MAKE_IT,
    )
