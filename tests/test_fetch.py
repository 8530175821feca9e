"""A data set is fetched whole and checked, or not at all; a broken download goes on where it ended."""

from __future__ import annotations

import hashlib
import io
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchgraft.cli import app
from benchgraft.errors import DataError, StorageError
from benchgraft.photos import fetch as fetch_module
from benchgraft.photos.fetch import ARCHIVES, fetch

NAME = "cifar-100-binary.tar.gz"


@dataclass
class Server:
    """What it serves, how it misbehaves, and what it was asked for."""

    content: bytes = b""
    address: str = ""
    breaks_at: int | None = None
    """The first answer ends after so many bytes."""
    knows_ranges: bool = True
    tag: str = '"1"'
    status: int = 0
    ranges: list[str | None] = field(default_factory=list)
    sent: list[int] = field(default_factory=list)


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            _answer(self, made)

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    made.address = f"http://127.0.0.1:{httpd.server_port}/archive"
    yield made
    httpd.shutdown()
    thread.join()
    httpd.server_close()


def _answer(handler: BaseHTTPRequestHandler, server: Server) -> None:
    wanted = handler.headers.get("Range")
    server.ranges.append(wanted)
    if server.status:
        handler.send_error(server.status)
        return
    start = 0
    if wanted and server.knows_ranges and handler.headers.get("If-Range") == server.tag:
        start = int(wanted.removeprefix("bytes=").removesuffix("-"))
    total = len(server.content)
    if start >= total:
        handler.send_response(416)
        handler.send_header("Content-Range", f"bytes */{total}")
        handler.end_headers()
        return
    body = server.content[start:]
    handler.send_response(206 if start else 200)
    handler.send_header("ETag", server.tag)
    handler.send_header("Content-Length", str(len(body)))
    if start:
        handler.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
    handler.end_headers()
    if server.breaks_at is not None:
        body, server.breaks_at = body[: server.breaks_at], None
    server.sent.append(len(body))
    handler.wfile.write(body)


