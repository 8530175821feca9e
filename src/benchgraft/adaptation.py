"""A folder of labelled photos -> a model file, an honest accuracy, and the photos worth a second look.

Training is one stage (`experiment.stage.run_stage`) on a parent model whose prefix is frozen and cached, so
that new photos cost their own features and nothing else. A model can be updated: old photos keep their split,
output rows go by class name, and both models are compared on the photos that the old one was tested on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from .data.classes import ClassRules, StageImages, select
from .data.decode import Fit
from .data.overlap import Policy, TrainedOn, apply_policy, find_overlap, write_pairs
from .data.split import TEST, TRAIN, group_keys
from .errors import DataError, RegressionError, StorageError
from .experiment.bench import Bench, make_bench
from .experiment.config import Damaged, experiment_record, shipped_path
from .experiment.folder import (
    DEFAULT_FREEZE,
    DEFAULT_PARENT,
    PHOTOS,
    STAGE,
    epochs_for,
    folder_experiment,
    photo_words,
    photos_of,
)
from .experiment.images import OpenedData, images_record, open_data
from .experiment.inputs import SPLITS, Inputs
from .experiment.stage import run_stage
from .files import lock, write_whole
from .ledger import ExcludedImage, ExperimentRecord, Ledger, Phase, RunRecord
from .model import model_file
from .model.model_file import ModelFile
from .progress import Progress
from .regression import ClassChange, compare_models
from .report.outcomes import of_one
from .report.part import Part
from .report.profile import leave_profile
from .report.proportions import proportion
from .report.statistics import Estimate, accuracy_by_source
from .suspects import Suspect, find_suspects

FEW_IMAGES = 10
STEPS, UPDATE_STEPS = 400, 150


class ClassResult(Part):
    """One class on test photos that training never saw."""

    name: str
    train_images: int
    test_images: int
    recall: Estimate | None
    """None without test images."""


class Adapted(Part):
    """What `adapt` has done. Accuracies are fractions, times seconds."""

    model: Path
    accuracy: Estimate
    balanced_accuracy: float
    """Mean recall of the classes that have test images."""
    classes: list[ClassResult]
    images: dict[str, int]
    """Split -> photos."""
    excluded: list[ExcludedImage]
    dropped_from_test: list[ExcludedImage]
    decode_seconds: float
    decoded: int
    """Photos read and decoded now; the others were in the store."""
    features_computed: int
    epochs: int
    seconds: dict[Phase, float]
    suspects: list[Suspect]
    notes: list[str]
    changes: list[ClassChange]
    """After an update: each class on the test photos of the old model, and all of them together, first."""


@dataclass(frozen=True)
class _Job:
    """What the user asked for, with defaults filled in."""

    folder: Path
    parent: Path
    freeze: tuple[str, ...]
    update: bool
    rename: dict[str, str]
    seed: int
    fit: Fit
    damaged: Damaged
    group_by: str | None
    overlap: Policy


def adapt(
    folder: Path | str,
    out: Path | str | None = None,
    *,
    parent: Path | str | None = None,
    freeze: Sequence[str] = DEFAULT_FREEZE,
    update: Path | str | None = None,
    rename: Mapping[str, str] | None = None,
    refuse_regression: bool = False,
    fit: Fit = "letterbox",
    damaged: Damaged = "exclude",
    group_by: str | None = None,
    overlap: Policy = "refuse",
    seed: int = 0,
    device: str = "auto",
    threads: int | None = None,
    cache: Path | str | None = None,
    run_folder: Path | str | None = None,
    progress: Progress | None = None,
    say: Callable[[str], None] | None = None,
    profile: bool = False,
) -> Adapted:
    """Train a model for the class folders below `folder` and write it to `out`.

    out: default NAME.safetensors in the present folder, with update the updated file. parent: default the
    shipped stage 2 model. update: a model file that `adapt` wrote for an earlier state of the folder; it is
    the parent then. rename: class name in the old model -> its name now. refuse_regression: keep the old file
    if any class, or all together, got worse beyond noise. fit: how photos that are not square are brought to
    the model's input; an update keeps the rule of its model. damaged: refuse ends the run where photos cannot
    be read, exclude names them. group_by: regular expression searched in photo names; photos for which it
    finds the same stay on one side of the split, and the interval resamples them together. overlap: what
    to do with photos to validate or test on that are, by bytes or pixels, among those trained on, by the
    parent too; photos that only look alike are told. run_folder: account and checkpoints; an interrupted
    run goes on from there. profile: say where the time went, and leave it in the run folder as profile.md.
    Raises UserError subclasses; RegressionError (a UserError) if a regression was refused.
    """
    folder = Path(folder).absolute()
    source = Path(update or parent or shipped_path(DEFAULT_PARENT)).absolute()
    target = Path(out or update or f"{folder.name}.safetensors")
    job = _Job(
        folder,
        source,
        tuple(freeze),
        update is not None,
        dict(rename or {}),
        seed,
        fit,
        damaged,
        group_by,
        overlap,
    )
    work = Path(run_folder or Path("runs") / f"adapt-{folder.name}")
    bench = make_bench(work, cache, device, threads, progress, say, profile=profile)
    with lock(work):
        made = _adapt(job, target, bench, refuse_regression)
    leave_profile(bench.folder, bench.profiler, bench.environment, bench.say)
    return made


def _adapt(job: _Job, target: Path, bench: Bench, refuse_regression: bool) -> Adapted:
    old = model_file.read(job.parent)
    if job.update:
        job = replace(job, fit=old.card.fit, group_by=job.group_by or old.card.group_by)
    started = time.perf_counter()
    photos = photos_of(job.folder, job.fit, job.damaged, job.group_by, job.overlap == "keep")
    opened = open_data(PHOTOS, photos, None, bench.cache, bench.progress)
    bench.profiler.add_decoding(PHOTOS, opened.store.decode_seconds)
    opened, notes = _gated(job, old, opened, bench)
    images = _images(job, opened, notes)
    notes += _class_notes(job, old, images)
    seconds = time.perf_counter() - started - opened.store.decode_seconds
    steps = UPDATE_STEPS if job.update else STEPS
    experiment = folder_experiment(
        photos,
        job.parent,
        job.freeze,
        epochs_for(steps, len(images.rows["train"])),
        seed=job.seed,
        rename=job.rename,
        carry_over=job.update,
    )
    ledger = Ledger(bench.folder)
    if not ledger.of_kind(ExperimentRecord):
        ledger.append(experiment_record(experiment, _command(job, target)))
    ledger.append(opened.record())
    ledger.append(images_record(STAGE, PHOTOS, images))
    done = run_stage(experiment, STAGE, "transfer", job.seed, images, seconds, bench, want_warm=True)
    run = done.record
    notes += of_one(run)
    ledger.append(run)
    made = model_file.read(bench.folder / run.model_file)
    changes = _changes(job, old, run, images, bench)
    worse = [change for change in changes if change.is_worse]
    if worse and refuse_regression:
        raise RegressionError(
            f"{job.parent} is kept: the new model is worse on the photos that the old one was tested on",
            *(change.text() for change in worse),
            f"the new model is at {made.path}; look at the new photos, or update without --refuse-regression",
        )
    try:
        write_whole(target, made.path.read_bytes())
    except StorageError as error:
        raise StorageError(error.what, f"the new model is kept at {made.path}", *error.details) from error
    suspects = _suspects(done.inputs, images)
    return _result(job, target, run, opened, images, suspects, notes, changes)


def _command(job: _Job, target: Path) -> list[str]:
    """The command line that does this, for the account."""
    words = ["benchgraft", "adapt", str(job.folder), "--out", str(target), "--seed", str(job.seed)]
    words += ["--update" if job.update else "--parent", str(job.parent)]
    words += photo_words(job.fit, job.damaged, job.group_by, job.overlap, job.freeze)
    return words + [word for names in job.rename.items() for word in ("--rename", "=".join(names))]


def _gated(job: _Job, old: ModelFile, opened: OpenedData, bench: Bench) -> tuple[OpenedData, list[str]]:
    """The photos with their final sides, and what a user must know of them.

    Raises DataError if a photo to judge by was trained on and that is to be refused.
    """
    store, sides, prints = opened.store, opened.sides.copy(), opened.prints
    parent = TrainedOn(str(job.parent), old.trained_on, old.trained_on_perceptual)
    if job.update:  # what the old model learned stays learned, what it was tested on stays a test
        sides[np.isin(store.digests, old.trained_on)] = TRAIN
        sides[np.isin(store.digests, old.tested_on)] = TEST
        here = prints.perceptual[sides == TRAIN]  # compared as photos, by name
        looks = np.setdiff1d(old.trained_on_perceptual, here)
        parent = replace(parent, content=np.empty(0, np.uint64), perceptual=looks)
    notes = list(store.notes)
    for label, name in enumerate(store.class_names):
        mine = store.labels == label
        count = int(mine.sum())
        if count and not (mine & (sides == TRAIN)).any():
            sides[mine] = TRAIN
        if not (mine & (sides == TEST)).any():
            notes.append(
                f'class "{name}" has no test photo ({count:,} in all): it cannot be evaluated; add photos'
            )
        elif count < FEW_IMAGES:
            notes.append(f'class "{name}" has only {count:,} photos: add more before you trust its figures')
    found = find_overlap(store, sides, prints, [parent])
    if found.pairs:
        place = bench.folder / "overlap.csv"
        write_pairs(place, found)
        notes += [*found.lines(), f"all pairs of photos that are equal or look alike: {place}"]
    return replace(opened, dropped=apply_policy(found, sides, job.overlap)), notes


def _images(job: _Job, opened: OpenedData, notes: list[str]) -> StageImages:
    """The photos by split; adds to the notes. Raises DataError if they are too few."""
    store = opened.store
    images = select(store, opened.dropped.sides, ClassRules(), need_every_split=False)
    for split in ("validation", "test"):
        if not len(images.rows[split]):
            raise DataError(
                f"{job.folder}: {len(store):,} photos are too few to set any aside for {split}",
                "add photos; thirty a class give a first answer",
            )
    most, least = (f(np.bincount(images.labels["train"])) for f in (np.max, np.min))
    if most >= 3 * least:
        notes.append(
            f"classes are uneven ({most:,} to {least:,} training photos): each image is weighted by the "
            "inverse of its class's share; look at the mean over classes"
        )
    return images


def _class_notes(job: _Job, old: ModelFile, images: StageImages) -> list[str]:
    """Which classes an update adds and drops: of a renamed folder all that was learned would be lost."""
    if not job.update:
        return []
    before = [job.rename.get(name, name) for name in old.card.class_names]
    here = images.class_names
    found = {
        "new classes": [name for name in here if name not in before],
        "dropped classes, without a folder now": [name for name in before if name not in here],
    }
    return [
        f"{what}: {', '.join(names)} (a folder that was only renamed: --rename OLD=NEW)"
        for what, names in found.items()
        if names
    ]


def _changes(
    job: _Job, old: ModelFile, run: RunRecord, images: StageImages, bench: Bench
) -> list[ClassChange]:
    """Old against new model after an update."""
    if not job.update:
        return []
    return compare_models(old, np.asarray(run.predicted), images, job.rename, bench.device)


def _suspects(inputs: Inputs, images: StageImages) -> list[Suspect]:
    """Of all photos in all splits, by the features that training used; none where nothing was cached."""
    if inputs.cut is None:
        return []
    train = inputs.rows["train"]
    features, views = train.array.numpy(), len(train.index)
    if views > 1:  # the photos themselves, not their other views
        features = np.concatenate([features[: len(train)], features[views * len(train) :]])
    labels = np.concatenate([images.labels[split] for split in SPLITS])
    keys = [images.store.keys[row] for split in SPLITS for row in images.rows[split].tolist()]
    return find_suspects(features, labels, keys, images.class_names)


def _result(
    job: _Job,
    target: Path,
    run: RunRecord,
    opened: OpenedData,
    images: StageImages,
    suspects: list[Suspect],
    notes: list[str],
    changes: list[ClassChange],
) -> Adapted:
    labels = images.labels["test"]
    right = np.asarray(run.predicted) == labels
    trained = np.bincount(images.labels["train"], minlength=len(images.class_names))
    classes = [
        ClassResult(
            name=name,
            train_images=int(trained[label]),
            test_images=int((labels == label).sum()),
            recall=_proportion(right[labels == label]),
        )
        for label, name in enumerate(images.class_names)
    ]
    recalls = [each.recall.value for each in classes if each.recall is not None]
    return Adapted(
        model=target,
        accuracy=_accuracy(right, images, job.group_by),
        balanced_accuracy=float(np.mean(recalls)),
        classes=classes,
        images={split: len(images.rows[split]) for split in SPLITS},
        excluded=opened.store.excluded,
        dropped_from_test=opened.dropped.images,
        decode_seconds=opened.store.decode_seconds,
        decoded=opened.store.decoded,
        features_computed=run.features_computed,
        epochs=run.epochs,
        seconds=dict(run.seconds),
        suspects=suspects,
        notes=notes,
        changes=changes,
    )


def _accuracy(right: npt.NDArray[np.bool_], images: StageImages, group_by: str | None) -> Estimate:
    """Of the test photos; with groups the interval resamples these, as their photos are not independent."""
    if group_by is None:
        return proportion(int(right.sum()), len(right))
    groups = group_keys(images.keys, group_by, images.store.digests[images.rows["test"]])
    return accuracy_by_source(right.astype(np.float64), [str(group) for group in groups.tolist()])


def _proportion(right: npt.NDArray[np.bool_]) -> Estimate | None:
    return proportion(int(right.sum()), len(right)) if len(right) else None
