"""The same runs on a Ray cluster: same bits, one account, and what a lost machine had not finished again."""

from __future__ import annotations

import platform
import random
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from cluster import add_node, cluster_of
from invented import EXPERIMENT, TINY
from photos import write_photos

from benchgraft import adapt, compare
from benchgraft.config.requests import ReproduceRequest
from benchgraft.errors import Interrupted, RequestError, StorageError, UserError
from benchgraft.events import EpochEnded, Event, Note, TaskAdvanced
from benchgraft.experiment import jobs_features, jobs_ray
from benchgraft.experiment.bench import bench_for
from benchgraft.experiment.jobs import Here
from benchgraft.experiment.jobs_ray import NodeWorker, OnRay
from benchgraft.experiment.load import load
from benchgraft.experiment.rounds import Comparison
from benchgraft.networks import model_file
from benchgraft.runfolder.ledger import Ledger
from benchgraft.runfolder.records import DataRecord, RunRecord
from benchgraft.tasks.report import verify
from benchgraft.training.feature_stream import FeatureStream

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore"),  # what Ray warns of is Ray's
    pytest.mark.xdist_group("ray"),
]

ROUNDS = EXPERIMENT.replace("runs = 2", "runs = 4")
CUT = {"second": "max_pooling2d_3"}
"""Which cut pays is measured, and the machine is shared."""
TIMES = {"seconds", "started", "finished", "environment"}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("cluster")
    write_photos(place / "photos", {"red": 60, "green": 60})
    (place / "tiny.toml").write_text(ROUNDS)
    return place


@pytest.fixture(scope="module")
def cluster(place: Path) -> Iterator[Any]:
    with cluster_of(2, place) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def here(place: Path) -> Ledger:
    """The experiment carried out by this process."""
    return _run(place, "here")


def _run(place: Path, name: str, crew: dict[str, Any] | None = None, listen: Any = None) -> Ledger:
    request = ReproduceRequest(
        data=place, run_folder=place / name, device="cpu", threads=1, listen=listen, **(crew or {})
    )
    bench = bench_for(replace(request, cache=place / f"cache {name}"), place / name)
    bench.chosen_cuts.update(CUT)
    with OnRay(request, bench, in_place=False) if crew else Here(bench) as workers:
        return Comparison(load(str(place / "tiny.toml")), place, bench, workers).run([])


def _facts(ledger: Ledger, but: frozenset[str]) -> dict[Any, Any]:
    """Of each run, once."""
    runs = ledger.of_kind(RunRecord)
    keys = [(run.stage, run.arm, run.seed, run.features) for run in runs]
    assert set(Counter(keys).values()) == {1}
    return {key: run.model_dump(exclude=TIMES | but) for key, run in zip(keys, runs, strict=True)}


def _assert_same(there: Ledger, here: Ledger, but: frozenset[str] = frozenset()) -> None:
    """Records and weights, bit for bit."""
    assert _facts(there, but) == _facts(here, but)
    for run in here.of_kind(RunRecord):
        states = [model_file.read(ledger.path.parent / run.model_file).state for ledger in (there, here)]
        assert states[0].keys() == states[1].keys()
        assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_a_cluster_gives_the_same_bits_and_one_account_and_goes_on_where_it_was(cluster, here, place):
    there = _run(place, "there", {"cluster": cluster.address})
    _assert_same(there, here)
    by_seed: dict[int, set[str | None]] = {}
    for run in there.of_kind(RunRecord):
        by_seed.setdefault(run.seed, set()).add(run.environment.machine)
    assert all(len(machines) == 1 and None not in machines for machines in by_seed.values())
    again = _run(place, "there", {"cluster": cluster.address})
    assert len(again.records) == len(there.records)
    assert not list(place.glob("node */benchgraft/runs/*"))  # nothing is left there but the cache
    assert list(place.glob("node */benchgraft/parcels/*/content/photos"))


