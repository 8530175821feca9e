"""The decision guide: ten whole lines, the same in the documentation, the right one for a user."""

from __future__ import annotations

import re
from pathlib import Path

import invented
import pytest

from benchgraft.report.headline import guide, quoted
from benchgraft.runfolder.records import AnyRecord
from benchgraft.tasks.report import summarise

ROOT = Path(__file__).resolve().parents[1]


def _compared(layout: str, a_class: int, transfer_accuracy: float) -> list[AnyRecord]:
    """Both arms on a folder of photos with so many training images a class."""
    records: list[AnyRecord] = []
    for record in invented.whole_folder(5, scratch_accuracy=0.94, transfer_accuracy=transfer_accuracy):
        if record.kind == "data":
            record = record.model_copy(update={"format": layout})
        elif record.kind == "images":
            counts = record.counts | {"train": dict.fromkeys(record.class_names, a_class)}
            record = record.model_copy(update={"counts": counts})
        records.append(record)
    return records


def test_every_line_has_its_figure_with_a_section_and_its_limit() -> None:
    assert len(guide()) == 10
    for line in guide():
        assert re.search(r"\d.*\((\d|README)\)\.$|\((\d)\)\.$", line.figure), line
        assert len(line.limit) > 20
        assert line.text.endswith(".")


def test_the_documentation_has_the_guide_as_the_package_has_it() -> None:
    text = (ROOT / "docs" / "findings.md").read_text(encoding="utf-8")
    block = text.partition("<!-- guide -->")[2].partition("<!-- end -->")[0]
    said = " ".join(block.split())
    assert said == " ".join(f"{number}. {line.text}" for number, line in enumerate(guide(), start=1))


@pytest.mark.parametrize(
    ("images", "lines", "place"),
    [
        (10, (0,), None),
        (57, (0,), None),
        (400, (0,), None),
        (600, (0, 1), "between two lines"),
        (800, (1,), None),
        (4, (0,), "fewer than were measured"),
        (5000, (1,), "more than was measured"),
    ],
)
def test_the_quoted_line_is_that_for_as_many_photos(
    images: int, lines: tuple[int, ...], place: str | None
) -> None:
    said = quoted(images)
    assert f"about {images:,} training images" in said
    assert [line for line in range(10) if guide()[line].text in said] == list(lines)
    assert ("which is" in said) == (place is not None)
    assert place is None or place in said


@pytest.mark.parametrize(("a_class", "line"), [(60, 0), (900, 1)])
def test_compare_quotes_it_where_its_own_runs_cannot_tell(a_class: int, line: int) -> None:
    said = " ".join(summarise(_compared("folder", a_class, 0.94)).answer)
    assert guide()[line].text in said
    assert guide()[1 - line].text not in said


def test_nothing_is_quoted_where_the_runs_tell_or_the_photos_are_not_a_users() -> None:
    assert "Measured elsewhere" not in " ".join(summarise(_compared("folder", 60, 0.99)).answer)
    assert "Measured elsewhere" not in " ".join(summarise(_compared("fruits360", 60, 0.94)).answer)
