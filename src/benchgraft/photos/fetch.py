"""The official archives of the two data sets: address, digest, and the way to a folder that can be used."""

from __future__ import annotations

import hashlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from ..config.choices import Format
from ..errors import DataError, did_you_mean
from ..files import lock, storage_errors
from ..progress import NoProgress, Progress
from .download import WAIT_SECONDS, download
from .readers import Source, open_source
from .unpack import unpack


@dataclass(frozen=True)
class Archive:
    """One published archive."""

    address: str
    name: str
    """As a browser saves it."""
    folder: str
    """Where the experiments look for the data set, below their --data."""
    format: Format
    size: int | None = None
    """In bytes; None where nothing is published."""
    md5: str | None = None


ARCHIVES = {
    "cifar100": Archive(
        "https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz",
        "cifar-100-binary.tar.gz",
        "cifar-100-binary",
        "cifar100",
        168_513_733,
        "03b5dce01913d631647c71ecec9e9cb8",
    ),
    # No digest is published, and the archive changes whenever its authors add fruits.
    "fruits360": Archive(
        "https://github.com/fruits-360/fruits-360-100x100/archive/refs/heads/main.zip",
        "fruits-360-100x100-main.zip",
        "fruits-360",
        "fruits360",
    ),
}


@dataclass(frozen=True)
class Fetched:
    """A data set that is in its place and was opened by its reader."""

    folder: Path
    source: Source
    sha256: str | None
    """Of the archive; None where the data set was there already."""
    has_official_digest: bool


def fetch(
    name: str,
    out: Path,
    progress: Progress | None = None,
    address: str | None = None,
    wait: float = WAIT_SECONDS,
) -> Fetched:
    """Download, check and unpack a data set to `out`/cifar-100-binary or `out`/fruits-360, or find it there.

    An archive that lies in `out` under its own name is taken instead of a download, and left there. What an
    interrupted call has downloaded is gone on from. `address` replaces the official one.
    Raises DataError: unknown name, no network, wrong digest or layout, another thing in that place;
    StorageError: the disk is full; RunFolderError: another process fetches the same.
    """
    if name not in ARCHIVES:
        raise DataError(f'no data set is called "{name}"', did_you_mean(name, ARCHIVES))
    archive = ARCHIVES[name]
    if (out / archive.folder).exists():
        return _found(archive, out / archive.folder)
    work = out / f".{archive.folder}.fetch"
    with lock(work):
        if (out / archive.folder).exists():  # another process has just ended
            return _found(archive, out / archive.folder)
        by_hand = (
            f"download {archive.address} by hand to {out / archive.name}, and give the same command again"
        )
        file = out / archive.name
        if not file.exists():
            file = work / archive.name
            if not file.exists():
                download(
                    address or archive.address, file, archive.size, by_hand, progress or NoProgress(), wait
                )
        try:
            fetched = _unpacked(archive, file, work / "unpacked", out, progress or NoProgress())
        except DataError as error:
            (work / archive.name).unlink(missing_ok=True)  # never the user's own
            advice = f"remove {file} and {by_hand}" if file.parent == out else by_hand
            raise DataError(error.what, *error.details, advice) from None
        shutil.rmtree(work, ignore_errors=True)
    return fetched


def _found(archive: Archive, folder: Path) -> Fetched:
    try:
        source = open_source(archive.format, folder)
    except DataError as error:
        raise DataError(
            f"{folder} is there but cannot be used: {error.what}",
            *error.details,
            "remove or rename that folder, and give the same command again",
        ) from None
    return Fetched(folder, source, None, archive.md5 is not None)


def _unpacked(archive: Archive, file: Path, folder: Path, out: Path, progress: Progress) -> Fetched:
    """Check the digest, unpack, check the layout, and only then give the folder its name."""
    with file.open("rb") as opened:
        sha256 = hashlib.file_digest(opened, "sha256").hexdigest()
    if archive.md5:
        with file.open("rb") as opened:
            md5 = hashlib.file_digest(opened, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
        if md5 != archive.md5:
            raise DataError(
                f"{archive.name} is not the official file: its {file.stat().st_size:,} bytes have MD5 {md5}, "
                f"not {archive.md5}"
            )
    unpack(file, folder, progress)
    inner = list(folder.iterdir())
    root = inner[0] if len(inner) == 1 and inner[0].is_dir() else folder
    open_source(archive.format, root)
    with storage_errors(out):
        os.sync()  # one call for all files: after a power cut the folder is whole or not there
        root.rename(out / archive.folder)
    return Fetched(
        out / archive.folder,
        open_source(archive.format, out / archive.folder),
        sha256,
        archive.md5 is not None,
    )