def test_a_run_that_began_here_goes_on_there(cluster, here, place):
    class Stop:
        left = 2

        def is_set(self) -> bool:
            return self.left <= 0

    stop = Stop()

    def listen(event: Event) -> None:
        stop.left -= isinstance(event, EpochEnded)

    request = ReproduceRequest(data=place, run_folder=place / "moved", device="cpu", threads=1)
    bench = bench_for(
        replace(request, cache=place / "cache moved", listen=listen, cancel=stop), place / "moved"
    )
    bench.chosen_cuts.update(CUT)
    with pytest.raises(Interrupted):
        Comparison(load(str(place / "tiny.toml")), place, bench).run([])
    assert list((place / "moved" / "checkpoints").iterdir())
    there = _run(place, "moved", {"cluster": cluster.address, "shared": str(place / "depot")})
    _assert_same(there, here, but=frozenset({"segments"}))
    assert {run.segments for run in there.of_kind(RunRecord)} == {1, 2}  # it went on where it was
    assert not list((place / "moved" / "checkpoints").iterdir())
    assert len(list((place / "depot").glob("*.tar"))) >= 2  # the photos and the parent's model


def test_a_lost_machine_costs_its_unfinished_jobs_alone(cluster, here, place):
    lost, below = cluster.mine.pop()
    told: list[str] = []

    def listen(event: Event) -> None:
        nonlocal lost
        told.extend([event.line] if isinstance(event, Note) else [])
        has_work = bool(list(below.glob("benchgraft/runs/*/*/*seed1*")))
        if isinstance(event, EpochEnded) and has_work and lost is not None:
            gone, lost = lost, None
            cluster.remove_node(gone, allow_graceful=False)

    there = _run(place, "lossy", {"cluster": cluster.address}, listen)
    cluster.mine.append((add_node(cluster, place / "node next"), place / "node next"))
    _assert_same(there, here)
    if lost is None:
        assert any("was lost" in line for line in told)


@pytest.mark.parametrize("is_shared", [pytest.param(False, marks=pytest.mark.long), True])
def test_features_from_a_cluster_are_those_of_this_machine(cluster, tmp_path, tiny, monkeypatch, is_shared):
    photos = write_photos(tmp_path / "photos", {"red": 40, "green": 40})
    (photos / "red" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nno more")
    (photos / "red" / "twice.png").write_bytes((photos / "red" / "0003.png").read_bytes())
    asked: dict[str, Any] = {
        "parent": f"timm/{TINY}",
        "weights": tiny,
        "fit": "crop",
        "threads": 1,
        "overlap": "drop-test",
    }
    here = adapt(
        photos, tmp_path / "here.safetensors", **asked, cache=tmp_path / "a", run_folder=tmp_path / "r"
    )
    monkeypatch.setattr(jobs_features, "PHOTOS", 16)
    # Else each machine sees the photos where they lie.
    monkeypatch.setattr(NodeWorker, "sees", (lambda *_: False) if is_shared else NodeWorker.sees)
    local: list[int] = []
    monkeypatch.setattr(FeatureStream, "_compute", lambda stream: local.append(1))
    on: dict[str, Any] = {"cluster": cluster.address, "cache": tmp_path / "b"}
    if is_shared:  # else each machine has the cache that is named here, which is there on all of them
        on["shared"] = str(tmp_path / "depot")
    lost = None if is_shared else add_node(cluster, tmp_path / "node lost")

    def listen(event: Event) -> None:
        nonlocal lost
        if isinstance(event, TaskAdvanced) and lost is not None:  # its shard is done again elsewhere
            gone, lost = lost, None
            cluster.remove_node(gone, allow_graceful=False)

    on["listen"] = listen
    there = adapt(photos, tmp_path / "there.safetensors", **asked, **on, run_folder=tmp_path / "s")
    assert not local
    cards = [model_file.read(tmp_path / f"{name}.safetensors").card for name in ("here", "there")]
    assert cards[0].model_digest == cards[1].model_digest
    assert cards[1].record is not None
    assert cards[1].record["features_computed"] == 80
    assert min(cards[1].record["seconds"].values()) >= 0
    assert cards[1].record["seconds"]["features"] > 1  # what the user waited for the cluster
    assert all(data.decode_seconds >= 0 for data in Ledger(tmp_path / "s").of_kind(DataRecord))
    assert there.accuracy == here.accuracy
    assert [suspect.key for suspect in there.suspects] == [suspect.key for suspect in here.suspects]


def test_what_a_machine_cannot_do_is_told_with_its_name(cluster, place):
    with pytest.raises(StorageError, match=rf"^on {platform.node()}: cannot use memory://depot") as told:
        # which each process has for itself: nothing of it is on another machine
        _run(place, "nothing shared", {"cluster": cluster.address, "shared": "memory://depot"})
    assert "Traceback" not in str(told.value)
    _run(place, "nothing shared", {"cluster": cluster.address})  # and the same folder goes on


def test_a_machine_with_other_versions_takes_no_part(cluster, place):
    told: list[str] = []
    enough = threading.Event()

    def listen(event: Event) -> None:
        if isinstance(event, Note):
            told.append(event.line)
            if "it has" in event.line:  # a machine that an earlier test has lost may be told too
                enough.set()

    request = ReproduceRequest(cluster=cluster.address, device="cpu", threads=1, listen=listen, cancel=enough)
    bench = bench_for(request, place / "other versions")
    versions = bench.environment.versions | {"torch": "1.0"}
    bench = replace(bench, environment=bench.environment.model_copy(update={"versions": versions}))
    with OnRay(request, bench) as crew, pytest.raises(Interrupted):
        crew.for_each([0], lambda _number, _worker: pytest.fail("it had work"))
    assert any("takes no part: it has torch" in line and "here 1.0" in line for line in told)


def test_where_no_machine_comes_free_the_wait_ends(cluster, place, monkeypatch):
    monkeypatch.setattr(jobs_ray, "PATIENCE_SECONDS", 0.5)
    monkeypatch.setattr(OnRay, "_has_come", lambda *_: False)
    request = ReproduceRequest(cluster=cluster.address, device="cpu", threads=1)
    wanted = rf"no machine of the cluster was free.*{platform.node()}"
    with OnRay(request, bench_for(request, place / "busy")) as crew, pytest.raises(UserError, match=wanted):
        crew.for_each([0], lambda _number, _worker: None)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"shared": "depot"}, "shared needs cluster"),
        ({"cluster": "auto", "profile": True}, "profile and cluster exclude each other"),
    ],
)
def test_options_that_do_not_go_together_are_refused(given, message):
    with pytest.raises(RequestError, match=message):
        compare("photos", **given)


