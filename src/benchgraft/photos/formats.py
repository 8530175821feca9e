"""Which image formats are read, and one file of them opened: its header only, and refused by that already.

A format goes by what is in the file; the suffix decides only whether a file of a folder is looked at. HEIC is
read by pillow-heif (the extra `heic`), AVIF by the Pillows that have it; both are loaded when such a photo
is met.
"""

from __future__ import annotations

import contextlib
import io
import threading
import warnings
from collections.abc import Iterator
from typing import Literal

# The plug-ins are loaded here because Pillow, left to itself, would load all of its forty in the first thread
# that meets a format which is not loaded yet.
from PIL import (
    Image,
    TiffImagePlugin,  # noqa: F401
    UnidentifiedImageError,
    WebPImagePlugin,  # noqa: F401
)

from ..names import printable

MAX_PIXELS = 64_000_000
"""Above this an image is refused from its header, before a pixel is decoded."""
LARGE_PIXELS = 8_000_000
"""Above this images are decoded one at a time: 64 million pixels take up to 600 MB, whatever the threads."""
FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "GIF", "TIFF", "PPM")
"""What Pillow may open, whatever a file calls itself; others (EPS runs a program) stay shut."""
SUFFIXES = (
    *(".jpg", ".jpeg", ".jfif", ".png", ".bmp", ".webp", ".gif", ".tif", ".tiff", ".ppm", ".pgm"),
    *(".heic", ".heif", ".hif", ".avif"),
)
RAW_SUFFIXES = (
    *(".dng", ".cr2", ".cr3", ".crw", ".nef", ".nrw", ".arw", ".srf", ".sr2", ".orf", ".rw2", ".raf"),
    *(".pef", ".srw", ".x3f", ".3fr", ".iiq", ".erf", ".kdc", ".mrw", ".rwl"),
)
"""Raw photos of cameras: what they show depends on how they are developed, so they are not ours to read."""

Container = Literal["HEIC", "AVIF"]
_CALLED: dict[Container, str] = {"HEIC": "HEIF", "AVIF": "AVIF"}
"""As Pillow knows them."""
_BRANDS: dict[Container, tuple[bytes, ...]] = {
    "AVIF": (b"avif", b"avis"),
    "HEIC": (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"),
}
_EITHER = (b"mif1", b"msf1")
_MOST_BRANDS = 64
_INSTALL: dict[Container, str] = {
    "HEIC": "HEIC needs pip install 'benchgraft[heic]'",
    "AVIF": "AVIF needs a newer Pillow: pip install --upgrade pillow",
}
_loading = threading.Lock()
_one_large = threading.Lock()
_lock = threading.Lock()
_depth = 0
_saved = contextlib.ExitStack()


class Undecodable(Exception):  # noqa: N818 - says what the image is; callers turn it into an exclusion
    """These bytes are no image that this program uses; the message is the reason."""


def open_image(raw: bytes) -> Image.Image:
    """The image with its header read and no pixel decoded.

    Raises Undecodable with a reason: no image, damaged, too large, a format that this machine cannot read.
    """
    container = _container(raw)
    reason = _missing(container) if container else ""
    if reason:
        raise Undecodable(reason)
    try:
        image: Image.Image = Image.open(
            io.BytesIO(raw), formats=(_CALLED[container],) if container else FORMATS
        )
    except Image.DecompressionBombError:
        raise Undecodable(f"too large: over {MAX_PIXELS:,} pixels") from None
    except UnidentifiedImageError:
        known = f"damaged: cannot be read as {container}" if container else "not an image of a known format"
        raise Undecodable(known) from None
    except Exception as error:
        raise Undecodable(damage(error)) from error
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise Undecodable(f"too large: {width} x {height} pixels, limit {MAX_PIXELS:,}")
    if width < 1 or height < 1:
        raise Undecodable(f"no pixels: {width} x {height}")
    return image


def damage(error: Exception) -> str:
    """The reason for a decoder's complaint."""
    text = printable(str(error).partition("\n")[0][:100]) or type(error).__name__
    return f"truncated: {text}" if "truncated" in text.lower() else f"damaged: {text}"


def missing_reader(raw: bytes) -> str:
    """What to install for a photo of a format that this machine cannot read; empty for all others."""
    container = _container(raw)
    return _missing(container) if container else ""


def _container(raw: bytes) -> Container | None:
    """HEIC or AVIF, by the brands in the first box of the file."""
    if raw[4:8] != b"ftyp":
        return None
    end = min(int.from_bytes(raw[:4], "big"), len(raw), 16 + 4 * _MOST_BRANDS)
    brands = [raw[8:12], *(raw[place : place + 4] for place in range(16, end, 4))]
    for brand in brands:
        for container, theirs in _BRANDS.items():
            if brand in theirs:
                return container
    return "HEIC" if brands[0] in _EITHER else None


def _missing(container: Container) -> str:
    with _loading:  # threads that meet their first such photo together
        try:
            if container == "HEIC":
                _load_heic()
            elif not _has_avif():
                return _INSTALL[container]
        except ImportError:
            return _INSTALL[container]
    return ""


def _load_heic() -> None:
    import pillow_heif

    if _CALLED["HEIC"] not in Image.OPEN:
        pillow_heif.register_heif_opener()


def _has_avif() -> bool:
    from PIL import AvifImagePlugin

    return AvifImagePlugin.SUPPORTED


def alone_if_large(image: Image.Image) -> contextlib.AbstractContextManager[object]:
    """To decode an image in: a large one waits until no other is being decoded."""
    return _one_large if image.width * image.height > LARGE_PIXELS else contextlib.nullcontext()


@contextlib.contextmanager
def pillow_warnings_off() -> Iterator[None]:
    """Silence Pillow: what it warns of (odd metadata, size) is decided here by rule.

    `warnings.catch_warnings` alone is not safe when several threads enter and leave it in turn, so the first
    one in silences and the last one out restores.
    """
    global _depth
    with _lock:
        if _depth == 0:
            _saved.enter_context(warnings.catch_warnings())
            warnings.simplefilter("ignore")
        _depth += 1
    try:
        yield
    finally:
        with _lock:
            _depth -= 1
            if _depth == 0:
                _saved.close()
