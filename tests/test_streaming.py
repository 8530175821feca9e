"""A store without pixels: photos are decoded once on their way to features, and again only when asked for."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import numpy as np
import pytest
from invented import TINY
from photos import write_photos

from benchgraft import adapt, evaluate
from benchgraft.config.frame import Frame
from benchgraft.errors import DataError, Interrupted
from benchgraft.events import TaskAdvanced, TaskStarted
from benchgraft.networks import model_file
from benchgraft.photos.readers import open_source
from benchgraft.store import rows
from benchgraft.store.perceptual import fingerprints
from benchgraft.store.store import Streaming, open_store
from benchgraft.training import feature_stream


@pytest.fixture
def photos(tmp_path) -> Path:
    made = write_photos(tmp_path / "photos", {"red": 40, "green": 40})
    (made / "red" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nno more")
    return made


def _opened(photos: Path, cache: Path, streaming: Streaming | None, size: int = 40):
    return open_store(open_source("folder", photos), cache, Frame(size), streaming=streaming)


def test_all_but_the_pixels_is_as_in_a_store_with_them(photos, tmp_path):
    shown: list[tuple[np.ndarray, np.ndarray]] = []
    bare = _opened(
        photos, tmp_path / "bare", Streaming(lambda ids, pixels: shown.append((ids, pixels.copy())))
    )
    full = _opened(photos, tmp_path / "full", None)
    assert not list((tmp_path / "bare").rglob("pixels.npy"))
    for name in ("keys", "class_names", "excluded", "conversions", "look", "size", "findings", "white_level"):
        assert getattr(bare, name) == getattr(full, name), name
    for name in ("labels", "given", "digests"):
        assert np.array_equal(getattr(bare, name), getattr(full, name))
    for name in ("pixels", "perceptual"):
        assert np.array_equal(getattr(fingerprints(bare), name), getattr(fingerprints(full), name))
    some = np.array([5, 2, 77])
    assert np.array_equal(bare.pixels[some], full.pixels[some])
    assert np.array_equal(np.concatenate([ids for ids, _ in shown]), full.digests)
    assert np.array_equal(np.concatenate([pixels for _, pixels in shown]), full.pixels)


def test_found_again_nothing_is_decoded_and_new_photos_alone_are(photos, tmp_path):
    shown: list[int] = []
    streaming = Streaming(lambda ids, _pixels: shown.append(len(ids)))
    _opened(photos, tmp_path / "cache", streaming)
    shown.clear()
    assert _opened(photos, tmp_path / "cache", streaming).decoded == 0
    write_photos(photos, {"red": 3}, start=100)
    again = _opened(photos, tmp_path / "cache", streaming)
    assert (again.decoded, sum(shown)) == (3, 3)
    assert fingerprints(again).computed == 0
    fresh = fingerprints(_opened(photos, tmp_path / "other", streaming))
    assert np.array_equal(fingerprints(again).perceptual, fresh.perceptual)


@pytest.mark.parametrize("damage", ["none", "rows of an earlier version", "broken", "gone"])
def test_what_an_earlier_store_knows_is_not_decoded_again_where_it_can_be_read(photos, tmp_path, damage):
    first = _opened(photos, tmp_path / "cache", Streaming())
    assert not (first.folder / "rows.jsonl").exists()
    rows_npz = first.folder / "rows.npz"
    if damage == "rows of an earlier version":
        lines = _journal_of(rows_npz)
        (first.folder / "rows.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    if damage == "broken":
        rows_npz.write_bytes(rows_npz.read_bytes()[:-40])
    elif damage != "none":
        rows_npz.unlink()
    write_photos(photos, {"red": 3}, start=100)
    again = _opened(photos, tmp_path / "cache", Streaming())
    assert again.decoded == (84 if damage in ("broken", "gone") else 3)
    fresh = _opened(photos, tmp_path / "other", Streaming())
    for name in ("keys", "excluded", "conversions", "findings"):
        assert getattr(again, name) == getattr(fresh, name), name
    for name in ("pixels", "perceptual"):
        assert np.array_equal(getattr(fingerprints(again), name), getattr(fingerprints(fresh), name))


def _journal_of(rows_npz: Path) -> list[dict[str, object]]:
    """What an earlier version wrote instead."""
    with np.load(rows_npz) as arrays:
        kinds = json.loads(arrays["kinds"].tobytes())
        sha256 = [bytes(row).hex() for row in arrays["sha256"].reshape(-1, 32)]
        told = [kinds[number] for number in arrays["kind_of"].tolist()]
        prints = arrays["prints"].tolist()
    kept = [row for row, (reason, _) in enumerate(told) if not reason]
    line = {
        "kept": [[sha256[row], told[row][1]] for row in kept],
        "excluded": [[sha256[row], reason] for row, (reason, _) in enumerate(told) if reason],
        "prints": [prints[row] for row in kept],
    }
    return [{"place": "", "is_bare": True}, line]


def test_a_store_with_pixels_serves_too(photos, tmp_path):
    full = _opened(photos, tmp_path / "cache", None)
    assert _opened(photos, tmp_path / "cache", Streaming()).key == full.key


def test_a_photo_that_changed_since_is_told(photos, tmp_path):
    bare = _opened(photos, tmp_path / "cache", Streaming())
    (photos / bare.keys[3]).write_bytes((photos / bare.keys[4]).read_bytes())
    with pytest.raises(DataError, match="changed while the images were read"):
        bare.pixels[np.array([3])]


@pytest.fixture
def options(tiny, tmp_path):
    return {"parent": f"timm/{TINY}", "weights": tiny, "fit": "letterbox", "cache": tmp_path / "cache"}


def test_a_solved_head_leaves_no_pixels_and_is_the_same_from_a_store_with_them(photos, options, tmp_path):
    streamed = adapt(photos, tmp_path / "a", run_folder=tmp_path / "run a", **options)
    assert streamed.features_computed == streamed.decoded - 1 == 80
    assert not list((tmp_path / "cache").rglob("pixels.npy"))
    options["cache"] = tmp_path / "other"
    open_store(open_source("folder", photos), tmp_path / "other", Frame(160, resampling="bicubic"))
    packed = adapt(photos, tmp_path / "b", run_folder=tmp_path / "run b", **options)
    assert list((tmp_path / "other").rglob("pixels.npy"))
    assert packed.features_computed == 80
    one, other = (model_file.read(tmp_path / name).card.model_digest for name in "ab")
    assert one == other


def test_what_it_answers_on_is_decoded_anew_where_pixels_are_wanted_again(photos, options, tmp_path):
    made = adapt(photos, tmp_path / "m.safetensors", run_folder=tmp_path / "run", **options)
    judged = evaluate(made.model, photos, cache=tmp_path / "cache", include_trained=True)
    assert judged.photos == 80
    write_photos(photos, {"red": 2, "green": 2}, start=200)
    updated = adapt(photos, update=made.model, cache=tmp_path / "cache", run_folder=tmp_path / "again")
    assert updated.features_computed == 4
    assert updated.changes


def test_stopped_while_photos_are_decoded_it_goes_on_and_ends_the_same(
    photos, options, tmp_path, monkeypatch
):
    monkeypatch.setattr(rows, "DECODED_AT_ONCE", 8)
    monkeypatch.setattr(feature_stream, "SHARD", 64)
    whole = adapt(photos, tmp_path / "whole", run_folder=tmp_path / "run", **options)
    stop, tasks, done = threading.Event(), set(), []

    def listen(event: object) -> None:
        if isinstance(event, TaskStarted) and event.what == "decode images":
            tasks.add(event.task)
        if isinstance(event, TaskAdvanced) and event.task in tasks:
            done.append(event.count)
            if sum(done) >= 70:
                stop.set()

    options |= {"cache": tmp_path / "other", "run_folder": tmp_path / "other run"}
    with pytest.raises(Interrupted):
        adapt(photos, tmp_path / "m", listen=listen, cancel=stop, **options)
    kept = [np.load(path) for path in (tmp_path / "other" / "features").rglob("ids.npy")]
    assert sum(len(ids) for ids in kept) >= 64
    again = adapt(photos, tmp_path / "m", **options)
    assert again.decoded < 20
    assert again.features_computed <= 16
    one, other = (model_file.read(tmp_path / name).card.model_digest for name in ("whole", "m"))
    assert one == other
    assert whole.accuracy == again.accuracy


@pytest.mark.parametrize("is_same", [True, False])
def test_a_short_batch_is_filled_up_only_where_its_size_counts(is_same):
    sizes: list[int] = []

    class Engine:
        name, is_same_in_any_batch = "one", is_same

        def compute(self, pixels):
            sizes.append(len(pixels))
            return pixels.reshape(len(pixels), -1).astype(np.float32)

    class Cache:
        def ids(self):
            return np.empty(0, np.uint64)

        def keep(self, ids, rows):
            self.kept = ids, rows

    cache, pixels = Cache(), np.arange(10 * 12, dtype=np.uint8).reshape(10, 2, 2, 3)
    stream = feature_stream.FeatureStream(lambda _pixels: (cache, Engine()), batch_size=8)
    stream.watch(np.arange(10, dtype=np.uint64), pixels)
    stream.close()
    assert sizes == [8, 2 if is_same else 8]
    assert np.array_equal(cache.kept[0], np.arange(10))
    assert np.array_equal(cache.kept[1], pixels.reshape(10, -1))
