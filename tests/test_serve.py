"""The answering service: what `predict` says, over HTTP, and nothing for those who may not ask."""

from __future__ import annotations

import asyncio
import io
import json
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from photos import write_photos
from PIL import Image
from test_hostile_files import png_header

pytest.importorskip("fastapi", reason="extra [serve] is not installed: the service was not tested")
from fastapi.testclient import TestClient

from benchgraft import adapt, export, predict
from benchgraft.config.checking import checked
from benchgraft.config.requests import ServeRequest
from benchgraft.engines.engine import Classifier
from benchgraft.errors import RequestError
from benchgraft.serve.api import make_app
from benchgraft.serve.guard import Guard
from benchgraft.serve.limits import Limits
from benchgraft.serve.metrics import Metrics
from benchgraft.serve.served import LOOK_EVERY, Room, Served, open_on
from benchgraft.serve.service import serve
from benchgraft.tasks.predict import Prediction

LIMITS = Limits(request_bytes=1 << 20, photo_bytes=1 << 18, photos=40, upload_seconds=1.0)
COLOURS = ["blue", "green", "red"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with m.safetensors, the same as m.onnx, other.onnx with two classes, and new photos."""
    folder = tmp_path_factory.mktemp("serve")
    photos = write_photos(folder / "photos", dict.fromkeys(COLOURS, 40))
    options: dict[str, Any] = {"cache": folder / "cache", "parent": "paper"}
    adapt(photos, folder / "m.safetensors", run_folder=folder / "run", **options)
    write_photos(folder / "two", dict.fromkeys(COLOURS[:2], 40))
    adapt(folder / "two", folder / "other.safetensors", run_folder=folder / "run2", **options)
    for name in ("m", "other"):
        export(folder / f"{name}.safetensors", folder / f"{name}.onnx")
    write_photos(folder / "new", dict.fromkeys(COLOURS, 12), start=500)
    return folder


@pytest.fixture
def files(place: Path) -> list[Path]:
    return sorted((place / "new").rglob("*.png"))


def _client(
    *models: Path, token: str | None = None, queue: int = 512, limits: Limits = LIMITS, opener: Any = None
) -> tuple[TestClient, list[Served], Metrics, list[str]]:
    metrics, room, said = Metrics(), Room(queue), []
    open_model = opener or open_on("cpu", 1)
    served = [Served(path.stem, path, open_model, room, metrics, said.append) for path in models]
    app = make_app({each.name: each for each in served}, metrics, limits)
    return TestClient(Guard(app, token, limits, metrics), "http://localhost"), served, metrics, said


def _form(files: list[Path]) -> list[tuple[str, tuple[str, bytes]]]:
    return [("photos", (file.name, file.read_bytes())) for file in files]


@pytest.mark.parametrize(("model", "within"), [("m.onnx", 0.0), ("m.safetensors", 1e-5)])
def test_many_photos_get_what_predict_says_of_them(
    place: Path, files: list[Path], model: str, within: float
) -> None:
    wanted = list(predict(place / model, files, top=3, threads=1))
    client, *_ = _client(place / model)
    found = client.post("/predict?top=3", files=_form(files)).json()["answers"]
    assert [each["photo"] for each in found] == [file.name for file in files]
    for ours, theirs in zip(found, wanted, strict=True):
        assert isinstance(theirs, Prediction)
        assert ours["class_name"] == theirs.class_name
        for name, probability in theirs.top:
            assert abs(ours["top"][name] - probability) <= within


def test_one_photo_alone_and_many_at_once_get_the_same_answer(place: Path, files: list[Path]) -> None:
    client, *_ = _client(place / "m.onnx")
    together = client.post("/predict?top=3", files=_form(files)).json()["answers"]
    headers = {"Content-Type": "image/png"}
    with ThreadPoolExecutor(8) as pool:
        alone = list(
            pool.map(
                lambda file: client.post("/predict?top=3", content=file.read_bytes(), headers=headers).json(),
                files,
            )
        )
    for one, whole in zip(alone, together, strict=True):
        assert one["answers"] == [whole | {"photo": "photo"}]


def test_what_waits_is_answered_in_few_batches(place: Path, files: list[Path]) -> None:
    client, _, metrics, _ = _client(place / "m.onnx")
    client.post("/predict", files=_form(files))
    counted = dict(line.rsplit(" ", 1) for line in metrics.text().splitlines() if not line.startswith("#"))
    assert counted['benchgraft_batched_photos_total{model="m"}'] == str(len(files))
    assert counted['benchgraft_photos_total{model="m",outcome="answered"}'] == str(len(files))
    assert int(counted['benchgraft_batches_total{model="m"}']) < len(files)
    assert counted["benchgraft_predict_seconds_count"] == "1"


def test_a_photo_that_cannot_be_read_costs_the_others_nothing(place: Path, files: list[Path]) -> None:
    client, *_ = _client(place / "m.onnx")
    form = [*_form(files[:2]), ("photos", ("broken.png", files[0].read_bytes()[:200]))]
    found = client.post("/predict", files=form)
    assert found.status_code == 200
    assert [each["error"] is None for each in found.json()["answers"]] == [True, True, False]
    assert "truncated" in found.json()["answers"][2]["error"]


@pytest.mark.parametrize(
    ("raw", "status", "told"),
    [
        (b"", 422, "no photo in the request"),
        (b"<svg onload=alert(1)>", 422, "not an image of a known format"),
        (b"\xff\xd8\xff" + bytes(500), 422, "photo: "),
        (png_header(60_000, 60_000), 422, "too large: "),
        (bytes(LIMITS.photo_bytes + 1), 413, "a photo may have"),
        (bytes(LIMITS.request_bytes + 1), 413, "a request may have 1 MiB"),
    ],
)
def test_hostile_photos_are_a_clear_4xx(place: Path, raw: bytes, status: int, told: str) -> None:
    client, *_ = _client(place / "m.onnx")
    found = client.post("/predict", content=raw, headers={"Content-Type": "image/png"})
    assert found.status_code == status
    assert told in found.json()["detail"]
    chunked = client.post(
        "/predict", content=iter([raw[:1000], raw[1000:]]), headers={"Content-Type": "image/png"}
    )
    assert chunked.status_code == status


@pytest.mark.parametrize(
    ("asked", "status", "told"),
    [
        ({"url": "/predict?model=none"}, 404, "there are: m"),
        ({"url": "/predict?top=0"}, 422, "top: "),
        ({"url": "/predict?unsure_below=nan"}, 422, "unsure_below: "),
        ({"json": {"photo": "x"}}, 415, "application/json is no photo"),
        ({"files": [("image", ("a.png", b"x"))]}, 422, 'form field "image" is not'),
        ({"files": [("photos", (f"{n}.png", b"x")) for n in range(41)]}, 413, "40 photos"),
        ({"content": b"--x", "headers": {"Content-Type": "multipart/form-data"}}, 400, "boundary"),
    ],
)
def test_requests_that_cannot_be_are_told_what_to_do(
    place: Path, asked: dict[str, Any], status: int, told: str
) -> None:
    client, *_ = _client(place / "m.onnx")
    found = client.post(**({"url": "/predict"} | asked))
    assert found.status_code == status
    assert told in found.json()["detail"]


def test_names_of_uploads_are_shown_on_one_line_and_never_used(place: Path, files: list[Path]) -> None:
    client, *_ = _client(place / "m.onnx")
    names = ["../../etc/passwd", "/abs.png", "a\nb.png", "x" * 1000, "nul\0.png"]
    form = [("photos", (name, files[0].read_bytes())) for name in names]
    found = client.post("/predict", files=form).json()["answers"]
    assert len(found) == len(names)
    assert all("\n" not in each["photo"] and len(each["photo"]) <= LIMITS.name_letters for each in found)


def test_pages_of_other_sites_and_names_are_refused(place: Path) -> None:
    client, *_ = _client(place / "m.onnx")
    assert client.get("/model", headers={"Host": "evil.example"}).status_code == 421
    assert client.get("/model", headers={"Origin": "http://evil.example"}).status_code == 403
    assert client.get("/model", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
    assert client.post("/predict", headers={"Origin": "null"}, content=b"x").status_code == 403
    assert client.get("/model", headers={"Sec-Fetch-Site": "same-site"}).status_code == 403
    opened = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    assert client.get("/", headers=opened).status_code == 404  # of this service, which has no page
    assert client.post("/predict", headers=opened).status_code == 403
    for host in ("localhost:8000", "127.0.0.1", "[::1]:8000"):
        assert client.get("/model", headers={"Host": host, "Origin": f"http://{host}"}).status_code == 200


def test_where_others_may_ask_only_the_token_opens(place: Path) -> None:
    client, *_ = _client(place / "m.onnx", token="secret")
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "secret"}):
        found = client.get("/model", headers=headers)
        assert found.status_code == 401 and "Authorization: Bearer TOKEN" in found.json()["detail"]
    assert client.get("/healthz").json() == {"status": "ok"}
    assert client.get("/?" + "&".join(f"a{n}=1" for n in range(50))).status_code == 401
    for cookie in ("a@b=1", 'j={"a": 1}', "x/y=z", "a b", ";;="):
        assert client.get("/model", headers={"Cookie": cookie}).status_code == 401
    there = {"Authorization": "Bearer secret", "Host": "photos.example"}
    assert client.get("/model", headers=there).json()[0]["class_names"] == COLOURS


def test_several_models_answer_by_name(place: Path, files: list[Path]) -> None:
    client, *_ = _client(place / "m.onnx", place / "other.safetensors")
    facts = client.get("/model").json()
    assert [each["name"] for each in facts] == ["m", "other"]
    assert facts[1]["class_names"] == COLOURS[:2]
    assert (facts[0]["side"], facts[0]["fit"]) == (100, "letterbox")
    found = client.post("/predict?model=other&top=9", files=_form(files[-1:])).json()
    assert found["model"] == "other" and set(found["answers"][0]["top"]) == set(COLOURS[:2])


def test_beyond_the_queue_requests_are_sent_away_and_the_others_answered(
    place: Path, files: list[Path]
) -> None:
    gate = threading.Event()

    def slow(path: Path) -> Classifier:
        real = open_on("cpu", 1)(path)

        class Slow:
            name, is_same_in_any_batch = "slow", True

            def compute(self, pixels: Any) -> Any:
                gate.wait(10)
                return real.engine.compute(pixels)

        return Classifier(Slow(), real.class_names, real.rule)

    client, *_ = _client(place / "m.onnx", queue=4, opener=slow)
    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(client.post, "/predict", files=_form(files[:4]))
        time.sleep(0.3)
        refused = client.post("/predict", files=_form(files[:1]))
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
        gate.set()
        assert first.result().status_code == 200
    assert client.post("/predict", files=_form(files[:4])).status_code == 200


def test_a_replaced_file_is_taken_up_and_a_damaged_one_is_not(place: Path, tmp_path: Path) -> None:
    model, photo = tmp_path / "m.onnx", next((place / "new").rglob("*.png"))
    model.write_bytes((place / "m.onnx").read_bytes())
    client, [served], _, said = _client(model)
    stop = threading.Event()
    statuses: list[int] = []

    def ask() -> None:
        while not stop.is_set():
            statuses.append(client.post("/predict", files=_form([photo])).status_code)

    def replaced(content: bytes, done: int) -> None:
        fresh = tmp_path / "fresh"
        fresh.write_bytes(content)
        fresh.replace(model)
        until = time.monotonic() + 20 * LOOK_EVERY
        while len(said) < done and time.monotonic() < until:
            time.sleep(0.02)

    asking = [threading.Thread(target=ask) for _ in range(3)]
    for thread in asking:
        thread.start()
    replaced((place / "other.onnx").read_bytes(), 1)
    assert served.classifier.class_names == COLOURS[:2]
    replaced(model.read_bytes()[:-100], 2)
    stop.set()
    for thread in asking:
        thread.join()
    assert "the new model answers" in said[0] and "the old model stays" in said[1]
    assert served.classifier.class_names == COLOURS[:2]
    assert len(statuses) > 3 and set(statuses) == {200}


def test_a_request_that_trickles_in_is_ended(place: Path) -> None:
    app = _client(place / "m.onnx", limits=Limits(upload_seconds=0.2))[0].app
    sent: list[dict[str, Any]] = []

    async def run() -> None:
        async def receive() -> dict[str, Any]:
            await asyncio.sleep(0.05)
            return {"type": "http.request", "body": b"x", "more_body": True}

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        headers = [(b"host", b"localhost"), (b"content-type", b"image/png")]
        scope = {
            "type": "http",
            "method": "POST",
            "path": "/predict",
            "query_string": b"",
            "headers": headers,
        }
        scope |= {"http_version": "1.1", "scheme": "http", "root_path": "", "raw_path": b"/predict"}
        await app(scope, receive, send)  # type: ignore[arg-type]

    asyncio.run(run())
    assert sent[0]["status"] == 408


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"what": ["a.onnx", "b/a.safetensors"]}, 'two models are called "a"'),
        ({}, "--api needs a model"),
        ({"what": ["a="]}, '"a=" is no model'),
        ({"what": ["m"], "host": "no.such.name.invalid"}, "cannot answer on no.such.name.invalid"),
        ({"what": ["m"], "port": 65536}, "must be from 0 to 65535"),
    ],
)
def test_what_cannot_be_served_is_one_error(given: dict[str, Any], told: str) -> None:
    with pytest.raises(RequestError, match=told):
        serve(checked(ServeRequest, api=True, **given), print)


@pytest.fixture
def running(place: Path, tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], str, str]]:
    """(process, address, token) of one that others may ask."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    words = [sys.executable, "-m", "benchgraft", "serve", f"fruit={place / 'm.onnx'}", "--api"]
    words += ["--host", "0.0.0.0", "--port", str(port), "--threads", "1"]
    with subprocess.Popen(words, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        said = [process.stderr.readline() for _ in range(3)]
        assert said[0] == "models: fruit\n" and said[1].startswith("answers on http://0.0.0.0:"), said
        yield process, f"http://127.0.0.1:{port}", said[2].split()[-1]
        process.kill()


def test_the_command_answers_with_its_token_and_ends_when_all_is_answered(
    running: tuple[subprocess.Popen[str], str, str], files: list[Path]
) -> None:
    process, address, token = running
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(f"{address}/model")
    big = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (3000, 2500, 3), np.uint8)).save(big, "PNG")
    asked = urllib.request.Request(f"{address}/predict", big.getvalue(), {"Content-Type": "image/png"})
    asked.add_header("Authorization", f"Bearer {token}")
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(lambda: json.load(urllib.request.urlopen(asked)))
        time.sleep(0.15)  # it is being decoded
        process.send_signal(signal.SIGTERM)
        assert answer.result()["answers"][0]["class_name"] in COLOURS
    assert process.wait(20) == 0
    assert process.stderr is not None
    rest = process.stderr.read()
    assert rest.splitlines() == ["stopped"] and token not in rest


@pytest.fixture
def described(place: Path) -> Any:
    """The service as its own description has it; the guard, which asks for a host, has tests of its own."""
    schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed")
    metrics = Metrics()
    served = Served("m", place / "m.onnx", open_on("cpu", 1), Room(512), metrics, print)
    return schemathesis.openapi.from_asgi("/openapi.json", make_app({"m": served}, metrics, LIMITS))


@pytest.mark.long
def test_whatever_is_sent_that_the_description_allows_or_not_is_answered(described: Any) -> None:
    """No 500, and every answer is as it is described."""
    from hypothesis import HealthCheck, given, settings
    from schemathesis.checks import not_a_server_error, response_schema_conformance

    for each in described.get_all_operations():

        @settings(max_examples=15, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
        @given(case=each.ok().as_strategy())
        def asked(case: Any) -> None:
            case.call_and_validate(checks=[not_a_server_error, response_schema_conformance])

        asked()
