"""A folder of labelled photos -> a model file, an honest accuracy, and the labels to check first.

Training is one stage (`experiment.stage.run_stage`) on a parent model whose prefix is frozen and cached, so
that new photos cost their own features and nothing else. A model can be updated: old photos keep their split,
output rows go by class name, and both models are compared on the photos that the old one was tested on.
"""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Unpack

import numpy as np

from ..config.checking import checked
from ..config.experiment import Experiment
from ..config.options import AdaptOptions
from ..config.requests import AdaptRequest
from ..config.words import command_line
from ..engines.device import threads_put_back
from ..engines.engine import Engine
from ..errors import ModelFileError, RequestError, RunFolderError, StorageError
from ..experiment.account import Account, choose_place, is_this_run
from ..experiment.bench import Bench, bench_for
from ..experiment.choice import Choice, choose_parent, has_choice
from ..experiment.folder import (
    BATCH_SIZE,
    PHOTOS,
    STAGE,
    Start,
    are_uneven,
    epochs_for,
    folder_experiment,
    start_of,
)
from ..experiment.photos import (
    Listed,
    PhotoStream,
    UserPhotos,
    leave_pairs,
    list_folder,
    photos_config,
    user_photos,
)
from ..experiment.prefixes import frozen_parent
from ..experiment.run import Run
from ..experiment.stage import StageRun, run_stage
from ..files import check_target, lock, name_of, shipped_path, write_kept
from ..names import resolve_renames
from ..networks import model_file
from ..photos.decode import Pixels
from ..report.answers import Adapted, ClassChange
from ..report.profile import leave_profile
from ..report.words import retried
from ..runfolder.seal import seal
from ..store.packing import Listing
from ..training.feature_stream import FeatureStream
from ..training.features import FeatureCache
from .adapted import adapted
from .regression import class_changes, compare_models, refuse_worse
from .suspects import suspects_of

STEPS, UPDATE_STEPS = 400, 150
SAME_PHOTOS = 0.5
"""A model is one of a folder's photos if so many of those that it was tested on are there."""


@threads_put_back()
def adapt(folder: Path | str, out: Path | str | None = None, **options: Unpack[AdaptOptions]) -> Adapted:
    """Train a model for the class folders below `folder` and write it to `out`.

    Options, and what they are where they are left out: see AdaptRequest in benchgraft.config.requests.
    Raises UserError subclasses: RequestError for values that cannot be; RegressionError if one was refused.
    """
    request = checked(AdaptRequest, folder=folder, out=out, **options)
    # Where the run takes place is known when its photos are: the same command may go on with another's.
    bench = bench_for(request, Path())
    listed = functools.cache(lambda: list_folder(request, bench))
    choice = None
    if has_choice(request):
        choice = choose_parent(request, listed, bench)
        request = replace(request, parent=choice.parent, fit=choice.fit)
    job = _job(request, bench.cache, choice)
    stream = _stream(job, listed, bench)
    photos = user_photos(job.request, job.start, bench, job.default_place, stream)
    _refuse_to_replace(job, photos)
    if job.start.is_updated:
        changed = class_changes(job.request, job.start.file, job.rename, photos)
        photos = replace(photos, notes=[*photos.notes, *changed])
    experiment = _experiment(job, photos)
    bench = replace(bench, folder=_place(job, photos, experiment))
    if bench.folder not in (job.default_place, job.request.run_folder):
        bench.events.say(f"{job.default_place} holds another run; the account of this one: {bench.folder}")
    with lock(bench.folder):
        made = _adapt(job, photos, experiment, bench, stream.features if stream else None)
    leave_profile(bench.folder, bench.profiler, bench.environment, bench.events.say)
    return made


@dataclass(frozen=True, eq=False)
class _Job:
    """What the user asked for, with defaults filled in."""

    request: AdaptRequest
    start: Start
    target: Path
    rename: dict[str, str]
    """Name of a class in the old model -> its name now."""
    default_place: Path
    """The run folder where none is named and no other run has it."""
    choice: Choice | None
    """How the parent was found; None: it was named, or is the model to update."""


def _stream(job: _Job, listed: Callable[[], Listed | None], bench: Bench) -> PhotoStream | None:
    """For a head on frozen features, which needs no pixels; None: they are kept, and trained on."""
    if not job.start.is_solved:
        return None
    card, request = job.start.file.card, job.request

    def listing() -> Listing:
        found = listed()
        assert found is not None  # CIFAR-100 is never streamed
        return found.listing

    def start(photos: Pixels) -> tuple[FeatureCache, Engine]:
        parent = frozen_parent(job.start, photos, bench)
        frame = card.network.frame(photos_config(request, job.start).fit)
        look = listing().look(frame, card.white_level if job.start.is_updated else None)
        return parent.cache(bench.cache, look), parent.engine

    return PhotoStream(FeatureStream(start, BATCH_SIZE), listing)


