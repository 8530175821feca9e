"""Where the time of a command goes: clocks with laps, gathered over all the runs that it carries out."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Literal

from pydantic import BaseModel, ConfigDict

from .ledger import Clock, now
from .records import DivergedRecord, Environment, Phase, RunRecord

REST = "rest"
"""The part of a phase that no lap took."""
Parts = dict[Phase, dict[str, float]]
CarriedOut = RunRecord | DivergedRecord
Wait = Callable[[], None]


class StageProfile(BaseModel):
    """The runs of one stage that a command carried out, summed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    stage: str
    arm: str | None
    features: Literal["computed", "cached", "none"]
    """As in the ledger: cold, warm, from pixels."""
    runs: int
    is_resumed: bool
    """Whether some of the time was measured before an interruption; it has no parts."""
    seconds: dict[Phase, float]
    """Of all these runs, as the ledger has them."""
    parts: Parts
    """What each phase is made of, seconds. The parts of a phase sum to its seconds."""


class Profile(BaseModel):
    """Where the wall time of one command went."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    made: str
    environment: Environment
    seconds: float
    """From the command's first step (after its imports) to this profile."""
    decode_seconds: dict[str, float]
    """Data set -> reading its photos into a store, once for all runs."""
    stages: list[StageProfile]

    @property
    def elsewhere(self) -> float:
        """Seconds that no run and no decoding took: the report, pictures, doubtful labels."""
        runs = sum(sum(stage.seconds.values()) for stage in self.stages)
        return max(0.0, self.seconds - runs - sum(self.decode_seconds.values()))


class LapClock(Clock):
    """A clock that also takes laps within its phases."""

    def __init__(self, wait: Wait) -> None:
        """wait: until the device has done what it was given, so that a lap holds its own work."""
        super().__init__()
        self.parts: Parts = {}
        self._wait = wait
        self._phase: Phase | None = None
        self._moment = 0.0

    @contextlib.contextmanager
    def phase(self, name: Phase) -> Iterator[None]:
        """As Clock.phase."""
        with super().phase(name):
            self._phase, self._moment = name, time.perf_counter()
            try:
                yield
            finally:
                self._phase = None

    def lap(self, name: str) -> None:
        """What was done since the last lap, or the phase's start, was this. Outside of phases nothing."""
        if self._phase is None:
            return
        self._wait()
        moment = time.perf_counter()
        parts = self.parts.setdefault(self._phase, {})
        parts[name] = parts.get(name, 0.0) + moment - self._moment
        self._moment = moment


class NoProfiler:
    """Profiles nothing: what runs have where no profile is wanted."""

    def clock(self, wait: Wait) -> Clock:  # noqa: ARG002
        """The clock of one run."""
        return Clock()

    def add(self, run: CarriedOut, clock: Clock) -> None:
        """A run has ended, with a model or without."""

    def add_decoding(self, data: str, seconds: float) -> None:
        """The photos of a data set were opened."""


class Profiler(NoProfiler):
    """Gathers what the runs of one command took."""

    def __init__(self) -> None:
        self._started = time.perf_counter()
        self._decoding: dict[str, float] = {}
        self._runs: list[tuple[CarriedOut, Parts]] = []

    def clock(self, wait: Wait) -> Clock:
        """The clock of one run, with laps."""
        return LapClock(wait)

    def add(self, run: CarriedOut, clock: Clock) -> None:
        """A run of this command has ended."""
        self._runs.append((run, clock.parts if isinstance(clock, LapClock) else {}))

    def add_decoding(self, data: str, seconds: float) -> None:
        """The photos of a data set were opened; 0 seconds where they had been decoded before."""
        if seconds:
            self._decoding[data] = self._decoding.get(data, 0.0) + seconds

    def profile(self, environment: Environment) -> Profile | None:
        """Up to now; None where the command found every run done."""
        groups: dict[tuple[str, str | None, str], list[tuple[CarriedOut, Parts]]] = {}
        for run, parts in self._runs:
            groups.setdefault((run.stage, run.arm, run.features), []).append((run, parts))
        if not groups:
            return None
        return Profile(
            made=now(),
            environment=environment,
            seconds=time.perf_counter() - self._started,
            decode_seconds=self._decoding,
            stages=[_summed(group) for group in groups.values()],
        )


def _summed(group: list[tuple[CarriedOut, Parts]]) -> StageProfile:
    """One line of the profile from the runs of a stage."""
    seconds: dict[Phase, float] = {}
    sums: Parts = {}
    for run, parts in group:
        for phase, value in run.seconds.items():
            seconds[phase] = seconds.get(phase, 0.0) + value
        for phase, laps in parts.items():
            of_phase = sums.setdefault(phase, {})
            for name, value in laps.items():
                of_phase[name] = of_phase.get(name, 0.0) + value
    for phase, laps in sums.items():
        laps[REST] = max(0.0, seconds[phase] - sum(laps.values()))
    first = group[0][0]
    return StageProfile(
        stage=first.stage,
        arm=first.arm,
        features=first.features,
        runs=len(group),
        is_resumed=any(run.segments > 1 for run, _ in group),
        seconds=seconds,
        parts=sums,
    )
