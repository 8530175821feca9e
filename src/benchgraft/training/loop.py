"""One training run: steps, schedule, validation, stop rule.

The loop sees a module and rows. Uncached, that is the whole model on pixels; cached, the model after the cut
on features. Caching is no branch in here, so that cached = uncached is a test of two calls.

Several workers are each in a loop of their own and make every step together (`together`). What is decided
between steps is decided by the same numbers, the first worker's; it alone tells of them and keeps a
checkpoint.
"""

from __future__ import annotations

import contextlib
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import SGD, Adam, AdamW, Optimizer

from ..config.recipe import Recipe, Stop
from ..engines.workers import ALONE, Workers
from ..errors import DivergedError, Interrupted
from ..events import EpochEnded, Events
from ..networks.contract import last_linear
from ..networks.folded import folded
from ..networks.freeze import Frozen, hold_statistics, may_draw
from ..runfolder.ledger import Clock
from ..shortcuts import bare_step, compiler_left_out
from .batches import Rows, augment, epoch_order, steps_per_epoch
from .checkpoint import Checkpoint, Position, packed
from .evaluate import evaluate
from .layer_laps import BATCH, LOSS, UPDATE
from .logistic import Validated
from .together import OverWholeBatch, Part, add_up_gradients, part_of_loss

CHECKPOINT_EVERY_SECONDS = 15.0


@dataclass(frozen=True, eq=False)
class Task:
    """What is to be trained, on what, and how."""

    title: str
    """For people: which run it is of."""
    module: nn.Sequential
    frozen: Frozen
    train: Rows
    validation: Rows
    recipe: Recipe
    seed: int
    """Fixes order and augmentation."""
    workers: Workers = ALONE
    """Who makes each step together; all of them are given the same task."""


@dataclass(frozen=True)
class Called:
    """What the first worker calls the others with when it begins to train: what they go on from."""

    recipe: Recipe
    position: Position
    state: bytes
    """See checkpoint.packed."""


@dataclass(frozen=True)
class Trained:
    """A finished run; the module holds the kept epoch's weights."""

    position: Position
    epochs: int
    penalty: float | None = None
    """Of a head that was solved: chosen on validation."""
    validated: Validated | None = None
    """Of such a head, before it took in the validation photos."""


def fit(
    task: Task, clock: Clock, checkpoint: Checkpoint, events: Events, start: Position | None = None
) -> Trained:
    """Train until the stop rule ends it; go on from the checkpoint where there is one.

    start: where a run begins that follows attempts that diverged; kept at once, so that a kill repeats none.
    Raises Interrupted after Ctrl-C, SIGTERM or a cancel of the events, with a checkpoint written;
    DivergedError if a loss or a weight is not finite any more.
    """
    run = _Run(task, clock, checkpoint, events, start)
    position = run.position
    run.call_others()
    if position.diverged and not position.step:
        with clock.phase("save"):
            run.save()
    with (
        _as_trained(task),
        _interruptible(events) as is_to_stop,
        events.follow(run.last, "train") as advance,
    ):
        advance(position.step)
        while position.step < run.last and not _is_out_of_patience(position, task.recipe.stop):
            run.train_epoch(advance, is_to_stop)
            if position.step % run.per_epoch == 0:
                run.end_epoch()
            if run.is_to_stop(is_to_stop):
                run.save()
                raise Interrupted
            if run.is_save_due and position.step < run.last:
                with clock.phase("save"):
                    run.save()
    run.keep_best()
    _refuse_broken(task.module)
    return Trained(position, len(position.loss))


