"""digests.json: SHA-256 of every file of a run folder, of the ledger line by line, made when a run ends.

A folder that is continued is sealed again. What was sealed once stays as it was then, so that a change made
in between is not blessed: models keep their digests, and the ledger may only have grown.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from ..errors import RunFolderError
from ..files import digest_bytes, write_whole
from .ledger import FILE_NAME as LEDGER
from .ledger import SEAL, THUMBNAILS

FILE_NAME = SEAL
UNCOVERED = (".lock", "checkpoints/")
"""The number of the process that worked here last, and what interrupted runs left to go on from."""
REPORT_HTML, TABLES_MD, TABLES_JSON = REPORT_FILES = ("report.html", "tables.md", "tables.json")
"""Made from the ledger, at any time again."""
RESULT_JSON, PICTURES = "result.json", "pictures.json"
"""What `adapt` or `evaluate` answered, and small pictures of the photos that it names; where it is there
report.html is made of these, and is alone."""
REMADE = (*REPORT_FILES, RESULT_JSON, PICTURES, f"{THUMBNAILS}/")


class Seal(BaseModel):
    """Digests of a run folder."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    ledger_lines: list[str]
    files: dict[str, str]
    """Path within the folder -> SHA-256, the ledger left out."""

    def text(self) -> str:
        """The one form in which it is stored: another form of the same content is a change too."""
        return self.model_dump_json(indent=1) + "\n"


def seal(folder: Path) -> None:
    """Write the digests of a folder as it is, but for what an earlier seal holds. Raises StorageError."""
    new = digests(folder)
    old = read_seal(folder) if (folder / FILE_NAME).exists() else None
    if old is not None:
        kept = {name: digest for name, digest in old.files.items() if not name.startswith(REMADE)}
        lines = [*old.ledger_lines, *new.ledger_lines[len(old.ledger_lines) :]]
        new = Seal(ledger_lines=lines, files=dict(sorted({**new.files, **kept}.items())))
    write_whole(folder / FILE_NAME, new.text())


def reseal(folder: Path, names: Iterable[str]) -> None:
    """Renew the digests of these files alone, in a folder that is sealed."""
    if (folder / FILE_NAME).exists():
        old = read_seal(folder)
        new = {name: digest_bytes((folder / name).read_bytes()) for name in names}
        files = dict(sorted({**old.files, **new}.items()))
        write_whole(folder / FILE_NAME, Seal(ledger_lines=old.ledger_lines, files=files).text())


def digests(folder: Path) -> Seal:
    """Of everything in a folder that is covered."""
    files = {name: digest_bytes((folder / name).read_bytes()) for name in covered(folder)}
    lines = (folder / LEDGER).read_bytes().splitlines(keepends=True)
    return Seal(ledger_lines=[digest_bytes(line) for line in lines], files=files)


def covered(folder: Path) -> list[str]:
    """Names of all files but the ledger, the seal, UNCOVERED, and hidden ones: those are being written."""
    names = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return sorted(
        name
        for name in names
        if not name.startswith(UNCOVERED) and name not in (LEDGER, FILE_NAME) and "/." not in f"/{name}"
    )


def read_seal(folder: Path) -> Seal:
    """Raises RunFolderError if it is damaged."""
    path = folder / FILE_NAME
    try:
        raw = path.read_text("utf-8")
        found = Seal.model_validate_json(raw)
    except (ValidationError, UnicodeDecodeError):
        raise RunFolderError(f"{path} is damaged", "restore it; without it nothing can be verified") from None
    if found.text() != raw:
        raise RunFolderError(f"{path} is damaged: not in the form in which it was written", "restore it")
    return found
