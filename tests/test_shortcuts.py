"""Shortcuts through private things: without any of them, or with BENCHGRAFT_NO_SHORTCUTS, the same bits."""

from __future__ import annotations

import ctypes
import gc
import json
import logging
import mmap
import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim import SGD, AdamW, Optimizer

from benchgraft import shortcuts
from benchgraft.config.recipe import Recipe, Stop
from benchgraft.events import Events
from benchgraft.networks.freeze import Frozen, tensor_digest
from benchgraft.runfolder.ledger import Clock
from benchgraft.training.batches import Rows, rows_of
from benchgraft.training.checkpoint import Checkpoint
from benchgraft.training.loop import Task, fit

OPTIMIZERS = {"sgd": SGD, "adamw": AdamW}
TRAIN_IN_A_PROCESS = """
import json, sys
from pathlib import Path
import torch
sys.path.insert(0, sys.argv[1])
from test_shortcuts import trained
torch.set_num_threads(1)
weights = {name: trained(name, Path(sys.argv[2]) / name) for name in ("sgd", "adamw")}
print(json.dumps([weights, "torch._dynamo" in sys.modules]))
"""


def _rows(count: int, seed: int) -> Rows:
    rng = np.random.default_rng(seed)
    labels = rng.integers(3, size=count)
    array = rng.normal(size=(count, 20)).astype(np.float32)
    array[:, 0] += labels
    return rows_of(array, np.arange(count), labels, torch.device("cpu"))


def trained(optimizer: str, folder: Path) -> dict[str, str]:
    """Digest of each weight after a few steps, clipped, of a small network."""
    folder.mkdir(exist_ok=True)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        module = nn.Sequential(nn.Linear(20, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 3))
    recipe = Recipe(optimizer=optimizer, learning_rate=0.01, batch_size=32, clip=1.0, stop=Stop(epochs=3))  # type: ignore[arg-type]
    frozen = Frozen(module, [])  # type: ignore[arg-type]
    task = Task("any, seed 5", module, frozen, _rows(200, 0), _rows(50, 1), recipe, 5)
    fit(task, Clock(), Checkpoint(folder / "checkpoint.safetensors", "the same"), Events())
    return {name: tensor_digest(tensor) for name, tensor in module.state_dict().items()}


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    """What a process gives that takes no shortcut."""
    folder = tmp_path_factory.mktemp("plain")
    weights, has_compiler = _in_a_process(folder, {shortcuts.VARIABLE: "1"})
    assert has_compiler, "torch itself imports its compiler no more: the shortcuts around it can go"
    return weights


def _in_a_process(folder: Path, environment: dict[str, str]) -> tuple[dict[str, dict[str, str]], bool]:
    command = [sys.executable, "-c", TRAIN_IN_A_PROCESS, str(Path(__file__).parent), str(folder)]
    env = {**os.environ, **environment}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=env)
    weights, has_compiler = json.loads(done.stdout)
    return weights, has_compiler


def test_training_gives_the_same_weights_with_the_shortcuts_and_without(
    plain: dict[str, dict[str, str]], tmp_path: Path
) -> None:
    weights, has_compiler = _in_a_process(tmp_path, {shortcuts.VARIABLE: ""})
    assert weights == plain
    assert not has_compiler


def _raise(error: Exception) -> Any:
    def broken(*_arguments: object, **_options: object) -> None:
        raise error

    return broken


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize(
    "change",
    [
        "no bare add_param_group",
        "no marks taken",
        "no bare step",
        "step needs its wrapper",
    ],
)
def test_missing_private_members_of_torch_give_the_same_weights(
    change: str,
    name: str,
    plain: dict[str, dict[str, str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    one_thread: None,
) -> None:
    kind: Any = OPTIMIZERS[name]
    kind([torch.zeros(1, requires_grad=True)])  # the first one wraps the method once more
    match change:
        case "no bare add_param_group":
            monkeypatch.delattr(Optimizer.add_param_group, "__wrapped__")
        case "no marks taken":
            monkeypatch.setattr(Optimizer.add_param_group, "__wrapped__", len)
        case "no bare step":
            monkeypatch.delattr(kind.step, "__wrapped__")
        case _:
            monkeypatch.setattr(kind.step, "__wrapped__", _raise(AttributeError("no hooks")))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the compiler that torch imports then
        assert trained(name, tmp_path) == plain[name]


def test_nothing_of_torch_stays_marked(tmp_path: Path) -> None:
    method = Optimizer.add_param_group.__wrapped__  # type: ignore[attr-defined]
    before = dict(vars(method))
    trained("sgd", tmp_path)
    assert vars(method) == before


@pytest.mark.parametrize("library", [object(), None])
def test_a_c_library_without_the_setting_is_passed_over(
    library: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = _raise(OSError("no library")) if library is None else lambda _name: library
    monkeypatch.setattr(ctypes, "CDLL", load)
    shortcuts.keep_freed_memory()


def test_variable_leaves_all_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(shortcuts.VARIABLE, "1")
    monkeypatch.setattr(ctypes, "CDLL", _raise(AssertionError("asked for the C library")))
    before, optimizer = gc.get_threshold(), SGD([torch.zeros(1, requires_grad=True)])
    shortcuts.keep_freed_memory()
    shortcuts.collect_rarely()
    shortcuts.give_back(None)  # type: ignore[arg-type]  # it would raise
    with shortcuts.quiet_exporter():
        assert logging.getLogger(shortcuts._CHATTY_LOGGER).level != logging.ERROR
    assert gc.get_threshold() == before
    assert shortcuts.bare_step(optimizer) == optimizer.step


@pytest.mark.parametrize("given", ["", "0"])
def test_empty_variable_and_0_let_them_be(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(shortcuts.VARIABLE, given)
    assert shortcuts.are_used()


def test_pages_given_back_are_read_again_from_the_file(tmp_path: Path) -> None:
    (tmp_path / "pixels").write_bytes(bytes(range(256)) * 64)
    with (tmp_path / "pixels").open("rb") as file:
        memory = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    before = memory[:]
    shortcuts.give_back(memory)
    assert memory[:] == before


def test_commands_that_compute_keep_freed_memory_and_others_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    from typer.testing import CliRunner

    from benchgraft import cli

    called: list[str] = []
    monkeypatch.setattr(cli, "keep_freed_memory", lambda: called.append("kept"))
    CliRunner().invoke(cli.app, ["predict", "nothing.safetensors", "nowhere"])
    assert called == ["kept"]
    CliRunner().invoke(cli.app, ["report", "nowhere"])
    assert called == ["kept"]


ENDING = """
import atexit, sys, tempfile, threading
from benchgraft import shortcuts
folder = tempfile.TemporaryDirectory()
print(folder.name)
atexit.register(print, "called at the end")
if sys.argv[1] == "another thread":
    threading.Timer(0.3, print, ["the thread is done"]).start()
print("last words", file=sys.stderr, end="")
shortcuts.end_process(3)
"""


@pytest.mark.parametrize(
    ("case", "setting"), [("alone", ""), ("another thread", ""), ("without shortcuts", "1")]
)
def test_a_process_that_ends_at_once_loses_nothing(case: str, setting: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", ENDING, case],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {shortcuts.VARIABLE: setting},
    )
    folder, *rest = done.stdout.splitlines()
    assert (done.returncode, done.stderr) == (3, "last words")
    assert rest == [*["the thread is done"] * (case == "another thread"), "called at the end"]
    assert not Path(folder).exists()
