"""The report of a run folder, and its check; of the paper's comparison with the paper beside.

The one place that knows both rooms: `report` says what was measured, `paper` what was printed.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from ..files import lock, write_whole
from ..report import blocks as shown
from ..report.blocks import Block
from ..report.sections import Beside, report_blocks
from ..report.summary import Summary
from ..report.summary import summarise as measured
from ..runfolder.ledger import read
from ..runfolder.records import AnyRecord
from ..runfolder.runs import group
from ..runfolder.seal import REPORT_HTML, TABLES_JSON, TABLES_MD, seal
from ..runfolder.verify import Verification
from ..runfolder.verify import verify as verify_by
from .result import page_of


def summarise(records: Sequence[AnyRecord], half_width: float | None = None) -> Summary:
    """Everything that can be said of a run folder, finished or not, and what is missing.

    half_width: of the difference in accuracy (a fraction), for which to say how many runs it takes.

    Raises RunFolderError if no record names the experiment, or if predictions do not fit the test images.
    """
    folder = group(records)
    if folder.is_of_the_paper:
        from ..paper import comparison

        return comparison.summarise(folder, half_width)
    return measured(folder, half_width)


def blocks(summary: Summary) -> list[Block]:
    """All of it, for a terminal."""
    return report_blocks(summary, _beside(summary))


def markdown(summary: Summary) -> str:
    """All of it as a page in Markdown."""
    beside = _beside(summary)
    title = beside.title if beside else summary.experiment
    return f"# benchgraft: {title}\n\n{shown.markdown(report_blocks(summary, beside))}\n"


def html(summary: Summary, thumbnails: dict[str, dict[str, str]]) -> str:
    """All of it as one file. thumbnails: digest of a stage's images -> key -> JPEG in base64, or none."""
    from ..report.page import page

    return page(summary, thumbnails, _beside(summary))


def texts(folder: Path, summary: Summary) -> dict[str, str]:
    """Name of each of the report's files -> what it holds. Raises RunFolderError for damaged thumbnails."""
    from ..report.page import read_thumbnails

    answered = page_of(folder)
    if answered is not None:
        return {REPORT_HTML: answered}
    return {
        REPORT_HTML: html(summary, read_thumbnails(folder)),
        TABLES_MD: markdown(summary),
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


def verify(folder: Path) -> Verification:
    """Every digest, and every figure recomputed. Raises RunFolderError if there is no ledger at all."""
    return verify_by(folder, _made_anew)


def _made_anew(folder: Path) -> dict[str, str]:
    """The report's files from the ledger, for the half-width that the stored ones were made for."""
    answered = page_of(folder)
    if answered is not None:
        return {REPORT_HTML: answered}
    stored = json.loads((folder / TABLES_JSON).read_text("utf-8"))
    half_width = stored.get("half_width") if isinstance(stored, dict) else None
    return texts(folder, summarise(read(folder), half_width))


def _beside(summary: Summary) -> Beside | None:
    """What the paper says to a summary of its comparison, and nothing to any other."""
    if type(summary) is Summary:
        return None
    from ..paper import comparison

    return comparison.beside(summary) if isinstance(summary, comparison.PaperSummary) else None
