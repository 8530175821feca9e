"""Answers of an ONNX file that `export` has written, by ONNX Runtime on the CPU. Starts at once: no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .errors import ConfigError, ModelFileError
from .names import printable
from .onnx_card import FILE_DIGEST, INPUT, OUTPUT, OnnxCard, from_metadata, is_sealed
from .parallel import usable_cores
from .photos.decode import Rule

DEVICES = ("auto", "cpu")
_FATAL = 4
_MAKE_IT = "make one from a model file: benchgraft export MODEL --format onnx"


class OnnxClassifier:
    """An ONNX file in a session of ONNX Runtime; a `Classifier`."""

    def __init__(self, path: Path, device: str, threads: int | None) -> None:
        """threads: default one for each core that this process may use.

        Raises ModelFileError: the file or ONNX Runtime is missing, the file is damaged or none of `export`'s;
        ConfigError for another device than the CPU.
        """
        if device not in DEVICES:
            raise ConfigError(f'--device "{device}" is for model files: an ONNX file is run on the cpu')
        if not path.is_file():
            raise ModelFileError(f"no ONNX file at {path}", _MAKE_IT)
        try:
            content = path.read_bytes()
        except OSError as error:
            raise ModelFileError(f"{path} cannot be read: {error.strerror or error}") from None
        self._session = _session(path, content, threads)
        card = _card(path, content, self._session)
        self.class_names: list[str] = card.class_names
        self.rule: Rule = card.rule

    def probabilities(self, photos: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
        """Photos, uint8 (n, size, size, 3) RGB, to float64 (n, classes)."""
        (rows,) = self._session.run([OUTPUT], {INPUT: photos})
        return np.asarray(rows, np.float64)


def _session(path: Path, content: bytes, threads: int | None) -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise ModelFileError(
            f"{path} is an ONNX file, and ONNX Runtime cannot be imported: {error}",
            "install it: pip install onnxruntime, or with all that export needs: "
            "pip install 'benchgraft[export]'",
        ) from None
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _FATAL  # its errors arrive as exceptions; the rest is not for our users
    # Named always: by itself it counts the cores of the machine, takes hold of them one by one, and complains
    # on stderr about those that a container withholds.
    options.intra_op_num_threads = threads or usable_cores()
    # Its threads would wait by spinning, on the cores that the decoders of the next photos want.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # each of its errors is a class of its own, straight below Exception
        reason = printable(str(error).rpartition(" : ")[2].strip())
        raise ModelFileError(f"{path} is not a whole ONNX file: {reason}", _MAKE_IT) from None


def _card(path: Path, content: bytes, session: Any) -> OnnxCard:
    try:
        metadata = session.get_modelmeta().custom_metadata_map
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
