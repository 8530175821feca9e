"""A folder of labelled photos -> a model file, an honest accuracy, and the labels to check first.

Training is one stage (`experiment.stage.run_stage`) on a parent model whose prefix is frozen and cached, so
that new photos cost their own features and nothing else. A model can be updated: old photos keep their split,
output rows go by class name, and both models are compared on the photos that the old one was tested on.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Unpack

import numpy as np

from ..config.checking import checked
from ..config.experiment import Experiment
from ..config.frame import Frame
from ..config.options import AdaptOptions
from ..config.requests import AdaptRequest
from ..config.words import command_line
from ..engines.device import threads_put_back
from ..engines.engine import Engine
from ..errors import ModelFileError, RequestError, StorageError
from ..experiment.account import Account, choose_place, is_this_run
from ..experiment.bench import Bench, bench_for
from ..experiment.choice import Choice, choose_parent, has_choice
from ..experiment.deeper import as_planned, default_plan, read_plan, timed_plan
from ..experiment.folder import (
    BATCH_SIZE,
    HEAD,
    PHOTOS,
    STAGE,
    FolderArm,
    Start,
    are_uneven,
    deeper_recipe,
    epochs_for,
    folder_experiment,
    recipe_of,
    solved_recipe,
    start_of,
)
from ..experiment.jobs_features import FeatureTask, features_on_cluster
from ..experiment.photos import (
    Listed,
    PhotoStream,
    UserPhotos,
    fit_of,
    leave_pairs,
    list_folder,
    source_of,
    user_photos,
)
from ..experiment.prefixes import frozen_parent
from ..files import check_target, lock, name_of, shipped_path, write_kept
from ..names import resolve_renames
from ..networks import model_file
from ..photos.decode import Pixels
from ..photos.readers import Source
from ..report.answers import Adapted, ClassChange
from ..report.profile import leave_profile
from ..report.words import retried
from ..runfolder.records import PLAN_FILE, PlanRecord
from ..runfolder.seal import REPORT_HTML, RESULT_JSON, seal
from ..store.packing import Listing
from ..training.feature_stream import FeatureStream
from ..training.features import FeatureCache
from .adapted import adapted
from .arms import Made, train_arms
from .regression import class_changes, compare_models, refuse_worse
from .result import leave_result
from .suspects import suspects_of

STEPS, UPDATE_STEPS = 400, 150
KEPT_PIXELS = 4 << 30
"""Bytes of pixels that are kept where more than the head trains; photos of more are decoded for each view."""
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
    began = time.perf_counter()
    bench = bench_for(request, Path())
    source = functools.cache(lambda: source_of(request))
    listed = functools.cache(lambda: list_folder(request, source(), bench))
    choice, plan = None, None
    if request.plan is not None:
        plan = read_plan(request.plan)
        request = as_planned(request, plan)
    if has_choice(request):
        choice = choose_parent(request.parent, request.weights, request.fit, listed, bench)
        request = replace(request, parent=choice.parent, fit=choice.fit)
    if request.minutes:
        plan = _timed_plan(request, choice, listed(), began, bench)
        request = as_planned(request, plan) if plan else replace(request, train_from=None, minutes=0.0)
    job = _job(request, bench.cache, choice)
    stream = _stream(job, source, listed, bench)
    if request.cluster:
        _features_elsewhere(job, stream, bench)
    photos = user_photos(job.request, [job.start], bench, job.default_place, stream)
    _refuse_to_replace(job, photos)
    if job.start.is_updated:
        changed = class_changes(job.request, job.start.file, job.rename, photos)
        photos = replace(photos, notes=[*photos.notes, *changed])
    if job.start.is_deeper and plan is None:
        plan = default_plan(job.start, photos.config.fit, len(photos.images.rows["train"]))
    experiment = _experiment(job, photos, plan)
    bench = replace(bench, folder=_place(job, photos, experiment))
    if bench.folder not in (job.default_place, job.request.run_folder):
        bench.events.say(f"{job.default_place} holds another run; the account of this one: {bench.folder}")
    with lock(bench.folder):
        made = _adapt(job, photos, experiment, bench, stream.features if stream else None, plan)
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


def _stream(
    job: _Job, source: Callable[[], Source], listed: Callable[[], Listed | None], bench: Bench
) -> PhotoStream | None:
    """For a head on frozen features, which needs no pixels; None: they are kept, and trained on."""
    start = job.start.head_alone
    card = start.file.card
    if job.start.is_papers or (job.start.is_deeper and _has_room_for_pixels(card.network.side, listed())):
        return None

    def listing() -> Listing:
        found = listed()
        assert found is not None  # CIFAR-100 is never streamed
        return found.listing

    def begin(photos: Pixels) -> tuple[FeatureCache, Engine]:
        parent = frozen_parent(start, photos, bench)
        look = listing().look(*_frame(job))
        return parent.cache(bench.cache, look), parent.engine

    return PhotoStream(FeatureStream(begin, BATCH_SIZE), listing, source())


def _frame(job: _Job) -> tuple[Frame, int | None]:
    """(what photos are brought to, value of 16-bit grey that becomes white; None: found from them)."""
    card = job.start.file.card
    frame = card.network.frame(fit_of(job.request, job.start))
    return frame, card.white_level if job.start.is_updated else None


def _features_elsewhere(job: _Job, stream: PhotoStream | None, bench: Bench) -> None:
    """Decode, and compute features, on a cluster; what it leaves in the cache is found there as always."""
    if stream is None:
        bench.events.say("note: --cluster has no effect: this model trains on pixels, which stay here")
        return
    listing, frame = stream.listing(), _frame(job)
    task = FeatureTask(
        listing.rule(*frame),
        listing.look(*frame),
        job.start.is_updated,
        str(bench.device),
        bench.environment.threads,
    )
    features_on_cluster(job.request, job.start, listing, task, stream.features, bench)


def _has_room_for_pixels(side: int, listed: Listed | None) -> bool:
    return listed is not None and len(listed.sides) * 3 * side**2 <= KEPT_PIXELS


def _job(request: AdaptRequest, cache: Path, choice: Choice | None) -> _Job:
    """Raises ModelFileError for a parent that cannot be used, RequestError for what does not fit to it."""
    start = start_of(request.parent, cache, request.weights, request.train_from, request.update)
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
    rename = resolve_renames(request.rename or (), card.class_names)
    return _Job(request, start, target, rename, default, choice)


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
            f"{job.target} exists already and is not a model of the photos in {job.request.folder}",
            "name another file with --out, or move that one away",
        )


def _timed_plan(
    request: AdaptRequest, choice: Choice | None, listed: Listed | None, began: float, bench: Bench
) -> PlanRecord | None:
    """Of what trains beside the head; None: nothing can in these minutes, and why is told."""
    tried = sorted(choice.record.tried, key=lambda each: each.error) if choice and choice.record else []
    others = [] if request.train_from or request.weights else [each.parent for each in tried]
    # Named, or found by the trial.
    names = dict.fromkeys([str(request.parent), *others])
    starts = [start_of(name, bench.cache, request.weights, request.train_from) for name in names]
    real = [start for start in starts if not start.is_papers]
    if listed is None or starts[0].is_papers:
        bench.events.say("note: minutes have no effect on the paper's network: it keeps its recipe")
        return None
    plan = timed_plan(real, request.fit or "letterbox", listed, request.minutes, began, bench)
    if plan is None:
        bench.events.say(f"note: only the head trains: {request.minutes:g} minutes are too few for more")
    return plan


def _experiment(job: _Job, photos: UserPhotos, plan: PlanRecord | None) -> Experiment:
    labels, start, seed = photos.images.labels["train"], job.start, job.request.seed
    if start.is_papers:
        steps = UPDATE_STEPS if start.is_updated else STEPS
        recipe = recipe_of("transfer", epochs_for(steps, len(labels)))
        return folder_experiment(
            photos.config, [FolderArm("transfer", STAGE, recipe, start, rename=job.rename)], seed=seed
        )
    solved = solved_recipe(are_uneven(labels))
    if plan is None:
        arm = FolderArm("transfer", STAGE, solved, start.head_alone, rename=job.rename)
        return folder_experiment(photos.config, [arm], seed=seed)
    deeper = replace(start, train_from=plan.train_from)
    recipe = deeper_recipe(plan.epochs, plan.views, are_uneven(labels))
    arms = [
        FolderArm(HEAD, HEAD, solved, start.head_alone, rename=job.rename),
        FolderArm("transfer", STAGE, recipe, deeper, rename=job.rename),
    ]
    return folder_experiment(photos.config, arms, seed=seed)


def _place(job: _Job, photos: UserPhotos, experiment: Experiment) -> Path:
    """The run folder. Raises RunFolderError if the one named holds another run."""
    parent = job.start.file.card
    return choose_place(
        job.request.run_folder,
        job.default_place,
        lambda place: is_this_run(place, experiment, STAGE, photos.images, parent),
    )


def _adapt(
    job: _Job,
    photos: UserPhotos,
    experiment: Experiment,
    bench: Bench,
    streamed: FeatureStream | None,
    plan: PlanRecord | None,
) -> Adapted:
    images = photos.images
    account = Account(bench.folder)
    account.begin(experiment, _command(job, photos, bench.folder, plan))
    account.take(job.start.name)
    if job.choice and job.choice.record:
        account.tell_once(job.choice.record)
    if plan:
        account.tell_once(plan)
    account.tell_data(photos.opened)
    for stage in experiment.arms.values():
        account.tell_images(stage, PHOTOS, images)
    notes = [
        *(job.choice.notes if job.choice else []),
        *photos.opened.store.notes,
        *photos.notes,
        *leave_pairs(photos.overlap, bench.folder),
    ]
    is_repeated = all(account.finished(stage) for stage in experiment.arms.values())
    made = train_arms(experiment, photos, bench, account, streamed)
    done, path = made.run, made.path
    notes += [*made.notes, *_preferred(job, made)]
    notes += [line for record in made.records for line in retried(record)]
    changes: list[ClassChange] = []
    if job.start.is_updated:
        changes = compare_models(job.start, done, images, job.rename, bench.device)
    if job.request.refuse_regression:
        refuse_worse(changes, job.request.update, path, bench.folder)
    suspects = suspects_of(made.features, images)
    if suspects.why_none:
        notes.append(f"no list of labels to check: {suspects.why_none}")
    record = job.choice.record if job.choice else None
    parent = job.start.parent or job.start.name
    result = adapted(job.target, done, photos, parent, record, suspects.found, notes, changes)
    result = result.model_copy(update={"plan": plan, "verdict": made.verdict})
    if not (is_repeated and (bench.folder / RESULT_JSON).exists()):
        leave_result(bench.folder, result, job.request.folder)
    seal(bench.folder)  # before the model takes its place: an error must not follow on that
    try:
        kept = write_kept(job.target, path.read_bytes())
    except StorageError as error:
        raise StorageError(error.what, f"the new model is kept at {path}", *error.details) from error
    told = [f"the previous {job.target} is kept as {kept}"] if kept is not None else []
    return result.model_copy(update={"notes": [*notes, *told], "report": bench.folder / REPORT_HTML})


def _preferred(job: _Job, made: Made) -> list[str]:
    """Told where the head alone is kept, and another parent suits the photos better for that."""
    found = job.choice.parent if job.choice and job.choice.record else job.start.parent
    if made.run.record.stage != HEAD or found == job.start.parent:
        return []
    return [
        f"{job.start.parent} was chosen because more of it can train in these minutes, but only the head was "
        f'kept. For that the trial prefers "{found}": run the same command without --minutes to use it'
    ]


def _command(job: _Job, photos: UserPhotos, place: Path, plan: PlanRecord | None) -> list[str]:
    """The command line that does this, for the account."""
    start = job.start
    asked = replace(
        job.request,
        folder=job.request.folder.absolute(),
        labels=job.request.labels.absolute() if job.request.labels else None,
        out=job.target,
        rename=job.rename,
        train_from=start.train_from,
        fit=photos.config.fit,
        group_by=photos.config.group_by,
        run_folder=place,
        parent=None if start.is_updated else start.parent,
        weights=start.weights,
        update=Path(start.name) if start.is_updated else None,
    )
    if plan is not None and not start.is_updated:
        asked = replace(asked, plan=place / PLAN_FILE, parent=None, weights=None, fit=None, train_from=None)
    return command_line("adapt", asked)
