"""The feature cache: the output of a constant prefix for every image of a stage, computed once.

The keys cover everything that the features depend on: the network, the blocks of the prefix with
their weights and buffers, the stored size and resize rule, batch size, dtype, and the engine with its
version; and the content of every image in order. A retrained earlier stage can therefore never serve
stale features.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from ..cache import hold, remove
from ..config.recipe import Augmentation
from ..engines.engine import Engine
from ..engines.prefix import described
from ..engines.torch_ import stored
from ..errors import RunFolderError, StorageError
from ..files import (
    LOCK,
    digest_array,
    digest_bytes,
    lock,
    storage_errors,
    write_folder_whole,
)
from ..networks.contract import Network
from ..networks.freeze import Frozen
from ..progress import Progress
from ..runfolder.ledger import dump_json
from ..store.mixing import mixed
from .feature_work import (
    Found,
    Joined,
    Stored,
    Wanted,
    Work,
    as_one,
    complete,
    copy,
    is_whole,
    map_features,
)

FORMAT = 5


@dataclass(frozen=True, eq=False)
class Features:
    """Cached features, in the order in which the images were wanted."""

    array: npt.NDArray[np.float32] | Joined
    """(n, H, W, C) or (n, F), memory-mapped."""
    computed: int
    """How many were computed now."""


def view_ids(
    digests: npt.NDArray[np.uint64], augmentation: Augmentation, view: int
) -> npt.NDArray[np.uint64]:
    """What names the features of a view of each image; view 0 is the image itself, whatever the settings."""
    if view == 0:
        return digests
    zoom = [] if augmentation.zoom is None else [augmentation.zoom]
    settings = digest_bytes(dump_json([augmentation.flip, augmentation.shift, *zoom, view]).encode())
    return mixed(digests, int(settings[:12], 16))


def prefix_key(
    network: Network, cut: str, frozen: Frozen, engine: str, image_size: int, look: str, batch_size: int
) -> str:
    """64 hex digits that change whenever the features of an image could.

    frozen: what is frozen of the network, whose digests are not made again. engine: its name. image_size,
    look: of the stored pixels, and how photos became such.
    """
    facts = [
        FORMAT,
        described(network, cut, frozen),
        engine,
        image_size,
        look,
        batch_size,
        "float32",
    ]
    return digest_bytes(dump_json(facts).encode())


class FeatureCache:
    """Features on disk: CACHE/features/PREFIX KEY/IMAGES KEY/{features.npy, ids.npy, features.json}.

    What a prefix has computed for an image serves every later list of images that holds it: a list that has
    grown gets an array of its new images, and is read from both.
    """

    def __init__(self, cache: Path, key: str) -> None:
        """key: see prefix_key."""
        self._folder = cache / "features" / key

    @property
    def key(self) -> str:
        """As given."""
        return self._folder.name

    def open(self, ids: npt.NDArray[np.uint64]) -> npt.NDArray[np.float32] | None:
        """Features of exactly these images in this order, memory-mapped; None if not there, or damaged."""
        return _open(self._place(ids))

    def bytes_there(self, ids: npt.NDArray[np.uint64]) -> int:
        """Disk that features of these images take already, whole or begun."""
        place = self._place(ids)
        for folder in (place, _half(place)):
            with contextlib.suppress(OSError):
                return (folder / "features.npy").stat().st_size
        taken = 0
        for folder, there in self._there():
            with contextlib.suppress(OSError):
                share = np.isin(there, ids).mean() if len(there) else 0.0
                taken += int(share * (folder / "features.npy").stat().st_size)
        return taken

    def compute(
        self,
        engine: Engine,
        wanted: Sequence[Wanted],
        batch_size: int,
        reuse: bool,
        progress: Progress,
    ) -> Features:
        """Have the engine compute all wanted rows, in batches of the loop's size, and store the result.

        reuse: take what the cache has already and compute the rest; what was interrupted goes on where it
        was. False computes everything, for runs whose whole time is to be measured. Where two processes want
        the same at once, each computes it.
        Raises StorageError; nothing is left then.
        """
        ids = np.concatenate([part.ids for part in wanted])
        found = Found.in_arrays(ids, self._overlaps(ids) if reuse else [])
        moved, computed = found.moving(), 0
        if moved.any():
            place = self._place(ids[moved])
            if place.exists():  # to be computed anew, or found damaged
                shutil.rmtree(place, ignore_errors=True)
            with storage_errors(place), _half_done(place) as folder:
                if not reuse:
                    (folder / "done.json").unlink(missing_ok=True)
                work = Work(folder, engine, wanted, found, moved, batch_size)
                computed = work.run(progress)
                array = work.finish()
                hold(folder, array)  # before it gets its name: nobody can remove it in between
                try:
                    folder.rename(place)
                    (place / LOCK).unlink(missing_ok=True)
                except OSError:
                    if not place.is_dir():  # else another process was faster: its features are kept
                        raise
                    shutil.rmtree(folder, ignore_errors=True)
            found = found.with_new(Stored(array, ids[moved]), moved)
            if reuse:
                del work  # it holds what is to go
                self._drop_parts(place, ids[moved])
        return Features(as_one(found), computed)

    def ids(self) -> npt.NDArray[np.uint64]:
        """Of all images that have features here, (n,)."""
        found = [there for _, there in self._there()]
        return np.concatenate(found) if found else np.empty(0, np.uint64)

    def find(self, ids: npt.NDArray[np.uint64]) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float32]]:
        """(positions of those of these images that have features here, rising, (n,); their rows, (n, ...)).

        ids: uint64, content digests. What is damaged counts as not there, and is removed.
        """
        found = Found.in_arrays(ids, self._overlaps(ids))
        there = np.flatnonzero(found.sources >= 0)
        taken = np.empty((len(there), *(found.olds[0].array.shape[1:] if found.olds else (0,))), np.float32)
        copy(found.olds, found.origins[there], found.sources[there], taken)
        return there, taken

    def keep(self, ids: npt.NDArray[np.uint64], rows: npt.NDArray[np.float32]) -> None:
        """Features that were computed elsewhere, one row for each id. Raises StorageError."""
        place = self._place(ids)
        with storage_errors(place), write_folder_whole(place) as folder:
            np.save(folder / "features.npy", rows)
            complete(folder, ids, rows)

    def _there(self) -> Iterator[tuple[Path, npt.NDArray[np.uint64]]]:
        """Every array with the images that it has."""
        for folder in sorted(self._folder.glob("[0-9a-f]*")):
            with contextlib.suppress(OSError, ValueError):
                yield folder, np.load(folder / "ids.npy", allow_pickle=False)

    def _drop_parts(self, place: Path, ids: npt.NDArray[np.uint64]) -> None:
        """Remove arrays that have nothing but a part of this one: shards of a stream, the list of before.

        Else every update of many photos would leave all their features once more.
        """
        for folder, there in list(self._there()):
            if folder != place and len(there) < len(ids) and np.isin(there, ids).all():
                remove(folder)

    def _place(self, ids: npt.NDArray[np.uint64]) -> Path:
        return self._folder / digest_array(ids)

    def _overlaps(self, ids: npt.NDArray[np.uint64]) -> list[Stored]:
        """Stored arrays that have some of these images, each one that those before it have not."""
        found = [(int(np.isin(ids, there).sum()), folder, there) for folder, there in self._there()]
        olds: list[Stored] = []
        missing = ids
        for _, folder, there in sorted(found, key=lambda each: -each[0]):
            if not np.isin(missing, there).any():
                continue
            array = _open(folder)  # which reads all of it: only where it has something
            if array is None:
                shutil.rmtree(folder, ignore_errors=True)  # damaged: else its images would count as there
            else:
                olds.append(Stored(array, there))
                missing = missing[~np.isin(missing, there)]
        return olds


@contextlib.contextmanager
def _half_done(place: Path) -> Iterator[Path]:
    """The folder to fill before it becomes `place`: the one that an interrupted process left, or a new one.

    Where another process is filling it, one for this process alone. A failed write removes it: what is for
    going on must not keep the disk full.
    """
    with contextlib.ExitStack() as held:
        folder = _half(place)
        try:
            held.enter_context(lock(folder))
        except RunFolderError:
            folder = Path(tempfile.mkdtemp(dir=place.parent, prefix=f".{place.name}."))
            folder.chmod(0o755)  # mkdtemp gives 0700; a cache may be shared
            held.callback(shutil.rmtree, folder, ignore_errors=True)
        try:
            yield folder
        except (OSError, StorageError):
            shutil.rmtree(folder, ignore_errors=True)
            raise


def _half(place: Path) -> Path:
    return place.with_name(f".{place.name}")


def _open(folder: Path) -> npt.NDArray[np.float32] | None:
    try:
        array = map_features(folder)
        hold(folder, array)
        return array if is_whole(folder, array) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def difference_from_uncached(
    prefix: nn.Module, wanted: Wanted, features: npt.NDArray[np.float32] | Joined, batch_size: int
) -> float:
    """Largest difference of cached features from a fresh forward of one shuffled batch; 0.0 is bit-equal.

    prefix: as it computes in a network that trains on pixels. features: their first rows are those of
    `wanted`.
    """
    positions = torch.from_numpy(np.random.default_rng(0).integers(len(wanted.ids), size=batch_size))
    prefix.eval()
    with torch.no_grad():
        fresh = stored(prefix(wanted.rows.take(positions, wanted.view))).cpu().numpy()
    return float(np.abs(fresh - features[positions.numpy()]).max())
