"""One stage of one run: images, parent model, freeze, features or pixels, train, verify, save.

The scratch arm is the same function with no parent and nothing frozen: one code path for both arms is what
makes them fair.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..config.experiment import Experiment, Stage
from ..errors import FrozenMovedError
from ..files import digest_bytes, shipped_path
from ..networks import model_file
from ..networks.build import build
from ..networks.contract import Network
from ..networks.freeze import Frozen, match_blocks
from ..networks.model_file import ModelCard, ModelFile
from ..runfolder.ledger import Clock, DivergedRecord, RunRecord, dump_json, now
from ..runfolder.profiling import LapClock
from ..store.classes import StageImages
from ..store.perceptual import fingerprints
from ..store.split import refuse_overlap
from ..training.checkpoint import Checkpoint
from ..training.evaluate import Evaluation, evaluate
from ..training.layer_laps import watch_layers
from ..training.loop import Trained
from . import attempts
from .attempts import Outcome, RunDivergedError
from .bench import Bench
from .images import digests_of, keys_of
from .inputs import Inputs, prepare_inputs
from .network import asked_network


def parent_file(experiment: Experiment, stage: Stage, seed: int, bench: Bench) -> ModelFile | None:
    """The model a stage starts from, None for random weights. Raises ModelFileError.

    seed: chooses among the models of a parent that is an arm's stage.
    """
    if stage.parent is None:
        return None
    given = experiment.stages[stage.parent].model_file
    return model_file.read(
        shipped_path(given) if given else model_path(experiment, stage.parent, seed, bench)
    )


def model_path(experiment: Experiment, stage: str, seed: int, bench: Bench) -> Path:
    """Model file of a stage in a run of this seed; preparation that is done once is named without a seed."""
    if experiment.arm_of(stage) is None:
        seed = experiment.parent_seed(seed)
        return bench.model_path(stage, None if seed == experiment.seed else seed)
    return bench.model_path(stage, seed)


@dataclass(frozen=True, eq=False)
class StageRun:
    """One run of a stage."""

    record: RunRecord
    inputs: Inputs
    """What the loop was given, still open."""


def run_stage(
    experiment: Experiment,
    name: str,
    arm: str | None,
    seed: int,
    images: StageImages,
    open_seconds: float,
    bench: Bench,
    want_warm: bool = False,
    cold: RunRecord | None = None,
) -> StageRun:
    """Carry out one stage once and write its model file; the record is the caller's to append.

    want_warm: take the features from the cache; else they are computed anew even where they are there.
    open_seconds: what opening and selecting the stored images took; counted as `decode`. cold: the run whose
    model a warm one must give again, before it takes its place.
    Raises DataError if a validation or test image was trained on before, RunDivergedError (a DivergedError)
    if no attempt gave a model, FrozenMovedError if a freeze did not hold.
    """
    stage = experiment.stages[name]
    clock, started = bench.clock(), now()
    clock.add({"decode": open_seconds})
    parent = parent_file(experiment, stage, seed, bench)
    trained_on = _trained_on(name, images, parent, experiment.data[stage.data].may_keep_overlap)
    start = partial(_start, experiment, stage, parent, images.class_names, seed)
    model = start().to(bench.device)
    frozen = Frozen(model, match_blocks(model.block_names, stage.freeze), stage.frozen_statistics)
    if isinstance(clock, LapClock):
        watch_layers(model, clock)
    inputs = prepare_inputs(name, stage, seed, model, frozen, images, bench, clock, want_warm)
    by = (inputs.engine or "torch").replace(" ", "-")
    mode = f"{'warm' if want_warm else 'cold'}-{inputs.cut or 'pixels'}-{by}"
    checkpoint_of = partial(_checkpoint, experiment, name, seed, images, parent, mode, bench)
    outcome = attempts.train(
        f"{arm or name}, seed {seed}",
        stage,
        seed,
        frozen,
        inputs,
        checkpoint_of,
        lambda: model.load_state_dict(start().state_dict()),
        clock,
        bench,
    )
    checkpoint = checkpoint_of(outcome.stage)
    record = _facts(name, arm, seed, images, inputs, outcome, started, bench)
    if outcome.trained is None:
        raise _diverged(experiment, stage, record, clock, checkpoint, bench)
    with clock.phase("evaluate"):
        tested = evaluate(inputs.module, inputs.rows["test"], stage.recipe.batch_size)
    frozen.verify()
    path = model_path(experiment, name, seed, bench)
    record |= _results(outcome.stage, parent, model, frozen, inputs, outcome.trained, tested)
    record["model_file"] = str(path.relative_to(bench.folder))
    if cold is not None and inputs.features == "cached":
        _refuse_another_result(cold, record)

    def finished() -> RunRecord:
        return RunRecord(**record, seconds=clock.seconds(), finished=now())

    with clock.phase("save"):
        card = _card(experiment, images, parent, model, finished())
        model_file.write(
            path, model, card, trained_on, digests_of(images, "test"), _looks_trained_on(images, parent)
        )
    done = finished()
    checkpoint.remove()
    bench.profiler.add(done, clock)
    return StageRun(done, inputs)


def _diverged(
    experiment: Experiment,
    stage: Stage,
    facts: dict[str, Any],
    clock: Clock,
    checkpoint: Checkpoint,
    bench: Bench,
) -> RunDivergedError:
    """A run whose last attempt diverged too. The advice is for a user's own photos, see Comparison."""
    record = DivergedRecord(**facts, seconds=clock.seconds(), finished=now())
    checkpoint.remove()
    bench.profiler.add(record, clock)
    return RunDivergedError(
        record,
        f"look at the photos: benchgraft data check {experiment.data[stage.data].folder}",
        "or give another --seed, whose start and order are others"
        + (", or another model to start from" if stage.parent else ""),
    )


