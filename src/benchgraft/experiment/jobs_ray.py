"""Jobs carried out by the machines of a Ray cluster: each has one actor, which takes all of its cores.

A round, all arms of a seed, goes to one machine, so that its times compare; jobs of a machine that is lost
are done again on another one. What comes back goes into the run folder here, which alone has a ledger. Ray
does the rest: it starts the actors, carries files, and tells who is alive.
"""

from __future__ import annotations

import collections
import contextlib
import glob
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

from ..config.requests import ClusterRequest
from ..errors import Interrupted, UserError
from ..events import EpochEnded, Event, Note, ParentTried, RunFinished
from ..files import SHIPPED, digest_bytes, write_whole
from ..runfolder.records import DivergedRecord, RunRecord
from .begin import model_path
from .bench import Bench
from .images import data_folder
from .jobs import Job
from .jobs_features import FeatureTask, Shard, ShardOf
from .jobs_node import Done, Need, Node
from .network import given_model
from .parcels import Sender

PATIENCE_SECONDS = 60.0
"""So long a cluster may be without a machine that works, before the run is given up."""
LOSSES = 5
"""So many machines one round may lose before it is held to be the cause."""
_LOOK_SECONDS = 0.2
_TOLD = (EpochEnded, Note, ParentTried, RunFinished)
"""Events that are passed on. Bars of many machines at once would tell nobody anything."""


class NodeLostError(Exception):
    """The machine of a worker, or its process there, has gone."""


@dataclass(eq=False)
class NodeWorker:
    """One machine as a worker, seen from here."""

    name: str
    """Of the machine."""
    actor: Any
    first: Any
    """The answer to the first question, to come: by it the machine is known to be ready."""
    crew: OnRay
    is_ready: bool = False
    _sees: bool | None = None
    """Whether the photos of features lie there under the same path; None: nobody has looked."""

    def carry_out(self, job: Job, *_: object) -> RunRecord | DivergedRecord:
        """Send the job there, wait, and leave its model file here.

        Raises what Job.carry_out_on raises; NodeLostError.
        """
        with self._losses_told():
            needs = self.supplied(self.crew.needs_of(job))
            done: Done = self.ask(self.actor.carry_out.remote(job, needs))
        if done.error is not None:
            raise self._named(done.error)
        assert done.record is not None
        if isinstance(done.record, RunRecord) and done.model is not None:
            write_whole(self.crew.bench.folder / done.record.model_file, done.model)
        self.crew.drop_checkpoints(job)
        for stage, cut in (done.cuts or {}).items():  # the others need not measure it again
            self.crew.bench.chosen_cuts.setdefault(stage, cut)
        there = done.record.environment.model_copy(update={"machine": self.name})
        return done.record.model_copy(update={"environment": there})

    def features(self, task: FeatureTask, parent: Path, photos: ShardOf, number: int) -> Shard:
        """Have a shard of features computed there. Raises what ended it; NodeLostError."""
        with self._losses_told():
            (need,) = self.supplied([self.crew.need(parent, "given", "parent")])
            sent = photos.shard(number, self.sees(photos.folder))
            found = self.ask(self.actor.features.remote(task, need, sent, photos.folder))
        if isinstance(found, Exception):
            raise self._named(found)
        shard: Shard = found
        return shard

    def sees(self, folder: Path) -> bool:
        """Whether a folder lies there too, under the same path."""
        if self._sees is None:
            self._sees = self.ask(self.actor.sees.remote(self.crew.sender.wanted(folder)))
        return self._sees

    def supplied(self, needs: list[Need]) -> list[Need]:
        """The same, all of them there now."""
        sender = self.crew.sender
        lacking = self.ask(self.actor.lacks.remote(needs))
        for number in lacking:
            needs[number] = replace(needs[number], wanted=sender.read(needs[number].wanted))
        for number in self.ask(self.actor.lacks.remote(needs)) if lacking else []:
            self.ask(self.actor.take.remote(sender.parcel(needs[number].wanted)))
        return needs

    def ask(self, result: Any) -> Any:
        """The result, passing on meanwhile what is told there."""
        ray = self.crew.ray
        is_done: list[Any] = []
        while not is_done:
            is_done, _ = ray.wait([result], timeout=_LOOK_SECONDS)
            self.crew.tell(self.name, ray.get(self.actor.told.remote()))
        return ray.get(result)

    @contextlib.contextmanager
    def _losses_told(self) -> Iterator[None]:
        """Turn what Ray says of the machine into NodeLostError, and of a fault there into that fault."""
        errors = self.crew.ray.exceptions
        try:
            yield
        except errors.RayTaskError as error:
            if isinstance(error.cause, (UserError, Interrupted)):
                raise self._named(error.cause) from None
            raise error.as_instanceof_cause() from None
        except errors.RayError as error:
            raise NodeLostError(str(error).strip().splitlines()[0]) from None

    def _named(self, error: Exception) -> Exception:
        """With the name of the machine, where a user reads it."""
        if isinstance(error, UserError):
            error.what = f"on {self.name}: {error.what}"
        return error


