"""The commands that read a run folder: its report, and the check that nothing in it has changed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..config.requests import ReportRequest
from ..errors import EXIT_FAULT
from .options import Given, asks, help_of
from .output import print_blocks, print_error, print_json, print_lines, say

if TYPE_CHECKING:
    from ..report.summary import Summary

FolderArgument = Annotated[Path, typer.Argument(help=help_of(ReportRequest, "folder"))]


@asks(ReportRequest)
def report(given: Given) -> None:
    """Make the report of a run folder. html: one file, written into the folder; md, json, csv: printed.

    Exit codes: 0 done, 2 bad input or no space.

    Example: benchgraft report runs/paper --format html
    """
    from ..config.checking import checked

    request = checked(ReportRequest, **given)
    points = request.half_width
    print_report(request.folder, request.format, None if points is None else points / 100)


def print_report(folder: Path, format: str = "text", half_width: float | None = None) -> None:  # noqa: A002
    """Print a run folder's report; as text and html, also leave it there as files."""
    from ..runfolder import tidy
    from ..runfolder.ledger import read
    from ..tasks import report as reports

    if format == "csv":
        print(tidy.to_csv(tidy.run_rows(read(folder))), end="")
    elif format in ("md", "json"):
        summary = reports.summarise(read(folder), half_width)
        if format == "json":
            print_json(summary)
        else:
            print(reports.markdown(summary))
    elif format == "html":
        _leave_files(folder, half_width)
        say(str(folder / "report.html"))
    elif os.access(folder, os.W_OK):
        print_finished(folder, _leave_files(folder, half_width))
    else:
        _print_text(reports.summarise(read(folder), half_width))


def conclude(folder: Path) -> None:
    """What ends a long command: the report, printed and as files, and the seal over the whole folder.

    Raises RunFolderError if another process works there.
    """
    from ..tasks import report as reports

    print_finished(folder, reports.finish(folder))


def print_finished(folder: Path, summary: Summary) -> None:
    """The summary, and where the same is to be had as files."""
    from ..runfolder.seal import TABLES_JSON, TABLES_MD

    _print_text(summary)
    print()
    also = f" (also {TABLES_MD}, {TABLES_JSON})" if (folder / TABLES_MD).exists() else ""
    say(f"Report: {folder}/report.html{also}")


def verify(folder: FolderArgument) -> None:
    """Recompute every printed figure and check every digest of a run folder.

    Exit codes: 0 nothing differs, 1 something does, 2 bad input.

    Example: benchgraft verify runs/paper
    """
    from ..tasks import report as reports

    found = reports.verify(folder)
    print_lines(part for line in found.lines() for part in line.split("\n"))
    if found.differences:
        advice = (
            "only the report differs: if another version made it, make it again with benchgraft report "
            f"{folder} --format html"
        )
        print_error(
            f"{len(found.differences)} differences in {folder}", *([advice] if found.is_of_the_report else [])
        )
        raise typer.Exit(EXIT_FAULT)


def _leave_files(folder: Path, half_width: float | None) -> Summary:
    from ..runfolder.seal import REPORT_FILES, reseal
    from ..tasks import report as reports

    summary = reports.write(folder, half_width)
    reseal(folder, [name for name in REPORT_FILES if (folder / name).exists()])  # of adapt the page alone
    return summary


def _print_text(summary: Summary) -> None:
    from ..tasks import report as reports

    print_blocks(reports.blocks(summary), width=100)
