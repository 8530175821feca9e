"""Commands in processes of their own, several at once or on a small disk, without importing torch anew."""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing import forkserver
from multiprocessing.synchronize import Barrier
from pathlib import Path
from unittest import mock

_PRELOADED = [
    *(f"benchgraft.{name}" for name in ("tasks.adapt", "tasks.compare", "tasks.evaluate", "tasks.export")),
    *(
        f"benchgraft.{name}"
        for name in ("cli", "tasks.check", "report.page", "tasks.report", "runfolder.seal")
    ),
    *("torch.onnx._internal.exporter._core", "torch.export", "onnx", "onnxscript", "onnxruntime"),
]
_NEW_USER, _NEW_MOUNTS = 0x10000000, 0x00020000
_PAGE = 4096
_SECONDS = 120
NO_NAMESPACE = 77
"""Exit code where the system lets nobody mount a small disk."""


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int | None
    out: str
    err: str


def start_processes() -> None:
    """Import torch for all processes to come, while this one does something else."""
    multiprocessing.get_context("forkserver").set_forkserver_preload(_PRELOADED)
    forkserver.ensure_running()


def run_all(
    commands: Sequence[Sequence[str]], folder: Path, disk: Path | None = None, free: Sequence[int] = ()
) -> list[Done]:
    """Run commands at the same moment, each in a process of its own; what they say is kept in `folder`.

    disk: a folder over which each lays a disk of its own that has `free` bytes left. What it leaves there is
    copied to the folder's name with `-after-NUMBER`.
    """
    context = multiprocessing.get_context("forkserver")
    together = context.Barrier(len(commands))
    processes = []
    for number, words in enumerate(commands):
        small = (disk, free[number], disk.with_name(f"{disk.name}-after-{number}")) if disk else None
        arguments = (list(words), folder / f"said {number}", together, small)
        processes.append(context.Process(target=_run, args=arguments))
    for process in processes:
        process.start()
    for process in processes:
        process.join(_SECONDS)
    return [
        Done(process.exitcode, *((folder / f"said {number}.{name}").read_text() for name in ("out", "err")))
        for number, process in enumerate(processes)
    ]


def _run(words: list[str], said: Path, together: Barrier, small: tuple[Path, int, Path] | None) -> None:
    for number, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(f"{said}.{name}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    os.fsync = lambda _: None  # waits for the real disk; no test pulls its plug
    if small:
        _lay_over(*small[:2])
    together.wait(_SECONDS)
    try:
        call(words)
    finally:
        if small:
            shutil.copytree(small[0], small[2])


def call(words: Sequence[str]) -> None:
    """What the installed command does. Raises SystemExit."""
    from benchgraft import cli
    from benchgraft.tasks import adapt, compare

    with contextlib.ExitStack() as put_back:
        lengths = (adapt, "STEPS"), (adapt, "UPDATE_STEPS"), (compare, "COMPARED_STEPS")
        for module, name in lengths:
            put_back.enter_context(mock.patch.object(module, name, 1))  # as few epochs as there may be
        put_back.enter_context(mock.patch.object(sys, "argv", ["benchgraft", *words]))
        cli.main()


def _lay_over(folder: Path, free: int) -> None:
    """Lay a small disk over a folder, with what is in it; this process alone sees it, and it ends with it."""
    libc = ctypes.CDLL(None, use_errno=True)
    ids = os.getuid(), os.getgid()
    if libc.unshare(_NEW_USER | _NEW_MOUNTS):
        os._exit(NO_NAMESPACE)
    try:
        Path("/proc/self/setgroups").write_text("deny")
        for name, number in zip(("uid_map", "gid_map"), ids, strict=True):
            Path(f"/proc/self/{name}").write_text(f"0 {number} 1")
    except OSError:
        os._exit(NO_NAMESPACE)
    there = {path: path.read_bytes() if path.is_file() else None for path in sorted(folder.rglob("*"))}
    pages = sum(1 + -(-len(content or b"") // _PAGE) for content in there.values())
    if libc.mount(b"tmpfs", os.fsencode(folder), b"tmpfs", 0, f"size={(pages + 1) * _PAGE + free}".encode()):
        os._exit(NO_NAMESPACE)
    for path, content in there.items():
        if content is None:
            path.mkdir()
        else:
            path.write_bytes(content)
