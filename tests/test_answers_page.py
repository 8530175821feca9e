"""What `adapt` and `evaluate` answer, left in the run folder as a page that needs nothing else."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from photos import write_discs

from benchgraft import adapt, evaluate
from benchgraft.report.answers import Adapted, EvaluationReport
from benchgraft.tasks.report import verify


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Adapted]:
    """Photos, one of which lies in the wrong folder, and whose class has a name that is no harmless text."""
    place = tmp_path_factory.mktemp("answered")
    photos = write_discs(place / "photos", classes=3, count=40)
    (photos / "disc 2").rename(photos / "<script>alert('x')<")
    (photos / "disc 0" / "0000.png").rename(photos / "disc 1" / "wrong.png")
    options = {"cache": place / "cache", "run_folder": place / "run", "parent": "paper", "overlap": "keep"}
    return place, adapt(photos, place / "m.safetensors", **options)


def _needs_nothing_else(page: str) -> None:
    assert not re.findall(r"<script|<link(?! rel=\"icon\" href=\"data:)|\bon\w+=|https?://|url\(", page)


def test_adapt_leaves_its_answer_as_a_page(made: tuple[Path, Adapted]) -> None:
    place, result = made
    assert result.report == place / "run" / "report.html"
    page = result.report.read_text(encoding="utf-8")
    _needs_nothing_else(page)
    assert f"right of {result.images['test']} photos that training never saw" in page
    assert "Which classes are mixed up" in page and "When to say that it is unsure" in page
    assert page.count("data:image/jpeg;base64,") == len(result.mistakes) + len(result.suspects[:24])
    assert any(suspect.key == "disc 1/wrong.png" for suspect in result.suspects)
    assert "disc 1/wrong.png" in page


def test_the_page_is_checked_against_what_was_answered(made: tuple[Path, Adapted]) -> None:
    run = made[0] / "run"
    assert verify(run).differences == []
    page = (run / "report.html").read_text(encoding="utf-8")
    (run / "report.html").write_text(page.replace("never saw", "saw"), encoding="utf-8")
    assert any("report.html, line" in line for line in verify(run).differences)
    (run / "report.html").write_text(page, encoding="utf-8")
    answered = json.loads((run / "result.json").read_text())
    (run / "result.json").write_text("{}")
    assert any("result.json" in line for line in verify(run).differences)
    (run / "result.json").write_text(json.dumps(answered, indent=1) + "\n")


def test_evaluate_leaves_its_answer_as_a_page_too(made: tuple[Path, Adapted], tmp_path: Path) -> None:
    place, _ = made
    found = evaluate(
        place / "m.safetensors",
        place / "photos",
        include_trained=True,
        cache=place / "cache",
        run_folder=tmp_path / "judged",
    )
    assert found.report == tmp_path / "judged" / "report.html"
    page = found.report.read_text(encoding="utf-8")
    _needs_nothing_else(page)
    assert f"right of {found.photos} photos" in page
    assert page.count("data:image/jpeg;base64,") == len(found.mistakes)
    stored = EvaluationReport.model_validate_json((tmp_path / "judged" / "result.json").read_bytes())
    assert stored.accuracy == found.accuracy
    default = evaluate(place / "m.safetensors", place / "photos", include_trained=True, cache=place / "cache")
    assert default.report == Path("runs/evaluate-photos/report.html") and default.report.is_file()
