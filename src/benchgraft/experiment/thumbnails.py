"""Small pictures of the mistakes, left in the run folder: a report is made without the data set."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from pydantic import ValidationError

from ..files import write_whole
from ..runfolder.ledger import THUMBNAILS, Ledger
from ..runfolder.records import ImagesRecord, RunRecord, Thumbnails
from ..store.classes import StageImages

MOST_IMAGES = 24
"""Of each arm; about 2 kB each."""
SIDE = 72
QUALITY = 80


def keep_thumbnails(
    folder: Path, ledger: Ledger, stage: str, open_images: Callable[[str], tuple[StageImages, float]]
) -> None:
    """Store the test images of a stage that its runs were surest about and wrong, unless they are there.

    Stages on the same images share a file. Raises StorageError, and what opening the images raises.
    """
    record = next((images for images in ledger.of_kind(ImagesRecord) if images.stage == stage), None)
    runs = [run for run in ledger.of_kind(RunRecord) if run.stage == stage and run.predicted]
    if record is None or not runs:
        return
    path = folder / THUMBNAILS / f"{record.digest[:16]}.json"
    there = _read(path)
    wanted = _surest_mistakes(runs, np.asarray(record.test.labels))
    missing = [place for place in wanted if record.test.keys[place] not in there]
    if not missing:
        return
    images, _ = open_images(stage)
    rows = images.rows["test"]
    new = {record.test.keys[place]: _jpeg(images.store.pixels[rows[[place]]][0]) for place in missing}
    kept = Thumbnails(images_digest=record.digest, jpeg=dict(sorted({**there, **new}.items())))
    write_whole(path, kept.model_dump_json())


def _surest_mistakes(runs: list[RunRecord], labels: np.typing.NDArray[np.int64]) -> list[int]:
    """Places among the test images, by confidence in wrong answers summed over runs."""
    confidence = sum(np.asarray(run.confidence) * (np.asarray(run.predicted) != labels) for run in runs)
    order = np.argsort(-np.asarray(confidence), kind="stable")[:MOST_IMAGES]
    return [int(place) for place in order if np.asarray(confidence)[place] > 0]


def _read(path: Path) -> dict[str, str]:
    """What is stored already; a damaged file is made anew."""
    try:
        return Thumbnails.model_validate_json(path.read_bytes()).jpeg
    except (OSError, ValidationError):
        return {}


def _jpeg(pixels: np.typing.NDArray[np.uint8]) -> str:
    image = Image.fromarray(np.ascontiguousarray(pixels))
    image.thumbnail((SIDE, SIDE))
    file = io.BytesIO()
    image.save(file, "JPEG", quality=QUALITY)
    return base64.b64encode(file.getvalue()).decode("ascii")
