"""Whatever lies in a folder: one clear message, or the image is left out by name; none is replaced."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from benchgraft.config.frame import Frame
from benchgraft.errors import DataError, UserError
from benchgraft.photos.decode import FITS, ONE_COLOUR, Fit, Rule, decode
from benchgraft.photos.formats import MAX_PIXELS, Undecodable
from benchgraft.photos.readers import open_source
from benchgraft.store import packing
from benchgraft.store.store import Store, open_store

SIZE = 16


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two classes of two good images each."""
    folder = tmp_path / "photos"
    for name in ("cat", "dog"):
        (folder / name).mkdir(parents=True)
        for number in range(2):
            (folder / name / f"{number}.png").write_bytes(encoded(picture(hash_of(name) + number)))
    return folder


# --- single images ------------------------------------------------------------------------------------------


def test_image_of_the_right_size_is_taken_as_it_is() -> None:
    image = picture(0)
    pixels, conversions = decode(encoded(image), Rule(SIZE))
    assert (pixels == np.asarray(image)).all()
    assert pixels.dtype == np.uint8
    assert conversions == ()


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "empty file"),
        (b"no image at all", "not an image of a known format"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image of a known format"),
        (b"\xff\xd8\xff\xe0", "not an image of a known format"),
        (b"\x89PNG\r\n\x1a\n", "not an image|damaged|truncated"),
    ],
)
def test_bytes_that_are_no_image_are_refused_with_the_reason(raw: bytes, reason: str) -> None:
    with pytest.raises(Undecodable, match=reason):
        decode(raw, Rule(SIZE))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "WEBP", "GIF", "TIFF"])
def test_truncated_file_is_refused(kind: str) -> None:
    raw = encoded(picture(0, (64, 64)), kind)
    for part in (0.3, 0.6, 0.9):
        with pytest.raises(Undecodable):
            decode(raw[: int(len(raw) * part)], Rule(SIZE))


@given(
    st.binary(max_size=300),
    st.integers(0, 400),
    st.sampled_from(["JPEG", "PNG", "GIF", "TIFF", "WEBP", "BMP"]),
)
def test_garbage_in_a_file_gives_pixels_or_a_reason_and_nothing_else(
    garbage: bytes, place: int, kind: str
) -> None:
    raw = encoded(picture(0), kind)
    try:
        pixels, _ = decode(raw[:place] + garbage + raw[place + len(garbage) :], Rule(SIZE))
    except Undecodable as reason:
        assert str(reason).isprintable()
    else:
        assert pixels.shape == (SIZE, SIZE, 3)


@pytest.mark.parametrize("side", [9_000, 20_000, 60_000])
def test_decompression_bomb_is_refused_from_its_header(side: int) -> None:
    assert side * side > MAX_PIXELS
    with pytest.raises(Undecodable, match="too large"):
        decode(png_header(side, side), Rule(SIZE))


@pytest.mark.parametrize(
    ("mode", "name"),
    [("L", "from L"), ("1", "from 1"), ("P", "from P"), ("CMYK", "from CMYK"), ("I;16", "from I;16")],
)
def test_other_colour_modes_become_rgb_and_are_named(mode: str, name: str) -> None:
    image = Image.new("L", (SIZE, SIZE), 255)
    if mode == "I;16":
        image = Image.fromarray(np.full((SIZE, SIZE), 65535, np.uint16))
    else:
        image = image.convert(mode)
    pixels, conversions = decode(encoded(image, "TIFF"), Rule(SIZE))
    assert (pixels == 255).all()
    assert conversions == (name, ONE_COLOUR)


