"""Unpack an archive of unknown honesty: plain files below one folder, nothing else."""

from __future__ import annotations

import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO

from ..errors import DataError
from ..files import storage_errors, write_block
from ..progress import Progress

_BLOCK_BYTES = 1 << 20
_DAMAGES = (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError)
"""What the two modules raise on a damaged, encrypted or unknown archive (gzip: OSError)."""


def unpack(archive: Path, folder: Path, progress: Progress) -> None:
    """Write the plain files of a .zip or .tar.gz below `folder`, which is made anew.

    Links, devices and the like are passed over: only files and folders are ever made. Raises DataError: the
    archive is damaged, or a name in it leads out of the folder; StorageError. `folder` is then removed.
    """
    with storage_errors(folder):
        if folder.exists():
            shutil.rmtree(folder)
        folder.mkdir(parents=True)
    try:
        members = _from_zip(archive) if archive.suffix == ".zip" else _from_tar(archive)
        with progress.track(0, f"unpack {archive.name}, files") as advance:
            for name, file in members:
                _write(file, folder / _checked(archive, name))
                advance(1)
    except _DAMAGES as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise DataError(f"{archive.name} cannot be unpacked: {error or type(error).__name__}") from None
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _from_zip(archive: Path) -> Iterator[tuple[str, IO[bytes]]]:
    with zipfile.ZipFile(archive) as opened:
        for member in opened.infolist():
            kind = stat.S_IFMT(member.external_attr >> 16)
            if not member.is_dir() and kind in (0, stat.S_IFREG):
                with opened.open(member) as file:
                    # orig_filename: ZipFile cuts names at a zero byte and turns the system's separators.
                    yield member.orig_filename, file


def _from_tar(archive: Path) -> Iterator[tuple[str, IO[bytes]]]:
    with tarfile.open(archive, "r:gz") as opened:
        for member in opened:
            file = opened.extractfile(member) if member.isreg() else None
            if file is not None:
                yield member.name, file


def _checked(archive: Path, name: str) -> PurePosixPath:
    """The path below the folder. Stricter than needed: official archives have no such names."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.parts or "\\" in name or "\0" in name:
        raise DataError(f"{archive.name} holds a file that would lie outside its folder: {name!r}")
    return path


def _write(file: IO[bytes], path: Path) -> None:
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        target = path.open("wb", buffering=0)
    with target:
        while block := file.read(_BLOCK_BYTES):
            write_block(target, path, block)
