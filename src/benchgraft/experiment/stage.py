"""One stage of one run: images, parent model, freeze, features or pixels, train, verify, save.

The scratch arm is the same function with no parent and nothing frozen: one code path for both arms is what
makes them fair.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from ..config.experiment import Stage
from ..engines.device import same_each_time
from ..errors import FrozenMovedError
from ..events import RunFinished
from ..files import digest_bytes
from ..networks import model_file
from ..networks.cost import costs_of, with_head
from ..networks.model_file import ModelCard, ModelFile
from ..runfolder.ledger import dump_json, now
from ..runfolder.records import BlockRecord, DivergedRecord, RunRecord
from ..store.classes import StageImages
from ..store.perceptual import fingerprints
from ..training.checkpoint import Checkpoint, Identity
from ..training.evaluate import Evaluation, evaluate, outputs
from ..training.feature_stream import FeatureStream
from ..training.logistic import Validated
from ..training.loop import Trained
from . import attempts
from .attempts import Outcome, RunDivergedError
from .begin import Begun, begin, model_path, start_network
from .bench import Bench
from .following import followed
from .head import begin_solved, calibrate, solve_head
from .images import digests_of
from .inputs import Inputs, Share, compute_share, prepare_inputs
from .network import asked_network
from .run import Run

GROWN = 1.1
"""So much larger or smaller a set of photos may have become for the penalty of a head to hold on."""


@dataclass(frozen=True, eq=False)
class StageRun:
    """One run of a stage."""

    record: RunRecord
    inputs: Inputs
    """What the loop was given, still open."""
    unseen: Validated | None
    """Of a head that was solved: answers for the photos to validate on, before it took them in."""

    def validated(self) -> Validated:
        """Answers for the photos to validate on, of a model that had not seen them."""
        if self.unseen is not None:
            return self.unseen
        rows = self.inputs.rows["validation"]
        best = outputs(self.inputs.module, rows, self.record.recipe["batch_size"]).double().softmax(1).max(1)
        right = best.indices == rows.labels.to(best.indices.device)
        return Validated(best.values.float().cpu().numpy(), right.cpu().numpy())


def run_stage(
    run: Run,
    images: StageImages,
    open_seconds: float,
    bench: Bench,
    streamed: FeatureStream | None = None,
) -> StageRun:
    """Carry out one stage once and write its model file; the record is the caller's to append.

    open_seconds: what opening and selecting the stored images took; counted as `decode`. streamed: what
    computed features for this run while the photos were decoded.
    Raises DataError if a validation or test image was trained on before, RunDivergedError (a DivergedError)
    if no attempt gave a model, FrozenMovedError if a freeze did not hold, Interrupted.
    """
    bench.events.stop_if_cancelled()
    with same_each_time(bench.device):
        return _carried_out(begin(run, images, open_seconds, bench), streamed)


def _carried_out(begun: Begun, streamed: FeatureStream | None) -> StageRun:
    run, images, bench = begun.run, begun.images, begun.bench
    model, clock = begun.model, begun.clock
    inputs = prepare_inputs(run, model, begun.frozen, images, bench, clock)
    if streamed is not None and streamed.computed:
        clock.add({"features": streamed.seconds + streamed.seconds_elsewhere})
        inputs = replace(inputs, features="computed", computed=inputs.computed + streamed.computed)
    by = (inputs.engine or "torch").replace(" ", "-")
    mode = f"{'warm' if run.want_warm else 'cold'}-{inputs.cut or 'pixels'}-{by}"
    checkpoint_of = partial(_checkpoint, begun, mode)
    rows, recipe = inputs.rows, run.settings.recipe
    if recipe.optimizer == "logistic":
        solved = solve_head(inputs, recipe.balance, clock, _strength_before(begun))
        outcome = Outcome(solved, run.settings, [], segments=1)
    else:

        def begin_anew() -> None:
            model.load_state_dict(start_network(run, begun.parent, images.class_names).state_dict())
            if recipe.head_start == "solved":
                begin_solved(inputs, recipe.batch_size, recipe.balance, clock)

        task = begun.task(inputs)
        with followed(begun, inputs):
            outcome = attempts.train(run, task, checkpoint_of, begin_anew, clock, bench.events)
    facts = _facts(begun, inputs, outcome)
    if outcome.trained is None:
        checkpoint_of(outcome.stage).remove()
        raise _diverged(begun, facts)
    calibration = calibrate(inputs, recipe.batch_size, recipe.balance, clock) if recipe.calibrate else None
    with clock.phase("evaluate"):
        tested = evaluate(inputs.module, rows["test"], recipe.batch_size)
    begun.frozen.verify()
    facts |= _results(begun, inputs, outcome.trained, tested) | {"recipe": outcome.stage.recipe.model_dump()}
    if calibration is not None:
        facts |= {"temperature": calibration.temperature, "calibrated_loss": calibration.loss}
    done = _written(begun, facts)
    checkpoint_of(outcome.stage).remove()
    _finish(begun, done)
    return StageRun(done, inputs, outcome.trained.validated)


def _strength_before(begun: Begun) -> float | None:
    """Of the penalty of the head that an update starts from; None where its photos or classes are others."""
    parent, images = begun.parent, begun.images
    if parent is None or not begun.run.settings.carry_over or not parent.card.record:
        return None
    has_all = sorted(parent.card.class_names) == sorted(images.class_names)
    # A fit that took it over tried no other: by it grown photos would keep the penalty of few for ever.
    tried = [facts for facts in parent.card.history if len(facts.get("validation_loss", ())) > 1]
    chosen = tried[-1] if tried else {}
    before = chosen.get("train_images", 0)
    found: float | None = parent.card.record.get("penalty")
    if not has_all or chosen.get("penalty") != found:
        return None
    return found if before / GROWN <= len(images.rows["train"]) <= GROWN * before else None


def compute_features(run: Run, images: StageImages, bench: Bench, share: Share) -> int:
    """Part of the features that a warm run of the stage will take from the cache; how many were computed."""
    begun = begin(run, images, 0.0, bench)
    return compute_share(run, begun.model, begun.frozen, images, bench, share)


def _written(begun: Begun, facts: dict[str, Any]) -> RunRecord:
    """The record of a run whose model file is written by this."""
    run, bench, clock = begun.run, begun.bench, begun.clock
    path = model_path(run.experiment, run.stage, run.seed, bench)
    facts["model_file"] = str(path.relative_to(bench.folder))
    if run.cold is not None and facts["features"] == "cached":
        _hold_to(run.cold, facts, bench)

    def record() -> RunRecord:
        return RunRecord(**facts, seconds=clock.seconds(), finished=now())

    with clock.phase("save"):
        model_file.write(
            path,
            begun.model,
            _card(begun, record()),
            begun.trained_on,
            digests_of(begun.images, "test"),
            _looks_trained_on(begun.images, begun.parent),
        )
    return record()


def _diverged(begun: Begun, facts: dict[str, Any]) -> RunDivergedError:
    """A run whose last attempt diverged too. The advice is for a user's own photos, see Comparison."""
    record = DivergedRecord(**facts, seconds=begun.clock.seconds(), finished=now())
    _finish(begun, record)
    return RunDivergedError(
        record,
        f"look at the photos: benchgraft data check {begun.run.data.folder}",
        "or give another --seed, whose start and order are others"
        + (", or another model to start from" if begun.run.settings.parent else ""),
    )


