"""The Python version of CIFAR-100: pickles, read without letting them do anything.

`cifar-100-python/{train,test,meta}`, or the archive itself. Each file is a pickled dictionary; `data` is a
uint8 array (n, 3072) of 1,024 red, green and blue values (https://www.cs.toronto.edu/~kriz/cifar.html).

A pickle is a program. Here it may build numbers, strings, lists, tuples and dictionaries, and arrays as inert
records of what numpy was to be told; every name that it asks for beyond that ends the reading.
"""

from __future__ import annotations

import io
import pickle
import pickletools
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import DataError
from .cifar100 import PIXEL_BYTES, RECORD_BYTES, Part, Side
from .names import class_name

FOLDER = "cifar-100-python"
META = "meta"
PARTS: dict[str, Side] = {"test": "test", "train": "train"}
"""File -> side, in key order."""
MAX_FILE_BYTES = 400_000_000
"""The larger of the official files has 155 million."""
_MAX_TUPLES = 1_000
_INSTRUCTIONS = """
PROTO FRAME STOP MARK POP NONE NEWTRUE NEWFALSE INT BININT BININT1 BININT2 LONG LONG1 FLOAT BINFLOAT
STRING BINSTRING SHORT_BINSTRING UNICODE BINUNICODE SHORT_BINUNICODE BINBYTES SHORT_BINBYTES
EMPTY_DICT DICT SETITEM SETITEMS EMPTY_LIST LIST APPEND APPENDS EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3
PUT BINPUT LONG_BINPUT MEMOIZE GET BINGET LONG_BINGET GLOBAL STACK_GLOBAL REDUCE BUILD
"""
_ADMITTED = frozenset(_INSTRUCTIONS.split())


def load(place: Path) -> Iterator[tuple[str, Side, list[str], Part]]:
    """Each file's name, side, class names by fine label, and images; `place` is the folder or the archive.

    Raises DataError: a file missing, damaged, or asking for more than arrays and containers.
    """
    raw = _from_archive(place) if place.is_file() else _from_folder(place)
    names = _names(place, raw[META])
    for part, side in PARTS.items():
        yield part, side, names, _part(f"{place}, file {part}", _unpickle(place, part, raw.pop(part)), names)


def _from_folder(folder: Path) -> dict[str, bytes]:
    raw = {}
    for name in (META, *PARTS):
        path = folder / name
        try:
            if path.stat().st_size > MAX_FILE_BYTES:
                raise _damaged(folder, name, f"over {MAX_FILE_BYTES:,} bytes")
            raw[name] = path.read_bytes()
        except OSError as error:
            raise _damaged(folder, name, error.strerror or str(error)) from None
    return raw


def _from_archive(archive: Path) -> dict[str, bytes]:
    """The files' bytes, read from the stream; nothing is unpacked to disk."""
    raw: dict[str, bytes] = {}
    wanted = {(FOLDER, name): name for name in (META, *PARTS)}
    try:
        with tarfile.open(archive, "r|*") as stream:
            for member in stream:
                name = wanted.get(PurePosixPath(member.name).parts[-2:])  # type: ignore[arg-type]
                if name is not None and member.isfile():
                    if member.size > MAX_FILE_BYTES:
                        raise _damaged(archive, name, f"over {MAX_FILE_BYTES:,} bytes")
                    opened = stream.extractfile(member)
                    raw[name] = opened.read() if opened else b""
    except (OSError, EOFError, tarfile.TarError, zlib.error, ValueError) as error:
        raise _damaged(archive, "archive", str(error) or type(error).__name__) from None
    for name in (META, *PARTS):
        if name not in raw:
            raise _damaged(archive, f"{FOLDER}/{name}", "is missing")
    return raw


def _damaged(place: Path, name: str, reason: str) -> DataError:
    return DataError(
        f"{place} cannot be read as CIFAR-100 in its Python version: {name}: {reason}",
        "fetch it again: benchgraft data fetch cifar100",
    )


def _names(place: Path, raw: bytes) -> list[str]:
    names = _unpickle(place, META, raw).get("fine_label_names")
    if not isinstance(names, list) or not names or not all(isinstance(name, (str, bytes)) for name in names):
        raise _damaged(place, META, "it holds no list of fine_label_names")
    texts = [
        class_name(name.decode("utf-8", "replace") if isinstance(name, bytes) else name) for name in names
    ]
    if len(set(texts)) != len(texts):
        raise _damaged(place, META, "it names a class twice")
    return texts


