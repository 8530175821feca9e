"""Names of files and classes as text: safe to print and to store, the same however they were typed."""

from __future__ import annotations

import codecs
import math
import os
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from io import BufferedIOBase
from itertools import chain
from pathlib import Path
from typing import Any

from .errors import ModelFileError, UserError, did_you_mean

_UTF8 = codecs.BOM_UTF8
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_CHUNK = 1 << 16


def class_name(folder: str) -> str:
    """The name of a class from its folder: printable, and composed (NFC), as macOS writes accents apart.

    The one way of comparing names: whatever names a class (a folder, an experiment file, a model file, the
    command line) goes through this, and names are equal where the results are.
    """
    return composed(printable(folder))


def composed(text: str) -> str:
    """The text with every accent in one character with its letter (NFC)."""
    return unicodedata.normalize("NFC", text)


def printable(name: str) -> str:
    """The name with control characters and undecodable bytes written as escapes, so that it fits on one line.

    Keys and class names are made with it: they go to terminals, JSON and tables, where a newline, an escape
    sequence or a lone surrogate in a file name would do harm. Spaces, quotes and all letters stay.
    """
    if name.isprintable():
        return name
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in well_formed(name))


def well_formed(text: str) -> str:
    """The text with undecodable bytes written as escapes, all else as it is: it can be stored as UTF-8."""
    try:
        raw = text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # half a character that stands for no byte
        raw = text.encode("utf-8", "backslashreplace")
    return raw.decode("utf-8", "backslashreplace")


def storable(value: Any) -> Any:
    """The same of what JSON has, as JSON in UTF-8 can hold it: paths as text, no undecodable bytes in any
    text, None for a number that is none."""
    if isinstance(value, Path):
        return printable(str(value))
    if isinstance(value, str):
        return well_formed(value)
    if isinstance(value, dict):
        return {storable(key): storable(inside) for key, inside in value.items()}
    if isinstance(value, (list, tuple)):
        return [storable(inside) for inside in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def listed(stream: BufferedIOBase) -> Iterator[str]:
    """The names of a list, as they come: one a line, or with NUL between them (as `find -print0` writes).

    NUL separates where it comes before the first line end, or in the same piece of input. Lines may end as
    on Windows; a byte order mark is taken off, and UTF-16 read. Bytes are decoded as those of file names are.
    Empty names and blank lines are passed over.
    """
    separator, rest = b"", b""
    for chunk in _as_utf8(iter(lambda: stream.read1(_CHUNK), b"")):
        rest += chunk
        separator = separator or next((mark for mark in (b"\0", b"\n") if mark in rest), b"")
        if separator:
            *whole, rest = rest.split(separator)
            yield from _decoded(whole, separator)
    yield from _decoded([rest], separator)


def resolve_renames(pairs: Sequence[str] | Mapping[str, str], old_names: Sequence[str]) -> dict[str, str]:
    """Name of a class in the old model -> its name now, both as `class_name` has them.

    pairs: OLD=NEW each, or a mapping. A name may hold a = itself: a pair is split where the left side is a
    class of the old model. Raises UserError for a pair without both sides or that can be read in two ways,
    ModelFileError for a name that is not the old model's.
    """
    known = {class_name(name): name for name in old_names}
    if isinstance(pairs, str):
        pairs = [pairs]
    if isinstance(pairs, Mapping):
        found = [(class_name(old), class_name(new)) for old, new in pairs.items()]
    else:
        found = [_split(pair, known) for pair in pairs]
    for old, _ in found:
        if old not in known:
            raise ModelFileError(
                f'cannot rename "{old}": the model has no such class', did_you_mean(old, old_names)
            )
    return {known[old]: new for old, new in found}


def _split(pair: str, known: Mapping[str, str]) -> tuple[str, str]:
    """The pair at the = that has a class of the old model before it; at the first = where none has."""
    places = [place for place, character in enumerate(pair) if character == "="]
    readings = [(class_name(pair[:place]), class_name(pair[place + 1 :])) for place in places]
    whole = [(old, new) for old, new in readings if old and new]
    if not whole:
        raise UserError(f'--rename "{pair}" is not OLD=NEW', 'for example --rename "apple=red apple"')
    fitting = [(old, new) for old, new in whole if old in known]
    if len(fitting) > 1:
        raise UserError(
            f'--rename "{pair}" can be read in {len(fitting)} ways',
            *(f'"{old}" is now "{new}"' for old, new in fitting),
            "say it in Python, where names stand apart: adapt(..., rename={old: new})",
        )
    return (fitting or whole)[0]


def _as_utf8(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """The same bytes without a byte order mark, those of UTF-16 as UTF-8."""
    head = next(chunks, b"")
    while any(mark.startswith(head) and mark != head for mark in (_UTF8, *_UTF16)):
        more = next(chunks, b"")
        if not more:
            break
        head += more
    if head.startswith(_UTF16):
        decoder = codecs.getincrementaldecoder("utf-16")("replace")
        yield from (decoder.decode(chunk).encode() for chunk in chain([head], chunks))
    else:
        yield from chain([head.removeprefix(_UTF8)], chunks)


def _decoded(names: Iterable[bytes], separator: bytes) -> Iterator[str]:
    for name in names:
        if separator != b"\0":
            name = name.removesuffix(b"\r")
            if not name.strip():
                continue
        if name:
            yield os.fsdecode(name)
