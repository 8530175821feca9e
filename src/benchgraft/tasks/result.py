"""What `adapt` and `evaluate` answered, left in a run folder: as data, and as a page."""

from __future__ import annotations

import json
from pathlib import Path

from ..errors import RunFolderError
from ..files import write_whole
from ..report.answers import Adapted, EvaluationReport
from ..runfolder.seal import PICTURES, REPORT_HTML, RESULT_JSON


def leave_result(folder: Path, result: Adapted | EvaluationReport, photos: Path) -> None:
    """Into a run folder: what was answered, small pictures of the photos it names, and a page of both.

    photos: the folder that the names of photos are relative to. Raises StorageError.
    """
    from ..photos.small import small_pictures
    from ..report.answers_page import SHOWN

    keys = [each.key for each in result.mistakes]
    keys += [each.key for each in result.suspects[:SHOWN]] if isinstance(result, Adapted) else []
    write_whole(folder / RESULT_JSON, result.model_dump_json(indent=1) + "\n")
    write_whole(folder / PICTURES, json.dumps(small_pictures(photos, keys)))
    # From the file, as `verify` makes it again: names that are no text are written as escapes there.
    write_whole(folder / REPORT_HTML, str(page_of(folder)))


def page_of(folder: Path) -> str | None:
    """The page of what `adapt` or `evaluate` answered; None: this folder holds no such answer.

    Raises RunFolderError for a damaged one.
    """
    from ..report.answers_page import adapted_page, evaluated_page

    try:
        raw = (folder / RESULT_JSON).read_bytes()
    except OSError:
        return None
    try:
        jpegs = json.loads((folder / PICTURES).read_bytes())
        if "suspects" in json.loads(raw):
            return adapted_page(Adapted.model_validate_json(raw), jpegs)
        return evaluated_page(EvaluationReport.model_validate_json(raw), jpegs)
    except (OSError, ValueError) as error:
        raise RunFolderError(
            f"{folder / RESULT_JSON}, or its pictures, are damaged: {str(error).splitlines()[0]}",
            "give the command again that made it",
        ) from None
