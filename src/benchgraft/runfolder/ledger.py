"""The append-only account of a run folder: what ran, on what, and how long, by stage and phase.

One JSON object a line in `ledger.jsonl`. A line is written whole and synced when the thing that it tells of
is finished; a line torn by a crash is cut off when the ledger is next opened for writing. Training code only
measures (`Clock`); nothing here interprets.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from ..errors import RunFolderError
from ..files import digest_bytes, storage_errors
from .records import AnyRecord, Environment, Phase, Record

FILE_NAME = "ledger.jsonl"
SEAL = "digests.json"
"""Beside the ledger of a run that has ended: digests of all that it left."""
THUMBNAILS = "thumbnails"
"""Folder beside the ledger: for each digest of a stage's images one file of Thumbnails."""
T = TypeVar("T", bound=Record)
_ADAPTER: TypeAdapter[AnyRecord] = TypeAdapter(AnyRecord)


class Ledger:
    """The ledger of one run folder. Reading needs no write permission; appending syncs to disk."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE_NAME
        self.records: list[AnyRecord] = read(folder) if self.path.exists() else []

    def append(self, record: AnyRecord) -> None:
        """Add one finished thing. Raises StorageError if it cannot be written; the ledger then stays."""
        line = record.model_dump_json().encode() + b"\n"
        with storage_errors(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab") as file:
                end = _whole_length(self.path)
                if file.tell() != end:
                    file.truncate(end)
                try:
                    file.write(line)
                    file.flush()
                    os.fsync(file.fileno())
                except OSError:
                    os.ftruncate(file.fileno(), end)
                    raise
        self.records.append(record)

    def of_kind(self, kind: type[T]) -> list[T]:
        """The records of one type, oldest first."""
        return [record for record in self.records if isinstance(record, kind)]


def read(folder: Path) -> list[AnyRecord]:
    """Every whole record of a run folder, oldest first. A torn last line is no record.

    Raises RunFolderError, naming the line, if a whole line cannot be read.
    """
    path = folder / FILE_NAME
    if not path.is_file():
        raise RunFolderError(f"{folder} holds no {FILE_NAME}", "name a folder that reproduce has written")
    lines = path.read_bytes()[: _whole_length(path)].splitlines()
    records = []
    for number, line in enumerate(lines, start=1):
        try:
            records.append(_ADAPTER.validate_json(line))
        except ValidationError as error:
            first = error.errors()[0]
            raise RunFolderError(
                f"{path}, line {number} is damaged: {'.'.join(map(str, first['loc']))}: {first['msg']}",
                "restore the file, or start anew in another folder with --out",
            ) from None
    return records


def _whole_length(path: Path) -> int:
    """Bytes up to and including the last line end."""
    return path.read_bytes().rfind(b"\n") + 1


class Clock:
    """Seconds by phase. Phases do not nest; `other` is the rest of the time since the clock was made."""

    def __init__(self) -> None:
        self._started = time.perf_counter()
        self._seconds: dict[Phase, float] = {}
        self._before = 0.0

    def add(self, before: dict[Phase, float]) -> None:
        """Time that an earlier, interrupted segment of the same run has measured."""
        for name, value in before.items():
            self._seconds[name] = self._seconds.get(name, 0.0) + value
        self._before += sum(before.values())

    @contextlib.contextmanager
    def phase(self, name: Phase) -> Iterator[None]:
        """Count the time of the block as this phase."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self._seconds[name] = self._seconds.get(name, 0.0) + time.perf_counter() - start

    def lap(self, name: str) -> None:
        """A part of the present phase has ended: told only where a profile is wanted, see `profiling`."""

    def seconds(self) -> dict[Phase, float]:
        """So far, `other` included; the values sum to the whole time."""
        named: dict[Phase, float] = {name: value for name, value in self._seconds.items() if name != "other"}
        whole = self._before + time.perf_counter() - self._started
        named["other"] = max(0.0, whole - sum(named.values()))
        return named


def environment(threads: int, device: str, workers: int = 1) -> Environment:
    """This machine and program, as they go with every result. `threads` and `device` are the run's, of each
    worker."""
    import platform
    from importlib.metadata import version

    names = ("benchgraft", "torch", "numpy", "pillow", "scipy")
    return Environment(
        cpu=_cpu_name(),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        threads=threads,
        workers=workers,
        device=device,
        system=f"{platform.system()} {platform.release()}, Python {platform.python_version()}",
        versions={name: version(name) for name in names},
        git_revision=_git_revision(),
    )


def _cpu_name() -> str:
    import platform

    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _git_revision() -> str | None:
    """Of the checkout that this package runs from, `+` where it was changed; None for an installed one."""
    import subprocess

    here = Path(__file__).resolve().parent
    if not (here.parents[2] / ".git").exists():  # src/benchgraft/runfolder
        return None
    try:
        head, changes = (
            subprocess.run(
                ["git", *words], cwd=here, capture_output=True, text=True, check=True, timeout=10
            ).stdout.strip()
            for words in (
                ["rev-parse", "--short=12", "HEAD"],
                ["status", "--porcelain", "--untracked-files=no"],
            )
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return head + ("+" if changes else "")


def now() -> str:
    """UTC, ISO 8601, whole seconds."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def dump_json(value: object) -> str:
    """JSON with sorted keys: the form that digests of configs are taken over."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def config_digest(config: dict[str, Any]) -> str:
    """Of all that an experiment is. How many runs is no part of it: a folder may be continued with more."""
    same = {key: value for key, value in config.items() if key not in ("runs", "minutes")}
    return digest_bytes(dump_json(same).encode())
