"""Small pictures of photos, for the page; the last ones are kept in memory."""

from __future__ import annotations

import io
import threading
from collections import OrderedDict
from functools import cache
from pathlib import Path

from PIL import Image

from ..config.choices import Fit
from ..config.frame import Frame
from ..photos.formats import Undecodable
from ..photos.small import small_jpeg

SIDES = (96, 160, 320, 1024)
WHOLE_FROM = 1024
"""Smaller ones are the middle square of the photo; from this side on all of it, on white."""
KEPT_BYTES = 64 << 20
QUALITY = 82


@cache
def _grey_square() -> bytes:
    made = io.BytesIO()
    Image.new("RGB", (8, 8), (128, 128, 128)).save(made, "JPEG")
    return made.getvalue()


class Thumbnails:
    """From any thread."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, int, int], bytes] = OrderedDict()
        self._bytes = 0
        self._unreadable: set[Path] = set()
        self._lock = threading.Lock()

    def of(self, path: Path, side: int) -> bytes:
        """JPEG of side x side pixels; a grey square, and remembered, where it cannot be decoded."""
        fit: Fit = "letterbox" if side >= WHOLE_FROM else "crop"
        try:
            key = (str(path), path.stat().st_mtime_ns, side)
            with self._lock:
                if key in self._kept:
                    self._kept.move_to_end(key)
                    return self._kept[key]
            made = small_jpeg(path.read_bytes(), Frame(side, fit, "bicubic"), QUALITY)
        except (OSError, Undecodable):
            self._unreadable.add(path)
            return _grey_square()
        self._unreadable.discard(path)
        self._keep(key, made)
        return made

    def is_readable(self, path: Path) -> bool:
        """False where it was asked for and could not be decoded."""
        return path not in self._unreadable

    def _keep(self, key: tuple[str, int, int], jpeg: bytes) -> None:
        with self._lock:
            self._bytes += len(jpeg) - len(self._kept.get(key, b""))
            self._kept[key] = jpeg
            while self._bytes > KEPT_BYTES:
                self._bytes -= len(self._kept.popitem(last=False)[1])
