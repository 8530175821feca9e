"""Interleaved rounds: every contender once a round, each time in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchgraft.runfolder.ledger import environment, now

HERE = Path(__file__).resolve().parent
LIMIT_SECONDS = 900
OUTLIVED = 4
"""Lines of a failed process's last words that are kept."""


@dataclass(frozen=True)
class Contender:
    """Who runs, and with which settings."""

    name: str
    """As in the tables."""
    module: str
    """File in contenders/."""
    job: dict[str, Any] = field(default_factory=dict)
    backend: str = "tensorflow"
    """Of Keras."""
    is_ours: bool = False
    """Runs in benchgraft's environment."""
    rounds: int | None = None
    """Takes part in so many at most; None: in all."""


@dataclass(frozen=True)
class Bench:
    """Where rounds take place."""

    peers: str
    """Python of the peers' environment."""
    work: Path
    rounds: int
    say: Callable[[str], None] = print
    only: str = ""
    """Of a question's sets those with this in their name."""


def run_one(bench: Bench, contender: Contender, question: str, job: dict[str, Any]) -> dict[str, Any]:
    """What one process of the contender returned; {"failed": reason} if it did not return.

    The job tells it when it was started, as `time.perf_counter()` of this process.
    """
    job = {"work": str(bench.work / "ours"), "material": str(bench.work / "material")} | contender.job | job
    with tempfile.TemporaryDirectory() as temporary:
        given, out = Path(temporary) / "job.json", Path(temporary) / "out.json"
        python = sys.executable if contender.is_ours else bench.peers
        command = [python, str(HERE / "worker.py"), contender.module, question, str(given), str(out)]
        given.write_text(json.dumps(job | {"started": time.perf_counter()}))
        try:
            done = subprocess.run(
                command,
                env=_environment(contender),
                capture_output=True,
                text=True,
                timeout=LIMIT_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return {"failed": f"more than {LIMIT_SECONDS} s"}
        if done.returncode or not out.exists():
            return {"failed": "\n".join(done.stderr.strip().splitlines()[-OUTLIVED:])}
        return json.loads(out.read_text())


def _environment(contender: Contender) -> dict[str, str]:
    """Peers get no settings that were made for this program."""
    if contender.is_ours:
        return dict(os.environ)
    kept = {k: v for k, v in os.environ.items() if not k.startswith("OPENBLAS_") and k != "PYTHONPATH"}
    return kept | {"KERAS_BACKEND": contender.backend, "TF_CPP_MIN_LOG_LEVEL": "3"}


def run_rounds(
    bench: Bench,
    contenders: Sequence[Contender],
    question: str,
    job: Callable[[Contender, int], dict[str, Any]],
) -> dict[str, Any]:
    """Results by contender and the matrix product's speed before each round, with machine and date.

    The order turns by one each round. Not asked again: who failed once, or has had its rounds.
    """
    results: dict[str, list[dict[str, Any]]] = {c.name: [] for c in contenders}
    failed: dict[str, str] = {}
    gemm = []
    for number in range(bench.rounds):
        gemm.append(measure_gemm(bench))
        turn = number % len(contenders)
        for contender in [*contenders[turn:], *contenders[:turn]]:
            if contender.name in failed or (contender.rounds is not None and number >= contender.rounds):
                continue
            result = run_one(bench, contender, question, job(contender, number))
            if "failed" in result:
                failed[contender.name] = result["failed"]
                bench.say(f"{question}: {contender.name} failed: {result['failed']}")
            else:
                results[contender.name].append(result)
        bench.say(f"{question}: round {number + 1} of {bench.rounds}")
    return {
        "question": question,
        "date": now(),
        "machine": environment(_threads(), "cpu").model_dump(),
        "rounds": bench.rounds,
        "gemm_gflops": gemm,
        "results": {name: found for name, found in results.items() if name not in failed},
        "failed": failed,
    }


def measure_gemm(bench: Bench) -> float:
    """GFLOP/s of a float32 matrix product, now."""
    result = run_one(bench, Contender("GEMM", "ours", is_ours=True), "gemm", {})
    if "failed" in result:
        raise RuntimeError(result["failed"])
    return float(result["gflops"])


def _threads() -> int:
    import torch

    return torch.get_num_threads()
