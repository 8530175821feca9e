"""Grey of 16 bits: which photos have it, and what value of it is white.

A 16-bit file does not say how many of its bits the camera used. The white level is one value for all photos
of a set, and for the model that is made of them: the smallest 2^k - 1 that none of the set exceeds. Were each
photo stretched by its own brightest pixel, brightness would say nothing any more.

A file that does state its range is read by that: PGM with another largest value than 65,535, TIFF of 12 bits.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from PIL import Image

from .formats import alone_if_large, open_image, pillow_warnings_off

FULL_RANGE = 65535
LEVELS = tuple(2**bits - 1 for bits in range(8, 17))
"""White levels that there can be."""
_TWELVE_BITS = 4095
_BAND_ROWS = 256
_STARTS = (b"\x89PNG\r\n\x1a\n", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"P2", b"P5")
_PNG_KIND = slice(24, 26)
"""Where a PNG states its bits a sample, and what its samples are."""
_PNG_GREY = (b"\x10\0", b"\x10\4")
"""16 bits of grey, without and with an alpha channel."""

Values = npt.NDArray[np.uint32]


class NoRangeError(Exception):
    """Grey values below 0 or above 65,535: nothing says what is black and what is white."""


def level_of(peak: int) -> int:
    """The white level for photos whose largest value this is; the full range where there are none (0)."""
    return next(level for level in LEVELS if level >= peak) if peak else FULL_RANGE


def peak_of(raw: bytes) -> int:
    """Largest value, at least 1, of a photo of 16-bit grey; 0 for all other files and for damaged ones.

    Decodes it whole, as there is no other way to know; what cannot be 16-bit grey is told by its first bytes.
    """
    if not _may_be_wide(raw):
        return 0
    try:
        with pillow_warnings_off():
            image = open_image(raw)
            with alone_if_large(image):
                return _peak(image)
    except Exception:  # whatever a decoder stumbles on in damaged bytes; `decode` says it by name
        return 0


def _peak(image: Image.Image) -> int:
    stated = states_white(image)
    is_wide = keep_whole_values(image) or image.mode.startswith("I")
    if not is_wide or (stated and image.format == "PPM"):  # whose values Pillow has scaled
        return 0
    image.load()
    return max(stated, 1, *(_largest(values, alpha) for values, alpha, _ in bands(image)))


def _largest(values: Values, alpha: Values | None) -> int:
    """Of what can be seen; what is wholly transparent says nothing of the light."""
    return int((values if alpha is None else np.where(alpha > 0, values, 0)).max())


def _may_be_wide(raw: bytes) -> bool:
    return raw.startswith(_STARTS) and (not raw.startswith(_STARTS[0]) or raw[_PNG_KIND] in _PNG_GREY)


def states_white(image: Image.Image) -> int:
    """The value of white that the file states, as Pillow's pixels have it, or 0. Only before loading."""
    tiles = getattr(image, "tile", None)
    arguments = tiles[0][3] if tiles else ""
    if image.format == "TIFF":
        rawmode = arguments[0] if isinstance(arguments, tuple) else arguments
        return _TWELVE_BITS if rawmode == "I;12" else 0
    if image.format == "PPM":  # Pillow scales to 65,535 what has another largest value
        return FULL_RANGE if isinstance(arguments, tuple) and arguments[1] != FULL_RANGE else 0
    return FULL_RANGE if image.mode.startswith("I") and image.format not in ("PNG", "TIFF") else 0


def keep_whole_values(image: Image.Image) -> bool:
    """Have a PNG of 16-bit grey with an alpha channel loaded byte by byte; whether it is one.

    Pillow knows no such mode and would drop the low bytes. Only before loading. Its pixels are RGBA then:
    high and low byte of grey, high and low byte of alpha.
    """
    tiles = getattr(image, "tile", None)
    if image.format != "PNG" or not tiles or tiles[0][3] != "LA;16B":
        return False
    image.tile = [(*tile[:3], "RGBA") for tile in tiles]  # type: ignore[attr-defined]
    image.info.pop("transparency", None)  # means nothing beside an alpha channel
    return True


def bands(image: Image.Image) -> Iterator[tuple[Values, Values | None, int]]:
    """(values, alpha of 0 to 65,535 or None, first row) of some rows at a time, uint32 (rows, width).

    Some rows at a time, so that a large image is not held in memory four times over. Raises NoRangeError.
    """
    for top in range(0, image.height, _BAND_ROWS):
        band = image.crop((0, top, image.width, min(top + _BAND_ROWS, image.height)))
        if image.mode == "RGBA":
            pairs = np.asarray(band).view(">u2").astype(np.uint32)
            yield pairs[..., 0], pairs[..., 1], top
            continue
        signed = np.asarray(band).astype(np.int64)
        if signed.min() < 0 or signed.max() > FULL_RANGE:
            raise NoRangeError
        values = signed.astype(np.uint32)
        hidden = image.info.get("transparency")
        alpha = (
            np.where(values == hidden, 0, FULL_RANGE).astype(np.uint32) if isinstance(hidden, int) else None
        )
        yield values, alpha, top


def in_eight_bits(image: Image.Image, white: int) -> tuple[Image.Image, int]:
    """RGB of an image of 16-bit grey, on white where it is transparent, and its largest value before.

    white: the value that becomes 255, as do those above it. Raises NoRangeError.
    """
    whole = Image.new("RGB", image.size)
    peak = 0
    for values, alpha, top in bands(image):
        peak = max(peak, _largest(values, alpha))
        grey = np.minimum((values * 255 + white // 2) // white, 255)
        if alpha is not None:
            clear = FULL_RANGE - alpha
            grey = (grey * alpha + 255 * clear + FULL_RANGE // 2) // FULL_RANGE
        whole.paste(Image.fromarray(grey.astype(np.uint8)).convert("RGB"), (0, top))
    return whole, peak
