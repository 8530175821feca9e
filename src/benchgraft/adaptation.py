"""A folder of labelled photos -> a model file, an honest accuracy, and the photos worth a second look.

Training is one stage (`experiment.stage.run_stage`) on a parent model whose prefix is frozen and cached, so
that new photos cost their own features and nothing else. A model can be updated: old photos keep their split,
output rows go by class name, and both models are compared on the photos that the old one was tested on.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from .data.classes import StageImages
from .data.decode import Fit
from .data.names import resolve_renames
from .data.overlap import Policy, find_overlap, write_pairs
from .data.split import group_keys
from .data.store import Damaged
from .errors import DataError, ModelFileError, RegressionError, RequestError, RunFolderError, StorageError
from .experiment.account import Account, choose_place, is_this_run
from .experiment.bench import Bench, bench_for
from .experiment.config import DataConfig, Experiment
from .experiment.folder import (
    DEFAULT_FREEZE,
    DEFAULT_PARENT,
    PHOTOS,
    STAGE,
    UserPhotos,
    epochs_for,
    folder_experiment,
    gated,
    learned_by,
    opened_photos,
    photo_words,
    photos_of,
)
from .experiment.images import OpenedData
from .experiment.inputs import SPLITS
from .experiment.stage import StageRun, run_stage
from .files import check_target, lock, name_of, shipped_path, write_kept
from .ledger import RunRecord
from .model import model_file
from .model.freeze import match_layers
from .model.model_file import ModelFile
from .model.paper_cnn import PaperCNN
from .progress import Progress
from .regression import compare_models
from .report.answers import Adapted, ClassChange, ClassResult, Suspect
from .report.profile import leave_profile
from .report.words import retried
from .requests import AdaptRequest, checked
from .runfolder.seal import seal
from .statistics.estimates import Estimate
from .statistics.proportions import proportion
from .statistics.sources import accuracy_by_source
from .suspects import suspects_of

STEPS, UPDATE_STEPS = 400, 150
OVERLAP = "overlap.csv"
SAME_PHOTOS = 0.5
"""A model is one of a folder's photos if so many of those that it was tested on are there."""


@dataclass(frozen=True, eq=False)
class _Job:
    """What the user asked for, with defaults filled in."""

    request: AdaptRequest
    parent: str
    """A path, or the name of one that comes along."""
    old: ModelFile
    """The parent, read."""
    target: Path
    rename: dict[str, str]
    """Name of a class in the old model -> its name now."""
    default_place: Path
    """The run folder where none is named and no other run has it."""

    @property
    def is_update(self) -> bool:
        """Whether the parent is an earlier state of the model."""
        return self.request.update is not None

    @property
    def freeze(self) -> tuple[str, ...]:
        """Patterns of layers."""
        return self.request.freeze or DEFAULT_FREEZE


