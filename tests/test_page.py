"""The page's service: a folder of photos through its doors, and nothing beside that folder."""

from __future__ import annotations

import hashlib
import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from photos import content_digest, write_photos
from PIL import Image
from test_hostile_files import png_header

pytest.importorskip("fastapi", reason="extra [serve] is not installed: the page was not tested")
from fastapi.testclient import TestClient
from typer.testing import CliRunner

from benchgraft import adapt, compare, predict
from benchgraft.cli import app as cli
from benchgraft.errors import DataError, RequestError
from benchgraft.networks import model_file
from benchgraft.serve import work as jobs
from benchgraft.serve.alike import Alike
from benchgraft.serve.answering import Answering
from benchgraft.serve.guard import Guard
from benchgraft.serve.history import History
from benchgraft.serve.hub import Hub
from benchgraft.serve.limits import Limits
from benchgraft.serve.page import HEADERS, Page, make_page
from benchgraft.serve.project import Project, checked_name
from benchgraft.serve.served import open_on
from benchgraft.serve.work import Work

LIMITS = Limits(request_bytes=4 << 20, photo_bytes=1 << 18)


class Opened:
    """A project with its page."""

    def __init__(self, folder: Path, cache: Path) -> None:
        self.folder, self.told = folder, list[tuple[str, Any]]()
        self.project = Project(folder, lambda revision: self.told.append(("changed", revision)))
        self.history = History(self.project.place)
        options = {"cache": cache}
        self.work = Work(
            self.project, self.history, lambda name, facts: self.told.append((name, facts)), options
        )
        answering = Answering(self.history, open_on("cpu", 1), Alike(self.project, options))
        self.page = Page(self.project, self.work, answering, self.history, Hub(), LIMITS)
        app = make_page(self.page, lambda _: True)
        self.client = TestClient(Guard(app, None, LIMITS, headers=HEADERS), "http://localhost")

    def get(self, path: str, **query: Any) -> Any:
        found = self.client.get(path, params=query)
        assert found.status_code == 200, found.text
        return found.json()

    def post(self, path: str, asked: Any = None) -> Any:
        found = self.client.post(path, json=asked)
        assert found.status_code in (200, 202), found.text
        return found.json()

    def upload(self, *files: tuple[str, bytes], **query: Any) -> Any:
        found = self.client.post("/api/photos", files=[("photos", file) for file in files], params=query)
        assert found.status_code == 200, found.text
        return found.json()

    def finish(self) -> dict[str, Any]:
        until = time.monotonic() + 60
        while self.get("/api/project")["job"]["state"] == "running" and time.monotonic() < until:
            time.sleep(0.05)
        job: dict[str, Any] = self.get("/api/project")["job"]
        return job


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Opened]:
    """An empty folder; parents are not tried, the small one is taken."""

    def quick(folder: Path, out: Path, **options: Any) -> Any:
        return adapt(folder, out, **(options if options.get("update") else options | {"parent": "paper"}))

    monkeypatch.setattr(jobs, "adapt", quick)
    for name in ("LOOK_EVERY", "REST"):
        monkeypatch.setattr(f"benchgraft.serve.project.{name}", 0.0)
    (tmp_path / "photos").mkdir()
    made = Opened(tmp_path / "photos", tmp_path / "cache")
    yield made
    made.work.stop()
    made.page.answering.close()


def _photo(seed: int, kind: str = "PNG") -> bytes:
    colour = ((seed * 37) % 200, (seed * 91) % 200, (seed * 53) % 200)
    image = Image.new("RGB", (60, 40), colour)
    image.putpixel((seed % 60, seed % 40), (255, 255, 255))
    file = io.BytesIO()
    image.save(file, kind)
    return file.getvalue()


def _zip(files: dict[str, bytes]) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, raw in files.items():
            archive.writestr(name, raw)
    return made.getvalue()


def _files(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and ".benchgraft" not in path.parts
    }


