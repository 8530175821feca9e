"""Files that a job needs on another machine: told by their content, packed once, fetched once a machine.

A parcel is a tar of one folder, or of one file. Where machines share a folder, or any address that fsspec
takes, it lies there as DIGEST.tar; else its pieces go through whatever carries them. On the machine it is an
entry of the cache, `parcels/DIGEST`, that the cache's limit may take away again.
"""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import tarfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..cache import PARCEL, SECONDS_OF_A_DAY, hold, limit_bytes, make_room
from ..errors import DataError, StorageError
from ..files import digest_bytes, storage_errors, write_folder_whole
from ..parallel import in_parallel
from ..runfolder.ledger import dump_json

PIECE_BYTES = 32 * 2**20
INSIDE = "content"
"""Folder of an entry that holds the files, under their own names."""


@dataclass(frozen=True)
class Wanted:
    """A folder or a file as the sender has it."""

    path: Path
    listing: str
    """Digest over names and sizes: what a shared folder is known by without reading all of it."""
    digest: str | None = None
    """Over names and contents; None of a folder that nobody had to read yet."""

    @staticmethod
    def of(path: Path) -> Wanted:
        """Look at a folder, read a file. Raises DataError if it cannot be read."""
        return Wanted(path, _listing(path), None if path.is_dir() else _content(path))

    def read(self) -> Wanted:
        """With the digest. Raises DataError."""
        return self if self.digest else replace(self, digest=_content(self.path))


@dataclass(frozen=True)
class Parcel:
    """Something wanted, on its way."""

    digest: str
    address: str | None = None
    """Where it lies; None: its pieces are handed over."""
    pieces: tuple[Any, ...] = ()
    """Of the tar, in order, or what stands for them on their way."""


@dataclass
class Sender:
    """Packs what machines lack; a folder is looked at, and read, once."""

    shared: str | None
    """Folder or address that all machines reach; None: pieces go through `carry`."""
    carry: Callable[[bytes], Any]
    """Makes of a piece what stands for it on its way."""
    _folders: dict[Path, Wanted] = field(default_factory=dict)
    _sent: dict[str, Parcel] = field(default_factory=dict)
    _guard: threading.RLock = field(default_factory=threading.RLock)

    def wanted(self, path: Path) -> Wanted:
        """What is to be had of this path. Raises DataError if it cannot be read."""
        with self._guard:
            if not path.is_dir():
                return Wanted.of(path)
            if path not in self._folders:
                self._folders[path] = Wanted.of(path)
            return self._folders[path]

    def read(self, wanted: Wanted) -> Wanted:
        """With its digest. Raises DataError if it cannot be read."""
        with self._guard:
            if wanted.digest is None:
                self._folders[wanted.path] = wanted = self._folders[wanted.path].read()
            return wanted

    def parcel(self, wanted: Wanted) -> Parcel:
        """On its way. Raises StorageError if the shared place cannot be written."""
        assert wanted.digest is not None
        with self._guard:
            if wanted.digest not in self._sent:
                self._sent[wanted.digest] = self._send(wanted.digest, wanted.path)
            return self._sent[wanted.digest]

    def _send(self, digest: str, path: Path) -> Parcel:
        if self.shared is None:
            return Parcel(digest, pieces=tuple(map(self.carry, pack(path))))
        address = f"{self.shared.rstrip('/')}/{digest}.tar"
        with _address_errors(self.shared):
            _upload(address, digest, path)
        return Parcel(digest, address)


def _upload(address: str, digest: str, path: Path) -> None:
    """Under a temporary name, then renamed: nobody fetches half of it, or what is not its content."""
    import fsspec

    system, place = fsspec.core.url_to_fs(address)
    if system.exists(place):
        return
    system.makedirs(system._parent(place), exist_ok=True)
    part = f"{place}.{os.urandom(4).hex()}.part"
    try:
        with system.open(part, "wb") as file:
            for piece in pack(path):
                file.write(piece)
        if _content(path) != digest:
            raise _changed(path)
        system.mv(part, place)
    except BaseException:
        with contextlib.suppress(Exception):  # it may never have been there
            system.rm(part)
        raise


def _changed(path: Path) -> DataError:
    return DataError(f"{path.name} has changed on its way", "leave its files as they are during the run")


def pack(path: Path) -> Iterator[bytes]:
    """The tar of a folder's files, or of one file, in pieces. Raises DataError if one cannot be read."""
    buffer = _Buffer()
    with tarfile.open(fileobj=buffer, mode="w|", bufsize=2**20, dereference=True) as tar:
        for name in _files(path):
            place = path / name if name else path
            try:
                tar.add(place, arcname=f"{path.name}/{name}" if name else path.name, recursive=False)
            except OSError as error:
                raise DataError(f"cannot read {place}: {error.strerror}") from error
            while len(buffer.bytes) >= PIECE_BYTES:
                yield buffer.take(PIECE_BYTES)
    while buffer.bytes:
        yield buffer.take(PIECE_BYTES)


