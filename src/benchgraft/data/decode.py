"""One image file's bytes -> RGB pixels of the store's size, or the reason why not.

Every conversion is named, so that the store can count it; none is silent, and no image replaces another.

    grey ("L", "1", 16-bit)   the value goes to all three channels; 16 bits are rounded to 8
    palette                   the palette's colours
    alpha                     laid on white, the background of Fruits-360
    CMYK, YCbCr, LAB, HSV     Pillow's conversion to RGB, without colour profiles
    EXIF orientation          turned as the camera says
    several frames            the first one
    another size              "letterbox": scaled to fit the square, sides in proportion, the rest white
                              "stretch": both sides scaled to the square's
                              "crop": the middle square, scaled
"""

from __future__ import annotations

import contextlib
import io
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Literal

import numpy as np
import numpy.typing as npt
import simplejpeg

# The plug-ins are loaded here because Pillow, left to itself, would load all of its forty in the first thread
# that meets a format which is not loaded yet.
from PIL import (
    Image,
    ImageOps,
    TiffImagePlugin,  # noqa: F401
    UnidentifiedImageError,
    WebPImagePlugin,  # noqa: F401
)

from .names import printable

Pixels = npt.NDArray[np.uint8]
Fit = Literal["letterbox", "stretch", "crop"]
FITS: tuple[Fit, ...] = ("letterbox", "stretch", "crop")

RULE_VERSION = 1
"""Part of every store's key: raise it when the same bytes would give other pixels."""
MAX_PIXELS = 64_000_000
"""Above this an image is refused from its header, before a pixel is decoded."""
LARGE_PIXELS = 8_000_000
"""Above this images are decoded one at a time: 64 million pixels take up to 600 MB, whatever the threads."""
_BAND_ROWS = 256
_JPEG_START = b"\xff\xd8\xff"
_NOT_PLAIN = (b"Exif\0", b"Orientation", b"MPF\0", b"Adobe")
FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "GIF", "TIFF", "PPM")
"""What Pillow may open, whatever a file calls itself; others (EPS runs a program) stay shut."""
SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".gif", ".tif", ".tiff", ".ppm", ".pgm", ".jfif")
EXIF_ORIENTATION = 0x0112
WHITE = (255, 255, 255)


class Undecodable(Exception):  # noqa: N818 - says what the image is; callers turn it into an exclusion
    """These bytes are no image that this program uses; the message is the reason."""


def rule_of(size: int, fit: Fit = "letterbox") -> str:
    """How decoding turns bytes into pixels, as text for keys. The default rule keeps its first form."""
    return f"{RULE_VERSION} {size}" + ("" if fit == "letterbox" else f" {fit}")


def decode(raw: bytes, size: int, fit: Fit = "letterbox") -> tuple[Pixels, tuple[str, ...]]:
    """The image as uint8 (size, size, 3) RGB, and the names of what was converted.

    Raises Undecodable with a reason: empty, not an image, truncated, damaged, too large.
    """
    if not raw:
        raise Undecodable("empty file")
    plain = _plain_jpeg(raw, size)
    if plain is not None:
        return plain, ()
    with pillow_warnings_off():
        image = _open(raw)
        with _one_large if image.width * image.height > LARGE_PIXELS else contextlib.nullcontext():
            return _decode(image, size, fit)


def _plain_jpeg(raw: bytes, size: int) -> Pixels | None:
    """Pixels of a flawless colour JPEG of the store's own size, in less than half of Pillow's time, or None.

    The same bits as Pillow's, which uses the same library. What is not plain goes to Pillow: EXIF or XMP may
    turn the image, MPF holds several, Adobe's marker may mean CMYK.
    """
    if not raw.startswith(_JPEG_START):
        return None
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(raw)
        if (height, width) != (size, size) or colours != "YCbCr" or any(mark in raw for mark in _NOT_PLAIN):
            return None
        pixels: Pixels = simplejpeg.decode_jpeg(raw, strict=True)
    except ValueError:  # strict: any flaw at all, of which Pillow forgives some
        return None
    return pixels


def _decode(image: Image.Image, size: int, fit: Fit) -> tuple[Pixels, tuple[str, ...]]:
    conversions: list[str] = []
    if getattr(image, "is_animated", False) and image.format != "MPO":  # MPO: a photo and its preview
        conversions.append("first of several frames")
    try:
        # A JPEG far larger than needed is decoded at 1/2, 1/4 or 1/8, never under twice the size wanted.
        image.draft(None, (2 * size, 2 * size))
        image.load()
    except Exception as error:
        # Pillow's decoders raise OSError, SyntaxError, ValueError, struct.error, IndexError and others
        # on hostile bytes: whatever it is, the image is damaged.
        raise Undecodable(_damage(error)) from error
    try:
        image = _upright(image, conversions)
        image = _as_rgb(image, conversions)
        image = _RESIZERS[fit](image, size, conversions) if image.size != (size, size) else image
    except Undecodable:
        raise
    except Exception as error:
        raise Undecodable(f"cannot be converted to RGB: {error}") from error
    return np.array(image, dtype=np.uint8), tuple(conversions)