class _Queue:
    """Pieces of work that nobody has, as they become due."""

    def __init__(self, work: Iterable[int]) -> None:
        self._left = iter(work)
        self._again: collections.deque[int] = collections.deque()
        self._losses: collections.Counter[int] = collections.Counter()
        self._has_ended = False

    def take(self) -> int | None:
        """The next; None where there is none."""
        if self._again:
            return self._again.popleft()
        piece = None if self._has_ended else next(self._left, None)
        self._has_ended = piece is None
        return piece

    def put_back(self, piece: int, error: NodeLostError) -> None:
        """It is to be done again. Raises UserError where that has been so too often."""
        self._losses[piece] += 1
        if self._losses[piece] == LOSSES:
            raise UserError(
                f"{LOSSES} machines were lost during the same round, the last one: {error}",
                "look for the cause there (memory?), then give the same command again: it goes on",
            )
        self._again.append(piece)

    @property
    def is_empty(self) -> bool:
        """Whether nothing is left, nor will be but what is put back."""
        return self._has_ended and not self._again


class OnRay:
    """The machines of a cluster as workers."""

    is_here = False

    def __init__(self, request: ClusterRequest, bench: Bench, in_place: bool = True) -> None:
        """in_place: whether a machine may take files that lie there under the same path.

        Raises UserError where Ray is not installed, or where no cluster answers.
        """
        self.bench = bench
        self.ray, self._is_mine = _connected(request.cluster or "auto")
        shared = request.shared
        if shared is not None and "://" not in shared:
            shared = str(Path(shared).absolute())
        self.sender = Sender(shared, self.ray.put)
        run = digest_bytes(str(bench.folder.absolute()).encode())[:16]
        cache = request.cache.absolute() if request.cache else None
        self._actor_given = cache, run, in_place and shared is None
        self._versions = bench.environment.versions
        self._workers: dict[str, NodeWorker] = {}
        self._refused: set[str] = set()
        self._said: set[str] = set()
        self._guard = threading.Lock()

    def for_each(self, work: Iterable[int], do: Callable[[int, NodeWorker], None]) -> None:
        """Each piece of work on a machine of its own, as they become free; again where one is lost.

        Raises what `do` raises, when the others have stopped; UserError if there is no machine.
        """
        queue, busy = _Queue(work), dict[Future[None], tuple[NodeWorker, int]]()
        last = time.monotonic()
        with ThreadPoolExecutor(1000, thread_name_prefix="node") as pool:
            try:
                while not queue.is_empty or busy:
                    for worker in self._free([worker for worker, _ in busy.values()]):
                        if (piece := queue.take()) is not None:
                            busy[pool.submit(do, piece, worker)] = worker, piece
                    last = self._waited(last, bool(busy) or queue.is_empty)
                    for future in wait(busy, _LOOK_SECONDS, FIRST_COMPLETED).done:
                        self._ended(future, *busy.pop(future), queue)
                    self.bench.events.stop_if_cancelled()
            except BaseException:
                for worker, _ in busy.values():
                    worker.actor.stop.remote()
                raise

    def needs_of(self, job: Job) -> list[Need]:
        """What a job must find where it takes place, but for what comes with the program."""
        run, experiment, here = job.run, job.run.experiment, self.bench
        name = run.settings.data
        found = (
            []
            if run.data.folder.startswith(SHIPPED)
            else [("data", name, data_folder(run.data, job.site.data))]
        )
        if run.data.labels:
            found.append(("labels", name, Path(run.data.labels)))
        for stage, settings in experiment.stages.items():
            given = settings.model_file and given_model(settings.model_file, here.cache)
            if given and not given.startswith(SHIPPED):
                found.append(("given", stage, Path(given)))
        parent = run.settings.parent
        if parent and not experiment.stages[parent].model_file:
            path = model_path(experiment, parent, run.seed, here)
            found.append(("file", str(path.relative_to(here.folder)), path))
        found += [("file", str(path.relative_to(here.folder)), path) for path in self._checkpoints(job)]
        return [self.need(path, kind, name) for kind, name, path in found]

    def drop_checkpoints(self, job: Job) -> None:
        """Of a run that was begun here and has ended elsewhere."""
        for path in self._checkpoints(job):
            path.unlink(missing_ok=True)

    def _checkpoints(self, job: Job) -> list[Path]:
        begin = f"{job.run.stage}-seed{job.run.seed}-"
        return sorted((self.bench.folder / "checkpoints").glob(f"{glob.escape(begin)}*"))

    def need(self, path: Path, kind: str, name: str) -> Need:
        """A file or folder that is here."""
        return Need(self.sender.wanted(path.absolute()), kind, name)

    def tell(self, machine: str, events: Iterable[Event]) -> None:
        """Pass on what was told on a machine; a line that each of them would say, once."""
        with self._guard:
            for event in events:
                if isinstance(event, Note):
                    if event.line not in self._said:
                        self.bench.events.say(f"{machine}: {event.line}")
                    self._said.add(event.line)
                elif isinstance(event, _TOLD):
                    self.bench.events.tell(event)

    def __enter__(self) -> OnRay:
        """To be left after the last job."""
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        """Nothing stays on the machines but what other runs can use; after an error, checkpoints too."""
        if kind is None:
            clearing = [worker.actor.clear.remote() for worker in self._workers.values() if worker.is_ready]
            if clearing:
                self.ray.wait(clearing, num_returns=len(clearing), timeout=30)
        for worker in self._workers.values():
            self._kill(worker)
        if self._is_mine:
            self.ray.shutdown()

    def _kill(self, worker: NodeWorker) -> None:
        with contextlib.suppress(self.ray.exceptions.RayError):
            self.ray.kill(worker.actor)

    def _free(self, busy: list[NodeWorker]) -> list[NodeWorker]:
        """Machines that wait for work; new ones are taken in, and those that have gone are forgotten."""
        alive = {node["NodeID"]: node for node in self.ray.nodes() if node["Alive"]}
        for node_id in self._workers.keys() - alive.keys():
            if self._workers[node_id] not in busy:  # else its job tells of it
                self._forget(self._workers[node_id])
        for node_id in alive.keys() - self._workers.keys() - self._refused:
            node = alive[node_id]
            if self.bench.device.type == "cuda" and not node["Resources"].get("GPU"):
                self._refuse(node_id, node["NodeManagerHostname"], "it has no GPU")
            elif node["Resources"].get("CPU"):
                self._workers[node_id] = self._hired(node_id, node)
        free = [(node_id, worker) for node_id, worker in self._workers.items() if worker not in busy]
        return [worker for node_id, worker in free if worker.is_ready or self._has_come(node_id, worker)]

    def _hired(self, node_id: str, node: dict[str, Any]) -> NodeWorker:
        """All of a machine: nothing that is timed there shares it with other work of Ray's."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        is_on_card = self.bench.device.type == "cuda"
        actor = self.ray.remote(Node).options(
            num_cpus=node["Resources"]["CPU"],
            num_gpus=node["Resources"].get("GPU", 0.0) if is_on_card else 0,
            scheduling_strategy=NodeAffinitySchedulingStrategy(node_id, soft=False),
            max_concurrency=4,
        )
        made = actor.remote(*self._actor_given, node_id)
        return NodeWorker(node["NodeManagerHostname"], made, made.about.remote(), self)

    def _has_come(self, node_id: str, worker: NodeWorker) -> bool:
        """Whether a machine has just become ready. One with other versions would give other bits."""
        done, _ = self.ray.wait([worker.first], timeout=0)
        if not done:
            return False
        try:
            there = self.ray.get(worker.first)
        except self.ray.exceptions.RayError as error:
            self._refuse(node_id, worker.name, str(error).strip().splitlines()[-1])
            return False
        others = [
            f"{name} {there.get(name)}, here {mine}"
            for name, mine in self._versions.items()
            if there.get(name) != mine
        ]
        if others:
            self._refuse(node_id, worker.name, f"it has {'; '.join(others)}")
            return False
        worker.is_ready = True
        return True

    def _refuse(self, node_id: str, name: str, why: str) -> None:
        self._refused.add(node_id)
        self.bench.events.say(f"{name} takes no part: {why}")
        if worker := self._workers.pop(node_id, None):
            self._kill(worker)

    def _forget(self, worker: NodeWorker) -> None:
        self._workers = {node_id: each for node_id, each in self._workers.items() if each is not worker}

    def _waited(self, last: float, is_working: bool) -> float:
        """When the cluster was last at work. Raises UserError where that is too long ago."""
        if is_working:
            return time.monotonic()
        if time.monotonic() - last > PATIENCE_SECONDS:
            waiting = ", ".join(worker.name for worker in self._workers.values()) or "none is there"
            raise UserError(
                f"no machine of the cluster was free for {PATIENCE_SECONDS:.0f} s: {waiting}",
                "each is taken as a whole: end what else runs there, or start more",
                "then give the same command again: it goes on",
            )
        time.sleep(_LOOK_SECONDS)
        return last

    def _ended(self, future: Future[None], worker: NodeWorker, piece: int, queue: _Queue) -> None:
        try:
            future.result()
        except NodeLostError as error:
            self._forget(worker)
            self._kill(worker)  # it may be there again, and go on for nobody
            queue.put_back(piece, error)
            self.bench.events.say(f"{worker.name} was lost: what it had not finished is done elsewhere")


def _connected(address: str) -> tuple[ModuleType, bool]:
    """(Ray, whether it is this call that has connected it). Raises UserError."""
    try:
        import ray
    except ImportError:
        raise UserError(
            "--cluster needs Ray, which is not installed: pip install 'benchgraft[cluster]'"
        ) from None
    if ray.is_initialized():
        return ray, False
    try:
        if address != "auto":
            _knock(address)
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        raise UserError(
            f'no Ray cluster answers to --cluster "{address}"',
            str(error).strip().splitlines()[0],
            "start one with ray start --head, see docs/cluster.md",
        ) from error
    return ray, True


def _knock(address: str) -> None:
    """Raises OSError where nobody answers, ValueError for no address. Ray itself would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():
        raise ValueError("an address is HOST:PORT, as ray start --head prints it")
    socket.create_connection((host, int(port)), timeout=10).close()
