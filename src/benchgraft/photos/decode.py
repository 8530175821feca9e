"""One image file's bytes -> RGB pixels of the store's size, or the reason why not.

Every conversion is named, so that the store can count it; none is silent, and no image replaces another.

    grey ("L", "1")           the value goes to all three channels
    grey of 16 bits           scaled so that the rule's white level is 255, and rounded (see grey.py)
    palette                   the palette's colours
    alpha                     laid on white, the background of Fruits-360
    CMYK, YCbCr, LAB, HSV     Pillow's conversion to RGB, without colour profiles
    EXIF orientation          turned as the camera says
    several frames            the first one
    another size              "letterbox": scaled to fit the square, sides in proportion, the rest white
                              "stretch": both sides scaled to the square's
                              "crop": the middle square, scaled
                              "center": the middle 87.5 % of each side of that square, scaled

Beside conversions there are findings: what looks like a mistake, and is told by name of the photo.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import get_args

import numpy as np
import numpy.typing as npt
import simplejpeg
from PIL import Image, ImageOps

from ..config.choices import Fit, Resampling
from ..config.frame import Frame
from .formats import Undecodable, alone_if_large, damage, open_image, pillow_warnings_off
from .grey import FULL_RANGE, NoRangeError, in_eight_bits, keep_whole_values, states_white

Pixels = npt.NDArray[np.uint8]
FITS: tuple[Fit, ...] = get_args(Fit)
RESAMPLINGS: tuple[Resampling, ...] = get_args(Resampling)
CENTER = 0.875
"""Share of the side that "center" keeps: how ImageNet's photos are cut where networks are tested on them."""

RULE_VERSION = 1
"""Part of every store's key: raise it when the same bytes would give other pixels."""
_BAND_ROWS = 256
_JPEG_START = b"\xff\xd8\xff"
_NOT_PLAIN = (b"Exif\0", b"Orientation", b"MPF\0", b"Adobe")
EXIF_ORIENTATION = 0x0112
WHITE = (255, 255, 255)

ONE_COLOUR = "nearly one colour"
CLIPPED = "16-bit values above the white level"
FILLED = "filled up with white"
FINDINGS = (ONE_COLOUR, CLIPPED)
"""Of what `decode` names, what is no conversion: told by photo, not only counted."""
FLAT = 15
"""A picture whose channels all span at most so many grey levels is nearly one colour. Of 81,000 pictures of
CIFAR-100, Fruits-360, clothing and solar cells none spans less than 46; 12 bits of colour in a 16-bit file,
whose high bytes alone are read, span 15."""
_EVERY = 9


@dataclass(frozen=True)
class Rule(Frame):
    """How the bytes of a photo become pixels: one rule for a set, and for the model that is made of it."""

    white_level: int = FULL_RANGE
    """The value of 16-bit grey that becomes 255."""

    def text(self, is_wide: bool) -> str:
        """For keys; is_wide: the set holds 16-bit grey, so that the white level counts.

        The default rule keeps its first form.
        """
        look = look_of(self, self.white_level, is_wide).removeprefix(FITS[0]).strip()
        return f"{RULE_VERSION} {self.size}" + (f" {look}" if look else "")


def rule_of(frame: Frame, white_level: int) -> Rule:
    """The frame's, with this white level."""
    return Rule(frame.size, frame.fit, frame.resampling, white_level)


def look_of(frame: Frame, white_level: int, is_wide: bool) -> str:
    """What decides on pixels beside their number, as text for keys. The paper's keep their first form."""
    resampling = "" if frame.resampling == "lanczos" else f" {frame.resampling}"
    return frame.fit + resampling + (f" grey16 {white_level}" if is_wide else "")


def decode(raw: bytes, rule: Rule) -> tuple[Pixels, tuple[str, ...]]:
    """The image as uint8 (size, size, 3) RGB, and the names of what was converted and found (FINDINGS).

    Raises Undecodable with a reason: empty, not an image, truncated, damaged, too large.
    """
    if not raw:
        raise Undecodable("empty file")
    plain = None if rule.fit == "center" else _plain_jpeg(raw, rule.size)
    if plain is not None:
        return plain, (ONE_COLOUR,) if _is_flat(plain) else ()
    with pillow_warnings_off():
        image = open_image(raw)
        with alone_if_large(image):
            return _decode(image, rule)


def _is_flat(pixels: Pixels) -> bool:
    """Whether every channel spans FLAT levels at most. pixels: (height, width, 3)."""
    some = pixels[::_EVERY, ::_EVERY, 1]  # enough for nearly all pictures, in a tenth of the time
    if int(some.max()) - int(some.min()) > FLAT:
        return False
    return not (np.ptp(pixels.reshape(-1, 3), axis=0) > FLAT).any()


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


