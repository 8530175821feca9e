"""Several workers at one stage: the first one carries it out and keeps its account, the others train with it.

The first worker decodes photos, computes features, tests and writes. When it begins to train it tells the
others what they need to find the same images, parent and features, and at every attempt where to begin; they
make the steps and validate with it, and then wait for the next.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from ..engines.device import same_each_time
from ..errors import ConfigError, DivergedError, UserError, WorkersError
from ..runfolder.ledger import Clock
from ..training.checkpoint import Received
from ..training.loop import Called, Task, fit
from .begin import Begun, begin
from .bench import Bench
from .images import open_stage
from .inputs import Inputs, prepare_inputs
from .run import Run


@dataclass(frozen=True)
class _Stage:
    """What the others need to know of the stage that the first worker is at."""

    run: Run
    images_digest: str
    cut: str | None


@contextmanager
def followed(begun: Begun, inputs: Inputs) -> Iterator[None]:
    """Have the other workers, if there are any, in all trainings inside it.

    Not called off after an error: those that raise it in every worker need no word, and after others this
    worker ends, which ends all. Raises ConfigError where there are too many workers.
    """
    workers, rows = begun.bench.workers, begun.run.settings.recipe.batch_size
    if workers.seat.count > rows:
        raise ConfigError(
            f"{workers.seat.count} workers for the {rows} images of a batch of {begun.run.stage}",
            "start no more workers than a batch has images",
        )
    workers.share(_Stage(begun.run, begun.images.digest, inputs.cut))
    yield
    workers.share(None)


def follow(root: Path | None, bench: Bench) -> object:
    """Train with the first worker, stage by stage, until it shares something else: what that is.

    root: where the data sets lie. Raises WorkersError where this worker cannot take part, Interrupted.
    """
    workers = bench.workers
    while isinstance(asked := workers.hear(), _Stage):
        try:
            _follow(asked, root, bench)
        except UserError as error:
            who = f"worker {workers.seat.number} of {workers.seat.count}, counted from 0"
            raise WorkersError(f"{who}: {error.what}", *error.details) from error
    return asked


def _follow(asked: _Stage, root: Path | None, bench: Bench) -> None:
    """Through all attempts of one stage."""
    with same_each_time(bench.device):
        task = _task(asked, root, bench)
        while isinstance(called := bench.workers.hear(), Called):
            received = Received(called.position, called.state)
            with suppress(DivergedError):  # all workers see it, and the first one tells
                fit(replace(task, recipe=called.recipe), Clock(), received, bench.events)


def _task(asked: _Stage, root: Path | None, bench: Bench) -> Task:
    """The same as the first worker's, with the features that it has computed."""
    run = replace(asked.run, want_warm=True)
    _, images, _ = open_stage(run.experiment, run.stage, root, bench)
    if images.digest != asked.images_digest:
        raise UserError(
            f"the images of {run.stage} are not those of the first worker",
            "let all workers read the same data",
        )
    bench.chosen_cuts[run.stage] = asked.cut
    begun = begin(run, images, 0.0, bench)
    return begun.task(prepare_inputs(run, begun.model, begun.frozen, images, bench, begun.clock))