class _Run:
    """The state of one training run, restored from its checkpoint where there is one."""

    def __init__(
        self, task: Task, clock: Clock, checkpoint: Checkpoint, events: Events, start: Position | None
    ) -> None:
        self._task, self._clock, self._checkpoint, self._events = task, clock, checkpoint, events
        self._parameters = [p for p in task.module.parameters() if p.requires_grad]
        with compiler_left_out():
            self._optimizer, self._rates = _optimizer(task.module, task.recipe)
        self._step_optimizer = bare_step(self._optimizer)
        restored = checkpoint.restore(task.module, self._optimizer)
        if restored:
            self.position, self._best, loss_sum = restored
            self.position.segments += 1
            clock.add(self.position.seconds)
        else:
            self.position, self._best = start or Position(segments=1), {}
            loss_sum = torch.zeros((), dtype=torch.float64)
        train = task.train
        self._loss_sum = loss_sum.to(train.device)
        self.per_epoch = steps_per_epoch(len(train), task.recipe.batch_size)
        self.last = task.recipe.stop.epochs_of(self.per_epoch) * self.per_epoch
        self._saved = time.monotonic()
        self._draws = may_draw(task.module)
        self._class_weights = class_weights(train.labels).to(train.device) if task.recipe.balance else None
        self._all_stop = False
        """Of several workers: whether any of them wanted to stop at the last step."""

    @property
    def is_save_due(self) -> bool:
        return time.monotonic() - self._saved > CHECKPOINT_EVERY_SECONDS

    def is_to_stop(self, asked: Callable[[], bool]) -> bool:
        """Whether this run is to stop here; several workers stop after the same step."""
        return asked() if self._task.workers.is_alone else self._all_stop

    def call_others(self) -> None:
        """Have the other workers begin where this one does, if it is the first of several."""
        workers = self._task.workers
        if workers.is_first and not workers.is_alone:
            state = packed(self._task.module, self._optimizer, self._best, self._loss_sum)
            workers.share(Called(self._task.recipe, self.position, state))

    def train_epoch(self, advance: Callable[[int], None], is_to_stop: Callable[[], bool]) -> None:
        """Steps up to the epoch's end, or until a checkpoint is due or the user wants to stop."""
        position, task, recipe = self.position, self._task, self._task.recipe
        epoch = position.step // self.per_epoch
        order = epoch_order(len(task.train), recipe.batch_size, task.seed, epoch)
        task.frozen.train()
        if recipe.statistics == "kept":
            hold_statistics(task.module)
        with self._clock.phase("train"):
            order = order[position.step % self.per_epoch :]
            for positions, labels in zip(order, task.train.take_labels(order), strict=True):
                share = _share_of_rate(recipe, position.step / self.last)
                for group, rate in zip(self._optimizer.param_groups, self._rates, strict=True):
                    group["lr"] = rate * share
                self._loss_sum += self._step(positions, labels, epoch, is_to_stop)
                position.step += 1
                advance(1)
                if self.is_to_stop(is_to_stop) or self.is_save_due:
                    return

    def _step(self, positions: Tensor, labels: Tensor, epoch: int, is_to_stop: Callable[[], bool]) -> Tensor:
        """One update; the loss of its batch."""
        task, recipe = self._task, self._task.recipe
        part = Part.mine(task.workers, len(positions))
        inputs = task.train.take(positions[part.rows], epoch)
        if recipe.augment.is_drawn:
            inputs = augment(inputs, recipe.augment, task.seed, self.position.step, part.rows, part.of)
        self._clock.lap(BATCH)
        loss = self._loss(self._outputs(inputs, part), labels, part)
        self._clock.lap(LOSS)
        for parameter in self._parameters:
            parameter.grad = None
        loss.backward()  # type: ignore[no-untyped-call]
        if not task.workers.is_alone:
            loss, self._all_stop = add_up_gradients(self._parameters, loss, is_to_stop(), task.workers)
        if recipe.clip is not None:
            # A norm that is no number makes every gradient so, and with them the weights: it is noticed.
            nn.utils.clip_grad_norm_(self._parameters, recipe.clip)
        self._step_optimizer()
        self._clock.lap(UPDATE)
        return loss.detach()

    def _outputs(self, inputs: Tensor, part: Part) -> Tensor:
        """In training mode. What is drawn by chance is a pure function of seed and step, as all else is."""
        with contextlib.ExitStack() as entered:
            if self._draws:
                devices = [inputs.device] if inputs.device.type == "cuda" else []
                entered.enter_context(torch.random.fork_rng(devices))
                drawn = np.random.default_rng([self._task.seed, self.position.step, 2])
                torch.manual_seed(int(drawn.integers(2**63)))
            if not part.workers.is_alone:
                entered.enter_context(OverWholeBatch(part))
            if self._task.recipe.precision == "bfloat16":
                entered.enter_context(torch.autocast(inputs.device.type, torch.bfloat16))
            outputs: Tensor = self._task.module(inputs)
        return outputs.float()

    def _loss(self, outputs: Tensor, labels: Tensor, part: Part) -> Tensor:
        """Of the batch; of several workers, what this one's rows add to it. labels: of the whole batch."""
        weight, smoothing = self._class_weights, self._task.recipe.label_smoothing
        if part.workers.is_alone:
            return functional.cross_entropy(outputs, labels, weight=weight, label_smoothing=smoothing)
        return part_of_loss(outputs, labels, part, weight, smoothing)

    def end_epoch(self) -> None:
        """Mean loss, validation, and the best weights so far. Raises DivergedError."""
        position = self.position
        loss = self._task.workers.share(self._loss_sum.item() / self.per_epoch)
        if not math.isfinite(loss):
            raise DivergedError(f"the loss is {loss} in epoch {len(position.loss) + 1}")
        position.loss.append(loss)
        self._loss_sum.zero_()
        with self._clock.phase("validate"):
            _validate(self._task, position, self._best)
        if not math.isfinite(position.validation_loss[-1]):
            raise DivergedError(
                f"the validation loss is {position.validation_loss[-1]} in epoch {len(position.loss)}"
            )
        self._events.tell(
            EpochEnded(
                self._task.title,
                epoch=len(position.loss),
                epochs=self.last // self.per_epoch,
                loss=loss,
                validation_loss=position.validation_loss[-1],
                validation_accuracy=position.validation_accuracy[-1],
            )
        )

    def save(self) -> None:
        """Write the checkpoint."""
        self.position.seconds = self._clock.seconds()
        self._checkpoint.save(self.position, self._task.module, self._optimizer, self._best, self._loss_sum)
        self._saved = time.monotonic()

    def keep_best(self) -> None:
        """Put the kept epoch's weights into the module."""
        if self._best:
            self._task.module.load_state_dict(self._best)
        else:
            self.position.kept_epoch = len(self.position.loss)


