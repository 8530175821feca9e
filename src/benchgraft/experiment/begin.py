"""What a run of a stage starts from: its parent's model, and the network with what is frozen of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..config.experiment import Experiment
from ..errors import RunFolderError
from ..files import shipped_path
from ..networks import model_file
from ..networks.build import build
from ..networks.contract import Network
from ..networks.freeze import Frozen, match_blocks
from ..networks.model_file import ModelFile
from ..runfolder.ledger import Clock, now
from ..runfolder.profiling import LapClock
from ..store.classes import StageImages
from ..store.split import refuse_overlap
from ..training.batches import resident
from ..training.layer_laps import watch_layers
from ..training.loop import Task
from .bench import Bench
from .images import digests_of, keys_of
from .inputs import Inputs
from .network import asked_network, given_model
from .run import Run


@dataclass(frozen=True, eq=False)
class Begun:
    """A run with what it starts from."""

    run: Run
    images: StageImages
    bench: Bench
    clock: Clock
    started: str
    parent: ModelFile | None
    trained_on: npt.NDArray[np.uint64]
    """Digests of all images that its model will have been trained on."""
    model: Network
    frozen: Frozen

    def task(self, inputs: Inputs) -> Task:
        """What is to be trained."""
        run, rows = self.run, resident(inputs.rows)
        return Task(
            run.title,
            inputs.module,
            self.frozen,
            rows["train"],
            rows["validation"],
            run.settings.recipe,
            run.seed,
            self.bench.workers,
        )


def begin(run: Run, images: StageImages, open_seconds: float, bench: Bench) -> Begun:
    """Raises DataError if a validation or test image was trained on before."""
    clock, started = bench.clock(), now()
    clock.add({"decode": open_seconds})
    parent = parent_file(run, bench)
    trained_on = _trained_on(run, images, parent)
    model = start_network(run, parent, images.class_names).to(bench.device)
    blocks = match_blocks(model.block_names, run.settings.freeze)
    frozen = Frozen(model, blocks, run.settings.frozen_statistics)
    if isinstance(clock, LapClock):
        watch_layers(model, clock)
    return Begun(run, images, bench, clock, started, parent, trained_on, model, frozen)


def parent_file(run: Run, bench: Bench) -> ModelFile | None:
    """The model a run starts from, None for random weights.

    Raises ModelFileError, and RunFolderError if it is not the one that the run must start from.
    """
    if run.settings.parent is None:
        return None
    given = run.experiment.stages[run.settings.parent].model_file
    path = (
        shipped_path(given_model(given, bench.cache))
        if given
        else model_path(run.experiment, run.settings.parent, run.seed, bench)
    )
    file = model_file.read(path)
    if run.parent_digest not in (None, file.card.model_digest):
        raise RunFolderError(
            f"{path} is not the model that {run.title} is to start from",
            "put it back as it was, or start anew in another folder",
        )
    return file


def model_path(experiment: Experiment, stage: str, seed: int, bench: Bench) -> Path:
    """Model file of a stage in a run of this seed; preparation that is done once is named without a seed."""
    if experiment.arm_of(stage) is None:
        seed = experiment.parent_seed(seed)
        return bench.model_path(stage, None if seed == experiment.seed else seed)
    return bench.model_path(stage, seed)


def _trained_on(run: Run, images: StageImages, parent: ModelFile | None) -> npt.NDArray[np.uint64]:
    """Digests of all images that this model will have been trained on. Raises DataError on an overlap."""
    trained_on = digests_of(images, "train")
    if parent is not None:
        trained_on = np.union1d(trained_on, parent.trained_on)
    judged = ("validation", "test")
    if not run.data.may_keep_overlap:
        refuse_overlap(run.stage, digests_of(images, *judged), trained_on, keys_of(images, *judged))
    return trained_on


def start_network(run: Run, parent: ModelFile | None, class_names: list[str]) -> Network:
    """With the parent's weights, else with random ones."""
    stage = run.settings
    spec = asked_network(run.experiment, stage)
    if parent is None:
        assert spec is not None
        return build(spec, len(class_names), run.seed)
    carried = (
        model_file.carried_rows(parent.card.class_names, class_names, stage.rename)
        if stage.carry_over
        else {}
    )
    is_dormant = stage.recipe.optimizer == "logistic"  # nothing but the head trains
    return model_file.start_from(parent, len(class_names), run.seed, spec, carried, is_dormant)
