"""The files that a report leaves in its run folder: report.html, tables.md, tables.json, from one summary."""

from __future__ import annotations

from pathlib import Path

from ..files import lock, write_whole
from ..runfolder.ledger import read
from . import page, render
from .seal import REPORT_FILES, seal
from .summary import Summary
from .tables import summarise

_, TABLES_MD, TABLES_JSON = REPORT_FILES


def texts(folder: Path, summary: Summary) -> dict[str, str]:
    """File name -> what it holds. Raises RunFolderError for damaged thumbnails."""
    return {
        page.FILE_NAME: page.page(summary, page.read_thumbnails(folder)),
        TABLES_MD: render.markdown(summary),
        TABLES_JSON: summary.model_dump_json(indent=2) + "\n",
    }


def write(folder: Path, half_width: float | None = None) -> Summary:
    """Make all of them. Raises RunFolderError, and StorageError where the folder cannot be written."""
    summary = summarise(read(folder), half_width)
    for name, text in texts(folder, summary).items():
        write_whole(folder / name, text)
    return summary


def finish(folder: Path) -> Summary:
    """What ends a long run: the report's files in the run folder, and the seal over all of it.

    Raises RunFolderError if another process works there: the seal would hold what that one changes.
    """
    with lock(folder):
        summary = write(folder)
        seal(folder)
    return summary