def test_sixteen_bit_grey_is_rounded_to_eight() -> None:
    values = np.arange(SIZE * SIZE, dtype=np.uint16).reshape(SIZE, SIZE) * 257
    for kind in ("PNG", "TIFF"):
        pixels, _ = decode(encoded(Image.fromarray(values), kind), Rule(SIZE))
        assert (pixels[..., 0] == values // 257).all()


@pytest.mark.parametrize("dtype", [np.int32, np.float32])
def test_grey_values_without_an_agreed_range_are_refused(dtype: type) -> None:
    image = Image.fromarray(np.full((SIZE, SIZE), 70000, dtype))
    with pytest.raises(Undecodable, match="no agreed range"):
        decode(encoded(image, "TIFF"), Rule(SIZE))


def test_transparent_pixels_become_white() -> None:
    values = np.zeros((SIZE, SIZE, 4), np.uint8)
    values[:8, :, 3] = 255
    pixels, conversions = decode(encoded(Image.fromarray(values)), Rule(SIZE))
    assert (pixels[:8] == 0).all()
    assert (pixels[8:] == 255).all()
    assert conversions == ("alpha laid on white",)


def test_transparent_palette_and_grey_become_white() -> None:
    palette = Image.new("P", (SIZE, SIZE), 0)
    palette.putpalette([0, 0, 0])
    palette.info["transparency"] = 0
    for image in (palette, Image.new("LA", (SIZE, SIZE), (0, 0))):
        pixels, conversions = decode(encoded(image), Rule(SIZE))
        assert (pixels == 255).all()
        assert conversions[0] == "alpha laid on white"


@pytest.mark.parametrize(
    ("size", "said"),
    [
        ((32, 32), ("reduced",)),
        ((8, 8), ("enlarged",)),
        ((32, 8), ("reduced", "filled up with white")),
        ((16, 4), ("filled up with white",)),
        ((1, 500), ("reduced", "filled up with white")),
    ],
)
def test_other_sizes_are_fitted_in_proportion_on_white(size: tuple[int, int], said: tuple[str, ...]) -> None:
    pixels, conversions = decode(encoded(Image.new("RGB", size, "black")), Rule(SIZE))
    assert tuple(name for name in conversions if name != ONE_COLOUR) == said
    dark = pixels[..., 0] < 128
    width, height = (max(1, round(side * SIZE / max(size))) for side in size)
    assert dark.sum() == width * height
    assert dark[SIZE // 2 - (height == 1)].any() or dark[:, SIZE // 2].any()


def test_large_jpeg_is_fitted_like_a_small_one() -> None:
    image = Image.new("RGB", (1600, 800), "red")
    pixels, conversions = decode(encoded(image, "JPEG"), Rule(SIZE))
    assert conversions == ("reduced", ONE_COLOUR, "filled up with white")
    assert (pixels[:4] == 255).all()
    assert (abs(pixels[6:10].astype(int) - [254, 0, 0]) < 4).all()


def test_photo_is_turned_as_its_camera_says() -> None:
    values = np.zeros((SIZE, SIZE, 3), np.uint8)
    values[:8] = 255
    image = Image.fromarray(values)
    exif = image.getexif()
    exif[0x0112] = 6
    pixels, conversions = decode(encoded(image, exif=exif.tobytes()), Rule(SIZE))
    assert conversions == ("turned as EXIF says",)
    assert (pixels[:, 8:] == 255).all()
    assert (pixels[:, :8] == 0).all()


def test_damaged_exif_costs_no_image() -> None:
    pixels, _ = decode(
        encoded(picture(0), "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + b"\1" * 30), Rule(SIZE)
    )
    assert pixels.shape == (SIZE, SIZE, 3)


def test_first_frame_of_several_is_taken_and_said() -> None:
    frames = [Image.new("RGB", (SIZE, SIZE), colour) for colour in ("red", "blue")]
    pixels, conversions = decode(
        encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]), Rule(SIZE)
    )
    assert pixels[0, 0].tolist() == [255, 0, 0]
    assert "first of several frames" in conversions


@pytest.mark.parametrize(
    ("fit", "said", "red_columns"),
    [
        ("letterbox", ("reduced", "filled up with white"), 0),
        ("stretch", ("stretched to a square", "reduced"), 4),
        ("crop", ("cropped to the middle square", "reduced"), 0),
    ],
)
def test_photo_that_is_not_square_follows_the_rule(fit: Fit, said: tuple[str, ...], red_columns: int) -> None:
    values = np.zeros((32, 64, 3), np.uint8)
    values[:, :16, 0] = values[:, 48:, 0] = 255
    pixels, conversions = decode(encoded(Image.fromarray(values)), Rule(SIZE, fit))

    assert tuple(name for name in conversions if name != ONE_COLOUR) == said
    is_white = (pixels == 255).all(axis=2)
    is_red = (pixels[..., 0] > 200) & ~is_white & (pixels[..., 1] < 50)
    assert is_white.all(axis=1).sum() == (SIZE // 2 if fit == "letterbox" else 0)
    assert is_red.all(axis=0).sum() == (2 * red_columns if fit == "stretch" else 0)
    if fit == "crop":
        assert (pixels[:, 1:-1] < 50).all(), "the red ends are cut off"


@pytest.mark.parametrize("fit", ["letterbox", "stretch", "crop"])
def test_square_photo_comes_out_alike_under_every_rule(fit: Fit) -> None:
    raw = encoded(picture(3, (40, 40)))
    assert (decode(raw, Rule(SIZE, fit))[0] == decode(raw, Rule(SIZE))[0]).all()


def test_sixteen_bit_colour_keeps_the_high_byte() -> None:
    raw = sixteen_bit_png(np.array([[[0x12FF, 0x3400, 0xFF00]] * SIZE] * SIZE, ">u2"))
    pixels, _ = decode(raw, Rule(SIZE))
    assert pixels[0, 0].tolist() == [0x12, 0x34, 0xFF]


def test_transparency_of_a_large_photo_takes_little_more_memory_than_its_pixels(tmp_path: Path) -> None:
    side = 4000
    (tmp_path / "large.png").write_bytes(encoded(Image.new("RGBA", (side, side)), compress_level=1))
    code = (
        "import resource, sys; from pathlib import Path; from benchgraft.photos.decode import Rule, decode\n"
        "raw = Path(sys.argv[1]).read_bytes()\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "before = peak(); decode(raw, Rule(16)); print(peak() - before)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "large.png")]
    answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    unit = 1 if sys.platform == "darwin" else 1024
    # 4 bytes a pixel as decoded, 3 as RGB, and a band; laid on white in one piece it would be 19.
    assert int(answer) * unit < 10 * side * side


# --- folders ------------------------------------------------------------------------------------------------


def test_truncated_jpeg_is_named_and_counted_never_replaced(root: Path, tmp_path: Path) -> None:
    raw = encoded(picture(7, (64, 64)), "JPEG")
    (root / "cat" / "1x.jpg").write_bytes(raw[: len(raw) // 2])
    (root / "dog" / "empty.png").write_bytes(b"")
    (root / "dog" / "text.jpg").write_text("hello")

    opened = open_root(root, tmp_path)

    assert opened.keys == ["cat/0.png", "cat/1.png", "dog/0.png", "dog/1.png"]
    reasons = {image.key: image.reason for image in opened.excluded}
    assert set(reasons) == {"cat/1x.jpg", "dog/empty.png", "dog/text.jpg"}
    assert "truncated" in reasons["cat/1x.jpg"]
    assert reasons["dog/empty.png"] == "empty file"
    assert len(opened.pixels) == len(opened.labels) == len(opened.digests) == 4
    assert open_root(root, tmp_path).excluded == opened.excluded, "still told when the store is reused"


def test_conversions_are_counted(root: Path, tmp_path: Path) -> None:
    for number in range(3):
        (root / "cat" / f"grey{number}.png").write_bytes(encoded(Image.new("L", (SIZE, SIZE), number)))
    assert open_root(root, tmp_path).conversions == {"from L": 3}


def test_damaged_images_are_refused_where_the_user_says_so(root: Path, tmp_path: Path) -> None:
    for number in range(5):
        (root / "cat" / f"bad{number}.jpg").write_text("hello")
    source = open_source("folder", root)

    with pytest.raises(
        DataError, match=r"5 of 9 images cannot be used(.|\n)*cat/bad0.jpg: not.*(.|\n)*2 more"
    ):
        open_store(source, tmp_path / "cache", Frame(SIZE), damaged="refuse")
    with pytest.raises(DataError, match="5 of 9 images"):
        open_store(source, tmp_path / "cache", Frame(SIZE), damaged="refuse")
    assert len(open_store(source, tmp_path / "cache", Frame(SIZE))) == 4


def test_rule_for_photos_that_are_not_square_is_part_of_the_key(root: Path, tmp_path: Path) -> None:
    (root / "cat" / "wide.png").write_bytes(encoded(picture(3, (20, 40))))
    source = open_source("folder", root)
    opened = [open_store(source, tmp_path / "cache", Frame(SIZE, fit)) for fit in FITS]

    assert [store.frame.fit for store in opened] == list(FITS)
    assert len({store.key for store in opened}) == len(FITS)
    assert len({store.pixels[2].tobytes() for store in opened}) == len(FITS)
    again = open_store(source, tmp_path / "cache", Frame(SIZE, "crop"))
    assert (again.key, again.frame.fit, again.decoded) == (opened[2].key, "crop", 0)


def test_no_usable_image_at_all_is_one_message(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        (tmp_path / "photos" / name / "a.jpg").write_text("no")
    with pytest.raises(DataError, match=r"none of the 2 images can be used(.|\n)*cat/a.jpg: not an image"):
        open_root(tmp_path / "photos", tmp_path)
    assert list((tmp_path / "cache" / "stores").iterdir()) == []


@pytest.mark.parametrize("name", ["cifar100", "fruits360", "folder"])
def test_missing_empty_or_wrong_folders_are_one_message(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("x")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "dangling").symlink_to("nothing")
    for place, said in {
        "missing/deeper": f"does not exist(.|\n)*{tmp_path}",
        "empty": "empty",
        "file": "is not a folder",
        "file/below": "does not exist|cannot reach",
        "loop": "leads nowhere|cannot reach",
        "dangling": "leads nowhere",
        "x" * 300: "cannot reach",
        "a\0b": "does not exist|cannot reach",
    }.items():
        with pytest.raises(DataError, match=said) as caught:
            open_source(name, tmp_path / place)
        assert all(line.isprintable() for line in str(caught.value).splitlines())


def test_links_are_never_followed(root: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.png").write_bytes(encoded(picture(5)))
    (root / "cat" / "outside.png").symlink_to(outside / "secret.png")
    (root / "cat" / "dangling.png").symlink_to("nothing.png")
    (root / "cat" / "circle").symlink_to(root)
    (root / "fox").symlink_to(outside)

    opened = open_root(root, tmp_path)

    assert len(opened) == 4
    assert opened.class_names == ["cat", "dog"]
    told = "\n".join(opened.notes)
    assert "3 links ignored, such as cat/" in told
    assert 'the folder "fox" is a link and not followed: 1 photo left out; put' in told


def test_folder_of_links_only_says_so(tmp_path: Path) -> None:
    (tmp_path / "photos" / "cat").mkdir(parents=True)
    (tmp_path / "photos" / "cat" / "a.png").symlink_to("/elsewhere.png")
    with pytest.raises(DataError, match=r"no images in class folders(.|\n)*links are not followed, copy"):
        open_root(tmp_path / "photos", tmp_path)


def test_hidden_foreign_and_special_files_are_ignored_and_counted(root: Path, tmp_path: Path) -> None:
    (root / "cat" / "._0.png").write_bytes(b"resource fork")
    (root / ".git" / "x").mkdir(parents=True)
    (root / "cat" / "Thumbs.db").write_bytes(b"x")
    (root / "readme.txt").write_text("x")
    (root / "loose.png").write_bytes(encoded(picture(3)))
    os.mkfifo(root / "dog" / "pipe.png")
    (root / "dog" / "folder.png").mkdir()
    (root / "emu").mkdir()

    opened = open_root(root, tmp_path)

    assert len(opened) == 4
    told = "\n".join(opened.notes)
    for said in (
        "2 hidden files or folders ignored",
        "2 files that are no images by name ignored",
        "1 image outside class folders ignored, such as loose.png",
        "1 special file (pipe, device, socket) ignored, such as dog/pipe.png",
        "the class folder emu/ holds no image",
    ):
        assert said in told


@pytest.mark.parametrize(
    "name",
    [
        "two words",
        'it\'s "quoted"',
        "line\nbreak",
        "esc\x1b[31m",
        "яблоко",
        "りんご",
        "-rf",
        "a#b%20[x]",
        "ta\tb",
    ],
)
def test_any_name_is_read_and_shown_on_one_line(root: Path, tmp_path: Path, name: str) -> None:
    (root / name).mkdir()
    (root / name / f"{name}.png").write_bytes(encoded(picture(4)))

    opened = open_root(root, tmp_path)

    assert len(opened) == 5
    assert len(opened.class_names) == 3
    for text in (*opened.keys, *opened.class_names):
        assert text.isprintable()
        text.encode()


def test_name_that_is_no_utf8_is_read_and_shown_with_escapes(root: Path, tmp_path: Path) -> None:
    (root / os.fsdecode(b"caf\xe9")).mkdir()
    (root / os.fsdecode(b"caf\xe9") / "0.png").write_bytes(encoded(picture(4)))
    assert "caf\\xe9" in open_root(root, tmp_path).class_names


def test_accents_written_apart_give_the_same_class(root: Path, tmp_path: Path) -> None:
    for side, name in (("Training", "caf\u00e9"), ("Test", "cafe\u0301")):
        (root / side / name).mkdir(parents=True)
        (root / side / name / "0.png").write_bytes(encoded(picture(hash_of(side))))
    opened = open_store(open_source("fruits360", root), tmp_path / "cache", Frame(SIZE))
    assert opened.class_names == ["caf\u00e9"]


def test_unreadable_file_is_left_out_with_the_reason(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse_one(path: Path, *rest: Any, **named: Any) -> Any:
        if str(path).endswith("cat/1.png"):
            raise PermissionError(13, "Permission denied")
        return open(path, *rest, **named)  # noqa: PTH123

    monkeypatch.setattr(packing, "open", refuse_one, raising=False)
    opened = open_root(root, tmp_path)

    assert [(image.key, image.reason) for image in opened.excluded] == [
        ("cat/1.png", "cannot be read: Permission denied")
    ]


def test_huge_file_is_left_out_unread(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "MAX_FILE_BYTES", 10_000)
    with (root / "cat" / "huge.png").open("wb") as file:
        file.truncate(20_000)
    opened = open_root(root, tmp_path)
    assert opened.excluded[0].reason == "too large: a file of 20,000 bytes, limit 10,000"


@pytest.mark.parametrize("size", [0, -1, 100_000])
def test_impossible_store_size_is_refused(root: Path, tmp_path: Path, size: int) -> None:
    with pytest.raises(UserError, match="out of range"):
        open_store(open_source("folder", root), tmp_path, Frame(size))


# --- making images ------------------------------------------------------------------------------------------


def open_root(root: Path, tmp_path: Path) -> Store:
    return open_store(open_source("folder", root), tmp_path / "cache", Frame(SIZE))


def picture(seed: int, size: tuple[int, int] = (SIZE, SIZE)) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 255, (*size, 3), np.uint8))


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def hash_of(text: str) -> int:
    return zlib.crc32(text.encode())


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims to be large and holds nothing."""
    chunk = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    start = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    body = b"IDAT" + zlib.compress(b"\0" * 100)
    return start + struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))


def sixteen_bit_png(values: np.ndarray[Any, Any]) -> bytes:
    """Colour of 16 bits a channel, which Pillow reads but does not write."""
    height, width, _ = values.shape
    lines = b"".join(b"\0" + line.tobytes() for line in values)
    parts = [
        b"IHDR" + struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0),
        b"IDAT" + zlib.compress(lines),
        b"IEND",
    ]
    chunks = [struct.pack(">I", len(part) - 4) + part + struct.pack(">I", zlib.crc32(part)) for part in parts]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)
