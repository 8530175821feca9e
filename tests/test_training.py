"""What the training loop promises, against a plain PyTorch loop and PyTorch's own schedulers."""

from __future__ import annotations

import copy
import inspect
import os
import signal
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer, lr_scheduler

from benchgraft.config.network import PAPER
from benchgraft.config.recipe import Recipe, Stop
from benchgraft.errors import Interrupted
from benchgraft.events import Events
from benchgraft.networks.build import build
from benchgraft.networks.freeze import Frozen
from benchgraft.progress import NoProgress, Progress
from benchgraft.runfolder.ledger import Clock
from benchgraft.training.batches import Rows, rows_of
from benchgraft.training.checkpoint import Checkpoint
from benchgraft.training.loop import Task, Trained, fit

CPU = torch.device("cpu")
RATE, MOMENTUM, DECAY, BATCH = 0.02, 0.9, 1e-3, 32
State = dict[str, Tensor]


@pytest.fixture(autouse=True)
def no_waiting(one_thread: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here depends on what a real disk has done."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


@dataclass(frozen=True)
class Recorded(Rows):
    """Rows that remember which were taken."""

    taken: list[Tensor] = field(default_factory=list, kw_only=True)

    def take(self, positions: Tensor, view: int = 0) -> Tensor:
        self.taken.append(positions.clone())
        return super().take(positions, view)


def _rows(count: int, classes: int = 3, seed: int = 0, shares: tuple[float, ...] | None = None) -> Recorded:
    """Features that tell little of the class, so that a network soon learns them by heart."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(classes, count, p=shares)
    array = rng.normal(size=(count, 20)).astype(np.float32)
    array[:, 0] += labels * 0.3
    return _recorded(rows_of(array, np.arange(count), labels, CPU))


def _recorded(rows: Rows) -> Recorded:
    return Recorded(rows.array, rows.index, rows.labels, rows.device)


def _pixels(count: int, seed: int = 0) -> Recorded:
    rng = np.random.default_rng(seed)
    array = rng.integers(256, size=(count, 100, 100, 3), dtype=np.uint8)
    return _recorded(rows_of(array, np.arange(count), rng.integers(3, size=count), CPU))


def _network(classes: int = 3, normalized: bool = True) -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        middle = [nn.BatchNorm1d(64)] if normalized else []
        return nn.Sequential(nn.Linear(20, 64), *middle, nn.ReLU(), nn.Linear(64, classes))


def _recipe(stop: Stop, **more: object) -> Recipe:
    return Recipe.model_validate(
        {"learning_rate": RATE, "momentum": MOMENTUM, "weight_decay": DECAY, "batch_size": BATCH}
        | {"schedule": "constant", "stop": stop}
        | more
    )


def _train(
    module: nn.Sequential, train: Rows, recipe: Recipe, folder: Path, progress: Progress | None = None
) -> Trained:
    """The loop under test, on validation rows of its own."""
    checkpoint = Checkpoint(folder / "checkpoint.safetensors", "the same")
    classes = int(train.labels.max()) + 1
    validation = _pixels(40, seed=9) if train.array.dtype == torch.uint8 else _rows(60, classes, seed=9)
    frozen = Frozen(module, [])  # type: ignore[arg-type]
    task = Task("any, seed 5", module, frozen, train, validation, recipe, 5)
    return fit(task, Clock(), checkpoint, Events(progress=progress))


def _plain(
    module: nn.Sequential,
    train: Recorded,
    optimizer: Optimizer,
    cross_entropy: nn.Module,
    after: Callable[[], object] = lambda: None,
) -> list[float]:
    """What a PyTorch user writes, on the batches that the loop took; the loss of each."""
    losses = []
    for positions in train.taken:
        module.train()
        optimizer.zero_grad()
        loss = cross_entropy(module(train.array[positions]), train.labels[positions])
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        after()
    return losses


def _copied(module: nn.Module) -> State:
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def _is_equal(one: State, other: State) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


# --- the optimizer's step -----------------------------------------------------------------------------------


OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {
    "sgd": lambda p, **more: SGD(p, RATE, MOMENTUM, weight_decay=DECAY, nesterov=True, **more),
    "adam": lambda p, **more: Adam(p, RATE, weight_decay=DECAY, **more),
    "adamw": lambda p, **more: AdamW(p, RATE, weight_decay=DECAY, **more),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("of_the_paper", [False, True])
def test_weights_are_those_of_a_plain_pytorch_loop_bit_for_bit(name, of_the_paper, tmp_path):
    ours = build(PAPER, 3, seed=0) if of_the_paper else _network()
    plain = copy.deepcopy(ours)
    train = _pixels(70) if of_the_paper else _rows(110)
    done = _train(ours, train, _recipe(Stop(epochs=3), optimizer=name, label_smoothing=0.1), tmp_path)
    losses = _plain(
        plain,
        train,
        OPTIMIZERS[name](plain.parameters(), fused=True),
        nn.CrossEntropyLoss(label_smoothing=0.1),
    )
    assert _is_equal(ours.state_dict(), plain.state_dict())
    assert done.position.loss == pytest.approx(np.reshape(losses, (3, -1)).mean(1))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_fused_step_is_the_textbook_step(name, tmp_path):
    """Without `fused` PyTorch computes the formulas one operation after another.

    No BatchNorm: biases before one have gradients of rounding errors alone, which Adam makes large.
    """
    ours = _network(normalized=False)
    plain = copy.deepcopy(ours)
    train = _rows(110)
    _train(ours, train, _recipe(Stop(epochs=2), optimizer=name), tmp_path)
    _plain(plain, train, OPTIMIZERS[name](plain.parameters(), foreach=False), nn.CrossEntropyLoss())
    for name, tensor in plain.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], tensor, rtol=1e-3, atol=1e-5)


# --- the schedule -------------------------------------------------------------------------------------------


def _rates_seen(recipe: Recipe, folder: Path) -> list[float]:
    """The learning rate at each step of SGD, told by SGD."""
    rates, step = [], inspect.unwrap(SGD.step)

    def told(optimizer: SGD) -> None:
        rates.append(optimizer.param_groups[0]["lr"])
        step(optimizer)

    with mock.patch.object(SGD, "step", told):
        _train(_network(), _rows(5 * BATCH), recipe, folder)
    return rates


def _rates_of_torch(schedule: str, up: int, steps: int) -> list[float]:
    optimizer = SGD([nn.Parameter(torch.zeros(1))], RATE)
    down = {
        "constant": lambda: lr_scheduler.ConstantLR(optimizer, 1.0),
        "one_cycle": lambda: lr_scheduler.LinearLR(optimizer, 1.0, 0.0, steps - up),
        "cosine": lambda: lr_scheduler.CosineAnnealingLR(optimizer, steps - up),
    }
    parts = [lr_scheduler.LinearLR(optimizer, 1e-9, 1.0, up)] if up else []
    scheduler = lr_scheduler.SequentialLR(optimizer, [*parts, down[schedule]()], [up] if up else [])
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


@pytest.mark.parametrize(
    ("schedule", "warm_up"),
    [("constant", 0.2), ("one_cycle", 0.2), ("one_cycle", 0), ("cosine", 0.4), ("cosine", 0)],
)
def test_learning_rates_are_those_of_pytorchs_schedulers(schedule, warm_up, tmp_path):
    recipe = _recipe(Stop(epochs=4), schedule=schedule, warm_up=warm_up)
    seen = _rates_seen(recipe, tmp_path)
    up = 0 if schedule == "constant" else round(warm_up * 20)
    expected = _rates_of_torch(schedule, up, 20)
    assert seen == pytest.approx(np.maximum(expected, RATE * 1e-4), rel=1e-6)  # a step of nothing is none
    assert max(seen) == pytest.approx(RATE)


def test_warm_up_may_end_between_two_steps(tmp_path):
    recipe = _recipe(Stop(epochs=4), schedule="one_cycle", warm_up=0.33)
    seen = _rates_seen(recipe, tmp_path)
    expected = RATE * np.interp(np.arange(20) / 20, [0, 0.33, 1], [0, 1, 0])
    assert seen == pytest.approx(np.maximum(expected, RATE * 1e-4))


# --- the epoch that is kept ---------------------------------------------------------------------------------


EPOCHS, PATIENCE = 12, 3


def _plain_epochs(module: nn.Sequential, train: Recorded) -> tuple[list[State], list[float]]:
    """Weights and validation loss after each epoch of a plain loop."""
    states: list[State] = []
    validation = _rows(60, seed=9)
    losses: list[float] = []
    steps = [0]

    def look() -> None:
        steps[0] += 1
        if steps[0] % (len(train) // BATCH) == 0:
            module.eval()
            with torch.no_grad():
                said = module(validation.array)
            losses.append(nn.functional.cross_entropy(said, validation.labels).item())
            states.append(_copied(module))

    optimizer = OPTIMIZERS["sgd"](module.parameters(), fused=True)
    _plain(module, train, optimizer, nn.CrossEntropyLoss(), look)
    return states, losses


@pytest.mark.parametrize("patience", [PATIENCE, EPOCHS + 1])
def test_patience_keeps_the_weights_of_the_epoch_of_lowest_validation_loss(patience, tmp_path):
    module = _network()
    plain, stopped = copy.deepcopy(module), copy.deepcopy(module)
    train = _rows(100)
    done = _train(module, train, _recipe(Stop(epochs=EPOCHS, patience=patience)), tmp_path)
    states, losses = _plain_epochs(plain, train)
    best = int(np.argmin(losses))
    assert 0 < best < EPOCHS - 1 - PATIENCE  # else this shows nothing
    assert done.position.validation_loss == pytest.approx(losses)
    assert done.position.kept_epoch == best + 1
    assert done.epochs == min(best + 1 + patience, EPOCHS)
    assert _is_equal(module.state_dict(), states[best])
    _train(stopped, _rows(100), _recipe(Stop(epochs=best + 1)), tmp_path)
    assert _is_equal(module.state_dict(), stopped.state_dict())


def test_without_patience_the_last_epochs_weights_are_kept(tmp_path):
    module = _network()
    plain = copy.deepcopy(module)
    train = _rows(100)
    done = _train(module, train, _recipe(Stop(epochs=EPOCHS)), tmp_path)
    states, losses = _plain_epochs(plain, train)
    assert losses[-1] > min(losses)  # a better epoch was there
    assert done.position.kept_epoch == done.epochs == EPOCHS
    assert _is_equal(module.state_dict(), states[-1])


# --- class balance ------------------------------------------------------------------------------------------


def test_balanced_loss_is_that_of_pytorch_weighted_by_the_inverse_of_class_shares(tmp_path):
    train = _rows(200, shares=(0.7, 0.25, 0.05))
    counts = np.array([(train.labels == label).sum() for label in range(3)])
    module = _network()
    plain = copy.deepcopy(module)
    recipe = _recipe(Stop(epochs=3), balance=True, label_smoothing=0.1)
    done = _train(module, train, recipe, tmp_path)
    weights = torch.tensor(200 / (3 * counts), dtype=torch.float32)
    losses = _plain(
        plain,
        train,
        OPTIMIZERS["sgd"](plain.parameters(), fused=True),
        nn.CrossEntropyLoss(weight=weights, label_smoothing=0.1),
    )
    assert done.position.loss == pytest.approx(np.reshape(losses, (3, -1)).mean(1))
    for name, tensor in plain.state_dict().items():
        torch.testing.assert_close(module.state_dict()[name], tensor)


def test_balanced_training_is_training_on_the_rare_class_repeated(tmp_path):
    """In full batches, where the one and the other have the same gradient."""
    few = _rows(40, classes=2, shares=(0.75, 0.25))
    counts = torch.bincount(few.labels)
    repeats = torch.where(few.labels == 0, counts[1], counts[0])
    rows = torch.repeat_interleave(torch.arange(40), repeats)
    many = _recorded(rows_of(few.array[rows].numpy(), np.arange(len(rows)), few.labels[rows].numpy(), CPU))
    balanced, repeated = _network(2, normalized=False), _network(2, normalized=False)
    start = _copied(balanced)
    stop = Stop(epochs=20)
    _train(balanced, few, _recipe(stop, balance=True, batch_size=len(few)), tmp_path)
    _train(repeated, many, _recipe(stop, batch_size=len(many)), tmp_path)
    for name, tensor in repeated.state_dict().items():
        torch.testing.assert_close(balanced.state_dict()[name], tensor, rtol=1e-3, atol=1e-5)
        assert not torch.allclose(start[name], tensor, rtol=0.1)


# --- going on -----------------------------------------------------------------------------------------------


class CtrlC(NoProgress):
    """Presses Ctrl-C when this step is done."""

    def __init__(self, step: int) -> None:
        self._left = step

    def track(self, total: int, what: str) -> AbstractContextManager[Callable[[int], None]]:
        return nullcontext(self._advance)

    def _advance(self, count: int) -> None:
        self._left -= count
        if self._left == 0 and count:
            signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("patience", [None, PATIENCE])
def test_a_run_interrupted_at_any_step_goes_on_to_the_same_weights(name, patience, tmp_path):
    recipe = _recipe(Stop(epochs=6, patience=patience), optimizer=name, schedule="one_cycle", balance=True)
    whole = _network()
    expected = _train(whole, _rows(100), recipe, tmp_path / "whole").position
    assert expected.step >= 12
    for step in range(1, expected.step):
        place = tmp_path / str(step)
        with pytest.raises(Interrupted):
            _train(_network(), _rows(100), recipe, place, CtrlC(step))
        module = _network()
        train = _rows(100)
        position = _train(module, train, recipe, place).position
        assert position.segments == 2
        assert len(train.taken) == expected.step - step  # nothing was done twice
        without_time = {"seconds", "segments"}
        assert position.model_dump(exclude=without_time) == expected.model_dump(exclude=without_time)
        assert _is_equal(module.state_dict(), whole.state_dict())
