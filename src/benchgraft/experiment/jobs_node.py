"""What one machine of a Ray cluster does: it fetches what a job needs, carries it out, and gives all back.

It works in its own cache, and in a run folder there that is removed when the experiment has ended.
"""

from __future__ import annotations

import collections
import shutil
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from ..cache import LIMIT_VARIABLE, hold
from ..engines.device import threads_put_back
from ..errors import FrozenMovedError, Interrupted, StorageError, UserError
from ..events import Event, Events
from ..files import default_cache, write_whole
from ..runfolder.ledger import environment
from ..runfolder.records import DivergedRecord, RunRecord
from .bench import make_bench
from .jobs import Job
from .jobs_features import FeatureTask, Featuriser, Photo, Shard
from .parcels import Parcel, Wanted, entry_of, fetched, found, unpack


@dataclass(frozen=True)
class Need:
    """A file or folder of a job, and what it is there."""

    wanted: Wanted
    kind: str
    """"data" or "labels" of a data set, "given" model of a stage, or a "file" of the run folder: the model
    that this run starts from, a checkpoint."""
    name: str
    """Of the data set or stage; of a file its path in the run folder."""


@dataclass(frozen=True)
class Done:
    """What a machine gives back."""

    record: RunRecord | DivergedRecord | None
    model: bytes | None = None
    """The model file."""
    cuts: dict[str, str | None] | None = None
    error: Exception | None = None
    """What ended the job in place of a record."""


class Node:
    """The actor: what one machine of the cluster does."""

    def __init__(self, cache: Path | None, run: str, in_place: bool, node_id: str) -> None:
        """cache: None takes the machine's own. run: names the run folder in it. in_place: whether files count
        that lie here under the same path. node_id: as Ray has it."""
        self._cache = cache or default_cache()
        self._folder = self._cache / "runs" / run
        self._own = self._folder / "features" / node_id
        """Machines may share a cache; none takes away what another is about to read."""
        self._in_place = in_place
        self._events: collections.deque[Event] = collections.deque()
        self._stop = threading.Event()
        self._held: dict[str, Wanted | Parcel] = {}
        """Digest -> what keeps a parcel in the cache."""
        self._featuriser: Featuriser | None = None
        self._seed: int | None = None
        """Of the last job of an arm."""

    def about(self) -> dict[str, str]:
        """Versions of what computes."""
        return environment(1, "cpu").versions

    def lacks(self, needs: list[Need]) -> list[int]:
        """Which of them are not here."""
        return [number for number, need in enumerate(needs) if self._place(need) is None]

    def take(self, parcel: Parcel) -> None:
        """Put a parcel into the cache; its pieces are fetched one by one. Raises StorageError, DataError."""
        import ray

        is_fetched = parcel.address is not None
        pieces = fetched(parcel) if is_fetched else (ray.get(piece) for piece in parcel.pieces)
        self._held[parcel.digest] = parcel
        unpack(parcel, self._cache, self._until_stopped(pieces))

    def carry_out(self, job: Job, needs: list[Need]) -> Done:
        """A job whose needs are all here."""
        if job.run.arm is not None:
            if self._seed not in (None, job.run.seed):  # that round has ended
                shutil.rmtree(self._own / f"seed{self._seed}", ignore_errors=True)
            self._seed = job.run.seed
        try:
            job = self._at_home(job, needs)
            bench, images, seconds = job.opened(Events(self._events.append, self._stop))
            record = job.carry_out_on(bench, images, seconds)
        except (UserError, FrozenMovedError, Interrupted) as error:
            shutil.rmtree(self._own, ignore_errors=True)
            return Done(None, error=error)
        if isinstance(record, DivergedRecord):
            return Done(record, cuts=bench.chosen_cuts)
        return Done(record, (self._folder / record.model_file).read_bytes(), bench.chosen_cuts)

    def sees(self, folder: Wanted) -> bool:
        """Whether a folder lies here under the same path, with files of the same names and sizes."""
        return found(folder, self._cache, True) == folder.path

    def features(
        self, task: FeatureTask, parent: Need, photos: list[Photo], folder: Path
    ) -> Shard | UserError | Interrupted:
        """A shard of features, or what ended it."""
        try:
            if self._featuriser is None:
                events = Events(self._events.append, self._stop)
                bench = make_bench(self._folder, self._cache, task.device, task.threads, events)
                self._featuriser = Featuriser(task, self._found(parent), bench)
            with threads_put_back(task.threads):
                return self._featuriser.shard(photos, folder)
        except (UserError, Interrupted) as error:
            return error

    def told(self) -> list[Event]:
        """Events since the last call."""
        return [self._events.popleft() for _ in range(len(self._events))]

    def stop(self) -> None:
        """Let the job end at its next step, its checkpoint here."""
        self._stop.set()

    def clear(self) -> None:
        """Remove what runs have left here, but for what is kept for other runs."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _until_stopped(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        for piece in pieces:
            if self._stop.is_set():
                raise Interrupted
            yield piece

    def _place(self, need: Need) -> Path | None:
        """Where it is. It stays in the cache as long as this actor is there."""
        wanted = need.wanted
        place = found(wanted, self._cache, self._in_place)
        if place not in (None, wanted.path) and str(wanted.digest) not in self._held:
            self._held[str(wanted.digest)] = wanted
            hold(entry_of(wanted.digest, self._cache), wanted)
        return place

    def _found(self, need: Need) -> Path:
        """Where it is. Raises StorageError where it has gone since it was put there."""
        place = self._place(need)
        if place is None:
            raise StorageError(
                f"{need.wanted.path.name} does not stay in the cache {self._cache}",
                f"let the cache take more ({LIMIT_VARIABLE}), then run again",
            )
        return place

    def _at_home(self, job: Job, needs: list[Need]) -> Job:
        """The same job with the places of this machine."""
        data, stages = dict(job.run.experiment.data), dict(job.run.experiment.stages)
        for need in needs:
            place = self._found(need)
            if need.kind == "data":
                data[need.name] = data[need.name].model_copy(update={"folder": str(place)})
            elif need.kind == "labels":
                data[need.name] = data[need.name].model_copy(update={"labels": str(place)})
            elif need.kind == "given":
                stages[need.name] = stages[need.name].model_copy(update={"model_file": str(place)})
            elif place != self._folder / need.name:
                write_whole(self._folder / need.name, place.read_bytes())
        experiment = job.run.experiment.model_copy(update={"data": data, "stages": stages})
        features = self._own / f"seed{job.run.seed}"
        site = replace(job.site, folder=self._folder, cache=self._cache, data=None, features=features)
        return replace(job, run=replace(job.run, experiment=experiment), site=site)
