"""A command that is interrupted or killed amid training, and given again, ends where it would have ended."""

from __future__ import annotations

import math
import multiprocessing
import os
import signal
import socket
from dataclasses import dataclass
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import pytest
import torch
from elsewhere import Done, call, run_all, start_processes
from invented import tiny_experiment
from photos import write_photos

from benchgraft.networks import model_file
from benchgraft.runfolder.ledger import Ledger
from benchgraft.runfolder.records import RunRecord
from benchgraft.training import cuts, loop
from benchgraft.training.checkpoint import Checkpoint

EXPERIMENT = tiny_experiment(runs=1, first=2, second=6)
COMMANDS = {
    "reproduce": "reproduce tiny.toml --data . --out {0}/run --threads 1 --cache-dir {0}/cache",
    "adapt": "adapt photos --parent paper --out {0}/m.safetensors --run-folder {0}/run --threads 1 "
    "--cache-dir {0}/cache",
}
SIGNALS = (signal.SIGINT, signal.SIGKILL)
SECONDS = 120
"""However slow the machine: whoever waits so long waits for nothing."""


def _words(command: str, folder: str) -> list[str]:
    return COMMANDS[command].format(folder).split()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos, an experiment on them, and below whole-COMMAND what each command leaves that nobody stops."""
    start_processes()
    place = tmp_path_factory.mktemp("interrupted")
    write_photos(place / "photos", {"red": 110, "green": 110})
    (place / "tiny.toml").write_text(EXPERIMENT)
    for done in run_all([["--version"]], place):
        assert done.code == 0
    for command in COMMANDS:
        ended = _carried_out(place, command, f"whole-{command}")
        assert ended.code == 0, ended.err
    return place


def _carried_out(
    place: Path, command: str, folder: str, after_saves: int | None = None, number: int = 0
) -> Done:
    """Run a command in a process of its own; send it this signal as soon as it has saved so often."""
    context = multiprocessing.get_context("forkserver")
    reached = context.Event()
    said = place / f"{folder} said"
    arguments = (place, _words(command, folder), said, after_saves, reached)
    process = context.Process(target=_run, args=arguments)
    process.start()
    if after_saves is not None:
        assert reached.wait(SECONDS), f"never trained: {Path(f'{said}.err').read_text()}"
        assert process.pid is not None
        os.kill(process.pid, number)
    process.join(SECONDS)
    return Done(process.exitcode, *(Path(f"{said}.{name}").read_text() for name in ("out", "err")))


def _run(place: Path, words: list[str], said: Path, after_saves: int | None, reached: Event) -> None:
    """In the new process. It saves after every step, at last inside an epoch, and waits at that one's end."""
    for number, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(f"{said}.{name}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    os.chdir(place)
    cuts.choose_cut = lambda *_, **__: "max_pooling2d_3"  # it is measured, and the machine is shared
    if after_saves is not None:
        _wait_after(after_saves, reached)
    call(words)


def _wait_after(saves: int, reached: Event) -> None:
    ear, mouth = socket.socketpair()
    mouth.setblocking(False)
    signal.set_wakeup_fd(mouth.fileno())
    save, evaluate = Checkpoint.save, loop.evaluate
    left = [saves]
    loop.CHECKPOINT_EVERY_SECONDS = 0.0

    def saved(*arguments: Any) -> None:
        save(*arguments)
        left[0] -= 1
        if not left[0]:
            loop.CHECKPOINT_EVERY_SECONDS = math.inf

    def evaluated(*arguments: Any) -> Any:
        if left[0] <= 0:
            reached.set()
            ear.recv(1)
        return evaluate(*arguments)

    Checkpoint.save = saved  # type: ignore[method-assign]
    loop.evaluate = evaluated


@dataclass(frozen=True)
class Stopped:
    """A command that was stopped and given again."""

    command: str
    stage: str
    """The one that it was stopped in."""
    number: int
    whole: Path
    """What the command leaves that nobody stops."""
    folder: Path
    first: Done
    checkpoints: list[str]
    again: Done


# (command, checkpoints after which it is stopped, stage that this is in); of `reproduce` one that trains from
# pixels and one on cached features.
STOPS = [("reproduce", 2, "first"), ("reproduce", 12, "second"), ("adapt", 3, "adapt")]


@pytest.fixture(
    scope="module",
    params=[(*stop, number) for stop in STOPS for number in SIGNALS],
    ids=[f"{command}-{stage}-{number.name}" for command, _, stage in STOPS for number in SIGNALS],
)
def stopped(request: pytest.FixtureRequest, place: Path) -> Stopped:
    command, saves, stage, number = request.param
    name = f"{command}-{saves}-{number.name}"
    first = _carried_out(place, command, name, saves, number)
    checkpoints = [path.name.partition("-")[0] for path in (place / name).rglob("checkpoints/*.safetensors")]
    again = _carried_out(place, command, name)
    return Stopped(
        command, stage, number, place / f"whole-{command}", place / name, first, checkpoints, again
    )


def _runs(folder: Path) -> list[RunRecord]:
    """Those that were carried out there."""
    return [run for run in Ledger(folder / "run").of_kind(RunRecord) if not run.given]


def test_stopped_command_says_so_and_leaves_a_checkpoint(stopped: Stopped) -> None:
    if stopped.number == signal.SIGINT:
        assert stopped.first.code == 130
        assert stopped.first.err.splitlines()[-1] == "stopped; run the same command again to continue"
    else:
        assert stopped.first.code == -signal.SIGKILL
    assert stopped.checkpoints == [stopped.stage]


def test_stopped_command_given_again_leads_to_the_same_weights_bit_for_bit(stopped: Stopped) -> None:
    whole, runs = _runs(stopped.whole), _runs(stopped.folder)
    assert [(run.stage, run.arm, run.seed) for run in runs] == [(r.stage, r.arm, r.seed) for r in whole]
    same = ("model_digest", "loss", "validation_loss", "kept_epoch", "steps", "predicted", "cut")
    for run, expected in zip(runs, whole, strict=True):
        assert [getattr(run, name) for name in same] == [getattr(expected, name) for name in same]
        one, other = (
            model_file.read(place / "run" / expected.model_file).state
            for place in (stopped.whole, stopped.folder)
        )
        assert all(torch.equal(one[name], other[name]) for name in one)


def test_stopped_command_given_again_goes_on_where_it_was(stopped: Stopped) -> None:
    segments = [run.segments for run in _runs(stopped.folder)]
    stages = [run.stage for run in _runs(stopped.folder)]
    assert segments[stages.index(stopped.stage)] == 2
    assert sum(segments) == len(segments) + 1
    assert not list(stopped.folder.rglob("checkpoints/*.safetensors"))


def test_stopped_command_given_again_ends_well(stopped: Stopped) -> None:
    assert stopped.again.code == 0, stopped.again.err