def _part(where: str, content: dict[str, Any], names: list[str]) -> Part:
    labels, data = content.get("fine_labels"), content.get("data")
    if not isinstance(data, _Array) or not isinstance(labels, list):
        raise DataError(f"{where}: it holds no array data and list fine_labels")
    pixels = data.rows()
    if pixels is None or len(pixels) != len(labels) or not len(labels):
        raise DataError(f"{where}: data is no uint8 array of {len(labels):,} rows of {PIXEL_BYTES:,} bytes")
    for row, label in enumerate(labels):
        if type(label) is not int or not 0 <= label < len(names):
            raise DataError(f"{where}, image {row}: its fine label is none of the {len(names)} classes")
    records = np.zeros((len(labels), RECORD_BYTES), np.uint8)
    records[:, 2:] = pixels
    return Part(records, np.array(labels, np.int64))


def _unpickle(place: Path, name: str, raw: bytes) -> dict[str, Any]:
    try:
        _refuse_odd_programs(raw)
        content = _Restricted(io.BytesIO(raw), encoding="bytes").load()
    except (
        Exception
    ) as error:  # a pickle can raise anything; whatever it is, the file is not what it should be
        raise _damaged(place, name, str(error).partition("\n")[0][:100] or type(error).__name__) from None
    if not isinstance(content, dict):
        raise _damaged(place, name, "it holds no dictionary")
    return {
        key.decode("latin1") if isinstance(key, bytes) else str(key): item for key, item in content.items()
    }


def _refuse_odd_programs(raw: bytes) -> None:
    """Look the program through without carrying it out.

    Besides unknown instructions: a huge memo number would make the reader reserve memory up to it, and very
    deep tuples as keys would overflow the stack.
    """
    memos = tuples = 0
    for opcode, argument, _ in pickletools.genops(raw):
        if opcode.name not in _ADMITTED:
            raise pickle.UnpicklingError(f"instruction {opcode.name} is not admitted")
        if opcode.name in ("PUT", "BINPUT", "LONG_BINPUT"):
            if int(argument or 0) > memos + 1:
                raise pickle.UnpicklingError("a memo number is out of order")
            memos += 1
        elif opcode.name == "MEMOIZE":
            memos += 1
        elif opcode.name.startswith("TUPLE"):
            tuples += 1
    if tuples > _MAX_TUPLES:
        raise pickle.UnpicklingError(f"{tuples:,} tuples, more than {_MAX_TUPLES:,}")


class _Array:
    """Stands where a numpy array would: keeps what it is told, does nothing with it."""

    def __init__(self, *_: object) -> None:
        self._state: object = None

    def __setstate__(self, state: object) -> None:
        self._state = state

    def rows(self) -> npt.NDArray[np.uint8] | None:
        """uint8 (n, 3072), or None if it is anything else."""
        match self._state:
            case (_, (int(count), int(width)), _Dtype(is_uint8=True), fortran, bytes(raw)):
                if width == PIXEL_BYTES and count >= 0 and len(raw) == count * width and not fortran:
                    return np.frombuffer(raw, np.uint8).reshape(count, width)
        return None


class _Dtype:
    """Stands where numpy.dtype would."""

    def __init__(self, kind: object = None, *_: object) -> None:
        self.is_uint8 = kind in (b"u1", "u1")

    def __setstate__(self, state: object) -> None:
        pass


class _Encoded(bytes):
    """Stands where _codecs.encode would: bytes that Python 3 wrote for Python 2."""

    def __new__(cls, text: str, encoding: object = "latin1") -> _Encoded:  # noqa: ARG004
        return super().__new__(cls, text.encode("latin1"))

    def __setstate__(self, state: object) -> None:
        raise pickle.UnpicklingError("bytes have no state")


class _Restricted(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> type:
        """The stand-in for one of numpy's four names; raises for every other."""
        stand_ins: dict[tuple[str, str], type] = {
            ("numpy.core.multiarray", "_reconstruct"): _Array,
            ("numpy._core.multiarray", "_reconstruct"): _Array,
            ("numpy", "ndarray"): _Array,
            ("numpy", "dtype"): _Dtype,
            ("_codecs", "encode"): _Encoded,
        }
        if (module, name) not in stand_ins:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is not admitted")
        return stand_ins[module, name]
