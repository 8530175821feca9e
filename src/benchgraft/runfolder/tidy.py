"""A run folder as tidy tables, one row an observation: for CSV, and with the extra `notebook` for pandas."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import UserError
from .ledger import read
from .records import AnyRecord, DivergedRecord, RunRecord
from .runs import group, variant

if TYPE_CHECKING:
    import pandas as pd

Row = dict[str, Any]
Rows = list[Row]
_FIGURES = ("accuracy", "epochs", "kept_epoch", "images_seen", "train_images", "trained_parameters")
_MODEL = ("given", "model_file", "model_digest")


class Runs(NamedTuple):
    """Three tidy tables; arm, stage, seed and variant say in each of them which run a row is of."""

    runs: pd.DataFrame
    """One row a run: seconds in all and by phase, accuracy (a fraction), epochs, digests."""
    epochs: pd.DataFrame
    """One row an epoch of a run: losses and validation accuracy."""
    answers: pd.DataFrame
    """One row a test image and run: class shown, class answered, confidence."""


def load_runs(folder: str | PathLike[str]) -> Runs:
    """Everything that a run folder tells, finished or not.

    Raises RunFolderError if the folder has no readable ledger, UserError if pandas is not installed.

    Example: load_runs("runs/paper").runs.groupby(["arm", "variant"]).seconds.mean()
    """
    try:
        import pandas as pd
    except ImportError:
        raise UserError(
            "load_runs needs pandas, which is not installed", "pip install 'benchgraft[notebook]'"
        ) from None
    records = read(Path(folder))
    return Runs(
        runs=pd.DataFrame(run_rows(records)),
        epochs=pd.DataFrame(epoch_rows(records)),
        answers=pd.DataFrame(answer_rows(records)),
    )


def run_rows(records: Sequence[AnyRecord]) -> Rows:
    """One row a run: preparation first, then the arms; seconds of each phase in a column of its own.

    Last those that gave no model, without an accuracy.
    """
    folder = group(records)
    diverged = [run for arm in folder.arms.values() for run in arm.diverged]
    return [_run_row(run) for run in folder.runs] + [_without_model(run) for run in diverged]


def _run_row(run: RunRecord) -> Row:
    return {
        **_timed(run),
        **{name: getattr(run, name) for name in _FIGURES},
        "retries": len(run.diverged),
        "is_diverged": False,
        "is_resumed": run.segments > 1,
        **{name: getattr(run, name) for name in _MODEL},
        **_where(run),
    }


def _without_model(run: DivergedRecord) -> Row:
    tries = max(0, len(run.diverged) - 1)
    known = {"accuracy": None, "retries": tries, "is_diverged": True, "is_resumed": run.segments > 1}
    return {**_timed(run), **known, **_where(run)}


def _timed(run: RunRecord | DivergedRecord) -> Row:
    phases = {f"seconds_{phase}": value for phase, value in sorted(run.seconds.items())}
    return {**_which(run), "seconds": run.total_seconds, **phases}


def _where(run: RunRecord | DivergedRecord) -> Row:
    return {"cpu": run.environment.cpu, "threads": run.environment.threads, "started": run.started}


def epoch_rows(records: Sequence[AnyRecord]) -> Rows:
    """One row an epoch of a run: training loss, validation loss and accuracy."""
    return [
        {
            **_which(run),
            "epoch": number,
            "loss": loss,
            "validation_loss": validation_loss,
            "validation_accuracy": accuracy,
        }
        for run in group(records).runs
        for number, (loss, validation_loss, accuracy) in enumerate(
            zip(run.loss, run.validation_loss, run.validation_accuracy, strict=False), start=1
        )
    ]


def answer_rows(records: Sequence[AnyRecord]) -> Rows:
    """One row a test image and run: what it shows, what was answered, how surely.

    A warm run repeats the answers of the cold one of its seed.
    """
    folder = group(records)
    rows = []
    for run in folder.runs:
        images = folder.images_of(run)
        if images is None or len(run.predicted) != len(images.test.labels):
            continue
        names = images.class_names
        rows += [
            {
                **_which(run),
                "image": key,
                "source_class": source,
                "true_class": names[label],
                "answered_class": names[said],
                "is_right": label == said,
                "confidence": confidence,
            }
            for key, source, label, said, confidence in zip(
                images.test.keys,
                images.test.sources,
                images.test.labels,
                run.predicted,
                run.confidence,
                strict=True,
            )
        ]
    return rows


def to_csv(rows: Rows) -> str:
    """Comma-separated, with one line of names: the columns of all rows, in order of first appearance."""
    file = io.StringIO()
    names = list(dict.fromkeys(name for row in rows for name in row))
    writer = csv.DictWriter(file, names, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue()


def _which(run: RunRecord | DivergedRecord) -> Row:
    return {"arm": run.arm, "stage": run.stage, "seed": run.seed, "variant": variant(run)}
