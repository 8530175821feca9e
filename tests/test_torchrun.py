"""`prepare` by several workers: the losses of one, whatever their number; and what happens when one ends."""

from __future__ import annotations

import copy
import multiprocessing
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from elsewhere import Done, call, run_all, start_processes
from timm.layers.drop import DropPath
from torch import Tensor, nn
from torch.nn import functional

from benchgraft.config.network import PAPER
from benchgraft.config.recipe import Augmentation
from benchgraft.config.torchrun import Seat, this_seat
from benchgraft.engines.workers import Workers
from benchgraft.files import lock
from benchgraft.networks import model_file
from benchgraft.networks.build import build
from benchgraft.runfolder.ledger import Ledger
from benchgraft.runfolder.records import RunRecord
from benchgraft.training import cuts, loop
from benchgraft.training.batches import augment
from benchgraft.training.together import OverWholeBatch, Part, add_up_gradients, part_of_loss

EXPERIMENT = """
base = "paper"
name = "tiny"
[data.cifar100]
validation = 0.3
[data.fruits360]
validation = 0.3
[networks.tiny]
family = "timm"
name = "test_efficientnet"
options = { drop_rate = 0.3, drop_path_rate = 0.3 }
[stages]
stage1.model_file = "shipped:stage1.safetensors"
stage2.recipe = { batch_size = 33, stop = { epochs = 3 } }
[stages.drawn]
data = "fruits360"
network = "tiny"
[stages.drawn.recipe]
learning_rate = 0.02
batch_size = 33
balance = true
clip = 1.0
augment = { flip = true, shift = 3, zoom = 0.5 }
stop = { epochs = 2, patience = 1 }
"""
TOLERANCE = 1e-4
"""Of every loss, relative: docs/cluster.md says what was measured."""
LONG_TOLERANCE, END_TOLERANCE = 1e-1, 1e-3
"""Over thousands of steps, each of which makes more of what rounding has begun while the rate is high."""
COARSE = 1e-2
"""Against one process where BatchNorms train: PyTorch's own ones add up many numbers in float32 on CPUs, so
that its gradients differ from exact ones by a hundredth; those of several workers do not."""
SECONDS = 120
LONG = pytest.mark.long
INTERRUPTED, KILLED = 130, -signal.SIGKILL


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, synthetic_data: Path) -> Path:
    """An experiment, its data, and below `one` what one process makes of it."""
    start_processes()
    place = tmp_path_factory.mktemp("workers")
    (place / "data").symlink_to(synthetic_data)
    (place / "tiny.toml").write_text(EXPERIMENT)
    assert _prepared(place, "one", 1)[0].code == 0
    return place


