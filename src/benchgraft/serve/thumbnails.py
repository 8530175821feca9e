"""Small pictures of photos, for the page; the last ones are kept in memory."""

from __future__ import annotations

import threading
from collections import OrderedDict
from pathlib import Path

from ..config.choices import Fit
from ..config.network import Frame
from ..photos.formats import Undecodable
from ..photos.small import small_jpeg

SIDES = (96, 160, 320, 1024)
WHOLE_FROM = 1024
"""Smaller ones are the middle square of the photo; from this side on all of it, on white."""
KEPT_BYTES = 64 << 20
QUALITY = 82


class Thumbnails:
    """From any thread."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, int, int], bytes] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def of(self, path: Path, side: int) -> bytes:
        """JPEG of side x side pixels. Raises Undecodable with the reason."""
        try:
            key = (str(path), path.stat().st_mtime_ns, side)
            with self._lock:
                if key in self._kept:
                    self._kept.move_to_end(key)
                    return self._kept[key]
            raw = path.read_bytes()
        except OSError as error:
            raise Undecodable(error.strerror or "cannot be read") from None
        fit: Fit = "letterbox" if side >= WHOLE_FROM else "crop"
        made = small_jpeg(raw, Frame(side, fit, "bicubic"), QUALITY)
        self._keep(key, made)
        return made

    def _keep(self, key: tuple[str, int, int], jpeg: bytes) -> None:
        with self._lock:
            self._kept[key] = jpeg
            self._bytes += len(jpeg)
            while self._bytes > KEPT_BYTES:
                self._bytes -= len(self._kept.popitem(last=False)[1])