def test_an_empty_folder_is_a_project_to_begin_with(opened: Opened) -> None:
    facts = opened.get("/api/project")
    assert (facts["photos"], facts["classes"], facts["model"], facts["job"]) == (0, [], None, None)
    assert opened.get("/api/result") is None and opened.get("/api/unsure") == []
    refused = opened.client.post("/api/try", files=[("photos", ("a.png", _photo(1)))])
    assert refused.status_code == 422 and "train one first" in refused.json()["detail"]


def test_dropped_folders_and_zips_become_files_of_their_classes(opened: Opened) -> None:
    packed = _zip({"pets/dog/1.png": _photo(3), "pets/dog/notes.txt": b"x", "__MACOSX/dog/._1.png": b"y"})
    made = opened.upload(
        ("cat/1.png", _photo(1)),
        ("deep/er/cat/2.jpg", _photo(2, "JPEG")),
        ("all.zip", packed),
        ("loose.png", _photo(4)),
    )
    assert made["added"] == 3
    reasons = {each["name"]: each["reason"] for each in made["skipped"]}
    assert reasons["pets/dog/notes.txt"] == "no photo by its name"
    assert reasons["__MACOSX/dog/._1.png"] == "a hidden file"
    assert reasons["loose.png"].startswith("its class is not known")
    assert sorted(_files(opened.folder)) == ["cat/1.png", "cat/2.jpg", "dog/1.png"]
    assert (opened.folder / "cat" / "1.png").read_bytes() == _photo(1)
    assert opened.upload(("loose.png", _photo(4)), label="bird")["added"] == 1
    assert [each["name"] for each in opened.get("/api/project")["classes"]] == ["bird", "cat", "dog"]


def test_what_is_there_or_damaged_or_no_photo_is_told_and_left_out(opened: Opened) -> None:
    opened.upload(("cat/1.png", _photo(1)))
    made = opened.upload(
        ("cat/other name.png", _photo(1)),
        ("cat/1.png", _photo(2)),
        ("cat/half.png", _photo(3)[:60]),
        ("cat/bomb.png", png_header(60_000, 60_000)),
        ("cat/page.png", b"<script>alert(1)</script>"),
    )
    reasons = {each["name"]: each["reason"] for each in made["skipped"]}
    assert reasons["cat/other name.png"] == "the same bytes as cat/1.png"
    assert "truncated" in reasons["cat/half.png"] or "damaged" in reasons["cat/half.png"]
    assert reasons["cat/bomb.png"].startswith("too large") and "not an image" in reasons["cat/page.png"]
    assert sorted(_files(opened.folder)) == ["cat/1 (2).png", "cat/1.png"]


@pytest.mark.parametrize(
    "name",
    [
        "../../evil/cat/1.png",
        "/etc/cat/1.png",
        "C:\\cat\\1.png",
        "cat/../../1.png",
        "cat/" + "x" * 300 + ".png",
        "cat/con.png",
        "cat/a\nb.png",
        "cat/.hidden.png",
        "~/cat/1.png",
    ],
)
def test_no_name_leads_out_of_the_folder(opened: Opened, name: str) -> None:
    before = {path for path in opened.folder.parent.rglob("*") if opened.folder not in path.parents}
    for upload in ((name, _photo(1)), ("in.zip", _zip({name: _photo(2)}))):
        opened.client.post("/api/photos", files=[("photos", upload)])
    after = {path for path in opened.folder.parent.rglob("*") if opened.folder not in path.parents}
    assert after == before
    assert all(key.startswith(("cat/", "etc/", "in/")) and len(key) < 130 for key in _files(opened.folder))


def test_two_uploads_of_one_name_at_once_are_both_kept(opened: Opened) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda seed: opened.upload(("cat/1.png", _photo(seed))), range(8)))
    assert [each["added"] for each in made] == [1] * 8
    kept = {hashlib.sha256(_photo(seed)).hexdigest() for seed in range(8)}
    assert set(_files(opened.folder).values()) == kept


