"""The runs behind one `adapt`: the head alone, and more than that where it is planned; which one is kept."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from ..config.experiment import Experiment
from ..errors import RunFolderError
from ..experiment.account import Account
from ..experiment.attempts import RunDivergedError
from ..experiment.bench import Bench
from ..experiment.folder import BATCH_SIZE, HEAD, STAGE
from ..experiment.head import features_before, fitted_start
from ..experiment.inputs import Inputs
from ..experiment.photos import UserPhotos
from ..experiment.run import Run
from ..experiment.stage import StageRun, run_stage
from ..networks.contract import last_linear
from ..runfolder.records import RunRecord, VerdictRecord
from ..training.evaluate import outputs
from ..training.feature_stream import FeatureStream
from ..training.loop import class_weights

FEW = 800
BAR = 1.0
"""Where fewer than FEW photos train, more must be right and the loss fall by so many standard errors: of
clothing with 10 to 50 photos a class, training more than the head lost 2 to 6 points in most trials, and by
this rule is kept in none. Where more train it won 1 to 4 in nearly all trials, and one sign is enough."""


@dataclass(frozen=True, eq=False)
class Made:
    """What was trained."""

    run: StageRun
    """The one that is kept."""
    path: Path
    """Its model file."""
    features: Inputs
    """Of the head alone, where that was trained: the smallest that tell photos apart."""
    records: list[RunRecord]
    """All of them."""
    verdict: VerdictRecord | None = None
    notes: tuple[str, ...] = ()


def train_arms(
    experiment: Experiment,
    photos: UserPhotos,
    bench: Bench,
    account: Account,
    streamed: FeatureStream | None,
) -> Made:
    """Each arm once. Training more than the head is kept where validation photos say that it pays.

    Raises RunFolderError where this folder has a run already, and its repetition gives another model.
    """
    stages = list(experiment.arms.values())
    run, path = _carried_out(experiment, stages[0], photos, bench, account, streamed)
    made = Made(run, path, run.inputs, [run.record])
    if HEAD not in stages:
        return made
    try:
        deeper, deeper_path = _carried_out(experiment, STAGE, photos, bench, account, None)
    except RunDivergedError as error:
        account.ledger.append(error.record)
        return replace(made, notes=(f"the head alone is kept: {error.what}",))
    verdict = _verdict(run.inputs, deeper.inputs, experiment.stages[STAGE].recipe.balance)
    account.tell_once(verdict)
    made = replace(made, verdict=verdict, records=[run.record, deeper.record])
    return replace(made, run=deeper, path=deeper_path) if verdict.kept_deeper else made


def _verdict(head: Inputs, deeper: Inputs, is_balanced: bool) -> VerdictRecord:
    """By the log loss on validation photos, to which either was fitted with one number only: the strength of
    the head's penalty, or the temperature.

    head: with features of all photos; the head that is kept has seen validation photos too, so that one is
    fitted here that has not.
    """
    train, validation = head.rows["train"], head.rows["validation"]
    layer = last_linear(head.module)
    weight, bias = fitted_start(layer, head, BATCH_SIZE, is_balanced)
    alone = features_before(layer, head.module, validation, BATCH_SIZE) @ weight.T.numpy() + bias.numpy()
    weights = class_weights(train.labels) if is_balanced else None
    logits = [torch.from_numpy(alone), outputs(deeper.module, deeper.rows["validation"], BATCH_SIZE)]
    losses = [_losses(each, validation.labels, weights) for each in logits]
    right = [float((each.argmax(1) == validation.labels).double().mean()) for each in logits]
    change = losses[1] - losses[0]
    bar = BAR if len(train) < FEW else 0.0
    error = float(change.std(ddof=1) / len(change) ** 0.5) if len(change) > 1 else None
    is_more_right = right[1] > right[0]
    if bar:
        kept = is_more_right and error is not None and change.mean() < -bar * error
    else:
        kept = is_more_right or change.mean() < 0
    return VerdictRecord(
        kept_deeper=bool(kept),
        head_loss=float(losses[0].mean()),
        deeper_loss=float(losses[1].mean()),
        difference=float(change.mean()),
        standard_error=error,
        bar=bar,
        head_accuracy=right[0],
        deeper_accuracy=right[1],
        photos=len(change),
    )


def _losses(logits: Tensor, labels: Tensor, weights: Tensor | None) -> npt.NDArray[np.float64]:
    """Of each photo, in nats; weights of classes are such that those of all photos have the mean one."""
    found = functional.cross_entropy(logits.double(), labels, reduction="none")
    if weights is not None:
        of_photo = weights.double()[labels]
        found = found * of_photo / of_photo.mean()
    return found.numpy()


def _carried_out(
    experiment: Experiment,
    stage: str,
    photos: UserPhotos,
    bench: Bench,
    account: Account,
    streamed: FeatureStream | None,
) -> tuple[StageRun, Path]:
    """The run and its model file. Where this folder has it already, it is only repeated, and nothing changes.

    Raises RunFolderError if the repetition gives another model.
    """
    run = Run(experiment, stage, experiment.arm_of(stage), experiment.seed, want_warm=True)
    finished = account.finished(stage)
    if finished is None:
        done = run_stage(run, photos.images, photos.seconds, bench, streamed)
        account.ledger.append(done.record)
        return done, bench.folder / done.record.model_file
    with tempfile.TemporaryDirectory() as aside:
        done = run_stage(run, photos.images, photos.seconds, replace(bench, folder=Path(aside)))
    if done.record.model_digest != finished.model_digest:
        raise RunFolderError(
            f"{bench.folder} already holds this run, but now it gives another model: threads or versions "
            "have changed since then",
            "choose another folder with --run-folder",
        )
    return done, bench.folder / finished.model_file
