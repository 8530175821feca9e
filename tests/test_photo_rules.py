"""Which photos of a folder count, for which class, with what pixels; and nothing is passed over untold."""

from __future__ import annotations

import io
import itertools
import os
import shutil
import struct
import subprocess
import sys
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from photos import cloud, write_clouds, write_photos
from PIL import Image, features
from typer.testing import CliRunner, Result

from benchgraft import adapt, evaluate, export, predict
from benchgraft.cli import app
from benchgraft.config.frame import Frame
from benchgraft.engines.card import from_metadata
from benchgraft.errors import DataError
from benchgraft.networks import model_file
from benchgraft.photos.decode import CLIPPED, ONE_COLOUR, RESAMPLINGS, Rule, decode
from benchgraft.photos.formats import MAX_PIXELS, Undecodable
from benchgraft.photos.readers import guess_format, open_source
from benchgraft.store.store import open_store
from benchgraft.tasks.check import CheckReport, check
from benchgraft.tasks.predict import Prediction, Unreadable

SIDE = 40
MISSING_HEIC = "HEIC needs pip install 'benchgraft[heic]'"
MISSING_AVIF = "AVIF needs a newer Pillow: pip install --upgrade pillow"


# --- HEIC and AVIF ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["HEIF", "AVIF"])
def test_heic_and_avif_are_read_whatever_the_file_is_called(kind, tmp_path):
    raw = _saved(cloud(1), kind)
    pixels, conversions = decode(raw, Rule(100))
    assert conversions == ()
    assert np.abs(pixels.astype(int) - np.asarray(cloud(1))).mean() < 6, "as lossy compression leaves it"
    photos = write_photos(tmp_path / "photos", {"red": 2, "green": 2})
    for name in ("a.heic", "b.avif", "c.HIF", "d.jpg"):
        (photos / "red" / name).write_bytes(raw)
    assert _checked(photos, tmp_path).counts["red"]["not split"] == 6


@pytest.mark.parametrize("kind", ["HEIF", "AVIF"])
def test_photo_of_a_camera_held_upright_is_turned_once(kind):
    wide = np.zeros((SIDE, 2 * SIDE, 3), np.uint8)
    wide[:, SIDE:] = 255
    image = Image.fromarray(wide)
    exif = image.getexif()
    exif[0x0112] = 6
    pixels, _ = decode(_saved(image, kind, exif=exif.tobytes()), Rule(2 * SIDE, "stretch"))
    top, bottom = pixels[10:30].mean(), pixels[50:70].mean()
    assert top < 20 and bottom > 235


@pytest.mark.parametrize("name", RESAMPLINGS)
def test_a_photo_is_scaled_as_the_rule_says(name):
    image = cloud(5)
    kind = getattr(Image.Resampling, name.upper())
    pixels, _ = decode(_saved(image), Rule(60, resampling=name))
    assert np.array_equal(pixels, np.asarray(image.resize((60, 60), kind)))


def test_stores_of_one_folder_differ_by_how_its_photos_are_scaled(tmp_path):
    source = open_source("folder", write_photos(tmp_path / "photos", {"red": 3, "green": 3}))
    for resampling in (*RESAMPLINGS, *RESAMPLINGS):
        store = open_store(source, tmp_path / "cache", Frame(60, resampling=resampling))
        for row, key in enumerate(store.keys):
            raw = (tmp_path / "photos" / key).read_bytes()
            assert np.array_equal(store.pixels[row], decode(raw, Rule(60, resampling=resampling))[0])
    assert store.decoded == 0


@pytest.mark.parametrize(("kind", "reason"), [("HEIF", MISSING_HEIC), ("AVIF", MISSING_AVIF)])
def test_photos_that_nothing_here_can_read_are_named_and_are_read_once_something_can(
    kind, reason, tmp_path, monkeypatch
):
    photos = write_photos(tmp_path / "photos", {"red": 2, "green": 2})
    (photos / "red" / "a.heic").write_bytes(_saved(cloud(1), kind))
    with monkeypatch.context() as without:
        _take_reader_away(kind, without)
        for _ in range(2):
            report = _checked(photos, tmp_path)
            assert [(item.key, item.reason) for item in report.excluded] == [("red/a.heic", reason)]
    assert _checked(photos, tmp_path).excluded == []