def _finish(begun: Begun, record: RunRecord | DivergedRecord) -> None:
    """Tell that a run has ended."""
    begun.bench.profiler.add(record, begun.clock)
    begun.bench.events.tell(RunFinished(begun.run.title, record.model_dump(mode="json")))


def _card(begun: Begun, record: RunRecord) -> ModelCard:
    """What the model file says about itself."""
    store, parent = begun.images.store, begun.parent
    return ModelCard(
        stage=record.stage,
        class_names=begun.images.class_names,
        network=begun.model.spec,
        fit=store.frame.fit,
        white_level=store.white_level,
        group_by=begun.run.data.group_by,
        model_digest=record.model_digest,
        record=record.model_dump(mode="json", exclude={"predicted", "confidence"}),
        ancestors=parent.card.history if parent else [],
        origin=parent.card.origin if parent else None,
    )


def _looks_trained_on(images: StageImages, parent: ModelFile | None) -> npt.NDArray[np.uint64]:
    """Perceptual hashes of the same images, as kept beside the store: a run does not pay for them."""
    mine = fingerprints(images.store).perceptual[images.rows["train"]]
    return mine if parent is None else np.union1d(mine, parent.trained_on_perceptual)


def _facts(begun: Begun, inputs: Inputs, outcome: Outcome) -> dict[str, Any]:
    """The fields that a RunRecord and a DivergedRecord share, but for those that their end decides."""
    return {
        "stage": begun.run.stage,
        "arm": begun.run.arm,
        "seed": begun.run.seed,
        "features": inputs.features,
        "segments": outcome.segments,
        "diverged": outcome.diverged,
        "images_digest": begun.images.digest,
        "environment": begun.bench.environment,
        "started": begun.started,
    }


