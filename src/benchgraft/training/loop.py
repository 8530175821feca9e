"""One training run: steps, schedule, validation, stop rule.

The loop sees a module and rows. Uncached, that is the whole model on pixels; cached, the model after the cut
on features. Caching is no branch in here, so that cached = uncached is a test of two calls.
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
from ..errors import DivergedError, Interrupted
from ..networks.freeze import Frozen, may_draw
from ..progress import Progress
from ..runfolder.ledger import Clock
from ..shortcuts import bare_step, compiler_left_out
from .batches import Rows, augment, epoch_order, steps_per_epoch
from .checkpoint import Checkpoint, Position
from .evaluate import evaluate
from .layer_laps import BATCH, LOSS, UPDATE

CHECKPOINT_EVERY_SECONDS = 15.0


@dataclass(frozen=True)
class Trained:
    """A finished run; the module holds the kept epoch's weights."""

    position: Position
    epochs: int


def fit(
    module: nn.Sequential,
    frozen: Frozen,
    train: Rows,
    validation: Rows,
    recipe: Recipe,
    seed: int,
    clock: Clock,
    checkpoint: Checkpoint,
    progress: Progress,
    start: Position | None = None,
) -> Trained:
    """Train until the stop rule ends it; go on from the checkpoint where there is one.

    start: where a run begins that follows attempts that diverged; kept at once, so that a kill repeats none.
    Raises Interrupted after Ctrl-C or SIGTERM, with a checkpoint written; DivergedError if a loss or a weight
    is not finite any more.
    """
    run = _Run(module, frozen, train, validation, recipe, seed, clock, checkpoint, start)
    position = run.position
    if position.diverged and not position.step:
        with clock.phase("save"):
            run.save()
    with _interruptible() as interrupted, progress.track(run.last, "train") as advance:
        advance(position.step)
        while position.step < run.last and not _is_out_of_patience(position, recipe.stop):
            run.train_epoch(advance, interrupted)
            if position.step % run.per_epoch == 0:
                run.end_epoch()
            if interrupted.is_set():
                run.save()
                raise Interrupted
            if run.is_save_due and position.step < run.last:
                with clock.phase("save"):
                    run.save()
    run.keep_best()
    _refuse_broken(module)
    return Trained(position, len(position.loss))


class _Run:
    """The state of one training run, restored from its checkpoint where there is one."""

    def __init__(
        self,
        module: nn.Sequential,
        frozen: Frozen,
        train: Rows,
        validation: Rows,
        recipe: Recipe,
        seed: int,
        clock: Clock,
        checkpoint: Checkpoint,
        start: Position | None,
    ) -> None:
        self._module, self._frozen, self._recipe, self._seed = module, frozen, recipe, seed
        self._train, self._validation = train, validation
        self._clock, self._checkpoint = clock, checkpoint
        self._parameters = [p for p in module.parameters() if p.requires_grad]
        with compiler_left_out():
            self._optimizer = _optimizer(self._parameters, recipe)
        self._step_optimizer = bare_step(self._optimizer)
        restored = checkpoint.restore(module, self._optimizer)
        if restored:
            self.position, self._best, loss_sum = restored
            self.position.segments += 1
            clock.add(self.position.seconds)
        else:
            self.position, self._best = start or Position(segments=1), {}
            loss_sum = torch.zeros((), dtype=torch.float64)
        self._loss_sum = loss_sum.to(train.device)
        self.per_epoch = steps_per_epoch(len(train), recipe.batch_size)
        self.last = recipe.stop.epochs_of(self.per_epoch) * self.per_epoch
        self._saved = time.monotonic()
        self._draws = may_draw(module)
        self._class_weights = class_weights(train.labels).to(train.device) if recipe.balance else None

    @property
    def is_save_due(self) -> bool:
        return time.monotonic() - self._saved > CHECKPOINT_EVERY_SECONDS

    def train_epoch(self, advance: Callable[[int], None], interrupted: threading.Event) -> None:
        """Steps up to the epoch's end, or until a checkpoint is due or the user wants to stop."""
        position, recipe = self.position, self._recipe
        epoch = position.step // self.per_epoch
        order = epoch_order(len(self._train), recipe.batch_size, self._seed, epoch)
        self._frozen.train()
        with self._clock.phase("train"):
            order = order[position.step % self.per_epoch :]
            for positions, labels in zip(order, self._train.take_labels(order), strict=True):
                _set_learning_rate(self._optimizer, recipe, position.step / self.last)
                self._loss_sum += self._step(positions, labels, epoch)
                position.step += 1
                advance(1)
                if interrupted.is_set() or self.is_save_due:
                    return

    def _step(self, positions: Tensor, labels: Tensor, epoch: int) -> Tensor:
        """One update; the loss of its batch."""
        train, recipe = self._train, self._recipe
        inputs = train.take(positions, epoch)
        if recipe.augment.is_drawn:
            inputs = augment(inputs, recipe.augment, self._seed, self.position.step)
        self._clock.lap(BATCH)
        loss = functional.cross_entropy(
            self._outputs(inputs),
            labels,
            weight=self._class_weights,
            label_smoothing=recipe.label_smoothing,
        )
        self._clock.lap(LOSS)
        for parameter in self._parameters:
            parameter.grad = None
        loss.backward()  # type: ignore[no-untyped-call]
        if recipe.clip is not None:
            # A norm that is no number makes every gradient so, and with them the weights: it is noticed.
            nn.utils.clip_grad_norm_(self._parameters, recipe.clip)
        self._step_optimizer()
        self._clock.lap(UPDATE)
        return loss.detach()

    def _outputs(self, inputs: Tensor) -> Tensor:
        """In training mode. What is drawn by chance is a pure function of seed and step, as all else is."""
        with contextlib.ExitStack() as chance:
            if self._draws:
                devices = [inputs.device] if inputs.device.type == "cuda" else []
                chance.enter_context(torch.random.fork_rng(devices))
                drawn = np.random.default_rng([self._seed, self.position.step, 2])
                torch.manual_seed(int(drawn.integers(2**63)))
            outputs: Tensor = self._module(inputs)
        return outputs

    def end_epoch(self) -> None:
        """Mean loss, validation, and the best weights so far. Raises DivergedError."""
        position = self.position
        loss = self._loss_sum.item() / self.per_epoch
        if not math.isfinite(loss):
            raise DivergedError(f"the loss is {loss} in epoch {len(position.loss) + 1}")
        position.loss.append(loss)
        self._loss_sum.zero_()
        with self._clock.phase("validate"):
            _validate(self._module, self._validation, self._recipe, position, self._best)
        if not math.isfinite(position.validation_loss[-1]):
            raise DivergedError(
                f"the validation loss is {position.validation_loss[-1]} in epoch {len(position.loss)}"
            )

    def save(self) -> None:
        """Write the checkpoint."""
        self.position.seconds = self._clock.seconds()
        self._checkpoint.save(self.position, self._module, self._optimizer, self._best, self._loss_sum)
        self._saved = time.monotonic()

    def keep_best(self) -> None:
        """Put the kept epoch's weights into the module."""
        if self._best:
            self._module.load_state_dict(self._best)
        else:
            self.position.kept_epoch = len(self.position.loss)


