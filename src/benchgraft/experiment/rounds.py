"""An experiment carried out: preparation once, then every arm, seed by seed, in turn.

What the ledger shows finished is not done again, so that a run folder can be continued after any end; a run
of an arm that gave no model, since each of its attempts diverged, is finished too, and ends no other. Arms
take turns within a round, and the order turns round from round to round: a machine that slows down slows all.
Where stages keep features of their own (`cache = "own"`) the order stays: later ones build on earlier ones.
A crew of several workers does several rounds at once, each round with one worker.
"""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from ..config.experiment import Experiment
from ..errors import ConfigError, DivergedError, FrozenMovedError
from ..files import lock, shipped_path
from ..runfolder.ledger import Ledger, now
from ..runfolder.records import DivergedRecord, ExperimentRecord, RunRecord
from ..store.classes import StageImages
from .account import Account
from .attempts import RunDivergedError
from .bench import OWN_CACHE, Bench
from .images import OpenedData, list_data, open_stage
from .jobs import Crew, Here, Job, Site, Worker
from .network import given_model
from .run import Run
from .thumbnails import keep_thumbnails

LEAST_ROUNDS = 3


class Comparison:
    """One experiment in one run folder."""

    def __init__(
        self, experiment: Experiment, data_root: Path | None, bench: Bench, crew: Crew | None = None
    ) -> None:
        """crew: carries out the jobs; None: they take place here."""
        self._crew = crew or Here(bench)
        self._guard = threading.RLock()
        """Of the account, which a crew's rounds share."""
        self._opened: dict[str, StageImages] = {}
        self._experiment = experiment
        self._data_root = data_root
        self._bench = bench
        self._durations: list[float] = []
        """Of rounds that were carried out now, in seconds."""
        self._given: dict[str, str] = {}
        """Stage whose model came ready -> digest of that."""

    def run(self, command: list[str]) -> Ledger:
        """Everything that the ledger does not show finished yet. Raises UserError subclasses, Interrupted."""
        with lock(self._bench.folder):
            self._begin(command, [*self._experiment.preparation, *self._experiment.arms.values()])
            self._crew.for_each(range(self._experiment.parents), self._prepare_all)
            self._crew.for_each(self._rounds_in_time(), self._round)
            for stage in dict.fromkeys(self._experiment.arms.values()):
                keep_thumbnails(self._bench.folder, self._ledger, stage, self._images)
            shutil.rmtree(self._bench.folder / OWN_CACHE, ignore_errors=True)
        return self._ledger

    def prepare(self, stage: str, command: list[str]) -> Path:
        """Train this stage, and what it builds on, once each; the path of its model file."""
        with lock(self._bench.folder):
            self._begin(command, self._experiment.chain(stage))
            for name in self._experiment.chain(stage):
                self._prepare(name, self._experiment.seed, Here(self._bench))
        given = self._experiment.stages[stage].model_file
        if given:
            return shipped_path(given_model(given, self._bench.cache))
        return self._bench.model_path(stage, None)

    def _begin(self, command: list[str], stages: Iterable[str]) -> None:
        """First line of a new ledger, or a check that the folder holds this very experiment.

        Raises ModelFileError before anything is begun if a model that should be there is not, and DataError
        if a data set is missing or holds no image.
        """
        stages = list(stages)
        for given in (self._experiment.stages[name].model_file for name in stages):
            if given:
                given_model(given, self._bench.cache)
        self._account = Account(self._bench.folder)
        self._ledger = self._account.ledger
        if not self._ledger.of_kind(ExperimentRecord):
            trained = [self._experiment.stages[name] for name in stages]
            for data in dict.fromkeys(stage.data for stage in trained if not stage.model_file):
                list_data(self._experiment.data[data], self._data_root)
        self._account.begin(self._experiment, command)

    def _prepare_all(self, number: int, worker: Worker) -> None:
        for stage in self._experiment.preparation:
            self._prepare(stage, self._experiment.seed + number, worker)

    def _prepare(self, stage: str, seed: int, worker: Worker) -> None:
        given = self._experiment.stages[stage].model_file
        if given:
            if self._experiment.parents > 1:
                raise ConfigError(
                    f"{stage} comes ready ({given}): it cannot be trained {self._experiment.parents} times",
                    "use --parents with an experiment that trains its preparation, such as paper",
                )
            card = self._account.take(given_model(given, self._bench.cache))
            self._given[stage] = card.model_digest
            known = "nothing is known of its making" + (f": {card.origin}" if card.origin else "")
            if card.record:
                known = f"test accuracy {card.record['accuracy']:.2%}"
            self._bench.events.say(f"{stage}: {given}, {known}")
        elif not any((run.stage, run.seed) == (stage, seed) for run in self._ledger.of_kind(RunRecord)):
            self._carry_out(Run(self._experiment, stage, None, seed), worker)

    def _rounds_in_time(self) -> Iterator[int]:
        """Those that may begin now, one after another."""
        experiment = self._experiment
        started = time.monotonic()
        for number in range(experiment.runs):
            longest = max(self._durations, default=0.0)
            is_late = (
                experiment.minutes is not None
                and time.monotonic() - started + longest > experiment.minutes * 60
            )
            if number >= LEAST_ROUNDS and is_late:
                self._bench.events.say(f"{number} rounds fit in {experiment.minutes:g} minutes")
                return
            yield number

    def _round(self, number: int, worker: Worker) -> None:
        """Every arm once, with one seed."""
        begun = time.monotonic()
        arms = list(self._experiment.arms.items())
        is_in_order = any(stage.cache == "own" for stage in self._experiment.stages.values())
        for arm, stage in arms if number % 2 == 0 or is_in_order else reversed(arms):
            self._arm(arm, stage, self._experiment.seed + number, worker)
        self._durations.append(time.monotonic() - begun)

    def _arm(self, arm: str, stage: str, seed: int, worker: Worker) -> None:
        """One run of an arm; with cached features cold and then warm, which must agree bit for bit.

        A run that gave no model is an outcome, as for every run that would build on it.
        """
        if self._gave_no_model(arm, seed):
            return
        parent = self._experiment.stages[stage].parent
        before = self._experiment.arm_of(parent)
        if parent and before:
            self._arm(before, parent, seed, worker)
            if self._gave_no_model(before, seed):
                self._go_without(arm, stage, seed, before)
                return
        done = [
            run
            for run in self._ledger.of_kind(RunRecord)
            if (run.arm, run.stage, run.seed) == (arm, stage, seed)
        ]
        cold = next((run for run in done if run.features != "cached"), None)
        run = Run(self._experiment, stage, arm, seed)
        if cold is None:
            cold = self._carry_out(run, worker)
        if cold is None:
            return
        is_shared = self._experiment.stages[stage].cache == "shared"
        if is_shared and cold.features == "computed" and not any(run.features == "cached" for run in done):
            self._carry_out(replace(run, want_warm=True, cold=cold), worker)

    def _carry_out(self, run: Run, worker: Worker) -> RunRecord | None:
        """One run, its record in the ledger; None if it gave no model.

        A warm run whose features have gone since the cold one computes them, and is no warm run: it is done
        once more, with those. Raises DivergedError where that leaves nothing to build on.
        """
        for _ in range(2):
            images, seconds = self._images(run.stage)
            record = worker.carry_out(self._job(run, images), images, seconds)
            if run.cold is None or record.features != "computed":
                with self._guard:
                    return self._told(run, record)
        self._bench.events.say(f"{run.title}: not run with kept features, which do not stay in the cache")
        return None

    def _told(self, run: Run, record: RunRecord | DivergedRecord) -> RunRecord | None:
        there = record.environment.machine
        where = f" on {there}" if there else ""
        if isinstance(record, DivergedRecord):
            what = RunDivergedError(record).what
            if run.arm is None:
                raise DivergedError(what, *_advice(self._experiment, run.stage))
            if run.cold is not None:
                raise FrozenMovedError(f"{what}, where computed features led to a model")
            self._ledger.append(record)
            self._bench.events.say(f"{what}: no model, {record.total_seconds:.2f} s{where} in vain")
            return None
        self._ledger.append(record)
        how = {"computed": "cold", "cached": "warm", "none": "from pixels"}[record.features]
        self._bench.events.say(
            f"{run.stage if run.arm is None else run.title}: {record.total_seconds:.2f} s{where} {how}, "
            f"{record.epochs} epochs, test accuracy {record.accuracy:.2%}"
        )
        return record

    def _job(self, run: Run, images: StageImages) -> Job:
        """With all that decides on its result."""
        parent = run.settings.parent
        digest = parent and self._digest(parent, run.seed)
        site = Site.of(self._bench, self._data_root)
        return Job(replace(run, parent_digest=digest), site, images.digest, dict(self._bench.chosen_cuts))

    def _digest(self, parent: str, seed: int) -> str | None:
        """Of the model of a parent stage that a run of this seed starts from; None where nobody has told."""
        if self._experiment.arm_of(parent) is None:
            seed = self._experiment.parent_seed(seed)
        runs = [run for run in self._ledger.of_kind(RunRecord) if not run.given]
        made = [run.model_digest for run in runs if (run.stage, run.seed) == (parent, seed)]
        return self._given.get(parent) or next(reversed(made), None)

    def _gave_no_model(self, arm: str, seed: int) -> bool:
        return any((run.arm, run.seed) == (arm, seed) for run in self._ledger.of_kind(DivergedRecord))

    def _go_without(self, arm: str, stage: str, seed: int, before: str) -> None:
        """A run that has no model to start from is no run: the outcome of both arms is that of the first."""
        images, _ = self._images(stage)
        record = DivergedRecord(
            stage=stage,
            arm=arm,
            seed=seed,
            features="none",
            diverged=[],
            seconds={},
            segments=1,
            images_digest=images.digest,
            environment=self._bench.environment,
            started=now(),
            finished=now(),
        )
        with self._guard:
            self._ledger.append(record)
        self._bench.events.say(
            f"{arm}, seed {seed}: not carried out, since {before} of this seed gave no model"
        )

    def _images(self, stage: str) -> tuple[StageImages, float]:
        """The stage's images, and the seconds that opening them took now. Recorded at first use.

        Each run opens them, and pays for it; where runs take place elsewhere, they do so there.
        """
        with self._guard:
            if stage in self._opened:
                return self._opened[stage], 0.0
            images, seconds = self._open(stage)
            if not self._crew.is_here:
                self._opened[stage] = images
            return images, seconds

    def _open(self, stage: str) -> tuple[StageImages, float]:
        opened, images, seconds = open_stage(self._experiment, stage, self._data_root, self._bench)
        if self._account.tell_data(opened):
            self._tell(opened)
        if self._account.tell_images(stage, opened.name, images):
            for line in images.summary() if len(images.class_names) <= 10 else images.notes:
                self._bench.events.say(f"{stage}: {line}")
        return images, seconds

    def _tell(self, opened: OpenedData) -> None:
        store, say = opened.store, self._bench.events.say
        say(f"{opened.name}: {len(store):,} images of {len(store.class_names)} classes")
        for note in (*store.notes, *opened.notes):
            say(f"{opened.name}: {note}")
        left_out = [*store.excluded, *opened.dropped.images]
        for image in left_out[:10]:
            say(f"{opened.name}: left out {image.key}: {image.reason}")
        if len(left_out) > 10:
            say(f"{opened.name}: and {len(left_out) - 10} more, see the ledger")


def _advice(experiment: Experiment, stage: str) -> list[str]:
    """What to do where a preparation stage gave no model: only its recipe can be changed."""
    rate = experiment.stages[stage].recipe.learning_rate
    return [
        f"nothing can be built on it: lower stages.{stage}.recipe.learning_rate ({rate:g}) in the experiment "
        "file, or set a clip there;",
        f'for a shipped experiment in a file of your own that begins with base = "{experiment.name}"; then '
        "run it into another folder",
    ]