def _job(request: AdaptRequest, cache: Path, choice: Choice | None) -> _Job:
    """Raises ModelFileError for a parent that cannot be used, RequestError for what does not fit to it."""
    start = start_of(request, cache, request.update)
    card = start.file.card
    if request.update and request.fit not in (None, card.fit):
        raise RequestError(
            f'fit is "{request.fit}", but {request.update} was trained with "{card.fit}"',
            "leave it out, or adapt anew without update",
        )
    updated = shipped_path(str(request.update)) if request.update else None
    target = request.out or updated or Path(f"{name_of(request.folder)}.safetensors")
    check_target(target)
    default = Path("runs") / f"adapt-{name_of(request.folder)}"
    check_target(request.run_folder or default, is_folder=True, option="--run-folder")
    return _Job(
        request, start, target, resolve_renames(request.rename or (), card.class_names), default, choice
    )


def _refuse_to_replace(job: _Job, photos: UserPhotos) -> None:
    """Raises StorageError where the default name is that of a file which is no model of these photos."""
    if job.request.out or job.start.is_updated or not job.target.exists():
        return
    try:
        tested_on = model_file.read(job.target).tested_on
    except ModelFileError:
        tested_on = np.empty(0, np.uint64)
    here = photos.opened.store.digests
    if not np.isin(tested_on, here).mean() >= SAME_PHOTOS if len(tested_on) else True:
        raise StorageError(
            f"{job.target} is there already, and is no model of the photos in {job.request.folder}",
            "name another file with --out, or move that one away",
        )


def _experiment(job: _Job, photos: UserPhotos) -> Experiment:
    steps = UPDATE_STEPS if job.start.is_updated else STEPS
    epochs = epochs_for(steps, len(photos.images.rows["train"]))
    is_uneven = are_uneven(photos.images.labels["train"])
    return folder_experiment(
        photos.config, job.start, epochs, seed=job.request.seed, rename=job.rename, is_uneven=is_uneven
    )


def _place(job: _Job, photos: UserPhotos, experiment: Experiment) -> Path:
    """The run folder. Raises RunFolderError if the one named holds another run."""
    parent = job.start.file.card
    return choose_place(
        job.request.run_folder,
        job.default_place,
        lambda place: is_this_run(place, experiment, STAGE, photos.images, parent),
    )


def _adapt(
    job: _Job, photos: UserPhotos, experiment: Experiment, bench: Bench, streamed: FeatureStream | None
) -> Adapted:
    images = photos.images
    account = Account(bench.folder)
    account.begin(experiment, _command(job, photos, bench.folder))
    account.take(job.start.name)
    if job.choice and job.choice.record:
        account.tell_choice(job.choice.record)
    account.tell_data(photos.opened)
    account.tell_images(STAGE, PHOTOS, images)
    notes = [
        *(job.choice.notes if job.choice else []),
        *photos.opened.store.notes,
        *photos.notes,
        *leave_pairs(photos.overlap, bench.folder),
    ]
    done, path = _trained(experiment, photos, bench, account, streamed)
    run = done.record
    notes += retried(run)
    changes: list[ClassChange] = []
    if job.start.is_updated:
        changes = compare_models(job.start, done, images, job.rename, bench.device)
    if job.request.refuse_regression:
        refuse_worse(changes, job.request.update, path, bench.folder)
    seal(bench.folder)  # before the model takes its place: an error must not follow on that
    try:
        kept = write_kept(job.target, path.read_bytes())
    except StorageError as error:
        raise StorageError(error.what, f"the new model is kept at {path}", *error.details) from error
    if kept is not None:
        notes.append(f"the file that {job.target} was before is kept as {kept}")
    suspects = suspects_of(done.inputs, images)
    if suspects.why_none:
        notes.append(f"no list of labels to check: {suspects.why_none}")
    record = job.choice.record if job.choice else None
    parent = job.start.parent or job.start.name
    return adapted(job.target, run, photos, parent, record, suspects.found, notes, changes)


def _trained(
    experiment: Experiment,
    photos: UserPhotos,
    bench: Bench,
    account: Account,
    streamed: FeatureStream | None,
) -> tuple[StageRun, Path]:
    """The run and its model file. Where this folder has it already, it is only repeated, and nothing changes.

    Raises RunFolderError if the repetition gives another model.
    """
    run = Run(experiment, STAGE, "transfer", experiment.seed, want_warm=True)
    finished = account.finished(STAGE)
    if finished is None:
        done = run_stage(run, photos.images, photos.seconds, bench, streamed)
        account.ledger.append(done.record)
        return done, bench.folder / done.record.model_file
    with tempfile.TemporaryDirectory() as aside:
        done = run_stage(run, photos.images, photos.seconds, replace(bench, folder=Path(aside)))
    if done.record.model_digest != finished.model_digest:
        raise RunFolderError(
            f"{bench.folder} holds this run already, and now it gives another model: with other threads or "
            "versions than then",
            "choose another folder with --run-folder",
        )
    return done, bench.folder / finished.model_file


def _command(job: _Job, photos: UserPhotos, place: Path) -> list[str]:
    """The command line that does this, for the account."""
    start = job.start
    asked = replace(
        job.request,
        folder=job.request.folder.absolute(),
        out=job.target,
        rename=job.rename,
        freeze=start.freeze,
        fit=photos.config.fit,
        group_by=photos.config.group_by,
        run_folder=place,
        parent=None if start.is_updated else start.parent,
        weights=start.weights,
        update=Path(start.name) if start.is_updated else None,
    )
    return command_line("adapt", asked)