@pytest.mark.parametrize(
    "name", ["Shot 9.41.00\u202fAM.png", "a\u200cb.png", "new\nline.png", " lead.png", "b\\c.png"]
)
def test_photos_with_odd_names_get_their_class_and_their_labels(opened: Opened, name: str) -> None:
    assert opened.upload((f"cat/{name}", _photo(1)))["added"] == 1
    (opened.folder / "cat" / name).write_bytes(_photo(2))
    keys = [each["key"] for each in opened.get("/api/photos")["photos"]]
    assert [each["name"] for each in opened.get("/api/project")["classes"]] == ["cat"]
    assert opened.post("/api/labels", {"keys": keys, "label": "dog"}) == {"changed": len(keys)}
    assert opened.get("/api/project")["classes"] == [{"name": "dog", "photos": 2}]


def test_what_is_too_large_costs_the_others_nothing(opened: Opened) -> None:
    long = _photo(1) + bytes(LIMITS.photo_bytes)
    made = opened.upload(
        ("cat/long.png", long), ("cat/2.png", _photo(2)), ("z.zip", _zip({"cat/long.png": long}))
    )
    assert made["added"] == 1
    assert [each["reason"] for each in made["skipped"]] == [f"larger than {LIMITS.photo_bytes >> 20} MiB"] * 2


def test_what_was_taken_out_stays_out_and_what_is_new_comes_in(opened: Opened) -> None:
    opened.upload(("cat/1.png", _photo(1)), ("cat/2.png", _photo(2)))
    opened.post("/api/labels", {"keys": ["cat/1.png"], "label": ""})
    again = opened.upload(("cat/1.png", _photo(1)))
    assert (again["added"], again["skipped"][0]["reason"]) == (0, "the same bytes as cat/1.png")
    (opened.folder / "cat" / "1.png").unlink()
    assert opened.upload(("cat/1.png", _photo(3)))["added"] == 1
    assert opened.get("/api/project")["photos"] == 2


def test_a_folder_of_which_all_is_taken_out_can_still_be_worked_on(opened: Opened) -> None:
    opened.upload(("cat/1.png", _photo(1)), ("dog/2.png", _photo(2)))
    opened.post("/api/labels", {"keys": ["cat/1.png", "dog/2.png"], "label": ""})
    facts = opened.get("/api/project")
    assert facts["photos"] == 0 and "takes all 2 photos out" in facts["notes"][0]
    assert opened.upload(("bird/3.png", _photo(3)))["added"] == 1
    assert opened.post("/api/labels", {"keys": ["cat/1.png"], "label": "cat"}) == {"changed": 1}
    assert opened.get("/api/project")["photos"] == 2


def test_undo_takes_back_what_it_did_and_nothing_else(opened: Opened) -> None:
    opened.upload(("cat/1.png", _photo(1)), drop="one")
    opened.upload(("cat/2.png", _photo(2)), drop="one")
    table = opened.folder / ".benchgraft" / "labels.csv"
    table.parent.mkdir(exist_ok=True)
    table.write_text("path,label\ncat/1.png,kitten\n")
    (opened.folder / "cat" / "2.png").write_bytes(_photo(9))
    assert opened.post("/api/undo") == {"undone": "2 photos added"}
    assert _files(opened.folder) == {"cat/2.png": hashlib.sha256(_photo(9)).hexdigest()}
    assert "kitten" in table.read_text()
    opened.post("/api/labels", {"keys": ["cat/2.png"], "label": "dog"})
    table.write_text(table.read_text() + "cat/2.png,bird\n")
    refused = opened.client.post("/api/undo")
    assert refused.status_code == 422 and "changed by something else" in refused.json()["detail"]
    assert "bird" in table.read_text()


def test_empty_classes_come_and_go(opened: Opened) -> None:
    write_photos(opened.folder / "train", {"red": 2, "green": 2})
    write_photos(opened.folder / "test", {"red": 2, "green": 2}, start=50)
    opened.post("/api/classes", {"name": "blue"})
    names = [each["name"] for each in opened.get("/api/project")["classes"]]
    assert names == ["blue", "green", "red"]
    opened.post("/api/classes", {"name": "blue", "to": "navy"})
    assert [each["name"] for each in opened.get("/api/project")["classes"]] == ["green", "navy", "red"]
    assert opened.upload(("navy/1.png", _photo(1)))["added"] == 1
    assert (opened.folder / "train" / "navy" / "1.png").is_file()