def _open(raw: bytes) -> Image.Image:
    """Read the header only, and refuse by it."""
    try:
        image: Image.Image = Image.open(io.BytesIO(raw), formats=FORMATS)
    except Image.DecompressionBombError:
        raise Undecodable(f"too large: over {MAX_PIXELS:,} pixels") from None
    except UnidentifiedImageError:
        raise Undecodable("not an image of a known format") from None
    except Exception as error:
        raise Undecodable(_damage(error)) from error
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise Undecodable(f"too large: {width} x {height} pixels, limit {MAX_PIXELS:,}")
    if width < 1 or height < 1:
        raise Undecodable(f"no pixels: {width} x {height}")
    return image


def _damage(error: Exception) -> str:
    text = printable(str(error).partition("\n")[0][:100]) or type(error).__name__
    return f"truncated: {text}" if "truncated" in text.lower() else f"damaged: {text}"


def _upright(image: Image.Image, conversions: list[str]) -> Image.Image:
    try:
        orientation = image.getexif().get(EXIF_ORIENTATION, 1)
        if orientation not in range(2, 9):
            return image
        turned = ImageOps.exif_transpose(image)
    except Exception:
        # An EXIF block that cannot be read says nothing about the pixels, which were decoded whole.
        conversions.append("unreadable EXIF ignored")
        return image
    conversions.append("turned as EXIF says")
    return turned


def _as_rgb(image: Image.Image, conversions: list[str]) -> Image.Image:
    if image.has_transparency_data:
        conversions.append("alpha laid on white")
        if image.mode not in ("RGBA", "LA", "PA", "La", "RGBa"):
            conversions.append(f"from {image.mode}")
        return _in_bands(image, _on_white)
    if image.mode == "RGB":
        return image
    conversions.append(f"from {image.mode}")
    if image.mode == "F":
        raise Undecodable("floating-point pixels have no agreed range")
    if image.mode.startswith("I"):
        return _in_bands(image, _in_eight_bits)
    return image.convert("RGB")


def _in_bands(image: Image.Image, convert: Callable[[Image.Image], Image.Image]) -> Image.Image:
    """Some rows at a time, so that a large image is not held in memory four times over."""
    whole = Image.new("RGB", image.size)
    for top in range(0, image.height, _BAND_ROWS):
        band = image.crop((0, top, image.width, min(top + _BAND_ROWS, image.height)))
        whole.paste(convert(band), (0, top))
    return whole


def _on_white(band: Image.Image) -> Image.Image:
    layer = band.convert("RGBA")
    ground = Image.new("RGBA", layer.size, (*WHITE, 255))
    return Image.alpha_composite(ground, layer).convert("RGB")


def _in_eight_bits(band: Image.Image) -> Image.Image:
    values = np.asarray(band).astype(np.int64)
    if values.min() < 0 or values.max() > 65535:
        raise Undecodable("32-bit grey values have no agreed range")
    return Image.fromarray(((values + 128) // 257).astype(np.uint8)).convert("RGB")


def _letterbox(image: Image.Image, size: int, conversions: list[str]) -> Image.Image:
    width, height = image.size
    longer = max(width, height)
    if longer != size:
        inner = (max(1, round(width * size / longer)), max(1, round(height * size / longer)))
        image = _resize(image, inner, longer, size, conversions)
    if image.size == (size, size):
        return image
    conversions.append("filled up with white")
    ground = Image.new("RGB", (size, size), WHITE)
    ground.paste(image, ((size - image.width) // 2, (size - image.height) // 2))
    return ground


def _stretch(image: Image.Image, size: int, conversions: list[str]) -> Image.Image:
    if image.width != image.height:
        conversions.append("stretched to a square")
    return _resize(image, (size, size), max(image.size), size, conversions)


def _crop(image: Image.Image, size: int, conversions: list[str]) -> Image.Image:
    shorter = min(image.size)
    if image.width != image.height:
        conversions.append("cropped to the middle square")
        left, top = (image.width - shorter) // 2, (image.height - shorter) // 2
        image = image.crop((left, top, left + shorter, top + shorter))
    return image if shorter == size else _resize(image, (size, size), shorter, size, conversions)


def _resize(
    image: Image.Image, inner: tuple[int, int], side: int, size: int, conversions: list[str]
) -> Image.Image:
    conversions.append("reduced" if side > size else "enlarged")
    return image.resize(inner, Image.Resampling.LANCZOS)


_RESIZERS = {"letterbox": _letterbox, "stretch": _stretch, "crop": _crop}


_one_large = threading.Lock()
_lock = threading.Lock()
_depth = 0
_saved = contextlib.ExitStack()


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
