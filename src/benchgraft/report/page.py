"""Summary and thumbnails -> one HTML file that needs nothing else: no network, no script, no other file."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from ..errors import RunFolderError
from ..runfolder.ledger import THUMBNAILS
from ..runfolder.records import Thumbnails
from . import figures, figures_model, figures_study, sections, words
from .accuracy import Mistake
from .drawing import Picture
from .measured import measured
from .speed import is_told_apart
from .summary import Summary
from .template import template
from .ways_told import ways_tiles


def page(
    summary: Summary, thumbnails: dict[str, dict[str, str]], beside: sections.Beside | None = None
) -> str:
    """The whole report. `thumbnails`: digest of a stage's images -> key -> JPEG in base64; may be empty.

    beside: what was printed elsewhere, in a chapter of its own.
    """
    return template("page.html.jinja").render(
        summary=summary,
        tiles=tiles(summary),
        pictures=pictures(summary),
        model_pictures=[figures_model.blocks(network) for network in summary.networks],
        gallery=[
            (
                name,
                [(mistake, thumbnails.get(mistake.images_digest, {}).get(mistake.key)) for mistake in group],
            )
            for name, group in _by_arm(summary)
        ],
        beside=beside,
        sections=sections,
        measured=measured,
        intervals=words.INTERVALS,
    )


def pictures(summary: Summary) -> list[Picture]:
    """The figures that these runs allow, the answer's first."""
    if summary.study:
        return [figures_study.study(summary.study)]
    drawn = [
        figures.runs(summary),
        figures.cost(summary),
        figures.learning(summary),
        figures.phases(summary),
        figures.speedup(summary),
        figures_model.confusion(summary.confusions),
    ]
    return [picture for picture in drawn if picture is not None]


def tiles(summary: Summary) -> list[tuple[str, str, str]]:
    """(what, figure, beside what) for the eye that reads nothing else: of the first transfer arm."""
    found: list[tuple[str, str, str]] = []
    if summary.study:
        return found
    if summary.ways:
        return ways_tiles(summary.ways)
    speedup = next(iter(summary.speedups), None)
    if speedup is not None:
        rival = f"{words.seconds(speedup.scratch_seconds)} from scratch"
        found.append(("a retraining takes", words.seconds(speedup.transfer_seconds), rival))
    by_arm = {table.arm: table.accuracy for table in summary.tables if table.arm and table.accuracy}
    scratch = by_arm.pop("scratch", None)
    transfer = next(iter(by_arm.values()), None)
    if scratch is not None and transfer is not None:
        rival = f"{words.per_cent(scratch.mean.value)} from scratch"
        found.append(("test images right", words.per_cent(transfer.mean.value), rival))
    payback = next(iter(summary.paybacks), None)
    if payback is not None and is_told_apart(speedup) and not payback.other_machine:
        even = payback.break_even
        beside = f"preparation {words.seconds(payback.preparation_seconds)}"
        if even.has_interval and even.low is None:
            found.append(("pays from retraining", "never", beside))
        elif even.has_interval and even.high is not None:
            found.append(("pays from retraining", f"{even.first:,}", beside))
    return found


def read_thumbnails(folder: Path) -> dict[str, dict[str, str]]:
    """Those of a run folder; empty where it has none. Raises RunFolderError for a damaged file."""
    found = {}
    for path in sorted((folder / THUMBNAILS).glob("*.json")):
        try:
            kept = Thumbnails.model_validate_json(path.read_bytes())
        except ValidationError as error:
            raise RunFolderError(
                f"{path} is damaged: {error.errors()[0]['msg']}",
                "remove it: the report is made without these pictures",
            ) from None
        found[kept.images_digest] = kept.jpeg
    return found


def _by_arm(summary: Summary) -> list[tuple[str, list[Mistake]]]:
    if summary.study:
        return []
    names = dict.fromkeys(mistake.name for mistake in summary.surest_mistakes)
    return [(name, [m for m in summary.surest_mistakes if m.name == name]) for name in names]