def adapt(
    folder: Path | str,
    out: Path | str | None = None,
    *,
    parent: Path | str | None = None,
    freeze: Sequence[str] | str | None = None,
    update: Path | str | None = None,
    rename: Mapping[str, str] | Sequence[str] | None = None,
    refuse_regression: bool = False,
    fit: Fit | None = None,
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

    out: default NAME.safetensors in the present folder, with update the updated file. A file that is there is
    kept as NAME.previous.safetensors; a model of other photos is never replaced but where `out` names it.
    parent: default the shipped stage 2 model. freeze: patterns of its layers, default all but the dense ones.
    update: a model file that `adapt` wrote for an earlier state of the folder; it is the parent then. rename:
    class name in the old model -> its name now. refuse_regression: keep the old file if any class, or all
    together, got worse beyond noise. fit: how photos that are not square are brought to the model's input,
    default letterbox; an update keeps the rule of its model. damaged: refuse ends the run where photos cannot
    be read, exclude names them. group_by: regular expression searched in photo names; photos for which it
    finds the same stay on one side of the split, and the interval resamples them together. overlap: what
    to do with photos to validate or test on that are, by bytes or pixels, among those trained on, by the
    parent too; photos that only look alike are told, and left out by "drop-near". run_folder: account and
    checkpoints of this one run, default runs/adapt-NAME, or with a number behind it where another run
    has that; an interrupted run goes on there. profile: say where the time went, and leave it in the
    run folder as profile.md.
    Raises UserError subclasses: RequestError for values that cannot be; RegressionError if one was refused.
    """
    request = checked(
        AdaptRequest,
        folder=folder,
        out=out,
        parent=parent,
        freeze=freeze,
        update=update,
        rename=rename or (),
        refuse_regression=refuse_regression,
        fit=fit,
        damaged=damaged,
        group_by=group_by,
        overlap=overlap,
        seed=seed,
        device=device,
        threads=threads,
        cache=cache,
        run_folder=run_folder,
        progress=progress,
        say=say,
        profile=profile,
    )
    job = _job(request)
    # Where the run takes place is known when its photos are: the same command may go on with another's.
    bench = bench_for(request, Path())
    config = photos_of(request, job.old.card.fit if job.is_update else fit or "letterbox", _groups(job))
    started = time.perf_counter()
    opened = opened_photos(config, bench, job.old if job.is_update else None)
    _refuse_to_replace(job, opened.store.digests)
    photos = _gated(job, config, opened)
    seconds = time.perf_counter() - started - opened.store.decode_seconds
    experiment = _experiment(job, photos)
    bench = replace(
        bench,
        folder=choose_place(
            request.run_folder,
            job.default_place,
            lambda place: is_this_run(place, experiment, STAGE, photos.images, job.old.card.model_digest),
        ),
    )
    if bench.folder not in (job.default_place, request.run_folder):
        bench.say(f"{job.default_place} holds another run; the account of this one: {bench.folder}")
    with lock(bench.folder):
        made = _adapt(job, photos, experiment, bench, seconds)
    leave_profile(bench.folder, bench.profiler, bench.environment, bench.say)
    return made


def _job(request: AdaptRequest) -> _Job:
    """Raises ModelFileError for a parent that cannot be used, RequestError for what does not fit to it."""
    given = request.update or request.parent
    parent = str(given.absolute()) if given else DEFAULT_PARENT
    old = model_file.read(shipped_path(parent))
    if request.update and request.fit not in (None, old.card.fit):
        raise RequestError(
            f'fit is "{request.fit}", but {request.update} was trained with "{old.card.fit}"',
            "leave it out, or adapt anew without update",
        )
    match_layers(PaperCNN(2).layer_names, request.freeze or DEFAULT_FREEZE, "freeze")
    target = request.out or request.update or Path(f"{name_of(request.folder)}.safetensors")
    check_target(target)
    default = Path("runs") / f"adapt-{name_of(request.folder)}"
    check_target(request.run_folder or default, is_folder=True, option="--run-folder")
    return _Job(request, parent, old, target, resolve_renames(request.rename, old.card.class_names), default)


def _groups(job: _Job) -> str | None:
    return job.request.group_by or (job.old.card.group_by if job.is_update else None)


def _refuse_to_replace(job: _Job, digests: npt.NDArray[np.uint64]) -> None:
    """Raises StorageError where the default name is that of a file which is no model of these photos."""
    if job.request.out or job.is_update or not job.target.exists():
        return
    try:
        tested_on = model_file.read(job.target).tested_on
    except ModelFileError:
        tested_on = np.empty(0, np.uint64)
    if not np.isin(tested_on, digests).mean() >= SAME_PHOTOS if len(tested_on) else True:
        raise StorageError(
            f"{job.target} is there already, and is no model of the photos in {job.request.folder}",
            "name another file with --out, or move that one away",
        )


def _gated(job: _Job, config: DataConfig, opened: OpenedData) -> UserPhotos:
    """The photos after the leak gate; the pairs that it found are left in the run folder if it refuses."""
    learned = learned_by(job.parent, job.old, opened, job.is_update)
    overlap = find_overlap(opened.store, opened.sides, opened.prints, [learned])
    try:
        photos = gated(config, opened, overlap, job.request.overlap)
    except DataError:
        if overlap.pairs:
            place = choose_place(job.request.run_folder, job.default_place, lambda _: False)
            with lock(place):
                write_pairs(place / OVERLAP, overlap)
        raise
    return replace(photos, notes=[*opened.store.notes, *photos.notes, *_class_changes(job, photos.images)])


def _experiment(job: _Job, photos: UserPhotos) -> Experiment:
    steps = UPDATE_STEPS if job.is_update else STEPS
    return folder_experiment(
        photos.config,
        job.parent,
        job.freeze,
        epochs_for(steps, len(photos.images.rows["train"])),
        seed=job.request.seed,
        rename=job.rename,
        carry_over=job.is_update,
    )


def _adapt(job: _Job, photos: UserPhotos, experiment: Experiment, bench: Bench, seconds: float) -> Adapted:
    images = photos.images
    account = Account(bench.folder)
    account.begin(experiment, _command(job, photos))
    account.take(job.parent)
    account.tell_data(photos.opened)
    account.tell_images(STAGE, PHOTOS, images)
    notes = list(photos.notes)
    if photos.overlap.pairs:
        write_pairs(bench.folder / OVERLAP, photos.overlap)
        notes.append(f"all pairs of photos that are equal or look alike: {bench.folder / OVERLAP}")
    done, path = _trained(experiment, images, seconds, bench, account)
    run = done.record
    notes += retried(run)
    made = model_file.read(path)
    changes = _changes(job, run, images, bench)
    _refuse_regression(job, changes, made.path, bench)
    try:
        kept = write_kept(job.target, made.path.read_bytes())
    except StorageError as error:
        raise StorageError(error.what, f"the new model is kept at {made.path}", *error.details) from error
    seal(bench.folder)
    if kept is not None:
        notes.append(f"the file that {job.target} was before is kept as {kept}")
    suspects = suspects_of(done.inputs, images)
    if suspects.why_none:
        notes.append(f"no list of labels to check: {suspects.why_none}")
    return _result(job, run, photos, suspects.found, notes, changes)


def _trained(
    experiment: Experiment, images: StageImages, seconds: float, bench: Bench, account: Account
) -> tuple[StageRun, Path]:
    """The run and its model file. Where this folder has it already, it is only repeated, and nothing changes.

    Raises RunFolderError if the repetition gives another model.
    """
    train = partial(
        run_stage, experiment, STAGE, "transfer", experiment.seed, images, seconds, want_warm=True
    )
    finished = account.finished(STAGE)
    if finished is None:
        done = train(bench=bench)
        account.ledger.append(done.record)
        return done, bench.folder / done.record.model_file
    with tempfile.TemporaryDirectory() as aside:
        done = train(bench=replace(bench, folder=Path(aside)))
    if done.record.model_digest != finished.model_digest:
        raise RunFolderError(
            f"{bench.folder} holds this run already, and now it gives another model: with other threads or "
            "versions than then",
            "choose another folder with --run-folder",
        )
    return done, bench.folder / finished.model_file


def _command(job: _Job, photos: UserPhotos) -> list[str]:
    """The command line that does this, for the account."""
    request = job.request
    words = ["benchgraft", "adapt", str(request.folder.absolute()), "--out", str(job.target)]
    words += ["--seed", str(request.seed), "--update" if job.is_update else "--parent", job.parent]
    words += photo_words(photos.config, request.overlap, job.freeze)
    return words + [word for names in job.rename.items() for word in ("--rename", "=".join(names))]


def _class_changes(job: _Job, images: StageImages) -> list[str]:
    """Which classes an update adds and drops: of a renamed folder all that was learned would be lost.

    Raises DataError if none is left of the old model's.
    """
    if not job.is_update:
        return []
    before = [job.rename.get(name, name) for name in job.old.card.class_names]
    here = images.class_names
    if not set(before) & set(here):
        raise DataError(
            f"{job.request.folder} has no class of {job.request.update}: nothing could be carried over",
            f"classes of the model: {', '.join(before[:10])}; of the folder: {', '.join(here[:10])}",
            "name the model's own folder, say --rename OLD=NEW where folders were renamed, or adapt anew "
            "without --update",
        )
    found = {
        "new classes": [name for name in here if name not in before],
        "dropped classes, without a folder now": [name for name in before if name not in here],
    }
    return [
        f"{what}: {', '.join(names)} (a folder that was only renamed: --rename OLD=NEW)"
        for what, names in found.items()
        if names
    ]


def _changes(job: _Job, run: RunRecord, images: StageImages, bench: Bench) -> list[ClassChange]:
    """Old against new model after an update."""
    if not job.is_update:
        return []
    return compare_models(job.old, np.asarray(run.predicted), images, job.rename, bench.device)


def _refuse_regression(job: _Job, changes: list[ClassChange], made: Path, bench: Bench) -> None:
    """Raises RegressionError if the new model is worse and that was to be refused; the run has ended then."""
    worse = [change for change in changes if change.is_worse]
    if worse and job.request.refuse_regression:
        seal(bench.folder)
        raise RegressionError(
            f"{job.request.update} is kept: the new model is worse on the photos that the old one was tested "
            "on",
            *(change.text() for change in worse),
            f"the new model is at {made}; look at the new photos, or update without --refuse-regression",
        )


def _result(
    job: _Job,
    run: RunRecord,
    photos: UserPhotos,
    suspects: list[Suspect],
    notes: list[str],
    changes: list[ClassChange],
) -> Adapted:
    images, opened = photos.images, photos.opened
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
        model=job.target,
        accuracy=_accuracy(right, images, _groups(job)),
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
