"""What a request may bring."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Above any of these a request is refused with a clear 4xx. Pixels: see photos/formats.py."""

    request_bytes: int = 64 << 20
    photo_bytes: int = 32 << 20
    photos: int = 256
    """In one request."""
    upload_seconds: float = 60.0
    """From the first byte of a request to its last."""
    name_letters: int = 300
    """Of the name of a photo; what is longer is cut in the answer."""
