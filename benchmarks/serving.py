"""How many photos a second does the service answer, and how long does one wait? Beside two others.

python benchmarks/serving.py MODEL.onnx PHOTOS [--requests 1000] [--at-once 32] [--rounds 3] [--peers PYTHON]
    [--out benchmarks/results]

Each request has one photo; so many are on their way at once, over loopback, from this machine. Others: one
photo a call by FastAPI and ONNX Runtime, as their documentation has it, and LitServe with batches of up to 16
(--peers: an interpreter that has fastapi, uvicorn, python-multipart, onnxruntime, pillow and litserve; those
that it has not are left out and told). All have the same graph, the same threads, and decode by Pillow or by
ours; the machine's two cores answer and ask. Servers are started anew in each round, in another order. Lost:
requests without an answer; wrong: answers other than those of `predict`, of ours alone, bit by bit. Last,
`predict` on the same photos, as many times, whose photos a second are what a service could reach at most.
Writes serving.md.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import random
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from ordinary_photos import RESULTS

from benchgraft import predict
from benchgraft.parallel import usable_cores
from benchgraft.photos.scan import images_below
from benchgraft.runfolder.ledger import environment, now
from benchgraft.tasks.predict import Prediction

OURS = "benchgraft"
BOUNDARY = "benchgraft-benchmark"
FAMILIES = ("fastapi", "litserve")
PEERS = Path(__file__).parent / "peers"


class Answered(NamedTuple):
    """Of one request."""

    seconds: float
    status: int
    answer: object


@dataclass(frozen=True)
class Round:
    """One server under load."""

    seconds: float
    answers: list[Answered]
    wrong: int

    @property
    def lost(self) -> int:
        """Without an answer."""
        return sum(each.status != 200 for each in self.answers)

    def wait(self, share: float) -> float:
        """Seconds that so large a share of the requests waited at most."""
        waits = sorted(each.seconds for each in self.answers)
        return waits[min(len(waits) - 1, int(share * len(waits)))]


def main() -> None:
    """Rounds, and the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--at-once", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peers", type=Path)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    paths = [options.photos / name for name in images_below(options.photos)]
    paths = (paths * (options.requests // len(paths) + 1))[: options.requests]
    wanted = {str(answer.path): answer for answer in predict(options.model, paths, top=1)}
    names = [OURS, *(_usable(options.peers) if options.peers else [])]
    rounds: dict[str, list[Round]] = {name: [] for name in names}
    plain = []
    for number in range(options.rounds):
        for name in random.Random(number).sample(names, len(names)):
            with _started(name, options.model, options.peers) as port:
                rounds[name].append(_load(name, port, paths, options.at_once, wanted))
            print(f"{name}: {_row(name, rounds[name])}", flush=True)
        started = time.perf_counter()
        for _ in predict(options.model, paths):
            pass
        plain.append(len(paths) / (time.perf_counter() - started))
    text = markdown(rounds, statistics.median(plain), options)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "serving.md").write_text(text)
    print(text)


def _usable(python: Path) -> list[str]:
    found = []
    for name in FAMILIES:
        done = subprocess.run([python, "-c", f"import {name}"], capture_output=True)
        if done.returncode == 0:
            found.append(name)
        else:
            print(f"{name} is left out: {python} has it not")
    return found


@contextlib.contextmanager
def _started(name: str, model: Path, python: Path | None) -> Iterator[int]:
    """The port of a server that answers."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    words = [str(python), str(PEERS / f"serving_{name}.py"), str(model), str(port)]
    if name == OURS:
        words = [sys.executable, "-m", "benchgraft", "serve", str(model), "--api", "--port", str(port)]
    with (
        tempfile.TemporaryFile() as said,
        subprocess.Popen(words, stdout=said, stderr=said, start_new_session=True) as process,
    ):
        try:
            _wait(port, process)
            yield port
        finally:
            process.terminate()
            process.wait(30)
            with contextlib.suppress(
                ProcessLookupError
            ):  # LitServe's workers outlive it, on cores of the next
                os.killpg(process.pid, signal.SIGKILL)


def _wait(port: int, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until and process.poll() is None:
        with contextlib.suppress(OSError, http.client.HTTPException):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", "/openapi.json")
            if connection.getresponse().status == 200:
                return
        time.sleep(0.2)
    raise SystemExit(f"no server answers on port {port}")


def _load(name: str, port: int, paths: Sequence[Path], at_once: int, wanted: dict[str, object]) -> Round:
    bodies = {path: _form(path) for path in set(paths)}
    shares = [range(start, len(paths), at_once) for start in range(at_once)]

    def ask(share: range) -> list[tuple[int, Answered]]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        headers = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
        found = []
        for place in share:
            started = time.perf_counter()
            try:
                connection.request("POST", "/predict", bodies[paths[place]], headers)
                response = connection.getresponse()
                answered = Answered(0.0, response.status, json.loads(response.read()))
            except (OSError, http.client.HTTPException, ValueError) as error:
                connection.close()
                answered = Answered(0.0, 0, str(error))
            found.append((place, answered._replace(seconds=time.perf_counter() - started)))
        return found

    started = time.perf_counter()
    with ThreadPoolExecutor(at_once) as pool:
        found = [entry for part in pool.map(ask, shares) for entry in part]
    seconds = time.perf_counter() - started
    wrong = (
        sum(_is_wrong(entry.answer, wanted[str(paths[place])]) for place, entry in found)
        if name == OURS
        else 0
    )
    return Round(seconds, [entry for _, entry in found], wrong)


def _form(path: Path) -> bytes:
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="photos"; filename="{path.name}"\r\n\r\n'
    return head.encode() + path.read_bytes() + f"\r\n--{BOUNDARY}--\r\n".encode()


def _is_wrong(answer: object, wanted: object) -> bool:
    if not isinstance(answer, dict) or not isinstance(wanted, Prediction):
        return not isinstance(answer, dict)
    [one] = answer["answers"]
    return (one["class_name"], one["probability"]) != (wanted.class_name, wanted.probability)


def _row(name: str, rounds: Sequence[Round]) -> str:
    rate = statistics.median(len(each.answers) / each.seconds for each in rounds)
    waits = [statistics.median(each.wait(share) for each in rounds) for share in (0.5, 0.99)]
    wrong = str(sum(each.wrong for each in rounds)) if name == OURS else ""
    cells = [f"{rate:.0f}", *(f"{1000 * wait:.0f} ms" for wait in waits)]
    return " | ".join([*cells, str(sum(each.lost for each in rounds)), wrong])


def markdown(rounds: dict[str, list[Round]], plain: float, options: argparse.Namespace) -> str:
    """The table."""
    machine = environment(usable_cores(), "cpu")
    return "\n".join(
        [
            "# The service under load",
            "",
            f"`python benchmarks/serving.py MODEL.onnx PHOTOS --requests {options.requests} --at-once "
            f"{options.at_once} --rounds {options.rounds}{' --peers PYTHON' if options.peers else ''}`,",
            f"{machine.cores} cores of an {machine.cpu}, {now()[:10]}, benchgraft "
            f"{machine.versions['benchgraft']}. Medians of rounds; asked from the same machine.",
            "",
            "| | photos/s | median wait | 99 % waited at most | lost | wrong |",
            "|---|---:|---:|---:|---:|---:|",
            *(f"| {name} | {_row(name, found)} |" for name, found in rounds.items()),
            f"| `predict`, no network | {plain:.0f} | | | | |",
            "",
        ]
    )


if __name__ == "__main__":
    main()
