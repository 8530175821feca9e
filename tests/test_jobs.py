"""Units of work as plain data: what a job gives does not depend on the process that carries it out."""

from __future__ import annotations

import multiprocessing
import pickle
import shutil
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from invented import EXPERIMENT
from photos import write_photos

from benchgraft.errors import Interrupted, RunFolderError
from benchgraft.events import EpochEnded, Event, Events, RunFinished
from benchgraft.experiment.bench import make_bench
from benchgraft.experiment.inputs import Share
from benchgraft.experiment.jobs import FeatureJob, Here, Job
from benchgraft.experiment.load import load
from benchgraft.experiment.rounds import Comparison
from benchgraft.files import lock
from benchgraft.networks import model_file
from benchgraft.runfolder.ledger import Ledger
from benchgraft.runfolder.records import DivergedRecord, RunRecord

pytestmark = pytest.mark.usefixtures("one_thread")

CUT = "max_pooling2d_3"
TIMES = ("seconds", "started", "finished")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("jobs")
    write_photos(place / "photos", {"red": 60, "green": 60})
    (place / "tiny.toml").write_text(EXPERIMENT)
    return place


@pytest.fixture(scope="module")
def planned(place: Path) -> tuple[Ledger, list[bytes]]:
    """An experiment carried out here, and its jobs, pickled before each was carried out."""
    jobs: list[bytes] = []
    carry_out_on = Job.carry_out_on

    def noted(job: Job, *given: Any) -> RunRecord | DivergedRecord:
        jobs.append(pickle.dumps(job))
        return carry_out_on(job, *given)

    bench = make_bench(place / "here", place / "cache here", "cpu")
    bench.chosen_cuts["second"] = CUT  # it is measured, and the machine is shared
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Job, "carry_out_on", noted)
        ledger = Comparison(load(str(place / "tiny.toml")), place, bench).run([])
    return ledger, jobs


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[Executor]:
    """One process that knows nothing of this one."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        yield pool


def _sent(pickled: bytes, folder: Path) -> Job:
    """A job of another run folder, with a cache of its own."""
    job: Job = pickle.loads(pickled)
    return replace(job, site=replace(job.site, folder=folder, cache=folder.with_name(f"{folder.name} cache")))


def _facts(record: RunRecord | DivergedRecord) -> dict[str, Any]:
    return record.model_dump(exclude=set(TIMES))


def test_jobs_sent_to_a_fresh_process_give_the_same_models_and_records(planned, elsewhere, place):
    ledger, jobs = planned
    here = ledger.of_kind(RunRecord)
    assert [(run.stage, run.seed, run.features) for run in here] == [
        ("first", 0, "none"),
        *(("second", 0, "computed"), ("second", 0, "cached"), ("scratch", 0, "none")),
        *(("scratch", 1, "none"), ("second", 1, "computed"), ("second", 1, "cached")),
    ]
    there = place / "there"
    for run, pickled in zip(here, jobs, strict=True):
        record = elsewhere.submit(_sent(pickled, there).carry_out).result()
        assert _facts(record) == _facts(run)
        states = [model_file.read(folder / run.model_file).state for folder in (place / "here", there)]
        assert states[0].keys() == states[1].keys()
        assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


class Stopper:
    """Listens, and wants to stop after so many epochs."""

    def __init__(self, epochs: int) -> None:
        self._left = epochs

    def __call__(self, event: Event) -> None:
        self._left -= isinstance(event, EpochEnded)

    def is_set(self) -> bool:
        return self._left <= 0


def _carry_out_until(job: Job, epochs: int) -> None:
    """In the other process."""
    stopper = Stopper(epochs)
    job.carry_out(Events(stopper, stopper))


def test_a_job_cancelled_elsewhere_leaves_a_checkpoint_and_goes_on_here_to_the_same_model(
    planned, elsewhere, place, tmp_path
):
    ledger, jobs = planned
    job = _sent(jobs[3], tmp_path / "run")
    with pytest.raises(Interrupted):
        elsewhere.submit(_carry_out_until, job, 1).result()
    assert [path.name for path in (tmp_path / "run" / "checkpoints").iterdir()] == [
        "scratch-seed0-cold-pixels-torch.safetensors"
    ]
    heard: list[Event] = []
    record = job.carry_out(Events(heard.append))
    whole = ledger.of_kind(RunRecord)[3]
    assert record.segments == 2
    assert _facts(record) | {"segments": 1} == _facts(whole)
    assert [event.epoch for event in heard if isinstance(event, EpochEnded)] == [2]
    (finished,) = (event for event in heard if isinstance(event, RunFinished))
    assert finished == RunFinished("scratch, seed 0", record.model_dump(mode="json"))
    assert not list((tmp_path / "run" / "checkpoints").iterdir())


def test_a_job_works_on_the_photos_that_it_was_made_for_or_on_none(planned, place, tmp_path):
    job = replace(_sent(planned[1][0], tmp_path / "run"), images_digest="of others")
    with pytest.raises(RunFolderError, match="images of first are not those"):
        job.carry_out()
    assert not (tmp_path / "run").exists()


def test_a_job_starts_from_the_parent_that_it_was_made_for_or_from_none(planned, place, tmp_path):
    first, second = (_sent(pickled, tmp_path / "run") for pickled in planned[1][:2])
    replace(first, run=replace(first.run, seed=7)).carry_out()
    with pytest.raises(RunFolderError, match=r"first\.safetensors is not the model that transfer, seed 0"):
        second.carry_out()


def test_a_job_that_gives_no_model_gives_back_that_outcome(planned, place, tmp_path):
    job = _sent(planned[1][3], tmp_path / "run")
    stages = dict(job.run.experiment.stages)
    recipe = stages["scratch"].recipe.model_copy(update={"learning_rate": 1e30})
    stages["scratch"] = stages["scratch"].model_copy(update={"recipe": recipe})
    experiment = job.run.experiment.model_copy(update={"stages": stages})
    heard: list[Event] = []
    record = replace(job, run=replace(job.run, experiment=experiment)).carry_out(Events(heard.append))
    assert isinstance(record, DivergedRecord)
    assert pickle.loads(pickle.dumps(record)) == record
    (finished,) = (event for event in heard if isinstance(event, RunFinished))
    assert finished.record["kind"] == "diverged"


def test_a_job_leaves_the_lock_of_its_folder_to_whoever_keeps_the_ledger(planned, place, tmp_path):
    with lock(tmp_path / "run"):
        _sent(planned[1][0], tmp_path / "run").carry_out()
    assert not (tmp_path / "run" / "ledger.jsonl").exists()


@pytest.mark.parametrize("of", [2, 3, 5])
def test_shards_of_features_are_together_what_one_pass_computes(of, planned, elsewhere, place, tmp_path):
    """A warm run takes them from the cache, computes none itself, and ends with the same bits."""
    ledger, jobs = planned
    folder = tmp_path / "run"
    _sent(jobs[0], folder).carry_out()  # the parent
    warm = _sent(jobs[2], folder)
    shards = [pickle.loads(pickle.dumps(FeatureJob(warm, Share(CUT, number, of)))) for number in range(of)]
    computed = [elsewhere.submit(shard.carry_out).result() for shard in reversed(shards)]
    whole = ledger.of_kind(RunRecord)
    assert sum(computed) == whole[1].features_computed
    assert min(computed) < max(computed) or of == 2
    record = warm.carry_out()
    assert record.features_computed == 0
    assert _facts(record) == _facts(whole[2]) | {"features": record.features}
    assert elsewhere.submit(shards[0].carry_out).result() == 0  # it is there already


class Forgetful(Here):
    """Loses all features between a cold run and the warm one after it, each time or once."""

    losses = 1

    def carry_out(self, job: Job, *given: Any) -> RunRecord | DivergedRecord:
        if job.run.cold is not None and Forgetful.losses:
            Forgetful.losses -= 1
            shutil.rmtree(job.site.cache / "features")
        return super().carry_out(job, *given)


@pytest.mark.parametrize("losses", [1, 100])
def test_a_warm_run_whose_features_have_gone_is_done_again_and_never_told_as_a_second_cold_one(
    planned, place, tmp_path, losses
):
    Forgetful.losses = losses
    told: list[Event] = []
    bench = replace(make_bench(tmp_path / "run", tmp_path / "cache", "cpu"), events=Events(told.append))
    bench.chosen_cuts["second"] = CUT
    crew = Forgetful(bench)
    there = Comparison(load(str(place / "tiny.toml")), place, bench, crew).run([])
    facts = [_facts(run) for run in there.of_kind(RunRecord)]
    wanted = [_facts(run) for run in planned[0].of_kind(RunRecord)]
    if losses > 1:
        wanted = [run for run in wanted if run["features"] != "cached"]
        assert any("do not stay in the cache" in str(event) for event in told)
    assert facts == wanted