def test_links_bombs_and_nonsense_in_zips_are_refused(opened: Opened) -> None:
    link = zipfile.ZipInfo("cat/link.png")
    link.external_attr = 0o120777 << 16
    bomb = _zip({"cat/bomb.png": bytes(50 << 20)})
    assert len(bomb) < 1 << 18
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr(link, "/etc/passwd")
        archive.writestr("cat/inner.zip", _zip({"cat/1.png": _photo(1)}))
    made = opened.upload(("a.zip", packed.getvalue()), ("b.zip", bomb), ("c.zip", b"PK nonsense"))
    assert made["added"] == 0
    reasons = " ".join(each["reason"] for each in made["skipped"])
    for told in ("links are not followed", "no photo by its name", "larger than", "no zip that can be read"):
        assert told in reasons
    assert _files(opened.folder) == {}


def test_labels_are_lines_and_the_photos_stay_as_they_are(opened: Opened, tmp_path: Path) -> None:
    write_photos(opened.folder, {"red": 4, "green": 4})
    before = _files(opened.folder)
    assert opened.post("/api/labels", {"keys": ["red/0000.png", "red/0001.png"], "label": "green"}) == {
        "changed": 2
    }
    assert opened.post("/api/labels", {"keys": ["red/0002.png"], "label": ""}) == {"changed": 1}
    assert opened.post("/api/classes", {"name": "green", "to": "lime"}) == {"changed": 6}
    assert opened.get("/api/project")["classes"] == [
        {"name": "lime", "photos": 6},
        {"name": "red", "photos": 1},
    ]
    assert opened.post("/api/labels", {"keys": ["red/0002.png"], "label": "red"}) == {"changed": 1}
    assert opened.get("/api/project")["photos"] == 8
    assert opened.post("/api/undo") == {"undone": "1 photo as red"}
    lost = opened.client.post("/api/labels", json={"keys": ["red/none.png"], "label": "red"})
    assert lost.status_code == 422 and "is not among the photos" in lost.json()["detail"]
    assert opened.post("/api/classes", {"name": "red", "to": "lime"}) == {"changed": 1}
    assert [photo["label"] for photo in opened.get("/api/photos", limit=2)["photos"]] == ["lime", "lime"]
    assert opened.post("/api/undo") == {"undone": "red as lime"}
    assert opened.post("/api/undo") == {"undone": "green as lime"}
    assert opened.get("/api/project")["classes"] == [
        {"name": "green", "photos": 6},
        {"name": "red", "photos": 1},
    ]
    for _ in range(2):
        opened.post("/api/undo")
    assert opened.post("/api/undo") == {"undone": None}
    assert opened.get("/api/project")["photos"] == 8 and _files(opened.folder) == before
    assert not (opened.folder / ".benchgraft" / "labels.csv").exists()


def test_a_table_from_elsewhere_keeps_its_columns(opened: Opened) -> None:
    write_photos(opened.folder, {"red": 3, "green": 3})
    table = opened.folder / ".benchgraft" / "labels.csv"
    table.parent.mkdir()
    table.write_text("path,split,label\nred/0000.png,test,red")
    opened.post("/api/labels", {"keys": ["red/0000.png"], "label": "green"})
    assert table.read_text() == "path,split,label\nred/0000.png,test,red\nred/0000.png,,green\n"
    [sample] = [each for each in opened.project.listed().samples.values() if each.given]
    assert (sample.given, sample.class_name) == ("test", "green")


@pytest.mark.parametrize(
    "name", ["", " ", "..", "a/b", "a\\b", ".x", "nul", "a" * 101, "what?", "a\0b", "_x"]
)
def test_names_that_no_folder_may_have_are_refused(opened: Opened, name: str) -> None:
    with pytest.raises(RequestError):
        checked_name(name, "class")
    write_photos(opened.folder, {"red": 2})
    for asked in ({"name": name}, {"name": "red", "to": name}):
        assert opened.client.post("/api/classes", json=asked).status_code == 422
    assert [path.name for path in opened.folder.iterdir()] == ["red"]


