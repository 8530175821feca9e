"""Small pictures of photos, for pages that are to need nothing else."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from PIL import Image

from ..config.frame import Frame
from ..parallel import in_parallel
from .decode import decode, rule_of
from .formats import Undecodable
from .grey import FULL_RANGE

SIDE = 88
QUALITY = 80


def small_jpeg(raw: bytes, frame: Frame, quality: int = QUALITY) -> bytes:
    """JPEG of a photo's bytes. Raises Undecodable."""
    pixels, _ = decode(raw, rule_of(frame, FULL_RANGE))
    made = io.BytesIO()
    Image.fromarray(pixels).save(made, "JPEG", quality=quality)
    return made.getvalue()


def small_pictures(folder: Path, keys: Iterable[str]) -> dict[str, str]:
    """Key -> JPEG in base64, of those that are there; keys are relative to the folder, or to one in it."""

    @cache
    def below() -> list[Path]:
        with os.scandir(folder) as entries:
            return sorted(folder / entry.name for entry in entries if entry.is_dir(follow_symlinks=False))

    def picture(key: str) -> tuple[str, str | None]:
        jpeg = _picture(folder / key)
        others = (_picture(root / key) for root in below()) if jpeg is None else ()
        return key, jpeg or next((other for other in others if other), None)

    found = in_parallel(picture, dict.fromkeys(keys))
    return {key: jpeg for key, jpeg in found if jpeg is not None}


def _picture(path: Path) -> str | None:
    try:
        jpeg = small_jpeg(path.read_bytes(), Frame(SIDE, "letterbox", "bicubic"))
    except (OSError, ValueError, Undecodable):
        return None
    return base64.b64encode(jpeg).decode("ascii")
