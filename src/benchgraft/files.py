"""Write whole or not at all; digests of bytes and arrays; one process to a folder."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from io import FileIO
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from .errors import RunFolderError, StorageError

LOCK = ".lock"
SHIPPED = "shipped:"
"""Prefix of a file or folder that comes with the program."""


def digest_bytes(data: bytes | memoryview) -> str:
    """SHA-256 of the bytes, as 64 hex digits."""
    return hashlib.sha256(data).hexdigest()


def digest_array(array: npt.NDArray[Any]) -> str:
    """SHA-256 of dtype, shape and bytes (C order) of an array, as 64 hex digits."""
    sha = hashlib.sha256(f"{array.dtype.str}{array.shape}".encode())
    sha.update(np.ascontiguousarray(array).data.cast("B") if array.size else b"")
    return sha.hexdigest()


@contextlib.contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn a failed write into one line that names the place and the cause."""
    try:
        yield
    except OSError as error:
        is_forbidden = error.errno in (errno.EACCES, errno.EPERM, errno.EROFS)
        mend = "have it made writable" if is_forbidden else "free some space"
        raise StorageError(
            f"cannot write {path}: {error.strerror or error}",
            f"nothing was left half-written; {mend} or choose another folder (the cache's: --cache-dir), "
            "then run again",
        ) from error


def write_block(file: IO[bytes], path: Path, block: bytes) -> None:
    """Write all of a block to a file opened with buffering=0, which may take less at once.

    Raises StorageError that names `path`. A buffered file would tell of a full disk only when it is closed.
    """
    with storage_errors(path):
        rest = memoryview(block)
        while rest:
            rest = rest[file.write(rest) :]


def write_whole(path: Path, data: bytes | str) -> None:
    """Write a file under a temporary name, fsync it, and rename it into place.

    Raises StorageError if the disk is full or the folder cannot be written; the old file then stays.
    """
    raw = data.encode() if isinstance(data, str) else data
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(raw)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(name, 0o644)  # noqa: PTH101 - mkstemp gives 0600; the result is for everybody
            os.replace(name, path)  # noqa: PTH105
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        _fsync_folder(path.parent)


def write_kept(path: Path, data: bytes) -> Path | None:
    """Write a file as write_whole does; what stood there is kept under the name of `previous_of`, returned.

    None where nothing stood there, or the same bytes did. Raises StorageError.
    """
    with storage_errors(path):
        if not path.is_file() or path.read_bytes() == data:
            write_whole(path, data)
            return None
        kept = previous_of(path)
        # A copy, not a rename: at no moment is there no file of this name.
        write_whole(kept, path.read_bytes())
        write_whole(path, data)
    return kept


def previous_of(path: Path) -> Path:
    """Where the file before the present one is kept: `x.safetensors` -> `x.previous.safetensors`."""
    return path.with_name(f"{path.stem}.previous{path.suffix}")


@contextlib.contextmanager
def write_folder_whole(path: Path) -> Iterator[Path]:
    """Give a temporary folder to fill; rename it to `path` at the end, or remove it on any error.

    Where `path` appeared meanwhile (another process built the same content), that one is kept.
    """
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    try:
        yield temporary
        with storage_errors(path):
            for file in temporary.iterdir():
                with file.open("rb") as opened:
                    os.fsync(opened.fileno())
            temporary.chmod(0o755)
            try:
                temporary.rename(path)
            except OSError:
                if not path.is_dir():
                    raise
            _fsync_folder(path.parent)
    finally:
        if temporary.exists():
            shutil.rmtree(temporary, ignore_errors=True)


def allocate(path: Path) -> None:
    """Give a file all the disk space that its length says. Raises OSError where there is not so much.

    A file made for a map has holes: on a full disk, writing to them through the map ends the process with
    SIGBUS instead of an error.
    """
    if hasattr(os, "posix_fallocate"):  # not on macOS
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)


def shipped_path(name: str) -> Path:
    """The place of something that comes with the program, `shipped:` taken off; else the path as it is."""
    if not name.startswith(SHIPPED):
        return Path(name)
    return Path(__file__).parent / "shipped" / name.removeprefix(SHIPPED)


def default_cache() -> Path:
    """The folder of stores and feature caches where the user names none."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "benchgraft"


@contextlib.contextmanager
def lock(folder: Path) -> Iterator[None]:
    """Hold a folder for this process; released by the system however the process ends.

    A folder made for it is removed again where an error ends the work before anything was put there.
    Raises RunFolderError if another process holds it, StorageError if it cannot be written.
    """
    with storage_errors(folder):
        made = [path for path in (folder, *folder.parents) if not path.exists()]
        file = _held(folder)
    with file:
        try:
            with storage_errors(folder):
                file.truncate(0)
                file.write(str(os.getpid()).encode())
            yield
        except BaseException:
            with contextlib.suppress(OSError):
                if made and os.listdir(folder) == [LOCK]:  # noqa: PTH208
                    (folder / LOCK).unlink()
                    for path in made:
                        path.rmdir()
            raise


def _held(folder: Path) -> FileIO:
    """The lock file, locked. Raises OSError, and RunFolderError if another process holds it."""
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / LOCK).open("a+b", buffering=0)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(file.fileno()).st_nlink:  # else its last holder has removed it since it was opened
                return file
            file.close()
        except BlockingIOError:
            file.seek(0)
            holder = file.read().decode() or "unknown"
            file.close()
            raise RunFolderError(
                f"another process is working in {folder} (process {holder})",
                "wait for it to end, or choose another folder with --out (adapt, prepare: --run-folder)",
            ) from None
        except OSError:
            file.close()
            raise


def _fsync_folder(folder: Path) -> None:
    """After a rename, which stands: a file system that cannot do this is no reason to call it failed."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
