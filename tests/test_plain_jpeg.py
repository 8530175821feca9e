"""The quick way through a plain JPEG gives the bits of the thorough one, and leaves all else to it."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from benchgraft.photos import decode as module
from benchgraft.photos.decode import Rule, decode
from benchgraft.photos.formats import Undecodable

SIZE = 100


def _photo(seed: int = 0, size: int = SIZE) -> Image.Image:
    small = np.random.default_rng(seed).integers(256, size=(9, 7, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((size, size), Image.Resampling.BICUBIC)


def _jpeg(image: Image.Image, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, "JPEG", **options)
    return out.getvalue()


def _turned_by_exif() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return _jpeg(_photo(), exif=exif.tobytes())


def _turned_by_xmp() -> bytes:
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    return _jpeg(_photo(), xmp=xmp)


PLAIN = {
    "4:2:0": _jpeg(_photo(), quality=75),
    "4:4:4": _jpeg(_photo(1), quality=95, subsampling=0),
    "4:2:2": _jpeg(_photo(2), quality=30, subsampling=1),
    "progressive": _jpeg(_photo(3), progressive=True),
    "restarts": _jpeg(_photo(4), restart_marker_blocks=3),
}
OTHER = {
    "grey": _jpeg(_photo().convert("L")),
    "CMYK": _jpeg(_photo().convert("CMYK")),
    "turned by EXIF": _turned_by_exif(),
    "turned by XMP": _turned_by_xmp(),
    "another size": _jpeg(_photo(size=SIZE + 1)),
    "bytes after the end": _jpeg(_photo()) + b"more",
}


@pytest.mark.parametrize("raw", [*PLAIN.values(), *OTHER.values()], ids=[*PLAIN, *OTHER])
def test_pixels_and_conversions_are_those_of_pillow(raw, monkeypatch):
    quick = decode(raw, Rule(SIZE))
    monkeypatch.setattr(module, "_plain_jpeg", lambda *_: None)
    thorough = decode(raw, Rule(SIZE))
    assert quick[1] == thorough[1]
    assert np.array_equal(quick[0], thorough[0])


@pytest.mark.parametrize("raw", PLAIN.values(), ids=PLAIN)
def test_a_plain_jpeg_takes_the_quick_way(raw):
    assert module._plain_jpeg(raw, SIZE) is not None


@pytest.mark.parametrize("end", [3, 200, -400, -2])
def test_a_cut_jpeg_meets_the_same_fate_as_with_pillow(end, monkeypatch):
    raw = PLAIN["4:2:0"][:end]

    def fate() -> str | bytes:
        try:
            return decode(raw, Rule(SIZE))[0].tobytes()
        except Undecodable as reason:
            return str(reason)

    quick = fate()
    monkeypatch.setattr(module, "_plain_jpeg", lambda *_: None)
    assert quick == fate()
