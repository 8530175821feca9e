"""Where runs take place and with what."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import torch

from ..config.requests import RunRequest
from ..engines.device import prepare_device, wait_for
from ..engines.workers import ALONE, Workers
from ..events import Events
from ..files import default_cache
from ..runfolder.ledger import Clock, environment
from ..runfolder.profiling import NoProfiler, Profiler
from ..runfolder.records import Environment

OWN_CACHE = "own-cache"


@dataclass(frozen=True)
class Bench:
    """Where a run takes place and with what: handed down, never global."""

    folder: Path
    """The run folder."""
    cache: Path
    device: torch.device
    environment: Environment
    events: Events = field(default_factory=Events)
    use_cache: bool = True
    features: Path | None = None
    """Where features are kept for the next run. None: in the cache; but where several processes that share a
    cache time their runs, one would take away what another is about to read."""
    chosen_cuts: dict[str, str | None] = field(default_factory=dict)
    """Stage -> the cut that was measured to pay. Which one is chosen changes times, never results."""
    uncached: dict[str, str | None] = field(default_factory=dict)
    """Stage -> why there is no cut, for the user."""
    said: set[str] = field(default_factory=set)
    """Notes that need no second telling."""
    profiler: NoProfiler = field(default_factory=NoProfiler)
    workers: Workers = ALONE
    """Who trains together."""

    def clock(self) -> Clock:
        """A clock for one run, of the kind that the profiler wants."""
        return self.profiler.clock(partial(wait_for, self.device))

    def own_cache(self, seed: int) -> Path:
        """Where stages with `cache = "own"` keep the features of a seed, until the experiment's end."""
        return self.folder / OWN_CACHE / f"seed{seed}"

    def model_path(self, stage: str, seed: int | None) -> Path:
        """Model file of a preparation stage, or of one run of an arm's stage."""
        name = stage if seed is None else f"{stage}-seed{seed}"
        return self.folder / "models" / f"{name}.safetensors"


def make_bench(
    folder: Path,
    cache: Path | str | None,
    device: str = "auto",
    threads: int | None = None,
    events: Events | None = None,
    use_cache: bool = True,
    profile: bool = False,
    workers: Workers = ALONE,
) -> Bench:
    """Choose the device and set the threads of this process.

    cache: None takes the user's own folder. events: None tells nobody. profile: gather where the time goes,
    block by block; results stay the same, times grow a little. workers: of whom this process is one.
    Raises ConfigError for a device that this machine does not have.
    """
    chosen = prepare_device(device, threads, workers.seat)
    return Bench(
        folder=folder,
        cache=Path(cache) if cache else default_cache(),
        device=chosen,
        environment=environment(torch.get_num_threads(), str(chosen), workers.seat.count),
        events=events or Events(),
        use_cache=use_cache,
        profiler=Profiler() if profile else NoProfiler(),
        workers=workers,
    )


def bench_for(request: RunRequest, folder: Path, use_cache: bool = True, workers: Workers = ALONE) -> Bench:
    """The same for a request, in this run folder. Of several workers only the first one tells of anything."""
    events, profile = Events(cancel=request.cancel), False
    if workers.is_first:
        events = Events(request.listen, request.cancel, request.progress, request.say)
        profile = request.profile
    return make_bench(
        folder, request.cache, request.device, request.threads, events, use_cache, profile, workers
    )