def test_a_folder_of_heic_alone_is_told_as_what_it_is(model, tmp_path, monkeypatch):
    for name in ("a.heic", "b.HEIC"):
        (tmp_path / name).write_bytes(_saved(cloud(1), "HEIF"))
    assert all(isinstance(answer, Prediction) for answer in predict(model, [tmp_path]))
    _take_reader_away("HEIF", monkeypatch)
    answers = list(predict(model, [tmp_path]))
    assert [(Path(answer.path).name, answer.reason) for answer in answers] == [
        ("a.heic", MISSING_HEIC),
        ("b.HEIC", MISSING_HEIC),
    ]


def test_threads_that_meet_the_first_heic_together_all_read_it(tmp_path):
    raw = _saved(cloud(1), "HEIF")
    (tmp_path / "a.heic").write_bytes(raw)
    code = (
        "import sys; from pathlib import Path; from concurrent.futures import ThreadPoolExecutor\n"
        "from benchgraft.photos.decode import Rule, decode\n"
        "assert 'pillow_heif' not in sys.modules\n"
        "raw = Path(sys.argv[1]).read_bytes()\n"
        "with ThreadPoolExecutor(8) as pool:\n"
        "    found = list(pool.map(lambda _: decode(raw, Rule(100))[0].tobytes(), range(16)))\n"
        "assert len(set(found)) == 1"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code, str(tmp_path / "a.heic")], check=True)
    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(lambda _: decode(raw, Rule(100))[0].tobytes(), range(8)))) == 1


@given(st.binary(max_size=200), st.integers(0, 3000), st.sampled_from(["HEIF", "AVIF"]))
def test_garbage_in_heic_and_avif_gives_pixels_or_a_reason_and_nothing_else(garbage, place, kind):
    raw = _saved(cloud(1), kind)
    try:
        pixels, _ = decode(raw[:place] + garbage + raw[place + len(garbage) :], Rule(SIDE))
    except Undecodable as reason:
        assert str(reason).isprintable()
    else:
        assert pixels.shape == (SIDE, SIDE, 3)


@pytest.mark.parametrize("kind", ["HEIF", "AVIF"])
@pytest.mark.parametrize("side", [9_000, 20_000, 65_000])
def test_heic_and_avif_that_say_they_are_huge_are_refused_from_the_header(kind, side):
    assert side * side > MAX_PIXELS
    raw = _saved(cloud(1), kind)
    place = raw.index(b"ispe") + 8
    with pytest.raises(Undecodable, match=r"too large|damaged: cannot be read as AVIF"):
        decode(raw[:place] + struct.pack(">II", side, side) + raw[place + 8 :], Rule(SIDE))


@pytest.mark.parametrize("kind", ["HEIF", "AVIF"])
def test_half_a_heic_or_avif_is_refused(kind):
    raw = _saved(cloud(1), kind)
    for part in (0.2, 0.5, 0.9):
        with pytest.raises(Undecodable, match=r"damaged|truncated"):
            decode(raw[: int(len(raw) * part)], Rule(SIDE))


def test_films_and_other_boxes_are_no_images():
    for brand in (b"qt  ", b"mp42", b"crx "):
        raw = struct.pack(">I", 16) + b"ftyp" + brand + bytes(100)
        with pytest.raises(Undecodable, match="not an image of a known format"):
            decode(raw, Rule(SIDE))


# --- what is passed over ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """A model of the classes red and green."""
    folder = tmp_path_factory.mktemp("model")
    photos = write_photos(folder / "photos", {"red": 30, "green": 30})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("benchgraft.tasks.adapt.STEPS", 1, raising=False)
        adapt(
            photos,
            folder / "m.safetensors",
            cache=folder / "cache",
            run_folder=folder / "run",
            parent="paper",
        )
    return folder / "m.safetensors"


def _with_strays(photos: Path) -> Path:
    """Two of each kind that is passed over, in the folder of red."""
    red = photos / "red"
    for number in range(2):
        (red / f"link{number}.png").symlink_to("0000.png")
        (red / f".hidden{number}.png").write_bytes(b"x")
        (red / f"notes{number}.txt").write_text("x")
        (red / f"raw{number}.NEF").write_bytes(b"x")
    return photos