class _Buffer(io.RawIOBase):
    """What a tar was written to and nobody has taken yet."""

    def __init__(self) -> None:
        self.bytes = bytearray()

    def write(self, data: Any) -> int:
        self.bytes += data
        return len(data)

    def take(self, count: int) -> bytes:
        piece = bytes(self.bytes[:count])
        del self.bytes[:count]
        return piece


def found(wanted: Wanted, cache: Path, in_place: bool) -> Path | None:
    """Where a machine has it: at its own path, where machines share folders, or in the cache; None: nowhere.

    in_place: whether to look at its own path. A file there must have its content, a folder the same names and
    sizes: what is made of a folder's photos is held to their contents later.
    """
    with contextlib.suppress(OSError, DataError):  # another user's, perhaps: then it is sent
        if in_place and wanted.path.exists():
            there = Wanted.of(wanted.path)
            if there.listing == wanted.listing and there.digest in (None, wanted.digest):
                return wanted.path
    entry = entry_of(wanted.digest, cache)
    return entry / INSIDE / wanted.path.name if (entry / PARCEL).is_file() else None


def entry_of(digest: str | None, cache: Path) -> Path:
    """Where a parcel lies in a cache, if it does."""
    return cache / "parcels" / str(digest)


def unpack(parcel: Parcel, cache: Path, pieces: Iterable[bytes]) -> None:
    """Put it into the cache of this machine, where it stays as long as `parcel` does.

    Raises StorageError, DataError for what is not its content.
    """
    place = entry_of(parcel.digest, cache)
    _clear_leftovers(place.parent)
    with storage_errors(place), write_folder_whole(place) as aside:
        (aside / INSIDE).mkdir()
        _extract(pieces, aside / INSIDE)
        (content,) = (aside / INSIDE).iterdir()
        if _content(content) != parcel.digest:
            raise _changed(content)
        (aside / PARCEL).write_text(dump_json({"name": os.fsencode(content.name).hex()}))
        os.sync()  # once for all photos
    hold(place, parcel)
    make_room(cache, limit_bytes())


def _clear_leftovers(parcels: Path) -> None:
    """Of machines that were lost while they unpacked."""
    for folder in parcels.glob(".*"):
        with contextlib.suppress(OSError):
            if time.time() - folder.stat().st_mtime > SECONDS_OF_A_DAY:
                shutil.rmtree(folder, ignore_errors=True)


def fetched(parcel: Parcel) -> Iterator[bytes]:
    """The pieces of a parcel that lies at an address. Raises StorageError if it cannot be read."""
    import fsspec

    assert parcel.address is not None
    with _address_errors(parcel.address), fsspec.open(parcel.address, "rb") as file:
        while piece := file.read(PIECE_BYTES):
            yield piece


@contextlib.contextmanager
def _address_errors(address: str) -> Iterator[None]:
    """Turn whatever fails at an address into one line that names it."""
    try:
        yield
    except (OSError, ImportError, ValueError) as error:
        raise StorageError(
            f"cannot use {address}: {error}",
            "--shared takes a folder, or an address of fsspec, that all machines reach and may write",
        ) from error


def _extract(pieces: Iterable[bytes], place: Path) -> None:
    """Files alone, below `place` alone, whatever a tar says."""
    with tarfile.open(fileobj=_Joined(iter(pieces)), mode="r|", bufsize=2**20) as tar:
        for member in tar:
            name = Path(member.name)
            if not member.isfile() or name.is_absolute() or ".." in name.parts:
                raise DataError(f"{member.name!r} is no file of a parcel")
            source, target = tar.extractfile(member), place / name
            assert source is not None
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("wb") as file:
                shutil.copyfileobj(source, file, 2**20)
            os.utime(target, (member.mtime, member.mtime))


class _Joined(io.RawIOBase):
    """Pieces as one file to read."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._rest = b""

    def read(self, count: int = -1) -> bytes:
        while not self._rest and (piece := next(self._pieces, None)) is not None:
            self._rest = piece
        taken, self._rest = self._rest[:count], self._rest[count:]
        return taken


def _listing(path: Path) -> str:
    return _digest([[name, (path / name).stat().st_size] for name in _files(path)])


def _content(path: Path) -> str:
    """Digest over the name, and names and contents of all that is in it."""
    names = _files(path)
    try:
        contents = list(in_parallel(lambda name: digest_bytes((path / name).read_bytes()), names))
    except OSError as error:
        raise DataError(f"cannot read {error.filename or path}: {error.strerror}") from error
    return _digest([path.name, *zip(names, contents, strict=True)])


def _files(path: Path) -> list[str]:
    """Names of the files below a folder, links left out as everywhere; of a file the empty name."""
    if not path.is_dir():
        return [""]
    found = []
    for folder, folders, names in os.walk(path):
        folders.sort()
        below = Path(folder)
        found += [(below / name).relative_to(path).as_posix() for name in names if _is_file(below / name)]
    return sorted(found)


def _is_file(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


def _digest(facts: list[Any]) -> str:
    return digest_bytes(repr(facts).encode("utf-8", "surrogateescape"))