def _decode(image: Image.Image, rule: Rule) -> tuple[Pixels, tuple[str, ...]]:
    conversions: list[str] = []
    if getattr(image, "is_animated", False) and image.format != "MPO":  # MPO: a photo and its preview
        conversions.append("first of several frames")
    white = states_white(image) or rule.white_level
    is_wide = keep_whole_values(image) or image.mode.startswith("I")
    try:
        if image.format != "HEIF":  # whose draft would be the preview, another picture for all that we know
            # A JPEG far larger than needed is decoded at 1/2, 1/4 or 1/8, never under twice the size wanted
            # (1.75 times where "center" cuts it).
            image.draft(None, (2 * rule.size, 2 * rule.size))
        image.load()
    except Exception as error:
        # Pillow's decoders raise OSError, SyntaxError, ValueError, struct.error, IndexError and others
        # on hostile bytes: whatever it is, the image is damaged.
        raise Undecodable(damage(error)) from error
    try:
        image = _upright(image, conversions)
        image = _from_wide(image, white, conversions) if is_wide else _as_rgb(image, conversions)
        image = _fitted(image, rule, conversions)
    except Undecodable:
        raise
    except Exception as error:
        raise Undecodable(f"cannot be converted to RGB: {error}") from error
    return np.array(image, dtype=np.uint8), tuple(conversions)


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
    return image.convert("RGB")


def _from_wide(image: Image.Image, white: int, conversions: list[str]) -> Image.Image:
    """From 16-bit grey, whatever it lies in."""
    if image.has_transparency_data:
        conversions.append("alpha laid on white")
    conversions.append("from I;16" if image.mode == "RGBA" else f"from {image.mode}")
    try:
        grey, peak = in_eight_bits(image, white)
    except NoRangeError:
        raise Undecodable("32-bit grey values have no agreed range") from None
    if peak > white:
        conversions.append(CLIPPED)
    return grey


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


def _fitted(image: Image.Image, rule: Rule, conversions: list[str]) -> Image.Image:
    """Of the rule's size; a picture of nearly one colour is told before white is put around it."""
    scaled = image
    if image.size != (rule.size, rule.size) or rule.fit == "center":
        scaled = _SCALERS[rule.fit](image, rule, conversions)
    if _is_flat(np.asarray(scaled)):
        conversions.append(ONE_COLOUR)
    if scaled.size == (rule.size, rule.size):
        return scaled
    conversions.append(FILLED)
    ground = Image.new("RGB", (rule.size, rule.size), WHITE)
    ground.paste(scaled, ((rule.size - scaled.width) // 2, (rule.size - scaled.height) // 2))
    return ground


def _letterbox(image: Image.Image, rule: Rule, conversions: list[str]) -> Image.Image:
    """The longer side as long as the square's."""
    width, height = image.size
    longer = max(width, height)
    if longer == rule.size:
        return image
    inner = (max(1, round(width * rule.size / longer)), max(1, round(height * rule.size / longer)))
    return _resize(image, inner, longer, rule, conversions)


def _stretch(image: Image.Image, rule: Rule, conversions: list[str]) -> Image.Image:
    if image.width != image.height:
        conversions.append("stretched to a square")
    return _resize(image, (rule.size, rule.size), max(image.size), rule, conversions)


def _crop(image: Image.Image, rule: Rule, conversions: list[str]) -> Image.Image:
    shorter = min(image.size)
    if image.width != image.height:
        conversions.append("cropped to the middle square")
        left, top = (image.width - shorter) // 2, (image.height - shorter) // 2
        image = image.crop((left, top, left + shorter, top + shorter))
    if shorter == rule.size:
        return image
    return _resize(image, (rule.size, rule.size), shorter, rule, conversions)


def _center(image: Image.Image, rule: Rule, conversions: list[str]) -> Image.Image:
    conversions.append("cropped to the middle")
    side = max(1, round(CENTER * min(image.size)))
    left, top = (image.width - side) // 2, (image.height - side) // 2
    image = image.crop((left, top, left + side, top + side))
    return image if side == rule.size else _resize(image, (rule.size, rule.size), side, rule, conversions)


def _resize(
    image: Image.Image, inner: tuple[int, int], side: int, rule: Rule, conversions: list[str]
) -> Image.Image:
    conversions.append("reduced" if side > rule.size else "enlarged")
    return image.resize(inner, _RESAMPLINGS[rule.resampling])


_SCALERS = {"letterbox": _letterbox, "stretch": _stretch, "crop": _crop, "center": _center}
_RESAMPLINGS: dict[Resampling, Image.Resampling] = {
    "lanczos": Image.Resampling.LANCZOS,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}