STRAYS = (
    "2 links ignored, such as ",
    "2 hidden files or folders ignored, such as ",
    "2 files that are no images by name ignored, such as ",
    "2 raw photos of cameras (export them as JPEG) ignored, such as ",
)


def test_what_predict_passes_over_is_counted_and_named_aside_with_exit_code_0(model, tmp_path):
    photos = _with_strays(write_photos(tmp_path / "new", {"red": 3}))
    done = _command("predict", model, photos)
    assert done.exit_code == 0
    assert len(done.stdout.splitlines()) == 3
    notes = done.stderr.splitlines()
    assert len(notes) == len(STRAYS) and all(note.startswith("note: ") for note in notes)
    for said in STRAYS:
        assert sum(f"note: {said}{photos}" in note for note in notes) == 1


def test_a_link_or_a_foreign_file_that_is_named_itself_is_tried(model, tmp_path):
    photos = write_photos(tmp_path / "new", {"red": 1})
    (tmp_path / "link").symlink_to(photos / "red" / "0000.png")
    shutil.copy(photos / "red" / "0000.png", tmp_path / "photo.bin")
    answers = list(predict(model, [tmp_path / "link", tmp_path / "photo.bin"]))
    assert [type(answer) for answer in answers] == [Prediction, Prediction]


def test_a_folder_without_photos_says_what_it_holds_instead(model, tmp_path):
    (tmp_path / "a.png").symlink_to("b.png")
    (tmp_path / "film.mov").write_bytes(b"x")
    (answer,) = predict(model, [tmp_path])
    assert isinstance(answer, Unreadable)
    assert answer.reason.startswith(
        "a folder without photos; 1 file that is no image by name ignored, such as film"
    )
    assert "1 link ignored" in answer.reason


def test_a_folder_that_cannot_be_listed_is_an_answer_and_costs_no_other(model, tmp_path, monkeypatch):
    from benchgraft.photos import scan

    photos = write_photos(tmp_path / "new", {"green": 1, "locked": 1, "red": 1})

    def listed(folder, ignored, real=scan.list_folder):
        if folder.endswith("locked"):
            raise DataError(f"cannot read the folder {folder}: Permission denied")
        return real(folder, ignored)

    monkeypatch.setattr(scan, "list_folder", listed)
    answers = list(predict(model, [photos]))
    assert [type(answer) for answer in answers] == [Prediction, Prediction, Unreadable]
    assert answers[2].path == str(photos / "locked") and "Permission denied" in answers[2].reason


def test_what_evaluate_and_data_check_pass_over_is_told(model, tmp_path):
    photos = _with_strays(write_photos(tmp_path / "photos", {"red": 6, "green": 6}, start=500))
    done = _command("evaluate", model, photos, "--cache-dir", tmp_path / "cache")
    found = evaluate(model, photos, cache=tmp_path / "cache")
    report = _checked(photos, tmp_path)
    for said in STRAYS:
        assert f"note: {said}red/" in done.stdout
        for notes in (found.notes, report.notes):
            assert any(note.startswith(f"{said}red/") for note in notes)


def test_many_left_out_photos_and_unknown_classes_are_summed_up(model, tmp_path):
    photos = write_photos(tmp_path / "photos", {"red": 6, "green": 6} | {f"x{n:02}": 1 for n in range(30)})
    for number in range(40):
        (photos / "red" / f"bad{number:02}.png").write_bytes(b"x")
    done = _command("evaluate", model, photos, "--include-trained", "--cache-dir", tmp_path / "cache")
    lines = [line for line in done.stdout.splitlines() if line.startswith("left out")]
    assert len(lines) == 5
    assert "left out, and 37 more: not an image of a known format" in lines
    assert 'does not know these classes: "x00" (1 photo)' in lines[-1] and lines[-1].endswith("and 25 more")


# --- depth, links, names ------------------------------------------------------------------------------------