def _refuse_broken(module: nn.Module) -> None:
    """Raises DivergedError for weights that are no numbers: a ReLU may hide them from every loss."""
    for name, tensor in module.state_dict().items():
        if not bool(torch.isfinite(tensor).all()):
            raise DivergedError(f"a weight of {name} is not finite at the end")


def class_weights(labels: Tensor) -> Tensor:
    """n / (classes x images of the class), float32 (classes,); every class must have an image."""
    counts = torch.bincount(labels)
    return (len(labels) / (len(counts) * counts)).float()


def _validate(
    module: nn.Sequential, validation: Rows, recipe: Recipe, position: Position, best: dict[str, Tensor]
) -> None:
    result = evaluate(module, validation, recipe.batch_size)
    if recipe.stop.patience and result.loss < min(position.validation_loss, default=math.inf):
        best.update({name: tensor.clone() for name, tensor in module.state_dict().items()})
        position.kept_epoch = len(position.loss)
    position.validation_loss.append(result.loss)
    position.validation_accuracy.append(result.accuracy)


def _is_out_of_patience(position: Position, stop: Stop) -> bool:
    return stop.patience is not None and len(position.loss) - position.kept_epoch >= stop.patience


def _optimizer(parameters: list[nn.Parameter], recipe: Recipe) -> Optimizer:
    rate, decay = recipe.learning_rate, recipe.weight_decay
    if recipe.optimizer == "sgd":
        return SGD(
            parameters, rate, recipe.momentum, weight_decay=decay, nesterov=recipe.momentum > 0, fused=True
        )
    kind = Adam if recipe.optimizer == "adam" else AdamW
    return kind(parameters, rate, weight_decay=decay, fused=True)


def _set_learning_rate(optimizer: Optimizer, recipe: Recipe, done: float) -> None:
    """done: fraction of all steps, 0 <= done < 1."""
    share = 1.0
    if recipe.schedule != "constant":
        left = (1 - done) / (1 - recipe.warm_up)
        if done < recipe.warm_up:
            share = done / recipe.warm_up
        else:
            share = left if recipe.schedule == "one_cycle" else (1 - math.cos(math.pi * left)) / 2
    for group in optimizer.param_groups:
        group["lr"] = recipe.learning_rate * max(share, 1e-4)


@contextmanager
def _interruptible() -> Iterator[threading.Event]:
    """An event that Ctrl-C and SIGTERM set; a second Ctrl-C ends the program at once."""
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield event
        return

    def ask(_number: int, _frame: FrameType | None) -> None:
        if event.is_set():
            raise KeyboardInterrupt
        event.set()

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield event
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
