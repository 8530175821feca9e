"""Packed images of one data set: decoded once, kept on disk under a key of their content, mapped when used.

A store is a folder `CACHE/stores/KEY`:

    pixels.npy   uint8 (N, H, W, 3) RGB, rows in key order; not where nothing trains on pixels, see Streaming
    labels.npy   int32 (N,), index into class_names
    given.npy    int8 (N,): 0 train, 1 test, 2 validation, -1 the data set does not say
    digests.npy  uint64 (N,): first 8 bytes, big endian, of the SHA-256 of the image's bytes
    rows.jsonl   what each stretch of rows was made from (see reuse.py); not for CIFAR-100; rows.npz where
                 there are no pixels
    store.json   the rest: names, keys, what was excluded and converted, length of each file

Beside it, `CACHE/stores/seen/SIGNATURE` holds the key that files of these names, sizes and times led to, so
that a store is found again without reading one image. Opening checks the length of every file and the digest
of the small ones; the pixels are not read through, which would cost more than it finds.

Where files were added, removed or renamed, only new ones are read and only new content is decoded; the rest
is copied from the folder's last store, or from what a killed build left.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..cache import hold, limit_bytes, make_room
from ..config.choices import Damaged
from ..config.frame import Frame
from ..config.network import PAPER_FRAME
from ..errors import DataError, StorageError
from ..files import storage_errors, write_whole
from ..photos import cifar100
from ..photos.decode import Rule, look_of, rule_of
from ..photos.grey import FULL_RANGE
from ..photos.readers import Source
from ..progress import NoProgress, Progress
from ..runfolder.records import ExcludedImage
from .building import FORMAT_VERSION, Building, digest_of, first_of
from .findings import findings_of
from .on_demand import OnDemand
from .packing import BARE, Listing, Pack, hash_files, pack_cifar100
from .reuse import PIXELS, Hashes, Journal, read_hashes, write_hashes
from .rows import Watch

LARGEST_SIZE = 1024
_SEEN_VERSION = 2
"""Raised with the rules for listing and hashing, so that what an older version saw is not believed."""
_ARRAYS = ("labels", "given", "digests")


@dataclass(frozen=True, eq=False)
class Store:
    """One opened store. Arrays have one row an image, in key order."""

    key: str
    """SHA-256 over every key, class, side and content, the size and the rule version."""
    format: str
    folder: Path
    frame: Frame
    """What its images were brought to."""
    pixels: npt.NDArray[np.uint8] | OnDemand
    """uint8 (N, size, size, 3), mapped copy-on-write: torch wants it writable; nothing is written back. Or
    the photos themselves, of which `pixels[rows]` decodes some."""
    class_names: list[str]
    """Source classes, sorted; one whose images are all excluded stays in the list."""
    labels: npt.NDArray[np.int32]
    given: npt.NDArray[np.int8]
    """0 train, 1 test, 2 validation, -1 not given."""
    keys: list[str]
    digests: npt.NDArray[np.uint64]
    excluded: list[ExcludedImage]
    conversions: dict[str, int]
    """What decoding converted -> images."""
    notes: list[str]
    decode_seconds: float
    """What this opening cost: hashing and decoding; 0 where the store was found by its signature."""
    decoded: int = 0
    """Images decoded in this opening, excluded ones among them."""
    reused: int = 0
    """Images taken as they were decoded earlier, excluded ones among them; the two make up all images."""
    white_level: int = FULL_RANGE
    """The value of 16-bit grey that became 255."""
    grey16_peak: int = 0
    """Largest value of its photos of 16-bit grey; 0: it holds none."""
    findings: dict[str, list[int]] = field(default_factory=dict)
    """What looks like a mistake (decode.FINDINGS) -> rows that it is told of."""

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def size(self) -> int:
        """Side of its images, in pixels."""
        return self.frame.size

    @property
    def look(self) -> str:
        """What decides on pixels beside their number, as text for keys."""
        return look_of(self.frame, self.white_level, self.grey16_peak > 0)


@dataclass(frozen=True)
class Streaming:
    """Photos are decoded, shown to `watch`, and forgotten: the store keeps all but the pixels."""

    watch: Watch = lambda _digests, _pixels: None
    listing: Callable[[], Listing] | None = None
    """Of the source, where whoever opens the store has one (list_photos); asked for only if it is needed."""
    source: Source | None = None
    """The files, where they were listed already."""


class _DamagedError(Exception):
    """A store folder that is not whole; the message is what is wrong."""


def open_store(
    source: Source,
    cache: Path,
    frame: Frame = PAPER_FRAME,
    progress: Progress | None = None,
    damaged: Damaged = "exclude",
    white_level: int | None = None,
    streaming: Streaming | None = None,
) -> Store:
    """The store of `source`, found under `cache` or built there; with `streaming` one with pixels serves too.

    `frame` is what a network takes; images of CIFAR-100 keep their own, see stored_size. Images that cannot
    be decoded are left out and listed in `excluded`, none is replaced; with damaged="refuse" one such image
    is an error. `white_level` is the value of 16-bit grey that becomes 255, None: found from the photos
    (grey.py), 255 to 65,535.
    Raises DataError: no image can be used, a file changed while it was read; StorageError: the cache cannot
    be written; ConfigError: BENCHGRAFT_CACHE_GB is no number.
    """
    size = stored_size(source.format, frame.size)
    if source.format == "cifar100":
        frame, streaming = Frame(size), None
    wanted = _Wanted(source, frame, white_level, streaming)
    store = _find_or_build(wanted, Path(cache) / "stores", progress or NoProgress())
    if white_level is not None:  # the model's stays, also where no photo needs it today
        store = replace(store, white_level=white_level)
    store = replace(store, notes=store.notes + findings_of(store, is_level_given=white_level is not None))
    if damaged == "refuse" and store.excluded:
        raise DataError(
            f"{len(store.excluded):,} of {len(store) + len(store.excluded):,} images cannot be used",
            *first_of(store.excluded),
            "mend or remove them, or leave them out with --damaged exclude",
        )
    return store


def list_photos(source: Source, cache: Path, progress: Progress | None = None) -> Listing:
    """The files of a source, each read unless it is as it was last time. Not for CIFAR-100."""
    return hash_files(source, progress or NoProgress(), read_hashes(_hashes_place(source, cache / "stores")))


@contextlib.contextmanager
def build_begun(listing: Listing, cache: Path, rule: Rule) -> Iterator[Journal]:
    """A journal of photos that are decoded elsewhere, for a store without pixels.

    `open_store` goes on from it as from a build that was stopped. Raises StorageError.
    """
    stores = cache / "stores"
    place = _Wanted(listing.source, rule, None, Streaming()).place_at(listing.peak, rule)
    with storage_errors(stores):
        stores.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(dir=stores, prefix=".elsewhere."))
        with contextlib.closing(Journal(folder, place, is_bare=True)) as journal:
            yield journal


@dataclass(frozen=True)
class _Wanted:
    """What open_store is asked for."""

    source: Source
    frame: Frame
    white_level: int | None
    streaming: Streaming | None

    def seen(self, stores: Path, is_streamed: bool) -> Path:
        """Where the key of the store is kept that files of these names, sizes and times led to."""
        look = look_of(self.frame, 0, is_wide=False)
        rule = f"{_SEEN_VERSION} {self.source.signature} {self.frame.size} {look} {self.white_level}"
        return stores / "seen" / _sha256(rule + BARE * is_streamed)

    @property
    def place(self) -> str:
        """One folder under one rule, whatever lies in it today."""
        rule = rule_of(self.frame, FULL_RANGE).text(is_wide=False) + BARE * (self.streaming is not None)
        return _sha256(f"{self.source.format} {rule} {self.source.root.resolve()}")

    def place_at(self, peak: int, rule: Rule) -> str:
        """The same, of what is half-built: its white counts where photos of 16-bit grey are in it."""
        return f"{self.place} {rule.white_level}" if peak else self.place

    def pack(self, stores: Path, progress: Progress) -> tuple[Pack, Hashes]:
        """What there is to store, with the content key; bytes are read, nothing is decoded yet."""
        if self.source.format == "cifar100":
            return pack_cifar100(self.source, self.frame.size), Hashes.none()
        if self.streaming and self.streaming.listing:
            listing = self.streaming.listing()
        else:
            listing = list_photos(self.source, stores.parent, progress)
        pack = listing.pack(self.frame, self.white_level, self.streaming is not None)
        return pack, listing.hashes()


def _find_or_build(wanted: _Wanted, stores: Path, progress: Progress) -> Store:
    limit = limit_bytes()  # a wrong one is told before the work, not after it
    source, streaming = wanted.source, wanted.streaming
    notes = list(source.notes)
    for is_streamed in (False, True)[: 1 if streaming is None else 2]:
        key = _read_key(wanted.seen(stores, is_streamed))
        store = _open_or_clear(stores / key, key, notes, source) if key is not None else None
        if store is not None:
            return replace(store, notes=notes, reused=_all_images(store))
    started = time.perf_counter()
    pack, hashes = wanted.pack(stores, progress)
    last = stores / "seen" / wanted.place
    store = _open_or_clear(stores / pack.key, pack.key, notes, source)
    decoded = 0
    if store is None:
        watch = streaming.watch if streaming else None
        building = Building(
            stores, source.format, wanted.place_at(pack.peak, pack.rule), _read_key(last) or ""
        )
        decoded = building.build(pack, watch, progress)
        store = _open_built(stores / pack.key, pack.key, source)
        make_room(stores.parent, limit)
    # Only now: a signature must never lead to a store that is not there yet.
    # And not where a file could not be read, which is tried anew each time.
    seen = [last] if pack.unreadable else [last, wanted.seen(stores, streaming is not None)]
    _remember(seen, pack.key, _hashes_place(source, stores), hashes)
    return replace(
        store,
        notes=notes,
        decode_seconds=time.perf_counter() - started,
        decoded=decoded,
        reused=_all_images(store) - decoded,
    )


def _hashes_place(source: Source, stores: Path) -> Path:
    return stores / "seen" / f"{_sha256(f'{source.format} {source.root.resolve()}')}.npz"


def _sha256(text: str) -> str:
    return hashlib.sha256(os.fsencode(text)).hexdigest()


def _all_images(store: Store) -> int:
    return len(store) + len(store.excluded)


def stored_size(format: str, side: int) -> int:  # noqa: A002
    """Side in pixels of stored images for a network that takes `side`.

    CIFAR-100 stays at its own 32: the network's input enlarges it. Raises DataError for a senseless side.
    """
    if not 1 <= side <= LARGEST_SIZE:
        raise DataError(f"image size {side} is out of range", f"choose 1 to {LARGEST_SIZE} pixels")
    return cifar100.SIDE if format == "cifar100" else side


def _read_key(seen: Path) -> str | None:
    try:
        key = seen.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return None
    return key if len(key) == 64 and key.isalnum() else None


def _remember(seen: Sequence[Path], key: str, place: Path, hashes: Hashes) -> None:
    try:
        for path in seen:
            write_whole(path, key + "\n")
        if hashes.names:
            write_hashes(place, hashes)
    except StorageError:
        # A read-only cache serves the store all the same; the files are then hashed at each opening.
        return


def _open_or_clear(folder: Path, key: str, notes: list[str], source: Source) -> Store | None:
    """The store if it is whole; None if there is none, or if it was damaged and had to be removed."""
    if not os.path.lexists(folder):  # not Path.exists(), which raises where a parent cannot be searched
        return None
    try:
        return _open(folder, key, source)
    except _DamagedError as damage:
        notes.append(f"the store {key[:12]} was damaged ({damage}) and is built again")
    with storage_errors(folder):
        if folder.is_dir() and not folder.is_symlink():
            shutil.rmtree(folder)
        else:
            folder.unlink()
    return None


def _open_built(folder: Path, key: str, source: Source) -> Store:
    try:
        return _open(folder, key, source)
    except _DamagedError as damage:
        raise StorageError(
            f"the store {folder} was written but cannot be read back: {damage}",
            "remove that folder, check the disk, and run again",
        ) from None


def _pixels(
    folder: Path, head: Mapping[str, Any], source: Source, digests: npt.NDArray[np.uint64]
) -> npt.NDArray[np.uint8] | OnDemand:
    if head.get("has_pixels", True):
        pixels: npt.NDArray[np.uint8] = np.load(folder / PIXELS, mmap_mode="c", allow_pickle=False)
        return pixels
    level = head["white_level"] if head["grey16_peak"] else FULL_RANGE
    return OnDemand(source, head["keys"], digests, rule_of(frame_of(head), level))


def frame_of(head: Mapping[str, Any]) -> Frame:
    """Of a store; those of earlier versions do not say all of it."""
    return Frame(int(head["size"]), head.get("fit", "letterbox"), head.get("resampling", "lanczos"))


def _open(folder: Path, key: str, source: Source) -> Store:
    try:
        head: dict[str, Any] = json.loads((folder / "store.json").read_bytes())
        if head["format_version"] != FORMAT_VERSION or head["key"] != key:
            raise _DamagedError("store.json is of another store")
        labels, given, digests = (np.load(folder / f"{name}.npy", allow_pickle=False) for name in _ARRAYS)
        pixels = _pixels(folder, head, source, digests)
        hold(folder, pixels)  # before the checks: they find out whether it was removed until now
        for name, length in head["bytes"].items():
            if (folder / name).stat().st_size != length:
                raise _DamagedError(f"{name} has not its {length:,} bytes")
        if digest_of(labels, given, digests) != head["arrays_digest"]:
            raise _DamagedError("labels or digests are not those written")
        count, frame = len(head["keys"]), frame_of(head)
        grey16_peak = head.get("grey16_peak", 0)
        if pixels.shape != (count, frame.size, frame.size, 3) or pixels.dtype != np.uint8:
            raise _DamagedError(f"the pixels have shape {pixels.shape}")
        return Store(
            key=key,
            format=head["format"],
            folder=folder,
            frame=frame,
            pixels=pixels,
            class_names=head["class_names"],
            labels=labels,
            given=given,
            keys=head["keys"],
            digests=digests,
            excluded=[ExcludedImage(key=name, reason=reason) for name, reason in head["excluded"]],
            conversions=head["conversions"],
            notes=[],
            decode_seconds=0.0,
            white_level=head["white_level"] if grey16_peak else FULL_RANGE,
            grey16_peak=grey16_peak,
            findings=head.get("findings", {}),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError) as error:
        raise _DamagedError(str(error).partition("\n")[0][:100] or type(error).__name__) from None
