"""A changed folder costs what changed: only new files are read, only new content is decoded."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from benchgraft.config.frame import Frame
from benchgraft.photos.readers import open_source
from benchgraft.store import packing, rows
from benchgraft.store.store import Store, open_store

SIZE = 8
CHANGES = {
    "added": lambda root: write_image(root / "ape" / "new.png", 99),
    "added at the end": lambda root: write_image(root / "dog" / "zz.png", 98),
    "removed": lambda root: (root / "cat" / "4.png").unlink(),
    "renamed": lambda root: (root / "cat" / "4.png").rename(root / "cat" / "z.png"),
    "moved": lambda root: (root / "cat" / "4.png").rename(root / "dog" / "a.png"),
    "class renamed": lambda root: (root / "cat").rename(root / "yak"),
    "replaced": lambda root: write_image(root / "cat" / "4.png", 97),
    "damaged one added": lambda root: (root / "cat" / "33.png").write_bytes(b"no image"),
    "copied": lambda root: shutil.copy(root / "cat" / "4.png", root / "cat" / "33.png"),
}
NEW = {"added": 1, "added at the end": 1, "replaced": 1, "damaged one added": 1}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two classes of 20 images; some need a conversion, one is damaged."""
    folder = tmp_path / "photos"
    for number in range(40):
        write_image(folder / ("cat", "dog")[number % 2] / f"{number}.png", number)
    (folder / "dog" / "broken.png").write_bytes(b"broken")
    return folder


@pytest.mark.parametrize("change", CHANGES)
def test_changed_folder_gives_the_store_that_a_build_from_nothing_gives(
    root: Path, tmp_path: Path, change: str
) -> None:
    first = open_folder(root, tmp_path / "cache")
    CHANGES[change](root)

    second = open_folder(root, tmp_path / "cache")

    assert (first.decoded, first.reused) == (41, 0)
    assert second.decoded == NEW.get(change, 0)
    assert second.decoded + second.reused == len(second) + len(second.excluded)
    assert_same(second, open_folder(root, tmp_path / "other"))


def test_unchanged_folder_decodes_nothing(root: Path, tmp_path: Path) -> None:
    open_folder(root, tmp_path / "cache")
    again = open_folder(root, tmp_path / "cache")

    assert (again.decoded, again.reused) == (0, 41)