def _card(
    experiment: Experiment, images: StageImages, parent: ModelFile | None, network: Network, record: RunRecord
) -> ModelCard:
    """What the model file says about itself."""
    return ModelCard(
        stage=record.stage,
        class_names=images.class_names,
        network=network.spec,
        fit=images.store.fit,
        white_level=images.store.white_level,
        group_by=experiment.data[experiment.stages[record.stage].data].group_by,
        model_digest=record.model_digest,
        record=record.model_dump(mode="json", exclude={"predicted", "confidence"}),
        ancestors=parent.card.history if parent else [],
        origin=parent.card.origin if parent else None,
    )


def _trained_on(
    name: str, images: StageImages, parent: ModelFile | None, keep_overlap: bool
) -> npt.NDArray[np.uint64]:
    """Digests of all images that this model will have been trained on. Raises DataError on an overlap."""
    trained_on = digests_of(images, "train")
    if parent is not None:
        trained_on = np.union1d(trained_on, parent.trained_on)
    judged = ("validation", "test")
    if not keep_overlap:
        refuse_overlap(name, digests_of(images, *judged), trained_on, keys_of(images, *judged))
    return trained_on


def _looks_trained_on(images: StageImages, parent: ModelFile | None) -> npt.NDArray[np.uint64]:
    """Perceptual hashes of the same images, as kept beside the store: a run does not pay for them."""
    mine = fingerprints(images.store).perceptual[images.rows["train"]]
    return mine if parent is None else np.union1d(mine, parent.trained_on_perceptual)


def _facts(
    name: str,
    arm: str | None,
    seed: int,
    images: StageImages,
    inputs: Inputs,
    outcome: Outcome,
    started: str,
    bench: Bench,
) -> dict[str, Any]:
    """The fields that a RunRecord and a DivergedRecord share, but for those that their end decides."""
    return {
        "stage": name,
        "arm": arm,
        "seed": seed,
        "features": inputs.features,
        "segments": outcome.segments,
        "diverged": outcome.diverged,
        "images_digest": images.digest,
        "environment": bench.environment,
        "started": started,
    }


def _results(
    stage: Stage,
    parent: ModelFile | None,
    model: Network,
    frozen: Frozen,
    inputs: Inputs,
    trained: Trained,
    tested: Evaluation,
) -> dict[str, Any]:
    """The fields of a RunRecord that training and test give."""
    position = trained.position
    return {
        "cut": inputs.cut,
        "engine": inputs.engine,
        "features_computed": inputs.computed,
        "epochs": trained.epochs,
        "steps": position.step,
        "images_seen": position.step * stage.recipe.batch_size,
        "train_images": len(inputs.rows["train"]),
        "trained_parameters": sum(p.numel() for p in model.parameters() if p.requires_grad),
        "loss": position.loss,
        "validation_loss": position.validation_loss,
        "validation_accuracy": position.validation_accuracy,
        "kept_epoch": position.kept_epoch,
        "accuracy": tested.accuracy,
        "predicted": tested.predicted.tolist(),
        "confidence": [round(c, 4) for c in tested.confidence.tolist()],
        "recipe": stage.recipe.model_dump(),
        "model_digest": model_file.state_digest(model),
        "parent_digest": parent.card.model_digest if parent else None,
        "frozen": frozen.tensor_names,
        "frozen_digest": frozen.digest,
    }


def _checkpoint(
    experiment: Experiment,
    name: str,
    seed: int,
    images: StageImages,
    parent: ModelFile | None,
    mode: str,
    bench: Bench,
    tried: Stage,
) -> Checkpoint:
    """Of the attempt that trains the stage like this; all attempts of a run share one file.

    mode: what is trained, who computes what is frozen, and whether the cache was to be used; not whether it
    had the features, which after an interruption it has.
    """
    return Checkpoint(
        bench.folder / "checkpoints" / f"{name}-seed{seed}-{mode}.safetensors",
        _identity(experiment, tried, seed, images, parent, mode, bench),
    )


def _start(
    experiment: Experiment, stage: Stage, parent: ModelFile | None, class_names: list[str], seed: int
) -> Network:
    spec = asked_network(experiment, stage)
    if parent is None:
        assert spec is not None
        return build(spec, len(class_names), seed)
    carried = (
        model_file.carried_rows(parent.card.class_names, class_names, stage.rename)
        if stage.carry_over
        else {}
    )
    return model_file.start_from(parent, len(class_names), seed, spec, carried)


def _identity(
    experiment: Experiment,
    stage: Stage,
    seed: int,
    images: StageImages,
    parent: ModelFile | None,
    mode: str,
    bench: Bench,
) -> str:
    """Digest of everything that the numbers of a run depend on: a checkpoint of another one is not used."""
    spec = asked_network(experiment, stage)
    facts = [
        stage.model_dump(mode="json"),
        spec.model_dump(mode="json") if spec else None,
        seed,
        images.digest,
        parent.card.model_digest if parent else None,
        mode,
        bench.environment.threads,
        bench.environment.device,
        bench.environment.versions,
    ]
    return digest_bytes(dump_json(facts).encode())


def _refuse_another_result(cold: RunRecord, warm: dict[str, Any]) -> None:
    """Raises FrozenMovedError if features from the cache led elsewhere than features computed anew."""
    if any(getattr(cold, name) != warm[name] for name in ("model_digest", "loss", "predicted")):
        raise FrozenMovedError(
            f"stage {cold.stage}, seed {cold.seed}: cached features led to another model than computed ones"
        )