def _prepared(
    place: Path,
    folder: str,
    workers: int,
    more: str = "",
    meddle: Callable[[int], object] | None = None,
    seconds: float = SECONDS,
) -> list[Done]:
    """How the workers of one command end, each in a process as torchrun starts it; 1: as nobody does.

    meddle: called in each process, with the number of the worker.
    """
    words = (
        f"prepare tiny.toml --data data --out {folder}/m.safetensors --run-folder {folder}/run "
        f"--cache-dir cache --threads 1 {more}"
    ).split()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    context = multiprocessing.get_context("forkserver")
    (place / folder).mkdir(exist_ok=True)
    said = [place / folder / f"said {number}" for number in range(workers)]
    processes = [
        context.Process(target=_run, args=(place, words, Seat(number, workers, number, workers), port, *each))
        for number, each in enumerate((path, meddle) for path in said)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(seconds)
        process.kill()
    return [
        Done(process.exitcode, *(Path(f"{path}.{name}").read_text() for name in ("out", "err")))
        for process, path in zip(processes, said, strict=True)
    ]


def _run(
    place: Path, words: list[str], seat: Seat, port: int, said: Path, meddle: Callable[[int], object] | None
) -> None:
    for number, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(f"{said}.{name}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    os.chdir(place)
    if not seat.is_alone:
        told = {"RANK": seat.number, "WORLD_SIZE": seat.count, "LOCAL_RANK": seat.local}
        told |= {"LOCAL_WORLD_SIZE": seat.local_count, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        os.environ.update({name: str(value) for name, value in told.items()})
    cuts.choose_cut = lambda *_, **__: "conv2d_3"  # it is measured, and the machine is shared
    if meddle:
        meddle(seat.number)
    call(words)


def _ends(which: int, number: int, validations: int, me: int) -> None:
    """Have that worker send itself a signal when it has begun to validate so often; all save each step."""
    loop.CHECKPOINT_EVERY_SECONDS = 0.0
    evaluate, left = loop.evaluate, [validations]

    def evaluated(*arguments: Any) -> Any:
        left[0] -= 1
        if me == which and not left[0]:
            os.kill(os.getpid(), number)
        return evaluate(*arguments)

    loop.evaluate = evaluated


def _runs(place: Path, folder: str) -> list[RunRecord]:
    """Those carried out there."""
    return [run for run in Ledger(place / folder / "run").of_kind(RunRecord) if not run.given]


def _losses(run: RunRecord) -> list[float]:
    return [*run.loss, *run.validation_loss]


@pytest.fixture(scope="module", params=[2, pytest.param(3, marks=LONG)])
def shared(request: pytest.FixtureRequest, place: Path) -> str:
    """Folder of the same, prepared by several workers."""
    folder = f"by {request.param}".replace(" ", "-")
    done = _prepared(place, folder, request.param)
    assert [each.code for each in done] == [0] * request.param, done
    return folder


def test_workers_have_the_losses_of_one_for_the_same_batches(place, shared):
    for mine, ones in zip(_runs(place, shared), _runs(place, "one"), strict=True):
        assert (mine.stage, mine.steps, mine.images_seen) == (ones.stage, ones.steps, ones.images_seen)
        assert _losses(mine) == pytest.approx(_losses(ones), rel=TOLERANCE)
        assert mine.cut == ones.cut


def test_the_account_tells_how_many_workers_computed_a_run(place, shared):
    count = int(shared[-1])
    assert [run.environment.workers for run in _runs(place, shared)] == [count]
    assert [run.environment.threads for run in _runs(place, shared)] == [1]
    assert [run.environment.workers for run in _runs(place, "one")] == [1]


def test_one_worker_alone_speaks_and_writes(place, shared):
    for number in range(1, int(shared[-1])):
        assert (place / shared / f"said {number}.out").read_text() == ""
        assert (place / shared / f"said {number}.err").read_text() == ""
    there, ones = (
        {str(path.relative_to(place / folder)) for path in (place / folder / "run").rglob("*")}
        for folder in (shared, "one")
    )
    assert there == ones


def test_what_workers_made_is_verified_and_read_as_any_other(place, shared):
    (done,) = run_all([["verify", str(place / shared / "run")]], place)
    assert done.code == 0, done.out
    mine, ones = (model_file.read(place / folder / "m.safetensors") for folder in (shared, "one"))
    assert mine.card.class_names == ones.card.class_names
    assert {name: tensor.shape for name, tensor in mine.state.items()} == {
        name: tensor.shape for name, tensor in ones.state.items()
    }


class Threads(Workers):
    """Workers that are threads of this process."""

    def __init__(self, seat: Seat, given: dict[int, Tensor], together: threading.Barrier) -> None:
        super().__init__(seat)
        object.__setattr__(self, "exchange", (given, together))

    def add_up(self, tensor: Tensor) -> None:
        given, together = self.exchange  # type: ignore[attr-defined]
        given[self.seat.number] = tensor.clone()
        together.wait(SECONDS)
        total = sum(given[number] for number in range(self.seat.count))
        together.wait(SECONDS)
        tensor.copy_(total)


@pytest.mark.parametrize("count", [2, 3])
def test_parts_of_a_batch_have_its_loss_gradients_and_batchnorm_statistics(count):
    """In float64, where rounding is out of the way; classes weighed and labels smoothed."""
    whole = nn.Sequential(*list(build(PAPER, 4, 0))[1:]).double().train()
    nets = [copy.deepcopy(whole) for _ in range(count)]
    generator = torch.Generator().manual_seed(0)
    pictures = torch.randn(16, 3, 100, 100, generator=generator, dtype=torch.float64)
    labels, weight = torch.arange(16) % 4, torch.tensor([0.5, 1, 2, 3], dtype=torch.float64)
    loss = functional.cross_entropy(whole(pictures), labels, weight, label_smoothing=0.1)
    loss.backward()
    given, together = {}, threading.Barrier(count)

    def step(number: int) -> tuple[float, bool]:
        workers = Threads(Seat(number, count, number, count), given, together)
        part = Part.mine(workers, len(pictures))
        with OverWholeBatch(part):
            outputs = nets[number](pictures[part.rows])
        mine = part_of_loss(outputs, labels, part, weight, 0.1)
        mine.backward()
        found, is_to_stop = add_up_gradients(list(nets[number].parameters()), mine, number == 1, workers)
        return found.item(), is_to_stop

    with ThreadPoolExecutor(count) as pool:
        found = list(pool.map(step, range(count)))
    assert found == [(pytest.approx(loss.item(), rel=1e-9), True)] * count
    for net in nets:
        for mine, parameter in zip(net.parameters(), whole.parameters(), strict=True):
            assert torch.allclose(mine.grad, parameter.grad, rtol=1e-7, atol=1e-9)
        for mine, buffer in zip(net.buffers(), whole.buffers(), strict=True):
            assert torch.allclose(mine, buffer, rtol=1e-9)


def test_parts_of_a_batch_may_be_computed_in_bfloat16():
    torch.manual_seed(0)
    whole = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(8 * 36, 4)).train()
    nets = [copy.deepcopy(whole) for _ in range(2)]
    pictures, labels = torch.randn(12, 3, 8, 8), torch.arange(12) % 4
    with torch.autocast("cpu", torch.bfloat16):
        outputs = whole(pictures)
    loss = functional.cross_entropy(outputs.float(), labels)
    loss.backward()
    given, together = {}, threading.Barrier(2)

    def step(number: int) -> float:
        workers = Threads(Seat(number, 2, number, 2), given, together)
        part = Part.mine(workers, len(pictures))
        with torch.autocast("cpu", torch.bfloat16), OverWholeBatch(part):
            outputs = nets[number](pictures[part.rows])
        mine = part_of_loss(outputs.float(), labels, part, None, 0.0)
        mine.backward()
        return add_up_gradients(list(nets[number].parameters()), mine, False, workers)[0].item()

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(step, range(2))) == [pytest.approx(loss.item(), rel=1e-2)] * 2
    for net in nets:
        assert torch.allclose(net[1].running_var, whole[1].running_var, rtol=1e-2)
        assert torch.allclose(net[0].weight.grad, whole[0].weight.grad, rtol=0.1, atol=0.02)


@pytest.mark.parametrize("count", [2, 3])
def test_parts_of_a_batch_draw_what_the_whole_batch_draws(count):
    layers = nn.Sequential(nn.Dropout2d(0.4), DropPath(0.4), nn.Flatten(), nn.Dropout(0.4)).train()
    pictures = torch.randn(11, 4, 3, 3).to(memory_format=torch.channels_last)
    torch.manual_seed(5)
    whole = layers(pictures)
    parts = []
    for number in range(count):
        part = Part.mine(Workers(Seat(number, count, number, count)), len(pictures))
        torch.manual_seed(5)
        with OverWholeBatch(part):
            parts.append(layers(pictures[part.rows]))
    assert torch.equal(torch.cat(parts), whole)


def test_parts_of_a_batch_are_changed_as_in_the_whole_batch():
    pixels = torch.randint(0, 256, (11, 20, 20, 3), dtype=torch.uint8)
    settings = Augmentation(flip=True, shift=3, zoom=0.5)
    whole = augment(pixels, settings, 0, 7)
    parts = [slice(0, 4), slice(4, 11)]
    assert torch.equal(torch.cat([augment(pixels[part], settings, 0, 7, part, 11) for part in parts]), whole)


@LONG
def test_what_is_drawn_in_a_network_is_drawn_for_the_whole_batch(place):
    """Dropout, stochastic depth and augmentation; classes weighed, gradients clipped, the best epoch kept."""
    found = []
    for count in (1, 2):
        done = _prepared(place, f"drawn-{count}", count, "--stage drawn")
        assert [each.code for each in done] == [0] * count, done
        found += _runs(place, f"drawn-{count}")
    assert _losses(found[1]) == pytest.approx(_losses(found[0]), rel=COARSE)
    assert found[1].kept_epoch == found[0].kept_epoch


@pytest.mark.parametrize(
    ("before", "after"), [(2, 1), pytest.param(2, 3, marks=LONG), pytest.param(1, 2, marks=LONG)]
)
def test_another_number_of_workers_goes_on_from_a_checkpoint(place, before, after):
    """The last worker is asked to stop in stage 2, after its second epoch: all stop after the same step."""
    folder = f"stopped-{before}-{after}"
    done = _prepared(place, folder, before, meddle=partial(_ends, before - 1, signal.SIGTERM, 2))
    assert [each.code for each in done] == [INTERRUPTED] * before, done
    assert "run the same command again" in done[0].err
    assert [each.err for each in done[1:]] == [""] * (before - 1)
    done = _prepared(place, folder, after)
    assert [each.code for each in done] == [0] * after, done
    (mine,), (whole,) = _runs(place, folder), _runs(place, "one")
    assert (mine.segments, mine.environment.workers) == (2, after)
    assert _losses(mine) == pytest.approx(_losses(whole), rel=TOLERANCE)


@pytest.mark.parametrize("which", [pytest.param(0, marks=LONG), 1])
def test_where_a_worker_is_killed_the_other_ends_and_the_run_can_go_on(place, which):
    folder = f"killed-{which}"
    done = _prepared(place, folder, 2, meddle=partial(_ends, which, signal.SIGKILL, 2))
    assert done[which].code == KILLED
    if which == 0:
        assert (done[1].code, done[1].err) == (INTERRUPTED, "")
    else:
        assert done[0].code == 2
        assert "another worker of this command has ended" in done[0].err
        assert "Traceback" not in done[0].err
    assert [each.code for each in _prepared(place, folder, 1)] == [0]
    (mine,), (whole,) = _runs(place, folder), _runs(place, "one")
    assert mine.segments == 2
    assert _losses(mine) == pytest.approx(_losses(whole), rel=TOLERANCE)


def test_where_the_first_worker_cannot_begin_no_other_waits(place):
    with lock(place / "locked" / "run"):
        done = _prepared(place, "locked", 2)
    assert [each.code for each in done] == [2, INTERRUPTED]
    assert done[0].err.count("error:") == 1
    assert done[1].err == ""


def _is_elsewhere(me: int) -> None:
    if me == 1:
        os.chdir("elsewhere")


def test_a_worker_that_finds_other_photos_says_so_and_takes_no_part(place):
    shutil.copytree(place / "data", place / "elsewhere" / "data")
    next((place / "elsewhere" / "data" / "fruits-360" / "Training").rglob("*.jpg")).unlink()
    (place / "elsewhere" / "tiny.toml").symlink_to(place / "tiny.toml")
    (place / "elsewhere" / "others").symlink_to(place / "others")
    done = _prepared(place, "others", 2, meddle=_is_elsewhere)
    assert [each.code for each in done] == [2, 2]
    assert "error: worker 1 of 2, counted from 0: the images of stage2 are not those" in done[1].err
    assert "another worker of this command has ended" in done[0].err


def test_a_mistake_of_all_workers_is_told_once(place):
    done = _prepared(place, "wrong", 2, "--stage stage22")
    assert [each.code for each in done] == [2, 2]
    assert "stage22" in done[0].err
    assert done[1].err == ""


@pytest.mark.parametrize("command", ["adapt photos", "compare photos", "reproduce tiny.toml", "cache list"])
def test_other_commands_say_that_they_do_not_run_under_torchrun(command, monkeypatch, capsys):
    for name in ("RANK", "LOCAL_RANK"):
        monkeypatch.setenv(name, "0")
    for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE"):
        monkeypatch.setenv(name, "2")
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setenv("MASTER_PORT", "1")
    with pytest.raises(SystemExit) as ended:
        call(command.split())
    assert ended.value.code == 2
    assert "only prepare runs under torchrun" in capsys.readouterr().err


def test_a_process_that_torchrun_has_not_started_or_has_started_alone_is_alone():
    started = {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1"}
    started |= {"MASTER_ADDR": "here", "MASTER_PORT": "29500"}
    for environment in ({}, {"WORLD_SIZE": "8"}, started, started | {"RANK": ""}):
        assert this_seat(environment).is_alone
        assert this_seat(environment).is_first
    four = started | {"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"}
    assert this_seat(four) == Seat(3, 4, 1, 2)


def test_torchrun_starts_the_command_as_the_guide_says(place):
    """One real start: the process that starts, and two workers."""
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", "benchgraft"]
    words = ["prepare", "tiny.toml", "--data", "data", "--out", "started/m", "--run-folder", "started/run"]
    words += ["--cache-dir", "cache"]
    done = subprocess.run([*torchrun, *words], cwd=place, capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "started/m"
    for mine, ones in zip(_runs(place, "started"), _runs(place, "one"), strict=True):
        assert mine.environment.workers == 2
        assert _losses(mine) == pytest.approx(_losses(ones), rel=TOLERANCE)


@pytest.mark.long
@pytest.mark.real
def test_stage_2_on_the_real_photos_has_the_losses_of_one_worker(real_data, tmp_path):
    """At the paper's full length, from the shipped stage 1."""
    (tmp_path / "data").symlink_to(real_data)
    given = 'base = "paper"\nname = "second"\n[stages.stage1]\nmodel_file = "shipped:stage1.safetensors"\n'
    (tmp_path / "tiny.toml").write_text(given)
    start_processes()
    found = []
    for count in (1, 2):
        done = _prepared(tmp_path, f"by-{count}", count, seconds=1800)
        assert [each.code for each in done] == [0] * count, done
        found += _runs(tmp_path, f"by-{count}")
    assert len(found[0].loss) == 24
    assert found[1].loss == pytest.approx(found[0].loss, rel=LONG_TOLERANCE)
    for epoch in (0, -1):
        assert found[1].loss[epoch] == pytest.approx(found[0].loss[epoch], rel=END_TOLERANCE)
    assert found[1].accuracy == pytest.approx(found[0].accuracy, abs=0.01)
