"""The report in a real browser, light and dark: a silent console, nothing too wide, the answer on top."""

from __future__ import annotations

import html
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import invented
import pytest

from benchgraft.tasks import report as reports
from benchgraft.tasks.report import summarise

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
PROBE = r"""
<script>
addEventListener("load", () => {
  const place = e => e.getBoundingClientRect();
  const outside = e => !e.closest(".table") && !e.closest("svg") && place(e).right > innerWidth + 1;
  const light = colour => colour.match(/\d+/g).slice(0, 3).reduce((sum, part) => sum + Number(part), 0);
  const title = document.querySelector("h1");
  parent.postMessage(JSON.stringify({
    width: innerWidth,
    page: document.documentElement.scrollWidth,
    wide: [...document.querySelectorAll("body *")].filter(outside).map(e => e.tagName + "." + e.className),
    title: title.innerText,
    ink: light(getComputedStyle(title).color),
    paper: light(getComputedStyle(document.documentElement).backgroundColor),
    drawn: light(getComputedStyle(document.querySelector(".drawing text")).fill),
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
QUIET = (
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
"""The browser looks at one local file and asks the network for nothing of its own."""
COLOUR_SCHEMES = {"dark": 0, "light": 1}
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium found: the report was not looked at in a browser (Debian: chromium)"
)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(
        reports.html(summarise(invented.whole_folder(20)), {}).replace("</body>", f"{PROBE}</body>"),
        "utf-8",
    )
    return path


@pytest.mark.parametrize(("width", "scheme"), [(360, "light"), (360, "dark"), (1280, "light")])
def test_report_fits_the_window_and_logs_nothing(
    report: Path, tmp_path: Path, width: int, scheme: str
) -> None:
    frame = report.with_name(f"frame{width}{scheme}.html")
    frame.write_text(FRAME.format(width=width))
    dom, console = _open(frame, tmp_path, scheme)
    seen: dict[str, Any] = json.loads(html.unescape(dom.split("SEEN")[-2]))
    assert console == []
    assert seen["width"] == width
    assert seen["page"] <= width, seen["wide"]
    assert seen["wide"] == []
    assert seen["title"].replace("\N{NO-BREAK SPACE}", " ") == summarise(invented.whole_folder(20)).answer[0]
    assert seen["bottom"] < 400
    # The text is lighter than the page in dark mode only, in the drawings too.
    assert (seen["ink"] > seen["paper"]) == (scheme == "dark")
    assert (seen["drawn"] > seen["paper"]) == (scheme == "dark")
    assert len(seen["drawings"]) == 7
    assert min(seen["drawings"]) > 100


def _open(page_file: Path, profile: Path, scheme: str) -> tuple[str, list[str]]:
    """The page's final state, and what the browser's console said."""
    command = [
        str(CHROMIUM),
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        *QUIET,
        f"--blink-settings=preferredColorScheme={COLOUR_SCHEMES[scheme]}",
        "--enable-logging=stderr",
        "--virtual-time-budget=5000",
        f"--user-data-dir={profile}",
        "--window-size=1400,1000",
        "--dump-dom",
        page_file.as_uri(),
    ]
    result = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    return result.stdout, [line for line in result.stderr.splitlines() if ":CONSOLE" in line]
