"""Bring one file from a web server: what has come is kept, and the next attempt asks for the rest only."""

from __future__ import annotations

import http.client
import os
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from ..errors import DataError
from ..files import storage_errors, write_block, write_whole
from ..progress import Progress

TRIES = 4
WAIT_SECONDS = 1.0
"""Before the second attempt; twice as long before each further one."""
_TIMEOUT_SECONDS = 30
_BLOCK_BYTES = 1 << 18
_PASSING = (408, 425, 429)
"""Answers below 500 that may be another one in a moment."""


class _BrokenError(Exception):
    """An attempt that did not bring everything; the next one may."""


class _RefusedError(Exception):
    """An answer that another attempt would not change."""


def download(
    address: str, path: Path, size: int | None, advice: str, progress: Progress, wait: float = WAIT_SECONDS
) -> None:
    """Bring `address` to `path`; until it is whole, it is called `path`.part.

    `size` is the length that the file must have, None if that is not known. Raises DataError with `advice`
    where the server cannot be reached or has something else; StorageError if the disk is full.
    """
    part = path.with_name(f"{path.name}.part")
    cause = ""
    for attempt in range(TRIES):
        if attempt:
            time.sleep(wait * 2 ** (attempt - 1))
        try:
            _attempt(address, part, size, progress)
        except _BrokenError as error:
            cause = str(error)
        except _RefusedError as error:
            cause = str(error)
            break
        else:
            with storage_errors(path):
                part.rename(path)
                _tag_file(part).unlink(missing_ok=True)
            return
    raise DataError(f"cannot download {address}: {cause}", advice)


def _attempt(address: str, part: Path, size: int | None, progress: Progress) -> None:
    start = _usable_bytes(part)
    answer = _ask(address, part, start)
    if answer is None:
        return
    with answer:
        if answer.status == http.client.PARTIAL_CONTENT:
            if not (answer.headers.get("Content-Range") or "").startswith(f"bytes {start}-"):
                _forget(part)
                raise _BrokenError("the server sent another part of the file than was asked for")
        else:  # a server without ranges, or a file that has changed: from the beginning
            start = 0
            _forget(part)
        length = answer.headers.get("Content-Length") or ""
        total = start + int(length) if length.isdecimal() else None
        if size is not None and total not in (None, size):
            raise _RefusedError(f"the server has {total:,} bytes there, the official file has {size:,}")
        if not start:
            _keep_tag(part, answer)
        got = _receive(answer, part, start, total, progress)
    if total is not None and got < total:
        raise _BrokenError(f"the connection ended after {got:,} of {total:,} bytes")


def _ask(address: str, part: Path, start: int) -> Any | None:
    """The server's answer to a request for what is missing; None if nothing is."""
    headers = {"User-Agent": "benchgraft"}
    if start:
        # If-Range: a file that has changed meanwhile comes whole, never as the end of another beginning.
        headers |= {"Range": f"bytes={start}-", "If-Range": _tag_file(part).read_text(encoding="latin-1")}
    try:
        request = urllib.request.Request(address, headers=headers)
        return urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE and start:
            if error.headers.get("Content-Range") == f"bytes */{start}":
                return None
            _forget(part)
            raise _BrokenError("the server has no such part of the file") from None
        cause = f"the server answers {error.code} {error.reason}"
        if error.code >= 500 or error.code in _PASSING:
            raise _BrokenError(cause) from None
        raise _RefusedError(cause) from None
    except (OSError, http.client.HTTPException) as error:
        raise _BrokenError(_cause(error)) from None


def _receive(answer: Any, part: Path, start: int, total: int | None, progress: Progress) -> int:
    """Append what comes; the length of the file then."""
    got = start
    left = total - start if total is not None else 0
    with storage_errors(part):
        file = part.open("ab", buffering=0)
    with file, progress.track(left, f"download {part.stem}, bytes") as advance:
        while block := _read(answer):
            write_block(file, part, block)
            got += len(block)
            advance(len(block))
        with storage_errors(part):
            os.fsync(file.fileno())
    return got


def _read(answer: Any) -> bytes:
    try:
        return bytes(answer.read(_BLOCK_BYTES))
    except (OSError, http.client.HTTPException) as error:
        raise _BrokenError(_cause(error)) from None


def _usable_bytes(part: Path) -> int:
    """Bytes of an earlier attempt that can be gone on from: without a tag nobody knows of which version."""
    if _tag_file(part).is_file() and part.is_file():
        return part.stat().st_size
    return 0


def _keep_tag(part: Path, answer: Any) -> None:
    """Note what names this version of the file: a strong ETag, else the date of its last change."""
    etag = answer.headers.get("ETag") or ""
    tag = etag if etag.startswith('"') else answer.headers.get("Last-Modified")
    if tag:
        write_whole(_tag_file(part), tag)


def _tag_file(part: Path) -> Path:
    return part.with_name(f"{part.name}.tag")


def _forget(part: Path) -> None:
    with storage_errors(part):
        part.unlink(missing_ok=True)
        _tag_file(part).unlink(missing_ok=True)


def _cause(error: Exception) -> str:
    reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
    return getattr(reason, "strerror", None) or str(reason) or type(error).__name__