def test_only_photos_of_the_project_are_shown(opened: Opened) -> None:
    write_photos(opened.folder, {"red": 2})
    (opened.folder / "secret.png").write_bytes(_photo(1))
    for side in (96, 160, 320, 1024):
        found = opened.client.get("/api/photo", params={"key": "red/0000.png", "side": side})
        assert Image.open(io.BytesIO(found.content)).size == (side, side)
    for key in ("../../etc/passwd", "/etc/passwd", "secret.png", "red/../secret.png", "red/0000.png\0"):
        assert opened.client.get("/api/photo", params={"key": key}).status_code == 404
    (opened.folder / "red" / "bad.png").write_bytes(b"\x89PNG nonsense")
    grey = opened.client.get("/api/photo", params={"key": "red/bad.png"})
    assert grey.status_code == 200 and Image.open(io.BytesIO(grey.content)).size == (8, 8)
    readable = {each["key"]: each["readable"] for each in opened.get("/api/photos")["photos"]}
    assert readable == {"red/0000.png": True, "red/0001.png": True, "red/bad.png": False}


def test_the_page_runs_no_script_but_its_own(opened: Opened) -> None:
    for path in ("/", "/static/app.js", "/api/project", "/static/nothing"):
        policy = opened.client.get(path).headers["content-security-policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy
    assert opened.client.get("/static/../project.py").status_code == 404
    assert opened.client.get("/static/%2e%2e/project.py").status_code == 404


def test_from_photos_to_a_model_and_with_new_photos_to_the_next(opened: Opened) -> None:
    write_photos(opened.folder, {"red": 40, "green": 40, "blue": 40})
    opened.post("/api/train", {"minutes": 0})
    assert opened.client.post("/api/train", json={"minutes": 0}).status_code == 409
    assert opened.finish()["state"] == "done"
    first = opened.get("/api/result")
    assert first["number"] == 1 and first["accuracy"]["low"] <= first["accuracy"]["value"] <= 1
    assert sum(map(sum, first["confusion"]["counts"])) == first["images"]["test"]
    assert opened.get("/api/project")["model"]["is_of_these"]
    assert {name for name, _ in opened.told} >= {"job", "progress", "changed"}

    write_photos(opened.folder, {"red": 8, "green": 8}, start=900)
    assert not opened.get("/api/project")["model"]["is_of_these"]
    opened.post("/api/train", {"minutes": 0})
    assert opened.finish()["state"] == "done"
    second = opened.get("/api/result")
    assert second["number"] == 2 and second["changes"][0]["name"] is None
    assert (
        0 < second["changes"][0]["images"] <= first["images"]["test"]
    )  # but for those that new ones look like
    assert [each["number"] for each in opened.get("/api/history")] == [2, 1]

    photos = sorted((opened.folder / "red").glob("*.png"))[:3]
    tried = opened.client.post(
        "/api/try", files=[("photos", (p.name, p.read_bytes())) for p in photos]
    ).json()
    wanted = list(predict(opened.history.model(2), photos))
    assert [each["class_name"] for each in tried["answers"]] == [each.class_name for each in wanted]
    learned = model_file.read(opened.history.model(2)).trained_on
    every = sorted(opened.folder.glob("*/*.png"))
    trained_on = {str(path.relative_to(opened.folder)) for path in every if content_digest(path) in learned}
    for photo, answer in zip(photos, tried["answers"], strict=True):
        key, alike = f"red/{photo.name}", answer["alike"]
        assert len(alike) == 4 and {each["key"] for each in alike} <= trained_on
        assert [each["similarity"] for each in alike] == sorted(
            (each["similarity"] for each in alike), reverse=True
        )
        if key in trained_on:  # nothing is as like a photo as itself
            assert alike[0] == {"key": key, "label": "red", "similarity": pytest.approx(1, abs=1e-2)}
    listed = CliRunner().invoke(cli, ["history", str(opened.folder), "--json"])
    assert [(each["number"], each["is_current"]) for each in json.loads(listed.output)] == [
        (2, True),
        (1, False),
    ]
    opened.post("/api/history", {"number": 1})
    shown = CliRunner().invoke(cli, ["history", str(opened.folder)]).output
    assert "1 (in use)" in shown and "2 (in use)" not in shown
    assert CliRunner().invoke(cli, ["history", str(opened.folder), "--use", "2"]).exit_code == 0
    assert opened.get("/api/project")["model"]["number"] == 2
    assert isinstance(
        CliRunner().invoke(cli, ["history", str(opened.folder), "--use", "7"]).exception, DataError
    )
    opened.post("/api/history", {"number": 1})
    assert opened.get("/api/project")["model"]["number"] == 1
    taken = opened.client.get("/download/model")
    assert taken.content == opened.history.model(1).read_bytes()
    assert opened.client.get("/download/model", params={"number": 7}).status_code == 404


def test_a_job_that_is_stopped_goes_on_and_a_mistake_is_told_in_the_words_of_the_command(
    opened: Opened,
) -> None:
    write_photos(opened.folder, {"red": 40, "green": 40})
    opened.post("/api/train", {"minutes": 0})
    opened.post("/api/cancel")
    state = opened.finish()["state"]
    assert state in ("stopped", "done")
    if state == "stopped":
        opened.post("/api/train", {"minutes": 0})
        assert opened.finish() == opened.work.job and opened.work.job["number"] == 1
    assert opened.history.numbers() == [1]
    for path in (opened.folder / "green").iterdir():
        path.unlink()
    opened.post("/api/train", {"minutes": 0})
    job = opened.finish()
    assert job["state"] == "failed" and job["error"]
    write_photos(opened.folder, {"green": 40}, start=300)
    opened.post("/api/train", {"minutes": 0})
    assert opened.finish()["state"] == "done"


def test_only_what_the_end_of_the_program_stopped_goes_on_by_itself(opened: Opened, tmp_path: Path) -> None:
    write_photos(opened.folder, {"red": 40, "green": 40})
    job = opened.folder / ".benchgraft" / "job.json"
    opened.post("/api/train", {"minutes": 0})
    opened.work.stop()
    assert opened.work.job is not None
    if opened.work.job["state"] == "stopped":
        assert job.is_file()
        later = Work(opened.project, opened.history, lambda *_: None, {"cache": tmp_path / "cache"})
        later.go_on()
        later.stop()
        assert later.job is not None and later.job["number"] == 1
    opened.post("/api/train", {"minutes": 0})
    opened.post("/api/cancel")
    opened.finish()
    assert not job.exists()
    job.write_text("{}")
    opened.work.go_on()


def test_photos_are_compared_with_training_from_scratch_again_and_again(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    def quick(folder: Path, **options: Any) -> Any:
        return compare(folder, parent="paper", runs=1, **options)

    monkeypatch.setattr(jobs, "compare", quick)
    write_photos(opened.folder, {"red": 40, "green": 40})
    assert opened.client.get("/report/compare").status_code == 404
    for start in (300, 400):
        opened.post("/api/compare")
        assert opened.finish()["state"] == "done", opened.work.job
        page = opened.client.get("/report/compare")
        assert "from scratch" in page.text and "script-src" not in page.headers["content-security-policy"]
        write_photos(opened.folder, {"red": 5}, start=start)


def test_a_token_in_the_address_becomes_a_cookie(opened: Opened) -> None:
    app = Guard(make_page(opened.page, lambda _: False), "secret", LIMITS, headers=HEADERS)
    client = TestClient(app, "http://photos.example", follow_redirects=False)
    assert client.get("/").status_code == 401
    assert client.get("/?token=wrong").status_code == 401
    came = client.get("/?token=secret")
    assert (came.status_code, came.headers["location"]) == (303, "/")
    assert "HttpOnly" in came.headers["set-cookie"] and "SameSite=strict" in came.headers["set-cookie"]
    assert client.get("/api/project").json()["camera"] is False


def _started(folder: Path, port: int, cache: Path) -> subprocess.Popen[str]:
    words = [
        sys.executable,
        "-m",
        "benchgraft",
        "serve",
        str(folder),
        "--port",
        str(port),
        "--cache-dir",
        str(cache),
    ]
    process = subprocess.Popen(
        words, stderr=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    assert process.stderr is not None and process.stderr.readline().startswith("photos: ")
    assert "http://127.0.0.1" in process.stderr.readline()
    return process


def _ended(process: subprocess.Popen[str], by: signal.Signals) -> int:
    process.send_signal(by)
    process.communicate(timeout=60)
    return process.returncode


def _asked(port: int, path: str, body: Any = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}{path}", data, {"Content-Type": "application/json"}
    )
    return json.load(urllib.request.urlopen(request))


def _wait(port: int, states: tuple[str, ...]) -> dict[str, Any]:
    until = time.monotonic() + 120
    while time.monotonic() < until:
        job: dict[str, Any] = _asked(port, "/api/project")["job"]
        if job and job["state"] in states:
            return job
        time.sleep(0.1)
    raise AssertionError(f"still {job}")


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


@pytest.mark.long
def test_killed_ten_times_amid_uploads_the_project_holds_whole_photos_alone(tmp_path: Path) -> None:
    folder, cache, port = tmp_path / "photos", tmp_path / "cache", _free_port()
    folder.mkdir()
    told = 0
    for number in range(10):
        process = _started(folder, port, cache)
        files = [("photos", (f"cat/{number}-{n}.png", _photo(100 * number + n))) for n in range(60)]

        def send(files: Any = files) -> int:
            try:
                return int(httpx.post(f"http://127.0.0.1:{port}/api/photos", files=files).json()["added"])
            except httpx.HTTPError:
                return 0  # killed before it answered

        with ThreadPoolExecutor(1) as pool:
            sent = pool.submit(send)
            time.sleep(0.05 + 0.08 * number)
            _ended(process, signal.SIGKILL)
            told += sent.result()
    whole = {hashlib.sha256(_photo(seed)).hexdigest() for seed in range(1000)}
    kept = {name: digest for name, digest in _files(folder).items() if not Path(name).name.startswith(".")}
    assert set(kept.values()) <= whole and len(kept) >= told
    process = _started(folder, port, cache)
    assert _asked(port, "/api/project")["photos"] == len(kept)
    assert _ended(process, signal.SIGTERM) == 0


@pytest.mark.long
def test_killed_ten_times_amid_training_the_model_is_the_same_to_the_last_bit(tmp_path: Path) -> None:
    folder, cache, port = tmp_path / "photos", tmp_path / "cache", _free_port()
    write_photos(folder, {"red": 60, "green": 60})
    before = _files(folder)
    process = _started(folder, port, cache)
    _asked(port, "/api/train", {"minutes": 0})
    for _ in range(10):
        time.sleep(0.1)  # it begins anew, or goes on, at each start
        _ended(process, signal.SIGKILL)
        process = _started(folder, port, cache)
    _wait(port, ("done",))
    assert _ended(process, signal.SIGTERM) == 0
    assert _files(folder) == before
    plain = tmp_path / "plain.safetensors"
    adapt(folder, plain, overlap="drop-near", cache=tmp_path / "other", run_folder=tmp_path / "run")
    made = model_file.read_card(History(folder / ".benchgraft").model(1))
    assert made.model_digest == model_file.read_card(plain).model_digest


@pytest.mark.long
def test_whatever_is_sent_to_the_page_is_answered(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    """No 500, on a folder with photos and labels; a job that starts ends at once."""
    schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed")
    from hypothesis import HealthCheck, given, settings
    from schemathesis.checks import not_a_server_error

    def refused(*_given: Any, **_options: Any) -> Any:
        raise DataError("not now")

    monkeypatch.setattr(jobs, "adapt", refused)
    monkeypatch.setattr(jobs, "compare", refused)
    write_photos(opened.folder, {"red": 5, "green": 5})
    opened.post("/api/labels", {"keys": ["red/0001.png"], "label": "green"})
    described = schemathesis.openapi.from_asgi("/openapi.json", make_page(opened.page, lambda _: True))
    for each in described.exclude(path="/api/events").get_all_operations():

        @settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
        @given(case=each.ok().as_strategy())
        def asked(case: Any) -> None:
            case.call_and_validate(checks=[not_a_server_error])

        asked()
    assert opened.get("/api/project")["photos"] >= 5
