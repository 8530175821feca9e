"""Small pictures of photos, for pages that are to need nothing else."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable
from pathlib import Path

from PIL import Image

from ..config.network import Frame
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
    roots = [folder, *sorted(path for path in folder.iterdir() if path.is_dir())]
    found = in_parallel(lambda key: (key, _picture(roots, key)), dict.fromkeys(keys))
    return {key: jpeg for key, jpeg in found if jpeg is not None}


def _picture(roots: list[Path], key: str) -> str | None:
    for root in roots:
        try:
            raw = (root / key).read_bytes()
            return base64.b64encode(small_jpeg(raw, Frame(SIDE, "letterbox", "bicubic"))).decode("ascii")
        except (OSError, ValueError, Undecodable):
            continue
    return None
