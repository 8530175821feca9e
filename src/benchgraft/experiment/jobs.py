"""Units of work as plain data: sent anywhere, they find what they need and give what they would give here.

A job names its photos and its parent model by digest, so that it works on those or on none. It leaves its
model file in the run folder, a checkpoint there while it is under way, and gives back its record, for whoever
keeps the ledger. `Comparison` makes the jobs of an experiment; a crew carries them out, here one after
another, or on a cluster (jobs_ray.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from ..config.requests import ClusterRequest
from ..engines.device import threads_put_back
from ..errors import RunFolderError
from ..events import Events
from ..runfolder.records import DivergedRecord, RunRecord
from ..store.classes import StageImages
from .attempts import RunDivergedError
from .bench import Bench, make_bench
from .images import open_stage
from .inputs import Share
from .run import Run
from .stage import compute_features, run_stage


@dataclass(frozen=True)
class Site:
    """Where jobs find and leave things, and what they compute with: a bench as plain data."""

    folder: Path
    """The run folder."""
    cache: Path
    data: Path | None
    """Where the data sets lie; None for those that say so themselves."""
    device: str
    threads: int
    """The last bits of a model may depend on their number."""
    use_cache: bool = True
    features: Path | None = None
    """As of a bench."""

    @staticmethod
    def of(bench: Bench, data: Path | None) -> Site:
        """That of a bench."""
        there = bench.environment
        return Site(bench.folder, bench.cache, data, there.device, there.threads, bench.use_cache)


@dataclass(frozen=True, eq=False)
class Job:
    """One run of a stage, such as arm x seed, as a unit of work."""

    run: Run
    site: Site
    images_digest: str
    """Of the images of the stage."""
    cuts: dict[str, str | None] = field(default_factory=dict)
    """Stage -> the cut that was measured to pay, as far as it was; it changes times, never results."""

    def carry_out(self, events: Events | None = None) -> RunRecord | DivergedRecord:
        """Open what it needs and do it, in whichever process this is; see `carry_out_on`.

        Raises RunFolderError too if the images, or the parent model, are not those that it was made for.
        """
        with threads_put_back():
            bench, images, seconds = self.opened(events)
            return self.carry_out_on(bench, images, seconds)

    def opened(self, events: Events | None) -> tuple[Bench, StageImages, float]:
        """What it works with, in this process, and the seconds that opening the images took.

        Raises RunFolderError if these are not those that it was made for.
        """
        site = self.site
        bench = make_bench(
            site.folder, site.cache, site.device, site.threads, events or Events(), site.use_cache
        )
        bench = replace(bench, features=site.features)
        cold = self.run.cold  # whose features a warm run takes
        bench.chosen_cuts.update(self.cuts | ({self.run.stage: cold.cut} if cold else {}))
        _, images, seconds = open_stage(self.run.experiment, self.run.stage, site.data, bench)
        if images.digest != self.images_digest:
            raise RunFolderError(
                f"the images of {self.run.stage} are not those that this job was made for",
                "put the data set back as it was",
            )
        return bench, images, seconds

    def carry_out_on(
        self, bench: Bench, images: StageImages, open_seconds: float
    ) -> RunRecord | DivergedRecord:
        """Do it where all is open already; a run that gave no model is an outcome too.

        Raises UserError subclasses, FrozenMovedError if a freeze did not hold, Interrupted.
        """
        try:
            return run_stage(self.run, images, open_seconds, bench).record
        except RunDivergedError as error:
            return error.record


@dataclass(frozen=True, eq=False)
class FeatureJob:
    """A shard of the features of a stage: all shards together are what one pass computes, bit for bit."""

    job: Job
    """The run whose features these are."""
    share: Share

    def carry_out(self, events: Events | None = None) -> int:
        """Compute it into the cache of the job's site; how many features were not there.

        Raises what Job.carry_out raises.
        """
        with threads_put_back():
            bench, images, _ = self.job.opened(events)
            return compute_features(self.job.run, images, bench, self.share)


class Worker(Protocol):
    """Who carries out jobs, one after another."""

    def carry_out(self, job: Job, images: StageImages, open_seconds: float) -> RunRecord | DivergedRecord:
        """Its record; the model file is in the run folder then. Raises what Job.carry_out_on raises.

        images, open_seconds: of the stage, as opened here.
        """
        ...


class Crew(Protocol):
    """One or many workers."""

    @property
    def is_here(self) -> bool:
        """Whether jobs take place in this process, so that what goes on beside them costs their time."""
        ...

    def for_each(self, work: Iterable[int], do: Callable[[int, Worker], None]) -> None:
        """Call `do` for each piece of work with a worker that does nothing else meanwhile."""
        ...

    def __enter__(self) -> Crew:
        """To be left after the last job."""
        ...

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Let go of all that it holds."""
        ...


@dataclass(frozen=True)
class Here:
    """This process as the only worker, with the bench that it has."""

    bench: Bench

    @property
    def is_here(self) -> bool:
        """They do."""
        return True

    def for_each(self, work: Iterable[int], do: Callable[[int, Worker], None]) -> None:
        """One after another."""
        for piece in work:
            do(piece, self)

    def carry_out(self, job: Job, images: StageImages, open_seconds: float) -> RunRecord | DivergedRecord:
        """With what is open already."""
        return job.carry_out_on(self.bench, images, open_seconds)

    def __enter__(self) -> Here:
        """Nothing is opened."""
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Nothing is left open."""


def crew_for(request: ClusterRequest, bench: Bench) -> Crew:
    """Who carries out the jobs of a request. Raises UserError where a cluster is wanted and none is there."""
    if request.cluster is None:
        return Here(bench)
    from .jobs_ray import OnRay  # Ray is an extra

    return OnRay(request, bench)