def test_a_photo_belongs_to_the_first_folder_below_the_root_however_deep_it_lies(model, tmp_path):
    photos = write_photos(tmp_path / "photos", {"red": 4, "green": 4}, start=500)
    write_photos(photos / "red", {"2024/05": 3, "2024": 2}, start=600)
    source = open_source(guess_format(photos), photos)
    assert {sample.class_name for sample in source.samples} == {"red", "green"}
    assert [sample.key for sample in source.samples if sample.key.count("/") == 3] == [
        f"red/2024/05/{number:04}.png" for number in range(600, 603)
    ]
    note = 'photos in folders inside the class folder, such as red/2024/0600.png: taken for "red"'
    assert source.notes == [f"5 {note}"]
    assert evaluate(model, photos, cache=tmp_path / "cache").photos == 13
    assert len(list(predict(model, [photos]))) == 13


def test_depth_in_a_folder_with_a_split_follows_the_same_rule_but_for_groups_of_folders(tmp_path):
    for place in ("Training/cat", "Training/cat/2024/05", "Test/cat/2024", "Training/Apple/Apple 10/more"):
        write_photos(tmp_path / place, {"": 1})
    source = open_source(guess_format(tmp_path), tmp_path)
    assert {
        (sample.key.rpartition("/")[0], sample.class_name, sample.given) for sample in source.samples
    } == {
        ("Training/cat", "cat", "train"),
        ("Training/cat/2024/05", "cat", "train"),
        ("Test/cat/2024", "cat", "test"),
        ("Training/Apple/Apple 10/more", "Apple 10", "train"),
    }
    assert any(note.startswith("3 photos in folders inside the class folder") for note in source.notes)
    assert f"{tmp_path / 'Training' / 'Apple'} holds folders alone: each of them is a class" in source.notes


def test_a_folder_too_high_says_which_one_to_name(tmp_path):
    write_photos(tmp_path / "photos" / "inner", {"red": 3, "green": 3})
    with pytest.raises(DataError, match="only one class: inner") as error:
        adapt(
            tmp_path / "photos",
            tmp_path / "m",
            cache=tmp_path / "cache",
            run_folder=tmp_path / "run",
            parent="paper",
        )
    said = f"if the folders in {tmp_path / 'photos' / 'inner'} are the classes, name that folder"
    assert said in error.value.details


def test_folders_nested_deeper_than_pythons_stack_are_walked(tmp_path):
    photos = write_photos(tmp_path / "photos", {"red": 2, "green": 2})
    half = "/".join(["a"] * 520)
    os.makedirs(photos / "red" / half)  # noqa: PTH103 - Path.mkdir() calls itself, level by level
    os.makedirs(photos / "red" / half / half)  # noqa: PTH103
    shutil.copy(photos / "red" / "0000.png", photos / "red" / half / half / "b.png")
    samples = open_source("folder", photos).samples
    subprocess.run(["rm", "-rf", photos / "red" / "a"], check=True)  # pytest's own way of it calls itself too
    assert len(samples) == 5


def test_class_folders_that_are_links_are_named_with_their_photos_and_not_followed(tmp_path):
    photos = write_photos(tmp_path / "photos", {"red": 3, "green": 3})
    outside = write_photos(tmp_path / "outside", {"fox": 4, "fox/2024": 2, "elk": 1})
    (outside / "fox" / "more").symlink_to(tmp_path)
    (photos / "fox").symlink_to(outside / "fox")
    assert open_source("folder", photos).notes == [
        'the folder "fox" is a link and not followed: 6 photos left out; '
        "put the folders themselves in place of the links"
    ]
    (photos / "elk").symlink_to(outside / "elk")
    report = _checked(photos, tmp_path)
    assert set(report.counts) == {"red", "green"}
    assert any(
        note.startswith(
            '2 folders are links and not followed, 7 photos left out: "elk" (1 photo), "fox" (6 photos); '
        )
        for note in report.notes
    )


def test_folders_beside_those_of_a_split_are_named_with_their_photos(tmp_path):
    data = tmp_path / "data"
    write_photos(data / "train", {"red": 2, "green": 2})
    write_photos(data / "test", {"red": 1, "green": 1}, start=9)
    write_photos(data, {"more/red": 3})
    (data / "valid").symlink_to(write_photos(tmp_path / "elsewhere", {"red": 4}))
    (data / "loose.png").write_bytes(b"x")
    assert open_source(guess_format(data), data).notes == [
        "1 image outside class folders ignored, such as loose.png",
        'the folder "valid" is a link and not followed: 4 photos left out; '
        "put the folders themselves in place of the links",
        'the folder "more" lies beside those of the split: 3 photos left out',
    ]