def _as_trained(task: Task) -> contextlib.AbstractContextManager[None]:
    """The module as it trains soonest."""
    if task.recipe.statistics == "batch" or task.recipe.precision != "float32":
        return contextlib.nullcontext()
    return folded(task.module, task.train.take(torch.zeros(1, dtype=torch.int64)))


def _refuse_broken(module: nn.Module) -> None:
    """Raises DivergedError for weights that are no numbers: a ReLU may hide them from every loss."""
    for name, tensor in module.state_dict().items():
        if not bool(torch.isfinite(tensor).all()):
            raise DivergedError(f"a weight of {name} is not finite at the end")


def class_weights(labels: Tensor) -> Tensor:
    """n / (classes x images of the class), float32 (classes,); every class must have an image."""
    counts = torch.bincount(labels)
    return (len(labels) / (len(counts) * counts)).float()


def _validate(task: Task, position: Position, best: dict[str, Tensor]) -> None:
    result = evaluate(task.module, task.validation, task.recipe.batch_size, task.workers)
    loss, accuracy = task.workers.share((result.loss, result.accuracy))
    if task.recipe.stop.patience and loss < min(position.validation_loss, default=math.inf):
        best.update({name: tensor.clone() for name, tensor in task.module.state_dict().items()})
        position.kept_epoch = len(position.loss)
    position.validation_loss.append(loss)
    position.validation_accuracy.append(accuracy)


def _is_out_of_patience(position: Position, stop: Stop) -> bool:
    return stop.patience is not None and len(position.loss) - position.kept_epoch >= stop.patience


def _optimizer(module: nn.Sequential, recipe: Recipe) -> tuple[Optimizer, list[float]]:
    """With the rate of each of its groups: the head is one of its own where it has another rate."""
    parameters = [p for p in module.parameters() if p.requires_grad]
    rate, decay, groups = recipe.learning_rate, recipe.weight_decay, [parameters]
    rates = [rate]
    if recipe.head_rate is not None:
        head = {id(parameter) for parameter in last_linear(module).parameters()}
        groups = [[p for p in parameters if (id(p) in head) == is_head] for is_head in (False, True)]
        rates = [rate, recipe.head_rate]
    given = [{"params": group} for group in groups]
    if recipe.optimizer == "sgd":
        nesterov = recipe.momentum > 0
        return SGD(given, rate, recipe.momentum, weight_decay=decay, nesterov=nesterov, fused=True), rates
    kind = Adam if recipe.optimizer == "adam" else AdamW
    return kind(given, rate, weight_decay=decay, fused=True), rates


def _share_of_rate(recipe: Recipe, done: float) -> float:
    """Of the full learning rate. done: fraction of all steps, 0 <= done < 1."""
    share = 1.0
    if recipe.schedule != "constant":
        left = (1 - done) / (1 - recipe.warm_up)
        if done < recipe.warm_up:
            share = done / recipe.warm_up
        else:
            share = left if recipe.schedule == "one_cycle" else (1 - math.cos(math.pi * left)) / 2
    return max(share, 1e-4)


@contextmanager
def _interruptible(events: Events) -> Iterator[Callable[[], bool]]:
    """Whether the user wants to stop: by a cancel, or by Ctrl-C or SIGTERM, which the main thread alone can
    be asked by; a second Ctrl-C ends the program at once."""
    if threading.current_thread() is not threading.main_thread():
        yield lambda: events.is_cancelled
        return
    event = threading.Event()

    def ask(_number: int, _frame: FrameType | None) -> None:
        if event.is_set():
            raise KeyboardInterrupt
        event.set()

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: event.is_set() or events.is_cancelled
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
