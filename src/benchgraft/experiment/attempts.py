"""The training of one run, tried again where it diverges: same seed, half the learning rate, then a quarter.

One rule for all: both arms, preparation, cold and warm. What an attempt in vain took stays on the clock.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from ..config.experiment import Stage
from ..errors import DivergedError
from ..events import Events
from ..runfolder.ledger import Clock
from ..runfolder.records import Attempt, DivergedRecord
from ..training.checkpoint import Checkpoint, Position
from ..training.loop import Task, Trained, fit
from .run import Run

ATTEMPTS = 3
SLOWER = 0.5
"""Learning rate of an attempt, over that of the one before."""


class RunDivergedError(DivergedError):
    """A run none of whose attempts gave a model: `record` is its outcome, for the ledger."""

    def __init__(self, record: DivergedRecord, *details: str) -> None:
        rates = ", ".join(f"{attempt.learning_rate:g}" for attempt in record.diverged)
        super().__init__(
            f"{record.stage}, seed {record.seed}: training diverged {len(record.diverged)} times (learning "
            f"rates {rates}); at last {record.diverged[-1].reason}",
            *details,
        )
        self.record = record


@dataclass(frozen=True)
class Outcome:
    """How the attempts of a run ended."""

    trained: Trained | None
    """None where each of them diverged."""
    stage: Stage
    """As it was trained at last: its recipe has that attempt's rate."""
    diverged: list[Attempt]
    segments: int


def train(
    run: Run,
    task: Task,
    checkpoint_of: Callable[[Stage], Checkpoint],
    begin_anew: Callable[[], object],
    clock: Clock,
    events: Events,
) -> Outcome:
    """Train, up to ATTEMPTS times; a run that was interrupted goes on in the attempt that it was in.

    checkpoint_of: for the stage as an attempt trains it. begin_anew: put the start weights back, with a head
    that is solved where the recipe wants one.
    Raises Interrupted.
    """
    before = _position(run.settings, checkpoint_of)
    diverged, segments = list(before.diverged), before.segments + 1
    if run.settings.recipe.head_start == "solved" and not before.segments:
        begin_anew()
    while True:
        tried = slower(run.settings, len(diverged))
        start = Position(segments=segments, diverged=diverged)
        try:
            trained = fit(replace(task, recipe=tried.recipe), clock, checkpoint_of(tried), events, start)
        except DivergedError as error:
            rate = tried.recipe.learning_rate
            seconds = _looped(clock) - sum(attempt.seconds for attempt in diverged)
            diverged.append(Attempt(learning_rate=rate, seconds=seconds, reason=error.what))
            if len(diverged) == ATTEMPTS:
                return Outcome(None, tried, diverged, segments)
            events.say(
                f"{run.title}: training diverged ({error.what}); again with learning rate "
                f"{SLOWER * rate:g} instead of {rate:g}"
            )
            begin_anew()
        else:
            return Outcome(trained, tried, diverged, segments)


def slower(stage: Stage, failures: int) -> Stage:
    """The stage with the learning rate of the attempt after so many that diverged."""
    rate = stage.recipe.learning_rate * SLOWER**failures
    return stage.model_copy(update={"recipe": stage.recipe.model_copy(update={"learning_rate": rate})})


def _position(stage: Stage, checkpoint_of: Callable[[Stage], Checkpoint]) -> Position:
    """Where an earlier segment has left the run, in whichever attempt; the beginning if there was none."""
    for failures in range(ATTEMPTS):
        position = checkpoint_of(slower(stage, failures)).position()
        if position is not None:
            return position
    return Position()


def _looped(clock: Clock) -> float:
    seconds = clock.seconds()
    return seconds.get("train", 0.0) + seconds.get("validate", 0.0)
