"""The page in a real browser: from an empty folder to a model that is downloaded, as a user does it."""

from __future__ import annotations

import contextlib
import re
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from photos import write_discs
from test_browser import CHROMIUM

pytest.importorskip("fastapi", reason="extra [serve] is not installed: the page was not looked at")
pytest.importorskip("playwright", reason="playwright is not installed: no look at the page")
pytest.importorskip("axe_playwright_python", reason="axe-playwright-python is not installed: no look by axe")
import uvicorn
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import sync_playwright

from benchgraft import adapt, predict
from benchgraft.photos.readers import open_source
from benchgraft.serve import work as jobs
from benchgraft.serve.alike import Alike
from benchgraft.serve.answering import Answering
from benchgraft.serve.guard import Guard
from benchgraft.serve.history import History
from benchgraft.serve.hub import Hub
from benchgraft.serve.limits import Limits
from benchgraft.serve.page import HEADERS, Page, make_page
from benchgraft.serve.project import Project
from benchgraft.serve.served import open_on
from benchgraft.serve.work import Work

pytestmark = [
    pytest.mark.skipif(
        CHROMIUM is None, reason="no Chromium found: the page was not looked at (Debian: chromium)"
    ),
    # Of Playwright's own transport, when a browser is closed.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
CELLS = ("defective", "functional")
PLANTED = (("disc 0", "disc 1", "0000.png"), ("disc 2", "disc 0", "0007.png"))
"""(of class, put into the folder of, file): labels that are wrong on purpose."""


@contextlib.contextmanager
def running(folder: Path, cache: Path) -> Iterator[tuple[str, History]]:
    hub = Hub()
    project = Project(folder, lambda revision: hub.tell("changed", {"revision": revision}))
    history = History(project.place)
    options = {"cache": cache}
    work = Work(project, history, hub.tell, options)
    answering = Answering(history, open_on("cpu", 1), Alike(project, options))
    page = Page(project, work, answering, history, hub, Limits())
    app = Guard(make_page(page, lambda _: True), None, page.limits, headers=HEADERS)
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical", lifespan="off"))
    door = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, args=([door],))
    thread.start()
    try:
        yield f"http://127.0.0.1:{door.getsockname()[1]}/", history
    finally:
        server.should_exit = True
        hub.close()
        work.stop()
        thread.join()
        page.answering.close()
        door.close()


@contextlib.contextmanager
def opened_page(address: str, **options: Any) -> Iterator[Any]:
    """A page whose console is silent, or the test fails."""
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_context(**({"viewport": {"width": 1280, "height": 900}} | options)).new_page()
        page.set_default_timeout(30_000)
        said: list[str] = []
        page.on("console", lambda message: said.append(message.text) if message.type != "log" else None)
        page.on("pageerror", lambda error: said.append(str(error)))
        try:
            page.goto(address)
            page.wait_for_selector("#train-start:not(:empty)")
            yield page
        finally:
            browser.close()
    assert said == []


def _serious(page: Any) -> list[str]:
    found = Axe().run(page).response["violations"]
    return [f"{each['id']}: {each['help']}" for each in found if each["impact"] in ("serious", "critical")]


def _is_too_wide(page: Any) -> bool:
    return bool(page.evaluate("document.documentElement.scrollWidth > innerWidth + 1"))


