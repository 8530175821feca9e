"""The report in a real browser: nothing on the console, nothing wider than the window, the answer on top."""

from __future__ import annotations

import html
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import invented
import pytest

from benchgraft.report import page
from benchgraft.report.tables import summarise

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
PROBE = """
<script>
addEventListener("load", () => {
  const place = e => e.getBoundingClientRect();
  const outside = e => !e.closest(".table") && !e.closest("svg") && place(e).right > innerWidth + 1;
  const title = document.querySelector("h1");
  parent.postMessage(JSON.stringify({
    width: innerWidth,
    page: document.documentElement.scrollWidth,
    wide: [...document.querySelectorAll("body *")].filter(outside).map(e => e.tagName + "." + e.className),
    title: title.innerText,
    bottom: place(title).bottom,
    drawings: [...document.querySelectorAll(".drawing svg")].map(e => place(e).height),
  }), "*");
});
</script>
"""
FRAME = """<!doctype html>
<iframe src="report.html" style="width: {width}px; height: 900px; border: 0"></iframe>
<script>addEventListener("message", e => document.body.textContent = "SEEN" + e.data + "SEEN");</script>
"""
"""A window cannot be made as narrow as a phone, a frame can."""
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium found: the report was not looked at in a browser (Debian: chromium)"
)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(
        page.page(summarise(invented.whole_folder(20)), {}).replace("</body>", f"{PROBE}</body>"), "utf-8"
    )
    return path


@pytest.mark.parametrize("width", [360, 1280])
def test_report_fits_the_window_and_logs_nothing(report: Path, tmp_path: Path, width: int) -> None:
    frame = report.with_name(f"frame{width}.html")
    frame.write_text(FRAME.format(width=width))
    dom, console = _open(frame, tmp_path)
    seen: dict[str, Any] = json.loads(html.unescape(dom.split("SEEN")[-2]))
    assert console == []
    assert seen["width"] == width
    assert seen["page"] <= width, seen["wide"]
    assert seen["wide"] == []
    assert seen["title"].replace("\N{NO-BREAK SPACE}", " ") == summarise(invented.whole_folder(20)).answer[0]
    assert seen["bottom"] < 400
    assert len(seen["drawings"]) == 7
    assert min(seen["drawings"]) > 100


def _open(page_file: Path, profile: Path) -> tuple[str, list[str]]:
    """The page's final state, and what the browser's console said."""
    command = [
        str(CHROMIUM),
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--enable-logging=stderr",
        "--virtual-time-budget=5000",
        f"--user-data-dir={profile}",
        "--window-size=1400,1000",
        "--dump-dom",
        page_file.as_uri(),
    ]
    result = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    return result.stdout, [line for line in result.stderr.splitlines() if ":CONSOLE" in line]