def test_only_new_files_are_opened(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    open_folder(root, tmp_path / "cache")
    write_image(root / "ape" / "new.png", 99)
    opened: list[str] = []

    def noting(path: Path, *rest: Any, **named: Any) -> Any:
        opened.append(Path(path).name)
        return open(path, *rest, **named)  # noqa: PTH123

    real_bytes = Path.read_bytes

    def noting_bytes(path: Path) -> bytes:
        opened.append(path.name)
        return real_bytes(path)

    monkeypatch.setattr(packing, "open", noting, raising=False)
    monkeypatch.setattr(Path, "read_bytes", noting_bytes)
    open_folder(root, tmp_path / "cache")

    assert {name for name in opened if name.endswith(".png")} == {"new.png"}


def test_file_edited_with_length_and_time_kept_is_read_again(root: Path, tmp_path: Path) -> None:
    path = root / "cat" / "0.bmp"
    Image.new("RGB", (SIZE, SIZE), "red").save(path)
    open_folder(root, tmp_path / "cache")
    before = path.stat()
    Image.new("RGB", (SIZE, SIZE), "blue").save(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

    second = open_folder(root, tmp_path / "cache")

    assert second.decoded == 1
    assert second.pixels[second.keys.index("cat/0.bmp"), 0, 0].tolist() == [0, 0, 255]


def test_chain_of_changes_never_decodes_an_image_twice(root: Path, tmp_path: Path) -> None:
    counts = [open_folder(root, tmp_path / "cache").decoded]
    for number in range(5):
        write_image(root / "cat" / f"new{number}.png", 200 + number)
        counts.append(open_folder(root, tmp_path / "cache").decoded)

    assert counts == [41, 1, 1, 1, 1, 1]
    assert_same(open_folder(root, tmp_path / "cache"), open_folder(root, tmp_path / "other"))


def test_sizes_and_rules_do_not_borrow_from_each_other(root: Path, tmp_path: Path) -> None:
    open_folder(root, tmp_path / "cache")
    source = open_source("folder", root)

    assert open_store(source, tmp_path / "cache", Frame(SIZE + 1)).decoded == 41
    assert open_store(source, tmp_path / "cache", Frame(SIZE, "crop")).decoded == 41


@pytest.mark.parametrize("damage", ["gone", "short", "no journal", "broken journal", "hashes"])
def test_damaged_earlier_work_costs_time_only(root: Path, tmp_path: Path, damage: str) -> None:
    first = open_folder(root, tmp_path / "cache")
    journal = first.folder / "rows.jsonl"
    if damage == "gone":
        shutil.rmtree(first.folder)
    elif damage == "short":
        journal.write_text(journal.read_text()[:-20])
    elif damage == "no journal":
        journal.unlink()
    elif damage == "broken journal":
        journal.write_text("[]\n" * 5)
    else:
        for path in (tmp_path / "cache" / "stores" / "seen").glob("*.npz"):
            path.write_bytes(b"PK garbage")
    write_image(root / "ape" / "new.png", 99)

    second = open_folder(root, tmp_path / "cache")

    assert second.decoded + second.reused == 42
    assert_same(second, open_folder(root, tmp_path / "other"))


def test_long_copies_are_cut_into_pieces_of_bounded_size(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_folder(root, tmp_path / "cache")
    write_image(root / "cat" / "4x.png", 99)
    monkeypatch.setattr(rows, "COPIED_BYTES", 3 * SIZE * SIZE * 7)
    sizes = watch(monkeypatch, rows, "_read_into", lambda pixels, _: len(pixels))

    second = open_folder(root, tmp_path / "cache")

    assert max(sizes) == 7
    assert_same(second, open_folder(root, tmp_path / "other"))


def test_killed_build_goes_on_where_it_was(root: Path, tmp_path: Path) -> None:
    kill_in_the_middle(root, tmp_path / "cache", signal.SIGKILL)

    second = open_folder(root, tmp_path / "cache")

    assert 0 < second.decoded < 41
    assert_same(second, open_folder(root, tmp_path / "other"))
    assert list((tmp_path / "cache" / "stores").glob(".*")) == []


def test_build_stopped_by_the_user_goes_on_where_it_was(root: Path, tmp_path: Path) -> None:
    kill_in_the_middle(root, tmp_path / "cache", signal.SIGINT)
    write_image(root / "ape" / "new.png", 99)

    second = open_folder(root, tmp_path / "cache")

    assert 0 < second.decoded < 42
    assert_same(second, open_folder(root, tmp_path / "other"))


def test_pixels_lost_in_a_crash_are_decoded_again(root: Path, tmp_path: Path) -> None:
    kill_in_the_middle(root, tmp_path / "cache", signal.SIGKILL)
    (left,) = (tmp_path / "cache" / "stores").glob(".*")
    done = [json.loads(line) for line in (left / "rows.jsonl").read_text().splitlines()[1:]]
    with (left / "pixels.npy").open("r+b") as pixels:
        pixels.seek(128 + 3 * SIZE * SIZE * len(done[0]["kept"]))
        pixels.write(bytes(3 * SIZE * SIZE))

    second = open_folder(root, tmp_path / "cache")

    assert second.reused == len(done[0]["kept"]) + len(done[0]["excluded"])
    assert_same(second, open_folder(root, tmp_path / "other"))


def test_build_that_is_still_running_is_left_alone(root: Path, tmp_path: Path) -> None:
    with started_build(root, tmp_path / "cache") as process:
        second = open_folder(root, tmp_path / "cache")
        assert second.decoded == 41
        assert process.poll() is None
        assert len(list((tmp_path / "cache" / "stores").glob(".*"))) == 1


# --- helpers of these tests ---------------------------------------------------------------------------------

SLOW_BUILD = """
import sys, time
from pathlib import Path
from benchgraft.store import rows
from benchgraft.config.frame import Frame
from benchgraft.photos.readers import open_source
from benchgraft.store.store import open_store
real, rows.DECODED_AT_ONCE = rows.decode, 4
rows.decode = lambda *a: (time.sleep(0.05), real(*a))[1]
open_store(open_source("folder", Path(sys.argv[1])), Path(sys.argv[2]), Frame(8))
"""


class started_build:
    """A process that builds the store slowly, once it has three pieces done."""

    def __init__(self, root: Path, cache: Path) -> None:
        self.command = [sys.executable, "-c", SLOW_BUILD, str(root), str(cache)]
        self.stores = cache / "stores"

    def __enter__(self) -> subprocess.Popen[bytes]:
        self.process = subprocess.Popen(self.command, stderr=subprocess.DEVNULL)
        while sum(len(path.read_text().splitlines()) for path in self.stores.glob(".*/rows.jsonl")) < 4:
            assert self.process.poll() is None
            time.sleep(0.005)
        return self.process

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()


def kill_in_the_middle(root: Path, cache: Path, how: signal.Signals) -> None:
    with started_build(root, cache) as process:
        process.send_signal(how)
        process.wait()


def watch(monkeypatch: pytest.MonkeyPatch, module: object, name: str, say: Callable[..., int]) -> list[int]:
    seen: list[int] = []
    real = getattr(module, name)

    def watched(*arguments: object) -> object:
        seen.append(say(*arguments))
        return real(*arguments)

    monkeypatch.setattr(module, name, watched)
    return seen


def open_folder(root: Path, cache: Path) -> Store:
    return open_store(open_source("folder", root), cache, Frame(SIZE))


def assert_same(one: Store, other: Store) -> None:
    assert one.key == other.key
    assert (one.pixels == other.pixels).all()
    assert one.keys == other.keys
    assert one.excluded == other.excluded
    assert one.conversions == other.conversions
    for name in ("labels", "given", "digests"):
        assert (getattr(one, name) == getattr(other, name)).all()


def write_image(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    side = SIZE * (1 + seed % 3)
    values = np.random.default_rng(seed).integers(0, 255, (side, SIZE, 3), np.uint8)
    Image.fromarray(values).save(path)


def test_files_of_a_clock_far_in_the_future_are_read_and_known_again(root: Path, tmp_path: Path) -> None:
    photo = root / "cat" / "4.png"
    os.utime(photo, ns=(10**19, 10**19))
    if photo.stat().st_mtime_ns != 10**19:
        pytest.skip("this file system keeps no such time")

    first, second = (open_folder(root, tmp_path / "cache") for _ in range(2))

    assert (first.decoded, second.decoded) == (41, 0)