@pytest.fixture
def dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to drop, two photos of which lie in the wrong class; parents are not tried when it trains."""

    def quick(folder: Path, out: Path, **options: Any) -> Any:
        more = {} if options.get("update") else {"parent": "paper"}
        return adapt(folder, out, **(options | more | {"overlap": "keep"}))

    monkeypatch.setattr(jobs, "adapt", quick)
    photos = write_discs(tmp_path / "discs", classes=3, count=40)
    for right, wrong, name in PLANTED:
        (photos / right / name).rename(photos / wrong / f"of {right} {name}")
    return photos


def test_the_whole_story_with_two_wrong_labels_mended(dropped: Path, tmp_path: Path) -> None:
    folder = tmp_path / "project"
    folder.mkdir()
    with running(folder, tmp_path / "cache") as (address, history), opened_page(address) as page:
        page.set_input_files("#folder-input", dropped)
        page.wait_for_selector("#notices :text('120 photos added')")
        assert page.inner_text("#chips").count("40") >= 1 and "disc 2" in page.inner_text("#chips")
        page.click("#train-start")
        page.wait_for_selector("#result-all:not([hidden])")
        lead = page.inner_text("#result-lead")
        assert re.search(r"\d+\s%\. On other photos like these, expect \d+ to \d+\s%", lead)
        assert _serious(page) == []

        page.click("#suspects-check")
        found = page.evaluate("fetch('/api/result').then(answer => answer.json())")
        for suspect in found["suspects"]:
            page.wait_for_selector("dialog .stage:focus")
            page.keyboard.press("a" if "/of disc" in suspect["key"] else "r")
        page.keyboard.press("Escape")
        page.wait_for_selector("dialog", state="detached")
        assert found["suspects"]
        page.wait_for_function(  # orders go one after another, while the user goes on
            "fetch('/api/result').then(answer => answer.json())"
            ".then(now => now.suspects.every(one => one.checked))"
        )
        until = time.monotonic() + 10
        table = folder / ".benchgraft" / "labels.csv"
        while not (table.is_file() and table.read_text().count("\n") == 3) and time.monotonic() < until:
            time.sleep(0.05)
        assert sorted(table.read_text().splitlines()[1:]) == [
            "disc 0/of disc 2 0007.png,disc 2",
            "disc 1/of disc 0 0000.png,disc 0",
        ]

        page.click("#train-start")
        page.wait_for_selector("#changes:not([hidden])")
        photo = dropped / "disc 2" / "0011.png"
        page.set_input_files("#try-input", photo)
        page.wait_for_selector("#answers li")
        assert "disc 2" in page.inner_text("#answers li")
        with page.expect_download() as download:
            page.click("#take-model")
        taken = tmp_path / "taken.safetensors"
        download.value.save_as(taken)
        assert taken.read_bytes() == history.model(2).read_bytes()
        assert next(predict(taken, photo)).class_name == "disc 2"
        with page.expect_download() as report:
            page.click("#take-report")
        report.value.save_as(tmp_path / "report.html")
        assert "photos that training never saw" in (tmp_path / "report.html").read_text(encoding="utf-8")
        assert "1" in page.inner_text("#history-table")


@pytest.mark.parametrize("scheme", ["light", pytest.param("dark", marks=pytest.mark.long)])
def test_narrow_and_by_keyboard_alone(dropped: Path, tmp_path: Path, scheme: str) -> None:
    narrow = {"viewport": {"width": 360, "height": 740}, "color_scheme": scheme}
    with running(dropped, tmp_path / "cache") as (address, history), opened_page(address, **narrow) as page:
        page.wait_for_selector("#grid .cell")
        assert not _is_too_wide(page)
        for _ in range(40):
            page.keyboard.press("Tab")
            if page.evaluate("document.activeElement.id") == "train-start":
                break
        page.keyboard.press("Enter")
        page.wait_for_selector("#result-all:not([hidden])")
        assert history.numbers() == [1]
        assert not _is_too_wide(page)
        assert _serious(page) == []


@pytest.mark.long
@pytest.mark.real
def test_300_solar_cells_from_the_drop_to_the_command_line(solar_cells: Path, tmp_path: Path) -> None:
    """Three clicks to a model; two planted labels are mended by key in the grid, whether doubted or not."""
    samples = [each for each in open_source("elpv", solar_cells).samples if each.class_name in CELLS]
    photos = tmp_path / "cells"
    for name, other in zip(CELLS, reversed(CELLS), strict=True):
        for number, sample in enumerate([each for each in samples if each.class_name == name][:150]):
            place = photos / (other if number == 0 else name)
            place.mkdir(parents=True, exist_ok=True)
            shutil.copy(sample.path, place / ("0 planted.png" if number == 0 else sample.path.name))
    rest = [sample.path for name in CELLS for sample in samples if sample.class_name == name][150:][:12]
    folder = tmp_path / "project"
    folder.mkdir()
    with running(folder, tmp_path / "cache") as (address, history), opened_page(address) as page:
        page.set_default_timeout(120_000)
        page.set_input_files("#folder-input", photos)
        page.wait_for_selector("#notices :text('300 photos added')")
        page.click("#train-start")
        page.wait_for_selector("#result-all:not([hidden])")

        for name, other in zip(CELLS, reversed(CELLS), strict=True):
            page.click(f"#chips button:has-text('{other}')")
            page.click("#grid .cell >> nth=0")
            page.keyboard.press("c")
            page.fill("#dialog-class", name)
            page.keyboard.press("Enter")
            page.wait_for_selector("dialog", state="detached")
        labels = folder / ".benchgraft" / "labels.csv"
        pairs = zip(CELLS, reversed(CELLS), strict=True)
        wanted = sorted(f"{other}/0 planted.png,{name}" for name, other in pairs)
        for _ in range(200):  # the dialog goes before the last label is written
            if sorted(labels.read_text().splitlines()[1:]) == wanted:
                break
            page.wait_for_timeout(100)
        assert sorted(labels.read_text().splitlines()[1:]) == wanted

        page.click("#train-start")
        page.wait_for_selector("#changes:not([hidden])")
        page.set_input_files("#try-input", rest)
        page.wait_for_selector(f"#answers li.answer >> nth={len(rest) - 1}")
        page.wait_for_selector("#answers .alike img")
        said = page.locator("#answers li.answer").evaluate_all(
            "all => all.map(each => ['img', '.verdict'].map(what => each.querySelector(what)))"
            ".map(([image, verdict]) => [image.alt, verdict.textContent])"
        )
        with page.expect_download() as download:
            page.click("#take-model")
        taken = tmp_path / "taken.safetensors"
        download.value.save_as(taken)
        assert taken.read_bytes() == history.model(2).read_bytes()
        wanted = {Path(answer.path).name: answer.class_name for answer in predict(taken, rest)}
        assert {name: verdict.partition(",")[0] for name, verdict in said} == wanted
        assert _serious(page) == []