@pytest.fixture
def cifar(synthetic_data: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    """Serves a small cifar-100-binary.tar.gz whose length and MD5 are the published ones."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        archive.add(synthetic_data / "cifar-100-binary", "cifar-100-binary")
    return _publish(server, stream.getvalue(), monkeypatch)


def _publish(server: Server, content: bytes, monkeypatch: pytest.MonkeyPatch) -> Server:
    server.content = content
    md5 = hashlib.md5(content).hexdigest()
    known = replace(ARCHIVES["cifar100"], size=len(content), md5=md5, address=server.address)
    monkeypatch.setitem(fetch_module.ARCHIVES, "cifar100", known)
    return server


def _get(server: Server, out: Path, name: str = "cifar100"):
    return fetch(name, out, address=server.address, wait=0)


def _names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_whole_download_is_unpacked_checked_and_leaves_nothing_else(cifar, tmp_path, synthetic_data):
    fetched = _get(cifar, tmp_path)
    assert fetched.sha256 == hashlib.sha256(cifar.content).hexdigest()
    assert _names(tmp_path) == {"cifar-100-binary"}
    for path in (synthetic_data / "cifar-100-binary").iterdir():
        assert (tmp_path / "cifar-100-binary" / path.name).read_bytes() == path.read_bytes()


def test_a_download_broken_in_the_middle_asks_for_the_missing_bytes_only(cifar, tmp_path):
    cifar.breaks_at = 5000
    _get(cifar, tmp_path)
    assert cifar.ranges == [None, "bytes=5000-"]
    assert cifar.sent == [5000, len(cifar.content) - 5000]


def test_a_later_call_goes_on_from_the_part_that_a_failed_one_left(cifar, tmp_path, monkeypatch):
    cifar.breaks_at = 5000
    monkeypatch.setattr("benchgraft.photos.download.TRIES", 1)
    with pytest.raises(DataError, match="ended after 5,000 of"):
        _get(cifar, tmp_path)
    assert not (tmp_path / "cifar-100-binary").exists()
    _get(cifar, tmp_path)
    assert cifar.ranges == [None, "bytes=5000-"]


def test_a_file_that_changed_meanwhile_comes_whole(cifar, tmp_path, monkeypatch):
    cifar.breaks_at = 5000
    monkeypatch.setattr("benchgraft.photos.download.TRIES", 1)
    with pytest.raises(DataError):
        _get(cifar, tmp_path)
    cifar.tag = '"2"'
    _get(cifar, tmp_path)
    assert cifar.sent == [5000, len(cifar.content)]


def test_a_server_without_ranges_sends_everything_again(cifar, tmp_path):
    cifar.breaks_at, cifar.knows_ranges = 5000, False
    _get(cifar, tmp_path)
    assert cifar.sent == [5000, len(cifar.content)]
    assert _names(tmp_path) == {"cifar-100-binary"}


def test_a_part_that_is_whole_already_is_not_fetched_again(cifar, tmp_path):
    work = tmp_path / ".cifar-100-binary.fetch"
    work.mkdir()
    (work / f"{NAME}.part").write_bytes(cifar.content)
    (work / f"{NAME}.part.tag").write_text(cifar.tag)
    _get(cifar, tmp_path)
    assert cifar.sent == []


def test_a_wrong_digest_is_told_and_the_download_removed(cifar, tmp_path):
    cifar.content = bytes(len(cifar.content))
    with pytest.raises(DataError, match="MD5") as caught:
        _get(cifar, tmp_path)
    assert str(tmp_path / NAME) in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_server_with_a_file_of_another_length_is_refused_before_it_is_read(cifar, tmp_path):
    cifar.content += b"more"
    with pytest.raises(DataError, match="the official file has"):
        _get(cifar, tmp_path)
    assert len(cifar.ranges) == 1


@pytest.mark.parametrize(("status", "asked"), [(404, 1), (503, 4)])
def test_only_passing_faults_of_a_server_are_tried_again(cifar, tmp_path, status, asked):
    cifar.status = status
    with pytest.raises(DataError, match=f"answers {status}"):
        _get(cifar, tmp_path)
    assert len(cifar.ranges) == asked


def test_without_a_server_the_command_says_what_to_download_by_hand(tmp_path, monkeypatch):
    monkeypatch.setattr("benchgraft.photos.download.TRIES", 1)
    nobody = replace(ARCHIVES["cifar100"], address="http://127.0.0.1:1/nobody.tar.gz")
    monkeypatch.setitem(fetch_module.ARCHIVES, "cifar100", nobody)
    result = CliRunner().invoke(app, ["data", "fetch", "cifar100", "--out", str(tmp_path)])
    assert isinstance(result.exception, DataError)
    assert "Connection refused" in str(result.exception)
    assert f"download {nobody.address} by hand to {tmp_path / NAME}" in str(result.exception)


def test_an_archive_put_there_by_hand_is_used_and_stays(cifar, tmp_path):
    (tmp_path / NAME).write_bytes(cifar.content)
    _get(cifar, tmp_path)
    assert cifar.ranges == []
    assert _names(tmp_path) == {"cifar-100-binary", NAME}


@pytest.mark.parametrize("name", ["../evil", "/evil", "a/../../evil"])
def test_an_archive_that_writes_outside_its_folder_is_refused(server, tmp_path, monkeypatch, name):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        member = tarfile.TarInfo(name)
        member.size = 4
        archive.addfile(member, io.BytesIO(b"evil"))
    with pytest.raises(DataError, match="outside its folder"):
        _get(_publish(server, stream.getvalue(), monkeypatch), tmp_path / "out")
    assert not list(tmp_path.rglob("evil"))


def test_links_in_an_archive_are_never_made(server, tmp_path, monkeypatch):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        member = tarfile.TarInfo("test.bin")
        member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(member)
    with pytest.raises(DataError, match=r"test\.bin is missing"):
        _get(_publish(server, stream.getvalue(), monkeypatch), tmp_path)


def _fruits(synthetic_data: Path, top: str, extra: str = "") -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for path in (synthetic_data / "fruits-360").rglob("*.jpg"):
            archive.write(path, f"{top}/{path.relative_to(synthetic_data / 'fruits-360')}")
        if extra:
            archive.writestr(extra, "evil")
    return stream.getvalue()


def test_fruits_lose_the_folder_of_the_archive_around_them(server, tmp_path, synthetic_data):
    server.content = _fruits(synthetic_data, "fruits-360-100x100-main")
    fetched = _get(server, tmp_path, "fruits360")
    assert _names(tmp_path / "fruits-360") == {"Training", "Test"}
    assert not fetched.has_official_digest
    assert len(fetched.source.samples) == len(list((synthetic_data / "fruits-360").rglob("*.jpg")))


@pytest.mark.parametrize("name", ["../evil", "..\\evil"])
def test_a_hostile_zip_is_refused(server, tmp_path, synthetic_data, name):
    server.content = _fruits(synthetic_data, "top", name)
    with pytest.raises(DataError, match="outside its folder"):
        _get(server, tmp_path / "out", "fruits360")
    assert not list(tmp_path.rglob("*evil"))
    assert not (tmp_path / "out" / "fruits-360").exists()


@pytest.mark.parametrize("content", [b"<html>log in first</html>", b""])
def test_what_is_no_archive_is_told_and_removed(server, tmp_path, content):
    server.content = content + b"x"
    with pytest.raises(DataError, match="cannot be unpacked"):
        _get(server, tmp_path, "fruits360")
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_a_storage_error_and_keeps_what_has_come(cifar, tmp_path, monkeypatch):
    def full(*_: object) -> None:
        raise StorageError("cannot write: No space left on device")

    monkeypatch.setattr("benchgraft.photos.fetch.unpack", full)
    with pytest.raises(StorageError):
        _get(cifar, tmp_path)
    monkeypatch.undo()
    assert (tmp_path / ".cifar-100-binary.fetch" / NAME).read_bytes() == cifar.content


def test_a_data_set_that_is_there_is_left_alone(synthetic_data):
    result = CliRunner().invoke(app, ["data", "fetch", "cifar100", "--out", str(synthetic_data)])
    assert result.exit_code == 0
    assert "already there" in result.output


def test_a_damaged_folder_in_that_place_is_named_and_not_touched(tmp_path):
    (tmp_path / "fruits-360").mkdir()
    with pytest.raises(DataError, match="is there but cannot be used"):
        fetch("fruits360", tmp_path)
    assert list(tmp_path.iterdir()) == [tmp_path / "fruits-360"]


def test_an_unknown_name_gets_a_suggestion(tmp_path):
    with pytest.raises(DataError, match="did you mean"):
        fetch("cifar10", tmp_path)