def _results(begun: Begun, inputs: Inputs, trained: Trained, tested: Evaluation) -> dict[str, Any]:
    """The fields of a RunRecord that training and test give."""
    position, model, frozen = trained.position, begun.model, begun.frozen
    return {
        "cut": inputs.cut,
        "engine": inputs.engine,
        "features_computed": inputs.computed,
        "epochs": trained.epochs,
        "steps": position.step,
        "images_seen": position.step * _images_a_step(begun, inputs),
        "train_images": len(inputs.rows["train"]),
        "trained_parameters": sum(p.numel() for p in model.parameters() if p.requires_grad),
        "loss": position.loss,
        "validation_loss": position.validation_loss,
        "validation_accuracy": position.validation_accuracy,
        "kept_epoch": position.kept_epoch,
        "penalty": trained.penalty,
        "accuracy": tested.accuracy,
        "predicted": tested.predicted.tolist(),
        "confidence": [round(c, 4) for c in tested.confidence.tolist()],
        "model_digest": model_file.state_digest(model),
        "parent_digest": begun.parent.card.model_digest if begun.parent else None,
        "frozen": frozen.tensor_names,
        "frozen_digest": frozen.digest,
        "network": model.spec.name,
        "blocks": _blocks(begun),
    }


def _blocks(begun: Begun) -> list[BlockRecord]:
    """As the parent's file says them, but for the head; else by a pass through the network."""
    model, parent = begun.model, begun.parent
    if parent is not None and model.spec == parent.card.network and parent.card.blocks:
        return with_head(parent.card.blocks, model.class_count)
    return costs_of(model.spec.model_dump_json(), model.class_count)


def _images_a_step(begun: Begun, inputs: Inputs) -> int:
    """A solver looks at all of them."""
    recipe = begun.run.settings.recipe
    return len(inputs.rows["train"]) if recipe.optimizer == "logistic" else recipe.batch_size


def _checkpoint(begun: Begun, mode: str, tried: Stage) -> Checkpoint:
    """Of the attempt that trains the stage like this; all attempts of a run share one file.

    mode: what is trained, who computes what is frozen, and whether the cache was to be used; not whether it
    had the features, which after an interruption it has.
    """
    run = begun.run
    path = begun.bench.folder / "checkpoints" / f"{run.stage}-seed{run.seed}-{mode}.safetensors"
    return Checkpoint(path, _identity(begun, mode, tried))


def _identity(begun: Begun, mode: str, tried: Stage) -> Identity:
    """Of everything that the numbers of a run depend on."""
    spec = asked_network(begun.run.experiment, tried)
    environment = begun.bench.environment
    facts: list[Any] = [
        tried.model_dump(mode="json"),
        spec.model_dump(mode="json") if spec else None,
        begun.run.seed,
        begun.images.digest,
        begun.parent.card.model_digest if begun.parent else None,
        mode,
    ]
    kind = environment.device.partition(":")[0]
    exact, rounded = (
        digest_bytes(dump_json([*facts, *rest, environment.versions]).encode())
        for rest in ([environment.threads, environment.device], [kind])
    )
    return Identity(exact, rounded, environment.workers)


def _hold_to(cold: RunRecord, warm: dict[str, Any], bench: Bench) -> None:
    """Features from the cache must lead where those computed anew led: on one kind of CPU to the same bits.

    On an accelerator, whose sums may change their order, or on another kind of CPU, as a cluster may have, a
    note says how far apart the two are.
    Raises FrozenMovedError.
    """
    if all(getattr(cold, name) == warm[name] for name in ("model_digest", "loss", "predicted")):
        return
    what = f"stage {cold.stage}, seed {cold.seed}: cached features led to another model than computed ones"
    here, there = bench.environment, cold.environment
    if bench.device.type == "cpu" and (here.cpu, here.threads) == (there.cpu, there.threads):
        raise FrozenMovedError(what)
    others = sum(one != other for one, other in zip(cold.predicted, warm["predicted"], strict=True))
    losses = zip(cold.loss, warm["loss"], strict=False)
    apart = max((abs(one - other) for one, other in losses), default=0.0)
    bench.events.say(
        f"note: {what}: {others:,} of {len(cold.predicted):,} answers differ, losses by up to {apart:.1e}"
    )