def test_a_cluster_that_is_not_there_is_named(place):
    request = ReproduceRequest(data=place, cluster="auto", device="cpu")
    ray = pytest.importorskip("ray")
    if ray.is_initialized():
        ray.shutdown()
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("RAY_ADDRESS", raising=False)
        patch.setattr(ray, "init", _refused)
        with pytest.raises(UserError, match='no Ray cluster answers to --cluster "auto"'):
            OnRay(request, bench_for(request, place / "nowhere"))


def _refused(*_: object, **__: object) -> None:
    raise ConnectionError("Could not find any running Ray instance.")


@pytest.mark.long
def test_twenty_machines_lost_at_any_moment_cost_no_run_and_double_none(tmp_path_factory, here, place):
    rng = random.Random(7)
    nodes = tmp_path_factory.mktemp("kills")
    with cluster_of(3, nodes) as cluster:
        for kill in range(20):
            alive = list(cluster.worker_nodes)
            timer = threading.Timer(rng.uniform(0, 12), cluster.remove_node, (rng.choice(alive), False))
            timer.start()
            there = _run(place, f"kill {kill}", {"cluster": cluster.address})
            timer.join()
            _assert_same(there, here)
            add_node(cluster, nodes / f"next {kill}")


@pytest.mark.long
@pytest.mark.real
def test_solar_cells_from_two_parents_give_the_same_models_on_three_nodes(tmp_path, solar_cells):
    asked: dict[str, Any] = {
        "parent": ("imagenet", "paper"),
        "runs": 5,
        "minutes": 600.0,
        "threads": 1,
        "fit": "letterbox",
        "overlap": "drop-test",
    }
    compare(solar_cells, **asked, cache=tmp_path / "cache", run_folder=tmp_path / "here")
    with cluster_of(3, tmp_path) as cluster:
        compare(solar_cells, **asked, cache=None, run_folder=tmp_path / "there", cluster=cluster.address)
    ledgers = [Ledger(tmp_path / name) for name in ("there", "here")]
    digests = [
        {(run.arm, run.seed, run.features): run.model_digest for run in ledger.of_kind(RunRecord) if run.arm}
        for ledger in ledgers
    ]
    assert digests[0] == digests[1]
    assert verify(tmp_path / "there").differences == []
