"""A model file judged on labelled photos: accuracy with intervals, class by class, worst mistakes."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Unpack

import numpy as np
import numpy.typing as npt

from ..config.checking import checked
from ..config.options import EvaluateOptions
from ..config.requests import EvaluateRequest
from ..engines.device import prepare_device, threads_put_back
from ..errors import DataError, did_you_mean
from ..events import Events
from ..files import check_target, default_cache, name_of
from ..names import class_name
from ..networks import model_file
from ..networks.model_file import ModelFile
from ..photos.readers import guess_format, open_source
from ..report.answers import Bin, ClassFigures, EvaluationReport
from ..runfolder.seal import REPORT_HTML
from ..statistics.proportions import proportion
from ..store.sides import GIVEN_TEST
from ..store.store import Store, Streaming, open_store
from ..training.batches import rows_of
from ..training.evaluate import evaluate as run_model
from .adapted import confusion_of, surest_mistakes
from .result import leave_result

BATCH_SIZE = 64
BINS = 10


@threads_put_back()
def evaluate(model: Path | str, folder: Path | str, **options: Unpack[EvaluateOptions]) -> EvaluationReport:
    """Judge a model on class folders; where the folder says train and test itself, on its test side.

    What was found is left as a page in a run folder, too. Options, and what they are where they are left out:
    see EvaluateRequest in benchgraft.config.requests. Raises DataError if no photo is left to judge by,
    ModelFileError for a model that cannot be used, StorageError.
    """
    request = checked(EvaluateRequest, model=model, folder=folder, **options)
    place = request.run_folder or Path("runs") / f"evaluate-{name_of(request.folder)}"
    check_target(place, is_folder=True)
    chosen = prepare_device(request.device, request.threads)
    file = model_file.read(request.model)
    events = Events(request.listen, request.cancel, request.progress)
    store = _store(request, file, events)
    events.stop_if_cancelled()
    rows, labels, unknown = _labelled(file, store)
    trained = np.isin(store.digests[rows], file.trained_on)
    if not request.include_trained:
        rows, labels = rows[~trained], labels[~trained]
    if not len(rows):
        raise _nothing_left(file, unknown, int(trained.sum()))
    pixels = rows_of(store.pixels, rows, labels, chosen)
    result = run_model(model_file.load(file).to(chosen), pixels, BATCH_SIZE)
    confusion = confusion_of(labels, result.predicted, len(file.card.class_names))
    classes = _classes(file.card.class_names, confusion)
    recalls = [each.recall.value for each in classes if each.recall is not None]
    right = labels == result.predicted
    bins = _calibration(result.confidence, right)
    found = EvaluationReport(
        model=file.path,
        folder=request.folder,
        photos=len(rows),
        accuracy=proportion(int(right.sum()), len(right)),
        balanced_accuracy=float(np.mean(recalls)),
        classes=classes,
        confusion=confusion.tolist(),
        calibration=bins,
        calibration_error=_calibration_error(bins),
        mistakes=surest_mistakes(
            [store.keys[row] for row in rows.tolist()],
            labels,
            result.predicted,
            result.confidence,
            file.card.class_names,
        ),
        unknown_classes=unknown,
        trained_on=0 if request.include_trained else int(trained.sum()),
        excluded=store.excluded,
        notes=store.notes,
    )
    leave_result(place, found, request.folder)
    return found.model_copy(update={"report": place / REPORT_HTML})


def _store(request: EvaluateRequest, file: ModelFile, events: Events) -> Store:
    """The photos as the model takes them. No pixels are kept: those to judge by are decoded in their turn."""
    source = open_source(guess_format(request.folder), request.folder, request.labels)
    place = request.cache or default_cache()
    card = file.card
    return open_store(source, place, card.frame, events, white_level=card.white_level, streaming=Streaming())


def _labelled(
    file: ModelFile, store: Store
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], dict[str, int]]:
    """(rows, labels of the model, photos of unknown classes)."""
    known = {class_name(name): label for label, name in enumerate(file.card.class_names)}
    label_of = np.array([known.get(class_name(name), -1) for name in store.class_names], np.int64)
    inside = store.given == GIVEN_TEST if (store.given == GIVEN_TEST).any() else np.ones(len(store), bool)
    labels = label_of[store.labels]
    lost = Counter(store.class_names[label] for label in store.labels[inside & (labels < 0)].tolist())
    rows = np.flatnonzero(inside & (labels >= 0))
    return rows, labels[rows], dict(sorted(lost.items()))


def _nothing_left(file: ModelFile, unknown: dict[str, int], trained: int) -> DataError:
    names = ", ".join(file.card.class_names[:10])
    if trained:
        return DataError(
            f"the model was trained on all {trained:,} photos of its classes",
            "judge it on other photos; --include-trained counts them all the same",
        )
    first = next(iter(unknown), "")
    return DataError(
        f"no class folder has the name of a class of {file.path}",
        f"classes of the model: {names}",
        did_you_mean(first, file.card.class_names),
    )


def _classes(names: list[str], confusion: npt.NDArray[np.int64]) -> list[ClassFigures]:
    figures = []
    for label, name in enumerate(names):
        right, given, answered = (
            int(confusion[label, label]),
            int(confusion[label].sum()),
            int(confusion[:, label].sum()),
        )
        figures.append(
            ClassFigures(
                name=name,
                photos=given,
                recall=proportion(right, given) if given else None,
                precision=proportion(right, answered) if answered else None,
            )
        )
    return figures


def _calibration(confidence: npt.NDArray[np.float64], right: npt.NDArray[np.bool_]) -> list[Bin]:
    places = np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
    bins = []
    for place in range(BINS):
        inside = places == place
        count = int(inside.sum())
        bins.append(
            Bin(
                low=place / BINS,
                high=(place + 1) / BINS,
                photos=count,
                confidence=float(confidence[inside].mean()) if count else None,
                accuracy=float(right[inside].mean()) if count else None,
            )
        )
    return bins


def _calibration_error(bins: list[Bin]) -> float:
    total = sum(each.photos for each in bins)
    distances = (
        each.photos * abs(each.confidence - each.accuracy)
        for each in bins
        if each.confidence is not None and each.accuracy is not None
    )
    return sum(distances) / total