def test_a_link_to_a_huge_folder_is_counted_to_a_bound(tmp_path, monkeypatch):
    monkeypatch.setattr("benchgraft.photos.scan.LOOKED_AT", 4)
    photos = write_photos(tmp_path / "photos", {"red": 3, "green": 3})
    write_photos(tmp_path / "outside", {"a": 3, "b": 3, "c": 3})
    (photos / "fox").symlink_to(tmp_path / "outside")
    (note,) = open_source("folder", photos).notes
    assert "at least 3 photos left out" in note or "at least 6 photos left out" in note


def test_empty_class_folders_are_summed_up(tmp_path):
    photos = write_photos(tmp_path / "photos", {"red": 2, "green": 2})
    for number in range(100):
        (photos / f"x{number:02}").mkdir()
    (note,) = open_source("folder", photos).notes
    assert note == "100 class folders hold no image: x00/, x01/, x02/, x03/, x04/ and 95 more"


def test_classes_by_name_only_are_named_with_their_photos(model, tmp_path):
    photos = write_photos(tmp_path / "photos", {"red": 4, "Red ": 2, "green": 3, "ｇreen": 1, "blue": 1})
    wanted = 'different classes by name only: "Red " (2 photos) and "red" (4 photos), "green" (3 photos) and '
    for notes in (_checked(photos, tmp_path).notes, evaluate(model, photos, cache=tmp_path / "c").notes):
        assert sum(note.startswith(wanted) for note in notes) == 1


def test_equal_bytes_in_two_classes_are_told_in_every_command(model, tmp_path, monkeypatch):
    photos = write_photos(tmp_path / "photos", {"red": 20, "green": 20})
    for number in range(3):
        shutil.copy(photos / "red" / f"{number:04}.png", photos / "green" / f"copy{number}.png")
    monkeypatch.setattr("benchgraft.tasks.adapt.STEPS", 1, raising=False)
    made = adapt(
        photos,
        tmp_path / "m.safetensors",
        cache=tmp_path / "cache",
        run_folder=tmp_path / "run",
        overlap="keep",
        parent="paper",
    )
    wanted = (
        "3 photos are in more than one class, byte for byte, such as green/copy0.png = red/0000.png: "
        "more than one label a photo is not supported; leave each in one class"
    )
    report = _checked(photos, tmp_path)
    for notes in (made.notes, report.notes, evaluate(model, photos, cache=tmp_path / "cache").notes):
        assert notes.count(wanted) == 1
    assert len(report.conflicts) == 3


# --- pictures of nearly one colour, and grey of 16 bits -----------------------------------------------------


@pytest.mark.parametrize(
    ("make", "is_told"),
    [
        (lambda: Image.new("RGB", (60, 30), (200, 10, 10)), True),
        (lambda: Image.new("RGBA", (100, 100), (200, 10, 10, 0)), True),
        (lambda: Image.new("L", (300, 300), 0), True),
        (lambda: Image.fromarray(np.arange(100 * 100).reshape(100, 100).astype(np.uint8) % 12), True),
        (lambda: Image.fromarray(np.arange(100 * 100).reshape(100, 100).astype(np.uint8) % 40), False),
        (lambda: _with_spot((100, 100)), False),
        (lambda: _with_spot((60, 30)), False),
    ],
)
@pytest.mark.parametrize("fit", ["letterbox", "stretch", "crop"])
def test_a_picture_of_nearly_one_colour_is_told(make, is_told, fit):
    assert (ONE_COLOUR in decode(_saved(make()), Rule(100, fit))[1]) == is_told


def test_plain_jpeg_of_one_colour_is_told():
    assert decode(_saved(Image.new("RGB", (100, 100), "teal"), "JPEG"), Rule(100))[1] == (ONE_COLOUR,)
    assert decode(_saved(cloud(1), "JPEG"), Rule(100))[1] == ()


