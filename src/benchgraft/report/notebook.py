"""A run folder as pandas tables, for notebooks. Needs the extra `notebook`."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ..errors import UserError
from ..runfolder.ledger import read
from . import tidy

if TYPE_CHECKING:
    import pandas as pd


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
        runs=pd.DataFrame(tidy.run_rows(records)),
        epochs=pd.DataFrame(tidy.epoch_rows(records)),
        answers=pd.DataFrame(tidy.answer_rows(records)),
    )
