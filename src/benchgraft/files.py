"""Write whole or not at all; digests of bytes and arrays; one process to a folder."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import logging
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .errors import RunFolderError, StorageError, UserError, did_you_mean

if TYPE_CHECKING:
    from filelock import BaseFileLock

LOCK = ".lock"
SHIPPED = "shipped:"
"""Prefix of a file or folder that comes with the program."""
_log = logging.getLogger(__name__)


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
    with _written_beside(path, data.encode() if isinstance(data, str) else data) as temporary:
        os.replace(temporary, path)  # noqa: PTH105


def write_new(path: Path, data: bytes) -> bool:
    """Write a file as write_whole does, but never over another: False where one is there already.

    Raises StorageError.
    """
    with _written_beside(path, data) as temporary:
        try:
            os.link(temporary, path)  # unlike a rename it replaces nothing
        except FileExistsError:
            return False
        except OSError:  # a file system without links
            if path.exists():
                return False
            os.replace(temporary, path)  # noqa: PTH105
    return True


@contextlib.contextmanager
def _written_beside(path: Path, data: bytes) -> Iterator[Path]:
    """A temporary file in the same folder, whole and on disk; what is left of it is removed at the end."""
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=_hidden(path))
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(name, 0o644)  # noqa: PTH101 - mkstemp gives 0600; the result is for everybody
            yield Path(name)
        finally:
            Path(name).unlink(missing_ok=True)
        _fsync_folder(path.parent)


def facts_of(path: Path) -> tuple[int, int, int]:
    """What changes when a file is replaced or written anew: inode, size, mtime in ns. Raises OSError."""
    found = path.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns


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


def _hidden(path: Path) -> str:
    """Beginning of a temporary name: not the whole of a long one, which must not become too long."""
    return f".{path.name[:40]}."


@contextlib.contextmanager
def write_folder_whole(path: Path) -> Iterator[Path]:
    """Give a temporary folder to fill; rename it to `path` at the end, or remove it on any error.

    Its files are on disk then; whoever makes folders in it sees to what lies in those.

    Where `path` appeared meanwhile (another process built the same content), that one is kept.
    """
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=_hidden(path)))
    try:
        yield temporary
        with storage_errors(path):
            for file in filter(Path.is_file, temporary.iterdir()):
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


def shipped_path(name: str) -> Path:
    """The place of something that comes with the program, `shipped:` taken off; else the path as it is.

    Raises UserError with the nearest name for a `shipped:` name that nothing has.
    """
    if not name.startswith(SHIPPED):
        return Path(name)
    shipped = Path(str(files("benchgraft"))) / "shipped"
    wanted = name.removeprefix(SHIPPED)
    if not (shipped / wanted).exists():
        models = sorted(f"{SHIPPED}{path.name}" for path in shipped.glob("*.safetensors"))
        raise UserError(f"{name} does not come with the program", did_you_mean(name, models))
    return shipped / wanted


@contextlib.contextmanager
def utf8_path(path: Path) -> Iterator[str]:
    """A path to a file that a library takes which wants UTF-8, even where the file's name is none.

    Raises OSError if such a file cannot be opened.
    """
    try:
        text = str(path)
        text.encode()
    except UnicodeEncodeError:
        with path.open("rb") as file:
            yield f"/dev/fd/{file.fileno()}"
    else:
        yield text


def allocate(path: Path) -> None:
    """Give a file all the disk space that its length says. Raises OSError where there is not so much.

    A file made for a map has holes: on a full disk, writing to them through the map ends the process with
    SIGBUS instead of an error.
    """
    if hasattr(os, "posix_fallocate"):  # not on macOS
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)


def default_cache() -> Path:
    """The folder of stores and feature caches where the user names none.

    `benchgraft` below XDG_CACHE_HOME, or below .cache in the home folder; where there is no home folder that
    could hold it (containers), a folder of this user's alone among the temporary ones, told in the log.
    Raises StorageError if that cannot be had either.
    """
    named = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if named.is_absolute():  # the standard has others passed over
        return named / "benchgraft"
    try:
        home = Path(os.environ.get("HOME") or Path.home())
    except RuntimeError:  # no HOME, and a user without an entry
        return _temporary_cache()
    place = home / ".cache" / "benchgraft"
    can_be = os.path.isdir(place) or os.access(_nearest(place), os.W_OK | os.X_OK)  # noqa: PTH112
    return place if home.is_absolute() and can_be else _temporary_cache()


def _temporary_cache() -> Path:
    """Made for this user alone: what lies in a cache is trusted."""
    advice = "name a folder for the cache: --cache-dir DIR (in Python cache=), or set XDG_CACHE_HOME"
    try:
        place = Path(tempfile.gettempdir()) / f"benchgraft-cache-{os.getuid()}"
        with contextlib.suppress(FileExistsError):
            place.mkdir(mode=0o700)
        there = place.lstat()
        if not stat.S_ISDIR(there.st_mode) or there.st_uid != os.getuid():
            raise StorageError(f"no home folder for the cache, and {place} is somebody else's", advice)
        place.chmod(0o700)
    except OSError as error:
        reason = error.strerror or error
        raise StorageError(
            f"neither a home folder for the cache nor a temporary one: {reason}", advice
        ) from None
    # Where the caller has set up no log, Python prints a warning to stderr as it is.
    _log.warning("note: no home folder to write to, so the cache is %s (another: --cache-dir DIR)", place)
    return place


def name_of(folder: Path | str) -> str:
    """The name of a folder, however it was written (`.`, `..`, `photos/`), for what is called after it.

    Raises UserError for one that has none (`/`).
    """
    path = Path(folder).absolute()
    if path.name == "..":
        path = path.resolve()
    if not path.name:
        raise UserError(
            f"{path} has no name to call anything after", "say what to write: --out, --run-folder"
        )
    return path.name


def check_target(path: Path | str, *, is_folder: bool = False, option: str = "--out") -> None:
    """See that a file, or a folder, can be written there, before long work is done for it.

    Nothing is left behind. Raises StorageError: no name, or too long a one; a folder where a file is wanted
    or the other way round; a place that cannot be made or written.
    """
    text, path = str(path), Path(path)
    another = f"choose another place with {option}"
    if not text or (not is_folder and path.name in ("", "..")):
        what = "a folder" if is_folder else "a file"
        raise StorageError(f'{option} "{text}" is no name of {what}', f"name {what} to write")
    try:
        nearest = _nearest(path if is_folder else path.parent)
        if not nearest.is_dir():
            raise StorageError(f"cannot write {text}: {nearest} is a file, not a folder", another)
        longest = os.pathconf(nearest, "PC_NAME_MAX")
        for part in path.parts:
            if len(os.fsencode(part)) > longest:
                what = f"a name of {len(os.fsencode(part))} bytes, {longest} at most"
                raise StorageError(f"cannot write {text}: {what}", f"choose a shorter one with {option}")
        with contextlib.suppress(FileNotFoundError):
            path.stat()  # says of the whole path whether it may be one
        if not is_folder and (text.endswith(os.sep) or path.is_dir()):
            raise StorageError(f"cannot write {text}: it is a folder", f"name a file: {path / 'NAME'}")
        if not is_folder and path.exists() and not path.is_file():
            raise StorageError(f"cannot write {text}: it is no plain file", another)
        handle, name = tempfile.mkstemp(dir=nearest, prefix=".")
        os.close(handle)
        Path(name).unlink()
    except (OSError, ValueError) as error:  # ValueError: NUL in the name
        reason = getattr(error, "strerror", None) or error
        raise StorageError(
            f"cannot write {text}: {reason}", f"have it made writable, or {another}"
        ) from error


def _nearest(path: Path) -> Path:
    """The path itself, or the nearest thing above it that is there."""
    path = path.absolute()
    return next(place for place in (path, *path.parents) if os.path.exists(place))  # noqa: PTH110


@contextlib.contextmanager
def lock(folder: Path) -> Iterator[None]:
    """Hold a folder for this process; released by the system however the process ends.

    A folder made for it is removed again where an error ends the work before anything was put there.
    Raises RunFolderError if another process holds it, StorageError if it cannot be written.
    """
    with storage_errors(folder):
        made = [path for path in (folder, *folder.parents) if not path.exists()]
        held = _held(folder)
    try:
        with storage_errors(folder):
            (folder / LOCK).write_text(str(os.getpid()))
        yield
    except BaseException:
        with contextlib.suppress(OSError):
            if made and os.listdir(folder) == [LOCK]:  # noqa: PTH208
                (folder / LOCK).unlink()
                for path in made:
                    path.rmdir()
        raise
    finally:
        held.release()


def _held(folder: Path) -> BaseFileLock:
    """The lock of a folder, taken. Raises OSError, and RunFolderError if another process holds it."""
    from filelock import FileLock, Timeout  # 12 ms, which `--help` and `predict` do without

    # A "soft" lock, for file systems without locks, would outlive a killed process.
    taken = FileLock(folder / LOCK, blocking=False, thread_local=False, fallback_to_soft=False)
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):  # its last holder has just removed it: once more
            try:
                taken.acquire()
                return taken
            except Timeout:
                holder = (folder / LOCK).read_text() or "unknown"
            raise RunFolderError(
                f"another process is working in {folder} (process {holder})",
                "wait for it to end, or choose another folder with --out (adapt, prepare: --run-folder)",
            )


def _fsync_folder(folder: Path) -> None:
    """After a rename, which stands: a file system that cannot do this is no reason to call it failed."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