def test_pictures_of_one_colour_are_told_by_name_and_kept_when_new_ones_come(model, tmp_path):
    photos = write_photos(tmp_path / "photos", {"red": 3, "green": 3})
    for number in range(5):
        Image.new("RGB", (60, 60), (40 * number, 3, 3)).save(photos / "red" / f"flat{number}.png")
    wanted = (
        "5 photos are nearly one colour (within 16 grey levels): red/flat0.png, red/flat1.png, red/flat2.png "
        "and 2 more"
    )
    for start in (100, 200):
        report = _checked(photos, tmp_path)
        assert wanted in report.notes
        assert ONE_COLOUR not in report.conversions
        assert report.counts["red"]["not split"] == 8, "told, not left out"
        write_photos(photos, {"green": 1}, start=start)
    assert wanted in evaluate(model, photos, include_trained=True, cache=tmp_path / "c").notes
    done = _command("predict", model, photos / "red")
    assert f"note: 5 photos of nearly one colour, such as {photos / 'red' / 'flat0.png'}" in done.stderr
    assert done.exit_code == 0 and len(done.stdout.splitlines()) == 8


def test_sixteen_bit_grey_with_transparency_keeps_its_values():
    values = np.arange(SIDE * SIDE, dtype=np.uint16).reshape(SIDE, SIDE) * 40
    wanted = ((values.astype(int) + 128) // 257).astype(np.uint8)
    hidden = wanted.copy()
    hidden[values == 400] = 255
    pixels, said = decode(_grey_png(values, transparent=400), Rule(SIDE))
    assert (pixels == hidden[..., None]).all()
    assert said == ("alpha laid on white", "from I;16")

    alpha = np.full((SIDE, SIDE), 65535, np.uint16)
    alpha[:5], alpha[5:10] = 0, 32768
    pixels, said = decode(_grey_png(values, alpha), Rule(SIDE))
    assert (pixels[:5] == 255).all()
    assert np.abs(pixels[5:10].astype(int) - (wanted[5:10, :, None].astype(int) + 255) / 2).max() <= 1
    assert (pixels[10:] == wanted[10:, :, None]).all()


def _grey_file(values: np.ndarray, kind: str) -> bytes:
    if kind == "PNG with alpha":
        return _grey_png(values, np.full_like(values, 65535))
    if kind == "PGM":
        head = f"P5 {values.shape[1]} {values.shape[0]} 65535\n".encode()
        return head + values.astype(">u2").tobytes()
    return _saved(
        Image.fromarray(values.astype(np.int32) if kind == "TIFF of 32 bits" else values), kind[:4].strip()
    )


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PGM", "PNG with alpha", "TIFF of 32 bits"])
@pytest.mark.parametrize(
    ("peak", "level"), [(4095, 4095), (4000, 4095), (4096, 8191), (200, 255), (65535, 65535)]
)
def test_white_of_sixteen_bit_grey_is_found_for_the_whole_set(kind, peak, level, tmp_path):
    bright, dark = _grey(1, peak), _grey(2, peak // 8)
    photos = tmp_path / "photos"
    for place, values in (
        ("a/bright.png", bright),
        ("a/dark.png", dark),
        ("b/dark.png", _grey(3, peak // 9)),
    ):
        (photos / place).parent.mkdir(parents=True, exist_ok=True)
        (photos / place).write_bytes(_grey_file(values, kind))
    store = open_store(open_source("folder", photos), tmp_path / "cache", Frame(SIDE))
    assert (store.white_level, store.grey16_peak) == (level, peak)
    for row, values in ((0, bright), (1, dark)):
        wanted = (values.astype(int) * 255 + level // 2) // level
        assert (store.pixels[row] == wanted[..., None]).all(), "one range for all, not stretched one by one"
    again = open_store(open_source("folder", photos), tmp_path / "cache", Frame(SIDE))
    assert (again.key, again.white_level, again.decoded) == (store.key, level, 0)
    told = [note for note in store.notes if "16-bit" in note]
    bits = level.bit_length()
    assert told == (
        []
        if level == 65535
        else [
            f"16-bit grey photos with values up to {peak:,}: read as {bits}-bit, {level:,} is white; "
            "this is part of the model"
        ]
    )


def test_files_that_state_their_range_are_read_by_it():
    values = _grey(1, 4095)
    wanted = (values.astype(int) * 255 + 2047) // 4095
    pgm = f"P5 {SIDE} {SIDE} 4095\n".encode() + values.astype(">u2").tobytes()
    for level in (255, 4095, 65535):
        assert (
            np.abs(decode(pgm, Rule(SIDE, white_level=level))[0].astype(int) - wanted[..., None]).max() <= 1
        )


def test_level_follows_the_folder_and_no_pixel_of_another_level_is_reused(tmp_path):
    photos = tmp_path / "photos"
    for name in ("a", "b"):
        write_clouds(photos / name, 2, start=hash(name) % 97)
        (photos / name / "grey.png").write_bytes(_saved(Image.fromarray(_grey(1 + ord(name), 4000))))
    first = open_store(open_source("folder", photos), tmp_path / "cache", Frame(SIDE))
    (photos / "a" / "later.png").write_bytes(_saved(Image.fromarray(_grey(9, 60000))))
    second = open_store(open_source("folder", photos), tmp_path / "cache", Frame(SIDE))
    assert (first.white_level, second.white_level) == (4095, 65535)
    assert second.decoded == 3, "the two whose white moved, and the new one"
    afresh = open_store(open_source("folder", photos), tmp_path / "other", Frame(SIDE))
    assert (second.key, second.conversions) == (afresh.key, afresh.conversions)
    assert (second.pixels == afresh.pixels).all()
    fixed = open_store(open_source("folder", photos), tmp_path / "cache", Frame(SIDE), white_level=4095)
    assert fixed.key not in (first.key, second.key) and fixed.white_level == 4095
    assert [fixed.keys[row] for row in fixed.findings[CLIPPED]] == ["a/later.png"]


def test_sets_without_sixteen_bit_grey_keep_their_key_whatever_the_level(tmp_path):
    photos = write_photos(tmp_path / "photos", {"red": 2, "green": 2})
    source = open_source("folder", photos)
    found = open_store(source, tmp_path / "cache")
    fixed = open_store(source, tmp_path / "cache", white_level=4095)
    assert found.key == fixed.key and fixed.decoded == 0
    assert (found.white_level, fixed.white_level, found.look) == (65535, 4095, "letterbox")


@pytest.fixture(scope="module")
def twelve_bits(tmp_path_factory) -> Path:
    """A folder with 12-bit photos of two classes in 16-bit files (photos/), and a model of it."""
    folder = tmp_path_factory.mktemp("twelve")
    for seed, (name, low) in itertools.product(range(30), (("bright", 2500), ("dim", 500))):
        (folder / "photos" / name).mkdir(parents=True, exist_ok=True)
        values = low + _grey(seed + low, 1500)
        Image.fromarray(values.astype(np.uint16)).save(folder / "photos" / name / f"{seed:02}.png")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("benchgraft.tasks.adapt.STEPS", 1, raising=False)
        made = adapt(
            folder / "photos",
            folder / "m.safetensors",
            cache=folder / "cache",
            run_folder=folder / "run",
            overlap="keep",
            parent="paper",
        )
    assert any("read as 12-bit, 4,095 is white; this is part of the model" in note for note in made.notes)
    return folder


def test_white_of_the_photos_is_part_of_the_model_and_of_its_answers(twelve_bits, tmp_path):
    model = twelve_bits / "m.safetensors"
    assert model_file.read(model).card.white_level == 4095
    values = _grey(99, 3000).astype(int)
    Image.fromarray(values.astype(np.uint16)).save(tmp_path / "twelve.png")
    Image.fromarray(((values * 255 + 2047) // 4095).astype(np.uint8)).save(tmp_path / "eight.png")
    values[0, 0] = 9000
    Image.fromarray(values.astype(np.uint16)).save(tmp_path / "beyond.png")
    twelve, eight, beyond = predict(
        model, [tmp_path / f"{name}.png" for name in ("twelve", "eight", "beyond")]
    )
    assert twelve.top == eight.top
    assert (twelve.findings, beyond.findings) == ((), (CLIPPED,))
    done = _command("predict", model, tmp_path / "beyond.png")
    said = "1 photo of 16-bit grey beyond the white of the model, where what is brighter is lost"
    assert done.stderr == f"note: {said}, such as {tmp_path / 'beyond.png'}\n"


def test_white_of_a_model_goes_into_its_onnx_file(twelve_bits, tmp_path):
    onnx = pytest.importorskip("onnx", reason="extra [export] is not installed")
    pytest.importorskip("onnxruntime", reason="extra [export] is not installed")
    pytest.importorskip("onnxscript", reason="extra [export] is not installed")
    made = export(twelve_bits / "m.safetensors", tmp_path / "m.onnx", images=twelve_bits / "photos")
    photo = twelve_bits / "photos" / "dim" / "03.png"
    (ours,), (theirs,) = predict(twelve_bits / "m.safetensors", [photo]), predict(made.path, [photo])
    assert theirs.probability == pytest.approx(ours.probability, abs=1e-5)
    facts = {prop.key: prop.value for prop in onnx.load(made.path).metadata_props}
    assert from_metadata(facts).rule.white_level == 4095
    del facts["white_level"]
    assert from_metadata(facts).rule.white_level == 65535, "a file of an earlier version"


def test_an_update_keeps_the_white_of_its_model(twelve_bits, tmp_path, monkeypatch):
    monkeypatch.setattr("benchgraft.tasks.adapt.UPDATE_STEPS", 1, raising=False)
    photos = shutil.copytree(twelve_bits / "photos", tmp_path / "photos")
    bright = _grey(7, 60000)
    Image.fromarray(bright).save(photos / "bright" / "new.png")
    model = shutil.copy(twelve_bits / "m.safetensors", tmp_path / "m.safetensors")
    made = adapt(photos, update=model, cache=tmp_path / "cache", run_folder=tmp_path / "run", overlap="keep")
    assert model_file.read(model).card.white_level == 4095
    wanted = (
        "1 photo of 16-bit grey beyond 4,095, the white of the model, where what is brighter is lost: "
        "bright/new.png"
    )
    assert wanted in made.notes
    assert wanted in evaluate(model, photos, include_trained=True, cache=tmp_path / "cache").notes


def test_photos_far_below_the_white_of_a_model_are_told(model, twelve_bits, tmp_path):
    assert model_file.read(model).card.white_level == 65535
    photos = tmp_path / "photos"
    shutil.copytree(twelve_bits / "photos" / "dim", photos / "red")
    shutil.copytree(twelve_bits / "photos" / "bright", photos / "green")
    notes = evaluate(model, photos, cache=tmp_path / "cache").notes
    assert any("where the model takes 65,535 for white: they come out dark" in note for note in notes)


# --- making photos ------------------------------------------------------------------------------------------


def _saved(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    if kind == "HEIF":
        pillow_heif = pytest.importorskip("pillow_heif", reason="extra [heic] is not installed")
        pillow_heif.register_heif_opener()
    if kind == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def _take_reader_away(kind: str, patch: pytest.MonkeyPatch) -> None:
    if kind == "HEIF":
        patch.setitem(sys.modules, "pillow_heif", None)
    else:
        patch.setattr("PIL.AvifImagePlugin.SUPPORTED", False)


def _with_spot(size: tuple[int, int]) -> Image.Image:
    image = Image.new("RGB", size, "white")
    middle = size[0] // 2
    image.paste((120, 120, 120), (middle, 10, middle + 4, 14))
    return image


def _grey(seed: int, peak: int) -> np.ndarray:
    """uint16 (SIDE, SIDE), smooth, with this largest value."""
    values = np.asarray(cloud(seed).convert("L").resize((SIDE, SIDE))).astype(np.float64)
    values -= values.min()
    return np.rint(values / values.max() * peak).astype(np.uint16)


def _grey_png(values: np.ndarray, alpha: np.ndarray | None = None, transparent: int | None = None) -> bytes:
    """Grey of 16 bits with transparency, which Pillow reads but does not write."""
    height, width = values.shape
    samples = values[..., None] if alpha is None else np.stack([values, alpha], axis=-1)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, 0 if alpha is None else 4, 0, 0, 0))]
    chunks += [] if transparent is None else [(b"tRNS", struct.pack(">H", transparent))]
    chunks += [(b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    whole = b"\x89PNG\r\n\x1a\n"
    for name, content in chunks:
        whole += (
            struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
        )
    return whole


def _checked(photos: Path, tmp_path: Path) -> CheckReport:
    return check(open_source(guess_format(photos), photos), tmp_path / "cache")


def _command(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])
